//! A folder of a scrub's own, for blobs that are not files here.
//!
//! Several may run at once, also in containers that number their processes alike, so none goes by a number: each has a folder with a
//! name of chance and keeps it locked. What is not locked was left by one that was killed, and goes when the next one begins.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::spool::SpoolFolder;

/// The folder. It goes with this value, if its spools are gone.
pub(super) struct Aside {
    spool: SpoolFolder,
    path: PathBuf,
    all: PathBuf,
    _lock: File,
}

impl Aside {
    /// A folder below `all`, in which nobody else leaves anything.
    pub(super) fn open(all: &Path) -> io::Result<Self> {
        fs::create_dir_all(all)?;
        // Until ours is locked, nobody else looks for what was left.
        let _door = locked(all, FlockOperation::LockExclusive)?;
        for left in fs::read_dir(all)? {
            let left = left?.path();
            if locked(&left, FlockOperation::NonBlockingLockExclusive).is_ok() {
                remove(&left)?;
            }
        }
        let path = all.join(format!("{:016x}", getrandom::u64().map_err(io::Error::other)?));
        fs::create_dir(&path)?;
        let lock = locked(&path, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { spool: SpoolFolder::open(&path)?, path, all: all.to_owned(), _lock: lock })
    }

    pub(super) fn spool(&self) -> &SpoolFolder {
        &self.spool
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Whoever else is at it keeps the outer one.
        let _ = fs::remove_dir(&self.path).and_then(|()| fs::remove_dir(&self.all));
    }
}

fn locked(path: &Path, how: FlockOperation) -> io::Result<File> {
    let file = File::open(path)?;
    flock(&file, how)?;
    Ok(file)
}

fn remove(left: &Path) -> io::Result<()> {
    if left.is_dir() { fs::remove_dir_all(left) } else { fs::remove_file(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_one_left_goes_and_what_is_in_use_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let all = folder.path().join("scrub");
        let left = all.join("4711");
        fs::create_dir_all(&left).expect("a folder");
        fs::write(left.join("0"), "half a blob").expect("written");
        let first = Aside::open(&all).expect("a folder");
        assert!(!left.exists(), "nobody else would ever remove it");
        fs::write(first.path.join("0"), "in use").expect("written");
        let second = Aside::open(&all).expect("another folder");
        assert!(first.path.join("0").exists() && second.path != first.path);
        drop(second);
        fs::remove_file(first.path.join("0")).expect("removed");
        drop(first);
        assert!(!all.exists(), "nothing stays");
    }
}
