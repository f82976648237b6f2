//! Files that no index names: they come and go one by one, by the catalog's compare-and-set.
//!
//! What the catalog has taken must become known, here and on the other replicas, whether or not somebody still waits for the answer:
//! otherwise the bytes of before would be served for as long as they are believed without asking. So the change is made and told by a
//! task of its own. And who finds that it was made already tells it again, for whoever made it may not have come to that.

use std::sync::Arc;

use artifactapi_formats::Role;

use super::terms::Condition;
use super::{Done, MAX_BATCH, Outcome, PublishError, Publisher};
use crate::config::{Local, Repository};
use crate::engine::held::now;
use crate::spool::Spooled;
use crate::store::catalog::{Artifact, Published, Revision};
use crate::store::coordinator::Event;
use crate::store::key::Target;

fn done(outcome: Outcome) -> Result<Done, PublishError> {
    Ok(Done { outcome, snapshot: None })
}

impl Publisher {
    /// Makes a file the content of its path.
    pub(super) async fn put_file(
        self: &Arc<Self>,
        repository: &Repository,
        local: &Local,
        (target, role): (&Target, Role),
        spooled: &Spooled,
        condition: &Condition,
    ) -> Result<Done, PublishError> {
        let draft = self.draft(repository, target.clone(), role, spooled);
        for _ in 0..MAX_BATCH {
            let current = self.catalog.lookup(target).await?;
            condition.check(current.as_ref())?;
            let replaces = match &current {
                Some(current) if current.sha256 == spooled.sha256 => {
                    self.have_bytes_of(current, spooled).await?;
                    self.tell(Event::Published(target.clone(), current.revision)).await;
                    return done(Outcome::Unchanged);
                }
                Some(_) if !local.overwrite => return done(Outcome::Conflict),
                current => current.as_ref().map(|current| current.revision),
            };
            let record = self.put_aside(draft.clone(), spooled).await?;
            if self.make_current(record, replaces).await? {
                return done(if replaces.is_some() { Outcome::Replaced } else { Outcome::Created });
            }
        }
        Err(PublishError::Contended)
    }

    /// Removes what is under a path.
    pub(super) async fn remove_file(
        self: &Arc<Self>,
        target: &Target,
        condition: &Condition,
    ) -> Result<Done, PublishError> {
        for _ in 0..MAX_BATCH {
            let current = self.catalog.lookup(target).await?;
            condition.check(current.as_ref())?;
            let Some(current) = current else {
                self.tell(Event::Removed(target.clone())).await;
                return done(Outcome::Absent);
            };
            if self.unmake(target.clone(), current.revision).await? {
                return done(Outcome::Removed);
            }
        }
        Err(PublishError::Contended)
    }

    /// `false` if another change was made first.
    async fn make_current(
        self: &Arc<Self>,
        record: Artifact,
        replaces: Option<Revision>,
    ) -> Result<bool, PublishError> {
        let publisher = Arc::clone(self);
        let making = tokio::spawn(async move {
            let published = publisher.catalog.publish(&record, replaces).await;
            // Of one that failed nobody knows whether it was made.
            publisher.shelf.forget(&record.target);
            let Published::Won(revision) = published.map_err(PublishError::of_change)? else { return Ok(false) };
            publisher.tell(Event::Published(record.target, revision)).await;
            Ok(true)
        });
        making.await.map_err(|_| PublishError::Unanswered)?
    }

    /// The same of a removal.
    async fn unmake(self: &Arc<Self>, target: Target, revision: Revision) -> Result<bool, PublishError> {
        let publisher = Arc::clone(self);
        let removing = tokio::spawn(async move {
            let removed = publisher.catalog.remove(&target, revision, now()).await;
            publisher.shelf.forget(&target);
            if !removed.map_err(PublishError::of_change)? {
                return Ok(false);
            }
            publisher.tell(Event::Removed(target)).await;
            Ok(true)
        });
        removing.await.map_err(|_| PublishError::Unanswered)?
    }

    async fn tell(&self, event: Event) {
        if let Event::Published(target, _) | Event::Removed(target) = &event {
            self.shelf.forget(target);
        }
        self.coordinator.announce(event).await;
    }
}
