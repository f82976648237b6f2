//! Fetching packages before anybody asks for them.
//!
//! A *run* walks through package rows of the catalog ([`rows`]), a page at a time, and fetches what is wanted and not held:
//! newer builds of what clients have used, or everything that a pattern matches. It fetches as a client's request does,
//! by [`Fills::join`], with the identity that the row gives. So a client that asks meanwhile follows the same transfer, checks
//! and leases hold, and nothing is admitted that a client could not fetch itself.
//!
//! Clients go first: a repository's runs share a few slots and a bandwidth, and begin nothing while clients wait for
//! packages of it ([`pace`]). What goes wrong with a file is counted, and told once when the run is over; it is never
//! tried again by the run, for the next request or the next snapshot does so.
//!
//! After a switch a run follows the publication ([`follow`]). Before one it is part of building the snapshot
//! ([`Prefetcher::before_switch`]); there it fetches only what no current index says anything else of, so that nobody
//! is shown a package of a snapshot that is not there yet.

pub mod follow;
mod pace;
pub mod rows;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use artifactapi_formats::{PackageEntry, Role};
use futures_util::StreamExt as _;
use parking_lot::Mutex;

use self::pace::{Lane, Lanes};
use self::rows::Rows;
use super::counts::Counts;
use super::fill::{Order, Outcome, Via};
use super::fills::Fills;
use super::held::RETRY_AFTER;
use super::shelf::Shelf;
use crate::config::{Admission, PatternSet, Prefetch, Remote, Repository};
use crate::store::catalog::snapshots::{Draft, Generation, Snapshots};
use crate::store::catalog::{Catalog, CatalogError};
use crate::store::key::Target;

/// How long a new snapshot may be held up by what is fetched before it is shown. Fetching goes on after the switch.
pub const BEFORE_SWITCH: Duration = Duration::from_secs(300);

/// How many files of a page are looked at side by side. How many are fetched at once is up to the lane.
const LOOKED_AT: usize = 8;

/// Where a run stands in the life of the snapshot it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is not shown yet.
    BeforeSwitch,
    /// It is, or was, current.
    AfterSwitch,
}

/// What a run is to do.
pub struct Run<'a> {
    /// The repository.
    pub repository: &'a Arc<Repository>,
    /// How its packages are fetched ahead.
    pub policy: &'a Prefetch,
    /// Only paths that match, if given.
    pub only: Option<&'a PatternSet>,
    /// When this happens.
    pub moment: Moment,
}

/// What a run has come to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Files fetched.
    pub fetched: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Files that were held.
    pub held: AtomicU64,
    /// Files that could not be had or kept.
    pub failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

/// Fetches ahead.
pub struct Prefetcher {
    catalog: Arc<dyn Catalog>,
    snapshots: Arc<dyn Snapshots>,
    shelf: Arc<Shelf>,
    counts: Arc<Counts>,
    lanes: Lanes,
}

impl Prefetcher {
    /// Over the parts it uses.
    #[must_use]
    pub fn new(
        catalog: Arc<dyn Catalog>,
        snapshots: Arc<dyn Snapshots>,
        shelf: Arc<Shelf>,
        counts: Arc<Counts>,
    ) -> Self {
        Self { catalog, snapshots, shelf, counts, lanes: Lanes::default() }
    }

    /// Fetches what a draft brings, for at most [`BEFORE_SWITCH`]. A root's first snapshot replaces nothing, so there is
    /// nothing to wait for. Meanwhile clients are given the current snapshot without waiting for this one.
    pub(super) async fn before_switch(&self, fills: &Arc<Fills>, order: &Order, remote: &Remote, draft: Draft) {
        let Some(policy) = remote.prefetch.as_ref().filter(|policy| policy.before_switch && draft.follows.is_some())
        else {
            return;
        };
        let tally = Tally::default();
        let run = |only| Run { repository: &order.repository, policy, only, moment: Moment::BeforeSwitch };
        let work = async {
            if policy.used {
                let mut rows = Rows::renewals(Arc::clone(&self.snapshots), draft.id);
                self.run(fills, &run(None), &mut rows, &tally).await?;
            }
            if let Some(include) = &policy.include {
                let mut rows = Rows::added(Arc::clone(&self.snapshots), draft.id);
                self.run(fills, &run(Some(include)), &mut rows, &tally).await?;
            }
            Ok::<_, CatalogError>(())
        };
        let rest = async {
            loop {
                if let Some(held) = self.shelf.peek(&order.target) {
                    held.revalidation_failed(super::held::now());
                }
                tokio::time::sleep(RETRY_AFTER / 2).await;
            }
        };
        let ended = tokio::select! {
            ended = tokio::time::timeout(BEFORE_SWITCH, work) => ended,
            () = rest => return,
        };
        let came_to_an_end = ended.is_ok();
        tally.tell(&order.target, "before the switch", came_to_an_end, ended.ok().and_then(Result::err));
    }

    /// Walks through `rows`, adding up in `tally`.
    ///
    /// # Errors
    /// [`CatalogError`] when the rows cannot be read; what was fetched until then stays.
    pub async fn run(
        &self,
        fills: &Arc<Fills>,
        run: &Run<'_>,
        rows: &mut Rows,
        tally: &Tally,
    ) -> Result<(), CatalogError> {
        let lane = self.lanes.of(&run.repository.name, run.policy);
        loop {
            let page = rows.next().await?;
            if page.is_empty() {
                return Ok(());
            }
            // What a later snapshot does not name any more is not to be had any more, as a rule.
            let wanted: Vec<PackageEntry> = page
                .into_iter()
                .filter(|row| row.last.is_none() && run.wants(&row.package))
                .map(|row| row.package)
                .collect();
            let done = futures_util::stream::iter(wanted)
                .map(|package| Box::pin(self.file(fills, run, &lane, package, tally)))
                .buffer_unordered(LOOKED_AT)
                .any(|flow| std::future::ready(flow.is_break()));
            if done.await {
                return Ok(());
            }
        }
    }

    /// One file. `Break`: there is no room for more.
    async fn file(
        &self,
        fills: &Arc<Fills>,
        run: &Run<'_>,
        lane: &Lane,
        package: PackageEntry,
        tally: &Tally,
    ) -> ControlFlow<()> {
        let target = Target::new(run.repository.name.clone(), package.path.clone());
        if !self.is_missing(run, &target, &package, tally).await {
            return ControlFlow::Continue(());
        }
        let Some(_slot) = lane.slot(fills, run.repository, package.size).await else {
            return ControlFlow::Break(());
        };
        // It took a while to get here.
        if !self.is_missing(run, &target, &package, tally).await {
            return ControlFlow::Continue(());
        }
        let order = Order {
            repository: Arc::clone(run.repository),
            role: Role::Package,
            mutability: run.repository.format.mutability(&target.path),
            expected: Some(package.expected()),
            confirmed_after: SystemTime::UNIX_EPOCH,
            target,
        };
        let path = order.target.clone();
        match fills.join(order, None).settled().await {
            Outcome::Held(held, Via::Fetched) => {
                tally.fetched.fetch_add(1, Ordering::Relaxed);
                tally.bytes.fetch_add(held.artifact.size, Ordering::Relaxed);
                self.counts.prefetched_files.inc();
                self.counts.prefetched_bytes.inc_by(held.artifact.size);
            }
            Outcome::Held(_, Via::Confirmed | Via::Elsewhere) => tally.already(),
            Outcome::Held(_, Via::Unkept) => self.failed(tally, &path, "it was fetched, but could not be kept"),
            Outcome::NoRoom(_) => {
                self.failed(tally, &path, "there is no room for it");
                return ControlFlow::Break(());
            }
            Outcome::Absent(error) => self.failed(tally, &path, &error.to_string()),
            Outcome::Failed(error) => self.failed(tally, &path, &error.to_string()),
        }
        ControlFlow::Continue(())
    }

    /// Whether nothing is held under the path and no current index says that it is something else. When the catalog cannot
    /// tell, it is left alone.
    async fn is_missing(&self, run: &Run<'_>, target: &Target, package: &PackageEntry, tally: &Tally) -> bool {
        match self.catalog.lookup(target).await {
            Ok(None) => {}
            Ok(Some(_)) => {
                tally.already();
                return false;
            }
            Err(error) => {
                self.failed(tally, target, &error.to_string());
                return false;
            }
        }
        let Ok(named) = self.snapshots.named(&target.repository, &target.path, Generation::Current).await else {
            return false;
        };
        let is_new = named.is_empty() && run.moment == Moment::BeforeSwitch;
        let agree = named.iter().all(|named| named.package.identity == package.identity);
        is_new || (!named.is_empty() && agree)
    }

    fn failed(&self, tally: &Tally, path: &Target, why: &str) {
        self.counts.prefetch_failures.inc();
        tally.failed.fetch_add(1, Ordering::Relaxed);
        tally.first_failure.lock().get_or_insert_with(|| format!("{path}: {why}"));
    }
}

impl Run<'_> {
    fn wants(&self, package: &PackageEntry) -> bool {
        let path = package.path.as_str();
        self.only.is_none_or(|only| only.first_match(path).is_some())
            && self.repository.patterns.admits(path, Role::Package) == Admission::Admitted
    }
}

impl Tally {
    fn already(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// One line for the whole run, if it did anything.
    fn tell(&self, root: &Target, what: &str, came_to_an_end: bool, error: Option<CatalogError>) {
        let [fetched, bytes, held, failed] =
            [&self.fetched, &self.bytes, &self.held, &self.failed].map(|count| count.load(Ordering::Relaxed));
        let first_failure = error.map(|error| error.to_string()).or_else(|| self.first_failure.lock().take());
        if let Some(first_failure) = first_failure {
            tracing::warn!(
                target: "artifactapi::prefetch",
                %root, what, fetched, bytes, held, failed, first_failure, came_to_an_end, "not everything could be fetched ahead"
            );
        } else if !came_to_an_end {
            tracing::warn!(
                target: "artifactapi::prefetch",
                %root, what, fetched, bytes, held, limit_seconds = BEFORE_SWITCH.as_secs(),
                "fetching ahead takes too long; the new snapshot is shown before it is over"
            );
        } else if fetched + held > 0 {
            tracing::info!(target: "artifactapi::prefetch", %root, what, fetched, bytes, held, "fetched ahead");
        }
    }
}
