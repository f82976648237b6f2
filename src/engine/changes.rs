//! What differs between two snapshots of a root, however much that is: page by page, in the order of paths.

use artifactapi_formats::RepoPath;

use crate::store::catalog::CatalogError;
use crate::store::catalog::snapshots::{PackageChange, ROWS, SnapshotId, Snapshots};

/// The changes from one snapshot to another, as far as they have not been read.
pub struct Changes<'a> {
    snapshots: &'a dyn Snapshots,
    from: SnapshotId,
    to: SnapshotId,
    after: Option<RepoPath>,
}

impl<'a> Changes<'a> {
    /// All of them.
    #[must_use]
    pub fn between(snapshots: &'a dyn Snapshots, from: SnapshotId, to: SnapshotId) -> Self {
        Self { snapshots, from, to, after: None }
    }

    /// The next of them, at most [`ROWS`]; `None` when there are no more.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    pub async fn page(&mut self) -> Result<Option<Vec<PackageChange>>, CatalogError> {
        let page = self.snapshots.diff(self.from, self.to, self.after.as_ref(), ROWS).await?;
        let Some(last) = page.last().and_then(PackageChange::path) else {
            return Ok(None);
        };
        self.after = Some(last.clone());
        Ok(Some(page))
    }
}
