//! The fills that run now: one for each target, here and (through the coordinator) across replicas.
//!
//! [`Fills::join`] gives a handle on the fill of a target and starts one if none runs. The task asks the coordinator for
//! the lead, looks whether another replica has done the work meanwhile, asks upstream, spools, checks, keeps, and puts
//! the result on the shelf. Whatever happens to it, the target is free for the next attempt afterwards, and a source
//! that sent something unfit is not the first to be asked then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::{Limits, Role};
use parking_lot::Mutex;
use reqwest::StatusCode;
use tokio::sync::Semaphore;

use super::fill::{Fill, FillError, FillSender, Head, Order, Outcome, Via};
use super::held::{Held, HeldBody, now};
use super::keep::{Keeper, Kept};
use super::shelf::{Found, MEMORY_BODY, Shelf, whole};
use super::transfer::Transfer;
use crate::config::{Kind, Remote};
use crate::spool::{SpoolError, SpoolFolder, Spooled};
use crate::store::catalog::{Artifact, Catalog, Revision, Validators};
use crate::store::coordinator::{Coordinator, Entered};
use crate::store::key::{RepositoryName, Target};
use crate::upstream::{Answer, Ask, How, Upstream, UpstreamError, UpstreamErrorKind};

/// How long a replica waits for another that fetches the same target, before it fetches too. Shorter than the 30 s
/// after which dnf gives up on a silent server (FORMATS 3.7).
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The most fills that move bytes at once; more wait their turn.
pub const MAX_FILLS: usize = 256;

/// How many targets are remembered whose first source sent something unfit.
const SUSPECTS: usize = 1_024;

/// Everything a fill works with.
pub struct Fills {
    running: Mutex<HashMap<Target, Fill>>,
    suspects: quick_cache::sync::Cache<Target, usize>,
    room: Semaphore,
    lanes: Mutex<HashMap<RepositoryName, Arc<Semaphore>>>,
    upstream: Upstream,
    spool: SpoolFolder,
    limits: Limits,
    shelf: Arc<Shelf>,
    keeper: Arc<Keeper>,
    catalog: Arc<dyn Catalog>,
    coordinator: Arc<dyn Coordinator>,
    counts: Arc<super::counts::Counts>,
}

/// What [`Fills::new`] is handed.
#[allow(missing_docs, reason = "the types say it")]
pub struct FillParts {
    pub upstream: Upstream,
    pub spool: SpoolFolder,
    pub limits: Limits,
    pub shelf: Arc<Shelf>,
    pub keeper: Arc<Keeper>,
    pub catalog: Arc<dyn Catalog>,
    pub coordinator: Arc<dyn Coordinator>,
    pub counts: Arc<super::counts::Counts>,
}

impl Fills {
    /// No fills yet.
    #[must_use]
    pub fn new(parts: FillParts) -> Self {
        Self {
            running: Mutex::default(),
            suspects: quick_cache::sync::Cache::new(SUSPECTS),
            room: Semaphore::new(MAX_FILLS),
            lanes: Mutex::default(),
            upstream: parts.upstream,
            spool: parts.spool,
            limits: parts.limits,
            shelf: parts.shelf,
            keeper: parts.keeper,
            catalog: parts.catalog,
            coordinator: parts.coordinator,
            counts: parts.counts,
        }
    }

    /// Where spools are made.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The fill of a target that runs now.
    #[must_use]
    pub fn running(&self, target: &Target) -> Option<Fill> {
        self.running.lock().get(target).cloned()
    }

    /// How many fills run now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.running.lock().len()
    }

    /// Follows the fill of `order.target`, and starts it if none runs. `held` is what it may confirm or replace.
    #[must_use]
    pub fn join(self: &Arc<Self>, order: Order, held: Option<Arc<Held>>) -> Fill {
        let mut running = self.running.lock();
        if let Some(fill) = running.get(&order.target) {
            return fill.clone();
        }
        let (sender, fill) = Fill::new();
        running.insert(order.target.clone(), fill.clone());
        drop(running);
        let fills = Arc::clone(self);
        tokio::spawn(async move {
            let ending = Ending { fills: &fills, target: order.target.clone() };
            let outcome = Box::pin(fills.run(&order, held.clone(), &sender)).await;
            if let (Outcome::Failed(_) | Outcome::Absent(_), Some(held)) = (&outcome, &held) {
                held.revalidation_failed(now());
            }
            if let Outcome::Failed(error) = &outcome {
                tracing::warn!(target: "artifactapi::fill", path = %order.target, role = %order.role, error = %error, "fill failed");
            }
            // New requests must find the shelf, not a fill that is over, before this outcome wakes anybody.
            drop(ending);
            sender.settle(outcome);
        });
        fill
    }

    async fn run(&self, order: &Order, mut held: Option<Arc<Held>>, sender: &FillSender) -> Outcome {
        let Kind::Remote(remote) = &order.repository.kind else {
            return Outcome::Failed(FillError::GivenUp);
        };
        let mut patience = PATIENCE;
        let started = std::time::Instant::now();
        let lease = loop {
            match self.coordinator.enter(&order.target, patience).await {
                Entered::Lead(lease) => break Some(lease),
                Entered::Settled => {
                    if let Some(outcome) = self.done_elsewhere(order, held.as_ref()).await {
                        return outcome;
                    }
                    patience = PATIENCE.saturating_sub(started.elapsed());
                }
                Entered::OutOfPatience => break None,
            }
        };
        if let Some(outcome) = self.done_elsewhere(order, held.as_ref()).await {
            return outcome;
        }
        // The record may have changed since the request looked; what is confirmed or replaced is the current one.
        if let Some(current) = self.shelf.peek(&order.target) {
            held = Some(current);
        }
        let lane = remote.max_parallel.map(|most| self.lane(&order.target.repository, most.get()));
        let _lane_turn = match &lane {
            Some(lane) => lane.acquire().await.ok(),
            None => None,
        };
        let Ok(_turn) = self.room.acquire().await else {
            return Outcome::Failed(FillError::GivenUp);
        };
        let outcome = self.fetch(order, remote, held, sender).await;
        drop(lease);
        outcome
    }

    /// The turns of a repository with a bound of its own. A changed bound takes effect when the server starts again.
    fn lane(&self, repository: &RepositoryName, most: usize) -> Arc<Semaphore> {
        let mut lanes = self.lanes.lock();
        Arc::clone(lanes.entry(repository.clone()).or_insert_with(|| Arc::new(Semaphore::new(most))))
    }

    /// Whether the catalog has something newer than what the request knew of.
    async fn done_elsewhere(&self, order: &Order, held: Option<&Arc<Held>>) -> Option<Outcome> {
        let current = self.catalog.lookup(&order.target).await.ok()??;
        if let Some(held) = held {
            if current.revision == held.artifact.revision {
                if current.checked_at <= held.confirmed_at() {
                    return None;
                }
                held.confirm(current.checked_at);
                return Some(Outcome::Held(Arc::clone(held), Via::Elsewhere));
            }
            self.shelf.forget(&order.target);
        }
        match self.shelf.find(&order.target, order.role, &order.mutability).await {
            Ok(Found::Held(held)) => Some(Outcome::Held(held, Via::Elsewhere)),
            _ => None,
        }
    }

    /// Asks the sources in turn until one sends something fit.
    async fn fetch(&self, order: &Order, remote: &Remote, held: Option<Arc<Held>>, sender: &FillSender) -> Outcome {
        let sources = 1 + remote.mirrors.len();
        let mut source = self.suspects.get(&order.target).unwrap_or(0) % sources;
        let mut trouble = None;
        for _ in 0..sources {
            match self.fetch_from(order, remote, held.as_ref(), sender, source).await {
                Ok(outcome) => {
                    self.suspects.remove(&order.target);
                    return outcome;
                }
                Err(Miss::Everywhere(error)) => {
                    trouble.get_or_insert(error);
                    break;
                }
                Err(Miss::Source(culprit, error)) => {
                    self.counts.unfit.inc();
                    source = (culprit + 1) % sources;
                    self.suspects.insert(order.target.clone(), source);
                    trouble.get_or_insert(error);
                    // Once readers have bytes of one source, no other can continue them.
                    if sender.is_streaming() {
                        break;
                    }
                }
            }
        }
        match trouble {
            Some(FillError::Upstream(error)) if matches!(error.kind, UpstreamErrorKind::Absent(_)) => {
                Outcome::Absent(error)
            }
            Some(error) => Outcome::Failed(error),
            None => Outcome::Failed(FillError::GivenUp),
        }
    }

    /// Asks, beginning with `source`.
    async fn fetch_from(
        &self,
        order: &Order,
        remote: &Remote,
        held: Option<&Arc<Held>>,
        sender: &FillSender,
        source: usize,
    ) -> Result<Outcome, Miss> {
        let validators = held.map(|held| &held.artifact.validators);
        let how = match validators {
            Some(Validators { etag: None, last_modified: None }) | None => How::Get,
            Some(v) => How::GetIfChanged { etag: v.etag.as_deref(), last_modified: v.last_modified.as_deref() },
        };
        let ask = Ask { remote, path: &order.target.path, query: &order.target.query, how };
        self.counts.upstream_requests.inc();
        let answer = self.upstream.ask(&ask, source).await.map_err(|error| Miss::Everywhere(error.into()))?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return match held {
                Some(held) => Ok(self.confirm(order, held, answer.etag, answer.last_modified).await),
                None => Err(unfit(&answer, "304 to an unconditional request")),
            };
        }
        if answer.status != StatusCode::OK {
            return Err(unfit(&answer, "a part although the whole was asked for"));
        }
        let worth_keeping = match appearance(order, &answer) {
            Appearance::Fit => true,
            Appearance::Doubtful => false,
            Appearance::Unfit(why) => return Err(unfit(&answer, why)),
        };
        self.receive(order, remote, held, sender, answer, worth_keeping).await
    }

    async fn receive(
        &self,
        order: &Order,
        remote: &Remote,
        held: Option<&Arc<Held>>,
        sender: &FillSender,
        answer: Answer,
        worth_keeping: bool,
    ) -> Result<Outcome, Miss> {
        let checker = order.repository.format.checker(&order.target.path, order.expected.as_ref(), &self.limits);
        let (mut writer, reader) = match self.spool.create(answer.length, checker).await {
            Ok(made) => made,
            Err(SpoolError::Full) => return Ok(Outcome::NoRoom),
            Err(error) => return Err(Miss::Everywhere(error.into())),
        };
        let source = answer.source;
        let head = Arc::new(Head::of(&answer, order));
        let replaces_metadata = held.is_some() && order.role.is_metadata();
        let host = answer.url.host_str().unwrap_or_default().to_owned();
        let draft = draft(order, &answer, &head);
        let transfer = Transfer {
            upstream: &self.upstream,
            remote,
            order,
            readers: (!replaces_metadata).then(|| (sender, Arc::clone(&head), reader)),
        };
        let blame = |error: FillError| match error {
            FillError::Spool(SpoolError::Invalid(why)) => {
                let kind = UpstreamErrorKind::Unfit(why.to_string());
                Miss::Source(source, UpstreamError { host: host.clone(), kind }.into())
            }
            FillError::Upstream(error) => Miss::Source(source, error.into()),
            other => Miss::Everywhere(other),
        };
        if let Err(error) = transfer.run(answer, &mut writer).await {
            writer.abandon(&error.to_string());
            return Err(blame(error));
        }
        let spooled = writer.complete().await.map_err(|error| blame(error.into()))?;
        self.counts.upstream_bytes.inc_by(spooled.size);
        let replaces = held.map(|held| held.artifact.revision);
        Ok(self.store(order, draft, &spooled, replaces, worth_keeping).await)
    }

    async fn store(
        &self,
        order: &Order,
        draft: Artifact,
        spooled: &Spooled,
        replaces: Option<Revision>,
        worth_keeping: bool,
    ) -> Outcome {
        if worth_keeping {
            match self.keeper.keep(spooled, draft.clone(), replaces).await {
                Ok(Kept::Current(artifact)) => {
                    let held = self.held(order, artifact, spooled).await;
                    self.shelf.put(&held);
                    return Outcome::Held(held, Via::Fetched);
                }
                Ok(Kept::Beaten(_)) => {
                    self.shelf.forget(&order.target);
                    if let Ok(Found::Held(held)) = self.shelf.find(&order.target, order.role, &order.mutability).await {
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
        Outcome::Held(self.held(order, artifact, spooled).await, Via::Unkept)
    }

    /// The spooled bytes as something to serve; the spool's file is the body.
    async fn held(&self, order: &Order, artifact: Artifact, spooled: &Spooled) -> Arc<Held> {
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

/// Frees the target however the task ends.
struct Ending<'a> {
    fills: &'a Fills,
    target: Target,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.fills.running.lock().remove(&self.target);
    }
}

/// Why one round of asking gave nothing.
enum Miss {
    /// This source sent something unfit or broke off; another may do better.
    Source(usize, FillError),
    /// No source can help, or the trouble is ours.
    Everywhere(FillError),
}

fn unfit(answer: &Answer, why: impl Into<String>) -> Miss {
    Miss::Source(answer.source, answer.body.error(UpstreamErrorKind::Unfit(why.into())).into())
}

/// What the head of an answer lets one think of its body.
enum Appearance {
    Fit,
    /// To be passed on, but not to be kept.
    Doubtful,
    Unfit(String),
}

/// Media types that are another document *about* the file, or a page for people (FORMATS 3.6).
const NEVER_THE_FILE: &[&str] =
    &["text/html", "application/metalink+xml", "application/metalink4+xml", "application/x-zsync"];

fn appearance(order: &Order, answer: &Answer) -> Appearance {
    if answer.became_listing(&order.target.path) || order.role == Role::Listing {
        return Appearance::Doubtful;
    }
    let said = answer.content_type.as_deref().unwrap_or_default();
    let media_type = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let by_name = order.repository.format.content_type(&order.target.path);
    if !NEVER_THE_FILE.contains(&media_type.as_str()) || by_name.starts_with(&media_type) {
        return Appearance::Fit;
    }
    match order.role {
        Role::IndexCompanion | Role::IndexMember | Role::Package => {
            Appearance::Unfit(format!("a {media_type} document in place of the {}", order.role))
        }
        // A metalink is an index itself; what it says decides, not what it is called.
        Role::Index if media_type == "text/html" => {
            Appearance::Unfit(format!("a {media_type} document in place of the {}", order.role))
        }
        Role::Index => Appearance::Fit,
        Role::File if by_name == "application/octet-stream" && order.target.path.file_name().rfind('.').is_none() => {
            Appearance::Fit
        }
        Role::File | Role::Listing => Appearance::Doubtful,
    }
}

fn draft(order: &Order, answer: &Answer, head: &Head) -> Artifact {
    let at = now();
    let upstream_date = answer.last_modified.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
    let last_modified = match order.role {
        // FORMATS 1.6: apk compares its own clock with this date, so an index is as new as our serving of it.
        Role::Index | Role::IndexCompanion | Role::IndexMember | Role::Listing => at,
        Role::Package | Role::File => upstream_date.filter(|date| *date <= at).unwrap_or(at),
    };
    Artifact {
        target: order.target.clone(),
        revision: Revision(0),
        blob: order.target.first_blob_key(),
        size: 0,
        sha256: artifactapi_formats::Sha256::from_bytes([0; 32]),
        content_type: head.content_type.clone(),
        validators: Validators { etag: answer.etag.clone(), last_modified: answer.last_modified.clone() },
        last_modified,
        stored_at: at,
        checked_at: at,
    }
}
