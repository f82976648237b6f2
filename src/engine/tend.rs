//! What goes on beside requests: hearing events, writing down uses, deleting what nothing names any more.
//!
//! None of it is needed for a correct answer. Each task survives any trouble of the stores, tries again later, and ends
//! with the server.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::RecvError;

use super::held::now;
use super::pins::Pins;
use super::shelf::Shelf;
use crate::store::blobs::{BlobError, BlobErrorKind, BlobStore, Undeleted};
use crate::store::catalog::fragments::Fragments;
use crate::store::catalog::{Catalog, CatalogError};
use crate::store::coordinator::{Coordinator, Event, Handout};
use crate::store::key::BlobKey;

/// How often uses are written to the catalog.
pub const USES_EVERY: Duration = Duration::from_secs(10);

/// How often garbage is looked for.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How many rounds of looking for garbage there are to one of looking for fragments that no package has.
const FRAGMENTS_EVERY: u32 = 60;

/// How long a fragment is kept that no package has: longer than any upload takes to be published.
const FRAGMENT_GRACE: Duration = Duration::from_secs(86_400);

/// How old a write is that nobody is at any more: longer than any takes. As often it is looked for such.
const ABANDONED_AFTER: Duration = Duration::from_secs(86_400);

/// When the store could not be tidied, it is tried again after this.
const TIDY_AGAIN: Duration = Duration::from_secs(3_600);

/// For how long it matters that another replica replaced a package: as long as the default of `pin`.
const CHANGED_FOR: Duration = Duration::from_secs(60);

/// Blobs deleted in one go.
const SWEEP_BATCH: u32 = 256;

/// Takes off the shelf what other replicas replaced, and learns whom they gave which generation.
pub async fn hear(coordinator: Arc<dyn Coordinator>, shelf: Arc<Shelf>, pins: Arc<Pins>) {
    let mut events = coordinator.events();
    loop {
        match events.recv().await {
            Ok(Event::Published(target, revision)) => {
                // Our own publication comes back to us; what we put on the shelf since is as new.
                shelf.forget_if(&target, |on_shelf| on_shelf < revision);
            }
            Ok(Event::Removed(target)) => {
                // Noted first: what is asked for in between must not be remembered as everybody's.
                pins.change(target.clone(), CHANGED_FOR);
                shelf.forget(&target);
            }
            Ok(Event::Evicted(target, revision)) => {
                // It may have been fetched again since. Whoever asks is given the same content, so nobody is pinned.
                shelf.forget_if(&target, |on_shelf| on_shelf <= revision);
            }
            Ok(Event::Purged(repository)) => shelf.forget_all(Some(&repository)),
            Ok(Event::HandedOut(Handout { agent, root, entry, at, on_credit, promised_for })) => {
                if on_credit && pins.unsettle(&root.repository, CHANGED_FOR) {
                    shelf.forget_all(Some(&root.repository));
                }
                pins.handed_elsewhere(agent, &root, entry, at);
                if let Some(lasts) = promised_for {
                    pins.promised_elsewhere(agent, &root, entry, at, lasts);
                }
            }
            // Not about anything on the shelf.
            Ok(Event::TokensChanged) => {}
            Ok(Event::Missed) | Err(RecvError::Lagged(_)) => shelf.doubt_all(),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Writes uses to the catalog now and then. Uses counted while the catalog is away are lost.
pub async fn report_uses(catalog: Arc<dyn Catalog>, shelf: Arc<Shelf>) {
    loop {
        tokio::time::sleep(USES_EVERY).await;
        report_uses_now(&*catalog, &shelf).await;
    }
}

/// Writes what was counted since the last time.
pub async fn report_uses_now(catalog: &dyn Catalog, shelf: &Shelf) {
    let uses = shelf.take_uses(now());
    if uses.is_empty() {
        return;
    }
    if let Err(error) = catalog.record_uses(&uses).await {
        tracing::debug!(%error, targets = uses.len(), "uses not recorded");
    }
}

/// Deletes blobs that nothing has named for [`BlobStore::grace`]: catalog first, blob after; fragments that no package has; and what
/// writes left behind that never ended.
pub async fn sweep(catalog: Arc<dyn Catalog>, blobs: Arc<dyn BlobStore>, fragments: Arc<dyn Fragments>) {
    let mut rounds = 0_u32;
    let mut tidy_at = None;
    loop {
        if tidy_at.is_none_or(|at| at <= Instant::now()) {
            tidy_at = Some(Instant::now() + tidy(&*blobs).await);
        }
        tokio::time::sleep(SWEEP_EVERY).await;
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(FRAGMENTS_EVERY)
            && let Err(error) = fragments.sweep_fragments(now() - FRAGMENT_GRACE).await
        {
            tracing::warn!(%error, "fragments that no package has could not be swept; it is tried again in an hour");
        }
        match sweep_now(&*catalog, &*blobs).await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(blobs = deleted, "deleted blobs that nothing named"),
            Err(SweepError::Blobs(error)) => {
                tracing::warn!(%error, "garbage could not be deleted; it is tried again later");
            }
            Err(SweepError::Catalog(error)) => tracing::debug!(%error, "garbage not looked for, or still listed"),
        }
    }
}

/// Removes what writes left behind that never ended. How long until the next look.
async fn tidy(blobs: &dyn BlobStore) -> Duration {
    match blobs.tidy(ABANDONED_AFTER).await {
        Ok(0) => ABANDONED_AFTER,
        Ok(left) => {
            tracing::info!(left, "removed what writes left in the store that never ended");
            ABANDONED_AFTER
        }
        Err(error) => {
            tracing::debug!(%error, "the store was not looked through for writes that never ended");
            TIDY_AGAIN
        }
    }
}

/// Why garbage is not swept.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The catalog does not say what is garbage, or cannot note that it is gone; then it is taken again later.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store did not delete it.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// Deletes what has been garbage for long enough; how many blobs. What cannot be deleted keeps nothing behind it.
///
/// # Errors
/// [`SweepError`], the first there was; what is left is taken by whoever sweeps later.
pub async fn sweep_now(catalog: &dyn Catalog, blobs: &dyn BlobStore) -> Result<usize, SweepError> {
    let mut deleted = 0;
    let mut failed = None;
    loop {
        let mut taken = catalog.take_garbage(now() - blobs.grace(), SWEEP_BATCH).await?;
        if taken.is_empty() {
            return failed.map_or(Ok(deleted), |error: BlobError| Err(error.into()));
        }
        if let Err(Undeleted { keys, error }) = blobs.delete(&taken).await {
            let undeleted: HashSet<BlobKey> = keys.into_iter().collect();
            taken.retain(|key| !undeleted.contains(key));
            if taken.is_empty() && is_of_the_store(error.kind) {
                return Err(error.into());
            }
            failed.get_or_insert(error);
        }
        catalog.garbage_deleted(&taken).await?;
        deleted += taken.len();
    }
}

/// Whether it is the store that is in trouble, and no blob of it: then what else is garbage need not be tried.
fn is_of_the_store(kind: BlobErrorKind) -> bool {
    matches!(kind, BlobErrorKind::Unavailable | BlobErrorKind::Denied | BlobErrorKind::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::shelf::tests::{held, shelf};
    use crate::store::catalog::Revision;
    use crate::store::coordinator::in_process::InProcessCoordinator;

    #[tokio::test]
    async fn what_is_published_or_evicted_while_it_is_looked_up_does_not_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Arc::new(shelf(folder.path(), 1 << 20).await);
        let coordinator: Arc<dyn Coordinator> = Arc::new(InProcessCoordinator::new());
        let hearing = tokio::spawn(hear(Arc::clone(&coordinator), Arc::clone(&shelf), Arc::default()));
        let mark = held("mark", 1, 10);
        // Everything that was announced before is heard once this is.
        let heard = async || {
            shelf.put(&held("mark", 1, 10));
            while shelf.peek(&mark.artifact.target).is_some() {
                coordinator.announce(Event::Removed(mark.artifact.target.clone())).await;
                tokio::task::yield_now().await;
            }
        };
        heard().await;
        for (name, event) in
            [("published", Event::Published as fn(_, _) -> _), ("evicted", Event::Evicted as fn(_, _) -> _)]
        {
            let late = held(name, 1, 10);
            let target = late.artifact.target.clone();
            let removals = shelf.removals(&target);
            coordinator.announce(event(target.clone(), Revision(2))).await;
            heard().await;
            shelf.put_looked_up(removals, &late);
            assert!(shelf.peek(&target).is_none() && !late.is_current(), "{name}: nobody would take it off again");

            // What is newer than the event stays where it is.
            let newer = held(name, 3, 10);
            shelf.put_looked_up(shelf.removals(&target), &newer);
            coordinator.announce(event(target.clone(), Revision(2))).await;
            heard().await;
            assert!(shelf.peek(&target).is_some() && newer.is_current(), "{name}");
        }
        hearing.abort();
    }
}
