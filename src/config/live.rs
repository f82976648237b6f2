//! The configuration in force.
//!
//! Requests load it without a lock and keep what they loaded until they are done, so that a reload never changes the
//! rules in the middle of a request. Whoever keeps things that depend on the configuration listens for generations and
//! drops them when a new one comes.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use tokio::sync::watch;

use super::repositories::{Repositories, Repository};

/// The repositories in force, and what became of the last attempt to replace them.
#[derive(Debug)]
pub struct LiveRepositories {
    current: ArcSwap<Repositories>,
    last_error: ArcSwapOption<ReloadError>,
    generations: watch::Sender<u64>,
}

/// Why the file on disk is not the configuration in force.
#[derive(Debug, Clone)]
pub struct ReloadError {
    /// When it was last found to be wrong.
    pub at: SystemTime,
    /// What is wrong with it; one problem a line.
    pub message: String,
}

impl LiveRepositories {
    /// Puts the first reading in force, as generation 1.
    #[must_use]
    pub fn new(mut first: Repositories) -> Self {
        first.generation = 1;
        let (generations, _) = watch::channel(1);
        Self { current: ArcSwap::from_pointee(first), last_error: ArcSwapOption::empty(), generations }
    }

    /// The repositories in force. Cheap, and meant to be short-lived: take what is needed and let go of it before the
    /// next `.await`.
    pub fn current(&self) -> Guard<Arc<Repositories>> {
        self.current.load()
    }

    /// One repository in force.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Repository>> {
        self.current.load().get(name).cloned()
    }

    /// Tells the generation in force, and each one after it.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generations.subscribe()
    }

    /// Why the file on disk is not in force; `None` when it is.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<ReloadError>> {
        self.last_error.load_full()
    }

    /// Puts another reading in force and tells everybody.
    pub fn replace(&self, mut next: Repositories) -> u64 {
        // Only one task reloads, so nobody else counts between the load and the store.
        next.generation = self.current.load().generation + 1;
        let generation = next.generation;
        self.current.store(Arc::new(next));
        self.last_error.store(None);
        self.generations.send_replace(generation);
        generation
    }

    /// Notes that the file on disk is wrong; what is in force stays.
    pub fn refuse(&self, message: String) {
        self.last_error.store(Some(Arc::new(ReloadError { at: SystemTime::now(), message })));
    }
}
