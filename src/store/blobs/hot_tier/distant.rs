//! A store for the tests of the tier: it counts, waits, breaks and lies as told.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::HotTier;
use crate::spool::{SpoolFolder, Spooled};
use crate::store::blobs::conformance::{about, bytes, collect, spooled, target};
use crate::store::blobs::files::FileBlobs;
use crate::store::blobs::{
    BlobAbout, BlobBody, BlobError, BlobErrorKind, BlobListing, BlobRead, BlobStore, Undeleted, Written,
};
use crate::store::key::BlobKey;

/// How the streams are cut, in bytes.
const PIECE: usize = 64 << 10;

/// A store that answers with streams, as a distant one does.
pub(crate) struct Distant {
    pub(crate) files: FileBlobs,
    /// How many wholes and how many parts were asked for.
    pub(crate) wholes: AtomicUsize,
    pub(crate) parts: AtomicUsize,
    /// Each piece of a stream takes a permit.
    pub(crate) pieces: Arc<Semaphore>,
    pub(crate) away: AtomicBool,
    /// How many of the next streams break off after their first piece.
    pub(crate) breaks: AtomicUsize,
    /// What is sent instead of the last byte.
    pub(crate) last_byte: Mutex<Option<u8>>,
    /// What the size is said to be.
    pub(crate) size: Mutex<Option<u64>>,
}

#[async_trait]
impl BlobStore for Arc<Distant> {
    async fn read(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<Option<BlobRead>, BlobError> {
        self.is_there()?;
        let count = if range.is_some() { &self.parts } else { &self.wholes };
        count.fetch_add(1, Ordering::Relaxed);
        let Some(about) = self.files.about(key).await? else { return Ok(None) };
        let (_, mut content) = collect(self.files.read(key, None).await?.expect("present")).await;
        if let (Some(lie), Some(last)) = (*self.last_byte.lock(), content.last_mut()) {
            *last = lie;
        }
        let size = self.size.lock().unwrap_or(about.size);
        let range = range.unwrap_or(0..size);
        let within = |at: u64| content.len().min(usize::try_from(at).expect("offset"));
        let content = Bytes::copy_from_slice(&content[within(range.start)..within(range.end)]);
        let ends = (0..content.len()).step_by(PIECE).map(|at| at..content.len().min(at + PIECE));
        let mut pieces: Vec<_> = ends.map(|part| Some(content.slice(part))).collect();
        if self.breaks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            pieces.truncate(1);
            pieces.push(None);
        }
        let permits = Arc::clone(&self.pieces);
        let bytes = stream::iter(pieces).then(move |piece| {
            let permits = Arc::clone(&permits);
            async move {
                permits.acquire().await.expect("never closed").forget();
                piece.ok_or_else(|| BlobError::new(BlobErrorKind::Unavailable, "sending", "it broke off"))
            }
        });
        let body = BlobBody::Stream { range, bytes: bytes.boxed() };
        Ok(Some(BlobRead { size, sha256: Some(about.sha256), body }))
    }

    async fn about(&self, key: &BlobKey) -> Result<Option<BlobAbout>, BlobError> {
        self.is_there()?;
        self.files.about(key).await
    }

    async fn write(&self, key: &BlobKey, spooled: &Spooled, about: &BlobAbout) -> Result<Written, BlobError> {
        self.is_there()?;
        self.files.write(key, spooled, about).await
    }

    async fn delete(&self, keys: &[BlobKey]) -> Result<(), Undeleted> {
        self.is_there().map_err(|error| Undeleted::all(keys, error))?;
        self.files.delete(keys).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobListing, BlobError>> {
        self.files.list(prefix)
    }

    fn grace(&self) -> std::time::Duration {
        self.files.grace()
    }

    async fn ping(&self) -> Result<(), BlobError> {
        self.is_there()
    }
}

impl Distant {
    /// The store in this folder, which answers truthfully and without delay until told otherwise.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            files: FileBlobs::open(folder).expect("store"),
            wholes: AtomicUsize::new(0),
            parts: AtomicUsize::new(0),
            pieces: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            away: AtomicBool::new(false),
            breaks: AtomicUsize::new(0),
            last_byte: Mutex::new(None),
            size: Mutex::new(None),
        }
    }

    /// Sends nothing from now on; permits let pieces through.
    pub(crate) fn hold(&self) {
        self.pieces.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn is_there(&self) -> Result<(), BlobError> {
        if self.away.load(Ordering::Relaxed) {
            Err(BlobError::new(BlobErrorKind::Unavailable, "asking", "it is away"))
        } else {
            Ok(())
        }
    }

    /// How many wholes and how many parts were asked for.
    pub(crate) fn asked(&self) -> (usize, usize) {
        (self.wholes.load(Ordering::Relaxed), self.parts.load(Ordering::Relaxed))
    }
}

/// A tier in front of it, in a folder of its own.
pub(super) struct Bench {
    pub(super) distant: Arc<Distant>,
    pub(super) tier: HotTier<Arc<Distant>>,
    pub(super) spool: SpoolFolder,
    pub(super) folder: TempDir,
}

impl Bench {
    pub(super) fn new(budget: usize) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let distant = Arc::new(Distant::new(folder.path()));
        let spool = SpoolFolder::open(&folder.path().join("spool")).expect("spool");
        let tier = HotTier::open(Arc::clone(&distant), &folder.path().join("hot"), budget as u64, spool.clone());
        Self { distant, tier: tier.expect("tier"), spool, folder }
    }

    /// The same folder after a restart.
    pub(super) fn reopen(&mut self, budget: usize) {
        let hot = self.folder.path().join("hot");
        let tier = HotTier::open(Arc::clone(&self.distant), &hot, budget as u64, self.spool.clone());
        self.tier = tier.expect("tier");
    }

    /// Puts a blob into the store behind the tier only.
    pub(super) async fn cold(&self, path: &str, content: &[u8]) -> BlobKey {
        let target = target("r", path);
        let key = target.first_blob_key();
        let spooled = spooled(&self.spool, content).await;
        self.distant.files.write(&key, &spooled, &about(&target, content)).await.expect("write");
        key
    }

    /// Reads a blob and waits until it is kept.
    pub(super) async fn warm(&self, key: &BlobKey) {
        bytes(&self.tier, key).await;
        self.settled(|bench| bench.tier.fills.running(key).is_none()).await;
    }

    pub(super) async fn settled(&self, until: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if until(self) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("it does not settle");
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let list = |folder: PathBuf| {
            let entries = std::fs::read_dir(folder).expect("folder");
            entries.map(|entry| entry.expect("entry").path()).collect::<Vec<_>>()
        };
        list(self.folder.path().join("hot/entries")).into_iter().flat_map(list).collect()
    }

    pub(super) fn bytes_on_disk(&self) -> u64 {
        self.files().iter().map(|path| std::fs::metadata(path).expect("metadata").len()).sum()
    }
}
