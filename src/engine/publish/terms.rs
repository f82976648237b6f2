//! On what terms a change is taken: what must hold of the content that is there, and how much room the repository has for more.
//!
//! Both are looked at before a byte of a body is read, so that nobody sends in vain, and again where the change is decided, for
//! other changes are made meanwhile. What a body brings is counted as it comes. Of one replica, all uploads of a repository are
//! counted together: each sees what the others have brought and what has become of it. Another replica's are seen once they are
//! published.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{PublishError, Publisher, local_of};
use crate::config::Repository;
use crate::spool::Spooled;
use crate::store::catalog::Artifact;
use crate::store::key::{RepositoryName, Target};

type Holds = dyn Fn(Option<&Artifact>) -> bool + Send + Sync;

/// What must hold of the current content of a path for it to be changed; by itself, nothing.
#[derive(Clone, Default)]
pub struct Condition(Option<Arc<Holds>>);

impl Condition {
    /// That this is so of the current record, `None` if there is none.
    #[must_use]
    pub fn that(holds: impl Fn(Option<&Artifact>) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(holds)))
    }

    pub(super) const fn asks_something(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn check(&self, current: Option<&Artifact>) -> Result<(), PublishError> {
        match &self.0 {
            Some(holds) if !holds(current) => Err(PublishError::Precondition),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.asks_something()).finish()
    }
}

/// The terms of one upload, for as long as it lasts.
#[derive(Debug)]
pub struct Terms {
    pub(super) condition: Condition,
    /// `None` without a quota.
    room: Option<Room>,
}

impl Terms {
    /// So many more bytes of the body have come.
    ///
    /// # Errors
    /// [`PublishError::Quota`] when there is no room for them.
    pub fn take(&mut self, bytes: u64) -> Result<(), PublishError> {
        let Some(room) = &mut self.room else { return Ok(()) };
        room.received = room.received.saturating_add(bytes);
        room.claim(room.received.saturating_sub(room.replaced_bytes))
    }

    /// What was brought is published, and will be seen by whoever adds up the repository.
    pub(super) fn settle(mut self) {
        if let Some(room) = &mut self.room {
            room.settle();
        }
    }
}

/// Room in a repository with a quota.
#[derive(Debug)]
struct Room {
    repository: RepositoryName,
    underway: Arc<Underway>,
    limit_bytes: u64,
    /// What the repository held when the upload began.
    held_bytes: u64,
    /// What had been published by then.
    published_before: u64,
    /// The length of what is there and would go.
    replaced_bytes: u64,
    received: u64,
    /// What of it is counted in [`Underway`]: by how much the repository grows.
    claimed: u64,
}

impl Room {
    /// Whether the repository may grow by so many bytes through this upload, in all.
    fn fits(&self, growth: u64) -> Result<(), PublishError> {
        self.look(growth, |_| {})
    }

    /// Counts that it does.
    fn claim(&mut self, growth: u64) -> Result<(), PublishError> {
        let before = self.claimed;
        self.look(growth, |used| used.claimed = used.claimed.saturating_sub(before).saturating_add(growth))?;
        self.claimed = growth;
        Ok(())
    }

    fn look(&self, growth: u64, note: impl FnOnce(&mut Used)) -> Result<(), PublishError> {
        let mut uses = self.underway.0.lock();
        let used = uses.entry(self.repository.clone()).or_default();
        let others = used.claimed.saturating_sub(self.claimed);
        let since = used.published.saturating_sub(self.published_before);
        let held_bytes = self.held_bytes.saturating_add(since).saturating_add(others);
        // What does not grow is never too much, however much there is.
        if growth > self.claimed && held_bytes.saturating_add(growth) > self.limit_bytes {
            return Err(PublishError::Quota { limit_bytes: self.limit_bytes, held_bytes });
        }
        note(used);
        Ok(())
    }

    fn settle(&mut self) {
        if let Some(used) = self.underway.0.lock().get_mut(&self.repository) {
            used.claimed = used.claimed.saturating_sub(self.claimed);
            used.published = used.published.saturating_add(self.claimed);
        }
        self.claimed = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut uses = self.underway.0.lock();
        if let Some(used) = uses.get_mut(&self.repository) {
            used.claimed = used.claimed.saturating_sub(self.claimed);
            used.uploads = used.uploads.saturating_sub(1);
            if used.uploads == 0 {
                uses.remove(&self.repository);
            }
        }
    }
}

/// What the uploads bring that this replica is receiving, for each repository with a quota that is uploaded to.
#[derive(Debug, Default)]
pub(super) struct Underway(Mutex<HashMap<RepositoryName, Used>>);

impl Underway {
    /// What was published of a repository since the first of those that are underway there began, in bytes.
    fn published(&self, repository: &RepositoryName) -> u64 {
        self.0.lock().get(repository).map_or(0, |used| used.published)
    }
}

#[cfg(test)]
impl Underway {
    /// Whether nothing is counted any more.
    pub(super) fn is_at_rest(&self) -> bool {
        self.0.lock().is_empty()
    }
}

#[derive(Debug, Default)]
struct Used {
    uploads: u64,
    /// What has come and is not published yet.
    claimed: u64,
    /// What was published since the first of those that are underway began.
    published: u64,
}

impl Publisher {
    /// The terms on which an upload of this declared length may begin.
    ///
    /// # Errors
    /// [`PublishError::Precondition`] and [`PublishError::Quota`] when it may not.
    pub async fn terms(
        &self,
        repository: &Repository,
        target: &Target,
        declared: Option<u64>,
        condition: Condition,
    ) -> Result<Terms, PublishError> {
        let quota = local_of(repository)?.quota;
        if quota.is_none() && !condition.asks_something() {
            return Ok(Terms { condition, room: None });
        }
        let current = self.catalog.lookup(target).await?;
        condition.check(current.as_ref())?;
        let Some(limit_bytes) = quota else { return Ok(Terms { condition, room: None }) };
        let published_before = {
            let mut uses = self.underway.0.lock();
            let used = uses.entry(repository.name.clone()).or_default();
            used.uploads += 1;
            used.published
        };
        let mut room = Room {
            repository: repository.name.clone(),
            underway: Arc::clone(&self.underway),
            limit_bytes,
            held_bytes: 0,
            published_before,
            replaced_bytes: current.map_or(0, |current| current.size),
            received: 0,
            claimed: 0,
        };
        room.held_bytes = self.catalog.totals(&repository.name).await?.bytes;
        // What was published while the catalog was asked may be in its answer; whether it is, the look at the end will tell.
        room.published_before = room.underway.published(&room.repository);
        // Only whether it fits: room is taken by what comes, not by what is promised.
        room.fits(declared.unwrap_or_default().saturating_sub(room.replaced_bytes))?;
        Ok(Terms { condition, room: Some(room) })
    }

    /// Whether what came still fits, now that it is known what it is.
    pub(super) async fn still_fits(
        &self,
        target: &Target,
        spooled: &Spooled,
        terms: &mut Terms,
    ) -> Result<(), PublishError> {
        let Some(room) = &mut terms.room else { return Ok(()) };
        let current = self.catalog.lookup(target).await?;
        let growth = match current {
            Some(current) if current.sha256 == spooled.sha256 => 0,
            current => spooled.size.saturating_sub(current.map_or(0, |current| current.size)),
        };
        room.claim(growth)?;
        let held_bytes = self.catalog.totals(&target.repository).await?.bytes;
        match growth > 0 && held_bytes.saturating_add(growth) > room.limit_bytes {
            true => Err(PublishError::Quota { limit_bytes: room.limit_bytes, held_bytes }),
            false => Ok(()),
        }
    }
}
