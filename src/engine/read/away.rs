//! Reading while the catalog or the store is away (DESIGN 7).
//!
//! A file's first content lies under a key that follows from its path alone, and says itself what it is. That is enough
//! to serve what never changes, and better than nothing for the rest when upstream is away, too. Of a package there may be
//! several contents, built again under its name; which one clients must be given, only the catalog knows, so such a package comes
//! from upstream or not at all.

use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::{Mutability, Role};
use futures_util::StreamExt as _;

use super::super::freshness::Lifetime;
use super::super::held::Held;
use super::super::shelf::ShelfError;
use super::{ReadError, Reader, Reading, Wish, hit, lifetime_of, stale};
use crate::config::Remote;
use crate::store::blobs;
use crate::store::catalog::{Artifact, Validators};
use crate::store::key::Target;

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
            // Which build of a package its index means is for the catalog to say, once it is back.
            if wish.role != Role::Package {
                self.shelf.put(&held);
            }
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
        if wish.role == Role::Package && !self.was_built_once(&wish.target).await {
            return None;
        }
        let key = wish.target.first_blob_key();
        let about = self.blobs.about(&key).await.ok()??;
        if about.path != wish.target.path.as_str() || about.query != *wish.target.query {
            return None;
        }
        let read = blobs::read_this(&*self.blobs, &key, None, (about.size, &about.sha256)).await.ok()??;
        let target = wish.target.clone();
        let artifact = Artifact {
            validators: Validators { etag: about.upstream_etag, last_modified: about.upstream_last_modified },
            ..Artifact::unpublished(target, about.size, about.sha256, about.content_type, about.stored_at)
        };
        Some(Arc::new(Held::new(artifact, wish.role, mutability.clone(), read.body.into())))
    }

    /// Whether the store has one content of a package only. Of several, the first may be a build that an index named before the one
    /// that clients were given.
    async fn was_built_once(&self, package: &Target) -> bool {
        let prefix = package.blob_prefix();
        let contents = self.blobs.list(&prefix).take(2).collect::<Vec<_>>().await;
        matches!(&contents[..], [Ok(_)])
    }
}
