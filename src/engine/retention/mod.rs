//! What is kept, and for how long: superseded snapshots for `snapshot_keep`, everything else within budgets.
//!
//! A [`Retention`] removes records, never bytes. A blob that loses its last name becomes garbage of the catalog and is deleted
//! by [`tend::sweep`](super::tend::sweep) after the store's [`grace`](crate::store::blobs::BlobStore::grace), so a reader that
//! has begun never loses its file, and one that asks again has it fetched again.
//!
//! - **Time before space.** Snapshots expire first; budgets then see what is left.
//! - **Least recently used first** ([`rule`]), a batch at a time, with what is held read again in between.
//! - **What a current or tagged snapshot needs never goes**, and neither does anything that was uploaded: if budgets are
//!   exceeded by these alone, that is said and lived with.
//! - **What nobody configures any more** ([`left_behind`]) still counts, its earlier snapshots still expire, and no file of it goes
//!   by itself: nobody can say any more whether it can be had again.
//! - **By compare-and-set.** A record that became another meanwhile stays, so two who evict at once do each other no harm;
//!   they would only evict a batch more than they must.
//!
//! A budget counts what `GET /artifacts` and the totals count: current records. What earlier snapshots keep comes on top, for
//! `snapshot_keep`, and so does what is garbage, for its grace.

mod cold;
mod expiry;
mod left_behind;
pub mod rule;
pub mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;

use self::cold::Cold;
use self::rule::{Holding, Ledger, SLACK};
use super::counts::Counts;
use crate::config::{CachePolicy, Kind, Repositories, Repository};
use crate::store::catalog::snapshots::{Coldest, Expired, Snapshots};
use crate::store::catalog::{Catalog, CatalogError};
use crate::store::coordinator::{Coordinator, Event};
use crate::store::key::RepositoryName;

/// Files evicted before what is held is read again.
const BATCH: usize = 256;

/// Records removed at once: the catalog puts them into one transaction where it can.
const AT_ONCE: usize = 32;

/// Whether it is done or only said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Remove.
    Remove,
    /// Say what would be removed, and change nothing.
    Show,
}

/// What went, or would go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Of each repository of which anything did.
    pub repositories: BTreeMap<RepositoryName, Gone>,
    /// By how many bytes budgets are still exceeded, because nothing is left that may go.
    pub over: u64,
}

/// What went of one repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    /// Superseded snapshots.
    pub expired: Expired,
    /// Evicted files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Report {
    /// All repositories together.
    #[must_use]
    pub fn sum(&self) -> Gone {
        self.repositories.values().fold(Gone::default(), |sum, gone| Gone {
            expired: Expired {
                snapshots: sum.expired.snapshots + gone.expired.snapshots,
                packages: sum.expired.packages + gone.expired.packages,
                past: sum.expired.past + gone.expired.past,
            },
            files: sum.files + gone.files,
            bytes: sum.bytes + gone.bytes,
        })
    }

    fn of(&mut self, repository: &RepositoryName) -> &mut Gone {
        self.repositories.entry(repository.clone()).or_default()
    }
}

/// Removes what need not be kept.
pub struct Retention {
    catalog: Arc<dyn Catalog>,
    snapshots: Arc<dyn Snapshots>,
    coordinator: Arc<dyn Coordinator>,
    counts: Arc<Counts>,
    overall: Option<u64>,
}

/// What [`Retention::new`] is handed.
#[allow(missing_docs, reason = "the types say it")]
pub struct RetentionParts {
    pub catalog: Arc<dyn Catalog>,
    pub snapshots: Arc<dyn Snapshots>,
    pub coordinator: Arc<dyn Coordinator>,
    pub counts: Arc<Counts>,
    /// The most bytes that all repositories together may hold.
    pub overall: Option<u64>,
}

impl Retention {
    /// Over the parts it uses.
    #[must_use]
    pub fn new(parts: RetentionParts) -> Self {
        let RetentionParts { catalog, snapshots, coordinator, counts, overall } = parts;
        Self { catalog, snapshots, coordinator, counts, overall }
    }

    /// Removes everything whose time is over, then evicts by budgets. What fails for one repository keeps none of the others.
    ///
    /// # Errors
    /// [`CatalogError`], the first there was, when the catalog does not answer; what went is gone, and the rest goes the next time.
    pub async fn run(&self, repositories: &Repositories, now: SystemTime, mode: Mode) -> Result<Report, CatalogError> {
        let mut report = Report::default();
        let expired = self.expire(repositories, now, mode, &mut report).await;
        let evicted = self.evict(repositories, now, mode, &mut report).await;
        expired.and(evicted)?;
        Ok(report)
    }

    /// Removes snapshots whose time is over.
    ///
    /// # Errors
    /// As for [`Retention::run`].
    pub async fn expire(
        &self,
        repositories: &Repositories,
        now: SystemTime,
        mode: Mode,
        report: &mut Report,
    ) -> Result<(), CatalogError> {
        let mut outcome = Ok(());
        for repository in stored(repositories) {
            let expired = self.expire_of(&repository.name, repository.cache.snapshot_keep, now, mode, report).await;
            outcome = outcome.and(expired);
        }
        let keep = CachePolicy::default().snapshot_keep;
        match self.left_behind(repositories).await {
            Ok(left_behind) => {
                for repository in left_behind.into_keys() {
                    outcome = outcome.and(self.expire_of(&repository, keep, now, mode, report).await);
                }
            }
            Err(error) => outcome = outcome.and(Err(error)),
        }
        outcome
    }

    /// Removes those of one repository that are older than `keep`.
    async fn expire_of(
        &self,
        repository: &RepositoryName,
        keep: Duration,
        now: SystemTime,
        mode: Mode,
        report: &mut Report,
    ) -> Result<(), CatalogError> {
        let before = now.checked_sub(keep).unwrap_or(SystemTime::UNIX_EPOCH);
        let expired = expiry::expire(&*self.snapshots, repository, before, now, mode).await;
        let expired =
            expired.inspect_err(|error| tracing::debug!(%repository, %error, "its snapshots did not expire"))?;
        if expired != Expired::default() {
            report.of(repository).expired = expired;
        }
        if mode == Mode::Remove {
            self.counts.snapshots_expired.inc_by(expired.snapshots);
        }
        Ok(())
    }

    /// Evicts until budgets are kept, or nothing is left that may go.
    ///
    /// # Errors
    /// As for [`Retention::run`].
    pub async fn evict(
        &self,
        repositories: &Repositories,
        now: SystemTime,
        mode: Mode,
        report: &mut Report,
    ) -> Result<(), CatalogError> {
        let mut ledger = self.ledger(repositories).await?;
        let names = stored(repositories).filter(|repository| is_evictable(repository));
        let mut cold = Cold::new(&*self.snapshots, names.map(|repository| repository.name.clone()));
        while ledger.is_owed() {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Some(coldest) = cold.next(&ledger).await?
            {
                if ledger.lets_go(&coldest.artifact.target.repository, coldest.artifact.size) {
                    batch.push(coldest);
                }
            }
            if batch.is_empty() {
                break;
            }
            for some in batch.chunks(AT_ONCE) {
                let removed = match mode {
                    Mode::Remove => try_join_all(some.iter().map(|coldest| self.remove(coldest, now))).await?,
                    Mode::Show => vec![true; some.len()],
                };
                for (coldest, _) in some.iter().zip(removed).filter(|(_, removed)| *removed) {
                    let gone = report.of(&coldest.artifact.target.repository);
                    gone.files += 1;
                    gone.bytes += coldest.artifact.size;
                }
            }
            if mode == Mode::Remove {
                ledger.read_again(&self.held(repositories).await?);
            }
        }
        report.over = ledger.over();
        Ok(())
    }

    /// Whether a budget is exceeded: a few look-ups.
    ///
    /// # Errors
    /// As for [`Retention::run`].
    pub async fn is_over(&self, repositories: &Repositories) -> Result<bool, CatalogError> {
        let has_budget = self.overall.is_some() || repositories.iter().any(|one| one.cache.max_bytes.is_some());
        Ok(has_budget && self.ledger(repositories).await?.is_owed())
    }

    /// The slack of the smallest budget, in bytes: keeping so much more is worth a look. `None` without any budget.
    #[must_use]
    pub fn smallest_slack(&self, repositories: &Repositories) -> Option<u64> {
        let own = stored(repositories).filter_map(|repository| repository.cache.max_bytes);
        own.chain(self.overall).min().map(|smallest| (smallest / SLACK).max(1))
    }

    async fn ledger(&self, repositories: &Repositories) -> Result<Ledger, CatalogError> {
        let held = self.held(repositories).await?;
        let holding = |repository: &Repository| Holding {
            repository: repository.name.clone(),
            bytes: held.get(&repository.name).copied().unwrap_or(0),
            budget: repository.cache.max_bytes,
            is_evictable: is_evictable(repository),
        };
        let mut holdings: Vec<Holding> = stored(repositories).map(holding).collect();
        let is_known = |name: &RepositoryName| holdings.iter().any(|holding| holding.repository == *name);
        let left_behind: Vec<Holding> = held
            .iter()
            .filter(|(name, _)| !is_known(name))
            .map(|(name, bytes)| Holding { repository: name.clone(), bytes: *bytes, budget: None, is_evictable: false })
            .collect();
        holdings.extend(left_behind);
        Ok(Ledger::new(holdings, self.overall))
    }

    async fn held(&self, repositories: &Repositories) -> Result<BTreeMap<RepositoryName, u64>, CatalogError> {
        let mut held = BTreeMap::new();
        for repository in stored(repositories) {
            held.insert(repository.name.clone(), self.catalog.totals(&repository.name).await?.bytes);
        }
        if self.overall.is_some() {
            let left_behind = self.left_behind(repositories).await?;
            held.extend(left_behind.into_iter().map(|(name, totals)| (name, totals.bytes)));
        }
        Ok(held)
    }

    /// Removes one record, if it is still the one that was found cold.
    async fn remove(&self, coldest: &Coldest, now: SystemTime) -> Result<bool, CatalogError> {
        let artifact = &coldest.artifact;
        if !self.catalog.remove(&artifact.target, artifact.revision, now).await? {
            return Ok(false);
        }
        self.coordinator.announce(Event::Evicted(artifact.target.clone(), artifact.revision)).await;
        self.counts.evicted_files.inc();
        self.counts.evicted_bytes.inc_by(artifact.size);
        tracing::debug!(path = %artifact.target, size = artifact.size, "evicted");
        Ok(true)
    }
}

/// Repositories that keep anything of their own.
fn stored(repositories: &Repositories) -> impl Iterator<Item = &Repository> {
    let all = repositories.iter().map(|repository| &**repository);
    all.filter(|repository| !matches!(repository.kind, Kind::Virtual(_)) || repository.format.index().is_some())
}

/// Whether what is evicted can be had again.
fn is_evictable(repository: &Repository) -> bool {
    matches!(repository.kind, Kind::Remote(_))
}
