//! The fills that run now: one for each target, here and (through the coordinator) across replicas.
//!
//! [`Fills::join`] gives a handle on the fill of a target and starts one if none runs. The task asks the coordinator for
//! the lead, looks whether another replica has done the work meanwhile, asks upstream, spools, checks, keeps, and puts
//! the result on the shelf. Whatever happens to it, the target is free for the next attempt afterwards, and a source
//! that sent something unfit is not the first to be asked then.

pub(super) mod appearance;
mod beside;
mod completing;
mod fetch;
mod generation;
mod listed;
mod miss;
mod opinion;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use artifactapi_formats::{Identity, Limits, Role};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, broadcast};
use url::Url;

use self::beside::Beside;
use self::completing::Completing;
use self::generation::entry_of;
use super::counts::Counts;
use super::distrust::Distrust;
use super::fill::{Fill, FillSender, Order, Outcome, Via};
use super::freshness::is_ahead;
use super::held::{Held, now};
use super::keep::Keeper;
use super::prefetch::Prefetcher;
use super::shelf::{Found, Shelf};
use super::switches::Switches;
use crate::config::{Remote, Repository};
use crate::spool::SpoolFolder;
use crate::store::blobs::BlobStore;
use crate::store::catalog::snapshots::{SnapshotId, Snapshots};
use crate::store::catalog::{Artifact, Catalog};
use crate::store::coordinator::{Coordinator, Entered};
use crate::store::key::{RepositoryName, Target};
use crate::upstream::Upstream;

/// How long a replica waits for another that fetches the same target, before it fetches too. Shorter than the 30 s
/// after which dnf gives up on a silent server (FORMATS 3.7).
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The most fills that move bytes at once; more wait their turn.
pub const MAX_FILLS: usize = 256;

/// The most of one repository that does not say how many (`max_parallel`): a slow upstream must not take the turns of all.
const MAX_FILLS_OF_ONE: usize = MAX_FILLS / 4;

/// How many targets are remembered whose first source sent something unfit, with the one to ask first.
const SUSPECTS: usize = 1_024;

/// How many targets are remembered that outgrew the disk although their length was not known at the beginning.
const ROOMLESS: usize = 1_024;

/// For how long such a target is passed through without being kept.
const ROOMLESS_FOR: Duration = Duration::from_secs(60);

/// How many publications a listener may lag behind before it misses some.
const PUBLICATIONS_KEPT: usize = 256;

/// A snapshot that this server published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its root.
    pub root: Target,
    /// Its number.
    pub snapshot: SnapshotId,
}

/// Everything a fill works with.
pub struct Fills {
    running: Mutex<HashMap<Target, Running>>,
    beside: Beside,
    started: AtomicU64,
    suspects: quick_cache::sync::Cache<Target, Url>,
    roomless: quick_cache::sync::Cache<Target, Instant>,
    room: Semaphore,
    lanes: Mutex<HashMap<RepositoryName, Arc<Semaphore>>>,
    upstream: Upstream,
    spool: SpoolFolder,
    limits: Limits,
    shelf: Arc<Shelf>,
    keeper: Arc<Keeper>,
    catalog: Arc<dyn Catalog>,
    snapshots: Arc<dyn Snapshots>,
    blobs: Arc<dyn BlobStore>,
    coordinator: Arc<dyn Coordinator>,
    switches: Arc<Switches>,
    counts: Arc<Counts>,
    distrust: Arc<Distrust>,
    completing: Arc<Completing>,
    prefetcher: Prefetcher,
    publications: broadcast::Sender<Publication>,
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
    pub snapshots: Arc<dyn Snapshots>,
    pub blobs: Arc<dyn BlobStore>,
    pub coordinator: Arc<dyn Coordinator>,
    pub switches: Arc<Switches>,
    pub counts: Arc<Counts>,
    pub distrust: Arc<Distrust>,
}

impl Fills {
    /// No fills yet.
    #[must_use]
    pub fn new(parts: FillParts) -> Self {
        let FillParts { catalog, snapshots, shelf, counts, .. } = &parts;
        let prefetcher =
            Prefetcher::new(Arc::clone(catalog), Arc::clone(snapshots), Arc::clone(shelf), Arc::clone(counts));
        Self {
            completing: Arc::default(),
            prefetcher,
            publications: broadcast::Sender::new(PUBLICATIONS_KEPT),
            running: Mutex::default(),
            beside: Beside::default(),
            suspects: quick_cache::sync::Cache::new(SUSPECTS),
            roomless: quick_cache::sync::Cache::new(ROOMLESS),
            room: Semaphore::new(MAX_FILLS),
            lanes: Mutex::default(),
            upstream: parts.upstream,
            spool: parts.spool,
            limits: parts.limits,
            shelf: parts.shelf,
            keeper: parts.keeper,
            catalog: parts.catalog,
            snapshots: parts.snapshots,
            blobs: parts.blobs,
            coordinator: parts.coordinator,
            switches: parts.switches,
            started: AtomicU64::new(0),
            counts: parts.counts,
            distrust: parts.distrust,
        }
    }

    /// The client that asks upstreams.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// What fetches ahead.
    #[must_use]
    pub fn prefetcher(&self) -> &Prefetcher {
        &self.prefetcher
    }

    /// Snapshots that this server publishes from now on.
    #[must_use]
    pub fn publications(&self) -> broadcast::Receiver<Publication> {
        self.publications.subscribe()
    }

    /// Waits until it is known what an index says of this package that is just being written down, for as long as clients bear it.
    pub async fn await_index_of(&self, repository: &Repository, package: &Target) {
        self.completing.wait(repository, &package.path).await;
    }

    /// How many fills of packages and files of a repository run now.
    #[must_use]
    pub fn bodies_of(&self, repository: &Repository) -> usize {
        let is_body = |target: &&Target| {
            target.repository == repository.name && !repository.format.classify(&target.path).is_metadata()
        };
        self.running.lock().keys().filter(is_body).count()
    }

    /// The fill of a target that runs now.
    #[must_use]
    pub fn running(&self, target: &Target) -> Option<Fill> {
        self.running.lock().get(target).map(|running| running.fill.clone())
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
        if let Some(running) = running.get(&order.target).filter(|running| running.is_for(&order)) {
            return running.fill.clone();
        }
        let (sender, fill) = Fill::new();
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let expected = order.expected.as_ref().map(|expected| expected.identity.clone());
        running.insert(order.target.clone(), Running { number, fill: fill.clone(), expected });
        drop(running);
        let fills = Arc::clone(self);
        tokio::spawn(async move {
            let ending = Ending { fills: &fills, target: order.target.clone(), number };
            let outcome = Box::pin(fills.run(&order, held.clone(), &sender)).await;
            if let (Outcome::Failed(_) | Outcome::Absent(_), Some(held)) = (&outcome, &held) {
                held.revalidation_failed(now());
            }
            // Whatever is held of an index in the end may be shown: it was verified, or upstream says that it is still the one.
            if let Outcome::Held(..) = &outcome
                && entry_of(&order).is_some()
            {
                fills.distrust.trusted(&order.target);
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

    async fn run(self: &Arc<Self>, order: &Order, mut held: Option<Arc<Held>>, sender: &FillSender) -> Outcome {
        let mut patience = PATIENCE;
        let started = Instant::now();
        // What is held and doubted is not saved by a confirmation from before the doubt.
        let is_doubted = held.as_ref().is_some_and(|held| held.confirmed_at() == SystemTime::UNIX_EPOCH);
        let wanted_after = if is_doubted { now() } else { order.confirmed_after };
        let lease = loop {
            match self.coordinator.enter(&order.target, patience).await {
                Entered::Lead(lease) => break Some(lease),
                Entered::Settled => {
                    if let Some(outcome) = self.done_elsewhere(order, held.as_ref(), wanted_after).await {
                        return outcome;
                    }
                    patience = PATIENCE.saturating_sub(started.elapsed());
                }
                Entered::OutOfPatience => break None,
            }
        };
        if let Some(outcome) = self.done_elsewhere(order, held.as_ref(), wanted_after).await {
            return outcome;
        }
        // The record may have changed since the request looked; what is confirmed or replaced is the current one.
        if let Some(current) = self.shelf.peek(&order.target).filter(|current| is_wanted(order, &current.artifact)) {
            held = Some(current);
        }
        let outcome = match self.sources(&order.repository, order.role).await {
            Ok(sources) => self.fetch(order, sources, held, sender).await,
            Err(error) => Outcome::Failed(error),
        };
        drop(lease);
        outcome
    }

    /// Waits until a body may be received; the turn ends when this is dropped. Never held while waiting for another fill.
    async fn turn(&self, order: &Order, remote: &Remote) -> Option<Turn<'_>> {
        let most = remote.max_parallel.map_or(MAX_FILLS_OF_ONE, NonZeroUsize::get);
        let lane = self.lane(&order.target.repository, most).acquire_owned().await.ok()?;
        Some(Turn { _lane: lane, _room: self.room.acquire().await.ok()? })
    }

    /// The turns of a repository with a bound of its own. A changed bound takes effect when the server starts again.
    fn lane(&self, repository: &RepositoryName, most: usize) -> Arc<Semaphore> {
        let mut lanes = self.lanes.lock();
        Arc::clone(lanes.entry(repository.clone()).or_insert_with(|| Arc::new(Semaphore::new(most))))
    }

    /// What the catalog has, if another replica made it what is wanted: the content that was held, confirmed meanwhile, or
    /// another, new enough.
    async fn done_elsewhere(
        &self,
        order: &Order,
        held: Option<&Arc<Held>>,
        wanted_after: SystemTime,
    ) -> Option<Outcome> {
        let current = self.catalog.lookup(&order.target).await.ok()?.filter(|current| is_wanted(order, current))?;
        let is_wanted = current.checked_at > wanted_after && !is_ahead(current.checked_at, now());
        match held {
            Some(held) if current.revision == held.artifact.revision => {
                if !is_wanted || current.checked_at <= held.confirmed_at() {
                    return None;
                }
                held.confirm(current.checked_at);
                return Some(Outcome::Held(Arc::clone(held), Via::Elsewhere));
            }
            Some(_) => self.shelf.forget(&order.target),
            None => {}
        }
        match self.switches.find(&order.repository, &order.target, order.role, &order.mutability).await {
            Ok(Found::Held(held)) if is_wanted => Some(Outcome::Held(held, Via::Elsewhere)),
            // Newer than what was known and still not new enough: on the shelf now, and asked about from here on.
            _ => None,
        }
    }
}

/// The right to receive one body.
struct Turn<'a> {
    _lane: OwnedSemaphorePermit,
    _room: SemaphorePermit<'a>,
}

/// A fill that runs.
struct Running {
    number: u64,
    fill: Fill,
    /// What its index says the package must be.
    expected: Option<Identity>,
}

impl Running {
    /// Whether what it fetches is what is ordered: of a package that was built again under its name there are two.
    fn is_for(&self, order: &Order) -> bool {
        match &order.expected {
            Some(expected) if order.role == Role::Package => self.expected.as_ref() == Some(&expected.identity),
            _ => true,
        }
    }
}

/// Whether some content is not known to be another package than the one that is ordered.
fn is_wanted(order: &Order, artifact: &Artifact) -> bool {
    match (&order.expected, &artifact.identity) {
        (Some(expected), Some(identity)) if order.role == Role::Package => expected.identity == *identity,
        _ => true,
    }
}

/// Frees the target however the task ends.
struct Ending<'a> {
    fills: &'a Fills,
    target: Target,
    number: u64,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut running = self.fills.running.lock();
        if running.get(&self.target).is_some_and(|running| running.number == self.number) {
            running.remove(&self.target);
        }
    }
}
