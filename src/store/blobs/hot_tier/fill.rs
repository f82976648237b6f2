//! Fetches a blob from the store behind the tier, once for however many want it.
//!
//! A fill is a task of its own: whoever asked first may leave without harm to the others. It has three ends. The blob
//! *grows* here, in a spool that everybody follows, and is kept when its digest is right. Or it is *elsewhere*: too
//! large, already local, without a digest, or there is no room; then each reader asks the store itself, except that one
//! of them gets the answer that is open already. Or the store has *nothing*, or no answer.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use artifactapi_formats::Sha256;
use futures_util::FutureExt as _;
use futures_util::stream::{BoxStream, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::digest::DigestCheck;
use super::lru::Id;
use super::shelf::{Room, Shelf};
use crate::spool::{SpoolError, SpoolFolder, SpoolReader, SpoolWriter, Spooled};
use crate::store::blobs::{BlobBody, BlobError, BlobErrorKind, BlobRead, BlobStore};
use crate::store::key::BlobKey;

/// How often a transfer that breaks off is taken up again.
const RESUMES: usize = 3;

/// What a fill has come to.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It grows in a spool.
    Growing { size: u64, sha256: Sha256, reader: SpoolReader },
    /// Ask the store; the first to come may take this answer.
    Elsewhere(Arc<Mutex<Option<BlobRead>>>),
    /// The store has no such blob.
    Absent,
    /// The store cannot answer.
    Failed(Arc<BlobError>),
}

/// One fill, as its readers see it.
#[derive(Debug, Clone)]
pub(super) struct Fill {
    outcome: watch::Receiver<Option<Outcome>>,
    forgotten: Arc<AtomicBool>,
}

impl Fill {
    /// Waits until it is clear how the blob can be read.
    pub(super) async fn outcome(mut self) -> Outcome {
        match self.outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(outcome)) => outcome,
            _ => Outcome::Failed(Arc::new(BlobError {
                kind: BlobErrorKind::Other,
                during: "filling the hot tier".to_owned(),
                source: None,
            })),
        }
    }

    /// Whether it brings bytes with this digest, as far as that is known by now.
    fn brings(&self, digest: &Sha256) -> bool {
        matches!(&*self.outcome.borrow(), Some(Outcome::Growing { sha256, .. }) if sha256 == digest)
    }
}

/// The fills under way, and what they need.
#[derive(Debug)]
pub(super) struct Fills {
    pub(super) shelf: Arc<Shelf>,
    pub(super) spool: SpoolFolder,
    running: Mutex<HashMap<BlobKey, Fill>>,
}

impl Fills {
    pub(super) fn new(shelf: Arc<Shelf>, spool: SpoolFolder) -> Self {
        Self { shelf, spool, running: Mutex::default() }
    }

    /// The fill of `key` that is under way.
    pub(super) fn running(&self, key: &BlobKey) -> Option<Fill> {
        self.running.lock().get(key).cloned()
    }

    /// Joins the fill of `key`, or starts one. `None` if the blob has been kept just now.
    pub(super) fn join<B: BlobStore + 'static>(self: &Arc<Self>, key: &BlobKey, store: &Arc<B>) -> Option<Fill> {
        let mut running = self.running.lock();
        if let Some(fill) = running.get(key) {
            return Some(fill.clone());
        }
        // A fill is kept before it ceases to run, so this look under the lock cannot miss it.
        if self.shelf.has(Id::of(key)) {
            return None;
        }
        let (sender, outcome) = watch::channel(None);
        let fill = Fill { outcome, forgotten: Arc::default() };
        running.insert(key.clone(), fill.clone());
        let run = Run { fills: Arc::clone(self), key: key.clone(), fill: fill.clone(), outcome: sender };
        let store = Arc::clone(store);
        tokio::spawn(async move { run.run(&*store).await });
        Some(fill)
    }

    /// The blob under `key` is another one now: what is on its way is not kept, and nobody joins it any more.
    pub(super) fn forget(&self, key: &BlobKey) {
        if let Some(fill) = self.running.lock().remove(key) {
            fill.forgotten.store(true, Ordering::Relaxed);
        }
    }

    /// The same if what is on its way has this digest.
    pub(super) fn forget_copy(&self, key: &BlobKey, copy: &Sha256) {
        let mut running = self.running.lock();
        if running.get(key).is_some_and(|fill| fill.brings(copy))
            && let Some(fill) = running.remove(key)
        {
            fill.forgotten.store(true, Ordering::Relaxed);
        }
    }
}

/// A running fill; dropped, however it ends, it is not running any more.
struct Run {
    fills: Arc<Fills>,
    key: BlobKey,
    fill: Fill,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Run {
    async fn run(self, store: &dyn BlobStore) {
        let read = match store.read(&self.key, None).await {
            Ok(Some(read)) => read,
            Ok(None) => return self.come_to(Outcome::Absent),
            Err(error) => return self.come_to(Outcome::Failed(Arc::new(error))),
        };
        let size = read.size;
        match self.begin(read).await {
            Err(read) => self.come_to(Outcome::Elsewhere(Arc::new(Mutex::new(Some(*read))))),
            Ok((bytes, room, writer)) => match self.pump(store, bytes, size, writer).await {
                Ok(spooled) => self.keep(spooled, room).await,
                // The readers have been told by the spool.
                Err(error) => {
                    tracing::warn!(key = %self.key, %error, "a blob could not be brought to the hot tier")
                }
            },
        }
    }

    /// Nobody joins from here on.
    fn leave(&self) {
        let mut running = self.fills.running.lock();
        // After a deletion another fill may run under this key.
        if running.get(&self.key).is_some_and(|fill| Arc::ptr_eq(&fill.forgotten, &self.fill.forgotten)) {
            running.remove(&self.key);
        }
    }

    fn come_to(&self, outcome: Outcome) {
        // Who asks after an end is told of it must not be given the same end again.
        if !matches!(outcome, Outcome::Growing { .. }) {
            self.leave();
        }
        self.outcome.send_replace(Some(outcome));
    }

    /// Makes room and begins a spool, or hands the answer back if it is not to be kept.
    async fn begin(&self, read: BlobRead) -> Result<(Bytes, Room, SpoolWriter), Box<BlobRead>> {
        let size = read.size;
        let (Some(sha256), BlobBody::Stream { range, .. }) = (read.sha256, &read.body) else {
            return Err(Box::new(read));
        };
        if *range != (0..size) {
            return Err(Box::new(read));
        }
        let Some(room) = self.fills.shelf.reserve(size) else {
            return Err(Box::new(read));
        };
        let check = Box::new(DigestCheck::new(sha256));
        let Ok((writer, reader)) = self.fills.spool.create(Some(size), Some(check)).await else {
            return Err(Box::new(read));
        };
        match read.body {
            BlobBody::Stream { bytes, .. } => {
                self.come_to(Outcome::Growing { size, sha256, reader });
                Ok((bytes, room, writer))
            }
            body => Err(Box::new(BlobRead { size, sha256: Some(sha256), body })),
        }
    }

    async fn keep(&self, spooled: Spooled, room: Room) {
        let (shelf, id) = (Arc::clone(&self.fills.shelf), Id::of(&self.key));
        let forgotten = Arc::clone(&self.fill.forgotten);
        let wanted = move || !forgotten.load(Ordering::Relaxed);
        let kept = tokio::task::spawn_blocking(move || shelf.keep(id, &spooled, room, wanted)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(key = %self.key, %error, "a blob cannot be kept in the hot tier");
        }
    }

    /// Moves the bytes into the spool. What has come is made readable before waiting for more. A transfer that breaks off
    /// is taken up where it was, as long as the store still has the blob; the digest of the whole decides in the end.
    async fn pump(
        &self,
        store: &dyn BlobStore,
        mut bytes: Bytes,
        size: u64,
        mut writer: SpoolWriter,
    ) -> Result<Spooled, SpoolError> {
        let (mut got, mut resumes) = (0, 0);
        loop {
            let next = match bytes.next().now_or_never() {
                Some(next) => next,
                None => {
                    writer.flush().await?;
                    bytes.next().await
                }
            };
            let error = match next {
                None => return writer.complete().await,
                Some(Ok(piece)) => {
                    got += piece.len() as u64;
                    writer.append(piece).await?;
                    continue;
                }
                Some(Err(error)) => error,
            };
            resumes += 1;
            let rest = if resumes <= RESUMES { self.rest(store, got..size).await } else { None };
            let Some(rest) = rest else {
                let why = error.to_string();
                writer.abandon(&why);
                return Err(SpoolError::Abandoned(why.into()));
            };
            bytes = rest;
        }
    }

    /// The bytes from where a transfer broke off to the end.
    async fn rest(&self, store: &dyn BlobStore, range: Range<u64>) -> Option<Bytes> {
        match store.read(&self.key, Some(range.clone())).await {
            Ok(Some(BlobRead { body: BlobBody::Stream { range: covered, bytes }, .. })) if covered == range => {
                Some(bytes)
            }
            _ => None,
        }
    }
}

type Bytes = BoxStream<'static, Result<bytes::Bytes, BlobError>>;
