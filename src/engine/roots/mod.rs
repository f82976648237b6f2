//! What a held index says of the files that live and die with it.
//!
//! A companion (`repomd.xml.asc`) or a plain-named member (`primary.xml.gz`) has no time to live of its own: it is right
//! exactly as long as the index beside it stays the same. [`Roots::of`] finds that index among what we hold and says
//! since when it is current and what it expects the file to be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use artifactapi_formats::{Algorithm, Expected, Identity, Limits, RepoPath, Role, Sha256};

use super::content::Content;
use super::held::Held;
use super::shelf::{Found, Shelf};
use super::switches::means;
use crate::config::Repository;
use crate::store::catalog::CatalogError;
use crate::store::catalog::snapshots::{Generation, NamedPackage, Snapshots};
use crate::store::key::Target;

/// How many parsed entries are remembered.
const REMEMBERED: usize = 256;

type Members = Arc<HashMap<RepoPath, Expected>>;

/// Looks files up in the indexes we hold.
pub struct Roots {
    shelf: Arc<Shelf>,
    snapshots: Arc<dyn Snapshots>,
    limits: Limits,
    /// By the entry's digest and its path: what it names lies below its own folder.
    parsed: quick_cache::sync::Cache<(Sha256, RepoPath), Members>,
}

/// What the index of a path says.
#[derive(Debug, Clone)]
pub struct Bond {
    /// The entry file of the index.
    pub entry: Arc<Held>,
    /// When its current revision was stored.
    pub since: SystemTime,
    /// What it expects the path to be, if it names it.
    pub expected: Option<Expected>,
}

impl Bond {
    /// Whether some content is what the index expects; `None` when the index does not say enough to tell.
    #[must_use]
    pub fn expects(&self, held: &Held) -> Option<bool> {
        let expected = self.expected.as_ref()?;
        if expected.size.is_some_and(|size| size != held.artifact.size) {
            return Some(false);
        }
        match &expected.identity {
            Identity::File(digest) if digest.algorithm() == Algorithm::Sha256 => {
                Some(digest.bytes() == held.artifact.sha256.as_bytes())
            }
            _ => None,
        }
    }

    /// Whether a package's record says that it is the one which the index names; `None` when it does not say what it is.
    #[must_use]
    pub fn means(&self, package: &Held) -> Option<bool> {
        means(&self.expected.as_ref()?.identity, &package.artifact)
    }

    /// Whether upstream confirmed some content while the index was the one that is held now.
    #[must_use]
    pub fn is_of_its_time(&self, held: &Held) -> bool {
        held.confirmed_at() >= self.since
    }
}

impl Roots {
    /// Over what is held.
    #[must_use]
    pub fn new(shelf: Arc<Shelf>, snapshots: Arc<dyn Snapshots>, limits: Limits) -> Self {
        Self { shelf, snapshots, limits, parsed: quick_cache::sync::Cache::new(REMEMBERED) }
    }

    /// The bond of a companion or member to the index we hold; `None` for other roles, and when no index is held.
    pub async fn of(&self, repository: &Repository, target: &Target, role: Role) -> Option<Bond> {
        if !matches!(role, Role::IndexCompanion | Role::IndexMember) {
            return None;
        }
        let index = repository.format.index()?;
        let root = index.root_of(&target.path)?;
        let entry = Target::new(target.repository.clone(), root.entry.clone());
        let mutability = repository.format.mutability(&entry.path);
        let Ok(Found::Held(held)) = self.shelf.find(&entry, Role::Index, &mutability).await else {
            return None;
        };
        let since = held.artifact.stored_at;
        let expected = match role {
            Role::IndexMember => self.members(repository, &root, &held).await?.get(&target.path).cloned(),
            _ => None,
        };
        Some(Bond { entry: held, since, expected })
    }

    /// The bond of a package to the index that names it. Asks the catalog, so it is for packages that are about to be
    /// fetched. `None` when no index that we hold names it, when those that do contradict each other, and when the catalog is
    /// away: a package must then only be whole in itself.
    pub async fn of_package(&self, repository: &Repository, target: &Target) -> Option<Bond> {
        let named = self.snapshots.named(&target.repository, &target.path, Generation::Current).await.ok()?;
        self.bond_to(repository, all_agree(named)?).await
    }

    /// The bond of a package that is held to an index that names it: to one that means what is held, if there is one.
    ///
    /// # Errors
    /// [`CatalogError`] when it is not known what names it.
    pub async fn of_held_package(&self, repository: &Repository, held: &Held) -> Result<Option<Bond>, CatalogError> {
        let target = &held.artifact.target;
        let named = self.snapshots.named(&target.repository, &target.path, Generation::Current).await?;
        let is_meant = |named: &&NamedPackage| means(&named.package.identity, &held.artifact) == Some(true);
        let named = match named.iter().find(is_meant) {
            Some(meant) => Some(meant.clone()),
            None => all_agree(named),
        };
        Ok(match named {
            Some(named) => self.bond_to(repository, named).await,
            None => None,
        })
    }

    async fn bond_to(&self, repository: &Repository, named: NamedPackage) -> Option<Bond> {
        let NamedPackage { root, package, .. } = named;
        let mutability = repository.format.mutability(&root.path);
        let Ok(Found::Held(entry)) = self.shelf.find(&root, Role::Index, &mutability).await else {
            return None;
        };
        Some(Bond { since: entry.artifact.stored_at, entry, expected: Some(package.expected()) })
    }

    async fn members(
        &self,
        repository: &Repository,
        root: &artifactapi_formats::IndexRoot,
        entry: &Arc<Held>,
    ) -> Option<Members> {
        let key = (entry.artifact.sha256, root.entry.clone());
        if let Some(members) = self.parsed.get(&key) {
            return Some(members);
        }
        let content = Content::of(&entry.body)?;
        let (format, root, limits) = (repository.format, root.clone(), self.limits.clone());
        let parsing = tokio::task::spawn_blocking(move || {
            let bytes = text(&content, &limits)?;
            let members = format.index()?.members(&root, &bytes, &limits).ok()?;
            Some(members.into_iter().map(|member| (member.path, member.expected)).collect::<HashMap<_, _>>())
        });
        let members = Arc::new(parsing.await.ok()??);
        self.parsed.insert(key, Arc::clone(&members));
        Some(members)
    }
}

/// One of those who name a package, if all of them mean the same.
fn all_agree(named: Vec<NamedPackage>) -> Option<NamedPackage> {
    let agree = named.windows(2).all(|two| two[0].package.identity == two[1].package.identity);
    named.into_iter().next().filter(|_| agree)
}

/// The whole of an entry, unless it is too long. Blocks.
fn text(entry: &Content, limits: &Limits) -> Option<Vec<u8>> {
    let bytes = entry.read(limits.entry_bytes + 1).ok()?;
    (bytes.len() as u64 <= limits.entry_bytes).then_some(bytes)
}

#[cfg(test)]
mod tests;
