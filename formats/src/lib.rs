//! Repository formats as pure code: bytes in, values out.
//!
//! This crate knows what a path *is* ([`Format::classify`]), what an index *says* ([`IndexFormat`]) and whether bytes
//! are what they claim to be ([`Checker`]). It does no I/O of its own, knows no clock, no HTTP and no store; whatever it
//! reads is bounded by [`Limits`].
//!
//! # How to add a format
//! 1. Make a folder beside `alpine/` and `rpm/` with a type that implements [`Format`].
//! 2. If the format has indexes, let [`Format::index`] return an [`IndexFormat`].
//! 3. Add one row to `FORMATS`, the table below. `package: "<name>"` in remotes.yaml now selects it; routing, caching,
//!    freshness, checks and prefetch come from the engine, which names no format anywhere.
//!
//! `tests/fourth_format.rs` does just that with a format made for the test.

pub mod alpine;
pub mod decompress;
pub mod digest;
pub mod generic;
pub mod limits;
pub mod path;
pub mod rpm;

use std::fmt;
use std::io::{Read, Seek};
use std::ops::ControlFlow;

pub use digest::{Algorithm, Digest, Hasher, Sha256};
pub use limits::Limits;
pub use path::{InvalidPath, RepoPath};

/// What a path is, by its name alone (DESIGN 5, FORMATS 4). Decides which time to live applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Changes in place and is the authority for others: `APKINDEX.tar.gz`, `repomd.xml`, `*.adb`, mirror lists.
    Index,
    /// Lives and dies with the index it stands beside: `repomd.xml.asc`, `repomd.xml.key`.
    IndexCompanion,
    /// A file the index names: primary, filelists, comps, updateinfo, modules, sqlite, zchunk.
    IndexMember,
    /// What people install: `.apk`, `.rpm`, `.drpm`.
    Package,
    /// Anything else with content of its own.
    File,
    /// A directory listing. Never kept.
    Listing,
}

impl Role {
    /// The word used in logs, metrics and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::IndexCompanion => "index-companion",
            Self::IndexMember => "index-member",
            Self::Package => "package",
            Self::File => "file",
            Self::Listing => "listing",
        }
    }

    /// Whether the path is admitted without matching an include pattern: patterns choose packages and files, and an
    /// index that could not be read would make them useless (DESIGN 5).
    #[must_use]
    pub const fn is_metadata(self) -> bool {
        matches!(self, Self::Index | Self::IndexCompanion | Self::IndexMember)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long content stays what it is, beyond what its role says: the difference between `primary.xml.gz` and
/// `<sha256>-primary.xml.gz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutability {
    /// The same name may hold other bytes tomorrow.
    Mutable,
    /// The name is a convention for content that does not change (a versioned package).
    ByConvention,
    /// The name holds the digest of the content; other bytes under it are wrong.
    Addressed(Digest),
}

/// A repository format. One value per format, in the table that [`find`] searches.
pub trait Format: Send + Sync {
    /// The word in `package:` of remotes.yaml.
    fn name(&self) -> &'static str;

    /// What `path` is, by its name alone. Never fails: what is not recognised is a [`Role::File`].
    fn classify(&self, path: &RepoPath) -> Role;

    /// Whether `path` may hold other bytes tomorrow.
    fn mutability(&self, path: &RepoPath) -> Mutability;

    /// The media type of `path`, by its name alone.
    fn content_type(&self, path: &RepoPath) -> &'static str {
        generic::content_type(path)
    }

    /// A fresh checker for bytes that claim to be `path`. `None` when nothing can be said about them.
    ///
    /// `expected` is what an index says of the path, when one is held.
    fn checker(&self, path: &RepoPath, expected: Option<&Expected>, limits: &Limits) -> Option<Box<dyn Checker>>;

    /// The query string (without `?`) as far as it changes the answer; `None` drops it (FORMATS 3.7: `countme`).
    fn query_key<'q>(&self, _path: &RepoPath, query: &'q str) -> Option<std::borrow::Cow<'q, str>> {
        Some(query.into())
    }

    /// The index side of the format; `None` for formats without indexes.
    fn index(&self) -> Option<&dyn IndexFormat>;
}

/// What an index says a file must be. Absent parts are unknown, not arbitrary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Length in bytes of the file as stored, if the index gives it and clients enforce it.
    pub size: Option<u64>,
    /// How the content is identified.
    pub identity: Identity,
}

/// How an index identifies a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A digest over the whole file (rpm primary, repomd members).
    File(Digest),
    /// A digest over the control member of an apk v2 package (`C:`, FORMATS 1.4); its data member is then bound by
    /// `datahash`.
    ApkControl(Digest),
    /// SHA-256 of the ADB payload of an apk v3 package (FORMATS 2.3).
    ApkAdb(Digest),
}

/// Looks at a file's bytes while they stream, and says at the end whether they are what they claim to be.
///
/// Work is done in `update` where one pass is enough (packages, digests). A checker that must parse the whole (an index)
/// does it in `finish`, which is handed the complete file. Memory is bounded by [`Limits`] either way.
pub trait Checker: Send {
    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// [`Invalid`] as soon as the bytes cannot be right any more; nothing need be fed after that.
    fn update(&mut self, bytes: &[u8]) -> Result<(), Invalid>;

    /// The verdict on the whole file, which `whole` reads again from its start.
    ///
    /// # Errors
    /// [`Invalid`] when the file is incomplete, damaged or not what was expected.
    fn finish(self: Box<Self>, whole: &mut dyn ReadSeek) -> Result<(), Invalid>;
}

/// A source that can be read and rewound: a spooled file, a cursor.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

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

/// The index side of a format.
pub trait IndexFormat: Send + Sync {
    /// The root that an index, companion or member path belongs to, by name alone; `None` for everything else.
    fn root_of(&self, path: &RepoPath) -> Option<IndexRoot>;

    /// The files of a root.
    fn layout(&self, root: &IndexRoot) -> IndexLayout;

    /// The files that the entry names with digests; empty for formats whose entry is the whole index (apk).
    ///
    /// # Errors
    /// [`Invalid`] when the entry is malformed, over a limit, or names a path outside the repository.
    fn members(&self, root: &IndexRoot, entry: &[u8], limits: &Limits) -> Result<Vec<Member>, Invalid>;

    /// The file that lists the packages: the entry itself (apk) or a member (rpm: primary). `None` if there is none.
    fn package_list(&self, root: &IndexRoot, members: &[Member]) -> Option<RepoPath>;

    /// Streams the packages that `from`, the file named by [`IndexFormat::package_list`], lists, in its order.
    /// Memory does not grow with the size of the index.
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
}

/// Bytes that are not what they claim to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The file does not follow its format.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// Which file or part of it.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Right so far, but it ends too early.
    #[error("{what} ends before it is complete")]
    Truncated {
        /// Which file or part of it.
        what: &'static str,
    },
    /// A named limit of [`Limits`] was reached.
    #[error("{what} is over the limit {limit} ({value})")]
    OverLimit {
        /// What was too big.
        what: &'static str,
        /// The field of [`Limits`].
        limit: &'static str,
        /// Its value.
        value: u64,
    },
    /// A digest differs.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// What the digest covers.
        what: &'static str,
        /// From the index or the name.
        expected: String,
        /// Of the bytes.
        found: String,
    },
    /// Reading failed for a reason outside the bytes.
    #[error("reading failed: {0}")]
    Read(std::io::Error),
}

impl Invalid {
    /// Shorthand for [`Invalid::Malformed`].
    pub fn malformed(what: &'static str, why: impl Into<String>) -> Self {
        Self::Malformed { what, why: why.into() }
    }
}

/// Every format there is. Adding one is adding a row.
static FORMATS: &[&dyn Format] = &[&generic::Generic, &alpine::Alpine, &rpm::Rpm];

/// The format that `package: "<name>"` selects.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// The names that `package:` takes, for error messages.
pub fn names() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|format| format.name())
}
