//! Writing past the page cache.
//!
//! What is uploaded is acknowledged when it is durable. Written as usual, a large file lies in memory until its end, and then its client
//! waits for the disk to take all of it; written directly, the disk takes it while it comes, nothing is copied into memory that nobody
//! reads, and what others read stays there. The system asks for aligned memory, offsets and lengths: bytes are collected until
//! they are [`BLOCK`] of them.
//!
//! There are [`AT_ONCE`] such files at most, for each takes some memory; those that come meanwhile are written as usual. And not
//! every file system can do it. The first write that is refused ends it, and the file is written as usual.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Where direct writing begins, in bytes. What is smaller is soon on the disk, and is read again when it is checked.
pub(super) const FROM: u64 = 16 << 20;

/// How much is written at once, in bytes.
pub(super) const BLOCK: usize = 1 << 20;

/// How many files are written so at once. More of them make no disk faster.
const AT_ONCE: usize = 8;

static ROOM: Semaphore = Semaphore::const_new(AT_ONCE);

/// What memory, offsets and lengths are a multiple of, in bytes: no disk asks for more.
pub(super) const ALIGNMENT: usize = 4 << 10;

/// A file that is written past the page cache, in whole blocks.
pub(super) struct Direct {
    file: File,
    memory: Vec<u8>,
    /// Where aligned memory begins.
    start: usize,
    filled: usize,
    _room: SemaphorePermit<'static>,
}

impl Direct {
    /// The same file once more. `None` where that cannot be, or not now.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let flags = i32::try_from(OFlags::DIRECT.bits()).ok()?;
        Self::over(File::options().write(true).custom_flags(flags).open(path).ok()?)
    }

    fn over(file: File) -> Option<Self> {
        let room = ROOM.try_acquire().ok()?;
        let memory = vec![0; BLOCK + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        (start <= ALIGNMENT).then_some(Self { file, memory, start, filled: 0, _room: room })
    }

    /// Takes as many of these bytes as go into the block that is collected. Returns how many.
    pub(super) fn collect(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(BLOCK - self.filled);
        let at = self.start + self.filled;
        self.memory[at..at + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        taken
    }

    /// Writes the block at `offset` if it is full. Returns whether it was.
    ///
    /// # Errors
    /// Whatever the system says; the block is still here then.
    pub(super) fn write_full(&mut self, offset: u64) -> io::Result<bool> {
        if self.filled < BLOCK {
            return Ok(false);
        }
        self.file.write_all_at(self.collected(), offset)?;
        self.filled = 0;
        Ok(true)
    }

    /// What was collected and is not written.
    pub(super) fn collected(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As on any file system: this file is an ordinary one.
    #[test]
    fn a_block_is_written_when_it_is_full() {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(&[b'-'; ALIGNMENT], 0).expect("room");
        let mut direct = Direct::over(file.try_clone().expect("the same")).expect("aligned memory");
        let content: Vec<u8> = (0..=250).cycle().take(BLOCK + 1).collect();
        assert_eq!(direct.collect(&content[..7]), 7);
        assert!(!direct.write_full(ALIGNMENT as u64).expect("nothing to do"));
        assert_eq!(direct.collect(&content[7..]), BLOCK - 7);
        assert!(direct.write_full(ALIGNMENT as u64).expect("written"));
        assert_eq!(direct.collect(&content[BLOCK..]), 1);
        assert_eq!(direct.collected(), &content[BLOCK..]);
        let mut written = vec![0; ALIGNMENT + BLOCK];
        file.read_exact_at(&mut written, 0).expect("read");
        assert!(written[..ALIGNMENT].iter().all(|byte| *byte == b'-') && written[ALIGNMENT..] == content[..BLOCK]);
        assert_eq!(direct.collected().as_ptr().align_offset(ALIGNMENT), 0);
    }
}
