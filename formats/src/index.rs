//! The seam between the server and a format's indexes.
//!
//! An index is what sets a package repository apart from a folder: it names the files, says what they must be, and
//! changes while they do not. [`IndexFormat`] promises to find an index's files by name, and to read it in one pass with
//! memory that does not grow with it. It says who signed an index, and never decides freshness or what to keep, nor what
//! to do about an index that nobody signed: that is the engine's.

use std::io::Read;
use std::ops::ControlFlow;

use crate::{Expected, Identity, Invalid, KeyKind, Limits, ReadSeek, RepoPath, SignedBy, TrustedKeys, Untrusted};

/// An index root, named by its entry file: `v3.22/main/x86_64/APKINDEX.tar.gz`, `el9/x86_64/repodata/repomd.xml`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexRoot {
    /// The file clients fetch first.
    pub entry: RepoPath,
}

/// Which files make up an index root, as far as names tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexLayout {
    /// The folder that hrefs are relative to; `""` is the top of the repository.
    pub folder: String,
    /// The entry file.
    pub entry: RepoPath,
    /// Files that switch together with the entry and may be absent: signature, key.
    pub companions: Vec<RepoPath>,
}

/// A file that the entry names with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The index's own word for it: `primary`, `filelists`, `group_gz` and so on; unknown ones are carried.
    pub kind: String,
    /// Where it lies below the repository.
    pub path: RepoPath,
    /// What it must be.
    pub expected: Expected,
}

/// One package as an index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageEntry {
    /// Name.
    pub name: String,
    /// The whole version as the format writes it: `1.2.3-r0` (apk), `[epoch:]version-release` (rpm).
    pub version: String,
    /// Architecture; empty when the index gives none.
    pub arch: String,
    /// Where the file lies below the repository.
    pub path: RepoPath,
    /// Length of the file in bytes as the index says; 0 when it does not.
    pub size: u64,
    /// What the file must be.
    pub identity: Identity,
}

impl PackageEntry {
    /// What a checker should be told. The size goes along only with a digest of the whole file: apk gives sizes that its
    /// clients do not enforce, and that have been wrong (FORMATS 1.4).
    #[must_use]
    pub fn expected(&self) -> Expected {
        let is_enforced = self.size > 0 && matches!(self.identity, Identity::File(_));
        Expected { size: is_enforced.then_some(self.size), identity: self.identity.clone() }
    }
}

/// The index side of a format.
pub trait IndexFormat: Send + Sync {
    /// The root that an index, companion or member path belongs to, by name alone; `None` for everything else.
    fn root_of(&self, path: &RepoPath) -> Option<IndexRoot>;

    /// The entry files that would make `folder` a root, the usual one first; `""` is the top of the repository. Empty when
    /// names do not tell.
    fn entries_in(&self, _folder: &str) -> Vec<RepoPath> {
        Vec::new()
    }

    /// The files of a root.
    fn layout(&self, root: &IndexRoot) -> IndexLayout;

    /// Whether a companion signs the entry, so that another entry must have another one.
    fn is_signature(&self, _companion: &RepoPath) -> bool {
        false
    }

    /// Whether a companion's content is certainly not about this entry: upstream has replaced one of the two and not yet the
    /// other. Needs no key; `false` says nothing.
    fn is_about_another(&self, _companion: &RepoPath, _content: &[u8], _entry: &[u8], _limits: &Limits) -> bool {
        false
    }

    /// The files that the entry names with digests; empty for formats whose entry is the whole index (apk).
    ///
    /// # Errors
    /// [`Invalid`] when the entry is malformed, over a limit, or names a path outside the repository.
    fn members(&self, root: &IndexRoot, entry: &[u8], limits: &Limits) -> Result<Vec<Member>, Invalid>;

    /// When the index was made, in Unix seconds, as far as it says so itself: what tells a mirror that lags behind from one
    /// that is ahead. `None` when it does not say, or cannot be read.
    fn made_at(&self, _root: &IndexRoot, _entry: &[u8], _limits: &Limits) -> Option<u64> {
        None
    }

    /// The file that lists the packages: the entry itself (apk) or a member (rpm: primary). `None` if there is none.
    fn package_list(&self, root: &IndexRoot, members: &[Member]) -> Option<RepoPath>;

    /// Streams the packages that `from`, the file named by [`IndexFormat::package_list`], lists, in its order.
    /// Memory is bounded by `limits`, whatever the size of the index. Packages that nobody can ask this repository for are not handed
    /// out: those that lie elsewhere by a URL of their own, and those whose path is none.
    ///
    /// # Errors
    /// [`Invalid`] when the list is malformed or over a limit; packages seen before that have been handed out.
    fn packages(
        &self,
        root: &IndexRoot,
        from: &mut dyn Read,
        limits: &Limits,
        each: &mut dyn FnMut(PackageEntry) -> ControlFlow<()>,
    ) -> Result<(), Invalid>;

    /// The kind of keys that indexes of this format are signed with; `None` when nobody signs them.
    fn key_kind(&self) -> Option<KeyKind> {
        None
    }

    /// Whether a trusted key signed the entry, as a client that knows the same keys would find. `companions` are those of
    /// [`IndexLayout::companions`] that there are; `now` is in Unix seconds. The entry is read from its start, and held
    /// whole only if a named limit keeps it small.
    ///
    /// # Errors
    /// [`Untrusted`] says why not. An entry that clients cannot read is not trusted either.
    fn verify(
        &self,
        _root: &IndexRoot,
        _entry: &mut dyn ReadSeek,
        _companions: &[(RepoPath, Vec<u8>)],
        _keys: &TrustedKeys,
        _now: u64,
        _limits: &Limits,
    ) -> Result<SignedBy, Untrusted> {
        Err(Untrusted::Unsupported { what: "the index", why: "its format has no signatures".to_owned() })
    }
}
