//! Which snapshot of an index root is meant: by date, by number, by tag, by age, or by its entry file.
//!
//! Everything that names a generation, a URL, a query or the command line, comes here; nobody else compares times.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{IndexFormat, RepoPath, Sha256};

use super::held::now;
use crate::calendar::{self, rfc3339};
use crate::config::Repository;
use crate::store::catalog::CatalogError;
use crate::store::catalog::snapshots::{Snapshot, SnapshotId, Snapshots, Tag};
use crate::store::key::Target;

/// Which generation is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// The newest that was published at this time or before.
    At(SystemTime),
    /// This one.
    Number(SnapshotId),
    /// The one with this tag.
    Tagged(Tag),
    /// The newest that is at least this old, by when it was published here or made upstream.
    HeldBack(Duration),
}

/// A text that names no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no generation: write a date (2025-06-01), a time (2025-06-01T12:00:00Z), the number of a snapshot, or a tag")]
pub struct NoGeneration;

impl FromStr for When {
    type Err = NoGeneration;

    fn from_str(text: &str) -> Result<Self, NoGeneration> {
        if let Some(time) = calendar::parse(text) {
            return Ok(Self::At(time));
        }
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(SnapshotId(number)));
        }
        text.parse().map(Self::Tagged).map_err(|_| NoGeneration)
    }
}

/// Why there is no such generation.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// There is none; the text says which there are.
    #[error("{0}")]
    None(String),
    /// The catalog does not answer.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Finds generations.
#[derive(Clone)]
pub struct Generations {
    snapshots: Arc<dyn Snapshots>,
}

impl Generations {
    /// Among these snapshots.
    #[must_use]
    pub fn new(snapshots: Arc<dyn Snapshots>) -> Self {
        Self { snapshots }
    }

    /// The records they are found in.
    #[must_use]
    pub fn snapshots(&self) -> &Arc<dyn Snapshots> {
        &self.snapshots
    }

    /// The generation of a root that is meant.
    ///
    /// # Errors
    /// [`GenerationError::None`] saying which there are.
    pub async fn find(&self, root: &Target, when: &When) -> Result<Snapshot, GenerationError> {
        let found = match when {
            When::At(time) => self.snapshots.snapshot_at(root, *time).await?,
            When::Number(id) => self.snapshots.snapshot(*id).await?.filter(|snapshot| snapshot.root == *root),
            When::Tagged(tag) => self.snapshots.tagged(root, tag).await?,
            When::HeldBack(hold) => self.held_back(root, *hold).await?,
        };
        match found {
            Some(snapshot) => Ok(snapshot),
            None => Err(GenerationError::None(self.what_there_is(root).await?)),
        }
    }

    /// The current generation of a root.
    ///
    /// # Errors
    /// [`GenerationError::None`] when there is none yet.
    pub async fn newest(&self, root: &Target) -> Result<Snapshot, GenerationError> {
        match self.snapshots.current(root).await? {
            Some(snapshot) => Ok(snapshot),
            None => Err(GenerationError::None(self.what_there_is(root).await?)),
        }
    }

    /// The rules of a repository's indexes.
    ///
    /// # Errors
    /// [`GenerationError::None`] when its format has none.
    pub fn index_of(repository: &Repository) -> Result<&'static dyn IndexFormat, GenerationError> {
        repository.format.index().ok_or_else(|| {
            let why = format!("repository {:?} is of a format without indexes and has no snapshots", repository.name);
            GenerationError::None(why)
        })
    }

    async fn what_there_is(&self, root: &Target) -> Result<String, CatalogError> {
        let (oldest, newest) = (self.snapshots.oldest(root).await?, self.snapshots.current(root).await?);
        let (Some(oldest), Some(newest)) = (oldest, newest) else {
            return Ok(format!(
                "{} has no snapshot yet: of what is uploaded, the first upload makes one; else ask for the current index first",
                root.path
            ));
        };
        Ok(format!(
            "{} has no such snapshot; there are snapshots from {} (number {}) to {} (number {})",
            root.path,
            rfc3339(oldest.published_at),
            oldest.id.0,
            rfc3339(newest.published_at),
            newest.id.0
        ))
    }

    async fn held_back(&self, root: &Target, hold: Duration) -> Result<Option<Snapshot>, CatalogError> {
        let latest = now().checked_sub(hold).unwrap_or(SystemTime::UNIX_EPOCH);
        if let Some(snapshot) = self.snapshots.snapshot_at(root, latest).await? {
            return Ok(Some(snapshot));
        }
        // We have not been running for that long; what was made long enough ago is old enough all the same.
        match self.snapshots.oldest(root).await? {
            Some(oldest) if oldest.made_at.is_some_and(|made_at| made_at <= latest) => {
                self.snapshots.snapshot(oldest.id).await
            }
            _ => Ok(None),
        }
    }

    /// The number of the newest snapshot of a root that has this entry.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot answer.
    pub async fn with_entry(&self, root: &Target, entry: &Sha256) -> Result<Option<SnapshotId>, CatalogError> {
        Ok(self.snapshots.with_entry(root, entry).await?.map(|snapshot| snapshot.id))
    }

    /// The root that people call by its entry file or by the folder it describes; of several in one folder, the one that has
    /// a snapshot.
    ///
    /// # Errors
    /// [`GenerationError::None`] when that can be no root.
    pub async fn root_named(&self, repository: &Repository, named: &str) -> Result<Target, GenerationError> {
        let no = |why: String| GenerationError::None(why);
        let index = Self::index_of(repository)?;
        let folder = named.trim_matches('/');
        let target = |entry| Target::new(repository.name.clone(), entry);
        if let Ok(path) = RepoPath::new(folder)
            && index.root_of(&path).is_some_and(|root| root.entry == path)
        {
            return Ok(target(path));
        }
        let mut first = None;
        for entry in index.entries_in(folder) {
            let root = target(entry);
            if self.snapshots.current(&root).await?.is_some() {
                return Ok(root);
            }
            first.get_or_insert(root);
        }
        first.ok_or_else(|| no(format!("{named:?} cannot be an index of repository {:?}", repository.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations() {
        assert_eq!("17".parse(), Ok(When::Number(SnapshotId(17))));
        assert!(matches!("2025-06-01".parse(), Ok(When::At(_))));
        assert!(matches!("2025-06-01T00:00:00Z".parse(), Ok(When::At(_))));
        assert!(matches!("stable".parse(), Ok(When::Tagged(_))));
        for bad in ["", "2025-06-41", "a b", "-1x"] {
            assert_eq!(bad.parse::<When>(), Err(NoGeneration), "{bad}");
        }
    }
}
