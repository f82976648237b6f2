//! How fast files are fetched ahead: a few at once, within a bandwidth, and after those that clients wait for.
//!
//! The bandwidth is kept between files: a file is paid for when it begins, by its size in the index, and the next one waits
//! until that is paid off. Within a file nothing is held back, for a client may be following it by then.

use std::collections::HashMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{Prefetch, Repository};
use crate::engine::fills::Fills;
use crate::store::key::RepositoryName;

/// The most files that are fetched ahead at once, over all repositories.
pub(super) const AT_ONCE: usize = 16;

/// The longest that one file gives way to clients. Longer, and a server that is never idle would never fetch ahead.
const COURTESY: Duration = Duration::from_secs(30);

/// The longest that one file keeps the next one waiting: an index may claim any size.
const MOST_OWED: Duration = Duration::from_secs(86_400);

/// How often is looked whether clients still wait.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The lanes of all repositories.
pub(super) struct Lanes {
    lanes: Mutex<HashMap<RepositoryName, Arc<Lane>>>,
    room: Arc<Semaphore>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { lanes: Mutex::default(), room: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Lanes {
    /// The lane of a repository, which all of its runs share; another one once its bounds are others.
    pub(super) fn of(&self, repository: &RepositoryName, policy: &Prefetch) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(repository).filter(|lane| lane.is_of(policy)) {
            return Arc::clone(lane);
        }
        let lane = Arc::new(Lane::new(policy, Arc::clone(&self.room)));
        lanes.insert(repository.clone(), Arc::clone(&lane));
        lane
    }
}

/// The bounds of one repository.
pub(super) struct Lane {
    parallel: NonZeroUsize,
    bandwidth: Option<NonZeroU64>,
    slots: Arc<Semaphore>,
    room: Arc<Semaphore>,
    debt: Mutex<Debt>,
    begun: AtomicUsize,
}

/// The right to fetch one file ahead.
pub(super) struct Slot<'a> {
    lane: &'a Lane,
    _slot: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

impl Lane {
    fn new(policy: &Prefetch, room: Arc<Semaphore>) -> Self {
        Self {
            parallel: policy.parallel,
            bandwidth: policy.bandwidth,
            slots: Arc::new(Semaphore::new(policy.parallel.get().min(AT_ONCE))),
            room,
            debt: Mutex::default(),
            begun: AtomicUsize::new(0),
        }
    }

    fn is_of(&self, policy: &Prefetch) -> bool {
        (self.parallel, self.bandwidth) == (policy.parallel, policy.bandwidth)
    }

    /// Waits until a file of this size may begin. `None` when the server is stopping.
    pub(super) async fn slot(&self, fills: &Fills, repository: &Repository, bytes: u64) -> Option<Slot<'_>> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        let wait = self.bandwidth.map(|rate| self.debt.lock().begin(bytes, rate, Instant::now()));
        tokio::time::sleep(wait.unwrap_or_default()).await;
        let until = Instant::now() + COURTESY;
        // More than we began ourselves are those that clients wait for.
        while fills.bodies_of(repository) > self.begun.load(Ordering::Relaxed) && Instant::now() < until {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let room = Arc::clone(&self.room).acquire_owned().await.ok()?;
        self.begun.fetch_add(1, Ordering::Relaxed);
        Some(Slot { lane: self, _slot: slot, _room: room })
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.lane.begun.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that were begun and are not paid off yet, as the time when they will be.
#[derive(Debug, Default)]
struct Debt {
    paid_off: Option<Instant>,
}

impl Debt {
    /// How long a file that wants to begin now must wait. Its own bytes are owed from when it begins.
    fn begin(&mut self, bytes: u64, rate: NonZeroU64, now: Instant) -> Duration {
        let begins = self.paid_off.map_or(now, |paid_off| paid_off.max(now));
        let takes = Duration::from_millis(bytes.saturating_mul(1_000) / rate).min(MOST_OWED);
        self.paid_off = Some(begins + takes);
        begins.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_file_waits_until_the_one_before_is_paid_off() {
        let rate = NonZeroU64::new(1_000).expect("a rate");
        let (mut debt, start) = (Debt::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(debt.begin(5_000, rate, start), Duration::ZERO);
        assert_eq!(debt.begin(1_000, rate, after(2)), Duration::from_secs(3));
        assert_eq!(debt.begin(1_000, rate, after(2)), Duration::from_secs(4), "behind the one that waits already");
        assert_eq!(debt.begin(1_000, rate, after(60)), Duration::ZERO, "what was not used is not saved up");
        assert_eq!(debt.begin(u64::MAX, rate, after(61)), Duration::ZERO);
        assert_eq!(debt.begin(1, rate, after(61)), MOST_OWED);
    }
}
