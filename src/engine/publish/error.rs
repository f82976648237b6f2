//! Why nothing was published, and what that is made of.
//!
//! Whoever asked is told; nothing of the change is then visible. A change that came to grief after its publication is told apart by
//! nothing ([`PublishError::Unanswered`], [`PublishError::Unknown`]): asking again says what is so.

use std::io;
use std::sync::Arc;

use artifactapi_formats::Invalid;

use super::chunks::Lost;
use crate::engine::keep::KeepError;
use crate::spool::SpoolError;
use crate::store::blobs::BlobErrorKind;
use crate::store::catalog::{CatalogError, CatalogErrorKind};
use crate::store::key::{BlobKey, Target};

/// Why nothing was published.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// The repository does not take uploads.
    #[error("it is no local repository; upload to one of `type: local`")]
    NotLocal,
    /// The server writes this file itself.
    #[error("the server writes its indexes itself; upload packages, and the index follows")]
    OwnIndex,
    /// The format's indexes are not written here.
    #[error("indexes of this format are not written")]
    NotPublished,
    /// The file is not what it claims to be.
    #[error("{0}")]
    Invalid(Arc<Invalid>),
    /// It was to be done only if something holds of the current content, and that does not.
    #[error("what is there now is not what the request's conditions ask for")]
    Precondition,
    /// It would be more than the repository may hold.
    #[error("the repository may hold {limit_bytes} bytes and has {held_bytes}")]
    Quota {
        /// Its bound.
        limit_bytes: u64,
        /// What it holds.
        held_bytes: u64,
    },
    /// It waited so long for its publication that its bytes were taken for forgotten ones.
    #[error("it took too long to be published, and {0} was deleted meanwhile; upload it again")]
    Late(BlobKey),
    /// Others kept publishing first.
    #[error("other uploads kept being published first; try again")]
    Contended,
    /// The task that was to publish it came to grief, before or after it did.
    #[error("the task that writes the index ended without an answer")]
    Unanswered,
    /// The catalog was told to make it so, and did not answer: it may have been made.
    #[error("{0}")]
    Unknown(Arc<str>),
    /// There is no room on the disk.
    #[error("there is no room on the disk")]
    Full,
    /// A store is away.
    #[error("{0}")]
    Away(Arc<str>),
    /// A ready piece of the index went while it was read, twice in a row.
    #[error("{Lost}")]
    PieceLost,
    /// A list cannot be written as it was published; the index that says so has been replaced.
    #[error(
        "{0} cannot be written as it was published, and its index has been published anew; ask for the index again"
    )]
    Superseded(Target),
    /// Something that was kept cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

impl PublishError {
    /// Of the one call to the catalog that makes the change: without an answer to it nobody knows whether it was made.
    pub(super) fn of_change(error: CatalogError) -> Self {
        match error.kind {
            CatalogErrorKind::Unavailable => Self::Unknown(error.to_string().into()),
            _ => error.into(),
        }
    }
}

impl From<CatalogError> for PublishError {
    fn from(error: CatalogError) -> Self {
        match error.kind {
            CatalogErrorKind::Full => Self::Full,
            _ => Self::Away(error.to_string().into()),
        }
    }
}

impl From<KeepError> for PublishError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Contended => Self::Contended,
            KeepError::Blobs(error) if error.kind == BlobErrorKind::Full => Self::Full,
            KeepError::Catalog(error) => error.into(),
            error => Self::Away(error.to_string().into()),
        }
    }
}

impl From<SpoolError> for PublishError {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Full => Self::Full,
            SpoolError::Invalid(why) => Self::Invalid(why),
            error => Self::Unreadable(error.to_string()),
        }
    }
}

impl From<io::Error> for PublishError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            _ if error.get_ref().is_some_and(|inner| inner.is::<Lost>()) => Self::PieceLost,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_has_no_room_is_full() {
        let catalog = |kind| CatalogError { kind, during: "a test", source: None };
        let full = || catalog(CatalogErrorKind::Full);
        let from: [PublishError; 4] = [
            full().into(),
            KeepError::Catalog(full()).into(),
            SpoolError::Full.into(),
            io::Error::from(io::ErrorKind::StorageFull).into(),
        ];
        assert!(from.iter().all(|error| matches!(error, PublishError::Full)), "{from:?}");
        assert!(matches!(catalog(CatalogErrorKind::Unavailable).into(), PublishError::Away(_)));
        assert!(matches!(PublishError::of_change(full()), PublishError::Full));
    }
}
