//! Building the next generation of an index root beside the current one (DESIGN 6).
//!
//! An index and what it names are right together or not at all. When upstream has a new entry file, nothing of it is
//! shown until its companions and members have come too, each checked against the entry, and the package list is
//! written down; then one transaction makes all of it current, here and for every replica. Until then, and whenever it
//! fails, the generation before goes on being served whole.
//!
//! A root that was never held is different: nobody waits for the set. Its entry streams at once, members stream on request,
//! each checked against the entry; what nobody asked for follows in the background, and then the first snapshot is
//! recorded ([`Fills::complete_later`]). Where keys are trusted, its signature is looked at first, and nothing else
//! ([`signatures`]).
//!
//! Upstreams are caught in the middle of an update now and then: the entry is new and a member is not there yet, or is
//! another already. That is a contradiction, not damage: the next mirror is asked, then the same ones again after a while.

mod content;
mod gather;
mod packages;
mod signatures;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{IndexFormat, IndexRoot, Role};
use bytes::Bytes;

pub(super) use self::content::Content;
use self::gather::Gathered;
use self::signatures::refuse_old_signatures;
use super::super::fill::{FillError, Order, Outcome, Via};
use super::super::held::now;
use super::super::keep::KeepError;
use super::super::shelf::Found;
use super::completing::Completion;
use super::{Fills, Publication};
use crate::config::Remote;
use crate::spool::Spooled;
use crate::store::catalog::snapshots::{Draft, Snapshot, SnapshotId, SnapshotPublished};
use crate::store::catalog::{Artifact, CatalogError};
use crate::store::coordinator::{Entered, Event};
use crate::store::key::Target;
use crate::upstream::{Sources, UpstreamError, UpstreamErrorKind};

/// How long is waited, each time, for an upstream that is in the middle of an update.
pub(super) const MID_UPDATE: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];

/// How often a publication is tried again when a blob it names is just being deleted, or another came first.
const TRIES: usize = 3;

/// Another replica may take this long to complete a root before this one does it too.
const COMPLETION_PATIENCE: Duration = Duration::from_secs(600);

/// An entry file that the next generation is built around.
pub(super) struct Entry {
    /// Its record, complete but for blob and revision if it is not kept yet.
    pub(super) artifact: Artifact,
    /// Its bytes.
    pub(super) content: Content,
    /// The spool it came in, if it is not kept yet.
    pub(super) spooled: Option<Spooled>,
    /// The host it came from.
    pub(super) host: String,
    /// Which of the sources that is.
    pub(super) source: usize,
    /// Whether members that upstream does not have are left out; else they are waited for.
    pub(super) may_have_gaps: bool,
}

/// Why there is no next generation.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBuilt {
    /// Upstream's files do not belong together.
    #[error("{0}")]
    Contradiction(UpstreamError),
    /// No trusted key signed the index.
    #[error("{error}")]
    Untrusted {
        /// The whole of it.
        error: UpstreamError,
        /// What is wrong with the signature.
        why: String,
    },
    /// A part of this server is away.
    #[error("{0}")]
    Ours(String),
    /// Another generation became current first.
    #[error("another snapshot was published first")]
    Lost,
}

impl From<CatalogError> for NotBuilt {
    fn from(error: CatalogError) -> Self {
        Self::Ours(error.to_string())
    }
}

impl From<KeepError> for NotBuilt {
    fn from(error: KeepError) -> Self {
        Self::Ours(error.to_string())
    }
}

/// A file as it becomes current: what is new has been served by nobody before (FORMATS 1.6), and everything is right as long as
/// its entry is.
fn as_of(file: Artifact, published_at: SystemTime, aside: &[(Target, Spooled)]) -> Artifact {
    let is_new = aside.iter().any(|(target, _)| *target == file.target);
    let (stored_at, last_modified) =
        if is_new { (published_at, published_at) } else { (file.stored_at, file.last_modified) };
    Artifact { stored_at, last_modified, checked_at: published_at, ..file }
}

/// The index side of what an order is about, if it is for the entry file of a root.
pub(super) fn entry_of(order: &Order) -> Option<(&'static dyn IndexFormat, IndexRoot)> {
    if order.role != Role::Index || !order.target.query.is_empty() {
        return None;
    }
    let index = order.repository.format.index()?;
    let root = index.root_of(&order.target.path)?;
    (root.entry == order.target.path).then_some((index, root))
}

impl Fills {
    /// Whether it is known that no generation of this root was ever recorded.
    pub(super) async fn lacks_a_snapshot(&self, order: &Order) -> bool {
        matches!(self.snapshots.current(&order.target).await, Ok(None))
    }

    /// Whether a generation of this root is known although its entry is not held.
    pub(super) async fn was_published(&self, order: &Order) -> bool {
        matches!(self.snapshots.current(&order.target).await, Ok(Some(_)))
    }

    /// Builds and publishes the generation that a new entry begins, and answers with the entry.
    pub(super) async fn next_generation(
        self: &Arc<Self>,
        order: &Order,
        remote: &Sources,
        entry: &Entry,
    ) -> Result<Outcome, NotBuilt> {
        for _ in 0..TRIES {
            match self.build(order, remote, entry).await {
                Ok(snapshot) => return self.served_from_now(order, &snapshot).await,
                Err(NotBuilt::Lost) => {
                    self.shelf.forget(&order.target);
                    if let Ok(Some(current)) = self.snapshots.current(&order.target).await
                        && current.files.first().is_some_and(|first| first.checked_at >= entry.artifact.checked_at)
                    {
                        return self.served_from_now(order, &current).await;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(NotBuilt::Lost)
    }

    async fn served_from_now(&self, order: &Order, snapshot: &Snapshot) -> Result<Outcome, NotBuilt> {
        match self.shelf.find(&order.target, order.role, &order.mutability).await {
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
    async fn build(self: &Arc<Self>, order: &Order, remote: &Sources, entry: &Entry) -> Result<Snapshot, NotBuilt> {
        let Some((index, root)) = entry_of(order) else {
            return Err(NotBuilt::Ours("it is no index".to_owned()));
        };
        let began = now();
        let bytes = self.entry_bytes(entry).await?;
        let made_at =
            index.made_at(&root, &bytes, &self.limits).map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        let current = self.snapshots.current(&order.target).await?;
        self.refuse_older(remote, entry, current.as_ref(), made_at)?;
        let gathered = self.gather(order, remote, index, &root, entry, &bytes).await?;
        refuse_old_signatures(index, entry, current.as_ref(), &gathered.files)?;
        let companions = self.bytes_of(gathered.companions.clone()).await?;
        self.refuse_signatures_of_another(index, entry, &companions, &bytes)?;
        self.verify(order, remote, index, &root, entry, companions).await?;
        let draft = self.snapshots.begin(&order.target, began).await?;
        let written = self.write_and_publish(order, remote, index, &root, entry, made_at, draft, gathered).await;
        if written.is_err() {
            // Not needed for correctness: the next publication sweeps it, too.
            let _ = self.snapshots.abandon(draft.id).await;
        }
        written
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one step of build, split off so that its failure can be cleaned up after"
    )]
    async fn write_and_publish(
        self: &Arc<Self>,
        order: &Order,
        remote: &Remote,
        index: &'static dyn IndexFormat,
        root: &IndexRoot,
        entry: &Entry,
        made_at: Option<SystemTime>,
        draft: Draft,
        gathered: Gathered,
    ) -> Result<Snapshot, NotBuilt> {
        let packages = match gathered.list {
            Some(list) => {
                let writing = packages::write(&*self.snapshots, &order.target, draft, index, root, list, &self.limits);
                writing.await.map_err(|error| error.at(entry))?
            }
            None => 0,
        };
        Box::pin(self.prefetcher.before_switch(self, order, remote, draft)).await;
        let published_at = now();
        let mut snapshot = Snapshot {
            id: draft.id,
            root: order.target.clone(),
            published_at,
            made_at,
            source: entry.host.clone(),
            packages,
            tags: Vec::new(),
            files: gathered.files.into_iter().map(|file| as_of(file, published_at, &gathered.aside)).collect(),
        };
        for _ in 0..TRIES {
            match self.snapshots.publish_snapshot(&snapshot, draft.follows, &[]).await? {
                SnapshotPublished::Won { snapshot, replaced } => {
                    self.tell(order, draft.follows, &snapshot, replaced).await;
                    return Ok(*snapshot);
                }
                SnapshotPublished::Lost(_) => return Err(NotBuilt::Lost),
                SnapshotPublished::BlobLeaving(blob) => {
                    let Some(file) = snapshot.files.iter_mut().find(|file| file.blob == blob) else {
                        return Err(NotBuilt::Lost);
                    };
                    let Some((_, spooled)) = gathered.aside.iter().find(|(target, _)| *target == file.target) else {
                        // A record that was reused went away meanwhile: gather again.
                        return Err(NotBuilt::Lost);
                    };
                    *file = self.keeper.put_elsewhere(spooled, file.clone()).await?;
                }
            }
        }
        Err(NotBuilt::Lost)
    }

    /// A rotating mirror that lags behind must not take everybody back (DESIGN 6).
    fn refuse_older(
        &self,
        remote: &Remote,
        entry: &Entry,
        current: Option<&Snapshot>,
        made_at: Option<SystemTime>,
    ) -> Result<(), NotBuilt> {
        let (Some(current), Some(new)) = (current.and_then(|current| current.made_at), made_at) else {
            return Ok(());
        };
        if new >= current || remote.allow_rollback {
            return Ok(());
        }
        self.counts.older_refused.inc();
        let behind = current.duration_since(new).unwrap_or_default().as_secs();
        Err(entry.contradicts(format!(
            "an index that is {behind} s older than the one that is served; allow_rollback would take it"
        )))
    }

    pub(super) async fn entry_bytes(&self, entry: &Entry) -> Result<Bytes, NotBuilt> {
        if matches!(entry.content, Content::File(_)) && entry.artifact.size > self.limits.entry_bytes {
            // Only formats whose entry is the whole index have entries of this size; they read it as a stream.
            return Ok(Bytes::new());
        }
        let read = entry.content.bytes(entry.artifact.size).await;
        read.map_err(|error| NotBuilt::Ours(format!("{} cannot be read: {error}", entry.artifact.target)))
    }

    /// Takes off the shelf what was replaced, here and everywhere.
    async fn tell(&self, order: &Order, follows: Option<SnapshotId>, snapshot: &Snapshot, replaced: Vec<Target>) {
        self.switches.notice(&order.repository, snapshot, follows).await;
        // Packages first: who is given the new index a moment later finds no old one under its names. Then the entry, with which
        // everybody compares what is left of the others.
        for target in replaced {
            self.shelf.forget(&target);
            self.coordinator.announce(Event::Removed(target)).await;
        }
        for file in &snapshot.files {
            self.shelf.forget(&file.target);
            self.coordinator.announce(Event::Published(file.target.clone(), file.revision)).await;
        }
        // Nobody listening is nobody to tell.
        let _ = self.publications.send(Publication { root: order.target.clone(), snapshot: snapshot.id });
    }

    /// The first snapshot of a root whose entry was just fetched for the first time: everything else is fetched in the
    /// background, then it is recorded.
    pub(super) fn complete_later(
        self: &Arc<Self>,
        order: &Order,
        remote: &Sources,
        host: String,
        source: usize,
        completion: Completion,
    ) {
        let (fills, order, remote) = (Arc::clone(self), order.clone(), remote.clone());
        tokio::spawn(async move {
            let _completion = completion;
            let key = Target::with_query(order.target.repository.clone(), order.target.path.clone(), "snapshot");
            let Entered::Lead(_lease) = fills.coordinator.enter(&key, COMPLETION_PATIENCE).await else {
                return;
            };
            if let Err(error) = fills.complete(&order, &remote, host, source).await {
                tracing::debug!(target: "artifactapi::snapshot", root = %order.target, %error, "not complete yet");
            }
        });
    }

    async fn complete(
        self: &Arc<Self>,
        order: &Order,
        remote: &Sources,
        host: String,
        source: usize,
    ) -> Result<(), NotBuilt> {
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
        let Some(content) = Content::of(&held) else {
            return Ok(());
        };
        let entry =
            Entry { artifact: held.artifact.clone(), content, spooled: None, host, source, may_have_gaps: true };
        match self.next_generation(order, remote, &entry).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // The entry and what upstream has now do not belong together: the next request asks for a newer entry.
                if matches!(error, NotBuilt::Contradiction(_) | NotBuilt::Untrusted { .. }) {
                    held.doubt();
                }
                Err(error)
            }
        }
    }
}

impl Entry {
    /// What upstream has does not belong to this entry, for this reason.
    fn contradicts(&self, why: impl Into<String>) -> NotBuilt {
        NotBuilt::Contradiction(self.unfit(why))
    }

    fn unfit(&self, why: impl Into<String>) -> UpstreamError {
        UpstreamError { host: self.host.clone(), kind: UpstreamErrorKind::Unfit(why.into()) }
    }
}

impl From<NotBuilt> for FillError {
    fn from(error: NotBuilt) -> Self {
        match error {
            NotBuilt::Contradiction(error) | NotBuilt::Untrusted { error, .. } => Self::Upstream(error),
            NotBuilt::Ours(why) => Self::NotPublished(why.into()),
            NotBuilt::Lost => Self::NotPublished("another snapshot was published first".into()),
        }
    }
}
