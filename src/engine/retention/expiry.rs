//! Snapshots whose time is over: followed by another before [`snapshot_keep`](crate::config::CachePolicy) began, and
//! without a tag.

use std::time::SystemTime;

use super::Mode;
use crate::store::catalog::CatalogError;
use crate::store::catalog::snapshots::{Expired, ROWS, Snapshot, Snapshots};
use crate::store::key::{RepositoryName, Target};

/// Removes, or counts, the snapshots of a repository that were followed before a time. Package records and past packages
/// that go with them are known only when they are removed.
pub(super) async fn expire(
    snapshots: &dyn Snapshots,
    repository: &RepositoryName,
    before: SystemTime,
    now: SystemTime,
    mode: Mode,
) -> Result<Expired, CatalogError> {
    match mode {
        Mode::Remove => remove(snapshots, repository, Some(before), now).await,
        Mode::Show => {
            let snapshots = count(snapshots, repository, Some(before)).await?;
            Ok(Expired { snapshots, ..Expired::default() })
        }
    }
}

/// Removes, or counts, all snapshots of a repository, current and tagged ones as well.
pub(super) async fn purge(
    snapshots: &dyn Snapshots,
    repository: &RepositoryName,
    now: SystemTime,
    mode: Mode,
) -> Result<Expired, CatalogError> {
    match mode {
        Mode::Remove => remove(snapshots, repository, None, now).await,
        Mode::Show => {
            let snapshots = count(snapshots, repository, None).await?;
            Ok(Expired { snapshots, ..Expired::default() })
        }
    }
}

/// Removes part after part, until there is nothing more: what was followed before a time, or without one all there is.
async fn remove(
    snapshots: &dyn Snapshots,
    repository: &RepositoryName,
    before: Option<SystemTime>,
    now: SystemTime,
) -> Result<Expired, CatalogError> {
    let mut all = Expired::default();
    loop {
        let expired = match before {
            Some(before) => snapshots.expire(repository, before, now).await?,
            None => snapshots.purge(repository, now).await?,
        };
        if expired == Expired::default() {
            return Ok(all);
        }
        all.snapshots += expired.snapshots;
        all.packages += expired.packages;
        all.past += expired.past;
    }
}

/// How many were followed before a time and have no tag; without one, how many there are.
async fn count(
    snapshots: &dyn Snapshots,
    repository: &RepositoryName,
    before: Option<SystemTime>,
) -> Result<u64, CatalogError> {
    let (mut count, mut after) = (0, None);
    loop {
        let roots = snapshots.roots(repository, after.as_ref(), ROWS).await?;
        for root in &roots {
            count += count_of(snapshots, root, before).await?;
        }
        match roots.last() {
            Some(last) if roots.len() == ROWS as usize => after = Some(last.path.clone()),
            _ => return Ok(count),
        }
    }
}

async fn count_of(snapshots: &dyn Snapshots, root: &Target, before: Option<SystemTime>) -> Result<u64, CatalogError> {
    let (mut count, mut newer) = (0, None::<Snapshot>);
    loop {
        let page = snapshots.snapshots(root, newer.as_ref().map(|newer| newer.id), ROWS).await?;
        let is_last = page.len() < ROWS as usize;
        for snapshot in page {
            let followed_at = newer.as_ref().map(|newer| newer.published_at);
            let goes = |before| followed_at.is_some_and(|followed_at| is_over(&snapshot, followed_at, before));
            count += u64::from(before.is_none_or(goes));
            newer = Some(snapshot);
        }
        if is_last {
            return Ok(count);
        }
    }
}

fn is_over(snapshot: &Snapshot, followed_at: SystemTime, before: SystemTime) -> bool {
    snapshot.tags.is_empty() && followed_at < before
}
