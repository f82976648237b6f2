//! The memory in front of catalog and store: what was served lately, opened and ready.
//!
//! A hit on the shelf costs no SQL and opens nothing. Small bodies are in memory, larger ones are open files. What is
//! here may be out of date for a moment, never for long: events take it off, and a record is compared with the catalog
//! again after [`RECORD_AGE`](super::held::RECORD_AGE) in case an event was lost. Bounded by [`ShelfBudget`].
//!
//! Events reach only what is on the shelf. So whatever leaves it, for whatever reason, is superseded from then on: nobody who
//! remembers it elsewhere may give it out any more.

mod budget;
mod leaving;
mod removals;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use artifactapi_formats::{Mutability, Role};
use bytes::Bytes;

pub(super) use self::budget::Cache;
pub use self::budget::ShelfBudget;
use self::leaving::{Leaving, Untold};
pub use self::removals::Removals;
use self::removals::Turns;
use super::content::Content;
use super::held::{Held, HeldBody};
use crate::spool::{SpoolError, SpoolReader};
use crate::store::blobs::{self, BlobBody, BlobError, BlobErrorKind, BlobStore};
use crate::store::catalog::{Artifact, Catalog, CatalogError, Revision, Use};
use crate::store::key::{RepositoryName, Target};

/// The largest body kept in memory, in bytes.
pub const MEMORY_BODY: u64 = 1 << 20;

/// Which part of the budget is for files of earlier generations: one in so many.
const PAST_SHARE: u64 = 8;

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
        Self { cache, turns: Turns::new(), untold, past, catalog, blobs }
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
            BlobBody::File(file) if read.size <= MEMORY_BODY => match Content::File(file).whole(read.size).await {
                Some(bytes) => HeldBody::Memory(bytes),
                None => return Ok(Found::Bodiless(Box::new(artifact))),
            },
            // It is here in a moment, and who wants it whole, as the members of an index are read, need not know of the way.
            BlobBody::Growing(reader) if read.size <= MEMORY_BODY => match arrived(reader, &artifact).await? {
                Some(bytes) => HeldBody::Memory(bytes),
                None => return Ok(Found::Bodiless(Box::new(artifact))),
            },
            body => HeldBody::from(body),
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
        self.turns.remove_all();
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
        Ok(_) => Ok(Content::File(Arc::clone(reader.file())).whole(artifact.size).await),
        Err(SpoolError::Invalid(_)) => Ok(None),
        Err(error) => Err(BlobError {
            kind: BlobErrorKind::Unavailable,
            during: format!("reading {}", artifact.blob),
            source: Some(Box::new(error)),
        }),
    }
}
