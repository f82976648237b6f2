//! Reading while the catalog or the store is away (DESIGN 7).
//!
//! A file's first content lies under a key that follows from its path alone, and says itself what it is. That is enough
//! to serve what never changes, and better than nothing for the rest when upstream is away, too.

use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::Mutability;

use super::super::freshness::Lifetime;
use super::super::held::{Held, HeldBody};
use super::super::shelf::ShelfError;
use super::{ReadError, Reader, Reading, Wish, hit, lifetime_of, stale};
use crate::config::Remote;
use crate::store::blobs::BlobBody;
use crate::store::catalog::{Artifact, Revision, Validators};

impl Reader {
    /// The catalog or the store is away. A predictable key serves what never changes; the rest comes from upstream, and
    /// if that fails too, the oldest content we know is better than none.
    pub(super) async fn read_without_records(
        &self,
        wish: &Wish,
        remote: &Remote,
        mutability: Mutability,
        trouble: ShelfError,
    ) -> Result<Reading, ReadError> {
        let catalog_is_away = matches!(trouble, ShelfError::Catalog(_));
        let never_changes = matches!(lifetime_of(wish, &mutability, None), Lifetime::Forever);
        if catalog_is_away
            && never_changes
            && let Some(held) = self.by_predictable_key(wish, &mutability).await
        {
            self.shelf.put(&held);
            return Ok(hit(held, Some(Duration::ZERO)));
        }
        match self.fetch(wish, remote, mutability.clone(), None).await {
            Err(ReadError::Fill(error)) => match self.by_predictable_key(wish, &mutability).await {
                Some(held) => Ok(stale(held)),
                None => {
                    tracing::warn!(path = %wish.target, error = %trouble, "neither the stores nor upstream have it");
                    Err(ReadError::Fill(error))
                }
            },
            other => other,
        }
    }

    async fn by_predictable_key(&self, wish: &Wish, mutability: &Mutability) -> Option<Arc<Held>> {
        let key = wish.target.first_blob_key();
        let about = self.blobs.about(&key).await.ok()??;
        let is_it = about.path == wish.target.path.as_str() && about.query == *wish.target.query;
        let read = self.blobs.read(&key, None).await.ok()??;
        if !is_it || read.size != about.size || read.sha256.is_some_and(|sha256| sha256 != about.sha256) {
            return None;
        }
        let body = match read.body {
            BlobBody::Memory(bytes) => HeldBody::Memory(bytes),
            BlobBody::File(file) => HeldBody::File(file),
            BlobBody::Growing(reader) => HeldBody::Growing(reader),
            BlobBody::Stream { .. } => HeldBody::Distant,
        };
        let artifact = Artifact {
            target: wish.target.clone(),
            revision: Revision(0),
            blob: key,
            size: about.size,
            sha256: about.sha256,
            content_type: about.content_type,
            validators: Validators { etag: about.upstream_etag, last_modified: about.upstream_last_modified },
            last_modified: about.stored_at,
            stored_at: about.stored_at,
            checked_at: about.stored_at,
            identity: None,
        };
        Some(Arc::new(Held::new(artifact, wish.role, mutability.clone(), body)))
    }
}
