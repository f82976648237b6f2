//! The seam between the server and a repository format.
//!
//! A [`Format`] promises three things: it says what a path is by its name alone (so that routing needs no file), how
//! long such content may be trusted, and whether bytes are what they claim to be. It never does I/O and never fails on
//! a name: what it does not recognise is a plain file.

use std::fmt;
use std::io::{Read, Seek};

use crate::{Digest, Expected, IndexFormat, Invalid, Limits, MirrorFormat, PublishFormat, RepoPath, Sha256, generic};

/// What a path is, by its name alone (DESIGN 5, FORMATS 4). Decides which time to live applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Changes in place and is the authority for others: `APKINDEX.tar.gz`, `repomd.xml`, `*.adb`, mirror lists. Small
    /// files that change in place and name no packages (`.treeinfo`, `last-updated`) are of this role too, since the same
    /// short time to live is right for them; [`IndexFormat::root_of`] gives no root for those.
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
    /// The same name may hold other bytes tomorrow. A [`Role::File`] of this kind (boot images, keys) may live as long as
    /// files do, but is asked for again after that.
    Mutable,
    /// The name is a convention for content that does not change (a versioned package).
    ByConvention,
    /// The name holds the digest of the content; other bytes under it are wrong.
    Addressed(Digest),
}

/// A repository format. One value per format, in the table that [`crate::find`] searches.
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

    /// The publishing side of the format; `None` for formats whose indexes we do not write, or that have none.
    fn publish(&self) -> Option<&dyn PublishFormat> {
        None
    }

    /// The side that is about lists of mirrors; `None` for formats that have none.
    fn mirrors(&self) -> Option<&dyn MirrorFormat> {
        None
    }
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

    /// The verdict on the whole file, which `whole` reads again from its start. Whoever feeds a checker keeps what it feeds by its
    /// digest: so that nothing is hashed twice, it is told here.
    ///
    /// # Errors
    /// [`Invalid`] when the file is incomplete, damaged or not what was expected.
    fn finish(self: Box<Self>, whole: &mut dyn ReadSeek, sha256: &Sha256) -> Result<(), Invalid>;
}

/// A source that can be read and rewound: a spooled file, a cursor.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}
