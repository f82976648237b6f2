//! What comes of checking a signature.
//!
//! Both answers are for people who read a log: they name the key, and a refusal says what would have to be different.

use std::fmt;

use crate::Invalid;

/// A key that signed an index and is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// Its file name or fingerprint.
    pub key: String,
    /// What the signature is made with, for people: `RSA 4096, sha256`.
    pub algorithm: String,
}

impl fmt::Display for SignedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.key, self.algorithm)
    }
}

/// Why an index is not trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// There is no signature.
    #[error("{what} is not signed")]
    Unsigned {
        /// The index.
        what: &'static str,
    },
    /// Signed, by nobody we know.
    #[error("{what} is signed by {keys}, and no such key is trusted")]
    UnknownKey {
        /// The index.
        what: &'static str,
        /// The names or ids that the signatures give.
        keys: String,
    },
    /// The signature is not one of these bytes by this key.
    #[error(
        "the signature by {key} does not fit {what}: one of the two was changed, or the key is another of that name"
    )]
    BadSignature {
        /// The index.
        what: &'static str,
        /// The trusted key.
        key: String,
    },
    /// A digest for which two contents with one value can be made.
    #[error("the signature by {key} is over a digest of kind {digest}, which can be forged")]
    WeakDigest {
        /// The trusted key.
        key: String,
        /// Its name.
        digest: String,
    },
    /// The key is too old now.
    #[error("the key {key} expired on {}", Day(*at))]
    KeyExpired {
        /// The trusted key.
        key: String,
        /// When, in Unix seconds.
        at: u64,
    },
    /// Its owner has taken the key back.
    #[error("the key {key} is revoked")]
    KeyRevoked {
        /// The key.
        key: String,
    },
    /// The key's owner did not make it for signing.
    #[error("the key {key} may not sign: its owner does not say that it is for that")]
    KeyMayNotSign {
        /// The key.
        key: String,
    },
    /// The signature is too old now.
    #[error("the signature by {key} expired on {}", Day(*at))]
    SignatureExpired {
        /// The trusted key.
        key: String,
        /// When, in Unix seconds.
        at: u64,
    },
    /// The signature or key is dated later than now.
    #[error("the signature by {key} is valid from {} only; is this machine's clock right?", Day(*at))]
    NotYet {
        /// The trusted key.
        key: String,
        /// When, in Unix seconds.
        at: u64,
    },
    /// Not a signature, or a broken one.
    #[error("malformed signature of {what}: {why}")]
    Malformed {
        /// The index.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A signature of a kind that is not checked.
    #[error("the signature of {what} cannot be checked: {why}")]
    Unsupported {
        /// The index.
        what: &'static str,
        /// What is not known here.
        why: String,
    },
    /// The index itself cannot be read.
    #[error(transparent)]
    Index(#[from] Invalid),
}

impl Untrusted {
    /// How much it tells: of several signatures' refusals the most telling is the one to show.
    pub(super) const fn weight(&self) -> u8 {
        match self {
            Self::Unsigned { .. } => 0,
            Self::UnknownKey { .. } => 1,
            Self::Malformed { .. } | Self::Unsupported { .. } => 2,
            Self::BadSignature { .. } | Self::WeakDigest { .. } => 3,
            Self::KeyMayNotSign { .. } | Self::NotYet { .. } => 4,
            Self::SignatureExpired { .. } | Self::KeyExpired { .. } => 5,
            Self::KeyRevoked { .. } | Self::Index(_) => 6,
        }
    }
}

/// A Unix time as a date.
struct Day(u64);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days are counted from 1 March of the year 0, so that a leap day is the last of its year.
        const MARCH_0: u64 = 719_468;
        const ERA: u64 = 146_097;
        let days = self.0 / 86_400 + MARCH_0;
        let (era, of_era) = (days / ERA, days % ERA);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
        write!(f, "{:04}-{month:02}-{day:02}", era * 400 + year)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        let table = [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_102_444_800, "2100-01-01"),
        ];
        for (time, day) in table {
            assert_eq!(Day(time).to_string(), day);
        }
        // Nothing that comes from the wire is larger, and this must not panic.
        assert!(!Day(u64::MAX).to_string().is_empty());
    }
}
