//! Asking for what is ordered, and receiving what comes: into a spool, checked, and with the record it will have.
//!
//! Nothing is kept here and nothing is made current. What may be shown while it grows is shown to whoever follows; what somebody has to
//! look at as a whole first is not.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use artifactapi_formats::Role;

use super::super::content::Content;
use super::super::fill::{FillError, FillSender, Head, Order, Unread};
use super::super::freshness::last_modified;
use super::super::held::{Held, HeldBody, now};
use super::super::shelf::MEMORY_BODY;
use super::super::transfer::Transfer;
use super::appearance::{Appearance, appearance};
use super::completing::Completion;
use super::generation::entry_of;
use super::giver::Giver;
use super::listed::is_in_a_list;
use super::miss::{Flaw, Miss, unfit};
use super::opinion::checkers;
use super::{Fills, ROOMLESS_FOR};
use crate::config::Remote;
use crate::spool::{SpoolError, Spooled};
use crate::store::catalog::{Artifact, Validators};
use crate::upstream::{Answer, Ask, How, Sent, Sources};

/// A try to have something of one source after another.
#[derive(Clone, Copy)]
pub(super) struct Try<'a> {
    pub(super) fills: &'a Arc<Fills>,
    /// What is wanted.
    pub(super) order: &'a Order,
    /// Where it may be had.
    pub(super) sources: &'a Sources,
    /// What may be confirmed in its place, or is replaced by it.
    pub(super) held: Option<&'a Arc<Held>>,
    /// Those who follow; `None` if nobody does.
    pub(super) readers: Option<&'a FillSender>,
    /// Whether sources are given no more time to end an update.
    pub(super) is_last: bool,
}

/// A whole body, checked and in its spool.
pub(super) struct Arrived {
    /// The record it will have, complete but for what keeping it says: blob and revision.
    pub(super) record: Artifact,
    /// The bytes.
    pub(super) spooled: Spooled,
    /// Where it came from.
    pub(super) giver: Giver,
    /// Whether it may be kept: it is not a page, as far as one can tell.
    pub(super) is_worth_keeping: bool,
    /// Since before it was shown, if it is the entry of a root and was shown as it came.
    pub(super) completion: Option<Completion>,
}

/// What asking came to.
pub(super) enum Got {
    /// A body.
    Arrived(Box<Arrived>),
    /// Nothing to receive: what is held is what this source has.
    Confirmed { held: Arc<Held>, by: Giver },
    /// No room for it.
    NoRoom(Unread),
}

impl Arrived {
    /// Its bytes.
    pub(super) fn content(&self) -> Content {
        Content::from(&self.spooled)
    }

    /// The spooled bytes as something to serve; the spool's file is the body.
    pub(super) async fn held(&self, order: &Order) -> Arc<Held> {
        let (file, size) = (self.spooled.file(), self.spooled.size);
        let body = if size <= MEMORY_BODY { self.content().whole(size).await } else { None };
        let body = body.map_or_else(|| HeldBody::File(Arc::clone(file)), HeldBody::Memory);
        Arc::new(Held::new(self.record.clone(), order.role, order.mutability.clone(), body))
    }
}

impl Fills {
    /// The whole content, unconditionally, for nobody to follow. `first` is asked first.
    pub(super) async fn arrive(
        self: &Arc<Self>,
        order: &Order,
        sources: &Sources,
        first: Option<usize>,
    ) -> Result<Arrived, FillError> {
        let aside = Try { fills: self, order, sources, held: None, readers: None, is_last: false };
        match aside.get(first).await {
            Ok(Got::Arrived(arrived)) if arrived.is_worth_keeping => Ok(*arrived),
            Ok(Got::Arrived(arrived)) => Err(arrived.giver.unfit("what looks like a page in place of the file").into()),
            Ok(Got::NoRoom(_) | Got::Confirmed { .. }) => Err(SpoolError::Full.into()),
            Err(miss) => Err(miss.error()),
        }
    }

    /// An entry is about to be shown before it is known what it names.
    pub(super) fn show_on_credit(&self, order: &Order) -> Completion {
        self.switches.show_on_credit(&order.repository);
        self.completing.begin(&order.target)
    }

    /// Whether readers of this target were cut off a moment ago because its length became known too late.
    fn outgrew_the_disk_lately(&self, order: &Order) -> bool {
        self.roomless.get(&order.target).is_some_and(|until| Instant::now() < until)
    }
}

impl<'a> Try<'a> {
    /// Whether nothing of this index may be shown before a trusted key is known to have signed it.
    pub(super) fn must_be_signed(&self) -> bool {
        must_be_signed(self.order, self.sources)
    }

    /// Whether nothing of this index may be shown before it was looked at as a whole.
    pub(super) fn must_be_looked_at(&self) -> bool {
        self.must_be_signed() || is_in_a_list(self.order, self.sources)
    }

    /// Asks, beginning with `first`, and receives what comes.
    pub(super) async fn get(&self, first: Option<usize>) -> Result<Got, Miss> {
        let Self { fills, order, sources, .. } = *self;
        let Some(_turn) = fills.turns.take(&order.target.repository, sources.max_parallel).await else {
            return Err(Miss::Everywhere(FillError::GivenUp));
        };
        let how = match self.confirmable().await.map(|held| &held.artifact.validators) {
            Some(Validators { etag: None, last_modified: None }) | None => How::Get,
            Some(v) => How::GetIfChanged { etag: v.etag.as_deref(), last_modified: v.last_modified.as_deref() },
        };
        let is_conditional = matches!(how, How::GetIfChanged { .. });
        let ask = Ask { remote: sources, path: &order.target.path, query: &order.target.query, how };
        let answer = fills.upstream.ask(&ask, first).await.map_err(|error| Miss::Everywhere(error.into()))?;
        match (answer.sent, self.held.filter(|_| is_conditional)) {
            (Sent::Whole, _) => {
                let is_worth_keeping = self.is_worth_keeping(&answer)?;
                self.receive(answer, is_worth_keeping).await
            }
            (Sent::Unchanged, Some(held)) => {
                let by = Giver::of(&answer);
                self.confirm(held, answer.etag, answer.last_modified).await;
                Ok(Got::Confirmed { held: Arc::clone(held), by })
            }
            (Sent::Unchanged, None) => Err(unfit(&answer, "304 to an unconditional request")),
            (Sent::Part { .. }, _) => Err(unfit(&answer, "a part although the whole was asked for")),
        }
    }

    /// What is held, unless a list of mirrors does not know it: that is not to be confirmed by a mirror that has just that, too.
    async fn confirmable(&self) -> Option<&'a Arc<Held>> {
        let held = self.held?;
        let may_be = !is_in_a_list(self.order, self.sources) || self.is_held_listed(held).await;
        may_be.then_some(held)
    }

    /// Whether it may be kept. What we hold is better than what may be a page in its place (DESIGN 4.6).
    fn is_worth_keeping(&self, answer: &Answer) -> Result<bool, Miss> {
        match appearance(self.order, answer) {
            Appearance::Fit => Ok(true),
            Appearance::Doubtful if self.held.is_some() => {
                Err(unfit(answer, "what looks like a page in place of the file that is held"))
            }
            Appearance::Doubtful => Ok(false),
            Appearance::Unfit(why) => Err(unfit(answer, why)),
        }
    }

    /// Those who may see it grow. What replaces metadata is shown when it is whole, an index that must be signed when its signature
    /// has been seen, and one that a list knows when it has been compared. So is a signature, once it is known what it signs: it is
    /// small, and no digest tells one from another.
    fn followers(&self) -> Option<&'a FillSender> {
        let is_shown_at_the_end = (self.held.is_some() && self.order.role.is_metadata())
            || self.order.role == Role::IndexCompanion
            || self.must_be_looked_at();
        self.readers.filter(|_| !is_shown_at_the_end)
    }

    async fn receive(&self, answer: Answer, is_worth_keeping: bool) -> Result<Got, Miss> {
        let Self { fills, order, sources, .. } = *self;
        if fills.outgrew_the_disk_lately(order) {
            return Ok(Got::NoRoom(Unread::of(answer)));
        }
        let (checker, second_opinion) = checkers(order, sources.verify, &fills.limits);
        let (mut writer, reader) = match fills.spool.create(answer.length, checker).await {
            Ok(made) => made,
            Err(SpoolError::Full) => return Ok(Got::NoRoom(Unread::of(answer))),
            Err(error) => return Err(Miss::Everywhere(error.into())),
        };
        let (giver, etag, came_at) = (Giver::of(&answer), answer.etag.clone(), now());
        let head = Arc::new(Head::with_origin(&answer, order, sources));
        let followers = self.followers();
        // Whoever is given an entry as it comes may ask for what it names before anybody here knows what that is.
        let completion = followers.and(entry_of(order)).map(|_| fills.show_on_credit(order));
        let readers = followers.map(|sender| (sender, Arc::clone(&head), reader));
        let transfer = Transfer { upstream: &fills.upstream, remote: sources, order, readers };
        let began = Instant::now();
        if let Err(error) = transfer.run(answer, &mut writer).await {
            writer.abandon(&error.to_string());
            return Err(self.blame(&giver, error));
        }
        let spooled = writer.complete().await.map_err(|error| self.blame(&giver, error.into()))?;
        fills.counts.upstream_bytes.inc_by(spooled.size);
        fills.upstream.credit(sources, giver.number, spooled.size, began.elapsed());
        let objection = second_opinion.and_then(|opinion| opinion.objection());
        if let Some(why) = &objection {
            fills.counts.unfit.inc();
            tracing::warn!(target: "artifactapi::fill", path = %order.target, %why, "passed on although the index says otherwise");
        }
        let record = record(order, &head, etag, came_at, &spooled);
        let is_worth_keeping = is_worth_keeping && objection.is_none();
        Ok(Got::Arrived(Box::new(Arrived { record, spooled, giver, is_worth_keeping, completion })))
    }

    /// Whose fault it is that a body did not come whole.
    fn blame(&self, giver: &Giver, error: FillError) -> Miss {
        let error = match error {
            FillError::Spool(SpoolError::Full) => {
                self.fills.roomless.insert(self.order.target.clone(), Instant::now() + ROOMLESS_FOR);
                return Miss::Everywhere(error);
            }
            FillError::Spool(SpoolError::Invalid(why)) => giver.unfit(why.to_string()),
            FillError::Upstream(error) => error,
            other => return Miss::Everywhere(other),
        };
        Miss::source(giver.number, error, Flaw::Unfit)
    }

    /// Notes that a source still has what is held.
    async fn confirm(&self, held: &Held, etag: Option<String>, last_modified: Option<String>) {
        let (fills, target, at) = (self.fills, &self.order.target, now());
        held.confirm(at);
        let validators = Validators {
            etag: etag.or_else(|| held.artifact.validators.etag.clone()),
            last_modified: last_modified.or_else(|| held.artifact.validators.last_modified.clone()),
        };
        match fills.catalog.touch(target, held.artifact.revision, at, &validators).await {
            Ok(true) => {}
            Ok(false) => fills.shelf.forget(target),
            Err(error) => {
                tracing::debug!(target: "artifactapi::fill", path = %target, error = %error, "confirmation not recorded");
            }
        }
    }
}

/// Whether nothing of this index may be shown before a trusted key is known to have signed it.
pub(super) fn must_be_signed(order: &Order, remote: &Remote) -> bool {
    !remote.trusted_keys.is_empty() && entry_of(order).is_some()
}

/// The record of what came at a moment.
fn record(order: &Order, head: &Head, etag: Option<String>, came_at: SystemTime, spooled: &Spooled) -> Artifact {
    let Spooled { size, sha256, .. } = *spooled;
    Artifact {
        last_modified: last_modified(order.role, head.last_modified.as_deref(), came_at),
        validators: Validators { etag, last_modified: head.last_modified.clone() },
        identity: order.expected.as_ref().map(|expected| expected.identity.clone()),
        ..Artifact::unpublished(order.target.clone(), size, sha256, head.content_type.clone(), came_at)
    }
}
