//! The memory in front of catalog and store: what was served lately, opened and ready.
//!
//! A hit on the shelf costs no SQL and opens nothing. Small bodies are in memory, larger ones are open files. What is
//! here may be out of date for a moment, never for long: events take it off, and a record is compared with the catalog
//! again after [`RECORD_AGE`](super::held::RECORD_AGE) in case an event was lost. Bounded by [`ShelfBudget`].

use std::sync::Arc;
use std::time::SystemTime;

use artifactapi_formats::{Mutability, Role};
use bytes::Bytes;

use super::held::{Held, HeldBody};
use crate::spool::FileReader;
use crate::store::blobs::{BlobBody, BlobError, BlobStore};
use crate::store::catalog::{Artifact, Catalog, CatalogError, Use};
use crate::store::key::{RepositoryName, Target};

/// The largest body kept in memory, in bytes.
pub const MEMORY_BODY: u64 = 1 << 20;

/// What an entry without a body in memory counts against the budget, in bytes. Chosen so that the default budget of
/// 64 MiB holds about 4,000 open files.
const FILE_WEIGHT: u64 = 16 << 10;

/// What any entry costs beside its body, in bytes.
const RECORD_WEIGHT: u64 = 1 << 10;

/// How many bytes the shelf may take, about.
#[derive(Debug, Clone, Copy)]
pub struct ShelfBudget(pub u64);

#[derive(Debug, Clone, Copy)]
struct Weigher;

impl quick_cache::Weighter<Target, Arc<Held>> for Weigher {
    fn weight(&self, _target: &Target, held: &Arc<Held>) -> u64 {
        let body = match &held.body {
            HeldBody::Memory(bytes) => bytes.len() as u64,
            HeldBody::File(_) | HeldBody::Growing(_) => FILE_WEIGHT,
            HeldBody::Distant => 0,
        };
        RECORD_WEIGHT + body
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
    cache: quick_cache::sync::Cache<Target, Arc<Held>, Weigher>,
    catalog: Arc<dyn Catalog>,
    blobs: Arc<dyn BlobStore>,
}

impl Shelf {
    /// An empty shelf over a catalog and a store.
    #[must_use]
    pub fn new(budget: ShelfBudget, catalog: Arc<dyn Catalog>, blobs: Arc<dyn BlobStore>) -> Self {
        let expected = usize::try_from(budget.0 / FILE_WEIGHT).unwrap_or(usize::MAX).clamp(64, 65_536);
        Self { cache: quick_cache::sync::Cache::with_weighter(expected, budget.0, Weigher), catalog, blobs }
    }

    /// What is held of `target`.
    ///
    /// # Errors
    /// [`ShelfError`] when it is not on the shelf and cannot be looked up or opened.
    pub async fn find(&self, target: &Target, role: Role, mutability: &Mutability) -> Result<Found, ShelfError> {
        if let Some(held) = self.cache.get(target).filter(|held| !held.body.has_arrived()) {
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
                    self.forget(target);
                    return self.open(now, role, mutability).await;
                }
                Ok(None) => {
                    self.forget(target);
                    return Ok(Found::Nothing);
                }
            }
        }
        match self.catalog.lookup(target).await? {
            Some(artifact) => self.open(artifact, role, mutability).await,
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

    /// What is on the shelf right now, without looking anywhere else.
    #[must_use]
    pub fn peek(&self, target: &Target) -> Option<Arc<Held>> {
        self.cache.get(target)
    }

    /// Opens what a record names, and puts it on the shelf.
    async fn open(&self, artifact: Artifact, role: Role, mutability: &Mutability) -> Result<Found, ShelfError> {
        let found = self.open_beside(artifact, role, mutability).await?;
        if let Found::Held(held) = &found {
            self.put(held);
        }
        Ok(found)
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
        let Some(read) = self.blobs.read(&artifact.blob, None).await? else {
            return Ok(Found::Bodiless(Box::new(artifact)));
        };
        // A store that cannot refuse to replace a blob says which one it gave us (DESIGN 4.4).
        if read.size != artifact.size || read.sha256.is_some_and(|sha256| sha256 != artifact.sha256) {
            return Ok(Found::Bodiless(Box::new(artifact)));
        }
        let body = match read.body {
            BlobBody::Memory(bytes) => HeldBody::Memory(bytes),
            BlobBody::File(file) if read.size <= MEMORY_BODY => match whole(&file, read.size).await {
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
        if let Some(earlier) = self.cache.peek(&held.artifact.target) {
            if earlier.artifact.revision > held.artifact.revision {
                held.supersede();
                return;
            }
            earlier.supersede();
        }
        self.cache.insert(held.artifact.target.clone(), Arc::clone(held));
    }

    /// Takes a target off the shelf.
    pub fn forget(&self, target: &Target) {
        if let Some((_, held)) = self.cache.remove(target) {
            held.supersede();
        }
    }

    /// Takes off everything of a repository, or everything.
    pub fn forget_all(&self, repository: Option<&RepositoryName>) {
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
        self.cache
            .iter()
            .filter_map(|(target, held)| match held.take_uses() {
                0 => None,
                count => Some(Use { target, count, last: now }),
            })
            .collect()
    }

    /// How many bytes the shelf counts, and how many entries.
    #[must_use]
    pub fn fullness(&self) -> (u64, usize) {
        (self.cache.weight(), self.cache.len())
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
