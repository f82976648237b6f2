//! Reading an earlier generation of an index root: by date, by number, by tag, or because a client was given its entry.
//!
//! What is served is what was published then, byte for byte, with upstream's own signature; packages are told by what that
//! snapshot's index says of them, not by their names, for two builds can share one. What cannot be had any more is an honest
//! error and never other bytes (DESIGN 6).

use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::{Mutability, Role};

use super::generations::{GenerationError, Generations, When};
use super::held::{Held, HeldBody};
use super::read::{ReadError, Reading, Source, Wish};
use super::shelf::{Cache, Found, Shelf, ShelfError};
use crate::store::catalog::snapshots::{Generation, NamedPackage, Snapshot};
use crate::store::catalog::{Artifact, CatalogError};
use crate::store::key::Target;

/// Nothing is done with what makes room: it never changes.
type Unnoticed = quick_cache::sync::DefaultLifecycle<(Target, String), Arc<Held>>;

/// Reads earlier generations.
pub struct Past {
    generations: Generations,
    shelf: Arc<Shelf>,
    /// Opened files, within the shelf's budget for them.
    opened: Cache<(Target, String), Unnoticed>,
}

/// What a path is in an earlier generation.
pub enum Then {
    /// A file of the snapshot, or a package that is held with the identity it had.
    Held(Arc<Held>),
    /// A package that is not held with that identity; if upstream still has it, it may be fetched.
    Named(Box<NamedPackage>),
    /// The path belongs to no index of a repository that has some, such as a public key: it is what it is at any time.
    Timeless,
}

impl Past {
    /// Over these generations.
    #[must_use]
    pub fn new(generations: Generations, shelf: Arc<Shelf>) -> Self {
        let opened = shelf.past_budget().cache(Unnoticed::default());
        Self { generations, shelf, opened }
    }

    /// What the wished path was at `when`.
    ///
    /// # Errors
    /// [`ReadError::Absent`] with the range that there is, when there is no such generation or it does not have the path.
    pub async fn then(&self, wish: &Wish, when: &When) -> Result<Then, ReadError> {
        // Today's bytes under yesterday's name would be a lie that nobody could see.
        if wish.repository.format.index().is_none() {
            return Err(ReadError::Absent(format!(
                "a repository of package: {} has no indexes and so no snapshots; leave out what stands after the @",
                wish.repository.format.name()
            )));
        }
        let mutability = wish.repository.format.mutability(&wish.target.path);
        match wish.repository.root_of(&wish.target.path) {
            Some(root) => {
                let snapshot = self.generation(&root, when).await?;
                let Some(file) = snapshot.file(&wish.target.path) else {
                    return Err(ReadError::Absent(format!(
                        "snapshot {} of {} has no such file",
                        snapshot.id.0, root.path
                    )));
                };
                self.open(file.clone(), wish.role, mutability).await.map(Then::Held)
            }
            None if wish.role == Role::Package => self.package(wish, when, mutability).await,
            None => Ok(Then::Timeless),
        }
    }

    /// A member of an earlier snapshot that is still kept although nothing holds it as a file of its own any more.
    ///
    /// # Errors
    /// [`ReadError`] when the catalog or the store cannot say.
    pub async fn member(&self, wish: &Wish) -> Result<Option<Arc<Held>>, ReadError> {
        let Some(root) = wish.repository.root_of(&wish.target.path) else { return Ok(None) };
        let path = &wish.target.path;
        let snapshot = self.generations.snapshots().with_file(&root, path).await.map_err(away)?;
        let Some(file) = snapshot.as_ref().and_then(|snapshot| snapshot.file(path)) else { return Ok(None) };
        match self.open(file.clone(), wish.role, wish.repository.format.mutability(path)).await {
            Ok(held) => Ok(Some(held)),
            // Upstream may have what is damaged here.
            Err(ReadError::Absent(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn package(&self, wish: &Wish, when: &When, mutability: Mutability) -> Result<Then, ReadError> {
        let snapshots = self.generations.snapshots();
        let Target { repository, path, .. } = &wish.target;
        let mut roots = Vec::new();
        for row in snapshots.named(repository, path, Generation::Any).await.map_err(away)? {
            if !roots.contains(&row.root) {
                roots.push(row.root);
            }
        }
        let mut nearest = None;
        for root in roots {
            let snapshot = match self.generation(&root, when).await {
                Ok(snapshot) => snapshot,
                Err(ReadError::Absent(why)) => {
                    nearest.get_or_insert(why);
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Asked anew: a path that is written over and over has more rows than are told at once.
            let rows = snapshots.named(repository, path, Generation::Of(snapshot.id)).await.map_err(away)?;
            let Some(named) = rows.into_iter().next() else { continue };
            let sha256 = named.package.identity.sha256();
            let content = snapshots.content(&wish.target, &named.package.identity, sha256.as_ref()).await;
            return match content.map_err(away)? {
                Some(artifact) => self.open(artifact, wish.role, mutability).await.map(Then::Held),
                None => Ok(Then::Named(Box::new(named))),
            };
        }
        let why = nearest.unwrap_or_else(|| "no index of that time names it".to_owned());
        Err(ReadError::Absent(why))
    }

    async fn generation(&self, root: &Target, when: &When) -> Result<Snapshot, ReadError> {
        self.generations.find(root, when).await.map_err(|error| match error {
            GenerationError::None(why) => ReadError::Absent(why),
            GenerationError::Catalog(error) => away(error),
        })
    }

    async fn open(&self, artifact: Artifact, role: Role, mutability: Mutability) -> Result<Arc<Held>, ReadError> {
        let key = (artifact.target.clone(), artifact.blob.to_string());
        if let Some(held) = self.opened.get(&key) {
            return Ok(held);
        }
        match self.shelf.open_beside(artifact, role, &mutability).await? {
            Found::Held(held) => {
                // What is still on its way may break off; it is opened again for each request until it is here.
                if !matches!(held.body, HeldBody::Growing(_)) {
                    self.opened.insert(key, Arc::clone(&held));
                }
                Ok(held)
            }
            Found::Bodiless(_) | Found::Nothing => {
                Err(ReadError::Absent("the stored file of that snapshot is missing or damaged".to_owned()))
            }
        }
    }
}

/// An answer from the past: it never changes, for what was published then was published.
#[must_use]
pub fn reading(held: Arc<Held>) -> Reading {
    Reading::Held { held, source: Source::Hit, fresh_for: Some(Duration::ZERO) }
}

fn away(error: CatalogError) -> ReadError {
    ReadError::Store(ShelfError::Catalog(error))
}
