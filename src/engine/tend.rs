//! What goes on beside requests: hearing events, writing down uses, deleting what nothing names any more.
//!
//! None of it is needed for a correct answer. Each task survives any trouble of the stores, tries again later, and ends
//! with the server.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::held::now;
use super::pins::Pins;
use super::shelf::Shelf;
use crate::store::blobs::BlobStore;
use crate::store::catalog::Catalog;
use crate::store::coordinator::{Coordinator, Event};

/// How often uses are written to the catalog.
pub const USES_EVERY: Duration = Duration::from_secs(10);

/// How often garbage is looked for.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How long a blob that nothing names is kept for those who still read it.
pub const GARBAGE_GRACE: Duration = Duration::from_secs(3_600);

/// For how long it matters that another replica replaced a package: as long as the default of `pin`.
const CHANGED_FOR: Duration = Duration::from_secs(60);

/// Blobs deleted in one go.
const SWEEP_BATCH: u32 = 256;

/// Takes off the shelf what other replicas replaced.
pub async fn hear(coordinator: Arc<dyn Coordinator>, shelf: Arc<Shelf>, pins: Arc<Pins>) {
    let mut events = coordinator.events();
    loop {
        match events.recv().await {
            Ok(Event::Published(target, revision)) => {
                // Our own publication comes back to us; what we put on the shelf since is as new.
                if shelf.peek(&target).is_some_and(|held| held.artifact.revision < revision) {
                    shelf.forget(&target);
                }
            }
            Ok(Event::Removed(target)) => {
                shelf.forget(&target);
                pins.change(target, CHANGED_FOR);
            }
            Ok(Event::Purged(repository)) => shelf.forget_all(Some(&repository)),
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

/// Deletes blobs that nothing has named for [`GARBAGE_GRACE`]: catalog first, blob after.
pub async fn sweep(catalog: Arc<dyn Catalog>, blobs: Arc<dyn BlobStore>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        loop {
            let before = now() - GARBAGE_GRACE;
            let taken = match catalog.take_garbage(before, SWEEP_BATCH).await {
                Ok(taken) if taken.is_empty() => break,
                Ok(taken) => taken,
                Err(error) => {
                    tracing::debug!(%error, "garbage not looked for");
                    break;
                }
            };
            if let Err(error) = blobs.delete(&taken).await {
                tracing::warn!(%error, blobs = taken.len(), "garbage could not be deleted; it is tried again later");
                break;
            }
            if let Err(error) = catalog.garbage_deleted(&taken).await {
                tracing::debug!(%error, "deleted garbage is still listed; it is taken again later");
                break;
            }
            tracing::debug!(blobs = taken.len(), "deleted blobs that nothing named");
        }
    }
}
