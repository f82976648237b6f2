//! Turns of roots: who does the same for one root at once waits for the other.
//!
//! A bounded number of turns, which roots share by their hash: two that share one wait for each other now and then, and do each other
//! no harm.

use std::hash::{BuildHasher as _, RandomState};

use tokio::sync::Mutex;

use crate::store::key::Target;

/// How many roots can have a turn at once.
const TURNS: usize = 64;

/// A turn for each root.
pub(super) struct Turns {
    hasher: RandomState,
    turns: [Mutex<()>; TURNS],
}

impl Default for Turns {
    fn default() -> Self {
        Self { hasher: RandomState::new(), turns: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Turns {
    /// That of a root.
    pub(super) fn of(&self, root: &Target) -> &Mutex<()> {
        #[allow(clippy::cast_possible_truncation, reason = "any part of a hash will do")]
        let hash = self.hasher.hash_one(root) as usize;
        &self.turns[hash % TURNS]
    }
}
