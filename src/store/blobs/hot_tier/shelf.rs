//! The files of the tier.
//!
//! ```text
//! <folder>/entries/<2 digits>/<id>-<sha256>-<size>-<serial>    a whole blob; the name says all there is to know of it
//! <folder>/incoming/                                           copies on their way; emptied at start
//! ```
//!
//! A file gets its name only when its bytes are whole and durable, and is never written again. So what is found at
//! start is good if it has the size that its name says. When an entry is evicted its file is removed; whoever is
//! reading it has it open and reads on. The order of use survives a restart roughly: an entry that is read gets a new
//! access time now and then.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::lru::{Entry, Evicted, Id, Lru};
use crate::spool::Spooled;
use crate::store::blobs::place::Incoming;

/// How often the time of the last use is written down, at most.
const TOUCH_EVERY: Duration = Duration::from_secs(600);

/// Everything here that touches files blocks.
#[derive(Debug)]
pub(super) struct Shelf {
    entries: PathBuf,
    incoming: Incoming,
    lru: Mutex<Lru>,
    serial: AtomicU64,
}

/// Room that is set aside; given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    shelf: Arc<Shelf>,
    size: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shelf.lru.lock().release(self.size);
    }
}

impl Shelf {
    /// Opens the folder, takes stock of it, and removes what does not belong there.
    pub(super) fn open(folder: &Path, budget: u64) -> io::Result<Self> {
        let (entries, incoming) = (folder.join("entries"), Incoming::open(&folder.join("incoming"))?);
        fs::create_dir_all(&entries)?;
        let shelf = Self { entries, incoming, lru: Mutex::new(Lru::new(budget)), serial: AtomicU64::default() };
        let mut found = Vec::new();
        for below in fs::read_dir(&shelf.entries)? {
            for file in fs::read_dir(below?.path())? {
                let file = file?;
                match stock(&file)? {
                    Some(entry) => found.push(entry),
                    None => fs::remove_file(file.path())?,
                }
            }
        }
        // By last use; of two files of one key, which a crash can leave, the later one replaces the earlier.
        found.sort_by_key(|(used, _, entry)| (*used, entry.serial));
        let next = found.iter().map(|(_, _, entry)| entry.serial + 1).max().unwrap_or(0);
        shelf.serial.store(next, Ordering::Relaxed);
        for (_, id, entry) in found {
            let evicted = shelf.lru.lock().insert(id, entry);
            shelf.remove_files(&evicted);
        }
        Ok(shelf)
    }

    /// Opens the file of an entry, which counts as a use. An entry whose file is gone or damaged is dropped.
    pub(super) fn read(&self, id: Id) -> Option<(File, Entry)> {
        let entry = self.lru.lock().get(id)?;
        match open(&self.path(id, &entry), entry.size) {
            Ok(file) => Some((file, entry)),
            Err(error) => {
                tracing::warn!(%error, "an entry of the hot tier cannot be read and is dropped");
                self.forget_if(id, |held| held == entry);
                None
            }
        }
    }

    /// Whether there is an entry. Does not block.
    pub(super) fn has(&self, id: Id) -> bool {
        self.lru.lock().peek(id).is_some()
    }

    /// Whether a blob of this size can be kept at all. Does not block.
    pub(super) fn would_keep(&self, size: u64) -> bool {
        self.lru.lock().would_keep(size)
    }

    /// Sets room aside. `None` if so much is not kept. Does not block: files are removed in the background.
    pub(super) fn reserve(self: &Arc<Self>, size: u64) -> Option<Room> {
        let evicted = self.lru.lock().reserve(size)?;
        let room = Room { shelf: Arc::clone(self), size };
        if !evicted.is_empty() {
            let shelf = Arc::clone(self);
            tokio::task::spawn_blocking(move || shelf.remove_files(&evicted));
        }
        Some(room)
    }

    /// Keeps the spooled bytes, in the room that was set aside for them, unless they are not `wanted` any more.
    pub(super) fn keep(&self, id: Id, spooled: &Spooled, room: Room, wanted: impl FnOnce() -> bool) -> io::Result<()> {
        if self.lru.lock().peek(id).is_some_and(|held| held.sha256 == spooled.sha256) {
            return Ok(());
        }
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { size: spooled.size, sha256: spooled.sha256, serial };
        self.incoming.place(spooled, &self.path(id, &entry))?;
        drop(room);
        let mut lru = self.lru.lock();
        // Asked under the lock that whoever forgets the entry must take after saying that it is not wanted.
        let evicted = if wanted() { lru.insert(id, entry) } else { vec![(id, entry)] };
        drop(lru);
        self.remove_files(&evicted);
        Ok(())
    }

    /// Drops an entry and removes its file.
    pub(super) fn forget(&self, id: Id) {
        self.forget_if(id, |_| true);
    }

    /// How many entries there are, and the bytes they take.
    pub(super) fn usage(&self) -> (usize, u64) {
        self.lru.lock().usage()
    }

    /// Drops an entry that is so.
    pub(super) fn forget_if(&self, id: Id, what: impl FnOnce(Entry) -> bool) {
        let mut lru = self.lru.lock();
        let removed = if lru.peek(id).is_some_and(what) { lru.remove(id) } else { None };
        drop(lru);
        if let Some(entry) = removed {
            self.remove_files(&[(id, entry)]);
        }
    }

    fn remove_files(&self, evicted: &[Evicted]) {
        for (id, entry) in evicted {
            match fs::remove_file(self.path(*id, entry)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "a file of the hot tier cannot be removed");
                }
                _ => {}
            }
        }
    }

    fn path(&self, id: Id, entry: &Entry) -> PathBuf {
        let name = format!("{:032x}-{}-{}-{}", id.0, entry.sha256, entry.size, entry.serial);
        self.entries.join(&name[..2]).join(&name)
    }
}

/// Opens a file of this size and notes that it is used.
fn open(path: &Path, size: u64) -> io::Result<File> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if about.len() != size {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file has another size than its name says"));
    }
    let now = SystemTime::now();
    let stale = |used: SystemTime| now.duration_since(used).is_ok_and(|since| since > TOUCH_EVERY);
    if about.accessed().is_ok_and(stale) {
        // Only the order of eviction after a restart depends on it.
        let _ = file.set_times(FileTimes::new().set_accessed(now));
    }
    Ok(file)
}

/// What a file found at start is, and when it was last used. `None` if it is not what its name says.
fn stock(file: &fs::DirEntry) -> io::Result<Option<(SystemTime, Id, Entry)>> {
    let about = file.metadata()?;
    let name = file.file_name();
    let named = name.to_str().and_then(parse).filter(|(_, entry)| entry.size == about.len());
    let used = about.accessed()?.max(about.modified()?);
    Ok(named.map(|(id, entry)| (used, id, entry)))
}

fn parse(name: &str) -> Option<(Id, Entry)> {
    let mut parts = name.split('-');
    let mut next = || parts.next();
    let id = Id(u128::from_str_radix(next()?, 16).ok()?);
    let sha256 = next()?.parse().ok()?;
    let (size, serial) = (next()?.parse().ok()?, next()?.parse().ok()?);
    parts.next().is_none().then_some((id, Entry { size, sha256, serial }))
}
