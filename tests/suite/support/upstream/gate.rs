//! An answer that is held until the test says so.

use std::sync::Arc;

use tokio::sync::watch;

use crate::support::within;

/// Holds answers for one path. Clones are one gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    path: String,
    at: u64,
    state: Arc<watch::Sender<Held>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    arrived: usize,
    open: bool,
}

impl Gate {
    pub(super) fn new(path: &str, at: u64) -> Self {
        Self { path: path.to_owned(), at, state: Arc::default() }
    }

    pub(super) fn is_for(&self, path: &str) -> bool {
        self.path == path
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Called by an answer that has come this far.
    pub(super) async fn pass(&self) {
        let mut state = self.state.subscribe();
        self.state.send_modify(|held| held.arrived += 1);
        // A gate outlives the answers that wait at it.
        let _ = state.wait_for(|held| held.open).await;
    }

    /// Waits until an answer has arrived here.
    pub(crate) async fn reached(&self) {
        let mut state = self.state.subscribe();
        let reached = state.wait_for(|held| held.arrived > 0);
        drop(within(format!("an answer for {} at byte {}", self.path, self.at), reached).await);
    }

    /// Lets every answer pass, now and later.
    pub(crate) fn open(&self) {
        self.state.send_modify(|held| held.open = true);
    }
}
