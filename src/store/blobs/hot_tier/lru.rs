//! Which blobs are on the local disk, and which go first when room is needed. Pure bookkeeping: it touches no file.
//!
//! Space is counted before it is used: a fill reserves what it will need, so that what is kept and what is on its way
//! together stay within the budget.

use std::collections::{BTreeMap, HashMap};

use artifactapi_formats::Sha256;

use crate::store::key::BlobKey;

/// What a file takes on disk is counted in blocks of this many bytes; an empty one counts as one.
const BLOCK: u64 = 4 << 10;

/// How many entries there may be, whatever their size: each takes some 150 bytes of memory.
const MAX_ENTRIES: usize = 1 << 19;

/// A blob larger than the budget divided by this is not kept: it would push out too much that is used.
const LARGEST_SHARE: u64 = 4;

/// A key, in a size that can be held a million times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(pub(super) u128);

impl Id {
    pub(super) fn of(key: &BlobKey) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256::of(key.as_str().as_bytes()).as_bytes()[..16]);
        Self(u128::from_be_bytes(half))
    }
}

/// A blob that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) size: u64,
    pub(super) sha256: Sha256,
    /// Makes its file's name unique: a file that is about to be removed never meets its successor.
    pub(super) serial: u64,
}

/// An entry that is not kept any more; its file is to be removed.
pub(super) type Evicted = (Id, Entry);

#[derive(Debug)]
pub(super) struct Lru {
    budget: u64,
    kept: u64,
    reserved: u64,
    entries: HashMap<Id, (Entry, u64)>,
    /// By when they were last used; the first goes first.
    order: BTreeMap<u64, Id>,
    clock: u64,
}

impl Lru {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, kept: 0, reserved: 0, entries: HashMap::new(), order: BTreeMap::new(), clock: 0 }
    }

    /// Looks an entry up and marks it as used now.
    pub(super) fn get(&mut self, id: Id) -> Option<Entry> {
        let (entry, used) = self.entries.get_mut(&id)?;
        self.clock += 1;
        self.order.remove(used);
        self.order.insert(self.clock, id);
        *used = self.clock;
        Some(*entry)
    }

    /// Looks an entry up.
    pub(super) fn peek(&self, id: Id) -> Option<Entry> {
        self.entries.get(&id).map(|(entry, _)| *entry)
    }

    /// Whether a blob of this size can be kept at all.
    pub(super) fn would_keep(&self, size: u64) -> bool {
        cost(size) <= self.budget / LARGEST_SHARE
    }

    /// Sets room aside for `size` bytes, evicting what was not used for longest. `None` if that much is never kept, or
    /// if too much is set aside already.
    pub(super) fn reserve(&mut self, size: u64) -> Option<Vec<Evicted>> {
        if !self.would_keep(size) || self.reserved + cost(size) > self.budget {
            return None;
        }
        self.reserved += cost(size);
        Some(self.evict())
    }

    /// Gives room back that [`Lru::reserve`] set aside.
    pub(super) fn release(&mut self, size: u64) {
        self.reserved -= cost(size);
    }

    /// Keeps an entry, as the one used last. Returns what that pushes out, an earlier entry of the same key among it.
    pub(super) fn insert(&mut self, id: Id, entry: Entry) -> Vec<Evicted> {
        let replaced = self.remove(id);
        self.clock += 1;
        self.kept += cost(entry.size);
        self.entries.insert(id, (entry, self.clock));
        self.order.insert(self.clock, id);
        let mut evicted = self.evict();
        evicted.extend(replaced.map(|entry| (id, entry)));
        evicted
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<Entry> {
        let (entry, used) = self.entries.remove(&id)?;
        self.order.remove(&used);
        self.kept -= cost(entry.size);
        Some(entry)
    }

    /// How many entries there are, and the bytes that they and what is on its way take.
    pub(super) fn usage(&self) -> (usize, u64) {
        (self.entries.len(), self.kept + self.reserved)
    }

    fn evict(&mut self) -> Vec<Evicted> {
        let mut evicted = Vec::new();
        while self.kept + self.reserved > self.budget || self.entries.len() > MAX_ENTRIES {
            let Some((_, id)) = self.order.first_key_value() else {
                break;
            };
            let id = *id;
            evicted.extend(self.remove(id).map(|entry| (id, entry)));
        }
        evicted
    }
}

fn cost(size: u64) -> u64 {
    size.max(1).next_multiple_of(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(size: u64) -> Entry {
        Entry { size, sha256: Sha256::of(b""), serial: 0 }
    }

    fn ids(evicted: &[Evicted]) -> Vec<u128> {
        evicted.iter().map(|(id, _)| id.0).collect()
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut lru = Lru::new(8 * BLOCK);
        for id in 0..8 {
            assert_eq!(lru.insert(Id(id), entry(BLOCK)), []);
        }
        assert!(lru.get(Id(0)).is_some());
        assert_eq!(ids(&lru.insert(Id(8), entry(2 * BLOCK))), [1, 2]);
        assert!(lru.peek(Id(1)).is_none() && lru.peek(Id(0)).is_some());
        assert_eq!(lru.usage(), (7, 8 * BLOCK));
    }

    #[test]
    fn reserved_room_counts() {
        let mut lru = Lru::new(8 * BLOCK);
        lru.insert(Id(1), entry(2 * BLOCK));
        for _ in 0..3 {
            assert_eq!(lru.reserve(2 * BLOCK), Some(vec![]));
        }
        assert_eq!(lru.reserve(2 * BLOCK).map(|evicted| ids(&evicted)), Some(vec![1]));
        assert_eq!(lru.reserve(1), None, "all of it is on its way");
        lru.release(2 * BLOCK);
        assert_eq!(lru.insert(Id(2), entry(2 * BLOCK)), []);
        assert_eq!(lru.usage(), (1, 8 * BLOCK));
    }

    #[test]
    fn too_large_is_never_kept() {
        let mut lru = Lru::new(8 * BLOCK);
        assert!(lru.reserve(2 * BLOCK).is_some());
        assert_eq!(lru.reserve(2 * BLOCK + 1), None);
        assert_eq!(Lru::new(0).reserve(0), None);
    }

    #[test]
    fn a_second_entry_of_a_key_replaces_the_first() {
        let mut lru = Lru::new(8 * BLOCK);
        lru.insert(Id(1), entry(1));
        assert_eq!(lru.insert(Id(1), entry(2)), [(Id(1), entry(1))]);
        assert_eq!((lru.peek(Id(1)), lru.usage()), (Some(entry(2)), (1, BLOCK)));
    }
}
