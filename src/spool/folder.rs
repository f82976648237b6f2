//! Where spools begin, and what room they take on the disk.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use artifactapi_formats::Checker;

use super::file::SpoolFile;
use super::growing::{Growing, Way};
use super::writer::SpoolWriter;
use super::{SpoolError, SpoolReader, blocking};

/// What a declared length must leave of the disk to records, uploads and everything else, in bytes …
const HEADROOM: u64 = 1 << 30;

/// … or, on a small disk, one part in so many of it.
const HEADROOM_SHARE: u64 = 20;

/// How much room is taken at once for what a client declared, in bytes.
pub(super) const RESERVED_AHEAD: u64 = 16 << 20;

/// The folder that spool files live in. One per data folder; two processes must not share it.
#[derive(Debug, Clone)]
pub struct SpoolFolder {
    path: Arc<Path>,
    next: Arc<AtomicU64>,
    uploads: Uploads,
}

/// What becomes of an upload's file.
#[derive(Debug, Clone, Copy)]
enum Uploads {
    /// It is read again soon, and sent to where it is kept.
    AreSent,
    /// It stays on this disk.
    StayHere,
}

impl SpoolFolder {
    /// Opens the folder, makes it if need be, and removes what an earlier process left.
    ///
    /// # Errors
    /// When the folder cannot be made, read or cleaned.
    pub fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        for left in std::fs::read_dir(path)? {
            let left = left?;
            // A volume that is mounted here may have a folder of its own.
            if left.file_type()?.is_file() {
                std::fs::remove_file(left.path())?;
            }
        }
        Ok(Self { path: path.into(), next: Arc::default(), uploads: Uploads::AreSent })
    }

    /// The same, where a store on this disk links the files of uploads: they are written so that they are soon durable, not so that
    /// they are soon read.
    #[must_use]
    pub fn keeps_uploads_here(self) -> Self {
        Self { uploads: Uploads::StayHere, ..self }
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
        Ok(SpoolWriter::over(Growing::over(file, size, reserved, Way::Usual), checker))
    }

    /// Begins a spool for what a client says that it will send. There is room for that now, or it is refused; the room is taken
    /// as bytes come. Whoever declares much and sends little takes none from others.
    ///
    /// # Errors
    /// [`SpoolError::Full`] when there is no room, [`SpoolError::Io`] otherwise.
    pub async fn create_declared(&self, size: Option<u64>) -> Result<SpoolWriter, SpoolError> {
        let (file, reserved) = self.begin(size, size.unwrap_or_default().min(RESERVED_AHEAD)).await?;
        let way = match self.uploads {
            Uploads::AreSent => Way::Usual,
            Uploads::StayHere => Way::DirectWhenLarge,
        };
        Ok(SpoolWriter::over(Growing::over(file, size, reserved, way), None).0)
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
}

/// Takes room from `at` on. Returns where it ends.
pub(super) fn reserve(file: &File, at: u64, room: u64) -> io::Result<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_the_volume_is_no_spool() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("lost+found")).expect("a folder in it");
        std::fs::write(folder.path().join("7"), b"left behind").expect("a file in it");
        SpoolFolder::open(folder.path()).expect("a spool folder");
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).expect("listed").map(|left| left.expect("one").file_name()).collect();
        assert_eq!(left, ["lost+found"]);
    }
}
