//! Caching many files at one request: what `POST /cache-artifact` does.
//!
//! A batch has two halves that run side by side. One *finds*: packages that indexes name ([`packages`]), or files that
//! directory listings link to ([`crawl`]), or simply what the request names. The other *reads* what was found, a few at a
//! time, each by an ordinary read of the engine ([`mod@settle`]). Between them is a short queue, so finding never runs ahead of
//! reading by more than [`QUEUE`] files and memory does not grow with the size of an index.
//!
//! A batch promises to admit nothing that a client could not fetch itself, to make no request of its own kind for a file
//! (checks, leases and single fills are the engine's), and to stop when nobody listens to its reports any more: fills that
//! run then go on, new ones are not begun. It never passes bytes of a file along.

mod crawl;
mod links;
mod listing;
mod literal;
pub(in crate::engine) mod origin;
mod packages;
mod report;
mod request;
#[cfg(test)]
mod samples;
mod settle;

use std::ops::ControlFlow;
use std::sync::Arc;

use artifactapi_formats::{Limits, RepoPath};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

pub use self::report::{Done, Fate, LISTED, Listed, Reason, Report, Summary, Tally, Trouble};
pub use self::request::{Batch, InvalidBatch, MAX_NAMED, Wanted};
use self::settle::{Came, settle};
use super::fills::Fills;
use super::read::Reader;
use crate::config::Admission;
use crate::store::blobs::BlobStore;
use crate::store::catalog::Catalog;
use crate::store::catalog::snapshots::Snapshots;
use crate::store::key::Target;

/// How many files of one batch are read at once.
pub const AT_ONCE: usize = 8;

/// How many batches run at once.
pub const MAX_BATCHES: usize = 4;

/// How many found files wait for their turn.
const QUEUE: usize = 64;

/// What batches work with.
#[allow(missing_docs, reason = "the types say it")]
pub struct BatchParts {
    pub reader: Arc<Reader>,
    pub fills: Arc<Fills>,
    pub catalog: Arc<dyn Catalog>,
    pub snapshots: Arc<dyn Snapshots>,
    pub blobs: Arc<dyn BlobStore>,
    pub limits: Limits,
}

/// Runs batches.
pub struct Batches {
    parts: Arc<BatchParts>,
    room: Arc<Semaphore>,
}

/// [`MAX_BATCHES`] run already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_BATCHES} batches run already")]
pub struct Busy;

/// A running batch. Dropping it stops the batch; fills that it began go on.
#[derive(Debug)]
pub struct Running {
    reports: mpsc::Receiver<Report>,
}

impl Running {
    /// The next report; `None` after the last.
    pub async fn next(&mut self) -> Option<Report> {
        self.reports.recv().await
    }
}

impl Batches {
    /// Over the parts they use.
    #[must_use]
    pub fn new(parts: BatchParts) -> Self {
        Self { parts: Arc::new(parts), room: Arc::new(Semaphore::new(MAX_BATCHES)) }
    }

    /// Starts a batch.
    ///
    /// # Errors
    /// [`Busy`]; nothing has happened then.
    pub fn start(&self, batch: Batch) -> Result<Running, Busy> {
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Busy)?;
        let (sender, reports) = mpsc::channel(QUEUE);
        tokio::spawn(run(Arc::clone(&self.parts), batch, sender, room));
        Ok(Running { reports })
    }
}

/// A file to be read.
#[derive(Debug)]
struct Item {
    target: Target,
    /// What the index says; 0 when nothing does.
    bytes: u64,
    named: bool,
}

/// Where what is found goes. `Break` from any of it: nobody wants more.
struct Finds<'a> {
    batch: &'a Batch,
    items: mpsc::Sender<Item>,
    reports: &'a mpsc::Sender<Report>,
}

impl Finds<'_> {
    /// Takes a found file, if the request's pattern matches it.
    async fn file(&self, path: RepoPath, bytes: u64) -> ControlFlow<()> {
        if !self.batch.wants(&path) {
            return ControlFlow::Continue(());
        }
        let target = Target::new(self.batch.repository.name.clone(), path);
        self.item(Item { target, bytes, named: false }).await
    }

    async fn item(&self, item: Item) -> ControlFlow<()> {
        flow(self.items.send(item).await.is_ok())
    }

    /// Takes the news that a place could not be looked at.
    async fn trouble(&self, path: impl Into<String>, why: impl ToString) -> ControlFlow<()> {
        let trouble = Trouble { path: path.into(), why: why.to_string() };
        flow(self.reports.send(Report::Trouble(trouble)).await.is_ok())
    }
}

const fn flow(wanted: bool) -> ControlFlow<()> {
    if wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

async fn run(parts: Arc<BatchParts>, batch: Batch, reports: mpsc::Sender<Report>, _room: OwnedSemaphorePermit) {
    let (items, found) = mpsc::channel(QUEUE);
    let finds = Finds { batch: &batch, items, reports: &reports };
    let work = async { tokio::join!(find(&parts, finds), read_all(&parts, &batch, found, &reports)) };
    // When nobody listens any more, waiting ends here and now. Fills are tasks of their own and go on.
    tokio::select! {
        _ = work => {
            let _ = reports.send(Report::Finished).await;
        }
        () = reports.closed() => {}
    }
}

/// Reads what is found until there is no more.
async fn read_all(parts: &BatchParts, batch: &Batch, mut found: mpsc::Receiver<Item>, reports: &mpsc::Sender<Report>) {
    let items = futures_util::stream::poll_fn(|context| found.poll_recv(context));
    let read_one = |item| async {
        let done = Box::pin(read(parts, batch, item)).await;
        let _ = reports.send(Report::Item(done)).await;
    };
    items.for_each_concurrent(AT_ONCE, read_one).await;
}

/// Finds everything. Ends early when what reads it has ended.
async fn find(parts: &BatchParts, finds: Finds<'_>) {
    let _ = Box::pin(find_until_unwanted(parts, &finds)).await;
}

async fn find_until_unwanted(parts: &BatchParts, finds: &Finds<'_>) -> ControlFlow<()> {
    for target in &finds.batch.named {
        if finds.batch.wants(&target.path) {
            finds.item(Item { target: target.clone(), bytes: 0, named: true }).await?;
        }
    }
    match (&finds.batch.look, finds.batch.repository.format.index()) {
        (None, _) => ControlFlow::Continue(()),
        (Some(look), Some(index)) => packages::find(parts, index, &look.below, finds).await,
        (Some(look), None) => crawl::find(parts, look, finds).await,
    }
}

async fn read(parts: &BatchParts, batch: &Batch, item: Item) -> Done {
    let Item { target, bytes, named } = item;
    let repository = &batch.repository;
    let role = repository.format.classify(&target.path);
    let (fate, bytes) = match repository.patterns.admits(target.path.as_str(), role) {
        Admission::Admitted if batch.dry_run => look_up(parts, &target, bytes).await,
        Admission::Admitted => match settle(&parts.reader, &parts.fills, repository, &target).await {
            Ok(settled) => {
                let fate = match settled.came {
                    Came::Already => Fate::Already,
                    Came::Fetched => Fate::Cached,
                    Came::Unkept => Fate::Failed(Reason::NotKept),
                };
                (fate, settled.held.artifact.size)
            }
            Err(reason) => (Fate::Failed(reason), bytes),
        },
        refused => (Fate::Refused(Reason::not_admitted(&refused)), bytes),
    };
    Done { target, fate, bytes, named }
}

async fn look_up(parts: &BatchParts, target: &Target, bytes: u64) -> (Fate, u64) {
    match parts.catalog.lookup(target).await {
        Ok(Some(artifact)) => (Fate::Already, artifact.size),
        Ok(None) => (Fate::WouldCache, bytes),
        Err(_) => (Fate::Failed(Reason::Away), bytes),
    }
}
