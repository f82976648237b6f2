//! What we hold of one target, ready to be served: its record, its bytes, and how current it is.
//!
//! A [`Held`] is shared by every request for the target and by the fast path in front of the router, so its parts that
//! change are atomics: no lock is taken to serve a hit. It is replaced, never edited, when the content changes; the old
//! one is then marked, so that whoever still has it looks again.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use artifactapi_formats::{Mutability, Role};
use bytes::Bytes;

use crate::spool::SpoolReader;
use crate::store::catalog::Artifact;

/// After a revalidation that failed, what we hold is served without asking again for this long.
pub const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A record is read again from the catalog after this long, in case an event was lost.
pub const RECORD_AGE: Duration = Duration::from_secs(30);

/// A target's current content.
#[derive(Debug)]
pub struct Held {
    /// The catalog's record as loaded. [`Held::confirmed_at`] is newer than its `checked_at`.
    pub artifact: Artifact,
    /// What the path is.
    pub role: Role,
    /// Whether its content may change.
    pub mutability: Mutability,
    /// The bytes.
    pub body: HeldBody,
    superseded: AtomicBool,
    confirmed_ms: AtomicI64,
    retry_ms: AtomicI64,
    loaded: Instant,
    record_old_at_ms: AtomicU64,
    uses: AtomicU64,
}

/// How the bytes are reached.
#[derive(Debug, Clone)]
pub enum HeldBody {
    /// In memory.
    Memory(Bytes),
    /// In a local file.
    File(Arc<File>),
    /// On the way from a distant store into a local file.
    Growing(SpoolReader),
    /// In the store only; opened for each request.
    Distant,
}

impl HeldBody {
    /// Whether it was on its way and is not any more: opening it again gives a better form of it.
    #[must_use]
    pub fn has_arrived(&self) -> bool {
        matches!(self, Self::Growing(reader) if reader.is_over())
    }
}

impl Held {
    /// What we hold, as loaded now.
    #[must_use]
    pub fn new(artifact: Artifact, role: Role, mutability: Mutability, body: HeldBody) -> Self {
        let confirmed = to_ms(artifact.checked_at);
        Self {
            artifact,
            role,
            mutability,
            body,
            superseded: AtomicBool::new(false),
            confirmed_ms: AtomicI64::new(confirmed),
            retry_ms: AtomicI64::new(0),
            loaded: Instant::now(),
            record_old_at_ms: AtomicU64::new(millis(RECORD_AGE)),
            uses: AtomicU64::new(0),
        }
    }

    /// Whether it may be given to later requests: nothing is known to have replaced it, and it is what they would find.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.superseded.load(Ordering::Acquire)
    }

    /// Marks it as replaced or removed.
    pub fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
    }

    /// When upstream last confirmed it.
    #[must_use]
    pub fn confirmed_at(&self) -> SystemTime {
        from_ms(self.confirmed_ms.load(Ordering::Relaxed))
    }

    /// Notes a confirmation.
    pub fn confirm(&self, at: SystemTime) {
        self.confirmed_ms.fetch_max(to_ms(at), Ordering::Relaxed);
        self.retry_ms.store(0, Ordering::Relaxed);
    }

    /// Forgets the confirmation: something contradicts this content, so the next request asks upstream.
    pub fn doubt(&self) {
        self.confirmed_ms.store(0, Ordering::Relaxed);
        self.retry_ms.store(0, Ordering::Relaxed);
    }

    /// Notes that upstream could not be asked.
    pub fn revalidation_failed(&self, now: SystemTime) {
        self.retry_ms.store(to_ms(now + RETRY_AFTER), Ordering::Relaxed);
    }

    /// Whether upstream failed so recently that it is not asked again yet.
    #[must_use]
    pub fn is_resting(&self, now: SystemTime) -> bool {
        to_ms(now) < self.retry_ms.load(Ordering::Relaxed)
    }

    /// Whether the record should be compared with the catalog again.
    #[must_use]
    pub fn record_is_old(&self) -> bool {
        millis(self.loaded.elapsed()) >= self.record_old_at_ms.load(Ordering::Relaxed)
    }

    /// Notes that the record is (or must be taken as) what the catalog says now.
    pub fn record_is_young(&self) {
        self.record_old_at_ms.store(millis(self.loaded.elapsed() + RECORD_AGE), Ordering::Relaxed);
    }

    /// Notes that the record may be out of date.
    pub fn record_is_doubtful(&self) {
        self.record_old_at_ms.store(0, Ordering::Relaxed);
    }

    /// Counts one use.
    pub fn used(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the uses counted since the last call.
    #[must_use]
    pub fn take_uses(&self) -> u64 {
        self.uses.swap(0, Ordering::Relaxed)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time as the stores keep it, in whole milliseconds since 1970; before that is 0.
#[must_use]
pub fn to_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The inverse of [`to_ms`].
#[must_use]
pub fn from_ms(ms: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Now, in the precision of the stores.
#[must_use]
pub fn now() -> SystemTime {
    from_ms(to_ms(SystemTime::now()))
}
