//! Walks the blobs, folder by folder.
//!
//! The walk holds one open folder per level and hands out a few rows at a time, so its memory does not depend on how
//! many blobs there are. It is no snapshot: a blob that is written or deleted meanwhile may or may not be seen.

use std::collections::VecDeque;
use std::fs::{self, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt as _};

use super::{Tree, present};
use crate::store::blobs::error::blocking;
use crate::store::blobs::{BlobError, BlobListing, names, record};
use crate::store::key::BlobKey;

/// How many rows one trip to a blocking thread brings back.
const ROWS: usize = 256;

/// Every blob whose key starts with `prefix`.
pub(super) fn list<'a>(tree: &Arc<Tree>, prefix: &'a str) -> BoxStream<'a, Result<BlobListing, BlobError>> {
    let top = tree.blobs.join(names::folder_of_prefix(prefix));
    let walk = Walk { tree: Arc::clone(tree), prefix: prefix.to_owned(), top: Some(top), folders: Vec::new() };
    let state = State { walk: Some(walk), ready: VecDeque::new() };
    stream::unfold(state, next).boxed()
}

struct State {
    /// `None` once the walk has ended or failed.
    walk: Option<Walk>,
    ready: VecDeque<BlobListing>,
}

async fn next(mut state: State) -> Option<(Result<BlobListing, BlobError>, State)> {
    while state.ready.is_empty() {
        let mut walk = state.walk.take()?;
        let during = format!("listing blobs {:?}", walk.prefix);
        let told = during.clone();
        let stepped = blocking(&during, move || match walk.step() {
            Ok(rows) => Ok((walk, rows)),
            Err(error) => Err(BlobError::io(told, error)),
        });
        match stepped.await {
            Ok((walk, rows)) => {
                // Fewer rows than asked for: the walk is at its end.
                state.walk = (rows.len() >= ROWS).then_some(walk);
                state.ready = rows.into();
            }
            Err(error) => return Some((Err(error), state)),
        }
    }
    let row = state.ready.pop_front()?;
    Some((Ok(row), state))
}

struct Walk {
    tree: Arc<Tree>,
    prefix: String,
    /// Where the walk begins, until it has.
    top: Option<PathBuf>,
    /// The folders from the top of the walk down to where it is.
    folders: Vec<ReadDir>,
}

impl Walk {
    /// The next rows: [`ROWS`] of them, or fewer at the end.
    fn step(&mut self) -> io::Result<Vec<BlobListing>> {
        if let Some(top) = self.top.take() {
            self.folders.extend(present(fs::read_dir(top))?);
        }
        let mut rows = Vec::new();
        while rows.len() < ROWS {
            let Some(folder) = self.folders.last_mut() else {
                break;
            };
            let Some(entry) = folder.next().transpose()? else {
                self.folders.pop();
                continue;
            };
            let Some(about) = present(entry.metadata())? else {
                continue;
            };
            if about.is_dir() {
                self.folders.extend(present(fs::read_dir(entry.path()))?);
            } else if let Some(key) = self.key(&entry.path())?.filter(|key| key.as_str().starts_with(&self.prefix)) {
                rows.push(BlobListing { key, size: about.len(), modified: about.modified()? });
            }
        }
        Ok(rows)
    }

    /// The key of the blob at `path`. `None` for a file that is not ours, and for an escaped one whose record is
    /// missing because of a crash: it can be read by its key and is mended by the next write.
    fn key(&self, path: &Path) -> io::Result<Option<BlobKey>> {
        let Some(name) = path.strip_prefix(&self.tree.blobs).ok().and_then(Path::to_str) else {
            return Ok(None);
        };
        if !names::is_escaped(name) {
            return Ok(names::key_of(name));
        }
        let recorded = self.tree.record(name)?.and_then(|(json, _)| record::read(&json).ok());
        Ok(recorded.map(|(key, _)| key).filter(|key| names::name_of(key) == name))
    }
}
