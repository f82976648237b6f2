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
mod giver;
mod lead;
mod listed;
mod miss;
mod opinion;
mod receive;
mod settle;
mod turns;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use artifactapi_formats::{Identity, Limits, Role};
use parking_lot::Mutex;
use tokio::sync::broadcast;
use url::Url;

use self::beside::Beside;
use self::completing::Completing;
pub(super) use self::completing::may_name;
pub(super) use self::generation::MID_UPDATE;
use self::generation::entry_of;
pub use self::lead::PATIENCE;
pub use self::turns::MAX_FILLS;
use self::turns::Turns;
use super::counts::Counts;
use super::distrust::Distrust;
use super::fill::{Fill, Order, Outcome};
use super::held::{Held, now};
use super::keep::Keeper;
use super::prefetch::Prefetcher;
use super::shelf::Shelf;
use super::switches::Switches;
use crate::config::{Remote, Repository};
use crate::spool::SpoolFolder;
use crate::store::blobs::BlobStore;
use crate::store::catalog::Catalog;
use crate::store::catalog::snapshots::{SnapshotId, Snapshots};
use crate::store::coordinator::Coordinator;
use crate::store::key::Target;
use crate::upstream::Upstream;

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
    turns: Turns,
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
            turns: Turns::new(),
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

    /// Whether an index that may name this package is just being written down.
    #[must_use]
    pub fn is_completing_index_of(&self, repository: &Repository, package: &Target) -> bool {
        self.completing.any(repository, &package.path)
    }

    /// Waits until it is known what an index says of this package that is just being written down, for as long as clients bear it.
    pub async fn await_index_of(&self, repository: &Repository, remote: &Remote, package: &Target) {
        self.completing.wait(repository, &package.path, !remote.trusted_keys.is_empty()).await;
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
