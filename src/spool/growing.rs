//! The file of a spool while it is written: room taken ahead of the bytes, and the bytes themselves, as usual or past the page cache.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

use super::direct::{self, Direct};
use super::file::SpoolFile;
use super::folder::{RESERVED_AHEAD, reserve};

/// How bytes come to the disk.
pub(super) enum Way {
    /// Through the page cache.
    Usual,
    /// Past it, as soon as there are many.
    DirectWhenLarge,
    /// Past it. What is collected comes after what is written.
    Direct(Direct),
}

/// The file.
pub(super) struct Growing {
    pub(super) file: Arc<SpoolFile>,
    written: u64,
    /// How far room was taken on the disk.
    reserved: u64,
    /// How long it is said to become; 0 if nobody said.
    expected: u64,
    way: Way,
}

impl Growing {
    /// An empty one, of which so much is reserved already.
    pub(super) fn over(file: Arc<SpoolFile>, size: Option<u64>, reserved: u64, way: Way) -> Self {
        Self { file, written: 0, reserved, expected: size.unwrap_or_default(), way }
    }

    /// How many bytes can be read of it.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Whether it is so large that it is written past the page cache.
    pub(super) const fn is_direct(&self) -> bool {
        matches!(self.way, Way::Direct(_))
    }

    /// Appends all of a batch.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub(super) fn write(&mut self, batch: &[Bytes]) -> io::Result<()> {
        let after = self.written + self.collected() + batch.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        if self.reserved < after && self.reserved < self.expected {
            let room = RESERVED_AHEAD.min(self.expected - self.reserved);
            self.reserved = reserve(&self.file.file, self.reserved, room)?;
        }
        batch.iter().try_for_each(|bytes| self.put(bytes))
    }

    /// Writes what was only collected. How long the file is.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub(super) fn finish(&mut self) -> io::Result<u64> {
        self.leave_direct()?;
        Ok(self.written)
    }

    /// How many bytes were taken and are not yet in the file.
    fn collected(&self) -> u64 {
        match &self.way {
            Way::Usual | Way::DirectWhenLarge => 0,
            Way::Direct(direct) => direct.collected().len() as u64,
        }
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = match &mut self.way {
                Way::DirectWhenLarge if self.written >= direct::FROM => match self.unaligned() {
                    0 => {
                        self.way = Direct::open(&self.file.path).map_or(Way::Usual, Way::Direct);
                        0
                    }
                    some => self.append(&bytes[..bytes.len().min(some)])?,
                },
                Way::Usual | Way::DirectWhenLarge => self.append(bytes)?,
                Way::Direct(direct) => {
                    let taken = direct.collect(bytes);
                    match direct.write_full(self.written) {
                        Ok(false) => {}
                        Ok(true) => self.written += direct::BLOCK as u64,
                        Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.leave_direct()?,
                        Err(error) => return Err(error),
                    }
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// How many bytes are missing until direct writing can begin.
    fn unaligned(&self) -> usize {
        let over = usize::try_from(self.written % direct::ALIGNMENT as u64).unwrap_or_default();
        (direct::ALIGNMENT - over) % direct::ALIGNMENT
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// Writes what was collected, and what comes after it, as usual.
    fn leave_direct(&mut self) -> io::Result<()> {
        if let Way::Direct(direct) = std::mem::replace(&mut self.way, Way::Usual) {
            self.append(direct.collected())?;
        }
        Ok(())
    }
}
