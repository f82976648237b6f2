//! One fill's work: ask the sources in turn, spool and check what comes, keep it.
//!
//! A source that sends something unfit, or breaks off for good, is remembered, and another is asked first the next time.
//! While no reader has seen a byte the next source is asked at once; after that, no other source may continue.

use std::sync::Arc;
use std::time::Instant;

use artifactapi_formats::{Role, Sha256};

use super::super::fill::{FillError, FillSender, Head, Order, Outcome, Unread, Via};
use super::super::freshness::last_modified;
use super::super::held::{Held, HeldBody, now};
use super::super::keep::Kept;
use super::super::shelf::{Found, MEMORY_BODY, whole};
use super::super::transfer::Transfer;
use super::appearance::{Appearance, appearance};
use super::generation::{Content, Entry, MID_UPDATE, entry_of};
use super::listed::is_in_a_list;
use super::miss::{Miss, Misses, unfit};
use super::opinion::checkers;
use super::{Fills, ROOMLESS_FOR};
use crate::config::Remote;
use crate::spool::{SpoolError, Spooled};
use crate::store::catalog::{Artifact, Revision, Validators};
use crate::upstream::{Answer, Ask, How, Sent, Sources, UpstreamError, UpstreamErrorKind};

/// How many of the pauses of [`MID_UPDATE`] a root has that nothing is held of, when its signature is wrong. Its client waits with
/// nothing in its hands, and an index and its signature are replaced within a moment of each other.
const SIGNATURE_BEHIND: usize = 1;

/// A whole body, checked and in its spool, and the record it will have.
pub(super) struct Arrived {
    pub(super) draft: Artifact,
    pub(super) spooled: Spooled,
    /// The host it came from.
    pub(super) host: String,
    /// Which of the sources that is.
    pub(super) source: usize,
    /// Whether it may be kept: it is not a page, as far as one can tell.
    worth_keeping: bool,
}

/// What asking one source came to.
enum Got {
    /// A body.
    Arrived(Box<Arrived>),
    /// Nothing to receive: what is held is what this source has.
    Confirmed { outcome: Outcome, host: String, source: usize },
    /// No room for it.
    Settled(Outcome),
}

impl Fills {
    /// Asks the sources in turn until one sends something fit. Sources that are caught in the middle of an update are
    /// asked again after a while; a list of mirrors that knows nothing of what they all have is read again, once.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        order: &Order,
        mut remote: Sources,
        held: Option<Arc<Held>>,
        sender: &FillSender,
    ) -> Outcome {
        let (began, mut list_is_new) = (Instant::now(), false);
        let mut pauses = if held.is_none() && must_be_signed(order, &remote) {
            &MID_UPDATE[..SIGNATURE_BEHIND]
        } else {
            &MID_UPDATE[..]
        }
        .iter();
        let mut pause = pauses.next();
        loop {
            let misses = match self.ask_in_turn(order, &remote, held.as_ref(), sender, pause.is_none()).await {
                Ok(outcome) => return outcome,
                Err(misses) => misses,
            };
            if let Some((source, why)) = &misses.untrusted {
                self.distrust.refused(&order.target, source, why, now());
            }
            if misses.any_unlisted && !list_is_new {
                list_is_new = true;
                remote = match self.sources_since(&order.repository, began).await {
                    Ok(sources) => sources,
                    Err(error) => return Outcome::Failed(error),
                };
                continue;
            }
            let may_pass = misses.told.may_pass() && entry_of(order).is_some();
            match (misses.told, pause.filter(|_| may_pass)) {
                (trouble, Some(pause_for)) => {
                    let error = trouble.error();
                    tracing::info!(
                        target: "artifactapi::snapshot",
                        root = %order.target, %error, wait_seconds = pause_for.as_secs(), "upstream is in the middle of an update"
                    );
                    tokio::time::sleep(*pause_for).await;
                    pause = pauses.next();
                }
                (trouble, None) => return trouble.outcome(),
            }
        }
    }

    async fn ask_in_turn(
        self: &Arc<Self>,
        order: &Order,
        remote: &Sources,
        held: Option<&Arc<Held>>,
        sender: &FillSender,
        is_last: bool,
    ) -> Result<Outcome, Misses> {
        let sources = remote.urls().len();
        let mut source = self.suspects.get(&order.target).and_then(|url| remote.number_of(&url));
        let (mut told, mut any_unlisted, mut untrusted): (Option<Miss>, bool, _) = (None, false, None);
        for _ in 0..sources {
            match self.fetch_from(order, remote, held, sender, source, is_last).await {
                Ok(outcome) => {
                    self.suspects.remove(&order.target);
                    return Ok(outcome);
                }
                Err(miss @ Miss::Everywhere(_)) => {
                    return Err(Misses { told: told.unwrap_or(miss), any_unlisted, untrusted });
                }
                Err(
                    miss @ (Miss::Source(culprit, _)
                    | Miss::Contradiction(culprit, _)
                    | Miss::Untrusted(culprit, ..)
                    | Miss::Unlisted(culprit, _)),
                ) => {
                    self.counts.unfit.inc();
                    if let Miss::Untrusted(_, error, why) = &miss {
                        untrusted.get_or_insert_with(|| (error.host.clone(), why.clone()));
                    }
                    if !miss.may_pass() {
                        self.upstream.blame(remote, culprit);
                    }
                    let next = (culprit + 1) % sources;
                    source = Some(next);
                    if let Some(url) = remote.url(next) {
                        self.suspects.insert(order.target.clone(), url.clone());
                    }
                    any_unlisted |= matches!(miss, Miss::Unlisted(..));
                    // Of one that lags behind nothing is to be expected; of one that is being updated something is.
                    match (&told, &miss) {
                        (None, _) => told = Some(miss),
                        (Some(Miss::Unlisted(..)), miss_now) if miss_now.may_pass() => told = Some(miss),
                        _ => {}
                    }
                    // Once readers have bytes of one source, no other can continue them.
                    if sender.is_streaming() {
                        break;
                    }
                }
            }
        }
        Err(Misses { told: told.unwrap_or(Miss::Everywhere(FillError::GivenUp)), any_unlisted, untrusted })
    }

    /// Asks, beginning with `source`, and makes what comes current.
    async fn fetch_from(
        self: &Arc<Self>,
        order: &Order,
        remote: &Sources,
        held: Option<&Arc<Held>>,
        sender: &FillSender,
        source: Option<usize>,
        is_last: bool,
    ) -> Result<Outcome, Miss> {
        let arrived = match self.get_from(order, remote, held, Some(sender), source).await? {
            Got::Arrived(arrived) => *arrived,
            // Passing it through would show what nobody has looked at.
            Got::Settled(Outcome::NoRoom(_)) if must_be_looked_at(order, remote) => {
                return Err(Miss::Everywhere(SpoolError::Full.into()));
            }
            Got::Settled(outcome) => return Ok(outcome),
            Got::Confirmed { outcome, host, source } => {
                // Its first snapshot could not be recorded when it came: a member was not there yet, or the server stopped.
                if entry_of(order).is_some() && self.lacks_a_snapshot(order).await {
                    self.complete_later(order, remote, host, source, self.completing.begin(&order.target));
                }
                return Ok(outcome);
            }
        };
        if order.role == Role::IndexCompanion && self.is_about_another(order, &arrived).await {
            let kind = UpstreamErrorKind::Unfit("a signature of another index than the one that is held".to_owned());
            let error = UpstreamError { host: arrived.host, kind };
            return Err(Miss::Contradiction(arrived.source, error.into()));
        }
        if is_in_a_list(order, remote) && !self.is_listed(remote, &arrived).await {
            self.counts.unlisted.inc();
            tracing::info!(
                target: "artifactapi::snapshot",
                root = %order.target, source = %arrived.host, "the metalink does not know this mirror's index"
            );
            let kind = UpstreamErrorKind::Unfit("an index that the metalink does not know".to_owned());
            return Err(Miss::Unlisted(arrived.source, UpstreamError { host: arrived.host, kind }.into()));
        }
        let begins_a_generation = entry_of(order).is_some() && arrived.worth_keeping;
        let mut signatures = Vec::new();
        if must_be_signed(order, remote) && !arrived.worth_keeping {
            let kind =
                UpstreamErrorKind::Unfit("what looks like a page in place of an index that must be signed".to_owned());
            return Err(Miss::Source(arrived.source, UpstreamError { host: arrived.host, kind }.into()));
        }
        if begins_a_generation && (held.is_some() || must_be_signed(order, remote)) {
            let (entry, source) = (arrived.entry(is_last), arrived.source);
            let is_first = held.is_none() && !self.was_published(order).await;
            let done = match is_first {
                true => self.signed_at_first(order, remote, &entry).await.map(|found| signatures = found),
                false => match self.next_generation(order, remote, &entry).await {
                    Ok(outcome) => return Ok(outcome),
                    Err(error) => Err(error),
                },
            };
            done.map_err(|error| Miss::of(source, error))?;
        }
        // From before the entry can be seen. What is on the shelf is looked at again, so that it waits, too.
        let completion = begins_a_generation.then(|| self.completing.begin(&order.target));
        if begins_a_generation && must_be_signed(order, remote) {
            self.shelf.doubt(&order.target.repository);
        }
        let replaces = held.map(|held| held.artifact.revision);
        let (host, source) = (arrived.host.clone(), arrived.source);
        let outcome = self.store(order, arrived, replaces).await;
        if let (Some(completion), Outcome::Held(_, Via::Fetched)) = (completion, &outcome) {
            for (ask, signature) in signatures {
                // Whoever asks for it next need not fetch it, and no harm is done if he must.
                let _ = self.store(&ask, signature, None).await;
            }
            self.complete_later(order, remote, host, source, completion);
        }
        Ok(outcome)
    }

    /// The whole content, unconditionally, for nobody to follow.
    pub(super) async fn arrive(
        &self,
        order: &Order,
        remote: &Sources,
        source: Option<usize>,
    ) -> Result<Arrived, FillError> {
        match self.get_from(order, remote, None, None, source).await {
            Ok(Got::Arrived(arrived)) if arrived.worth_keeping => Ok(*arrived),
            Ok(Got::Arrived(arrived)) => {
                let kind = UpstreamErrorKind::Unfit("what looks like a page in place of the file".to_owned());
                Err(UpstreamError { host: arrived.host, kind }.into())
            }
            Ok(Got::Settled(_) | Got::Confirmed { .. }) => Err(SpoolError::Full.into()),
            Err(miss) => Err(miss.error()),
        }
    }

    /// Asks, beginning with `source`, and receives what comes.
    async fn get_from(
        &self,
        order: &Order,
        remote: &Sources,
        held: Option<&Arc<Held>>,
        sender: Option<&FillSender>,
        source: Option<usize>,
    ) -> Result<Got, Miss> {
        let Some(_turn) = self.turn(order, remote).await else {
            return Err(Miss::Everywhere(FillError::GivenUp));
        };
        // What the list does not know is not to be confirmed by a mirror that has just that, too.
        let confirmable = match held {
            Some(held) if is_in_a_list(order, remote) && !self.is_held_listed(remote, held).await => None,
            held => held,
        };
        let validators = confirmable.map(|held| &held.artifact.validators);
        let how = match validators {
            Some(Validators { etag: None, last_modified: None }) | None => How::Get,
            Some(v) => How::GetIfChanged { etag: v.etag.as_deref(), last_modified: v.last_modified.as_deref() },
        };
        let is_conditional = matches!(how, How::GetIfChanged { .. });
        let ask = Ask { remote, path: &order.target.path, query: &order.target.query, how };
        let answer = self.upstream.ask(&ask, source).await.map_err(|error| Miss::Everywhere(error.into()))?;
        if answer.sent == Sent::Unchanged {
            return match held.filter(|_| is_conditional) {
                Some(held) => {
                    let (host, source) = (answer.body.host().to_owned(), answer.source);
                    let outcome = self.confirm(order, held, answer.etag, answer.last_modified).await;
                    Ok(Got::Confirmed { outcome, host, source })
                }
                None => Err(unfit(&answer, "304 to an unconditional request")),
            };
        }
        if answer.sent != Sent::Whole {
            return Err(unfit(&answer, "a part although the whole was asked for"));
        }
        let worth_keeping = match appearance(order, &answer) {
            Appearance::Fit => true,
            // What we hold is better than what may be a page in its place (DESIGN 4.6).
            Appearance::Doubtful if held.is_some() => {
                return Err(unfit(&answer, "what looks like a page in place of the file that is held"));
            }
            Appearance::Doubtful => false,
            Appearance::Unfit(why) => return Err(unfit(&answer, why)),
        };
        // What replaces metadata is shown when it is whole, an index that must be signed when its signature has been seen, and
        // one that a list knows when it has been compared.
        // So is a signature, once it is known what it signs: it is small, and no digest tells one from another.
        let is_shown_at_the_end = (held.is_some() && order.role.is_metadata())
            || order.role == Role::IndexCompanion
            || must_be_looked_at(order, remote);
        let readers = sender.filter(|_| !is_shown_at_the_end);
        self.receive(order, remote, readers, answer, worth_keeping).await
    }

    async fn receive(
        &self,
        order: &Order,
        remote: &Sources,
        readers: Option<&FillSender>,
        answer: Answer,
        worth_keeping: bool,
    ) -> Result<Got, Miss> {
        if self.outgrew_the_disk_lately(order) {
            return Ok(Got::Settled(Outcome::NoRoom(Unread::of(answer))));
        }
        let (checker, second_opinion) = checkers(order, remote.verify, &self.limits);
        let (mut writer, reader) = match self.spool.create(answer.length, checker).await {
            Ok(made) => made,
            Err(SpoolError::Full) => return Ok(Got::Settled(Outcome::NoRoom(Unread::of(answer)))),
            Err(error) => return Err(Miss::Everywhere(error.into())),
        };
        let source = answer.source;
        let head = Arc::new(Head::with_origin(&answer, order, remote));
        let host = answer.body.host().to_owned();
        let draft = draft(order, &answer, &head);
        let transfer = Transfer {
            upstream: &self.upstream,
            remote,
            order,
            readers: readers.map(|sender| (sender, Arc::clone(&head), reader)),
        };
        let blame = |error: FillError| match error {
            FillError::Spool(SpoolError::Full) => {
                self.roomless.insert(order.target.clone(), Instant::now() + ROOMLESS_FOR);
                Miss::Everywhere(error)
            }
            FillError::Spool(SpoolError::Invalid(why)) => {
                let kind = UpstreamErrorKind::Unfit(why.to_string());
                Miss::Source(source, UpstreamError { host: host.clone(), kind }.into())
            }
            FillError::Upstream(error) => Miss::Source(source, error.into()),
            other => Miss::Everywhere(other),
        };
        let began = Instant::now();
        if let Err(error) = transfer.run(answer, &mut writer).await {
            writer.abandon(&error.to_string());
            return Err(blame(error));
        }
        let spooled = writer.complete().await.map_err(|error| blame(error.into()))?;
        self.counts.upstream_bytes.inc_by(spooled.size);
        self.upstream.credit(remote, source, spooled.size, began.elapsed());
        if let Some(why) = second_opinion.and_then(|opinion| opinion.objection()) {
            self.counts.unfit.inc();
            tracing::warn!(target: "artifactapi::fill", path = %order.target, %why, "passed on although the index says otherwise");
            return Ok(Got::Arrived(Box::new(Arrived { draft, spooled, host, source, worth_keeping: false })));
        }
        Ok(Got::Arrived(Box::new(Arrived { draft, spooled, host, source, worth_keeping })))
    }

    /// Whether readers of this target were cut off a moment ago because its length became known too late.
    fn outgrew_the_disk_lately(&self, order: &Order) -> bool {
        self.roomless.get(&order.target).is_some_and(|until| Instant::now() < until)
    }

    async fn store(&self, order: &Order, arrived: Arrived, replaces: Option<Revision>) -> Outcome {
        let Arrived { draft, spooled, worth_keeping, .. } = arrived;
        if worth_keeping {
            match self.keeper.keep(&spooled, draft.clone(), replaces).await {
                Ok(Kept::Current(artifact)) => {
                    let held = self.held(order, artifact, &spooled).await;
                    self.switches.shelve(&order.repository, &held).await;
                    return Outcome::Held(held, Via::Fetched);
                }
                Ok(Kept::Beaten(_)) => {
                    self.shelf.forget(&order.target);
                    let found = self.switches.find(&order.repository, &order.target, order.role, &order.mutability);
                    if let Ok(Found::Held(held)) = found.await {
                        return Outcome::Held(held, Via::Elsewhere);
                    }
                }
                Err(error) => {
                    self.counts.unkept.inc();
                    tracing::warn!(target: "artifactapi::fill", path = %order.target, error = %error, "fetched, but not kept");
                }
            }
        }
        let mut artifact = draft;
        artifact.size = spooled.size;
        artifact.sha256 = spooled.sha256;
        let held = self.held(order, artifact, &spooled).await;
        // It is not what the next request finds.
        held.supersede();
        if !worth_keeping {
            held.let_nobody_keep();
        }
        Outcome::Held(held, Via::Unkept)
    }

    /// The spooled bytes as something to serve; the spool's file is the body.
    pub(super) async fn held(&self, order: &Order, artifact: Artifact, spooled: &Spooled) -> Arc<Held> {
        let body = if spooled.size <= MEMORY_BODY { whole(spooled.file(), spooled.size).await } else { None };
        let body = body.map_or_else(|| HeldBody::File(Arc::clone(spooled.file())), HeldBody::Memory);
        Arc::new(Held::new(artifact, order.role, order.mutability.clone(), body))
    }

    async fn confirm(
        &self,
        order: &Order,
        held: &Arc<Held>,
        etag: Option<String>,
        last_modified: Option<String>,
    ) -> Outcome {
        let at = now();
        held.confirm(at);
        let validators = Validators {
            etag: etag.or_else(|| held.artifact.validators.etag.clone()),
            last_modified: last_modified.or_else(|| held.artifact.validators.last_modified.clone()),
        };
        match self.catalog.touch(&order.target, held.artifact.revision, at, &validators).await {
            Ok(true) => {}
            Ok(false) => self.shelf.forget(&order.target),
            Err(error) => {
                tracing::debug!(target: "artifactapi::fill", path = %order.target, error = %error, "confirmation not recorded");
            }
        }
        Outcome::Held(Arc::clone(held), Via::Confirmed)
    }
}

impl Arrived {
    /// As the entry that a generation is built around.
    fn entry(&self, may_have_gaps: bool) -> Entry {
        let Self { draft, spooled, host, source, .. } = self;
        Entry {
            artifact: Artifact { size: spooled.size, sha256: spooled.sha256, ..draft.clone() },
            content: Content::File(Arc::clone(spooled.file())),
            spooled: Some(spooled.clone()),
            host: host.clone(),
            source: *source,
            may_have_gaps,
        }
    }
}

/// Whether nothing of this index may be shown before a trusted key is known to have signed it.
fn must_be_signed(order: &Order, remote: &Remote) -> bool {
    !remote.trusted_keys.is_empty() && entry_of(order).is_some()
}

/// Whether nothing of this index may be shown before it was looked at as a whole.
fn must_be_looked_at(order: &Order, remote: &Sources) -> bool {
    must_be_signed(order, remote) || is_in_a_list(order, remote)
}

fn draft(order: &Order, answer: &Answer, head: &Head) -> Artifact {
    let at = now();
    Artifact {
        target: order.target.clone(),
        revision: Revision(0),
        blob: order.target.first_blob_key(),
        size: 0,
        sha256: Sha256::from_bytes([0; 32]),
        content_type: head.content_type.clone(),
        last_modified: last_modified(order.role, answer.last_modified.as_deref(), at),
        validators: Validators { etag: answer.etag.clone(), last_modified: answer.last_modified.clone() },
        stored_at: at,
        checked_at: at,
        identity: order.expected.as_ref().map(|expected| expected.identity.clone()),
    }
}
