//! Listing again what was listed before the catalog was lost.
//!
//! The bytes of our own packages say what they contribute to their index, and the configuration says which index that is. So a record
//! that was made anew of the store ([`crate::engine::rebuild`]) is read as an upload is, and published as one; only the bytes
//! stay where they are, and the time of the upload is what it was. Which of several indexes of a folder lists a package, its bytes
//! say, too.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use artifactapi_formats::publish::PublishFormat;
use artifactapi_formats::{ReadSeek, RepoPath, Role};
use futures_util::StreamExt as _;

use super::describe::{Read, Unread};
use super::desk::roots_of;
use super::{Change, Outcome, PublishError, Publisher, local_of};
use crate::config::Repository;
use crate::engine::held::now;
use crate::spool::{FileReader, Spooled};
use crate::store::blobs::{self, BlobBody};
use crate::store::catalog::snapshots::{Generation, PackageMark};
use crate::store::catalog::{Artifact, Published};
use crate::store::key::Target;

/// Something that can be listed again, the index that it belongs to, and the desk of that.
pub struct Restorable {
    desk: Target,
    root: Target,
    change: Change,
}

impl Restorable {
    /// What all that is published together has in common: the usual index of a folder, by its entry.
    #[must_use]
    pub const fn desk(&self) -> &Target {
        &self.desk
    }
}

/// What can be done for a record.
pub enum Restoring {
    /// It is to be published.
    Ready(Box<Restorable>),
    /// An index has it, or none ever would.
    Nothing,
}

/// A blob, ready to be read.
pub(super) struct Opened {
    pub(super) bytes: Box<dyn ReadSeek + Send>,
    /// Where it is meanwhile, if it had to be fetched.
    pub(super) spooled: Option<Spooled>,
}

impl Publisher {
    /// Reads a record's bytes as if they had just been uploaded.
    ///
    /// # Errors
    /// [`PublishError`]; of [`PublishError::Invalid`] and [`PublishError::Unreadable`] only this record is the reason.
    pub async fn restorable(&self, repository: &Arc<Repository>, record: Artifact) -> Result<Restoring, PublishError> {
        let local = local_of(repository)?;
        let Some(format) = repository.format.publish() else { return Ok(Restoring::Nothing) };
        let path = &record.target.path;
        if format.carried_kind(path).is_some() {
            let root = format.root_for(path, local.root_depth);
            let root = root.map_err(|why| PublishError::Invalid(Arc::new(why)))?;
            let root = Target::new(repository.name.clone(), root.entry);
            let current = self.snapshots.current(&root).await?;
            let is_listed = current.is_some_and(|snapshot| snapshot.file(path).is_some());
            return Ok(if is_listed {
                Restoring::Nothing
            } else {
                let (desk, change) = (root.clone(), Change::Carry { record });
                Restoring::Ready(Box::new(Restorable { desk, root, change }))
            });
        }
        if repository.format.classify(path) != Role::Package || self.is_named(repository, path).await? {
            return Ok(Restoring::Nothing);
        }
        self.restorable_package(format, local.root_depth, record).await
    }

    async fn is_named(&self, repository: &Repository, path: &RepoPath) -> Result<bool, PublishError> {
        Ok(!self.snapshots.named(&repository.name, path, Generation::Current).await?.is_empty())
    }

    async fn restorable_package(
        &self,
        format: &'static dyn PublishFormat,
        root_depth: usize,
        mut record: Artifact,
    ) -> Result<Restoring, PublishError> {
        let Read { desk, root, described, fragments, claim: _claim } = {
            let Opened { bytes, spooled: _spooled } = self.opened(&record).await?;
            let (path, sha256) = (record.target.path.clone(), record.sha256);
            let unread = Unread { path, size: record.size, sha256, uploaded_at: record.stored_at };
            self.describe(format, root_depth, unread, bytes).await?
        };
        let [desk, root] = [desk, root].map(|root| Target::new(record.target.repository.clone(), root.entry));
        record.identity = Some(described.entry.identity.clone());
        if let Published::Won(revision) = self.catalog.publish(&record, Some(record.revision)).await? {
            record.revision = revision;
        }
        self.fragments.put_fragments(&root, &[(PackageMark::of(&described.entry), fragments)], now()).await?;
        Ok(Restoring::Ready(Box::new(Restorable { desk, root, change: Change::Put { record, described } })))
    }

    /// The bytes of a record, compared with it.
    pub(super) async fn opened(&self, record: &Artifact) -> Result<Opened, PublishError> {
        let gone = || PublishError::Unreadable(format!("the bytes of {} are missing or damaged", record.target));
        let away = |error: blobs::BlobError| PublishError::Away(error.to_string().into());
        let this = (record.size, &record.sha256);
        let read = blobs::read_this(&*self.blobs, &record.blob, None, this).await.map_err(away)?.ok_or_else(gone)?;
        let mut fetched = None;
        let bytes: Box<dyn ReadSeek + Send> = match read.body {
            BlobBody::Memory(bytes) => Box::new(Cursor::new(bytes)),
            BlobBody::File(file) => Box::new(FileReader::new(file)),
            BlobBody::Growing(mut reader) => {
                reader.finished().await?;
                Box::new(FileReader::new(Arc::clone(reader.file())))
            }
            BlobBody::Stream { mut bytes, .. } => {
                let (mut writer, _reader) = self.spool.create(Some(record.size), None).await?;
                while let Some(piece) = bytes.next().await {
                    writer.append(piece.map_err(away)?).await?;
                }
                let whole = writer.complete().await?;
                if whole.sha256 != record.sha256 {
                    return Err(gone());
                }
                Box::new(fetched.insert(whole).reader())
            }
        };
        Ok(Opened { bytes, spooled: fetched })
    }

    /// Publishes what was read, all of it of one desk, together. How many are listed now that were not.
    ///
    /// # Errors
    /// [`PublishError`]; of one index at least, nothing of it is then listed.
    pub async fn restore(
        &self,
        repository: &Arc<Repository>,
        desk: &Target,
        restorables: Vec<Restorable>,
    ) -> Result<u64, PublishError> {
        let local = local_of(repository)?;
        let mut bases = Vec::new();
        for root in roots_of(repository, desk) {
            bases.push(self.base(&root).await?);
        }
        // Since it was read, somebody may have uploaded another, to whichever index of the folder; that one stays.
        let is_listed = |path: &RepoPath| bases.iter().any(|base| base.has(path));
        let mut by_root: HashMap<Target, Vec<Change>> = HashMap::new();
        for Restorable { root, change, .. } in restorables {
            if !is_listed(change.path()) {
                by_root.entry(root).or_default().push(change);
            }
        }
        let mut listed = 0;
        for (root, changes) in by_root {
            let done = self.publish(repository, local, &root, &changes).await?;
            listed += done.iter().filter(|done| matches!(done.outcome, Outcome::Created | Outcome::Replaced)).count();
        }
        Ok(listed as u64)
    }
}
