//! Why there is no next generation.

use super::super::super::fill::FillError;
use super::super::super::keep::KeepError;
use crate::store::catalog::CatalogError;
use crate::upstream::UpstreamError;

/// Why there is no next generation.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine::fills) enum NotBuilt {
    /// Upstream's files do not belong together.
    #[error("{0}")]
    Contradiction(UpstreamError),
    /// No trusted key signed the index.
    #[error("{error}")]
    Untrusted {
        /// The whole of it.
        error: UpstreamError,
        /// What is wrong with the signature.
        why: String,
    },
    /// A part of this server is away.
    #[error("{0}")]
    Ours(String),
    /// Another generation became current first.
    #[error("another snapshot was published first")]
    Lost,
}

impl From<CatalogError> for NotBuilt {
    fn from(error: CatalogError) -> Self {
        Self::Ours(error.to_string())
    }
}

impl From<KeepError> for NotBuilt {
    fn from(error: KeepError) -> Self {
        Self::Ours(error.to_string())
    }
}

/// Of a file that belongs to an entry: what upstream does not give is missing beside it.
impl From<FillError> for NotBuilt {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Upstream(error) => Self::Contradiction(error),
            other => Self::Ours(other.to_string()),
        }
    }
}

impl From<NotBuilt> for FillError {
    fn from(error: NotBuilt) -> Self {
        match error {
            NotBuilt::Contradiction(error) | NotBuilt::Untrusted { error, .. } => Self::Upstream(error),
            NotBuilt::Ours(why) => Self::NotPublished(why.into()),
            NotBuilt::Lost => Self::NotPublished("another snapshot was published first".into()),
        }
    }
}
