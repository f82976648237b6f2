//! Puts a spool file into its place: whole or not at all, and never over something else.
//!
//! A hard link does both in one step and copies nothing. Where it cannot (the spool is on another file system, or this
//! one has no hard links) the bytes are copied to a file of their own first, in a folder beside the target, and that
//! file is linked or renamed into place. A crash leaves at most a file in that folder, which is emptied when it is
//! opened.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::spool::Spooled;

/// How often a vanished folder is made again. Somebody who deletes blobs may remove it between our making it and using
/// it.
const FOLDER_TRIES: usize = 16;

/// What [`Incoming::place`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// The file is there now.
    New,
    /// There was a file already; it is untouched.
    Exists,
}

/// A folder for files that are not yet in their place. One per store, on the store's file system.
#[derive(Debug)]
pub(super) struct Incoming {
    folder: PathBuf,
    next: AtomicU64,
}

impl Incoming {
    /// Opens the folder, makes it if need be, and removes what an earlier process left.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        for left in fs::read_dir(folder)? {
            let left = left?;
            // A volume that is mounted here may have a folder of its own.
            if left.file_type()?.is_file() {
                fs::remove_file(left.path())?;
            }
        }
        Ok(Self { folder: folder.to_owned(), next: AtomicU64::default() })
    }

    /// Makes the spooled bytes durable and puts them at `to`, in a folder that need not exist. The name itself is
    /// durable after [`sync_folder`].
    pub(super) fn place(&self, spooled: &Spooled, to: &Path) -> io::Result<Placed> {
        spooled.file().sync_data()?;
        match publish(to, || fs::hard_link(spooled.path(), to)) {
            Err(error) if cannot_link(&error) => self.copy(spooled, to),
            other => other,
        }
    }

    /// Writes `bytes` durably to `to`, over what is there.
    pub(super) fn replace(&self, bytes: &[u8], to: &Path) -> io::Result<()> {
        let temporary = self.temporary();
        fs::write(&temporary.0, bytes)?;
        File::open(&temporary.0)?.sync_data()?;
        publish(to, || fs::rename(&temporary.0, to)).map(|_| ())
    }

    fn copy(&self, spooled: &Spooled, to: &Path) -> io::Result<Placed> {
        let temporary = self.temporary();
        let mut copy = File::create_new(&temporary.0)?;
        // Between files the kernel copies by itself, and shares blocks where the file system can.
        let copied = io::copy(&mut File::open(spooled.path())?, &mut copy)?;
        if copied != spooled.size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the spool file has another length"));
        }
        copy.sync_data()?;
        match publish(to, || fs::hard_link(&temporary.0, to)) {
            // No hard links here (FAT, some network file systems): a rename that refuses to replace is as good.
            Err(error) if cannot_link(&error) => {
                publish(to, || Ok(renameat_with(CWD, &temporary.0, CWD, to, RenameFlags::NOREPLACE)?))
            }
            other => other,
        }
    }

    fn temporary(&self) -> Temporary {
        Temporary(self.folder.join(self.next.fetch_add(1, Ordering::Relaxed).to_string()))
    }
}

/// A file that is removed unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the folder is opened next.
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs `put`, which makes `to` appear, and makes its folder when that is missing.
fn publish(to: &Path, mut put: impl FnMut() -> io::Result<()>) -> io::Result<Placed> {
    let mut tries = 0;
    loop {
        match put() {
            Ok(()) => return Ok(Placed::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(Placed::Exists);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < FOLDER_TRIES => {
                tries += 1;
                make_folder(to.parent().unwrap_or(Path::new("/")))?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes a folder and those above it; each new name is durable.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        let Some(above) = folder.parent() else {
            return Ok(());
        };
        match fs::create_dir(folder) {
            Ok(()) => return sync_folder(above),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < FOLDER_TRIES => {
                tries += 1;
                make_folder(above)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes the names in a folder durable. A folder that was removed meanwhile has none.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the file system cannot make this link, as opposed to not being allowed to or having no room.
fn cannot_link(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS))
}
