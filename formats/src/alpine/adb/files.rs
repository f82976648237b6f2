//! The files of a v3 package against what its values say of them (FORMATS 2.3).
//!
//! A file block begins with two numbers, of the folder and of the file within it, counted from 1. The values give that
//! file's size and digest. Links have a target in place of content, so no block is asked of them.

use sha2::Digest as _;

use super::value::{Block, Table, Why};

/// The slots of a package, a folder and a file, by number.
const FOLDERS: usize = 2;
const FOLDER_FILES: usize = 3;
const FILE_SIZE: usize = 3;
const FILE_HASHES: usize = 5;
const FILE_TARGET: usize = 6;

/// Two numbers of four bytes.
const HEAD: usize = 8;
const SHA256: usize = 32;

/// A file block while it passes.
#[derive(Default)]
pub(super) struct OpenFile {
    head: [u8; HEAD],
    length: u64,
    content: sha2::Sha256,
}

impl OpenFile {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while let (Some((first, rest)), true) = (bytes.split_first(), self.length < HEAD as u64) {
            if let Some(space) = usize::try_from(self.length).ok().and_then(|at| self.head.get_mut(at)) {
                *space = *first;
            }
            self.length += 1;
            bytes = rest;
        }
        self.length += bytes.len() as u64;
        self.content.update(bytes);
    }
}

/// The files seen so far.
#[derive(Default)]
pub(super) struct Files {
    /// The last one: blocks come in the order of the values, so none comes twice.
    last: (u32, u32),
    /// How many that must come have come.
    came: u64,
}

impl Files {
    /// A file block is complete.
    pub(super) fn ended(&mut self, values: &[u8], open: OpenFile) -> Result<(), Why> {
        let length = open.length.checked_sub(HEAD as u64).ok_or("a file block without its numbers")?;
        let [a, b, c, d, e, f, g, h] = open.head;
        let place = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if place <= self.last {
            return Err("a file out of order");
        }
        self.last = place;
        let (block, root) = Block::open(values)?;
        let number = |index| usize::try_from(index).map_err(|_| "a file that its values do not name");
        let folder = block.table(block.table(root.slot(FOLDERS))?.slot(number(place.0)?))?;
        let file = block.table(block.table(folder.slot(FOLDER_FILES))?.slot(number(place.1)?))?;
        if block.number(file.slot(FILE_SIZE))? != length {
            return Err("a file that is not as long as its values say");
        }
        let digest = block.blob(file.slot(FILE_HASHES))?;
        if digest.len() == SHA256 && digest != open.content.finalize().as_slice() {
            return Err("a file that does not have the digest its values say");
        }
        self.came += u64::from(must_come(block, file)?);
        Ok(())
    }

    /// Whether the values name a file that did not come.
    pub(super) fn missing(&self, values: &[u8]) -> Result<bool, Why> {
        let (block, root) = Block::open(values)?;
        // Tables may overlap, so that a small block could describe files without end; an honest one has no two alike.
        let mut steps = values.len();
        let mut step = || {
            steps = steps.checked_sub(1).ok_or("more files than there is room for")?;
            Ok(())
        };
        let mut named = 0;
        for folder in block.table(root.slot(FOLDERS))?.iter() {
            step()?;
            for file in block.table(block.table(folder)?.slot(FOLDER_FILES))?.iter() {
                step()?;
                named += u64::from(must_come(block, block.table(file)?)?);
            }
        }
        Ok(named != self.came)
    }
}

fn must_come(block: Block<'_>, file: Table<'_>) -> Result<bool, Why> {
    Ok(block.number(file.slot(FILE_SIZE))? > 0 && block.blob(file.slot(FILE_TARGET))?.is_empty())
}
