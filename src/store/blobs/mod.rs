//! Immutable bytes under predictable keys.
//!
//! A [`BlobStore`] promises:
//! - **Whole or absent.** A blob is readable only after [`BlobStore::write`] returned, and then for good: its bytes are
//!   durable (they survive a crash of this process and of the machine) and never change.
//! - **Never silently replaced.** Writing to a key that holds other bytes answers [`Written::Occupied`]. Where a store
//!   cannot promise that under a race (not every S3 honours If-None-Match), [`BlobRead::sha256`] tells the reader which
//!   bytes it was really given, so that a lost race costs a fetch and never a wrong byte.
//! - **Self-describing.** Each blob carries a [`BlobAbout`], enough to make a catalog from the store alone.
//!
//! It never interprets a key beyond its slashes, never caches an absence, and never holds a whole blob in memory unless
//! it is smaller than a named limit. Absence is `None`, not an error.

#[cfg(test)]
mod conformance;
mod error;
pub mod files;
pub mod hot_tier;
mod names;
mod place;
mod record;
pub mod s3;

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::Sha256;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use self::error::{BlobError, BlobErrorKind, Undeleted};
use super::key::{BlobKey, RepositoryName};
use crate::spool::{SpoolReader, Spooled};

/// A store of immutable blobs. The module's text is the contract.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Opens a blob. With `range`, which must lie within the blob, only those bytes need be fetched; the answer says
    /// what it covers.
    ///
    /// # Errors
    /// [`BlobError`] when the store cannot answer. An absent blob is `Ok(None)`.
    async fn read(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<Option<BlobRead>, BlobError>;

    /// Reads what was written about a blob.
    ///
    /// # Errors
    /// As for [`BlobStore::read`].
    async fn about(&self, key: &BlobKey) -> Result<Option<BlobAbout>, BlobError>;

    /// Keeps the spooled bytes under `key`, durably. Writing the same bytes again is [`Written::Stored`].
    ///
    /// # Errors
    /// [`BlobError`]; nothing is then readable under the key that was not before.
    async fn write(&self, key: &BlobKey, spooled: &Spooled, about: &BlobAbout) -> Result<Written, BlobError>;

    /// Removes blobs, each by itself: one that cannot be removed keeps no other. Absent ones are no error.
    ///
    /// # Errors
    /// [`Undeleted`] says which are still there, or may be.
    async fn delete(&self, keys: &[BlobKey]) -> Result<(), Undeleted>;

    /// A copy that is kept in front of the store under `key`, and has this digest, is not what it should be: the next read asks
    /// the store itself. Nothing to do where no copies are kept.
    async fn forget_copy(&self, _key: &BlobKey, _copy: &Sha256) {}

    /// Every blob whose key starts with `prefix`, in any order.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobListing, BlobError>>;

    /// For how long a blob must stay after nothing names it any more: for those who learned its key before and have not
    /// opened it yet, and for those whom an open blob of this store does not protect.
    fn grace(&self) -> Duration;

    /// Removes what writes that were begun longer than `age` ago and never ended left behind: no blob, and nothing that anybody
    /// can read, but it takes room. How many there were. What others keep in the same place is theirs. Choose an age that no
    /// write under way reaches.
    ///
    /// # Errors
    /// As for [`BlobStore::read`].
    async fn tidy(&self, age: Duration) -> Result<usize, BlobError> {
        // A store that leaves nothing behind, or looks after it when it is opened.
        let _ = age;
        Ok(0)
    }

    /// Whether the store answers now: one cheap round trip.
    ///
    /// # Errors
    /// [`BlobError`] saying what is wrong and what to do.
    async fn ping(&self) -> Result<(), BlobError>;
}

/// Opens the blob that a record names: the one under `key` that has this length and digest. `None` when there is none, or it is
/// another one; a store that cannot refuse to replace a blob says which one it gave us (DESIGN 4.4).
///
/// What is kept of it in front of the store may be older than the record: another replica deleted the blob, and something else
/// was written under its key since. So a copy that is another one is forgotten, and the store asked itself.
///
/// # Errors
/// As for [`BlobStore::read`].
pub async fn read_this(
    store: &dyn BlobStore,
    key: &BlobKey,
    range: Option<Range<u64>>,
    (size, sha256): (u64, &Sha256),
) -> Result<Option<BlobRead>, BlobError> {
    let is_this = |read: &BlobRead| read.size == size && read.sha256.is_none_or(|other| other == *sha256);
    let Some(read) = store.read(key, range.clone()).await? else { return Ok(None) };
    match read.sha256.filter(|_| !is_this(&read)) {
        Some(other) => {
            drop(read);
            store.forget_copy(key, &other).await;
            Ok(store.read(key, range).await?.filter(is_this))
        }
        None => Ok(Some(read).filter(is_this)),
    }
}

/// What [`BlobStore::write`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The key now holds exactly these bytes.
    Stored,
    /// The key holds other bytes, which stay.
    Occupied,
}

/// An opened blob.
#[derive(Debug)]
pub struct BlobRead {
    /// Length of the whole blob in bytes.
    pub size: u64,
    /// Digest of the whole blob as recorded with the very bytes that follow; `None` if the store keeps the promise of
    /// never replacing a blob by itself (files) and does not look it up.
    pub sha256: Option<Sha256>,
    /// The bytes.
    pub body: BlobBody,
}

/// How a blob's bytes are reached.
pub enum BlobBody {
    /// The whole blob, in memory.
    Memory(Bytes),
    /// The whole blob, as a local file.
    File(Arc<File>),
    /// The whole blob, on its way from a distant store into a local file.
    Growing(SpoolReader),
    /// Only the bytes of this range of the blob, once.
    Stream {
        /// What the stream covers; the asked range, or the whole.
        range: Range<u64>,
        /// The bytes.
        bytes: BoxStream<'static, Result<Bytes, BlobError>>,
    },
}

impl std::fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory(_) => "Memory",
            Self::File(_) => "File",
            Self::Growing(_) => "Growing",
            Self::Stream { .. } => "Stream",
        })
    }
}

/// What is recorded with a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobAbout {
    /// The repository it was kept for; for batch downloads by URL, `None`.
    pub repository: Option<RepositoryName>,
    /// The decoded path below the repository, or the absolute URL.
    pub path: String,
    /// The query that is part of its key; empty for none.
    pub query: String,
    /// Length in bytes.
    pub size: u64,
    /// Digest of the bytes.
    pub sha256: Sha256,
    /// Media type.
    pub content_type: String,
    /// Upstream's ETag, verbatim.
    pub upstream_etag: Option<String>,
    /// Upstream's Last-Modified, verbatim.
    pub upstream_last_modified: Option<String>,
    /// When it was fetched or uploaded (whole milliseconds).
    pub stored_at: SystemTime,
}

/// One row of [`BlobStore::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobListing {
    /// The key.
    pub key: BlobKey,
    /// Length in bytes.
    pub size: u64,
    /// When the store took it.
    pub modified: SystemTime,
}
