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

use super::freshness::is_ahead;
use crate::spool::SpoolReader;
use crate::store::blobs::BlobBody;
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
    may_be_overwritten: AtomicBool,
    is_doubtful: AtomicBool,
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

impl From<BlobBody> for HeldBody {
    fn from(stored: BlobBody) -> Self {
        match stored {
            BlobBody::Memory(bytes) => Self::Memory(bytes),
            BlobBody::File(file) => Self::File(file),
            BlobBody::Growing(reader) => Self::Growing(reader),
            BlobBody::Stream { .. } => Self::Distant,
        }
    }
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
            may_be_overwritten: AtomicBool::new(false),
            is_doubtful: AtomicBool::new(false),
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

    /// Notes a confirmation. The latest counts, unless it is from a clock that was ahead and this one is not.
    pub fn confirm(&self, at: SystemTime) {
        let now = SystemTime::now();
        let is_ahead = |ms| is_ahead(from_ms(ms), now);
        let at = to_ms(at);
        let latest = |known: i64| if is_ahead(known) && !is_ahead(at) { at } else { known.max(at) };
        // Never refused: the closure always has an answer.
        let _ = self.confirmed_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |known| Some(latest(known)));
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

    /// Whether upstream failed so recently that it is not asked again yet. A rest that would last far longer than one was begun by a
    /// clock that was ahead; twice as long, because somebody else's may have begun after `now` was looked up.
    #[must_use]
    pub fn is_resting(&self, now: SystemTime) -> bool {
        let left = from_ms(self.retry_ms.load(Ordering::Relaxed)).duration_since(now).unwrap_or_default();
        !left.is_zero() && left < RETRY_AFTER * 2
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

    /// Notes whether its repository lets people put another content in its place.
    pub fn let_be_overwritten(&self, may_be: bool) {
        self.may_be_overwritten.store(may_be, Ordering::Relaxed);
    }

    /// Whether people may put another content in its place at any moment.
    #[must_use]
    pub fn may_be_overwritten(&self) -> bool {
        self.may_be_overwritten.load(Ordering::Relaxed)
    }

    /// Notes that it may not be what was asked for: it is passed on, and nobody is to keep it.
    pub fn let_nobody_keep(&self) {
        self.is_doubtful.store(true, Ordering::Relaxed);
    }

    /// Whether whoever is given it may keep it.
    #[must_use]
    pub fn is_worth_keeping(&self) -> bool {
        !self.is_doubtful.load(Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use artifactapi_formats::{RepoPath, Sha256};

    use super::*;
    use crate::store::catalog::CLOCKS_APART;
    use crate::store::key::Target;

    const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

    fn held(checked_at: SystemTime) -> Held {
        let target = Target::new("r".parse().expect("a name"), RepoPath::new("repomd.xml").expect("a path"));
        let artifact = Artifact::unpublished(target, 0, Sha256::of(b""), "", checked_at);
        Held::new(artifact, Role::Index, Mutability::Mutable, HeldBody::Distant)
    }

    #[test]
    fn a_confirmation_from_a_clock_that_was_ahead_gives_way() {
        let now = now();
        let held = held(now + MONTH);
        held.confirm(now);
        assert_eq!(held.confirmed_at(), now);
        held.confirm(now - MONTH);
        assert_eq!(held.confirmed_at(), now, "an older one");
        let soon = now + CLOCKS_APART / 2;
        held.confirm(soon);
        held.confirm(now);
        assert_eq!(held.confirmed_at(), soon, "another replica's clock is only a little ahead");
        held.doubt();
        held.confirm(now);
        assert_eq!(held.confirmed_at(), now);
    }

    #[test]
    fn no_rest_begun_by_a_clock_that_was_ahead_lasts() {
        let now = now();
        let held = held(now);
        assert!(!held.is_resting(now));
        held.revalidation_failed(now);
        assert!(held.is_resting(now) && held.is_resting(now + RETRY_AFTER / 2));
        assert!(!held.is_resting(now + RETRY_AFTER));
        held.revalidation_failed(now + MONTH);
        assert!(!held.is_resting(now), "the clock was ahead when it began");
    }
}
