//! Who fetches, and who is told.
//!
//! A [`Coordinator`] keeps replicas from fetching one thing twice and from remembering what another replaced. It
//! promises:
//! - **At most one lead at a time**, as long as it is reachable and clocks run; a lease is renewed while it is held and
//!   dies with its holder.
//! - **Followers are woken** when the lead lets go, at the latest when its lease has run out.
//! - **Events reach every replica**, this one included, or are replaced by [`Event::Missed`].
//!
//! It is an optimisation and an announcement, never a guard: losing it costs duplicate work, and correctness is the
//! catalog's compare-and-set (DESIGN 4.4). So nothing here is an error for a caller: when the coordinator is away, `enter`
//! leads at once and events come as [`Event::Missed`].

pub mod in_process;
pub mod redis;
mod table;

#[cfg(test)]
mod conformance;

use std::time::{Duration, SystemTime};

use artifactapi_formats::Sha256;
use async_trait::async_trait;
use tokio::sync::{broadcast, oneshot};

use super::catalog::Revision;
use super::key::{RepositoryName, Target};

/// How many events a receiver may lag behind before it misses some.
pub const EVENTS_KEPT: usize = 4096;

/// Leases and events among replicas. The module's text is the contract.
#[async_trait]
pub trait Coordinator: Send + Sync {
    /// Asks to lead the work on `target`. Waits while somebody else does, for at most `patience`.
    async fn enter(&self, target: &Target, patience: Duration) -> Entered;

    /// Tells every replica. Never waits for them; a lost announcement is followed by [`Event::Missed`] there.
    async fn announce(&self, event: Event);

    /// Events from now on, including this replica's own. A receiver that lags treats it as [`Event::Missed`].
    fn events(&self) -> broadcast::Receiver<Event>;

    /// Whether the coordinator answers now: one cheap round trip.
    ///
    /// # Errors
    /// [`CoordinatorError`] saying what is wrong.
    async fn ping(&self) -> Result<(), CoordinatorError>;
}

/// The answer to [`Coordinator::enter`].
#[derive(Debug)]
pub enum Entered {
    /// Do the work; others wait until the lease is dropped. Look again first: the lead before may have died just after
    /// its work was done.
    Lead(Lease),
    /// Somebody else did the work, or stopped doing it: look again.
    Settled,
    /// Somebody else is still at it after all the patience.
    OutOfPatience,
}

/// The right to do some work while others wait. Dropping it lets them go on.
#[derive(Debug)]
pub struct Lease {
    release: Option<oneshot::Sender<()>>,
}

impl Lease {
    /// A lease whose end is told to `release`.
    #[must_use]
    pub fn new(release: oneshot::Sender<()>) -> Self {
        Self { release: Some(release) }
    }

    /// A lease that nobody waits for: the coordinator is away.
    #[must_use]
    pub fn alone() -> Self {
        Self { release: None }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            // A receiver that is gone has let go already.
            let _ = release.send(());
        }
    }
}

/// Something every replica should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A target has a new current record, with this revision.
    Published(Target, Revision),
    /// A target has no record any more, because it stands for other content.
    Removed(Target),
    /// The record of this revision was removed to make room. The content is as right as before.
    Evicted(Target, Revision),
    /// Everything of a repository changed.
    Purged(RepositoryName),
    /// A client was given, or told of, an entry of an index: whichever replica it asks next, it goes on with that generation.
    HandedOut(Handout),
    /// Tokens were made or revoked: what is remembered of any may be out of date.
    TokensChanged,
    /// Events were lost: whatever is remembered may be out of date.
    Missed,
}

/// Which entry of an index a client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handout {
    /// The client by its address and user agent: a digest that is the same on every replica.
    pub agent: u64,
    /// The root.
    pub root: Target,
    /// Its entry.
    pub entry: Sha256,
    /// When that was, in whole microseconds: word of it may come after word of a later one.
    pub at: SystemTime,
    /// Whether it was shown before its snapshot was recorded, so that nobody knows yet what it says of packages.
    pub on_credit: bool,
    /// For how long it is to be given this entry again, if it was only told of it.
    pub promised_for: Option<Duration>,
}

/// Why the coordinator does not answer.
#[derive(Debug, thiserror::Error)]
#[error("coordinator: {what}")]
pub struct CoordinatorError {
    /// What was tried.
    pub what: String,
    /// The client's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}
