//! How much memory opened files may take, and caches that stay within that.

use std::sync::Arc;

use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::super::held::{Held, HeldBody};
use super::MEMORY_BODY;

/// What an entry without a body in memory counts against the budget, in bytes. Chosen so that the default budget of
/// 64 MiB holds about 4,000 open files.
const FILE_WEIGHT: u64 = 16 << 10;

/// What any entry costs beside its body, in bytes.
const RECORD_WEIGHT: u64 = 1 << 10;

/// A cache is divided into parts that are filled apart, so that they are locked apart. A part has room for many of the largest bodies,
/// or the budget would be used up in one and free in another: its least size, in bytes …
const PART: u64 = 16 * MEMORY_BODY;

/// … and how many there are at most.
const MOST_PARTS: usize = 64;

/// A cache of opened files.
pub(in crate::engine) type Cache<K, L> = quick_cache::sync::Cache<K, Arc<Held>, Weigher, DefaultHashBuilder, L>;

/// How many bytes the shelf may take, about.
#[derive(Debug, Clone, Copy)]
pub struct ShelfBudget(pub u64);

impl ShelfBudget {
    /// How many entries to expect.
    fn entries(self) -> usize {
        usize::try_from(self.0 / FILE_WEIGHT).unwrap_or(usize::MAX).clamp(64, 65_536)
    }

    /// A cache of opened files that stays within it, and does something with what leaves.
    pub(in crate::engine) fn cache<K, L>(self, leaving: L) -> Cache<K, L>
    where
        K: Eq + std::hash::Hash,
        L: Lifecycle<K, Arc<Held>> + Clone,
    {
        let parts = usize::try_from(self.0 / PART).unwrap_or(usize::MAX).clamp(1, MOST_PARTS);
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(self.entries()).weight_capacity(self.0).shards(parts);
        // Nothing that it needs is missing.
        let options = options.build().expect("options");
        quick_cache::sync::Cache::with_options(options, Weigher, DefaultHashBuilder::default(), leaving)
    }
}

/// What an opened file counts against a budget.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Weigher;

impl<K> Weighter<K, Arc<Held>> for Weigher {
    fn weight(&self, _key: &K, held: &Arc<Held>) -> u64 {
        let body = match &held.body {
            HeldBody::Memory(bytes) => bytes.len() as u64,
            HeldBody::File(_) | HeldBody::Growing(_) => FILE_WEIGHT,
            HeldBody::Distant => 0,
        };
        let name = held.artifact.target.path.as_str().len() + held.artifact.target.query.len();
        RECORD_WEIGHT + name as u64 + body
    }
}
