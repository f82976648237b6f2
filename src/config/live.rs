//! The configuration in force.
//!
//! Requests load it without a lock and keep what they loaded until they are done, so that a reload never changes the
//! rules in the middle of a request. Whoever keeps things that depend on the configuration listens for generations and
//! drops them when a new one comes.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::repositories::{Repositories, Repository};

/// The repositories in force, and what became of the last attempt to replace them.
#[derive(Debug)]
pub struct LiveRepositories {
    current: ArcSwap<Repositories>,
    generations: watch::Sender<u64>,
    errors: watch::Sender<Option<Arc<ReloadError>>>,
}

/// Why the file on disk is not the configuration in force.
#[derive(Debug, Clone)]
pub struct ReloadError {
    /// When it was found to be wrong.
    pub at: SystemTime,
    /// What is wrong with it; one problem a line. Holds no secret.
    pub message: String,
}

impl LiveRepositories {
    /// Puts the first reading in force, as generation 1.
    #[must_use]
    pub fn new(mut first: Repositories) -> Self {
        first.generation = 1;
        Self {
            generations: watch::Sender::new(first.generation),
            errors: watch::Sender::new(None),
            current: ArcSwap::from_pointee(first),
        }
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
        self.errors.borrow().clone()
    }

    /// Tells [`LiveRepositories::last_error`], and each change of it.
    #[must_use]
    pub fn errors(&self) -> watch::Receiver<Option<Arc<ReloadError>>> {
        self.errors.subscribe()
    }

    /// Puts another reading in force, tells everybody and answers its generation.
    pub fn replace(&self, mut next: Repositories) -> u64 {
        // The channel's lock makes counting and storing one step, should two reload at once.
        let mut generation = 0;
        self.generations.send_modify(|last| {
            *last += 1;
            generation = *last;
            next.generation = generation;
            self.current.store(Arc::new(next));
            // Before anybody is told, so that whoever wakes up finds no error that is over.
            self.settle();
        });
        generation
    }

    /// Notes that the file on disk is wrong; what is in force stays.
    pub fn refuse(&self, message: String) {
        self.errors.send_replace(Some(Arc::new(ReloadError { at: SystemTime::now(), message })));
    }

    /// Notes that the file on disk is what is in force.
    pub fn settle(&self) {
        self.errors.send_if_modified(|error| error.take().is_some());
    }
}
