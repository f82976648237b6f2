//! Checks that a whole blob is the one its store says it is.

use artifactapi_formats::{Checker, Invalid, ReadSeek, Sha256};
use sha2::Digest as _;

/// Compares a blob's SHA-256, computed while it passes, with the one that came with it.
pub(super) struct DigestCheck {
    expected: Sha256,
    sha256: sha2::Sha256,
}

impl DigestCheck {
    pub(super) fn new(expected: Sha256) -> Self {
        Self { expected, sha256: sha2::Sha256::new() }
    }
}

impl Checker for DigestCheck {
    fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.sha256.update(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>, _whole: &mut dyn ReadSeek) -> Result<(), Invalid> {
        let found = Sha256::from_bytes(self.sha256.finalize().into());
        if found == self.expected {
            return Ok(());
        }
        let (expected, found) = (self.expected.hex(), found.hex());
        Err(Invalid::Mismatch { what: "the blob as the store sent it", expected, found })
    }
}
