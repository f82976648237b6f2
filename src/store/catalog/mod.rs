//! Records about artifacts: which blob a path has now, since when, and what upstream said of it.
//!
//! A [`Catalog`] promises:
//! - **Compare and set.** [`Catalog::publish`] makes an artifact current only if nothing else became current meanwhile.
//!   This, and not any lock, is what keeps replicas from contradicting each other (DESIGN 4.4).
//! - **Atomic.** A publication is seen whole or not at all, also after a crash.
//! - **Garbage is remembered.** A blob that a publication or removal leaves without a record is listed by
//!   [`Catalog::take_garbage`] after its grace time, so that deletion is catalog first, blob after.
//!
//! It never sees bytes, never decides freshness, and is never asked on the path of a fresh hit. A lost race is
//! [`Published::Lost`], an absent record is `None`; neither is an error.

mod error;
mod fragment_sql;
pub mod fragments;
mod pool;
pub mod postgres;
mod row;
mod snapshot_rows;
mod snapshot_sql;
pub mod snapshots;
mod sql;
pub mod sqlite;
pub mod tokens;

#[cfg(test)]
mod conformance;

use std::time::{Duration, SystemTime};

use artifactapi_formats::{Identity, Sha256};
use async_trait::async_trait;

use super::key::{BlobKey, RepositoryName, Target};

/// How long a key may not be named again after its blob was deleted: longer than anybody takes from writing a blob to
/// publishing it. Otherwise a blob could be written, deleted by a taker who took it before, and then be named.
pub const KEY_REST: Duration = Duration::from_secs(600);

/// How far the clocks of replicas may be apart. A confirmation from further ahead is not believed: some clock was wrong when it was
/// noted, and until then nothing newer would ever be.
pub const CLOCKS_APART: Duration = Duration::from_secs(300);

/// The catalog's record of one path. Times have whole milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it is the content of.
    pub target: Target,
    /// Another with each publication; the value to compare and set against.
    pub revision: Revision,
    /// Where the bytes are.
    pub blob: BlobKey,
    /// Length in bytes.
    pub size: u64,
    /// Digest of the bytes.
    pub sha256: Sha256,
    /// Media type to answer with.
    pub content_type: String,
    /// What upstream said, for the next conditional request.
    pub validators: Validators,
    /// The Last-Modified that clients are given; never earlier than when this revision of an index was first served
    /// (FORMATS 1.6).
    pub last_modified: SystemTime,
    /// When the bytes were fetched or uploaded.
    pub stored_at: SystemTime,
    /// When upstream last confirmed that they are current.
    pub checked_at: SystemTime,
    /// What the content was checked against; `None` when that is not known.
    pub identity: Option<Identity>,
}

impl Artifact {
    /// The record that bytes will have, `size` of them, which came `at` this moment: under the first key of their path, confirmed and
    /// shown since then, and without anything that upstream or an index says of them.
    #[must_use]
    pub fn unpublished(
        target: Target,
        size: u64,
        sha256: Sha256,
        content_type: impl Into<String>,
        at: SystemTime,
    ) -> Self {
        Self {
            revision: Revision::UNPUBLISHED,
            blob: target.first_blob_key(),
            target,
            size,
            sha256,
            content_type: content_type.into(),
            validators: Validators::default(),
            last_modified: at,
            stored_at: at,
            checked_at: at,
            identity: None,
        }
    }
}

/// The number of one publication. Grows from one publication of a target to the next, and no value comes twice, not even
/// after a removal: who remembers a revision can never take a later record for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

impl Revision {
    /// Of what was never published; every publication has a later one.
    pub const UNPUBLISHED: Self = Self(0);
}

/// Upstream's validators, verbatim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// What [`Catalog::publish`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The artifact is current, with this revision.
    Won(Revision),
    /// Something else became (or stopped being) current first; this is it.
    Lost(Option<Box<Artifact>>),
    /// The blob is just being deleted as garbage, or was within [`KEY_REST`], and may not be named: keep the bytes under
    /// another key, or not at all. What was written under this one is garbage.
    BlobLeaving,
}

/// One page of [`Catalog::list`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only paths that start with this; empty for all.
    pub prefix: String,
    /// Only what sorts after this (path, query): the last row of the page before.
    pub after: Option<(String, String)>,
    /// At most so many rows.
    pub limit: u32,
}

/// How often and when an artifact was asked for, added up over a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Of what.
    pub target: Target,
    /// How often since the last report.
    pub count: u64,
    /// When last.
    pub last: SystemTime,
}

/// Totals for a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Artifacts.
    pub artifacts: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A store of artifact records. The module's text is the contract.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// The current record of a target.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer; absence is `Ok(None)`.
    async fn lookup(&self, target: &Target) -> Result<Option<Artifact>, CatalogError>;

    /// Makes `artifact` the current record of its target if the current one is (still) `replaces`; `None` means that
    /// there must be none. `artifact.revision` is ignored. The blob of the record that is replaced, if another, becomes
    /// garbage as of `artifact.stored_at`; the blob named now stops being garbage. The blob of a publication that lost is
    /// garbage unless a record names it.
    ///
    /// # Errors
    /// [`CatalogError`]; whether the publication happened is then unknown only for
    /// [`CatalogErrorKind::Unavailable`], and trying again with the same arguments is safe.
    async fn publish(&self, artifact: &Artifact, replaces: Option<Revision>) -> Result<Published, CatalogError>;

    /// Notes that upstream confirmed the record of `revision` at `checked_at`. `false` if it is no longer current.
    /// Never moves `checked_at` backwards, unless what is noted lies more than [`CLOCKS_APART`] ahead of this confirmation.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn touch(
        &self,
        target: &Target,
        revision: Revision,
        checked_at: SystemTime,
        validators: &Validators,
    ) -> Result<bool, CatalogError>;

    /// Removes the record of `revision`; its blob becomes garbage as of `now`. `false` if it is no longer current.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn remove(&self, target: &Target, revision: Revision, now: SystemTime) -> Result<bool, CatalogError>;

    /// Records of a repository in the byte order of (path, query).
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn list(&self, repository: &RepositoryName, page: &ListQuery) -> Result<Vec<Artifact>, CatalogError>;

    /// How much a repository holds. May be seconds old.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn totals(&self, repository: &RepositoryName) -> Result<Totals, CatalogError>;

    /// The repositories that hold anything, whoever configured them, in the byte order of their names.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn repositories(&self) -> Result<Vec<RepositoryName>, CatalogError>;

    /// Adds up uses. Targets without a record are passed over.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn record_uses(&self, uses: &[Use]) -> Result<(), CatalogError>;

    /// Takes up to `limit` blobs that have been garbage since before `before`, and that no record names, for deletion.
    /// From here on none of them can be published again ([`Published::BlobLeaving`]) until [`KEY_REST`] after
    /// [`Catalog::garbage_deleted`]. A taker that dies is followed by another once `before` has passed the time of taking,
    /// so whoever takes must be done deleting within that grace.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn take_garbage(&self, before: SystemTime, limit: u32) -> Result<Vec<BlobKey>, CatalogError>;

    /// Whether a blob is listed as garbage, and not known to be deleted: it was staged, or lost what named it.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn is_garbage(&self, blob: &BlobKey) -> Result<bool, CatalogError>;

    /// The blobs are gone from the store; their keys may be used again after [`KEY_REST`]. One that somebody has tried to name since
    /// it was taken was written again, maybe after it was deleted, and so it is taken and deleted once more.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    async fn garbage_deleted(&self, blobs: &[BlobKey]) -> Result<(), CatalogError>;

    /// Whether the catalog answers now: one cheap round trip.
    ///
    /// # Errors
    /// [`CatalogError`] saying what is wrong and what to do.
    async fn ping(&self) -> Result<(), CatalogError>;
}

/// Why a catalog cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("catalog: {kind} ({during})")]
pub struct CatalogError {
    /// What kind of trouble.
    pub kind: CatalogErrorKind,
    /// What was being done.
    pub during: &'static str,
    /// The database's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of [`CatalogError`], by what the caller does about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CatalogErrorKind {
    /// Not reachable or too slow: degrade, try again later.
    #[error("the database is not reachable")]
    Unavailable,
    /// No space left.
    #[error("the database is full")]
    Full,
    /// Credentials, a missing database, a failed migration: an operator must act.
    #[error("the database refuses to work with us")]
    Refused,
    /// A row does not read as what was written.
    #[error("a record is damaged")]
    Damaged,
}
