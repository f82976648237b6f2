//! Appending to a spool: a batch is collected while the one before it is written and hashed on another thread.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use artifactapi_formats::{Checker, Sha256};
use bytes::Bytes;
use sha2::Digest as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::batch::Batch;
use super::direct::{self, Direct};
use super::file::{FileReader, SpoolFile, Spooled};
use super::folder::{RESERVED_AHEAD, reserve};
use super::{Progress, SpoolError, SpoolReader, blocking};
use crate::disk;

/// How much is collected before it is written and hashed in one go, in bytes.
pub const BATCH: usize = 512 << 10;

/// How many of the last bytes stay unreadable until the check of the whole file has passed.
pub const HOLD_BACK: u64 = 16 << 10;

/// The part of a writer that blocks: moved to a blocking thread for each batch.
struct Disk {
    file: Arc<SpoolFile>,
    written: u64,
    /// How far room was taken on the disk.
    reserved: u64,
    /// How long it is said to become; 0 if nobody said.
    expected: u64,
    sha256: sha2::Sha256,
    checker: Option<Box<dyn Checker>>,
    way: Way,
}

/// How bytes come to the disk.
pub(super) enum Way {
    /// Through the page cache.
    Usual,
    /// Past it, as soon as there are many.
    DirectWhenLarge,
    /// Past it. What is collected comes after what is written.
    Direct(Direct),
}

impl Disk {
    fn write(&mut self, batch: &[Bytes]) -> Result<(), SpoolError> {
        let after = self.written + self.collected() + batch.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        if self.reserved < after && self.reserved < self.expected {
            let room = RESERVED_AHEAD.min(self.expected - self.reserved);
            self.reserved = reserve(&self.file.file, self.reserved, room)?;
        }
        for bytes in batch {
            self.put(bytes)?;
            self.sha256.update(bytes);
            if let Some(checker) = &mut self.checker {
                checker.update(bytes).map_err(|invalid| SpoolError::Invalid(Arc::new(invalid)))?;
            }
        }
        Ok(())
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

    fn finish(mut self) -> Result<Spooled, SpoolError> {
        self.leave_direct()?;
        let sha256 = Sha256::from_bytes(self.sha256.finalize().into());
        if let Some(checker) = self.checker.take() {
            let mut whole = FileReader::new(Arc::clone(&self.file.file));
            checker.finish(&mut whole, &sha256).map_err(|invalid| SpoolError::Invalid(Arc::new(invalid)))?;
        }
        Ok(Spooled { file: self.file, size: self.written, sha256 })
    }
}

/// The disk after a batch, and what became of that.
type WrittenBatch = (Disk, Result<(), SpoolError>);

/// The one that appends to a spool. Dropped without [`SpoolWriter::complete`], the spool has failed.
pub struct SpoolWriter {
    disk: Option<Disk>,
    writing: Option<JoinHandle<Option<WrittenBatch>>>,
    batch: Batch,
    progress: watch::Sender<Progress>,
}

impl SpoolWriter {
    /// Over an empty file, of which so much is reserved already.
    pub(super) fn over(
        file: Arc<SpoolFile>,
        size: Option<u64>,
        reserved: u64,
        checker: Option<Box<dyn Checker>>,
        way: Way,
    ) -> (Self, SpoolReader) {
        let (progress, watched) = watch::channel(Progress::default());
        let disk = Disk {
            file: Arc::clone(&file),
            written: 0,
            reserved,
            expected: size.unwrap_or_default(),
            sha256: sha2::Sha256::new(),
            checker,
            way,
        };
        let writer = Self { disk: Some(disk), writing: None, batch: Batch::default(), progress };
        (writer, SpoolReader { file, progress: watched })
    }

    /// Takes the next bytes. They become readable with the next full batch, or at [`SpoolWriter::flush`].
    ///
    /// # Errors
    /// What the check or the disk said of *earlier* bytes.
    pub async fn append(&mut self, bytes: Bytes) -> Result<(), SpoolError> {
        self.batch.push(bytes);
        if self.batch.bytes >= BATCH { self.flush().await } else { Ok(()) }
    }

    /// Starts writing what was collected. Returns once the batch before it is written, so that one batch is filled
    /// while another is written.
    ///
    /// # Errors
    /// What the check or the disk said of earlier bytes.
    pub async fn flush(&mut self) -> Result<(), SpoolError> {
        self.settle().await?;
        if self.batch.bytes == 0 {
            return Ok(());
        }
        let Some(mut disk) = self.disk.take() else {
            return Err(SpoolError::Abandoned("an earlier batch failed".into()));
        };
        let batch = self.batch.take();
        let progress = self.progress.clone();
        self.writing = Some(tokio::spawn(disk::in_turn(move || {
            let result = disk.write(&batch);
            match &result {
                Ok(()) => {
                    let held = if disk.checker.is_some() { HOLD_BACK } else { 0 };
                    let readable = disk.written.saturating_sub(held);
                    progress.send_if_modified(|p| {
                        let more = readable > p.readable;
                        p.readable = p.readable.max(readable);
                        more
                    });
                }
                Err(error) => Progress::fail(&progress, error),
            }
            (disk, result)
        })));
        Ok(())
    }

    /// Waits for the batch that is being written.
    ///
    /// # Errors
    /// What the check or the disk said.
    pub async fn settle(&mut self) -> Result<(), SpoolError> {
        if let Some(writing) = self.writing.as_mut() {
            let joined = writing.await;
            self.writing = None;
            let written = joined.ok().flatten();
            let (disk, result) = written.ok_or_else(|| SpoolError::Abandoned("the writing thread failed".into()))?;
            self.disk = Some(disk);
            result?;
        }
        Ok(())
    }

    /// Writes the rest, runs the check, and lets readers have the last bytes.
    ///
    /// # Errors
    /// What the check or the disk said; the spool has then failed for its readers too.
    pub async fn complete(mut self) -> Result<Spooled, SpoolError> {
        self.flush().await?;
        self.settle().await?;
        let Some(disk) = self.disk.take() else {
            return Err(SpoolError::Abandoned("an earlier batch failed".into()));
        };
        let progress = self.progress.clone();
        blocking(move || {
            let result = disk.finish();
            match &result {
                Ok(spooled) => {
                    progress.send_replace(Progress { readable: spooled.size, end: Some(Ok(())) });
                }
                Err(error) => Progress::fail(&progress, error),
            }
            result
        })
        .await
    }

    /// Gives up; readers are told why.
    pub fn abandon(self, why: &str) {
        Progress::fail(&self.progress, &SpoolError::Abandoned(why.into()));
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        // A completed or failed spool keeps its end; only one that was simply dropped gets this one. While a blocking
        // thread still holds the disk it decides the end, unless a batch is all it writes.
        if self.disk.is_some() || self.writing.is_some() {
            Progress::fail(&self.progress, &SpoolError::Abandoned("the transfer was abandoned".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::SpoolFolder;

    #[tokio::test]
    async fn what_comes_in_small_pieces_becomes_one_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = SpoolFolder::open(folder.path()).expect("a spool folder");
        let (mut writer, _reader) = spool.create(None, None).await.expect("a spool");
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(BATCH + 1).collect();
        for byte in &content {
            writer.append(Bytes::copy_from_slice(&[*byte])).await.expect("room");
        }
        let whole = writer.complete().await.expect("complete");
        assert_eq!((whole.size, whole.sha256), (content.len() as u64, Sha256::of(&content)));
    }

    /// The length is no multiple of anything, and where direct writing begins is in the middle of a piece.
    #[tokio::test]
    async fn what_is_written_directly_is_the_same_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = SpoolFolder::open(folder.path()).expect("a spool folder").keeps_uploads_here();
        let size = usize::try_from(direct::FROM).expect("small") + 2 * direct::BLOCK + 4_321;
        let content: Vec<u8> = (0..=250).cycle().take(size).collect();
        let mut writer = spool.create_declared(Some(size as u64)).await.expect("a spool");
        for piece in content.chunks(9_999) {
            writer.append(Bytes::copy_from_slice(piece)).await.expect("room");
        }
        let whole = writer.complete().await.expect("complete");
        assert_eq!((whole.size, whole.sha256), (size as u64, Sha256::of(&content)));
        let mut read = Vec::new();
        io::Read::read_to_end(&mut whole.reader(), &mut read).expect("read");
        assert!(read == content, "other bytes");
    }
}
