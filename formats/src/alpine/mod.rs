//! Alpine repositories: apk v2 (`APKINDEX.tar.gz`) and v3 (`*.adb`) indexes and their packages (FORMATS 1 and 2).
//!
//! An index here is one file: no companions and no members, because its signature lies inside it. It names packages by
//! name, version and architecture only; where they lie follows from those (`place.rs`), and what they must be from a
//! digest over a *part* of the package (`package.rs`).

mod adb;
mod checksum;
mod gzip;
mod index;
mod names;
mod package;
mod package_v2;
mod pkginfo;
mod place;
mod publish;
mod signature;
mod stanza;
mod tar;
#[cfg(test)]
mod tests;
mod version;

use std::io::Read;
use std::ops::ControlFlow;

use crate::check::{Opening, WholeFile};
use crate::{
    Checker, Expected, Format, Identity, IndexFormat, IndexLayout, IndexRoot, Invalid, KeyKind, Limits, Member,
    Mutability, PackageEntry, PublishFormat, ReadSeek, RepoPath, Role, SignedBy, TrustedKeys, Untrusted,
};

/// The format of `package: "alpine"`.
#[derive(Debug, Clone, Copy)]
pub struct Alpine;

impl Format for Alpine {
    fn name(&self) -> &'static str {
        "alpine"
    }

    fn classify(&self, path: &RepoPath) -> Role {
        names::classify(path)
    }

    fn mutability(&self, path: &RepoPath) -> Mutability {
        names::mutability(path)
    }

    fn checker(&self, path: &RepoPath, expected: Option<&Expected>, limits: &Limits) -> Option<Box<dyn Checker>> {
        if let Some(Expected { size, identity: Identity::File(digest) }) = expected {
            return Some(Box::new(WholeFile::new("file", *size, [digest.clone()])));
        }
        let root = || IndexRoot { entry: path.clone() };
        match path.file_name() {
            name if names::is_v2_entry(name) => Some(Box::new(index::IndexCheck::new(&root(), limits))),
            name if names::is_entry(name) => Some(Box::new(adb::IndexCheck::new(root(), limits))),
            name if name.ends_with(".apk") => Some(Box::new(package::PackageChecker::new(expected, limits))),
            name if name.ends_with(".rsa.pub") => Some(Box::new(Opening::new("public key", is_public_key))),
            _ => None,
        }
    }

    fn index(&self) -> Option<&dyn IndexFormat> {
        Some(self)
    }

    fn publish(&self) -> Option<&dyn PublishFormat> {
        Some(self)
    }
}

impl IndexFormat for Alpine {
    fn root_of(&self, path: &RepoPath) -> Option<IndexRoot> {
        names::is_entry(path.file_name()).then(|| IndexRoot { entry: path.clone() })
    }

    fn entries_in(&self, folder: &str) -> Vec<RepoPath> {
        names::ENTRIES.iter().filter_map(|name| RepoPath::join(folder, name).ok()).collect()
    }

    fn layout(&self, root: &IndexRoot) -> IndexLayout {
        IndexLayout { folder: root.entry.folder().to_owned(), entry: root.entry.clone(), companions: Vec::new() }
    }

    fn members(&self, _root: &IndexRoot, _entry: &[u8], _limits: &Limits) -> Result<Vec<Member>, Invalid> {
        Ok(Vec::new())
    }

    fn made_at(&self, root: &IndexRoot, entry: &[u8], limits: &Limits) -> Option<u64> {
        // v3 indexes say nothing of the kind.
        if names::is_v2_entry(root.entry.file_name()) { index::made_at(root, entry, limits) } else { None }
    }

    fn package_list(&self, root: &IndexRoot, _members: &[Member]) -> Option<RepoPath> {
        Some(root.entry.clone())
    }

    fn packages(
        &self,
        root: &IndexRoot,
        from: &mut dyn Read,
        limits: &Limits,
        each: &mut dyn FnMut(PackageEntry) -> ControlFlow<()>,
    ) -> Result<(), Invalid> {
        if names::is_v2_entry(root.entry.file_name()) {
            index::packages(root, from, limits, each)
        } else {
            adb::packages(root, from, limits, each)
        }
    }

    fn key_kind(&self) -> Option<KeyKind> {
        Some(KeyKind::PublicKey)
    }

    fn verify(
        &self,
        root: &IndexRoot,
        entry: &mut dyn ReadSeek,
        _companions: &[(RepoPath, Vec<u8>)],
        keys: &TrustedKeys,
        _now: u64,
        limits: &Limits,
    ) -> Result<SignedBy, Untrusted> {
        // Plain keys know no time.
        if names::is_v2_entry(root.entry.file_name()) {
            index::verify(root, entry, keys, limits)
        } else {
            adb::verify(entry, keys, limits)
        }
    }
}

/// Keys are asked for by name and kept for long, so a page in place of one would stay (FORMATS 1.2).
fn is_public_key(what: &'static str, head: &[u8]) -> Result<(), Invalid> {
    if head.starts_with(b"-----BEGIN ") { Ok(()) } else { Err(Invalid::malformed(what, "it is not a PEM file")) }
}
