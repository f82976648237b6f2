//! The memory in front of catalog and store: what was served lately, opened and ready.
//!
//! A hit on the shelf costs no SQL and opens nothing. Small bodies are in memory, larger ones are open files. What is
//! here may be out of date for a moment, never for long: events take it off, and a record is compared with the catalog
//! again after [`RECORD_AGE`](super::held::RECORD_AGE) in case an event was lost. Bounded by [`ShelfBudget`].
//!
//! Events reach only what is on the shelf. So whatever leaves it, for whatever reason, is superseded from then on: nobody who
//! remembers it elsewhere may give it out any more.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::SystemTime;

use artifactapi_formats::{Mutability, Role};
use bytes::Bytes;
use parking_lot::Mutex;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::held::{Held, HeldBody};
use crate::spool::{FileReader, SpoolError, SpoolReader};
use crate::store::blobs::{self, BlobBody, BlobError, BlobErrorKind, BlobStore};
use crate::store::catalog::{Artifact, Catalog, CatalogError, Revision, Use};
use crate::store::key::{RepositoryName, Target};

/// The largest body kept in memory, in bytes.
pub const MEMORY_BODY: u64 = 1 << 20;

/// What an entry without a body in memory counts against the budget, in bytes. Chosen so that the default budget of
/// 64 MiB holds about 4,000 open files.
const FILE_WEIGHT: u64 = 16 << 10;

/// What any entry costs beside its body, in bytes.
const RECORD_WEIGHT: u64 = 1 << 10;

/// Which part of the budget is for files of earlier generations: one in so many.
const PAST_SHARE: u64 = 8;

/// How many targets may have left the shelf with uses that the catalog does not know of yet.
const UNTOLD: usize = 65_536;

/// A cache is divided into parts that are filled apart, so that they are locked apart. A part has room for many of the largest bodies,
/// or the budget would be used up in one and free in another: its least size, in bytes …
const PART: u64 = 16 * MEMORY_BODY;

/// … and how many there are at most.
const MOST_PARTS: usize = 64;

/// A cache of opened files.
pub(super) type Cache<K, L> = quick_cache::sync::Cache<K, Arc<Held>, Weigher, DefaultHashBuilder, L>;

/// How many bytes the shelf may take, about.
#[derive(Debug, Clone, Copy)]
pub struct ShelfBudget(pub u64);

impl ShelfBudget {
    /// How many entries to expect.
    fn entries(self) -> usize {
        usize::try_from(self.0 / FILE_WEIGHT).unwrap_or(usize::MAX).clamp(64, 65_536)
    }

    /// A cache of opened files that stays within it, and does something with what leaves.
    pub(super) fn cache<K, L>(self, leaving: L) -> Cache<K, L>
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
pub(super) struct Weigher;

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

/// How many targets can be put on the shelf or taken off it at once; two share a turn by chance only.
const TURNS: usize = 64;

/// What was looked up may be removed before it is put on the shelf. So each removal is counted, with others that share its
/// turn, and what was looked up at another count is not put there.
struct Turns {
    hasher: DefaultHashBuilder,
    removals: [Mutex<u64>; TURNS],
}

/// How many removals there were when something was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removals(u64);

impl Turns {
    fn of(&self, target: &Target) -> &Mutex<u64> {
        #[allow(clippy::cast_possible_truncation, reason = "any part of a hash will do")]
        let hash = self.hasher.hash_one(target) as usize;
        &self.removals[hash % TURNS]
    }
}

/// Uses of what left the shelf before the catalog was told of them.
type Untold = Arc<Mutex<HashMap<Target, u64>>>;

/// What happens to an entry that makes room, or is replaced by another.
#[derive(Debug, Clone, Default)]
struct Leaving {
    untold: Untold,
}

impl Lifecycle<Target, Arc<Held>> for Leaving {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), target: Target, held: Arc<Held>) {
        held.supersede();
        let uses = held.take_uses();
        if uses == 0 {
            return;
        }
        let mut untold = self.untold.lock();
        if untold.len() < UNTOLD || untold.contains_key(&target) {
            *untold.entry(target).or_default() += uses;
        }
    }
}

/// Why something that may well be held cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The catalog does not answer.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store does not answer.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// A look at what is held.
#[derive(Debug)]
pub enum Found {
    /// This.
    Held(Arc<Held>),
    /// A record whose bytes are gone or are not what it says: to be fetched anew, in its place.
    Bodiless(Box<Artifact>),
    /// Nothing.
    Nothing,
}

/// The memory in front of catalog and store.
pub struct Shelf {
    cache: Cache<Target, Leaving>,
    turns: Turns,
    untold: Untold,
    past: ShelfBudget,
    catalog: Arc<dyn Catalog>,
    blobs: Arc<dyn BlobStore>,
}

impl Shelf {
    /// An empty shelf over a catalog and a store.
    #[must_use]
    pub fn new(budget: ShelfBudget, catalog: Arc<dyn Catalog>, blobs: Arc<dyn BlobStore>) -> Self {
        let past = ShelfBudget(budget.0 / PAST_SHARE);
        let current = ShelfBudget(budget.0 - past.0);
        let leaving = Leaving::default();
        let untold = Arc::clone(&leaving.untold);
        let cache = current.cache(leaving);
        let turns =
            Turns { hasher: DefaultHashBuilder::default(), removals: std::array::from_fn(|_| Mutex::default()) };
        Self { cache, turns, untold, past, catalog, blobs }
    }

    /// What is left of the budget for files of earlier generations.
    #[must_use]
    pub fn past_budget(&self) -> ShelfBudget {
        self.past
    }

    /// What is held of `target`.
    ///
    /// # Errors
    /// [`ShelfError`] when it is not on the shelf and cannot be looked up or opened.
    pub async fn find(&self, target: &Target, role: Role, mutability: &Mutability) -> Result<Found, ShelfError> {
        let removals = self.removals(target);
        if let Some(held) = self.peek(target) {
            if !held.record_is_old() {
                return Ok(Found::Held(held));
            }
            match self.catalog.lookup(target).await {
                Ok(Some(now)) if now.revision == held.artifact.revision => {
                    held.confirm(now.checked_at);
                    held.record_is_young();
                    return Ok(Found::Held(held));
                }
                // The catalog is away: what is in memory goes on being served (DESIGN 7).
                Err(_) => {
                    held.record_is_young();
                    return Ok(Found::Held(held));
                }
                Ok(Some(now)) => {
                    let _ = self.cache.remove(target).map(|(_, held)| held.supersede());
                    return self.open(removals, now, role, mutability).await;
                }
                Ok(None) => {
                    self.forget(target);
                    return Ok(Found::Nothing);
                }
            }
        }
        match self.catalog.lookup(target).await? {
            Some(artifact) => self.open(removals, artifact, role, mutability).await,
            None => Ok(Found::Nothing),
        }
    }

    /// The catalog's record of a target, whatever is on the shelf.
    ///
    /// # Errors
    /// [`ShelfError`] when the catalog does not answer.
    pub async fn record(&self, target: &Target) -> Result<Option<Artifact>, ShelfError> {
        Ok(self.catalog.lookup(target).await?)
    }

    /// What is on the shelf right now and may be served, without looking anywhere else.
    #[must_use]
    pub fn peek(&self, target: &Target) -> Option<Arc<Held>> {
        self.cache.get(target).filter(|held| held.is_current() && !held.body.has_arrived())
    }

    /// Opens what a record names, and puts it on the shelf.
    async fn open(
        &self,
        removals: Removals,
        artifact: Artifact,
        role: Role,
        mutability: &Mutability,
    ) -> Result<Found, ShelfError> {
        let found = self.open_beside(artifact, role, mutability).await?;
        if let Found::Held(held) = &found {
            self.put_looked_up(removals, held);
        }
        Ok(found)
    }

    /// To be asked before something is looked up that is to be [put](Shelf::put_looked_up) on the shelf.
    #[must_use]
    pub fn removals(&self, target: &Target) -> Removals {
        Removals(*self.turns.of(target).lock())
    }

    /// Puts what was looked up on the shelf, unless it may have been removed since; then it is for those who asked for it and for
    /// nobody after them.
    pub fn put_looked_up(&self, removals: Removals, held: &Arc<Held>) {
        let now = self.turns.of(&held.artifact.target).lock();
        if *now == removals.0 { self.put(held) } else { held.supersede() }
    }

    /// Opens what a record names that need not be the current one of its target.
    ///
    /// # Errors
    /// [`ShelfError`] when the store does not answer.
    pub async fn open_beside(
        &self,
        artifact: Artifact,
        role: Role,
        mutability: &Mutability,
    ) -> Result<Found, ShelfError> {
        let this = (artifact.size, &artifact.sha256);
        let Some(read) = blobs::read_this(&*self.blobs, &artifact.blob, None, this).await? else {
            return Ok(Found::Bodiless(Box::new(artifact)));
        };
        let body = match read.body {
            BlobBody::Memory(bytes) => HeldBody::Memory(bytes),
            BlobBody::File(file) if read.size <= MEMORY_BODY => match whole(&file, read.size).await {
                Some(bytes) => HeldBody::Memory(bytes),
                None => return Ok(Found::Bodiless(Box::new(artifact))),
            },
            // It is here in a moment, and who wants it whole, as the members of an index are read, need not know of the way.
            BlobBody::Growing(reader) if read.size <= MEMORY_BODY => match arrived(reader, &artifact).await? {
                Some(bytes) => HeldBody::Memory(bytes),
                None => return Ok(Found::Bodiless(Box::new(artifact))),
            },
            BlobBody::File(file) => HeldBody::File(file),
            BlobBody::Growing(reader) => HeldBody::Growing(reader),
            BlobBody::Stream { .. } => HeldBody::Distant,
        };
        Ok(Found::Held(Arc::new(Held::new(artifact, role, mutability.clone(), body))))
    }

    /// Puts something on the shelf in place of what was there.
    pub fn put(&self, held: &Arc<Held>) {
        match self.cache.peek(&held.artifact.target) {
            Some(earlier) if Arc::ptr_eq(&earlier, held) => {}
            Some(earlier) if earlier.artifact.revision > held.artifact.revision => held.supersede(),
            // What was there is superseded as it leaves.
            _ => self.cache.insert(held.artifact.target.clone(), Arc::clone(held)),
        }
    }

    /// Takes a target off the shelf.
    pub fn forget(&self, target: &Target) {
        let mut removals = self.turns.of(target).lock();
        *removals += 1;
        if let Some((_, held)) = self.cache.remove(target) {
            held.supersede();
        }
    }

    /// Takes a target off the shelf if what is there is of such a revision. What is being looked up may be, too, so it is not
    /// put there, whatever it turns out to be.
    pub fn forget_if(&self, target: &Target, goes: impl FnOnce(Revision) -> bool) {
        let mut removals = self.turns.of(target).lock();
        *removals += 1;
        if let Some((_, held)) = self.cache.remove_if(target, |held| goes(held.artifact.revision)) {
            held.supersede();
        }
    }

    /// Takes off everything of a repository, or everything.
    pub fn forget_all(&self, repository: Option<&RepositoryName>) {
        self.turns.removals.iter().for_each(|removals| *removals.lock() += 1);
        self.cache.retain(|target, held| {
            let goes = repository.is_none_or(|name| *name == target.repository);
            if goes {
                held.supersede();
            }
            !goes
        });
    }

    /// Every record of a repository is compared with the catalog at its next use.
    pub fn doubt(&self, repository: &RepositoryName) {
        for (target, held) in self.cache.iter() {
            if target.repository == *repository {
                held.record_is_doubtful();
            }
        }
    }

    /// Events were lost: every record is compared with the catalog at its next use.
    pub fn doubt_all(&self) {
        for (_, held) in self.cache.iter() {
            held.record_is_doubtful();
        }
    }

    /// Takes the uses counted since the last call, for the catalog.
    #[must_use]
    pub fn take_uses(&self, now: SystemTime) -> Vec<Use> {
        let mut uses = std::mem::take(&mut *self.untold.lock());
        for (target, held) in self.cache.iter() {
            match held.take_uses() {
                0 => {}
                count => *uses.entry(target).or_default() += count,
            }
        }
        uses.into_iter().map(|(target, count)| Use { target, count, last: now }).collect()
    }

    /// How many bytes the shelf counts, and how many entries.
    #[must_use]
    pub fn fullness(&self) -> (u64, usize) {
        (self.cache.weight(), self.cache.len())
    }
}

/// Waits for a small body that is on its way; `None` if it is not what its record says.
async fn arrived(mut reader: SpoolReader, artifact: &Artifact) -> Result<Option<Bytes>, BlobError> {
    match reader.finished().await {
        Ok(_) => Ok(whole(reader.file(), artifact.size).await),
        Err(SpoolError::Invalid(_)) => Ok(None),
        Err(error) => Err(BlobError {
            kind: BlobErrorKind::Unavailable,
            during: format!("reading {}", artifact.blob),
            source: Some(Box::new(error)),
        }),
    }
}

/// Reads a small file whole; `None` if it is not as long as it should be.
pub(super) async fn whole(file: &Arc<std::fs::File>, size: u64) -> Option<Bytes> {
    use std::io::Read as _;
    let reader = FileReader::new(Arc::clone(file));
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(MEMORY_BODY)).unwrap_or(0));
        reader.take(size).read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = read.await.ok()?.ok()?;
    (bytes.len() as u64 == size).then(|| Bytes::from(bytes))
}

#[cfg(test)]
pub(crate) mod tests;
