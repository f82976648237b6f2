//! Publishing: what people upload becomes what clients install (DESIGN 6).
//!
//! [`Publisher::put`] takes a whole, spooled file and returns when it is durable, in the index and visible to every replica:
//! what is acknowledged is installable. Files of a format without indexes become current at once, by the catalog's
//! compare-and-set. Packages are read once ([`artifactapi_formats::PublishFormat::describe`]), their fragments are kept,
//! and their root's index is written anew of ready pieces ([`chunks`]).
//!
//! Uploads that arrive while an index is being written wait for the next one and are published together (group commit): one
//! task for each root, or for roots that share a folder, takes all that wait ([`desk`]). Replicas do not divide roots among
//! themselves; a lease keeps them from working against each other, and the catalog decides when it does not.
//!
//! Nothing is visible before it is published, and nothing of a failed upload is left but staged blobs, which are garbage.

mod budget;
mod carried;
mod choice;
mod chunks;
mod cuttings;
mod describe;
mod desk;
mod error;
mod files;
mod joined;
mod plan;
mod promised;
mod renewal;
mod resting;
mod restore;
mod sheet;
mod spooling;
mod terms;
mod turns;
mod write;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::publish::{Described, PublishFormat};
use artifactapi_formats::{Invalid, Limits, RepoPath, Role, Sha256};
use parking_lot::Mutex;

use self::budget::Budget;
use self::chunks::{Chunks, FOLDER_BYTES};
use self::describe::{DESCRIBED_BYTES, Read, Unread};
use self::desk::Job;
pub use self::error::PublishError;
pub(in crate::engine) use self::promised::may_be_only_promised;
use self::resting::Resting;
pub use self::restore::{Restorable, Restoring};
use self::sheet::Sheet;
use self::terms::Underway;
pub use self::terms::{Condition, Terms};
use self::write::merge::Merging;
pub use self::write::merge::Standing;
use super::held::now;
use super::keep::Keeper;
use super::shelf::Shelf;
use super::switches::Switches;
use super::threads::{Pace, on_its_own};
use crate::config::{Kind, LiveRepositories, Local, Repository};
use crate::spool::{FileReader, SpoolFolder, Spooled};
use crate::store::blobs::BlobStore;
use crate::store::catalog::fragments::Fragments;
use crate::store::catalog::snapshots::{PackageMark, SnapshotId, Snapshots};
use crate::store::catalog::{Artifact, Catalog};
use crate::store::coordinator::Coordinator;
use crate::store::key::{BlobKey, Target};

/// The most changes that are published together.
pub const MAX_BATCH: usize = 256;

/// Sheets that are remembered: about 100 bytes for each package.
const SHEETS: usize = 16;

/// How long a replica waits for another that writes the same index. It may go on without the lease: then one of the two loses and
/// begins again.
const LEASE_PATIENCE: Duration = Duration::from_secs(10);

/// Packages and carried files that are read at once.
const READING: usize = 4;

/// Merged indexes whose packages are chosen among those of their members at once.
const CHOOSING: usize = 4;

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing under the path.
    Created,
    /// It took the place of other bytes.
    Replaced,
    /// The same bytes were there.
    Unchanged,
    /// Other bytes are there, and stay.
    Conflict,
    /// It is gone.
    Removed,
    /// There was nothing to remove.
    Absent,
}

/// A change that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// What became of it.
    pub outcome: Outcome,
    /// The snapshot that has it, in a format with indexes.
    pub snapshot: Option<SnapshotId>,
}

/// A change to the index of a root.
enum Change {
    /// A package, durable and described.
    Put { record: Artifact, described: Described },
    /// A file that the index carries.
    Carry { record: Artifact },
    /// A package or carried file is to go.
    Remove { path: RepoPath },
    /// The index is to be written anew, if it still has this list, which cannot be.
    Renew { list: RepoPath },
}

impl Change {
    /// What it is about.
    fn path(&self) -> &RepoPath {
        match self {
            Self::Put { record, .. } | Self::Carry { record } => &record.target.path,
            Self::Remove { path } => path,
            Self::Renew { list } => list,
        }
    }

    /// The blob that it brings.
    const fn blob(&self) -> Option<&BlobKey> {
        match self {
            Self::Put { record, .. } | Self::Carry { record } => Some(&record.blob),
            Self::Remove { .. } | Self::Renew { .. } => None,
        }
    }
}

/// Takes uploads and deletions.
pub struct Publisher {
    chunks: Chunks,
    /// For each desk where something is being written, what waits for the next time.
    waiting: Mutex<HashMap<Target, Vec<Job>>>,
    /// Virtual roots that are being merged.
    merging: Mutex<HashMap<Target, Merging>>,
    underway: Arc<Underway>,
    sheets: quick_cache::sync::Cache<Target, (SnapshotId, Arc<Sheet>)>,
    opened: quick_cache::sync::Cache<Sha256, carried::Open>,
    /// What was found of files that members of virtual repositories carry.
    checked: quick_cache::sync::Cache<carried::OfMember, carried::Verdict>,
    /// Lists that cannot be written as they were published.
    broken: quick_cache::sync::Cache<Target, ()>,
    /// Keys that could not be named, for what they had is just being deleted.
    leaving: quick_cache::sync::Cache<BlobKey, ()>,
    resting: Resting,
    reading: tokio::sync::Semaphore,
    reading_large: tokio::sync::Semaphore,
    choosing: tokio::sync::Semaphore,
    described: Budget,
    writing_lists: tokio::sync::Semaphore,
    /// Whose list is being written.
    lists_of: turns::Turns,
    limits: Limits,
    spool: SpoolFolder,
    shelf: Arc<Shelf>,
    blobs: Arc<dyn BlobStore>,
    keeper: Arc<Keeper>,
    catalog: Arc<dyn Catalog>,
    snapshots: Arc<dyn Snapshots>,
    fragments: Arc<dyn Fragments>,
    coordinator: Arc<dyn Coordinator>,
    switches: Arc<Switches>,
    repositories: Arc<LiveRepositories>,
}

/// What [`Publisher::open`] is handed.
#[allow(missing_docs, reason = "the types say it")]
pub struct PublisherParts {
    pub limits: Limits,
    pub spool: SpoolFolder,
    pub shelf: Arc<Shelf>,
    pub blobs: Arc<dyn BlobStore>,
    pub keeper: Arc<Keeper>,
    pub catalog: Arc<dyn Catalog>,
    pub snapshots: Arc<dyn Snapshots>,
    pub fragments: Arc<dyn Fragments>,
    pub coordinator: Arc<dyn Coordinator>,
    pub switches: Arc<Switches>,
    pub repositories: Arc<LiveRepositories>,
}

impl Publisher {
    /// With a folder for pieces of indexes, which is made.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path, parts: PublisherParts) -> io::Result<Self> {
        Ok(Self {
            chunks: Chunks::open(folder, FOLDER_BYTES, Arc::clone(&parts.fragments))?,
            waiting: Mutex::default(),
            merging: Mutex::default(),
            underway: Arc::default(),
            sheets: quick_cache::sync::Cache::new(SHEETS),
            opened: quick_cache::sync::Cache::new(carried::OPENED),
            checked: quick_cache::sync::Cache::new(carried::CHECKED),
            broken: quick_cache::sync::Cache::new(renewal::BROKEN),
            leaving: quick_cache::sync::Cache::new(promised::LEAVING),
            resting: Resting::after(resting::REST),
            reading: tokio::sync::Semaphore::new(READING),
            reading_large: tokio::sync::Semaphore::new(1),
            choosing: tokio::sync::Semaphore::new(CHOOSING),
            described: Budget::of(DESCRIBED_BYTES),
            writing_lists: tokio::sync::Semaphore::new(1),
            lists_of: turns::Turns::default(),
            limits: parts.limits,
            spool: parts.spool,
            shelf: parts.shelf,
            blobs: parts.blobs,
            keeper: parts.keeper,
            catalog: parts.catalog,
            snapshots: parts.snapshots,
            fragments: parts.fragments,
            coordinator: parts.coordinator,
            switches: parts.switches,
            repositories: parts.repositories,
        })
    }

    /// Takes a whole file as the content of `target`, on the terms on which it was received.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is then visible that was not before.
    pub async fn put(
        self: &Arc<Self>,
        repository: &Arc<Repository>,
        target: &Target,
        spooled: &Spooled,
        mut terms: Terms,
    ) -> Result<Done, PublishError> {
        self.still_fits(target, spooled, &mut terms).await?;
        let done = self.put_whole(repository, target, spooled, &terms.condition).await?;
        if matches!(done.outcome, Outcome::Created | Outcome::Replaced) {
            terms.settle();
        }
        Ok(done)
    }

    async fn put_whole(
        self: &Arc<Self>,
        repository: &Arc<Repository>,
        target: &Target,
        spooled: &Spooled,
        condition: &Condition,
    ) -> Result<Done, PublishError> {
        let local = local_of(repository)?;
        let role = repository.format.classify(&target.path);
        let Some(format) = repository.format.publish() else {
            return self.put_file(repository, local, (target, role), spooled, condition).await;
        };
        if let Some(kind) = format.carried_kind(&target.path) {
            let root = format.root_for(&target.path, local.root_depth);
            let root = root.map_err(|why| PublishError::Invalid(Arc::new(why)))?;
            let root = Target::new(repository.name.clone(), root.entry);
            let path = target.path.clone();
            self.read_whole(spooled, move |whole, limits| format.check_carried(&kind, &path, whole, limits)).await?;
            if self.is_taken(local, target, spooled).await? {
                return Ok(Done { outcome: Outcome::Conflict, snapshot: None });
            }
            let record = self.put_aside(self.draft(repository, target.clone(), role, spooled), spooled).await?;
            let change = Change::Carry { record };
            return self.submit(repository, root.clone(), Some(root), change, condition.clone()).await;
        }
        match role {
            Role::Package => self.put_package(repository, local, format, target, spooled, condition).await,
            Role::File => self.put_file(repository, local, (target, role), spooled, condition).await,
            Role::Index | Role::IndexCompanion | Role::IndexMember | Role::Listing => Err(PublishError::OwnIndex),
        }
    }

    async fn put_package(
        self: &Arc<Self>,
        repository: &Arc<Repository>,
        local: &Local,
        format: &'static dyn PublishFormat,
        target: &Target,
        spooled: &Spooled,
        condition: &Condition,
    ) -> Result<Done, PublishError> {
        // The index says when it came, and so does the record, of which the index may have to be made again.
        let uploaded_at = now();
        let unread = Unread { path: target.path.clone(), size: spooled.size, sha256: spooled.sha256, uploaded_at };
        let read = self.describe(format, local.root_depth, unread, spooled.reader()).await?;
        let Read { desk, root, described, fragments, claim } = read;
        if self.is_taken(local, target, spooled).await? {
            return Ok(Done { outcome: Outcome::Conflict, snapshot: None });
        }
        let [desk, root] = [desk, root].map(|root| Target::new(repository.name.clone(), root.entry));
        let mut draft = self.draft(repository, target.clone(), Role::Package, spooled);
        draft.identity = Some(described.entry.identity.clone());
        draft.stored_at = uploaded_at;
        let record = self.put_aside(draft, spooled).await?;
        self.fragments.put_fragments(&root, &[(PackageMark::of(&described.entry), fragments)], now()).await?;
        drop(claim);
        self.submit(repository, desk, Some(root), Change::Put { record, described }, condition.clone()).await
    }

    /// Whether other bytes are there and may not be replaced, whichever index lists them, or none. What is refused so is not written
    /// first: the store would have it for its grace, and a catalog that is made anew of the store would take it for what was there.
    async fn is_taken(&self, local: &Local, target: &Target, spooled: &Spooled) -> Result<bool, PublishError> {
        if local.overwrite {
            return Ok(false);
        }
        Ok(self.catalog.lookup(target).await?.is_some_and(|current| current.sha256 != spooled.sha256))
    }

    /// Has a format read a file that was uploaded.
    async fn read_whole<T: Send + 'static>(
        &self,
        spooled: &Spooled,
        read: impl FnOnce(&mut FileReader, &Limits) -> Result<T, Invalid> + Send + 'static,
    ) -> Result<T, PublishError> {
        let _turn = self.reading.acquire().await.map_err(|_| PublishError::Contended)?;
        let (mut reader, limits) = (spooled.reader(), self.limits.clone());
        let read = on_its_own(Pace::Usual, move || read(&mut reader, &limits)).await;
        let read = read.ok_or_else(|| PublishError::Unreadable("the thread that read it died".to_owned()))?;
        read.map_err(|why| PublishError::Invalid(Arc::new(why)))
    }

    /// Removes what is under a path, if the condition holds of it.
    ///
    /// # Errors
    /// [`PublishError`]; it is then still there, as far as one can tell.
    pub async fn remove(
        self: &Arc<Self>,
        repository: &Arc<Repository>,
        target: &Target,
        condition: Condition,
    ) -> Result<Done, PublishError> {
        let local = local_of(repository)?;
        let role = repository.format.classify(&target.path);
        let desks = match repository.format.publish() {
            None => Vec::new(),
            Some(format) if role == Role::Package => self.desks_of(repository, local, format, &target.path).await?,
            Some(format) if format.carried_kind(&target.path).is_some() => {
                repository.root_of(&target.path).into_iter().collect()
            }
            Some(_) if role == Role::File => Vec::new(),
            Some(_) => return Err(PublishError::OwnIndex),
        };
        let mut done = None;
        for desk in desks {
            let change = Change::Remove { path: target.path.clone() };
            // Of what the first index has let go, nothing holds any more.
            let condition = if done.is_none() { condition.clone() } else { Condition::default() };
            let next = self.submit(repository, desk, None, change, condition).await?;
            done = done.filter(|done: &Done| done.outcome == Outcome::Removed).or(Some(next));
        }
        match done {
            Some(done) => Ok(done),
            None => self.remove_file(target, &condition).await,
        }
    }
}

fn local_of(repository: &Repository) -> Result<&Local, PublishError> {
    match &repository.kind {
        Kind::Local(local) => Ok(local),
        Kind::Remote(_) | Kind::Virtual(_) => Err(PublishError::NotLocal),
    }
}

#[cfg(test)]
mod tests;
