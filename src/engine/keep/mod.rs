//! Making spooled bytes the current content of a target: blob durable first, then one catalog transaction.
//!
//! Nobody sees the bytes as cached before both are done, and everybody does after (DESIGN 4.2). Replicas that keep
//! different bytes at once are told apart by the catalog's compare-and-set: one wins, the other learns what won.
//!
//! Bytes whose record is never written, because the catalog or this process goes away in between, must not lie in the store for
//! ever. Under the first key of a path they do no harm: whoever fetches that path next takes them or replaces them, and to
//! write them down before would cost every first fetch a transaction. A later key is one of many, so it is listed as garbage before
//! it is written ([`Snapshots::stage`]), as of that moment, for bytes may have been long on their way; and with it what the first key has, when that is found to be other bytes.

use std::sync::Arc;

use super::growth::Growth;
use super::held::now;
use crate::spool::Spooled;
use crate::store::blobs::{BlobAbout, BlobError, BlobStore, Written};
use crate::store::catalog::snapshots::Snapshots;
use crate::store::catalog::{Artifact, Catalog, CatalogError, Published, Revision};
use crate::store::coordinator::{Coordinator, Event};

/// How often a lost race is tried again.
const TRIES: usize = 4;

/// Keeps what was fetched or uploaded.
pub struct Keeper {
    blobs: Arc<dyn BlobStore>,
    catalog: Arc<dyn Catalog>,
    snapshots: Arc<dyn Snapshots>,
    coordinator: Arc<dyn Coordinator>,
    growth: Arc<Growth>,
}

/// Why bytes were not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The store did not take them.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The catalog did not take the record.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Others were first: they kept publishing the same target, or other bytes lie under its key.
    #[error("its place is taken: another content was published first, {TRIES} times in a row, or lies under its key")]
    Contended,
}

/// What [`Keeper::keep`] did.
#[derive(Debug)]
pub enum Kept {
    /// The bytes are current, under this record.
    Current(Artifact),
    /// Another content became current first; this is it.
    Beaten(Artifact),
}

impl Keeper {
    /// A keeper over store, catalog, with its snapshots, and coordinator.
    #[must_use]
    pub fn new(
        blobs: Arc<dyn BlobStore>,
        catalog: Arc<dyn Catalog>,
        snapshots: Arc<dyn Snapshots>,
        coordinator: Arc<dyn Coordinator>,
    ) -> Self {
        Self { blobs, catalog, snapshots, coordinator, growth: Arc::default() }
    }

    /// How much it kept.
    #[must_use]
    pub fn growth(&self) -> Arc<Growth> {
        Arc::clone(&self.growth)
    }

    /// Makes `spooled` the content of `draft.target`, if the current one is still `replaces`. `draft` says everything
    /// but the blob, the revision, and what the bytes themselves say.
    ///
    /// # Errors
    /// [`KeepError`]; nothing is then visible that was not before.
    pub async fn keep(
        &self,
        spooled: &Spooled,
        mut draft: Artifact,
        mut replaces: Option<Revision>,
    ) -> Result<Kept, KeepError> {
        draft.size = spooled.size;
        draft.sha256 = spooled.sha256;
        let about = about(&draft);
        let mut later = draft.target.later_blob_key(&spooled.sha256);
        draft.blob = if replaces.is_none() { draft.target.first_blob_key() } else { later.clone() };
        // What is to be listed as garbage before the next write, until a record names it.
        let mut unstaged = vec![later.clone()];
        for _ in 0..TRIES {
            if draft.blob == later && !unstaged.is_empty() {
                let leaving = self.snapshots.stage(&std::mem::take(&mut unstaged), now()).await?;
                if leaving.contains(&later) {
                    later = draft.target.another_blob_key(&spooled.sha256, now());
                    draft.blob = later.clone();
                    self.snapshots.stage(std::slice::from_ref(&later), now()).await?;
                }
            }
            if self.blobs.write(&draft.blob, spooled, &about).await? == Written::Occupied {
                if draft.blob == later {
                    return Err(KeepError::Contended);
                }
                // Other bytes of a path that had no record: those of a fill that came to grief, unless somebody is just about to
                // name them, or does. Then they are no garbage, and the catalog knows.
                unstaged.push(draft.blob);
                draft.blob = later.clone();
                continue;
            }
            match self.catalog.publish(&draft, replaces).await? {
                Published::Won(revision) => {
                    draft.revision = revision;
                    self.growth.add(draft.size);
                    self.coordinator.announce(Event::Published(draft.target.clone(), revision)).await;
                    return Ok(Kept::Current(draft));
                }
                Published::Lost(Some(current)) if current.sha256 == draft.sha256 => {
                    return Ok(Kept::Current(*current));
                }
                Published::Lost(Some(current)) if replaces.is_none() => {
                    return Ok(Kept::Beaten(*current));
                }
                Published::Lost(Some(current)) if current.stored_at >= draft.stored_at => {
                    return Ok(Kept::Beaten(*current));
                }
                Published::Lost(Some(current)) => replaces = Some(current.revision),
                Published::Lost(None) => replaces = None,
                Published::BlobLeaving => {
                    if draft.blob == later {
                        later = draft.target.another_blob_key(&spooled.sha256, now());
                        unstaged.push(later.clone());
                    }
                    draft.blob = later.clone();
                }
            }
        }
        Err(KeepError::Contended)
    }
}

/// Writing bytes that a snapshot will name, without making them current.
impl Keeper {
    /// Makes the bytes durable under a key that no record names, listed as garbage until one does. `draft` says everything but the
    /// blob and what the bytes themselves say.
    ///
    /// # Errors
    /// [`KeepError`] when the store does not take them.
    pub async fn put_aside(&self, spooled: &Spooled, mut draft: Artifact) -> Result<Artifact, KeepError> {
        draft.size = spooled.size;
        draft.sha256 = spooled.sha256;
        let is_first = self.catalog.lookup(&draft.target).await?.is_none();
        if is_first {
            draft.blob = draft.target.first_blob_key();
            if self.write_staged(spooled, &draft).await? {
                return Ok(draft);
            }
        }
        self.put_by_content(spooled, draft).await
    }

    /// The same, and never under a key that other bytes could have: not every store refuses to overwrite, and of two uploads of one
    /// path at once, which nobody could fetch again, the one that loses its race may be the one that was written last.
    ///
    /// # Errors
    /// [`KeepError`] when the store does not take them.
    pub async fn put_by_content(&self, spooled: &Spooled, mut draft: Artifact) -> Result<Artifact, KeepError> {
        draft.size = spooled.size;
        draft.sha256 = spooled.sha256;
        draft.blob = draft.target.later_blob_key(&spooled.sha256);
        if self.write_staged(spooled, &draft).await? {
            return Ok(draft);
        }
        self.put_elsewhere(spooled, draft).await
    }

    /// The same once more, under a key that the bytes never had: the other one is just being deleted.
    ///
    /// # Errors
    /// [`KeepError`] when the store does not take them.
    pub async fn put_elsewhere(&self, spooled: &Spooled, mut draft: Artifact) -> Result<Artifact, KeepError> {
        draft.blob = draft.target.another_blob_key(&spooled.sha256, now());
        if self.write_staged(spooled, &draft).await? { Ok(draft) } else { Err(KeepError::Contended) }
    }

    /// `false` if the key is taken or may not be used now. Only one that is about to be written is listed, for a key that was
    /// listed in vain is deleted, and has to rest, too.
    async fn write_staged(&self, spooled: &Spooled, draft: &Artifact) -> Result<bool, KeepError> {
        let leaving = self.snapshots.stage(std::slice::from_ref(&draft.blob), now()).await?;
        Ok(leaving.is_empty() && self.blobs.write(&draft.blob, spooled, &about(draft)).await? == Written::Stored)
    }

    /// Writes the bytes that a record promised.
    ///
    /// # Errors
    /// [`KeepError`] when the store does not take them.
    pub async fn write_as(&self, spooled: &Spooled, record: &Artifact) -> Result<(), KeepError> {
        match self.blobs.write(&record.blob, spooled, &about(record)).await? {
            Written::Stored => Ok(()),
            Written::Occupied => Err(KeepError::Contended),
        }
    }
}

fn about(draft: &Artifact) -> BlobAbout {
    BlobAbout {
        repository: Some(draft.target.repository.clone()),
        path: draft.target.path.as_str().to_owned(),
        query: draft.target.query.to_string(),
        size: draft.size,
        sha256: draft.sha256,
        content_type: draft.content_type.clone(),
        upstream_etag: draft.validators.etag.clone(),
        upstream_last_modified: draft.validators.last_modified.clone(),
        stored_at: draft.stored_at,
    }
}

#[cfg(test)]
mod tests;
