//! Making a catalog from the store alone.
//!
//! Each blob carries what is needed to write its record ([`BlobAbout`]), so a catalog that was lost, or a bucket that was
//! copied, is no reason to fetch everything again. [`Rebuild::run`] walks the store once and makes the newest content of
//! each target its current one. Then the indexes of local repositories are published again ([`listings`]): what was uploaded can
//! be installed.
//!
//! A blob that was cached by its absolute URL, as earlier versions did, has no repository of its own. It becomes the content of a
//! path if exactly one configured remote is fetched from there and admits it; otherwise it is left alone.
//!
//! It promises to be harmless: a record is only ever replaced by compare-and-set, and only by a newer content of what an upstream
//! has, so it can run beside a live server, be stopped at any moment and run again. What was uploaded is replaced by nothing: newer
//! bytes may be such as were refused, and the index names the others. A blob that does not say what it is, is damaged,
//! or lies where its own description does not put it, is left alone. Memory does not grow with the store: blobs are looked at as
//! the listing streams in, [`AT_ONCE`] at a time. What the catalog knows as a past content stays that, and as garbage, too.
//!
//! If the catalog was lost, the newest content of each path is taken, and nothing in the store tells what was taken back from what
//! was lost: what had been removed on purpose comes back for as long as its bytes are still there, and so may a content that was
//! replaced by one that the path had had before, whose bytes say when they came first.

mod listings;

use artifactapi_formats::{Identity, RepoPath, Role};
use futures_util::StreamExt as _;
use url::Url;

use super::batch::origin;
use super::freshness::last_modified;
use super::publish::{PublishError, Publisher};
use crate::config::{Admission, Kind, Repositories};
use crate::store::blobs::{BlobAbout, BlobError, BlobErrorKind, BlobStore};
use crate::store::catalog::snapshots::Snapshots;
use crate::store::catalog::{Artifact, Catalog, CatalogError, Published, Validators};
use crate::store::key::{BlobKey, RepositoryName, Target};

/// How many blobs are looked at, and their records written, at once.
pub const AT_ONCE: usize = 16;

/// How often a lost race for one target is tried again.
const TRIES: usize = 8;

/// What a rebuild has come to so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Blobs looked at.
    pub blobs: u64,
    /// Records made or replaced.
    pub published: u64,
    /// Blobs whose record was there already.
    pub current: u64,
    /// Blobs of which the catalog has a newer content.
    pub older: u64,
    /// Blobs that say nothing of themselves, or belong to no repository path.
    pub foreign: u64,
    /// Blobs whose description cannot be read, or is not of the bytes that are there.
    pub damaged: u64,
    /// Packages and other files of ours that an index has again.
    pub listed: u64,
    /// Those that no index of ours takes, as they are.
    pub unlisted: u64,
}

/// Why a rebuild stopped. Running it again goes on where it matters.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The store does not answer.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The catalog does not answer.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// An index could not be published.
    #[error("the index {root} cannot be published again: {why}")]
    Publish {
        /// Which.
        root: Target,
        /// Why not.
        why: PublishError,
    },
}

/// What a rebuild works with.
pub struct Rebuild<'a> {
    /// Where the bytes are.
    pub blobs: &'a dyn BlobStore,
    /// What is to be filled.
    pub catalog: &'a dyn Catalog,
    /// What the catalog knows of earlier contents.
    pub snapshots: &'a dyn Snapshots,
    /// What publishes the indexes of local repositories.
    pub publisher: &'a Publisher,
    /// Which formats the repositories have; blobs of a repository that is not configured get records all the same.
    pub repositories: &'a Repositories,
}

/// What became of one blob.
enum Became {
    Published,
    Current,
    Older,
    Foreign,
    Damaged,
}

impl Rebuild<'_> {
    /// Walks the whole store. `progress` is told after each blob.
    ///
    /// # Errors
    /// [`RebuildError`] when store or catalog stop answering; what was written until then stays and is right.
    pub async fn run(&self, progress: &mut (dyn FnMut(&Rebuilt) + Send)) -> Result<Rebuilt, RebuildError> {
        let mut rebuilt = Rebuilt::default();
        let looks = self.blobs.list("").map(|listing| async move { self.look_at(&listing?.key).await });
        let mut looks = std::pin::pin!(looks.buffer_unordered(AT_ONCE));
        while let Some(became) = looks.next().await {
            rebuilt.blobs += 1;
            match became? {
                Became::Published => rebuilt.published += 1,
                Became::Current => rebuilt.current += 1,
                Became::Older => rebuilt.older += 1,
                Became::Foreign => rebuilt.foreign += 1,
                Became::Damaged => rebuilt.damaged += 1,
            }
            progress(&rebuilt);
        }
        self.list_again(&mut rebuilt, progress).await?;
        Ok(rebuilt)
    }

    async fn look_at(&self, key: &BlobKey) -> Result<Became, RebuildError> {
        let artifact = match self.content_under(key).await? {
            Ok(artifact) => artifact,
            Err(became) => return Ok(became),
        };
        let mut current = self.catalog.lookup(&artifact.target).await?;
        if current.as_ref().is_some_and(|current| current.blob == artifact.blob) {
            return Ok(Became::Current);
        }
        let may_replace = self.is_fetched(&artifact.target.repository);
        if self.catalog.is_garbage(key).await?
            || current.is_none() && self.was_removed(&artifact).await?
            || current.is_none() && !may_replace && self.has_newer(&artifact).await?
        {
            return Ok(Became::Older);
        }
        for _ in 0..TRIES {
            match &current {
                Some(current) if current.blob == artifact.blob => return Ok(Became::Current),
                Some(current) if !may_replace || current.stored_at >= artifact.stored_at => return Ok(Became::Older),
                _ => {}
            }
            match self.catalog.publish(&artifact, current.as_ref().map(|current| current.revision)).await? {
                Published::Won(_) => return Ok(Became::Published),
                Published::Lost(now) => current = now.map(|now| *now),
                Published::BlobLeaving => return Ok(Became::Foreign),
            }
        }
        // Somebody publishes this target all the time, and thus newer contents than ours.
        Ok(Became::Older)
    }

    /// The record that a blob would have by its own description; or what becomes of one that can have none.
    async fn content_under(&self, key: &BlobKey) -> Result<Result<Artifact, Became>, RebuildError> {
        let about = match self.blobs.about(key).await {
            Ok(Some(about)) => about,
            Ok(None) => return Ok(Err(Became::Foreign)),
            Err(error) if error.kind == BlobErrorKind::Damaged => {
                tracing::warn!(blob = %key, %error, "left out of the catalog");
                return Ok(Err(Became::Damaged));
            }
            Err(error) => return Err(error.into()),
        };
        let target = match &about.repository {
            Some(repository) => target_of(repository, &about).filter(|target| target.may_be_kept_under(key)),
            None => self.adopted(&about, key),
        };
        Ok(target.map(|target| self.record(target, about, key)).ok_or(Became::Foreign))
    }

    /// Whether what a repository holds came from an upstream, so that a newer content is what that has now.
    fn is_fetched(&self, repository: &RepositoryName) -> bool {
        let repository = self.repositories.get(repository.as_str());
        repository.is_some_and(|repository| matches!(repository.kind, Kind::Remote(_)))
    }

    /// Whether the store has a newer content of the same path that can become current. Of those that came at one moment, one is
    /// taken for the newest.
    async fn has_newer(&self, artifact: &Artifact) -> Result<bool, RebuildError> {
        let prefix = artifact.target.blob_prefix();
        let mut listed = self.blobs.list(&prefix);
        while let Some(listing) = listed.next().await {
            let key = listing?.key;
            if key == artifact.blob {
                continue;
            }
            let Ok(other) = self.content_under(&key).await? else { continue };
            if other.target == artifact.target
                && (other.stored_at, &other.blob) > (artifact.stored_at, &artifact.blob)
                && !self.catalog.is_garbage(&key).await?
                && !self.was_removed(&other).await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The target of the one remote that a file cached by URL would be fetched by.
    fn adopted(&self, about: &BlobAbout, key: &BlobKey) -> Option<Target> {
        let url = Url::parse(&about.path).ok()?;
        let name = key.as_str().rsplit('/').next().unwrap_or_default();
        if BlobKey::for_url(url.host_str()?, &about.path, name) != *key {
            return None;
        }
        let mut targets = self.repositories.iter().filter_map(|repository| {
            let Kind::Remote(remote) = &repository.kind else { return None };
            let target = origin::target_of(&about.path, repository, remote).ok()?;
            let role = repository.format.classify(&target.path);
            let is_admitted = matches!(repository.patterns.admits(target.path.as_str(), role), Admission::Admitted);
            (is_admitted && !target.path.is_directory()).then_some(target)
        });
        let only = targets.next()?;
        targets.next().is_none().then_some(only)
    }

    /// Whether the catalog remembers it as what it was once: then it went on purpose.
    async fn was_removed(&self, artifact: &Artifact) -> Result<bool, CatalogError> {
        let by_content = Identity::File(artifact.sha256.into());
        let known = self.snapshots.content(&artifact.target, &by_content, Some(&artifact.sha256)).await?;
        Ok(known.is_some_and(|known| known.sha256 == artifact.sha256))
    }

    fn record(&self, target: Target, about: BlobAbout, key: &BlobKey) -> Artifact {
        let repository = self.repositories.get(target.repository.as_str());
        // Of a repository that is not known, nothing may be taken for unchanging.
        let role = repository.map_or(Role::Index, |repository| repository.format.classify(&target.path));
        let last_modified = last_modified(role, about.upstream_last_modified.as_deref(), about.stored_at);
        Artifact {
            blob: key.clone(),
            validators: Validators { etag: about.upstream_etag, last_modified: about.upstream_last_modified },
            last_modified,
            ..Artifact::unpublished(target, about.size, about.sha256, about.content_type, about.stored_at)
        }
    }
}

/// The target that a blob is a content of by its own description.
fn target_of(repository: &RepositoryName, about: &BlobAbout) -> Option<Target> {
    let path = RepoPath::new(&about.path).ok().filter(|path| !path.is_directory())?;
    Some(Target::with_query(repository.clone(), path, &about.query))
}

#[cfg(test)]
mod tests;
