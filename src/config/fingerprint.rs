//! What a reading of the configuration read: enough to tell whether the next one would read the same.
//!
//! Besides the file itself that is every file with a secret that it names: a rotated password is a new configuration
//! although not a byte of remotes.yaml changed. Not for showing: a digest over a password helps to guess it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use artifactapi_formats::Sha256;

/// The files read, each with the digest of what was in it; `None` for one that could not be read.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Fingerprint(Vec<(PathBuf, Option<Sha256>)>);

/// The biggest file taken, in bytes: as big as a Kubernetes ConfigMap or Secret can be.
const FILE_BYTES: u64 = 1 << 20;

impl Fingerprint {
    /// Reads a file for the configuration and takes note of what was in it.
    pub(super) fn read(&mut self, file: &Path) -> io::Result<Vec<u8>> {
        let content = read(file);
        self.0.push((file.to_owned(), content.as_deref().ok().map(Sha256::of)));
        content
    }

    /// Whether reading the same files again would read something else.
    pub(super) fn is_outdated(&self) -> bool {
        self.0.iter().any(|(file, digest)| read(file).as_deref().ok().map(Sha256::of) != *digest)
    }

    /// The folders in which a change may make it outdated: those of the files, and where a file is a link, those of what
    /// it leads to.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        let names = self.0.iter().map(|(file, _)| file.clone());
        let targets = self.0.iter().filter_map(|(file, _)| std::fs::canonicalize(file).ok());
        names.chain(targets).map(|file| folder_of(&file).to_owned()).collect()
    }
}

/// The folder that holds a file; `.` for a bare name.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {FILE_BYTES} bytes")));
    }
    Ok(bytes)
}
