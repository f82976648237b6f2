//! The one error of this crate: bytes that are not what they claim to be.

/// Bytes that are not what they claim to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The file does not follow its format.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// Which file or part of it.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Right so far, but it ends too early.
    #[error("{what} ends before it is complete")]
    Truncated {
        /// Which file or part of it.
        what: &'static str,
    },
    /// A named limit of [`crate::Limits`] was reached.
    #[error("{what} is over the limit {limit} ({value})")]
    OverLimit {
        /// What was too big.
        what: &'static str,
        /// The field of [`crate::Limits`].
        limit: &'static str,
        /// Its value.
        value: u64,
    },
    /// A digest differs.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// What the digest covers.
        what: &'static str,
        /// From the index or the name.
        expected: String,
        /// Of the bytes.
        found: String,
    },
    /// Reading failed for a reason outside the bytes.
    #[error("reading failed: {0}")]
    Read(std::io::Error),
}

impl Invalid {
    /// Shorthand for [`Invalid::Malformed`].
    pub fn malformed(what: &'static str, why: impl Into<String>) -> Self {
        Self::Malformed { what, why: why.into() }
    }
}
