//! From gathered files to the current snapshot: the package list is written down, then one transaction makes all of it current, and
//! everybody is told.

use std::time::SystemTime;

use super::super::super::held::now;
use super::super::Publication;
use super::gather::{Gathered, Piece};
use super::{Build, NotBuilt, TRIES};
use crate::spool::Spooled;
use crate::store::catalog::Artifact;
use crate::store::catalog::snapshots::{Draft, Snapshot, SnapshotId, SnapshotPublished};
use crate::store::coordinator::Event;
use crate::store::key::{BlobKey, Target};

impl Build<'_> {
    /// Writes the package list into `draft` and publishes it with the gathered files.
    pub(super) async fn publish(
        &self,
        draft: Draft,
        made_at: Option<SystemTime>,
        gathered: Gathered,
    ) -> Result<Snapshot, NotBuilt> {
        let Self { fills, order, sources, .. } = *self;
        let packages = match gathered.list {
            Some(list) => self.write_packages(draft, list).await?,
            None => 0,
        };
        Box::pin(fills.prefetcher.before_switch(fills, order, sources, draft)).await;
        let published_at = now();
        let mut snapshot = Snapshot {
            id: draft.id,
            root: order.target.clone(),
            published_at,
            made_at,
            source: self.entry.giver.host.clone(),
            packages,
            tags: Vec::new(),
            files: gathered.pieces.iter().map(|piece| as_of(piece, published_at)).collect(),
        };
        let spools: Vec<Option<Spooled>> = gathered.pieces.into_iter().map(|piece| piece.spooled).collect();
        // Fetching ahead may have taken longer than the store's grace, and each try finds only one file that went meanwhile.
        for _ in 0..snapshot.files.len() + TRIES {
            match fills.snapshots.publish_snapshot(&snapshot, draft.follows, &[]).await? {
                SnapshotPublished::Won { snapshot, replaced } => {
                    self.tell(draft.follows, &snapshot, replaced).await;
                    return Ok(*snapshot);
                }
                SnapshotPublished::Lost(_) => return Err(NotBuilt::Lost),
                SnapshotPublished::BlobLeaving(blob) => self.move_file(&mut snapshot.files, &spools, &blob).await?,
            }
        }
        Err(NotBuilt::Lost)
    }

    /// Writes the file whose blob is just being deleted under another key.
    async fn move_file(
        &self,
        files: &mut [Artifact],
        spools: &[Option<Spooled>],
        leaving: &BlobKey,
    ) -> Result<(), NotBuilt> {
        let found = files.iter_mut().zip(spools).find(|(file, _)| file.blob == *leaving);
        let Some((file, Some(spooled))) = found else {
            // A record that was reused went away meanwhile: gather again.
            return Err(NotBuilt::Lost);
        };
        *file = self.fills.keeper.put_elsewhere(spooled, file.clone()).await?;
        Ok(())
    }

    /// Takes off the shelf what was replaced, here and everywhere.
    async fn tell(&self, follows: Option<SnapshotId>, snapshot: &Snapshot, replaced: Vec<Target>) {
        let Self { fills, order, .. } = *self;
        fills.switches.notice(&order.repository, snapshot, follows).await;
        // Packages first: who is given the new index a moment later finds no old one under its names. Then the entry, with which
        // everybody compares what is left of the others.
        for target in replaced {
            fills.shelf.forget(&target);
            fills.coordinator.announce(Event::Removed(target)).await;
        }
        for file in &snapshot.files {
            fills.shelf.forget(&file.target);
            fills.coordinator.announce(Event::Published(file.target.clone(), file.revision)).await;
        }
        // Nobody listening is nobody to tell.
        let _ = fills.publications.send(Publication { root: order.target.clone(), snapshot: snapshot.id });
    }
}

/// A file as it becomes current: what is new has been served by nobody before (FORMATS 1.6), and everything is right as long as
/// its entry is.
fn as_of(piece: &Piece, published_at: SystemTime) -> Artifact {
    let file = piece.record.clone();
    let (stored_at, last_modified) = match &piece.spooled {
        Some(_) => (published_at, published_at),
        None => (file.stored_at, file.last_modified),
    };
    Artifact { stored_at, last_modified, checked_at: published_at, ..file }
}
