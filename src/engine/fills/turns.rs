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
    lanes: Mutex<HashMap<RepositoryName, Lane>>,
}

/// The turns of one repository.
struct Lane {
    most: usize,
    room: Arc<Semaphore>,
}

impl Lane {
    fn of(most: usize) -> Self {
        Self { most, room: Arc::new(Semaphore::new(most)) }
    }
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

    /// The turns of a repository with a bound of its own. Those that run when the bound changes end beside the new ones.
    fn lane(&self, repository: &RepositoryName, most: usize) -> Arc<Semaphore> {
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(repository.clone()).or_insert_with(|| Lane::of(most));
        if lane.most != most {
            *lane = Lane::of(most);
        }
        Arc::clone(&lane.room)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_changed_bound_holds_for_whoever_comes_next() {
        let (turns, one) = (Turns::new(), "one".parse().expect("a name"));
        let bound = |most| NonZeroUsize::new(most);
        let first = turns.take(&one, bound(1)).await.expect("a turn");
        assert!(turns.take(&one, bound(1)).now_or_never().is_none(), "there is one turn");
        let second = turns.take(&one, bound(2)).now_or_never().flatten().expect("a turn of the new bound");
        let third = turns.take(&one, bound(2)).now_or_never().flatten().expect("another");
        assert!(turns.take(&one, bound(2)).now_or_never().is_none());
        drop((first, second));
        assert!(turns.take(&one, bound(2)).now_or_never().flatten().is_some());
        drop(third);
    }
}
