//! The second half of a rebuild: indexes of our own, written anew of the packages that they had.
//!
//! Records are walked in the order of their paths, so that packages of one folder are neighbours; they are read some at a time
//! and published [`TOGETHER`]. Each publication is a snapshot that lists more than the one before, signed with the keys that the
//! configuration names now; what an index has already is left as it is.

use std::sync::Arc;

use futures_util::StreamExt as _;

use super::{Rebuild, RebuildError, Rebuilt};
use crate::config::{Kind, Repository};
use crate::engine::publish::{PublishError, Restorable, Restoring};
use crate::store::catalog::{Artifact, CatalogError, ListQuery};
use crate::store::key::Target;

/// The most packages that are published together.
const TOGETHER: usize = 512;

/// Records that are read at a time.
const PAGE: u32 = 500;

/// Packages that are looked at, or wait to be read, at once.
const AT_ONCE: usize = 8;

impl Rebuild<'_> {
    /// Publishes the indexes of local repositories again.
    pub(super) async fn list_again(
        &self,
        rebuilt: &mut Rebuilt,
        progress: &mut (dyn FnMut(&Rebuilt) + Send),
    ) -> Result<(), RebuildError> {
        let is_ours = |repository: &&Arc<Repository>| {
            matches!(repository.kind, Kind::Local(_)) && repository.format.publish().is_some()
        };
        for repository in self.repositories.iter().filter(is_ours) {
            let mut waiting: Vec<Restorable> = Vec::new();
            let records = self.records_of(repository).map(|record| async move {
                let record = record?;
                let target = record.target.clone();
                let restoring = self.publisher.restorable(repository, record).await;
                Ok::<_, CatalogError>((target, restoring))
            });
            let mut restorings = std::pin::pin!(records.buffered(AT_ONCE));
            while let Some(restoring) = restorings.next().await {
                let (target, restoring) = restoring?;
                let restorable = match restoring {
                    Ok(Restoring::Nothing) => continue,
                    Ok(Restoring::Ready(restorable)) => *restorable,
                    Err(why @ (PublishError::Invalid(_) | PublishError::Unreadable(_) | PublishError::OwnIndex)) => {
                        tracing::warn!(path = %target, %why, "not listed again");
                        rebuilt.unlisted += 1;
                        progress(rebuilt);
                        continue;
                    }
                    Err(why) => return Err(RebuildError::Publish { root: target, why }),
                };
                let is_elsewhere = waiting.first().is_some_and(|first| first.desk() != restorable.desk());
                if is_elsewhere || waiting.len() >= TOGETHER {
                    rebuilt.listed += self.publish_again(repository, &mut waiting).await?;
                    progress(rebuilt);
                }
                waiting.push(restorable);
            }
            rebuilt.listed += self.publish_again(repository, &mut waiting).await?;
            progress(rebuilt);
        }
        Ok(())
    }

    async fn publish_again(
        &self,
        repository: &Arc<Repository>,
        waiting: &mut Vec<Restorable>,
    ) -> Result<u64, RebuildError> {
        let Some(desk) = waiting.first().map(|first| first.desk().clone()) else { return Ok(0) };
        let listed = self.publisher.restore(repository, &desk, std::mem::take(waiting)).await;
        listed.map_err(|why| RebuildError::Publish { root: desk, why })
    }

    /// The records of a repository, in the order of their paths.
    fn records_of(&self, repository: &Repository) -> impl futures_util::Stream<Item = Result<Artifact, CatalogError>> {
        let first = (ListQuery { limit: PAGE, ..ListQuery::default() }, false);
        let pages = futures_util::stream::unfold(first, move |(query, is_over)| async move {
            if is_over {
                return None;
            }
            let page = match self.catalog.list(&repository.name, &query).await {
                Ok(page) => page,
                Err(error) => return Some((vec![Err(error)], (query, true))),
            };
            let after = page
                .last()
                .map(|last| &last.target)
                .map(|Target { path, query, .. }| (path.as_str().to_owned(), query.to_string()));
            let is_last = after.is_none();
            Some((page.into_iter().map(Ok).collect(), (ListQuery { after, ..query }, is_last)))
        });
        pages.flat_map(futures_util::stream::iter)
    }
}
