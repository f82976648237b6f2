//! Snapshots: which files and packages an index root was made of, generation after generation (DESIGN 6).
//!
//! A [`Snapshots`] promises:
//! - **One transaction switches.** [`Snapshots::publish_snapshot`] makes every file of a snapshot the current record of its
//!   path, its package list the current one, and takes the records of packages that became others out of the way, all at
//!   once or not at all, and only if the root's current snapshot is still the one that it was built to follow.
//! - **Only differences are written.** A package has one row for as long as successive snapshots name it unchanged; the row
//!   says the first and the last of them. A refresh that changes 50 of 60,000 packages writes about 50 rows.
//! - **Nothing named is garbage.** A blob that a kept snapshot's file, a past package or an artifact record names is never
//!   handed out by [`Catalog::take_garbage`](super::Catalog::take_garbage).
//! - **A draft is invisible**, however much of it is written, until it is published; one that never is goes away with the
//!   next publication or expiry.
//!
//! It is the same database as the [`Catalog`](super::Catalog) and is never asked on the path of a fresh hit. It knows no
//! format and decides nothing about freshness or trust.

use std::time::SystemTime;

use artifactapi_formats::{Identity, PackageEntry, RepoPath, Sha256};
use async_trait::async_trait;

use super::{Artifact, CatalogError};
use crate::store::key::{BlobKey, RepositoryName, Target};

/// The most rows that one call takes or gives.
pub const ROWS: u32 = 1_000;

/// The number of a snapshot. Grows with each draft, over all roots; no value comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub i64);

/// The number of a package's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageRowId(pub i64);

/// A name that a person gave to a snapshot of a root: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter,
/// so that it is neither a date nor a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// Why a text is not a [`Tag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter")]
pub struct InvalidTag;

impl Tag {
    /// The longest tag taken, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if starts_well && text.len() <= Self::MAX_BYTES && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTag)
        }
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One generation of an index root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number.
    pub id: SnapshotId,
    /// The root, named by its entry file.
    pub root: Target,
    /// When it was published here. Strictly grows from one snapshot of a root to the next.
    pub published_at: SystemTime,
    /// When the index was made, as far as it says so itself.
    pub made_at: Option<SystemTime>,
    /// The host that it came from; empty for one that was made here.
    pub source: String,
    /// How many packages it names.
    pub packages: u64,
    /// Tags it has.
    pub tags: Vec<Tag>,
    /// Entry file, companions and members that are held, the entry first. Their `revision` is that of the record which this
    /// snapshot made current; it need not be current any more.
    pub files: Vec<Artifact>,
}

impl Snapshot {
    /// The file of a path.
    #[must_use]
    pub fn file(&self, path: &RepoPath) -> Option<&Artifact> {
        self.files.iter().find(|file| file.target.path == *path)
    }
}

/// A snapshot that is being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draft {
    /// Its number once it is published.
    pub id: SnapshotId,
    /// The root's current snapshot when the draft began: the one it is to follow.
    pub follows: Option<SnapshotId>,
}

/// What [`Snapshots::publish_snapshot`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotPublished {
    /// It is current. `replaced` are the packages whose records were taken out of the way because their path now stands for
    /// other content.
    Won {
        /// The snapshot as it is now recorded, with the revisions of its files.
        snapshot: Box<Snapshot>,
        /// Packages to be fetched anew.
        replaced: Vec<Target>,
    },
    /// Another snapshot became current first, or the draft is gone.
    Lost(Option<SnapshotId>),
    /// A blob of the snapshot is just being deleted as garbage; write it under another key and try again.
    BlobLeaving(BlobKey),
}

/// 128 bits that tell one package entry from every other: path, identity, name, version, architecture and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackageMark(pub [u8; 16]);

impl PackageMark {
    /// The mark of an entry.
    #[must_use]
    pub fn of(package: &PackageEntry) -> Self {
        let mut hasher = artifactapi_formats::Algorithm::Sha256.hasher();
        let identity = package.identity.to_string();
        let size = package.size.to_string();
        for text in [package.path.as_str(), &identity, &package.name, &package.version, &package.arch, &size] {
            hasher.update(text.as_bytes());
            hasher.update(b"\0");
        }
        let mut mark = [0; 16];
        mark.iter_mut().zip(hasher.finish().bytes()).for_each(|(to, from)| *to = *from);
        Self(mark)
    }
}

/// Which generation is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The current one of each root.
    Current,
    /// This one.
    Of(SnapshotId),
    /// All that are kept.
    Any,
}

/// A package as a snapshot names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPackage {
    /// Its row.
    pub row: PackageRowId,
    /// The root that names it.
    pub root: Target,
    /// What the index says.
    pub package: PackageEntry,
    /// The first snapshot that named it so.
    pub first: SnapshotId,
    /// The last one; `None` while the current one does.
    pub last: Option<SnapshotId>,
}

/// What packages to look for. Absent parts match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageQuery {
    /// The whole name.
    pub name: Option<String>,
    /// The whole version as the format writes it.
    pub version: Option<String>,
    /// The whole architecture.
    pub arch: Option<String>,
    /// The file name (last segment of the path).
    pub file: Option<String>,
    /// The root, by its entry's path.
    pub root: Option<RepoPath>,
    /// Only rows after this one: the last of the page before.
    pub after: Option<PackageRowId>,
    /// At most so many, and never more than [`ROWS`].
    pub limit: u32,
}

/// One difference between two snapshots of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChange {
    /// What the one that is compared names.
    pub from: Option<PackageEntry>,
    /// What the one it is compared with names. With `from`, the path stayed and the content or its description changed.
    pub to: Option<PackageEntry>,
}

impl PackageChange {
    /// The path that it is about.
    #[must_use]
    pub fn path(&self) -> Option<&RepoPath> {
        self.to.as_ref().or(self.from.as_ref()).map(|package| &package.path)
    }
}

/// A held file that may be evicted, with when it was last used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coldest {
    /// The record.
    pub artifact: Artifact,
    /// When it was last asked for; when it was stored, if never since.
    pub last_used: SystemTime,
}

/// What [`Snapshots::expire`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Snapshots.
    pub snapshots: u64,
    /// Package rows that no kept snapshot names.
    pub packages: u64,
    /// Past contents of packages.
    pub past: u64,
}

/// A store of snapshots. The module's text is the contract; every method fails with [`CatalogError`] when the database
/// cannot answer.
#[allow(clippy::missing_errors_doc, reason = "said once, on the trait")]
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// The current snapshot of a root.
    async fn current(&self, root: &Target) -> Result<Option<Snapshot>, CatalogError>;

    /// Lists blobs that are about to be written for a snapshot as garbage since `at`, so that they go away if it is never
    /// published. Publishing it takes them off the list. Returns those that must not be written, for they are just being
    /// deleted or were within [`KEY_REST`](super::KEY_REST); nothing changes about these.
    async fn stage(&self, blobs: &[BlobKey], at: SystemTime) -> Result<Vec<BlobKey>, CatalogError>;

    /// Begins a draft of the next snapshot of `root`.
    async fn begin(&self, root: &Target, at: SystemTime) -> Result<Draft, CatalogError>;

    /// The marks of all packages that the current snapshot of `root` names. 24 bytes for each.
    async fn marks(&self, root: &Target) -> Result<Vec<(PackageMark, PackageRowId)>, CatalogError>;

    /// Adds packages that the draft names and the snapshot it follows does not. At most [`ROWS`] a call. Naming a draft
    /// that is gone is no error; publishing it is then [`SnapshotPublished::Lost`].
    async fn add_packages(&self, draft: SnapshotId, packages: &[PackageEntry]) -> Result<(), CatalogError>;

    /// Says which packages of the snapshot it follows the draft does not name. At most [`ROWS`] a call.
    async fn drop_packages(&self, draft: SnapshotId, rows: &[PackageRowId]) -> Result<(), CatalogError>;

    /// Makes the draft `snapshot.id` the current snapshot of its root, if the current one is still `follows`. Each of
    /// `snapshot.files` becomes the current record of its target (their `revision` is ignored; one whose record has the same
    /// SHA-256 already keeps that record, with `checked_at` moved forward). The record of a package whose path now has
    /// another identity, or whose SHA-256 contradicts it, is kept as a past content of that path, and so is each of the
    /// `retired`: records of what the snapshot names no more, which go away with its publication unless they have changed
    /// (`revision`). Drafts of the same root that began earlier go away.
    async fn publish_snapshot(
        &self,
        snapshot: &Snapshot,
        follows: Option<SnapshotId>,
        retired: &[Artifact],
    ) -> Result<SnapshotPublished, CatalogError>;

    /// Gives up a draft.
    async fn abandon(&self, draft: SnapshotId) -> Result<(), CatalogError>;

    /// A snapshot by its number, with its files. Drafts are not found.
    async fn snapshot(&self, id: SnapshotId) -> Result<Option<Snapshot>, CatalogError>;

    /// The newest snapshot of a root that was published at `at` or earlier.
    async fn snapshot_at(&self, root: &Target, at: SystemTime) -> Result<Option<Snapshot>, CatalogError>;

    /// The newest snapshot of a root that has this entry.
    async fn with_entry(&self, root: &Target, entry: &Sha256) -> Result<Option<Snapshot>, CatalogError>;

    /// The newest snapshot of a root that has a file of this path.
    async fn with_file(&self, root: &Target, path: &RepoPath) -> Result<Option<Snapshot>, CatalogError>;

    /// The oldest snapshot of a root that is kept, without its files.
    async fn oldest(&self, root: &Target) -> Result<Option<Snapshot>, CatalogError>;

    /// The snapshot of a root that has a tag.
    async fn tagged(&self, root: &Target, tag: &Tag) -> Result<Option<Snapshot>, CatalogError>;

    /// Snapshots of a root, newest first, without their files; only those before `before`.
    async fn snapshots(
        &self,
        root: &Target,
        before: Option<SnapshotId>,
        limit: u32,
    ) -> Result<Vec<Snapshot>, CatalogError>;

    /// The roots of a repository that have a snapshot, in the order of their entries' paths; only those after `after`.
    async fn roots(
        &self,
        repository: &RepositoryName,
        after: Option<&RepoPath>,
        limit: u32,
    ) -> Result<Vec<Target>, CatalogError>;

    /// Gives a snapshot a tag, taking it from any other snapshot of the same root. `false` if there is no such snapshot.
    async fn tag(&self, id: SnapshotId, tag: &Tag) -> Result<bool, CatalogError>;

    /// Takes a tag away. `false` if there was none.
    async fn untag(&self, root: &Target, tag: &Tag) -> Result<bool, CatalogError>;

    /// What the indexes of a repository say of a path: usually one package, none if no root names it, several if roots share
    /// a file. At most [`ROWS`]: of all generations ([`Generation::Any`]) the newest, newest first.
    async fn named(
        &self,
        repository: &RepositoryName,
        path: &RepoPath,
        generation: Generation,
    ) -> Result<Vec<NamedPackage>, CatalogError>;

    /// Packages that the current snapshots of a repository name, in the order of their rows.
    async fn search(
        &self,
        repository: &RepositoryName,
        query: &PackageQuery,
    ) -> Result<Vec<NamedPackage>, CatalogError>;

    /// What differs between two snapshots of one root, in the byte order of paths; only paths after `after`.
    async fn diff(
        &self,
        from: SnapshotId,
        to: SnapshotId,
        after: Option<&RepoPath>,
        limit: u32,
    ) -> Result<Vec<PackageChange>, CatalogError>;

    /// Packages that `snapshot` is the first to name, in the order of their rows, only those after `after`. Of a draft, whoever
    /// has its number sees those that were added so far.
    async fn added(
        &self,
        snapshot: SnapshotId,
        after: Option<PackageRowId>,
        limit: u32,
    ) -> Result<Vec<NamedPackage>, CatalogError>;

    /// Those of [`Snapshots::added`] of which another build (same name and architecture) is held or was: newer builds of what
    /// clients use.
    async fn renewals(
        &self,
        snapshot: SnapshotId,
        after: Option<PackageRowId>,
        limit: u32,
    ) -> Result<Vec<NamedPackage>, CatalogError>;

    /// A past or current content of a path that is still kept, by its identity or by its SHA-256.
    async fn content(
        &self,
        target: &Target,
        identity: &Identity,
        sha256: Option<&Sha256>,
    ) -> Result<Option<Artifact>, CatalogError>;

    /// Removes what nobody needs any more: snapshots of `repository` that were followed by another before `before` and have
    /// no tag, abandoned drafts that began before it, package rows that no kept snapshot names, past contents of packages
    /// from before it that no tagged snapshot names. At most about [`ROWS`] rows a call; all zeros when there was nothing.
    async fn expire(
        &self,
        repository: &RepositoryName,
        before: SystemTime,
        now: SystemTime,
    ) -> Result<Expired, CatalogError>;

    /// Removes a part of all that is known of the indexes of a repository, so that its name is like new: packages and tags first, then
    /// its roots' current snapshots are current no more and go as expired ones do, and so do drafts and past contents. Fragments are
    /// swept when no package has them. At most about [`ROWS`] rows a call; all zeros when there was nothing.
    async fn purge(&self, repository: &RepositoryName, now: SystemTime) -> Result<Expired, CatalogError>;

    /// Held files of a repository (of all, if `None`) in the order in which they should go: least recently used first, and
    /// never a file of a current or tagged snapshot; only those after `after`.
    async fn coldest(
        &self,
        repository: Option<&RepositoryName>,
        after: Option<&Coldest>,
        limit: u32,
    ) -> Result<Vec<Coldest>, CatalogError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        for good in ["stable", "v3.22-2025_06", "A"] {
            assert_eq!(good.parse::<Tag>().map(|tag| tag.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "2025-06-01", "7", "-x", "a/b", "a b", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Tag>(), Err(InvalidTag), "{bad}");
        }
    }
}
