//! What a scrub finds, and what it comes to.

use std::fmt;

use artifactapi_formats::{Identity, Sha256};

use super::examine::Unexamined;
use crate::store::blobs::BlobError;
use crate::store::catalog::CatalogError;
use crate::store::key::Target;

/// What is wrong with a held file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum Fault {
    #[error("its blob is missing")]
    Missing,
    #[error("its blob cannot be read: {0}")]
    Unreadable(String),
    #[error("it has {is} bytes and should have {should_be}")]
    Size { is: u64, should_be: u64 },
    #[error("its SHA-256 is {is} and should be {should_be}")]
    Digest { is: Sha256, should_be: Sha256 },
    #[error("its index says {identity}: {why}")]
    Contradicted { why: String, identity: Identity },
    #[error("it is no whole package: {0}")]
    Unfit(String),
}

/// A bad file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub target: Target,
    /// What is wrong with it.
    pub fault: Fault,
    /// Whether it was removed, so that the next request fetches it anew.
    pub is_repaired: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.target, self.fault)?;
        if self.is_repaired { f.write_str(" (removed; the next request fetches it anew)") } else { Ok(()) }
    }
}

/// What a scrub has come to so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Files looked at.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Files found bad.
    pub bad: u64,
    /// How many of those were removed.
    pub repaired: u64,
}

/// Why a scrub stopped.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The store does not answer.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The catalog does not answer.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A blob could not be read, and nothing is known against it.
    #[error("{target} could not be read, and nothing is known against it: {why}; run it again when that is over")]
    Examine {
        /// The file.
        target: Target,
        /// What went wrong.
        #[source]
        why: Unexamined,
    },
    /// Distant blobs cannot be put anywhere to be read.
    #[error("the folder for distant blobs cannot be used: {0}")]
    Aside(#[source] std::io::Error),
}
