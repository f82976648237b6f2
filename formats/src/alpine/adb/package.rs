//! A v3 package: its container and blocks, the identity an index gives it, and its files (FORMATS 2.3).
//!
//! The values name every file with size and digest, and the index identifies the values: together they bind every byte
//! that is installed, as `C:` and `datahash` do for v2. The values are held whole, within [`Limits::adb_bytes`]; the files
//! are hashed as they pass. A file that the values name and that never comes is a package that broke off.

use sha2::Digest as _;

use super::blocks::{Blocks, PACKAGE, Piece, hold};
use super::container::Container;
use super::files::{Files, OpenFile};
use super::info::Info;
use super::value::Block;
use crate::check::same;
use crate::{Digest, Invalid, Limits};

const WHAT: &str = "apk package (v3)";
/// The slot of a package with its description.
const INFO: usize = 1;

/// The check of one package.
pub(in crate::alpine) struct PackageV3 {
    container: Container,
    blocks: Blocks,
    expected: Option<Digest>,
    adb_bytes: u64,
    values: Vec<u8>,
    files: Files,
    open: OpenFile,
}

impl PackageV3 {
    pub(in crate::alpine) fn new(expected: Option<Digest>, limits: &Limits) -> Self {
        Self {
            container: Container::new(WHAT, limits),
            blocks: Blocks::new(WHAT, PACKAGE),
            expected,
            adb_bytes: limits.adb_bytes,
            values: Vec::new(),
            files: Files::default(),
            open: OpenFile::default(),
        }
    }

    pub(in crate::alpine) fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let Self { container, blocks, adb_bytes, values, files, open, .. } = self;
        let malformed = |why| Invalid::malformed(WHAT, why);
        container.push(bytes, &mut |bytes| {
            blocks.push(bytes, &mut |piece| match piece {
                Piece::Values(bytes) => hold(WHAT, values, bytes, *adb_bytes),
                Piece::FileBegins => {
                    *open = OpenFile::default();
                    Ok(())
                }
                Piece::File(bytes) => {
                    open.update(bytes);
                    Ok(())
                }
                Piece::FileEnds => files.ended(values, std::mem::take(open)).map_err(malformed),
                Piece::Signature(_) | Piece::SignatureEnds => Ok(()),
            })
        })
    }

    /// The file is over. What it was checked to be is the block of its values.
    pub(in crate::alpine) fn finish(self) -> Result<Vec<u8>, Invalid> {
        self.container.finish()?;
        self.blocks.finish()?;
        if let Some(expected) = self.expected {
            // An identity of 20 bytes is the SHA-256 cut short, which indexes carry like a SHA-1.
            let whole = sha2::Sha256::digest(&self.values);
            let cut = whole.get(..expected.bytes().len()).unwrap_or(&whole);
            let found = Digest::from_bytes(expected.algorithm(), cut)
                .map_err(|_| Invalid::malformed(WHAT, "the index identifies it by a digest that v3 does not have"))?;
            same("values of the apk package", &expected, &found)?;
        }
        let missing = self.files.missing(&self.values).map_err(|why| Invalid::malformed(WHAT, why))?;
        if missing { Err(Invalid::Truncated { what: WHAT }) } else { Ok(self.values) }
    }
}

/// What the values of a package say of it, as an index repeats it.
pub(in crate::alpine) fn info<'v>(values: &'v [u8], limits: &Limits) -> Result<Info<'v>, Invalid> {
    let malformed = |why| Invalid::malformed(WHAT, why);
    let (block, root) = Block::open(values).map_err(malformed)?;
    let info = block.table(root.slot(INFO)).map_err(malformed)?;
    Info::read(block, info, limits).map_err(malformed)
}
