//! Checks of packages, whichever of the two kinds they are: `1f 8b` is v2, `ADB` is v3 (FORMATS 1.5, 2.3).
//!
//! Which kind a file is, its own first byte says, not its name and not the index: a v3 index may name v2 packages. The
//! identity an index gives is a digest over one part of the file in both kinds, so either kind is held against it.

use super::adb::PackageV3;
use super::package_v2::PackageV2;
use crate::check::Length;
use crate::{Checker, Digest, Expected, Identity, Invalid, Limits, ReadSeek, Sha256};

const WHAT: &str = "apk package";

/// The check of one package of either kind.
pub(super) struct PackageChecker {
    length: Length,
    expected: Option<Digest>,
    limits: Limits,
    kind: Kind,
}

enum Kind {
    Unknown,
    V2(Box<PackageV2>),
    V3(Box<PackageV3>),
}

impl PackageChecker {
    pub(super) fn new(expected: Option<&Expected>, limits: &Limits) -> Self {
        let digest = expected.and_then(|expected| match &expected.identity {
            Identity::Part(digest) => Some(digest.clone()),
            Identity::File(_) => None,
        });
        Self {
            length: Length::new(WHAT, expected.and_then(|expected| expected.size)),
            expected: digest,
            limits: limits.clone(),
            kind: Kind::Unknown,
        }
    }
}

impl Checker for PackageChecker {
    fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let Some(first) = bytes.first() else {
            return Ok(());
        };
        self.length.update(bytes)?;
        if matches!(self.kind, Kind::Unknown) {
            self.kind = match first {
                0x1f => Kind::V2(Box::new(PackageV2::new(self.expected.take(), &self.limits))),
                b'A' => Kind::V3(Box::new(PackageV3::new(self.expected.take(), &self.limits))),
                _ => {
                    return Err(Invalid::malformed(WHAT, "it begins like no apk package does"));
                }
            };
        }
        match &mut self.kind {
            Kind::Unknown => Ok(()),
            Kind::V2(package) => package.update(bytes),
            Kind::V3(package) => package.update(bytes),
        }
    }

    fn finish(self: Box<Self>, _whole: &mut dyn ReadSeek, _sha256: &Sha256) -> Result<(), Invalid> {
        self.length.finish()?;
        match self.kind {
            Kind::Unknown => Err(Invalid::Truncated { what: WHAT }),
            Kind::V2(package) => package.finish(),
            Kind::V3(package) => package.finish().map(drop),
        }
    }
}
