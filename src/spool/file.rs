//! The file of a spool, and what is left of a spool when all went well.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifactapi_formats::Sha256;

/// A file that is removed with its last holder.
#[derive(Debug)]
pub(super) struct SpoolFile {
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the folder is opened next.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A complete, checked spool: what stores are handed.
#[derive(Debug, Clone)]
pub struct Spooled {
    pub(super) file: Arc<SpoolFile>,
    /// Length in bytes.
    pub size: u64,
    /// Digest of all bytes.
    pub sha256: Sha256,
}

impl Spooled {
    /// The file; read it with positioned reads only, its offset is shared.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file.file
    }

    /// Where the file is, for as long as this value lives. A store on the same file system may link it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Reads it from the start.
    #[must_use]
    pub fn reader(&self) -> FileReader {
        FileReader::new(Arc::clone(&self.file.file))
    }
}

/// Reads a shared file from an offset of its own.
#[derive(Debug)]
pub struct FileReader {
    file: Arc<File>,
    offset: u64,
}

impl FileReader {
    /// From the start of `file`.
    #[must_use]
    pub fn new(file: Arc<File>) -> Self {
        Self { file, offset: 0 }
    }
}

impl Read for FileReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Seek for FileReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(offset) => (offset, 0),
            SeekFrom::End(by) => (self.file.metadata()?.len(), by),
            SeekFrom::Current(by) => (self.offset, by),
        };
        self.offset = base.checked_add_signed(by).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.offset)
    }
}
