//! An index whose promise cannot be kept is published anew.
//!
//! A list that is only promised is joined when somebody asks for it ([`super::promised`]). Should other bytes come of that than were
//! published, whoever wrote the index made its pieces in another way, or of something else: another build of this server, most likely.
//! That list can never be had again, and waiting for the next upload would leave clients with an index that fails. So the index is
//! published anew at once: the same packages, and lists of pieces that are all made afresh. Who asked is told to read the index
//! again, and so is whoever asks later; that the list is broken is remembered, for finding it out costs as much as writing all of
//! the index.
//!
//! An index that another publication has replaced meanwhile is left alone.

use std::sync::Arc;

use artifactapi_formats::RepoPath;

use super::plan::Plan;
use super::terms::Condition;
use super::write::TRIES;
use super::{Change, PublishError, Publisher};
use crate::config::{Kind, Local, Repository, Virtual};
use crate::store::catalog::snapshots::SnapshotPublished;
use crate::store::key::Target;

/// Lists that are remembered to be broken.
pub(super) const BROKEN: usize = 256;

impl Publisher {
    /// Publishes the index of a root anew, if it still has this list.
    pub(super) async fn renew(
        self: &Arc<Self>,
        repository: &Arc<Repository>,
        root: &Target,
        list: &Target,
    ) -> Result<(), PublishError> {
        match &repository.kind {
            Kind::Local(_) => {
                let change = Change::Renew { list: list.path.clone() };
                let (desk, root) = (root.clone(), Some(root.clone()));
                self.submit(repository, desk, root, change, Condition::default()).await?;
            }
            Kind::Virtual(all) => self.renew_merged(repository, all, root, &list.path).await?,
            Kind::Remote(_) => return Err(PublishError::NotLocal),
        }
        self.broken.insert(list.clone(), ());
        // A replica of the other build would find the new ones as strange as this one found the old ones.
        self.resting.at_once(root);
        Ok(())
    }

    /// The same of a virtual repository: what it is merged of stays as it is.
    async fn renew_merged(
        &self,
        repository: &Arc<Repository>,
        all: &Virtual,
        root: &Target,
        list: &RepoPath,
    ) -> Result<(), PublishError> {
        let format = repository.format.publish().ok_or(PublishError::NotPublished)?;
        let _lease = self.lease(root).await;
        let local = Local { signing_keys: all.signing_keys.clone(), ..Local::default() };
        for _ in 0..TRIES {
            let base = self.base(root).await?;
            let Some(current) = base.snapshot.as_ref().filter(|snapshot| snapshot.file(list).is_some()) else {
                return Ok(());
            };
            let plan = Plan { is_anew: true, source: current.source.clone(), ..Plan::default() };
            match self.attempt(repository, &local, format, root, &base, &plan).await? {
                SnapshotPublished::Won { snapshot, .. } => {
                    self.finish(repository, root, &base, &plan, &snapshot).await;
                    return Ok(());
                }
                SnapshotPublished::Lost(_) | SnapshotPublished::BlobLeaving(_) => drop(self.sheets.remove(root)),
            }
        }
        Err(PublishError::Contended)
    }
}
