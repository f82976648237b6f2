//! Packages that indexes name.
//!
//! The roots looked at are the folder that was asked for, if it is one, and every root below it whose entry the catalog
//! has. Each index is read through the engine, so it is refreshed when it is due and checked as always, and parsed on a
//! blocking thread that hands out one package at a time.

use std::collections::HashSet;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use artifactapi_formats::{IndexFormat, IndexRoot, Invalid, Limits, Member, PackageEntry, RepoPath};
use tokio::sync::mpsc;

use super::report::Reason;
use super::settle::settle;
use super::{BatchParts, Finds, QUEUE, bytes};
use crate::engine::read::Reader;
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
    let entry = open(parts, &root.entry, finds).await?;
    // A format whose entry is the whole index names it without being shown any members.
    let (list, bytes) = match index.package_list(root, &[]) {
        Some(list) if list == root.entry => (list, entry),
        _ => {
            let members = members(index, root, entry, parts.limits.clone()).await?;
            let list = index.package_list(root, &members).ok_or_else(|| {
                Halt::At(root.entry.clone(), Reason::Unfit("it names no list of packages".to_owned()))
            })?;
            let bytes = open(parts, &list, finds).await?;
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

/// Opens a file of an index, after the engine has made sure of it.
async fn open(parts: &BatchParts, path: &RepoPath, finds: &Finds<'_>) -> Result<Opened, Halt> {
    let repository = &finds.batch.repository;
    let target = Target::new(repository.name.clone(), path.clone());
    let opened = async {
        let reader: &Arc<Reader> = &parts.reader;
        let settled = settle(reader, &parts.fills, repository, &target).await?;
        bytes::open(&settled.held, &parts.blobs).await
    };
    opened.await.map_err(|reason| Halt::At(path.clone(), reason))
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
