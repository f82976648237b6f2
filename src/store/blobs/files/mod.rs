//! Blobs as plain files: what a laptop uses, and small servers.
//!
//! ```text
//! <data>/blobs/<name>         the bytes; the name is the key, see the module `names`
//! <data>/about/<name>.json    what is recorded with them; a tree of its own, so that it never meets a blob
//! <data>/incoming/            files on their way; emptied at start
//! ```
//!
//! A blob is put in place by a hard link of the spool file, which is whole, checked and durable by then, and which
//! fails if the name is taken. So the file system itself decides races, and nothing is ever half there. Then comes the
//! record; in between, and so a moment before the write returns, the blob can be read already.
//!
//! **A crash between the two** leaves a blob without a record. It can be read (its bytes are right) but
//! [`BlobStore::about`] does not know it. The next write of the same bytes compares them and adds the record. Deleting
//! goes the other way round, record first, so a record never outlives its blob and never describes another one.
//!
//! One process owns the folder. Within it, writes and deletes of one key take turns.

mod list;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::Sha256;
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use parking_lot::{Mutex, MutexGuard};
use sha2::Digest as _;

use super::error::blocking;
use super::place::{Incoming, Placed, sync_folder};
use super::{
    BlobAbout, BlobBody, BlobError, BlobErrorKind, BlobListing, BlobRead, BlobStore, Undeleted, Written, names, record,
};
use crate::disk;
use crate::spool::Spooled;
use crate::store::key::BlobKey;

/// How many keys can be written or deleted at once; two keys share a turn by chance only.
const TURNS: usize = 64;

/// How much is read at a time to compare a file, in bytes.
const COMPARE_BUFFER: usize = 256 << 10;

/// Long enough for whoever learned of a blob to open it; once it is open, its bytes stay until it is closed.
const GRACE: Duration = Duration::from_secs(60);

/// A [`BlobStore`] in a folder.
#[derive(Debug, Clone)]
pub struct FileBlobs {
    tree: Arc<Tree>,
}

/// The folders; everything here blocks.
#[derive(Debug)]
struct Tree {
    blobs: PathBuf,
    about: PathBuf,
    incoming: Incoming,
    turns: [Mutex<()>; TURNS],
}

impl FileBlobs {
    /// Opens the store below `data`, making its folders if need be. Blocks; meant for the start.
    ///
    /// # Errors
    /// When a folder cannot be made or cleaned.
    pub fn open(data: &Path) -> Result<Self, BlobError> {
        let make = || {
            let (blobs, about) = (data.join("blobs"), data.join("about"));
            fs::create_dir_all(&blobs)?;
            fs::create_dir_all(&about)?;
            let incoming = Incoming::open(&data.join("incoming"))?;
            Ok(Tree { blobs, about, incoming, turns: [const { Mutex::new(()) }; TURNS] })
        };
        let tree = make().map_err(|error| BlobError::io(format!("opening {}", data.display()), error))?;
        Ok(Self { tree: Arc::new(tree) })
    }

    /// Runs `work` on the folders where it may block.
    async fn run<T: Send + 'static>(
        &self,
        during: String,
        work: impl FnOnce(&Tree) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let tree = Arc::clone(&self.tree);
        let told = during.clone();
        blocking(&during, move || work(&tree).map_err(|error| BlobError::io(told, error))).await
    }
}

#[async_trait]
impl BlobStore for FileBlobs {
    async fn read(&self, key: &BlobKey, _range: Option<Range<u64>>) -> Result<Option<BlobRead>, BlobError> {
        let name = names::name_of(key);
        let opened = self.run(format!("reading {key}"), move |tree| tree.open(&name)).await?;
        Ok(opened.map(|(file, size)| BlobRead { size, sha256: None, body: BlobBody::File(Arc::new(file)) }))
    }

    async fn about(&self, key: &BlobKey) -> Result<Option<BlobAbout>, BlobError> {
        let name = names::name_of(key);
        let during = format!("reading the record of {key}");
        let Some((json, size)) = self.run(during.clone(), move |tree| tree.record(&name)).await? else {
            return Ok(None);
        };
        match record::read(&json) {
            Ok((recorded, about)) if recorded == *key && about.size == size => Ok(Some(about)),
            Ok(_) => Err(BlobError { kind: BlobErrorKind::Damaged, during, source: None }),
            Err(error) => Err(BlobError::new(BlobErrorKind::Damaged, during, error)),
        }
    }

    async fn write(&self, key: &BlobKey, spooled: &Spooled, about: &BlobAbout) -> Result<Written, BlobError> {
        let (tree, spooled, about) = (Arc::clone(&self.tree), spooled.clone(), about.clone());
        let during = format!("writing {key}");
        let (told, key) = (during.clone(), key.clone());
        let write = move || tree.write(&key, &spooled, &about).map_err(|error| BlobError::io(told, error));
        let died = || Err(BlobError { kind: BlobErrorKind::Other, during, source: None });
        disk::in_turn(write).await.unwrap_or_else(died)
    }

    async fn delete(&self, keys: &[BlobKey]) -> Result<(), Undeleted> {
        let asked = keys.to_vec();
        let deleting = self.run("deleting blobs".to_owned(), move |tree| Ok(tree.delete_each(asked)));
        deleting.await.unwrap_or_else(|error| Err(Undeleted::all(keys, error)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobListing, BlobError>> {
        list::list(&self.tree, prefix)
    }

    fn grace(&self) -> Duration {
        GRACE
    }

    async fn ping(&self) -> Result<(), BlobError> {
        let blobs = self.tree.blobs.clone();
        let during = format!("looking at the folder {}", blobs.display());
        self.run(during, move |_| match rustix::fs::statvfs(&blobs)?.f_bavail {
            0 => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        })
        .await
    }
}

impl Tree {
    fn blob(&self, name: &str) -> PathBuf {
        self.blobs.join(name)
    }

    fn about(&self, name: &str) -> PathBuf {
        self.about.join(format!("{name}.json"))
    }

    fn turn(&self, name: &str) -> MutexGuard<'_, ()> {
        let digest = Sha256::of(name.as_bytes());
        self.turns[usize::from(digest.as_bytes()[0]) % TURNS].lock()
    }

    /// Two system calls: open, and the size of what was opened.
    fn open(&self, name: &str) -> io::Result<Option<(File, u64)>> {
        let Some(file) = present(File::open(self.blob(name)))? else {
            return Ok(None);
        };
        let size = file.metadata()?.len();
        Ok(Some((file, size)))
    }

    /// The record and the blob's size.
    fn record(&self, name: &str) -> io::Result<Option<(Vec<u8>, u64)>> {
        let Some(blob) = present(fs::metadata(self.blob(name)))? else {
            return Ok(None);
        };
        let Some(file) = present(File::open(self.about(name)))? else {
            return Ok(None);
        };
        let mut json = Vec::new();
        file.take(record::MAX_RECORD).read_to_end(&mut json)?;
        Ok(Some((json, blob.len())))
    }

    fn write(&self, key: &BlobKey, spooled: &Spooled, about: &BlobAbout) -> io::Result<Written> {
        let name = names::name_of(key);
        let blob = self.blob(&name);
        // The long wait, for the disk to take the bytes, comes before the turn.
        spooled.file().sync_data()?;
        let _turn = self.turn(&name);
        let placed = self.incoming.place(spooled, &blob)?;
        if placed == Placed::Exists && !same_bytes(&blob, spooled)? {
            return Ok(Written::Occupied);
        }
        let recorded = sync_folder(folder_of(&blob)).and_then(|()| self.write_record(&name, key, about, placed));
        if recorded.is_err() && placed == Placed::New {
            // What was not written must not be readable. If this fails, too, it is as after a crash.
            let _ = self.remove(&name);
        }
        recorded.map(|()| Written::Stored)
    }

    /// A new blob gets a new record. One that was there keeps the record it has, if that describes it.
    fn write_record(&self, name: &str, key: &BlobKey, about: &BlobAbout, blob: Placed) -> io::Result<()> {
        let recorded = self.record(name)?.and_then(|(json, _)| record::read(&json).ok());
        let described = recorded.is_some_and(|(of, said)| of == *key && said.sha256 == about.sha256);
        if blob == Placed::Exists && described {
            return Ok(());
        }
        let path = self.about(name);
        self.incoming.replace(&record::write(key, about), &path)?;
        sync_folder(folder_of(&path))
    }

    /// Each by itself: a file that cannot be removed is no reason to keep the others.
    fn delete_each(&self, keys: Vec<BlobKey>) -> Result<(), Undeleted> {
        let mut undeleted = None;
        for key in keys {
            if let Err(error) = self.delete(&names::name_of(&key)) {
                let error = BlobError::io(format!("deleting {key}"), error);
                undeleted = Some(Undeleted { keys: vec![key], error }.after(undeleted));
            }
        }
        undeleted.map_or(Ok(()), Err)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let _turn = self.turn(name);
        self.remove(name)
    }

    /// Removes the record, then the blob, and the folders that are empty then.
    fn remove(&self, name: &str) -> io::Result<()> {
        for (path, root) in [(self.about(name), &self.about), (self.blob(name), &self.blobs)] {
            present(fs::remove_file(&path))?;
            prune(folder_of(&path), root);
        }
        Ok(())
    }
}

/// Turns "there is no such file" into `None`. A file where a folder is looked for is the same: the name is not there.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Removes folders from `folder` up to `root` while they are empty. Removing one that is not fails, which is what makes
/// this safe beside a writer; a writer whose folder vanishes makes it again.
fn prune(folder: &Path, root: &Path) {
    let mut folder = folder;
    while folder != root && folder.starts_with(root) && fs::remove_dir(folder).is_ok() {
        folder = folder_of(folder);
    }
}

/// Whether the file at `path` holds the spooled bytes. It is read and hashed rather than its record believed: this is
/// the rare case, and a blob that was damaged on disk must not be taken for a whole one.
fn same_bytes(path: &Path, spooled: &Spooled) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != spooled.size {
        return Ok(false);
    }
    let mut sha256 = sha2::Sha256::new();
    let mut buffer = vec![0; COMPARE_BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256::from_bytes(sha256.finalize().into()) == spooled.sha256),
            read => sha256.update(&buffer[..read]),
        }
    }
}
