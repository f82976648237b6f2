//! What an index says a file must be, and how that is written down.
//!
//! An [`Identity`] is what makes two files the same to a format. Most indexes give a digest of the whole file; Alpine's
//! give one of a part of it, from which the format's checker derives the rest. The engine need not know which: it keeps the
//! identity as text, compares it, and hands it back to the format's checker.

use std::fmt;
use std::str::FromStr;

use crate::{Algorithm, Digest, InvalidDigest, Sha256};

/// What an index says a file must be. Absent parts are unknown, not arbitrary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Length in bytes of the file as stored, if the index gives it and clients enforce it.
    pub size: Option<u64>,
    /// How the content is identified.
    pub identity: Identity,
}

/// How an index identifies a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A digest over the whole file (rpm: primary, repomd members).
    File(Digest),
    /// A digest over the part of the file that the format identifies it by; the rest is bound by that part (apk v2: the
    /// control member, FORMATS 1.4; apk v3: the values, FORMATS 2.3). Only the format's checker can compare it.
    Part(Digest),
}

impl Identity {
    /// The SHA-256 of the whole file, if that is what it is.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256> {
        match self {
            Self::File(digest) if digest.algorithm() == Algorithm::Sha256 => {
                digest.bytes().try_into().ok().map(Sha256::from_bytes)
            }
            _ => None,
        }
    }

    /// The digest, whatever it covers.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        match self {
            Self::File(digest) | Self::Part(digest) => digest,
        }
    }
}

const PART: &str = "part:";

/// `sha256:<hex>` for whole files, `part:sha1:<hex>` for parts: the form for catalogs and messages.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(digest) => digest.fmt(f),
            Self::Part(digest) => write!(f, "{PART}{digest}"),
        }
    }
}

impl FromStr for Identity {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        match text.strip_prefix(PART) {
            Some(digest) => digest.parse().map(Self::Part),
            None => text.parse().map(Self::File),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_again() {
        let digest = Digest::from(Sha256::of(b"x"));
        for identity in [Identity::File(digest.clone()), Identity::Part(digest.clone())] {
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
        for bad in ["", "part:", "sha256", "sha256:zz", "part:part:sha1:00", &format!("md5:{}", digest.hex())] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
