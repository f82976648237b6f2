//! The folder that chunks lie in: which there are, and which of them go when there are too many.
//!
//! Every publication leaves a chunk or two behind that no index has any more. While there is room they stay, since somebody may ask
//! for a list of an earlier snapshot; beyond [`FOLDER_BYTES`] those that were not used for the longest time go. The chunks of
//! the indexes that were written last are never among them, however large those are. What went and is wanted after all is made
//! again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use artifactapi_formats::Algorithm;
use parking_lot::Mutex;

use super::Shape;
use super::packing::way;
use crate::engine::publish::SHEETS;
use crate::engine::publish::sheet::ChunkKey;
use crate::store::key::Target;

/// How many bytes chunks may take on the disk, beside those of the indexes that were written last.
pub(in crate::engine::publish) const FOLDER_BYTES: u64 = 1 << 30;

/// What a file takes of the disk is a multiple of this.
const BLOCK: u64 = 4096;

/// How much is removed at once is an eighth of the bound, so that not every publication looks through the whole list.
const EASED: u64 = 8;

/// The name of a chunk's file: whose it is, what is in it, and how. Two roots may list the same packages and have other fragments of
/// them: the time of an upload is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChunkName([u8; 16]);

impl ChunkName {
    pub(super) fn of(root: &Target, key: ChunkKey, shape: Shape) -> Self {
        let mut hasher = Algorithm::Sha256.hasher();
        for part in [root.repository.as_str(), root.path.as_str(), way(shape.compression)] {
            hasher.update(part.as_bytes());
            hasher.update(b"\0");
        }
        hasher.update(&(shape.lists as u64).to_be_bytes());
        hasher.update(&key.0);
        let mut name = [0; 16];
        name.iter_mut().zip(hasher.finish().bytes()).for_each(|(to, from)| *to = *from);
        Self(name)
    }

    fn hex(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    fn read(hex: &str) -> Option<Self> {
        let name = Self(u128::from_str_radix(hex, 16).ok()?.to_be_bytes());
        (name.hex() == hex).then_some(name)
    }
}

pub(super) struct Folder {
    path: PathBuf,
    bound: u64,
    lying: Mutex<Lying>,
}

#[derive(Default)]
struct Lying {
    /// About 60 bytes for each file.
    files: HashMap<ChunkName, Laid>,
    bytes: u64,
    /// What the indexes have that were written last, the latest at the end.
    latest: VecDeque<(Target, Vec<ChunkName>)>,
}

struct Laid {
    bytes: u64,
    used_at: SystemTime,
}

impl Folder {
    /// A folder, which is made, with the chunks that lie there. What was not finished, and what has names as they were before, goes.
    pub(super) fn open(path: &Path, bound: u64) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let mut lying = Lying::default();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let about = entry.metadata()?;
            if let Some(name) = ChunkName::read(&name) {
                lying.lay(name, about.len(), about.modified()?);
            } else if about.is_file() && [".new", "-gz", "-zst"].iter().any(|end| name.ends_with(end)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { path: path.into(), bound, lying: Mutex::new(lying) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn path_of(&self, name: ChunkName) -> PathBuf {
        self.path.join(name.hex())
    }

    /// Notes that an index is being written, or written again, of these.
    pub(super) fn uses(&self, root: &Target, names: Vec<ChunkName>) {
        let now = SystemTime::now();
        let mut lying = self.lying.lock();
        for name in &names {
            if let Some(laid) = lying.files.get_mut(name) {
                laid.used_at = now;
            }
        }
        lying.latest.retain(|(other, _)| other != root);
        lying.latest.push_back((root.clone(), names));
        if lying.latest.len() > SHEETS {
            lying.latest.pop_front();
        }
    }

    /// Notes that a file is there.
    pub(super) fn has(&self, name: ChunkName, bytes: u64) {
        self.lying.lock().lay(name, bytes, SystemTime::now());
    }

    pub(super) fn is_over_bound(&self) -> bool {
        self.lying.lock().bytes > self.bound
    }

    /// Removes what was not used for the longest time; each is told of before it goes. On a thread that may block.
    pub(super) fn sweep(&self, going: impl Fn(ChunkName)) {
        let victims = self.lying.lock().pick(self.bound, self.bound - self.bound / EASED);
        for name in &victims {
            going(*name);
            if let Err(error) = std::fs::remove_file(self.path_of(*name))
                && error.kind() != io::ErrorKind::NotFound
            {
                // It is found again at the next start.
                tracing::debug!(target: "artifactapi::publish", %error, "a piece of an index stays");
            }
        }
        if !victims.is_empty() {
            tracing::debug!(target: "artifactapi::publish", pieces = victims.len(), "old pieces of indexes removed");
        }
    }
}

impl Lying {
    fn lay(&mut self, name: ChunkName, bytes: u64, used_at: SystemTime) {
        let bytes = bytes.next_multiple_of(BLOCK);
        let before = self.files.insert(name, Laid { bytes, used_at });
        self.bytes = self.bytes + bytes - before.map_or(0, |laid| laid.bytes);
    }

    /// Takes off the list what is to go, if there is more than `bound`, until there is no more than `eased`.
    fn pick(&mut self, bound: u64, eased: u64) -> Vec<ChunkName> {
        if self.bytes <= bound {
            return Vec::new();
        }
        let used: HashSet<ChunkName> = self.latest.iter().flat_map(|(_, names)| names).copied().collect();
        let mut may_go: Vec<(SystemTime, ChunkName)> = self
            .files
            .iter()
            .filter(|(name, _)| !used.contains(name))
            .map(|(name, laid)| (laid.used_at, *name))
            .collect();
        may_go.sort_unstable_by_key(|(used_at, _)| *used_at);
        let mut victims = Vec::new();
        for (_, name) in may_go {
            if self.bytes <= eased {
                break;
            }
            self.bytes -= self.files.remove(&name).map_or(0, |laid| laid.bytes);
            victims.push(name);
        }
        victims
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use artifactapi_formats::RepoPath;
    use artifactapi_formats::publish::Compression;

    use super::*;

    fn root(name: &str) -> Target {
        Target::new("ours".parse().expect("a name"), RepoPath::new(name).expect("a path"))
    }

    fn name(number: u8) -> ChunkName {
        let shape = Shape { lists: 3, compression: Compression::Gzip };
        ChunkName::of(&root("a/repodata/repomd.xml"), ChunkKey([number; 16]), shape)
    }

    #[test]
    fn names_tell_apart_what_is_not_the_same() {
        let (key, root) = (ChunkKey([7; 16]), root("a"));
        let shape = Shape { lists: 3, compression: Compression::Gzip };
        let zstd = Shape { compression: Compression::Zstd, ..shape };
        let other = Target::new("theirs".parse().expect("a name"), root.path.clone());
        let names =
            [(&root, shape), (&root, zstd), (&other, shape)].map(|(root, shape)| ChunkName::of(root, key, shape));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 3);
        assert_eq!(ChunkName::read(&names[0].hex()), Some(names[0]));
        assert_eq!(ChunkName::read("0a"), None);
    }

    #[test]
    fn what_was_not_used_for_long_goes_when_there_is_too_much() {
        let folder = tempfile::tempdir().expect("a folder");
        for left in ["0123-gz", "x.1.new", "somebody's"] {
            std::fs::write(folder.path().join(left), b"").expect("written");
        }
        // The higher the number the longer ago it was used. 12 blocks, of which 8 may be there and 7 stay.
        let all: Vec<ChunkName> = (0..12).map(name).collect();
        for (age, name) in (0..).zip(&all) {
            let path = folder.path().join(name.hex());
            std::fs::write(&path, b"a chunk").expect("written");
            let file = std::fs::File::options().write(true).open(&path).expect("opened");
            file.set_modified(SystemTime::now() - Duration::from_secs(3600 * (age + 1))).expect("dated");
        }
        let open = || Folder::open(folder.path(), 8 * BLOCK).expect("opened");
        let lie =
            |names: &[ChunkName]| names.iter().map(|name| folder.path().join(name.hex()).exists()).collect::<Vec<_>>();
        let lying = open();
        assert!(
            folder.path().join("somebody's").exists() && std::fs::read_dir(folder.path()).expect("read").count() == 13
        );
        assert!(lying.is_over_bound());
        lying.uses(&root("old"), vec![all[11]]);
        for number in 0..SHEETS {
            lying.uses(&root(&format!("of {number}")), vec![all[8], all[10]]);
        }
        let told = Mutex::new(Vec::new());
        lying.sweep(|name| told.lock().push(name));
        // 8 and 10 are of the indexes written last; 11 was used since, by an index of before.
        let gone = [9, 7, 6, 5, 4].map(|number| all[number]);
        assert_eq!(*told.lock(), gone);
        assert!(lie(&gone).iter().all(|lies| !lies));
        assert_eq!(lie(&all).iter().filter(|lies| **lies).count(), 7);
        assert!(!lying.is_over_bound() && !open().is_over_bound());

        // What the last indexes use stays, however much it is.
        for name in &all {
            lying.has(*name, 2 * BLOCK);
        }
        lying.uses(&root("of 0"), all);
        lying.sweep(|_| panic!("all are used"));
        assert!(lying.is_over_bound());
    }
}
