//! A file that is hashed and checked as it grows, and read by many while it does.
//!
//! Every byte that enters the server, from upstream or from a client, passes through a spool. One [`SpoolWriter`]
//! appends; any number of [`SpoolReader`]s follow it, each at its own pace. A slow reader costs the writer nothing, and
//! a reader that leaves is not noticed.
//!
//! It promises that a reader sees only bytes that were written, that the last [`HOLD_BACK`] bytes of a checked file are
//! not readable before its check has passed, and that a failed spool never ends cleanly for a reader. It never keeps a
//! file in memory: at most [`BATCH`] bytes wait for the disk and as many are on their way to it, in however small pieces they
//! came. A spool file lives as long as somebody holds it; what a killed process leaves behind is removed when the folder is
//! opened again.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use artifactapi_formats::{Checker, Invalid, Sha256};
use bytes::Bytes;
use sha2::Digest as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::disk;

/// How much is collected before it is written and hashed in one go, in bytes.
pub const BATCH: usize = 512 << 10;

/// What comes in smaller pieces than this, in bytes, is copied together. A piece that is kept as it came costs some memory of its
/// own, which is nothing beside its bytes, unless these are few.
const SMALL: usize = 4 << 10;

/// How many of the last bytes stay unreadable until the check of the whole file has passed.
pub const HOLD_BACK: u64 = 16 << 10;

/// What a declared length must leave of the disk to records, uploads and everything else, in bytes …
const HEADROOM: u64 = 1 << 30;

/// … or, on a small disk, one part in so many of it.
const HEADROOM_SHARE: u64 = 20;

/// How much room is taken at once for what a client declared, in bytes.
const RESERVED_AHEAD: u64 = 16 << 20;

/// The folder that spool files live in. One per data folder; two processes must not share it.
#[derive(Debug, Clone)]
pub struct SpoolFolder {
    path: Arc<Path>,
    next: Arc<AtomicU64>,
}

/// What went wrong with a spool.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolError {
    /// No space left for it.
    #[error("no space left in the spool folder")]
    Full,
    /// The bytes are not what they claim to be.
    #[error("{0}")]
    Invalid(Arc<Invalid>),
    /// The disk failed.
    #[error("the spool file cannot be written or read: {0}")]
    Io(Arc<io::Error>),
    /// The writer gave up, for this reason.
    #[error("{0}")]
    Abandoned(Arc<str>),
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

impl SpoolFolder {
    /// Opens the folder, makes it if need be, and removes what an earlier process left.
    ///
    /// # Errors
    /// When the folder cannot be made, read or cleaned.
    pub fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        for left in std::fs::read_dir(path)? {
            std::fs::remove_file(left?.path())?;
        }
        Ok(Self { path: path.into(), next: Arc::default() })
    }

    /// Begins a spool. With a known `size` the space is reserved now, so that a full disk is known before the first
    /// byte has gone out to anybody.
    ///
    /// # Errors
    /// [`SpoolError::Full`] when there is no room, [`SpoolError::Io`] otherwise.
    pub async fn create(
        &self,
        size: Option<u64>,
        checker: Option<Box<dyn Checker>>,
    ) -> Result<(SpoolWriter, SpoolReader), SpoolError> {
        let (file, reserved) = self.begin(size, size.unwrap_or_default()).await?;
        Ok(Self::open_for(file, size, reserved, checker))
    }

    /// Begins a spool for what a client says that it will send. There is room for that now, or it is refused; the room is taken
    /// as bytes come. Whoever declares much and sends little takes none from others.
    ///
    /// # Errors
    /// [`SpoolError::Full`] when there is no room, [`SpoolError::Io`] otherwise.
    pub async fn create_declared(&self, size: Option<u64>) -> Result<SpoolWriter, SpoolError> {
        let (file, reserved) = self.begin(size, size.unwrap_or_default().min(RESERVED_AHEAD)).await?;
        Ok(Self::open_for(file, size, reserved, None).0)
    }

    /// A file with so much room; how much that is.
    async fn begin(&self, size: Option<u64>, room: u64) -> Result<(Arc<SpoolFile>, u64), SpoolError> {
        let path = self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        blocking(move || {
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            let file = Arc::new(SpoolFile { file: Arc::new(file), path });
            let Some(size) = size else { return Ok((file, 0)) };
            keep_headroom(&file.file, size)?;
            let reserved = reserve(&file.file, 0, room)?;
            Ok((file, reserved))
        })
        .await
    }

    fn open_for(
        file: Arc<SpoolFile>,
        size: Option<u64>,
        reserved: u64,
        checker: Option<Box<dyn Checker>>,
    ) -> (SpoolWriter, SpoolReader) {
        let (progress, watched) = watch::channel(Progress::default());
        let disk = Disk {
            file: Arc::clone(&file),
            written: 0,
            reserved,
            expected: size.unwrap_or_default(),
            sha256: sha2::Sha256::new(),
            checker,
        };
        let writer = SpoolWriter { disk: Some(disk), writing: None, batch: Batch::default(), progress };
        (writer, SpoolReader { file, progress: watched })
    }
}

/// Takes room from `at` on. Returns where it ends.
fn reserve(file: &File, at: u64, room: u64) -> io::Result<u64> {
    if room > 0 {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, at, room) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(at.saturating_add(room))
}

/// Refuses a reservation that would leave less than [`HEADROOM`] of the disk to everything else.
fn keep_headroom(file: &File, size: u64) -> Result<(), SpoolError> {
    let Ok(disk) = rustix::fs::fstatvfs(file) else { return Ok(()) };
    let (free, all) = (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
    match free.checked_sub(size) {
        Some(left) if left >= HEADROOM.min(all / HEADROOM_SHARE) => Ok(()),
        _ => Err(SpoolError::Full),
    }
}

/// A file that is removed with its last holder.
#[derive(Debug)]
struct SpoolFile {
    file: Arc<File>,
    path: PathBuf,
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the folder is opened next.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// How far a spool has come.
#[derive(Debug, Clone, Default)]
struct Progress {
    readable: u64,
    end: Option<Result<(), SpoolError>>,
}

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

/// What waits to be written.
#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    /// What came after those, in small pieces.
    small: Vec<u8>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
        } else {
            self.close();
            self.pieces.push(piece);
        }
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(std::mem::take(&mut self.small).into());
        }
    }

    /// All of it; nothing is left.
    fn take(&mut self) -> Vec<Bytes> {
        self.close();
        std::mem::take(self).pieces
    }
}

impl SpoolWriter {
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
                Err(error) => fail(&progress, error),
            }
            (disk, result)
        })));
        Ok(())
    }

    /// Whether bytes wait for a flush.
    #[must_use]
    pub fn has_unflushed(&self) -> bool {
        self.batch.bytes > 0
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
                Err(error) => fail(&progress, error),
            }
            result
        })
        .await
    }

    /// Gives up; readers are told why.
    pub fn abandon(self, why: &str) {
        fail(&self.progress, &SpoolError::Abandoned(why.into()));
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        // A completed or failed spool keeps its end; only one that was simply dropped gets this one. While a blocking
        // thread still holds the disk it decides the end, unless a batch is all it writes.
        if self.disk.is_some() || self.writing.is_some() {
            fail(&self.progress, &SpoolError::Abandoned("the transfer was abandoned".into()));
        }
    }
}

fn fail(progress: &watch::Sender<Progress>, error: &SpoolError) {
    progress.send_if_modified(|p| {
        let first = p.end.is_none();
        if first {
            p.end = Some(Err(error.clone()));
        }
        first
    });
}

/// One that follows a spool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SpoolReader {
    file: Arc<SpoolFile>,
    progress: watch::Receiver<Progress>,
}

impl SpoolReader {
    /// The file, of which only the readable part may be looked at.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file.file
    }

    /// How many bytes are readable now.
    #[must_use]
    pub fn readable(&self) -> u64 {
        self.progress.borrow().readable
    }

    /// Whether it is complete or has failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.progress.borrow().end.is_some()
    }

    /// Whether the spool has failed: what is readable will never become whole.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.progress.borrow().end, Some(Err(_)))
    }

    /// Waits until more than `offset` bytes are readable, or the spool is complete. Returns how many are readable: no
    /// more than `offset` only at the end.
    ///
    /// # Errors
    /// Why the spool failed. What became readable before that may still be read, and must not be ended cleanly.
    pub async fn readable_past(&mut self, offset: u64) -> Result<u64, SpoolError> {
        let progress = self
            .progress
            .wait_for(|p| p.readable > offset || p.end.is_some())
            .await
            .map_err(|_| SpoolError::Abandoned("the transfer was abandoned".into()))?;
        match &progress.end {
            Some(Err(error)) if progress.readable <= offset => Err(error.clone()),
            _ => Ok(progress.readable),
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why the spool failed.
    pub async fn finished(&mut self) -> Result<u64, SpoolError> {
        let progress = self
            .progress
            .wait_for(|p| p.end.is_some())
            .await
            .map_err(|_| SpoolError::Abandoned("the transfer was abandoned".into()))?;
        match &progress.end {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(progress.readable),
        }
    }
}

/// A complete, checked spool: what stores are handed.
#[derive(Debug, Clone)]
pub struct Spooled {
    file: Arc<SpoolFile>,
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

/// Runs `work` where it may block. A panic there is an error here.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    match disk::in_turn(work).await {
        Some(result) => result,
        None => Err(SpoolError::Abandoned("the writing thread failed".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_copied_together_and_large_ones_are_not() {
        let mut batch = Batch::default();
        let large = Bytes::from(vec![1; SMALL]);
        for _ in 0..BATCH / 2 {
            batch.push(Bytes::from_static(b"a"));
        }
        batch.push(large.clone());
        batch.push(Bytes::new());
        batch.push(Bytes::from_static(b"b"));
        batch.push(Bytes::from(vec![b'c'; SMALL - 1]));
        assert_eq!(batch.bytes, BATCH / 2 + 2 * SMALL);
        let pieces = batch.take();
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [BATCH / 2, SMALL, SMALL]);
        assert_eq!(pieces[1].as_ptr(), large.as_ptr(), "copied");
        assert!(pieces[0].iter().all(|byte| *byte == b'a') && pieces[2].starts_with(b"bcc"), "in another order");
        assert_eq!((batch.bytes, batch.take().len()), (0, 0));
    }

    /// What a batch costs beside its bytes is bounded, however they come.
    #[tokio::test]
    async fn a_batch_has_few_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = SpoolFolder::open(folder.path()).expect("a spool folder");
        let (mut writer, _reader) = spool.create(None, None).await.expect("a spool");
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(BATCH - 1).collect();
        for (number, byte) in content.iter().enumerate() {
            writer.append(Bytes::copy_from_slice(&[*byte])).await.expect("room");
            assert!(writer.batch.pieces.is_empty() && writer.batch.small.len() == number + 1);
        }
        assert!(writer.has_unflushed());
        let whole = writer.complete().await.expect("complete");
        assert_eq!((whole.size, whole.sha256), (content.len() as u64, Sha256::of(&content)));
    }
}
