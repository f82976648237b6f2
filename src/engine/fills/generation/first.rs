//! The first snapshot of a root whose entry was shown as soon as it came: everything else follows in the background, then it is
//! recorded.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::super::content::Content;
use super::super::super::fill::Order;
use super::super::super::held::now;
use super::super::super::shelf::Found;
use super::super::Fills;
use super::super::PATIENCE;
use super::super::completing::Completion;
use super::super::giver::Giver;
use super::super::receive::Try;
use super::entry::{Entry, EntryBytes};
use super::{Build, NotBuilt};
use crate::store::catalog::snapshots::Snapshot;
use crate::store::coordinator::Entered;
use crate::store::key::Target;
use crate::upstream::Sources;

/// Another replica may take this long to complete a root before this one does it too.
const COMPLETION_PATIENCE: Duration = Duration::from_secs(600);

impl Try<'_> {
    /// Completes a root whose entry this source gave, in the background.
    pub(in crate::engine::fills) fn complete_later(&self, giver: Giver, completion: Completion) {
        let (fills, order, sources) = (Arc::clone(self.fills), self.order.clone(), self.sources.clone());
        tokio::spawn(async move {
            let _completion = completion;
            let Entered::Lead(_lease) =
                fills.coordinator.enter(&completion_of(&order.target), COMPLETION_PATIENCE).await
            else {
                return;
            };
            if let Err(error) = fills.complete(&order, &sources, giver).await {
                tracing::debug!(target: "artifactapi::snapshot", root = %order.target, %error, "not complete yet");
            }
        });
    }
}

/// What a replica leads while it completes a root.
fn completion_of(root: &Target) -> Target {
    Target::with_query(root.repository.clone(), root.path.clone(), "snapshot")
}

impl Fills {
    /// Waits until no replica is completing a root whose entry has been shown since then; `false` when that takes too long.
    pub async fn await_completion_of(&self, root: &Target, shown_since: SystemTime) -> bool {
        if !self.completing.wait_for(root).await {
            return false;
        }
        // Whoever waits for another is told when that one is done, and has nothing to do then.
        let patience = PATIENCE.saturating_sub(now().duration_since(shown_since).unwrap_or_default());
        !matches!(self.coordinator.enter(&completion_of(root), patience).await, Entered::OutOfPatience)
    }

    async fn complete(self: &Arc<Self>, order: &Order, sources: &Sources, giver: Giver) -> Result<(), NotBuilt> {
        let Ok(Found::Held(held)) = self.shelf.find(&order.target, order.role, &order.mutability).await else {
            return Ok(());
        };
        // A snapshot of another entry is there when the entry's record was removed since: a damaged one.
        let current = self.snapshots.current(&order.target).await?;
        let is_of_it = |current: &Snapshot| {
            current.file(&order.target.path).is_some_and(|file| file.sha256 == held.artifact.sha256)
        };
        if current.as_ref().is_some_and(is_of_it) {
            return Ok(());
        }
        let Some(content) = Content::of(&held.body) else {
            return Ok(());
        };
        let (record, bytes) = (held.artifact.clone(), EntryBytes::Kept(content));
        let Some(build) = Build::around(self, order, sources, Entry { record, bytes, giver, may_have_gaps: true })
        else {
            return Ok(());
        };
        let built = build.next_generation().await;
        // The entry and what upstream has now do not belong together: the next request asks for a newer entry.
        if let Err(NotBuilt::Contradiction(_) | NotBuilt::Untrusted { .. }) = &built {
            held.doubt();
        }
        built.map(drop)
    }
}
