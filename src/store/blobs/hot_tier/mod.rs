//! A bounded part of a distant store on the local disk.
//!
//! What was read or written lately is read from a local file; everything else is fetched once, however many want it,
//! and each of them follows the bytes as they come. The store behind stays the truth: a blob is written when *it* says
//! so, and this tier only ever holds copies whose digest was checked. They outlive a restart, and they are served while
//! the store is away.
//!
//! It never holds more than its budget, what is on its way included, and never keeps a blob that takes too large a part
//! of it. A full or failing disk makes it useless and not harmful: reads then come straight from the store.
//!
//! A copy can be older than the store: another replica may have deleted the blob, or deleted and written the key anew.
//! So every answer carries its digest, for the reader to compare with what it looks for; a reader who looks for another has
//! the copy forgotten, and a write replaces one that differs.

mod digest;
#[cfg(test)]
pub(crate) mod distant;
mod fill;
mod lru;
mod shelf;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::Sha256;
use async_trait::async_trait;
use futures_util::stream::BoxStream;

use self::fill::{Fills, Outcome};
use self::lru::Id;
use self::shelf::Shelf;
use super::error::blocking;
use super::{BlobAbout, BlobBody, BlobError, BlobErrorKind, BlobListing, BlobRead, BlobStore, Undeleted, Written};
use crate::spool::{SpoolFolder, Spooled};
use crate::store::key::BlobKey;

/// A range that begins this many bytes beyond what a fill has fetched is asked of the store directly.
const FAR_AHEAD: u64 = 8 << 20;

/// How often a read looks at the disk again when the entry it saw is gone by the time it opens it.
const LOOKS: usize = 3;

/// A [`BlobStore`] in front of another one.
#[derive(Debug)]
pub struct HotTier<B> {
    store: Arc<B>,
    fills: Arc<Fills>,
    budget: u64,
}

/// How full the tier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HotTierUsage {
    /// How many blobs it holds.
    pub entries: usize,
    /// What they and those on their way take, in bytes.
    pub bytes: u64,
    /// What they may take.
    pub budget: u64,
}

impl<B: BlobStore + 'static> HotTier<B> {
    /// Opens the tier in `folder`, which it owns, and takes stock of what an earlier process left there. Blocks; meant
    /// for the start. Best with `spool` on the same file system: then nothing is ever copied.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(store: B, folder: &Path, budget: u64, spool: SpoolFolder) -> Result<Self, BlobError> {
        let shelf = Shelf::open(folder, budget)
            .map_err(|error| BlobError::io(format!("opening the hot tier {}", folder.display()), error))?;
        Ok(Self { store: Arc::new(store), fills: Arc::new(Fills::new(Arc::new(shelf), spool)), budget })
    }

    /// How full it is.
    #[must_use]
    pub fn usage(&self) -> HotTierUsage {
        let (entries, bytes) = self.fills.shelf.usage();
        HotTierUsage { entries, bytes, budget: self.budget }
    }

    /// The copy on disk.
    async fn hot(&self, key: &BlobKey) -> Result<Option<BlobRead>, BlobError> {
        let (shelf, id) = (Arc::clone(&self.fills.shelf), Id::of(key));
        if !shelf.has(id) {
            return Ok(None);
        }
        let found = blocking("reading the hot tier", move || Ok(shelf.read(id))).await?;
        Ok(found.map(|(file, entry)| BlobRead {
            size: entry.size,
            sha256: Some(entry.sha256),
            body: BlobBody::File(Arc::new(file)),
        }))
    }

    /// A part of a blob that is not on disk: from a running fill if it will be there soon, else from the store. The
    /// whole is fetched for those who come next.
    async fn part(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<BlobRead>, BlobError> {
        if let Some(fill) = self.fills.running(key) {
            match fill.outcome().await {
                Outcome::Growing { size, sha256, reader } if range.start <= reader.readable() + FAR_AHEAD => {
                    return Ok(Some(BlobRead { size, sha256: Some(sha256), body: BlobBody::Growing(reader) }));
                }
                Outcome::Growing { .. } | Outcome::Elsewhere(_) => {}
                Outcome::Absent => return Ok(None),
                Outcome::Failed(error) => return Err(again(&error)),
            }
            return self.store.read(key, Some(range)).await;
        }
        let read = self.store.read(key, Some(range)).await?;
        if let Some(BlobRead { size, sha256: Some(_), body: BlobBody::Stream { .. } }) = &read
            && self.fills.shelf.would_keep(*size)
        {
            self.fills.join(key, &self.store);
        }
        Ok(read)
    }

    /// The whole of a blob that is not on disk. `None` if it is by now.
    async fn whole(&self, key: &BlobKey) -> Option<Result<Option<BlobRead>, BlobError>> {
        let fill = self.fills.join(key, &self.store)?;
        Some(match fill.outcome().await {
            Outcome::Growing { size, sha256, reader } => {
                Ok(Some(BlobRead { size, sha256: Some(sha256), body: BlobBody::Growing(reader) }))
            }
            Outcome::Elsewhere(answer) => {
                let answer = answer.lock().take();
                match answer {
                    Some(read) => Ok(Some(read)),
                    None => self.store.read(key, None).await,
                }
            }
            Outcome::Absent => Ok(None),
            Outcome::Failed(error) => Err(again(&error)),
        })
    }
}

#[async_trait]
impl<B: BlobStore + 'static> BlobStore for HotTier<B> {
    async fn read(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<Option<BlobRead>, BlobError> {
        for _ in 0..LOOKS {
            if let Some(read) = self.hot(key).await? {
                return Ok(Some(read));
            }
            if let Some(range) = range {
                return self.part(key, range).await;
            }
            if let Some(read) = self.whole(key).await {
                return read;
            }
        }
        self.store.read(key, range).await
    }

    async fn about(&self, key: &BlobKey) -> Result<Option<BlobAbout>, BlobError> {
        self.store.about(key).await
    }

    async fn write(&self, key: &BlobKey, spooled: &Spooled, about: &BlobAbout) -> Result<Written, BlobError> {
        let room = self.fills.shelf.reserve(spooled.size);
        // The local disk takes the bytes while they are on their way to the store.
        let syncing = room.is_some().then(|| {
            let spooled = spooled.clone();
            tokio::task::spawn_blocking(move || spooled.file().sync_data())
        });
        let written = self.store.write(key, spooled, about).await?;
        // A fill that began before may have found nothing; whoever asks from now on must not be told so.
        self.fills.forget(key);
        if let (Written::Stored, Some(room), Some(syncing)) = (written, room, syncing) {
            let (shelf, id, spooled) = (Arc::clone(&self.fills.shelf), Id::of(key), spooled.clone());
            let _ = syncing.await;
            let kept = tokio::task::spawn_blocking(move || shelf.keep(id, &spooled, room, || true)).await;
            if let Ok(Err(error)) = kept {
                tracing::warn!(%key, %error, "a blob cannot be kept in the hot tier");
            }
        }
        Ok(written)
    }

    async fn delete(&self, keys: &[BlobKey]) -> Result<(), Undeleted> {
        let deleted = self.store.delete(keys).await;
        // Also after an error: some are gone, and what is not can be fetched again.
        for key in keys {
            self.fills.forget(key);
        }
        let (shelf, ids) = (Arc::clone(&self.fills.shelf), keys.iter().map(Id::of).collect::<Vec<_>>());
        blocking("deleting from the hot tier", move || {
            ids.into_iter().for_each(|id| shelf.forget(id));
            Ok(())
        })
        .await
        .map_err(|error| Undeleted::all(keys, error))?;
        deleted
    }

    async fn forget_copy(&self, key: &BlobKey, copy: &Sha256) {
        self.fills.forget_copy(key, copy);
        let (shelf, id, copy) = (Arc::clone(&self.fills.shelf), Id::of(key), *copy);
        let forgotten = tokio::task::spawn_blocking(move || shelf.forget_if(id, |entry| entry.sha256 == copy)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%key, %error, "a copy in the hot tier could not be removed");
        }
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobListing, BlobError>> {
        self.store.list(prefix)
    }

    fn grace(&self) -> Duration {
        self.store.grace()
    }

    async fn tidy(&self, age: Duration) -> Result<usize, BlobError> {
        self.store.tidy(age).await
    }

    async fn ping(&self) -> Result<(), BlobError> {
        self.store.ping().await
    }
}

/// The error of one fill, for another of its readers.
fn again(error: &Arc<BlobError>) -> BlobError {
    #[derive(Debug, thiserror::Error)]
    #[error("a read for several at once failed")]
    struct Shared(#[source] Arc<BlobError>);
    let kind: BlobErrorKind = error.kind;
    BlobError { kind, during: error.during.clone(), source: Some(Box::new(Shared(Arc::clone(error)))) }
}
