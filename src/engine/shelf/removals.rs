//! Removals that come between looking something up and putting it on the shelf.

use std::hash::BuildHasher as _;

use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;

use crate::store::key::Target;

/// How many targets can be put on the shelf or taken off it at once; two share a turn by chance only.
const TURNS: usize = 64;

/// What was looked up may be removed before it is put on the shelf. So each removal is counted, with others that share its
/// turn, and what was looked up at another count is not put there.
pub(super) struct Turns {
    hasher: DefaultHashBuilder,
    removals: [Mutex<u64>; TURNS],
}

/// How many removals there were when something was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removals(pub(super) u64);

impl Turns {
    /// None so far.
    pub(super) fn new() -> Self {
        Self { hasher: DefaultHashBuilder::default(), removals: std::array::from_fn(|_| Mutex::default()) }
    }

    /// What holds still for as long as a target is put on the shelf or taken off it: how many removals there were.
    pub(super) fn of(&self, target: &Target) -> &Mutex<u64> {
        #[allow(clippy::cast_possible_truncation, reason = "any part of a hash will do")]
        let hash = self.hasher.hash_one(target) as usize;
        &self.removals[hash % TURNS]
    }

    /// Counts a removal of every target.
    pub(super) fn remove_all(&self) {
        self.removals.iter().for_each(|removals| *removals.lock() += 1);
    }
}
