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

/// The most bytes of fragments that are asked for in one call, if one alone is not longer.
pub const GROUP_BYTES: u64 = 8 << 20;

/// Divides what is to be asked for, with its lengths, into calls: neighbours that are together no more than [`FRAGMENTS`] and
/// [`GROUP_BYTES`], and one at least.
pub fn groups(measured: &[(PackageMark, u64)]) -> impl Iterator<Item = &[(PackageMark, u64)]> {
    let mut rest = measured;
    std::iter::from_fn(move || {
        let mut bytes = 0_u64;
        let fits = |(_, length): &&(PackageMark, u64)| {
            bytes = bytes.saturating_add(*length);
            bytes <= GROUP_BYTES
        };
        let count = rest.iter().take(FRAGMENTS).take_while(fits).count().max(1).min(rest.len());
        let (group, after) = rest.split_at(count);
        rest = after;
        (!group.is_empty()).then_some(group)
    })
}

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

    /// How long the fragments of a root with these marks are, in bytes, in no order; those that there are not are left out. At
    /// most [`FRAGMENTS`] a call. None of them is read.
    async fn fragment_lengths(
        &self,
        root: &Target,
        marks: &[PackageMark],
    ) -> Result<Vec<(PackageMark, u64)>, CatalogError>;

    /// The fragments of a root with these marks, in no order; those that there are not are left out. At most
    /// [`FRAGMENTS`] a call, and they are held whole: whoever does not know how long they are asks first, and for [`groups`].
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(lengths: &[u64]) -> Vec<usize> {
        let measured: Vec<_> = lengths.iter().map(|length| (PackageMark([7; 16]), *length)).collect();
        let divided: Vec<_> = groups(&measured).collect();
        assert!(divided.concat() == measured, "in their order, and all of them");
        divided.iter().map(|group| group.len()).collect()
    }

    #[test]
    fn what_is_asked_for_at_once_is_bounded() {
        assert_eq!(sizes(&[]), [0_usize; 0]);
        assert_eq!(sizes(&[1; 1_100]), [512, 512, 76]);
        assert_eq!(sizes(&[GROUP_BYTES; 3]), [1, 1, 1]);
        assert_eq!(sizes(&[1, u64::MAX, 1, GROUP_BYTES - 1, 1]), [1, 1, 2, 1]);
        assert_eq!(sizes(&[0, GROUP_BYTES, 0, 1]), [3, 1]);
    }
}
