//! Appending to a spool: a batch is collected while the one before it is written and hashed on another thread.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use artifactapi_formats::{Checker, Sha256};
use bytes::Bytes;
use sha2::Digest as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::batch::Batch;
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
}

impl Disk {
    fn write(&mut self, batch: &[Bytes]) -> Result<(), SpoolError> {
        let after = self.written + batch.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        if self.reserved < after && self.reserved < self.expected {
            let room = RESERVED_AHEAD.min(self.expected - self.reserved);
            self.reserved = reserve(&self.file.file, self.reserved, room)?;
        }
        for bytes in batch {
            self.file.file.write_all_at(bytes, self.written)?;
            self.written += bytes.len() as u64;
            self.sha256.update(bytes);
            if let Some(checker) = &mut self.checker {
                checker.update(bytes).map_err(|invalid| SpoolError::Invalid(Arc::new(invalid)))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Spooled, SpoolError> {
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
    ) -> (Self, SpoolReader) {
        let (progress, watched) = watch::channel(Progress::default());
        let disk = Disk {
            file: Arc::clone(&file),
            written: 0,
            reserved,
            expected: size.unwrap_or_default(),
            sha256: sha2::Sha256::new(),
            checker,
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
}
