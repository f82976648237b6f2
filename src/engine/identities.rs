//! What stored packages are that were fetched before an index named them.
//!
//! A package is checked against what its index says of it as it comes, and its record keeps what that was. One that was fetched by
//! its path before any index was known has a record that does not say; so has one that was rebuilt from the store. When an index
//! names it later, with a digest that only the format can compare, its bytes are read once and compared ([`Identities::find`]), before
//! they are served as what the index names. What was found out goes into the record, so that it is found out once for all replicas.
//!
//! None of this is on the path of a hit. Reading is bounded: at most [`AT_ONCE`] packages at a time, in frames, off the async
//! threads.

use std::sync::Arc;

use artifactapi_formats::{Expected, Identity, Limits};
use tokio::sync::Semaphore;

use super::scrub::examine::examine;
use super::shelf::ShelfError;
use crate::config::Repository;
use crate::spool::SpoolFolder;
use crate::store::blobs::{self, BlobStore};
use crate::store::catalog::{Artifact, Catalog, Published, Revision};
use crate::store::coordinator::{Coordinator, Event};

/// Packages that are read at once.
const AT_ONCE: usize = 2;

/// What one path may be, by different indexes, is compared for so many of them.
const MOST_NAMED: usize = 4;

/// How many comparisons are remembered: those that came to nothing, and those whose record could not be changed.
const REMEMBERED: usize = 16_384;

/// Compares stored packages with what indexes say of them.
pub struct Identities {
    blobs: Arc<dyn BlobStore>,
    catalog: Arc<dyn Catalog>,
    coordinator: Arc<dyn Coordinator>,
    spool: SpoolFolder,
    turns: Semaphore,
    compared: quick_cache::sync::Cache<(Revision, Identity), bool>,
}

impl Identities {
    /// Over these stores.
    #[must_use]
    pub fn new(
        blobs: Arc<dyn BlobStore>,
        catalog: Arc<dyn Catalog>,
        coordinator: Arc<dyn Coordinator>,
        spool: SpoolFolder,
    ) -> Self {
        let compared = quick_cache::sync::Cache::new(REMEMBERED);
        Self { blobs, catalog, coordinator, spool, turns: Semaphore::new(AT_ONCE), compared }
    }

    /// The record with the one of `named` that its bytes are; `None` when they are none of them, or are gone.
    ///
    /// # Errors
    /// [`ShelfError`] when the bytes cannot be read now.
    pub async fn find(
        &self,
        repository: &Repository,
        record: Artifact,
        named: &[Expected],
    ) -> Result<Option<Artifact>, ShelfError> {
        // Whoever waits here may find that another has done it meanwhile.
        let _turn = self.turns.acquire().await;
        let record = match self.catalog.lookup(&record.target).await? {
            Some(now) if now.revision != record.revision && now.identity.is_some() => {
                let is_it = named.iter().any(|expected| now.identity.as_ref() == Some(&expected.identity));
                return Ok(is_it.then_some(now));
            }
            Some(now) => now,
            None => return Ok(None),
        };
        for expected in named.iter().take(MOST_NAMED) {
            if self.is_it(repository, &record, expected).await? {
                let found = Artifact { identity: Some(expected.identity.clone()), ..record };
                return Ok(Some(self.noted(found).await));
            }
        }
        Ok(None)
    }

    async fn is_it(&self, repository: &Repository, record: &Artifact, expected: &Expected) -> Result<bool, ShelfError> {
        let key = (record.revision, expected.identity.clone());
        if let Some(known) = self.compared.get(&key) {
            return Ok(known);
        }
        let checker = repository.format.checker(&record.target.path, Some(expected), &Limits::default());
        let this = (record.size, &record.sha256);
        let (Some(read), Some(checker)) = (blobs::read_this(&*self.blobs, &record.blob, None, this).await?, checker)
        else {
            return Ok(false);
        };
        let is_it = match examine(read.body, Some(checker), &self.spool).await {
            Ok(examined) => {
                let is_whole = examined.size == record.size && examined.sha256 == record.sha256;
                is_whole && examined.objection.is_none()
            }
            Err(why) => {
                // Fetched anew, then; it may be another moment's trouble, so it is not remembered.
                tracing::warn!(path = %record.target, %why, "a stored package cannot be compared with its index");
                return Ok(false);
            }
        };
        if !is_it {
            tracing::info!(path = %record.target, identity = %expected.identity, "stored before its index, and not what that names");
        }
        self.compared.insert(key, is_it);
        Ok(is_it)
    }

    /// Puts what was found out into the record. Nothing is lost if that cannot be done now.
    async fn noted(&self, mut found: Artifact) -> Artifact {
        match self.catalog.publish(&found, Some(found.revision)).await {
            Ok(Published::Won(revision)) => {
                found.revision = revision;
                self.coordinator.announce(Event::Published(found.target.clone(), revision)).await;
            }
            Ok(Published::Lost(_) | Published::BlobLeaving) => {}
            Err(error) => {
                tracing::debug!(path = %found.target, %error, "what a package is could not be noted");
            }
        }
        found
    }
}
