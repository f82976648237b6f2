//! The text of one list while its chunk is being made.
//!
//! Packages are added one after another, and nobody knows before how long their texts are together. Up to [`HELD_TEXT`] bytes are
//! held, which is all that nearly any chunk has of a list; what is longer lies in a file without a name. So however large packages
//! are, and however many of them are neighbours, memory is that of a short text.

use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Seek as _, Write};
use std::path::{Path, PathBuf};

use super::file::unfinished;

/// The longest text that is held in memory, in bytes. How a text is compressed depends on it ([`super::packing`]): with another
/// number here there are other chunks.
pub(super) const HELD_TEXT: usize = 4 << 20;

/// Bytes that are written to a file at once.
const WRITTEN_AT_ONCE: usize = 256 << 10;

pub(super) struct Growing {
    /// Where a file is made if it takes one.
    beside: PathBuf,
    kept: Kept,
    length: u64,
}

enum Kept {
    Held(Vec<u8>),
    Laid(BufWriter<File>),
}

impl Growing {
    /// With nothing in it; should it take a file, that is made beside this one.
    pub(super) fn beside(path: &Path) -> Self {
        Self { beside: path.into(), kept: Kept::Held(Vec::new()), length: 0 }
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// All of it, if it is short.
    pub(super) fn held(&self) -> Option<&[u8]> {
        match &self.kept {
            Kept::Held(text) => Some(text),
            Kept::Laid(_) => None,
        }
    }

    /// Reads it from its beginning.
    pub(super) fn read(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match &mut self.kept {
            Kept::Held(text) => Box::new(Cursor::new(text)),
            Kept::Laid(file) => {
                // What was not written yet is by this.
                file.rewind()?;
                Box::new(file.get_ref())
            }
        })
    }
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Kept::Held(text) = &mut self.kept
            && text.len() + bytes.len() > HELD_TEXT
        {
            let mut file = BufWriter::with_capacity(WRITTEN_AT_ONCE, without_a_name(&self.beside)?);
            file.write_all(text)?;
            self.kept = Kept::Laid(file);
        }
        match &mut self.kept {
            Kept::Held(text) => text.extend_from_slice(bytes),
            Kept::Laid(file) => file.write_all(bytes)?,
        }
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of nobody else's, which goes with whoever has it open.
pub(super) fn without_a_name(beside: &Path) -> io::Result<File> {
    let path = unfinished(beside);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_was_added_wherever_it_lies() {
        let folder = tempfile::tempdir().expect("a folder");
        let line: Vec<u8> = (0..=255).cycle().take(1_000_003).collect();
        let mut growing = Growing::beside(&folder.path().join("chunk"));
        for count in 0..10 {
            assert_eq!(growing.length(), count * line.len() as u64);
            assert_eq!(growing.held().is_some(), count <= 4, "{count}");
            for _ in 0..2 {
                let mut read = Vec::new();
                growing.read().expect("there").read_to_end(&mut read).expect("readable");
                assert!(read == line.repeat(usize::try_from(count).expect("small")), "{count}");
            }
            growing.write_all(&line).expect("written");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0, "it has no name");
    }
}
