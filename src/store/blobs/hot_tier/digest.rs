//! Checks that a whole blob is the one its store says it is.

use artifactapi_formats::{Checker, Invalid, ReadSeek, Sha256};

/// Compares a blob's SHA-256, which the spool makes, with the one that came with it.
pub(super) struct DigestCheck {
    expected: Sha256,
}

impl DigestCheck {
    pub(super) fn new(expected: Sha256) -> Self {
        Self { expected }
    }
}

impl Checker for DigestCheck {
    fn update(&mut self, _bytes: &[u8]) -> Result<(), Invalid> {
        Ok(())
    }

    fn finish(self: Box<Self>, _whole: &mut dyn ReadSeek, sha256: &Sha256) -> Result<(), Invalid> {
        if *sha256 == self.expected {
            return Ok(());
        }
        let (expected, found) = (self.expected.hex(), sha256.hex());
        Err(Invalid::Mismatch { what: "the blob as the store sent it", expected, found })
    }
}
