//! Building the next generation of an index root beside the current one (DESIGN 6).
//!
//! An index and what it names are right together or not at all. When upstream has a new entry file, nothing of it is
//! shown until its companions and members have come too, each checked against the entry, and the package list is
//! written down; then one transaction makes all of it current, here and for every replica. Until then, and whenever it
//! fails, the generation before goes on being served whole.
//!
//! A root that was never held is different: nobody waits for the set. Its entry streams at once, members stream on request,
//! each checked against the entry; what nobody asked for follows in the background, and then the first snapshot is
//! recorded ([`first`]). Where keys are trusted, its signature is looked at first, and nothing else ([`signatures`]).
//!
//! Upstreams are caught in the middle of an update now and then: the entry is new and a member is not there yet, or is
//! another already. That is a contradiction, not damage: the next mirror is asked, then the same ones again after a while.
//!
//! A [`Build`] is one such generation on its way; its steps are a file each, in the order of [`Build::build`].

mod entry;
mod first;
mod gather;
mod not_built;
mod packages;
mod publication;
mod signatures;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{IndexFormat, IndexRoot};

pub(super) use self::entry::entry_of;
use self::entry::{Entry, EntryBytes};
pub(super) use self::not_built::NotBuilt;
use super::super::fill::{Order, Outcome, Via};
use super::super::held::now;
use super::super::shelf::Found;
use super::Fills;
use super::receive::{Arrived, Try};
use crate::store::catalog::snapshots::Snapshot;
use crate::upstream::Sources;

/// How long is waited, each time, for an upstream that is in the middle of an update.
pub(in crate::engine) const MID_UPDATE: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];

/// How often a publication is tried again when a blob it names is just being deleted, or another came first.
const TRIES: usize = 3;

/// A generation on its way: an entry, and where what it names may be had.
pub(super) struct Build<'a> {
    fills: &'a Arc<Fills>,
    /// For the entry.
    order: &'a Order,
    sources: &'a Sources,
    index: &'static dyn IndexFormat,
    root: IndexRoot,
    entry: Entry,
}

impl<'a> Build<'a> {
    /// Around what just came; `None` if that is no entry file of a root.
    pub(super) fn of(asked: &Try<'a>, arrived: &Arrived) -> Option<Self> {
        let entry = Entry {
            record: arrived.record.clone(),
            bytes: EntryBytes::New(arrived.spooled.clone()),
            giver: arrived.giver.clone(),
            may_have_gaps: asked.is_last,
        };
        Self::around(asked.fills, asked.order, asked.sources, entry)
    }

    fn around(fills: &'a Arc<Fills>, order: &'a Order, sources: &'a Sources, entry: Entry) -> Option<Self> {
        let (index, root) = entry_of(order)?;
        Some(Self { fills, order, sources, index, root, entry })
    }

    /// Builds and publishes it, and answers with the entry.
    pub(super) async fn next_generation(&self) -> Result<Outcome, NotBuilt> {
        let Self { fills, order, .. } = *self;
        for _ in 0..TRIES {
            match self.build().await {
                Ok(snapshot) => return self.served_from_now(&snapshot).await,
                Err(NotBuilt::Lost) => {
                    fills.shelf.forget(&order.target);
                    if let Ok(Some(current)) = fills.snapshots.current(&order.target).await
                        && current.files.first().is_some_and(|first| first.checked_at >= self.entry.record.checked_at)
                    {
                        return self.served_from_now(&current).await;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(NotBuilt::Lost)
    }

    async fn served_from_now(&self, snapshot: &Snapshot) -> Result<Outcome, NotBuilt> {
        let Self { fills, order, .. } = *self;
        match fills.shelf.find(&order.target, order.role, &order.mutability).await {
            Ok(Found::Held(held)) => {
                tracing::info!(
                    target: "artifactapi::snapshot",
                    root = %snapshot.root, snapshot = snapshot.id.0, packages = snapshot.packages,
                    files = snapshot.files.len(), source = %snapshot.source, "snapshot published"
                );
                Ok(Outcome::Held(held, Via::Fetched))
            }
            _ => Err(NotBuilt::Ours("the published entry cannot be opened".to_owned())),
        }
    }

    /// Gathers the files, writes the package list, publishes.
    async fn build(&self) -> Result<Snapshot, NotBuilt> {
        let Fills { snapshots, limits, .. } = &**self.fills;
        let began = now();
        let text = self.entry.text(limits).await?;
        let made_at = self.index.made_at(&self.root, &text, limits);
        let made_at = made_at.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let current = snapshots.current(&self.order.target).await?;
        self.refuse_older(current.as_ref(), made_at)?;
        let gathered = self.gather(&text).await?;
        self.refuse_old_signatures(current.as_ref(), &gathered)?;
        self.verify(gathered.companions.clone(), &text).await?;
        let draft = snapshots.begin(&self.order.target, began).await?;
        let published = self.publish(draft, made_at, gathered).await;
        if published.is_err() {
            // Not needed for correctness: the next publication sweeps it, too.
            let _ = snapshots.abandon(draft.id).await;
        }
        published
    }

    /// A rotating mirror that lags behind must not take everybody back (DESIGN 6).
    fn refuse_older(&self, current: Option<&Snapshot>, made_at: Option<SystemTime>) -> Result<(), NotBuilt> {
        let (Some(current), Some(new)) = (current.and_then(|current| current.made_at), made_at) else {
            return Ok(());
        };
        if new >= current || self.sources.allow_rollback {
            return Ok(());
        }
        self.fills.counts.older_refused.inc();
        let behind = current.duration_since(new).unwrap_or_default().as_secs();
        Err(self.entry.contradicts(format!(
            "an index that is {behind} s older than the one that is served; allow_rollback would take it"
        )))
    }
}
