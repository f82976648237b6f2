//! Packages that indexes name.
//!
//! The roots looked at are the folder that was asked for, if it is one, and every root below it whose entry the catalog
//! has. Each index is read through the engine, so it is refreshed when it is due and checked as always. When the current
//! snapshot of the root was made of just that index, its packages are the rows of the catalog; a root that was never complete
//! has none, and is parsed on a blocking thread that hands out one package at a time.

use std::collections::HashSet;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use artifactapi_formats::{IndexFormat, IndexRoot, Invalid, Limits, Member, PackageEntry, RepoPath};
use tokio::sync::mpsc;

use super::report::Reason;
use super::settle::settle;
use super::{BatchParts, Finds, QUEUE};
use crate::engine::content::open;
use crate::engine::held::Held;
use crate::engine::prefetch::rows::Rows;
use crate::store::catalog::ListQuery;
use crate::store::key::Target;

/// The most records looked at for entries of indexes.
const RECORDS: usize = 200_000;

/// Records taken from the catalog at once.
const PAGE: u32 = 1_000;

type Opened = Box<dyn Read + Send>;

/// Why the packages of a root are not handed out to the end.
enum Halt {
    /// Nobody wants more.
    Unwanted,
    /// This file of the index cannot be had or read.
    At(RepoPath, Reason),
}

/// Finds the packages of every root at or below `folder`.
pub(super) async fn find(
    parts: &BatchParts,
    index: &'static dyn IndexFormat,
    folder: &str,
    finds: &Finds<'_>,
) -> ControlFlow<()> {
    let mut done = HashSet::new();
    let mut missing = Vec::new();
    let mut found_one = false;
    for root in roots_at(index, folder) {
        let went = packages(parts, index, &root, finds).await;
        done.insert(root);
        match went {
            Err(Halt::At(path, reason @ Reason::Absent(_))) => missing.push((path, reason)),
            went => {
                heed(went, finds).await?;
                found_one = true;
                break;
            }
        }
    }
    let mut after = None;
    let mut looked_at = 0;
    while looked_at < RECORDS {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let query = ListQuery { prefix, after, limit: PAGE };
        let Ok(page) = parts.catalog.list(&finds.batch.repository.name, &query).await else {
            return finds.trouble(folder, Reason::Away).await;
        };
        let Some(last) = page.last() else { break };
        after = Some((last.target.path.to_string(), last.target.query.to_string()));
        looked_at += page.len();
        for record in &page {
            let entry = &record.target.path;
            let Some(root) = index.root_of(entry).filter(|root| root.entry == *entry) else { continue };
            if !record.target.query.is_empty() || !done.insert(root.clone()) {
                continue;
            }
            found_one = true;
            heed(packages(parts, index, &root, finds).await, finds).await?;
        }
    }
    if looked_at >= RECORDS {
        let why = format!("only the first {RECORDS} records were looked at for indexes; ask for a folder further down");
        finds.trouble(folder, why).await?;
    }
    if !found_one {
        for (path, reason) in missing {
            finds.trouble(path.as_str(), reason).await?;
        }
    }
    ControlFlow::Continue(())
}

/// Tells of a root that could not be read to its end.
async fn heed(went: Result<(), Halt>, finds: &Finds<'_>) -> ControlFlow<()> {
    match went {
        Ok(()) => ControlFlow::Continue(()),
        Err(Halt::Unwanted) => ControlFlow::Break(()),
        Err(Halt::At(path, reason)) => finds.trouble(path.as_str(), reason).await,
    }
}

/// The roots that `folder` may be, or the one whose entry it names.
fn roots_at(index: &dyn IndexFormat, folder: &str) -> Vec<IndexRoot> {
    if let Some(root) = RepoPath::new(folder).ok().and_then(|entry| index.root_of(&entry).filter(|r| r.entry == entry))
    {
        return vec![root];
    }
    index.entries_in(folder).into_iter().map(|entry| IndexRoot { entry }).collect()
}

/// Hands out the packages of one root.
async fn packages(
    parts: &BatchParts,
    index: &'static dyn IndexFormat,
    root: &IndexRoot,
    finds: &Finds<'_>,
) -> Result<(), Halt> {
    let held = had(parts, &root.entry, finds).await?;
    if rows(parts, &held, finds).await? {
        return Ok(());
    }
    let entry = opened(parts, &root.entry, &held).await?;
    // A format whose entry is the whole index names it without being shown any members.
    let (list, bytes) = match index.package_list(root, &[]) {
        Some(list) if list == root.entry => (list, entry),
        _ => {
            let members = members(index, root, entry, parts.limits.clone()).await?;
            let list = index.package_list(root, &members).ok_or_else(|| {
                Halt::At(root.entry.clone(), Reason::Unfit("it names no list of packages".to_owned()))
            })?;
            let held = had(parts, &list, finds).await?;
            let bytes = opened(parts, &list, &held).await?;
            (list, bytes)
        }
    };
    let (sender, mut entries) = mpsc::channel::<PackageEntry>(QUEUE);
    let parsing = {
        let (root, limits) = (root.clone(), parts.limits.clone());
        let mut bytes = bytes;
        tokio::task::spawn_blocking(move || {
            index.packages(&root, &mut bytes, &limits, &mut |entry| super::flow(sender.blocking_send(entry).is_ok()))
        })
    };
    while let Some(entry) = entries.recv().await {
        if finds.file(entry.path, entry.size).await.is_break() {
            return Err(Halt::Unwanted);
        }
    }
    finished(parsing.await, &list)
}

/// Hands out the packages of a root by their rows. `false` if its current snapshot is not of this entry.
async fn rows(parts: &BatchParts, entry: &Held, finds: &Finds<'_>) -> Result<bool, Halt> {
    let root = &entry.artifact.target;
    let away = |_| Halt::At(root.path.clone(), Reason::Away);
    let current = parts.snapshots.current(root).await.map_err(away)?;
    if current.is_none_or(|current| current.file(&root.path).is_none_or(|file| file.sha256 != entry.artifact.sha256)) {
        return Ok(false);
    }
    let mut rows = Rows::current(Arc::clone(&parts.snapshots), root);
    loop {
        let page = rows.next().await.map_err(away)?;
        if page.is_empty() {
            return Ok(true);
        }
        for row in page {
            if finds.file(row.package.path, row.package.size).await.is_break() {
                return Err(Halt::Unwanted);
            }
        }
    }
}

/// A file of an index, after the engine has made sure of it.
async fn had(parts: &BatchParts, path: &RepoPath, finds: &Finds<'_>) -> Result<Arc<Held>, Halt> {
    let repository = &finds.batch.repository;
    let target = Target::new(repository.name.clone(), path.clone());
    let settled = settle(&parts.reader, &parts.fills, repository, &target).await;
    settled.map(|settled| settled.held).map_err(|reason| Halt::At(path.clone(), reason))
}

async fn opened(parts: &BatchParts, path: &RepoPath, held: &Held) -> Result<Opened, Halt> {
    open(held, &parts.blobs).await.map_err(|_| Halt::At(path.clone(), Reason::Away))
}

async fn members(
    index: &'static dyn IndexFormat,
    root: &IndexRoot,
    entry: Opened,
    limits: Limits,
) -> Result<Vec<Member>, Halt> {
    let parsing = {
        let root = root.clone();
        tokio::task::spawn_blocking(move || {
            let mut whole = Vec::new();
            entry.take(limits.entry_bytes + 1).read_to_end(&mut whole).map_err(Invalid::Read)?;
            if whole.len() as u64 > limits.entry_bytes {
                return Err(Invalid::OverLimit { what: "index", limit: "entry_bytes", value: limits.entry_bytes });
            }
            index.members(&root, &whole, &limits)
        })
    };
    finished(parsing.await, &root.entry)
}

/// What came of reading a file on a blocking thread.
fn finished<T>(joined: Result<Result<T, Invalid>, tokio::task::JoinError>, path: &RepoPath) -> Result<T, Halt> {
    match joined {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(Invalid::Read(_))) => Err(Halt::At(path.clone(), Reason::Away)),
        Ok(Err(invalid)) => Err(Halt::At(path.clone(), Reason::Unfit(invalid.to_string()))),
        Err(_) => Err(Halt::At(path.clone(), Reason::Stopping)),
    }
}
