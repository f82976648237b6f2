//! Package rows of the catalog, a page at a time: what a run of prefetch, or a batch, goes through.

use std::sync::Arc;

use artifactapi_formats::RepoPath;

use crate::store::catalog::CatalogError;
use crate::store::catalog::snapshots::{NamedPackage, PackageQuery, PackageRowId, SnapshotId, Snapshots};
use crate::store::key::{RepositoryName, Target};

/// Rows taken from the catalog at once.
const PAGE: u32 = 500;

/// Pages of rows.
pub struct Rows {
    snapshots: Arc<dyn Snapshots>,
    which: Which,
    after: Option<PackageRowId>,
    is_over: bool,
}

enum Which {
    Renewals(SnapshotId),
    Added(SnapshotId),
    Current(RepositoryName, RepoPath),
}

impl Rows {
    /// What a snapshot or draft is the first to name and is another build of something used.
    #[must_use]
    pub fn renewals(snapshots: Arc<dyn Snapshots>, snapshot: SnapshotId) -> Self {
        Self::new(snapshots, Which::Renewals(snapshot))
    }

    /// What a snapshot or draft is the first to name.
    #[must_use]
    pub fn added(snapshots: Arc<dyn Snapshots>, snapshot: SnapshotId) -> Self {
        Self::new(snapshots, Which::Added(snapshot))
    }

    /// What the current snapshot of a root names.
    #[must_use]
    pub fn current(snapshots: Arc<dyn Snapshots>, root: &Target) -> Self {
        Self::new(snapshots, Which::Current(root.repository.clone(), root.path.clone()))
    }

    fn new(snapshots: Arc<dyn Snapshots>, which: Which) -> Self {
        Self { snapshots, which, after: None, is_over: false }
    }

    /// The next page; an empty one is the last.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    pub async fn next(&mut self) -> Result<Vec<NamedPackage>, CatalogError> {
        if self.is_over {
            return Ok(Vec::new());
        }
        let page = match &self.which {
            Which::Renewals(snapshot) => self.snapshots.renewals(*snapshot, self.after, PAGE).await?,
            Which::Added(snapshot) => self.snapshots.added(*snapshot, self.after, PAGE).await?,
            Which::Current(repository, root) => {
                let query = PackageQuery {
                    root: Some(root.clone()),
                    after: self.after,
                    limit: PAGE,
                    ..PackageQuery::default()
                };
                self.snapshots.search(repository, &query).await?
            }
        };
        self.after = page.last().map(|last| last.row);
        self.is_over = page.len() < PAGE as usize;
        Ok(page)
    }
}
