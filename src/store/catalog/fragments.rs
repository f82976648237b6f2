//! What packages of our own contribute to the lists of the index that names them.
//!
//! An index that we write is made of one fragment for each package and list. They are kept here, so that writing the index
//! after an upload reads no package a second time, on whichever replica. [`Fragments`] promises:
//! - **Nothing refers to them but marks.** A fragment belongs to a root and a [`PackageMark`]; the package rows of snapshots
//!   say which marks an index has. One that no row has any more is swept after its grace time.
//! - **They never change.** What is put under a mark again is the same.
//!
//! It knows nothing of what is in a fragment.

use std::time::SystemTime;

use async_trait::async_trait;

use super::CatalogError;
use super::snapshots::{PackageMark, SnapshotId};
use crate::store::key::Target;

/// The most fragments that one call takes or gives.
pub const FRAGMENTS: usize = 512;

/// A store of fragments, in the same database as the snapshots. Every method fails with [`CatalogError`] when the database
/// cannot answer.
#[allow(clippy::missing_errors_doc, reason = "said once, on the trait")]
#[async_trait]
pub trait Fragments: Send + Sync {
    /// Keeps fragments of a root. At most [`FRAGMENTS`] a call.
    async fn put_fragments(
        &self,
        root: &Target,
        fragments: &[(PackageMark, Vec<u8>)],
        at: SystemTime,
    ) -> Result<(), CatalogError>;

    /// The fragments of a root with these marks, in no order; those that there are not are left out. At most
    /// [`FRAGMENTS`] a call.
    async fn fragments(
        &self,
        root: &Target,
        marks: &[PackageMark],
    ) -> Result<Vec<(PackageMark, Vec<u8>)>, CatalogError>;

    /// Removes fragments that were put before `before` and that no package row has; how many.
    async fn sweep_fragments(&self, before: SystemTime) -> Result<u64, CatalogError>;

    /// The newest snapshot that has a file under this path.
    async fn naming(&self, file: &Target) -> Result<Option<SnapshotId>, CatalogError>;

    /// Notes the current record of a package as a past content of its path, as if another had replaced it at `at`, and
    /// leaves it current: the record may then be replaced or removed without its content being lost to earlier snapshots.
    /// Nothing happens when there is no record.
    async fn keep_past(&self, package: &Target, at: SystemTime) -> Result<(), CatalogError>;
}
