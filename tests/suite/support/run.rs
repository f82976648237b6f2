//! What belongs to one test alone: a folder and ports.

use std::collections::hash_map::RandomState;
use std::fs::{File, Permissions};
use std::hash::BuildHasher as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of the test's own, removed at its end. Short and open to other users, because sockets lie below it and
/// PostgreSQL runs as somebody else.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    folder: Arc<tempfile::TempDir>,
}

impl Run {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("aa.").tempdir_in("/tmp").expect("a folder below /tmp");
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("its permissions");
        Self { folder: Arc::new(folder) }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// A folder below, made now.
    pub(crate) fn folder(&self, below: &str) -> PathBuf {
        let folder = self.path(below);
        std::fs::create_dir_all(&folder).expect("a folder of the run");
        folder
    }

    /// A file below, written now.
    pub(crate) fn file(&self, below: &str, content: &str) -> PathBuf {
        write(&self.path(below), content)
    }
}

/// Writes a file, with the folders above it.
pub(crate) fn write(path: &Path, content: &str) -> PathBuf {
    std::fs::create_dir_all(path.parent().expect("a folder above")).expect("the folder above");
    std::fs::write(path, content).expect("a file of the run");
    path.to_owned()
}

/// A port on loopback that stays ours while it is free: another program can be stopped and started on it.
///
/// It lies below the range from which the system takes ports for outgoing connections, and a lock keeps other tests off.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: File,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        const FIRST: u16 = 10_000;
        const COUNT: u64 = 20_000;
        let folder = std::env::temp_dir().join(format!("artifactapi-ports-{}", rustix::process::getuid().as_raw()));
        std::fs::create_dir_all(&folder).expect("a folder for locks");
        let start = RandomState::new().hash_one(std::process::id());
        for attempt in 0..COUNT {
            let number = FIRST + u16::try_from(start.wrapping_add(attempt) % COUNT).expect("below 20,000");
            let lock = File::create(folder.join(number.to_string())).expect("a lock file");
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", u64::from(FIRST) + COUNT);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}
