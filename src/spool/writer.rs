//! Appending to a spool: a batch is collected while the one before it is written and hashed on another thread.

use std::sync::Arc;

use artifactapi_formats::{Checker, Sha256};
use bytes::Bytes;
use sha2::Digest as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::batch::Batch;
use super::file::{FileReader, Spooled};
use super::growing::Growing;
use super::{Progress, SpoolError, SpoolReader, blocking};
use crate::disk;

/// How much is collected before it is written and hashed in one go, in bytes.
pub const BATCH: usize = 512 << 10;

/// The same of a file that is written past the page cache: as few hands as can be for as many bytes. Of such files there are few at
/// once.
const DIRECT_BATCH: usize = 2 << 20;

/// How many of the last bytes stay unreadable until the check of the whole file has passed.
pub const HOLD_BACK: u64 = 16 << 10;

/// What bytes are compared with.
struct Checks {
    sha256: sha2::Sha256,
    checker: Option<Box<dyn Checker>>,
}

impl Checks {
    fn update(&mut self, batch: &[Bytes]) -> Result<(), SpoolError> {
        for bytes in batch {
            self.sha256.update(bytes);
            if let Some(checker) = &mut self.checker {
                checker.update(bytes).map_err(|invalid| SpoolError::Invalid(Arc::new(invalid)))?;
            }
        }
        Ok(())
    }
}

/// The part of a writer that blocks: moved to blocking threads for each batch.
struct Disk {
    growing: Growing,
    checks: Checks,
}

impl Disk {
    fn write(&mut self, batch: &[Bytes]) -> Result<(), SpoolError> {
        self.growing.write(batch)?;
        self.checks.update(batch)
    }

    /// How far readers may read.
    fn readable(&self) -> u64 {
        let held = if self.checks.checker.is_some() { HOLD_BACK } else { 0 };
        self.growing.written().saturating_sub(held)
    }

    fn finish(mut self) -> Result<Spooled, SpoolError> {
        let size = self.growing.finish()?;
        let (file, Checks { sha256, checker }) = (self.growing.file, self.checks);
        let sha256 = Sha256::from_bytes(sha256.finalize().into());
        if let Some(checker) = checker {
            let mut whole = FileReader::new(Arc::clone(&file.file));
            checker.finish(&mut whole, &sha256).map_err(|invalid| SpoolError::Invalid(Arc::new(invalid)))?;
        }
        Ok(Spooled { file, size, sha256 })
    }
}

/// The disk after a batch, and what became of that. `None` if a thread died.
type WrittenBatch = Option<(Disk, Result<(), SpoolError>)>;

/// One after the other, on one thread: a batch is small.
async fn write(mut disk: Disk, batch: Vec<Bytes>) -> WrittenBatch {
    disk::in_turn(move || {
        let result = disk.write(&batch);
        (disk, result)
    })
    .await
}

/// Side by side: there are many batches to come, and the disk and the digest take about as long.
async fn write_side_by_side(Disk { mut growing, mut checks }: Disk, batch: Vec<Bytes>) -> WrittenBatch {
    let batch = Arc::new(batch);
    let same = Arc::clone(&batch);
    let writing = disk::in_turn(move || {
        let result = growing.write(&batch);
        (growing, result)
    });
    let checking = disk::in_turn(move || {
        let result = checks.update(&same);
        (checks, result)
    });
    let (written, checked) = tokio::join!(tokio::spawn(writing), checking);
    let ((growing, written), (checks, checked)) = (written.ok()??, checked?);
    Some((Disk { growing, checks }, written.map_err(SpoolError::from).and(checked)))
}

/// The one that appends to a spool. Dropped without [`SpoolWriter::complete`], the spool has failed.
pub struct SpoolWriter {
    disk: Option<Disk>,
    writing: Option<JoinHandle<WrittenBatch>>,
    batch: Batch,
    /// With how many bytes a batch is full.
    full: usize,
    progress: watch::Sender<Progress>,
}

impl SpoolWriter {
    /// Over an empty file.
    pub(super) fn over(growing: Growing, checker: Option<Box<dyn Checker>>) -> (Self, SpoolReader) {
        let (progress, watched) = watch::channel(Progress::default());
        let file = Arc::clone(&growing.file);
        let disk = Disk { growing, checks: Checks { sha256: sha2::Sha256::new(), checker } };
        let writer = Self { disk: Some(disk), writing: None, batch: Batch::default(), full: BATCH, progress };
        (writer, SpoolReader { file, progress: watched })
    }

    /// Takes the next bytes. They become readable with the next full batch, or at [`SpoolWriter::flush`].
    ///
    /// # Errors
    /// What the check or the disk said of *earlier* bytes.
    pub async fn append(&mut self, bytes: Bytes) -> Result<(), SpoolError> {
        self.batch.push(bytes);
        if self.batch.bytes >= self.full { self.flush().await } else { Ok(()) }
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
        let Some(disk) = self.disk.take() else {
            return Err(SpoolError::Abandoned("an earlier batch failed".into()));
        };
        let batch = self.batch.take();
        let progress = self.progress.clone();
        self.writing = Some(tokio::spawn(async move {
            let written =
                if disk.growing.is_direct() { write_side_by_side(disk, batch).await } else { write(disk, batch).await };
            match &written {
                Some((disk, Ok(()))) => {
                    let readable = disk.readable();
                    progress.send_if_modified(|p| {
                        let more = readable > p.readable;
                        p.readable = p.readable.max(readable);
                        more
                    });
                }
                Some((_, Err(error))) => Progress::fail(&progress, error),
                None => {}
            }
            written
        }));
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
            self.full = if disk.growing.is_direct() { DIRECT_BATCH } else { BATCH };
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
    use std::io::Read as _;

    use super::*;
    use crate::spool::{SpoolFolder, direct};

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
        whole.reader().read_to_end(&mut read).expect("read");
        assert!(read == content, "other bytes");
    }
}
