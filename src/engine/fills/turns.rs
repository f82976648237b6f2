//! How many bodies are received at once: in all, and of one repository.
//!
//! A turn is never held while waiting for another fill: those who wait for each other would wait for ever.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::store::key::RepositoryName;

/// The most fills that move bytes at once; more wait their turn.
pub const MAX_FILLS: usize = 256;

/// The most of one repository that does not say how many (`max_parallel`): a slow upstream must not take the turns of all.
const MAX_FILLS_OF_ONE: usize = MAX_FILLS / 4;

/// Gives out turns.
pub(super) struct Turns {
    room: Semaphore,
    lanes: Mutex<HashMap<RepositoryName, Arc<Semaphore>>>,
}

/// The right to receive one body.
pub(super) struct Turn<'a> {
    _lane: OwnedSemaphorePermit,
    _room: SemaphorePermit<'a>,
}

impl Turns {
    /// All of them are free.
    pub(super) fn new() -> Self {
        Self { room: Semaphore::new(MAX_FILLS), lanes: Mutex::default() }
    }

    /// Waits until a body of a repository may be received, of which so many may be at once; the turn ends when this is dropped.
    pub(super) async fn take(&self, repository: &RepositoryName, most: Option<NonZeroUsize>) -> Option<Turn<'_>> {
        let most = most.map_or(MAX_FILLS_OF_ONE, NonZeroUsize::get);
        let lane = self.lane(repository, most).acquire_owned().await.ok()?;
        Some(Turn { _lane: lane, _room: self.room.acquire().await.ok()? })
    }

    /// The turns of a repository with a bound of its own. A changed bound takes effect when the server starts again.
    fn lane(&self, repository: &RepositoryName, most: usize) -> Arc<Semaphore> {
        let mut lanes = self.lanes.lock();
        Arc::clone(lanes.entry(repository.clone()).or_insert_with(|| Arc::new(Semaphore::new(most))))
    }
}
