//! Lists of our own indexes that are written when somebody asks for them.
//!
//! A list that is named by its digest is published as a promise: its length and its digest are known, its bytes can be joined of
//! chunks at any time as long as a snapshot has it. In a burst of uploads an index is published several times a second, and
//! nobody reads most of these; writing each of them whole would fill disks with what nobody wants. The first who asks has it
//! joined, compared with what was promised, and kept like any other file; from then on it is one. When an index rests, nobody need
//! ask ([`super::resting`]); and one of which it is found out that a promise cannot be kept is published anew ([`super::renewal`]).

use std::sync::Arc;

use artifactapi_formats::publish::{Compression, WrittenList};
use artifactapi_formats::{Mutability, RepoPath, Role};

use super::chunks::Trust;
use super::{PublishError, Publisher};
use crate::config::{Kind, Repository};
use crate::engine::held::now;
use crate::engine::shelf::Found;
use crate::spool::Spooled;
use crate::store::blobs::{self, BlobError};
use crate::store::catalog::Artifact;
use crate::store::catalog::snapshots::Snapshot;
use crate::store::key::Target;

/// Keys of which it is remembered that they may not be named.
pub(super) const LEAVING: usize = 256;

impl Publisher {
    /// The record of a list that is not written yet.
    pub(super) fn promise(&self, repository: &Repository, target: Target, list: &WrittenList) -> Artifact {
        let content_type = repository.format.content_type(&target.path);
        let usual = target.later_blob_key(&list.sha256);
        // The same list may have been there before, and be just going: its key has to rest, and each try would have it rest anew.
        let blob = match self.leaving.get(&usual) {
            Some(()) => target.another_blob_key(&list.sha256, now()),
            None => usual,
        };
        Artifact { blob, ..Artifact::unpublished(target, list.size, list.sha256, content_type, now()) }
    }

    /// A file of some snapshot of an index of ours, current or not; written now, if it was only promised. `None` if no snapshot
    /// that is kept has it.
    ///
    /// # Errors
    /// [`PublishError`] when it cannot be had now.
    pub async fn file_of_a_snapshot(
        self: &Arc<Self>,
        repository: &Arc<Repository>,
        target: &Target,
        role: Role,
        mutability: &Mutability,
    ) -> Result<Option<Found>, PublishError> {
        let Some(id) = self.fragments.naming(target).await? else { return Ok(None) };
        let Some(snapshot) = self.snapshots.snapshot(id).await? else { return Ok(None) };
        let Some(file) = snapshot.file(&target.path) else { return Ok(None) };
        let open = async || self.shelf.open_beside(file.clone(), role, mutability).await;
        let away = |error: crate::engine::shelf::ShelfError| PublishError::Away(error.to_string().into());
        match open().await.map_err(away)? {
            Found::Bodiless(_) => {}
            found => return Ok(Some(found)),
        }
        // Whoever asked may give up waiting; the list is written for the next one all the same.
        let (publisher, repository) = (Arc::clone(self), Arc::clone(repository));
        let (snapshot, record) = (snapshot.clone(), file.clone());
        let writing = tokio::spawn(async move { publisher.write_list(&repository, &snapshot, &record).await });
        writing.await.map_err(|_| PublishError::Contended)??;
        Ok(Some(open().await.map_err(away)?))
    }

    /// Writes a list of a snapshot that was only promised, unless that was done meanwhile.
    async fn write_list(
        self: &Arc<Self>,
        repository: &Arc<Repository>,
        snapshot: &Snapshot,
        file: &Artifact,
    ) -> Result<(), PublishError> {
        let root = repository.root_of(&file.target.path).ok_or(PublishError::OwnIndex)?;
        // One of a root at a time: whoever waits for the same one finds it written.
        let turn = self.lists_of.of(&root).lock().await;
        let written = blobs::read_this(&*self.blobs, &file.blob, None, (file.size, &file.sha256)).await;
        if written.map_err(|error| PublishError::Away(error.to_string().into()))?.is_some() {
            return Ok(());
        }
        if self.broken.get(&file.target).is_some() {
            return Err(PublishError::Superseded(file.target.clone()));
        }
        if let Some(spooled) = self.joined_again(repository, &root, snapshot, file).await? {
            self.keeper.write_as(&spooled, file).await?;
            return Ok(());
        }
        // Publishing may write lists, too.
        drop(turn);
        self.renew(repository, &root, &file.target).await?;
        Err(PublishError::Superseded(file.target.clone()))
    }

    /// Writes the lists of indexes that rest, for as long as it is let.
    pub async fn write_rested(self: Arc<Self>) {
        loop {
            let root = self.resting.next().await;
            if let Err(error) = self.write_promised(&root).await {
                tracing::debug!(target: "artifactapi::publish", %root, %error, "its lists are written when somebody asks");
            }
        }
    }

    /// Writes the lists that the current index of a root promises.
    async fn write_promised(self: &Arc<Self>, root: &Target) -> Result<(), PublishError> {
        let Some(repository) = self.repositories.get(root.repository.as_str()) else { return Ok(()) };
        let (Some(format), Some(snapshot)) = (repository.format.publish(), self.snapshots.current(root).await?) else {
            return Ok(());
        };
        for file in &snapshot.files {
            let path = &file.target.path;
            let (role, mutability) = (repository.format.classify(path), repository.format.mutability(path));
            let is_promised = role == Role::IndexMember
                && matches!(mutability, Mutability::Addressed(_))
                && list_named(format.lists(), path).is_some();
            let away = |error: BlobError| PublishError::Away(error.to_string().into());
            if is_promised && self.blobs.about(&file.blob).await.map_err(away)?.is_none() {
                self.file_of_a_snapshot(&repository, &file.target, role, &mutability).await?;
            }
        }
        Ok(())
    }

    /// A list of a root once more. `None` if it is another than was published.
    async fn joined_again(
        &self,
        repository: &Repository,
        root: &Target,
        snapshot: &Snapshot,
        file: &Artifact,
    ) -> Result<Option<Spooled>, PublishError> {
        let format = repository.format.publish().ok_or(PublishError::NotPublished)?;
        let (number, compression) = list_named(format.lists(), &file.target.path).ok_or(PublishError::OwnIndex)?;
        // They are large.
        let _turn = self.writing_lists.acquire().await.map_err(|_| PublishError::Contended)?;
        let base = self.base(root).await?;
        let current = base.snapshot.as_ref().map(|snapshot| snapshot.id);
        let earlier = match current {
            Some(current) if current != snapshot.id => {
                Some(self.followed(&base.sheet, current, snapshot.id).await?.ok_or(PublishError::Contended)?)
            }
            _ => None,
        };
        let sheet = earlier.as_ref().unwrap_or(&base.sheet);
        let made_at = snapshot.made_at.and_then(|at| at.duration_since(std::time::SystemTime::UNIX_EPOCH).ok());
        let written_at = made_at.unwrap_or_default().as_secs();
        let write = async |trust| {
            let made = self.lists(format, root, sheet, compression, written_at, trust).await?;
            made.get(number).ok_or(PublishError::OwnIndex)?.write(&self.spool).await
        };
        let spooled = match write(Trust::Usual).await {
            Err(PublishError::PieceLost) => write(Trust::Shaken).await?,
            written => written?,
        };
        if spooled.sha256 == file.sha256 {
            return Ok(Some(spooled));
        }
        // Whoever published it made its pieces of the fragments that the catalog has, and the pieces that lie here may be of others.
        let spooled = write(Trust::Gone).await?;
        if spooled.sha256 == file.sha256 {
            return Ok(Some(spooled));
        }
        tracing::warn!(
            target: "artifactapi::publish",
            path = %file.target, published = %file.sha256, written = %spooled.sha256,
            "a list is another when it is written again; its index is published anew"
        );
        Ok(None)
    }
}

/// Whether a path is that of a list which may have been published without being written: one that we write, named by its digest.
pub(in crate::engine) fn may_be_only_promised(repository: &Repository, path: &RepoPath) -> bool {
    matches!(repository.kind, Kind::Local(_) | Kind::Virtual(_))
        && matches!(repository.format.mutability(path), Mutability::Addressed(_))
        && repository.format.publish().is_some_and(|format| list_named(format.lists(), path).is_some())
}

/// Which list a file is, by its name: `<sha256>-primary.xml.gz`.
fn list_named(lists: &[&str], path: &RepoPath) -> Option<(usize, Compression)> {
    let (_, name) = path.file_name().split_once('-')?;
    let number = lists.iter().position(|list| name.strip_prefix(list).is_some_and(|rest| rest.starts_with('.')))?;
    let compressions = [Compression::Gzip, Compression::Zstd];
    let compression = compressions.into_iter().find(|compression| name.ends_with(compression.suffix()))?;
    Some((number, compression))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_by_their_names() {
        let named = |name: &str| {
            list_named(&["primary", "other"], &RepoPath::new(&format!("a/repodata/{name}")).expect("a path"))
        };
        assert_eq!(named("0a-primary.xml.gz"), Some((0, Compression::Gzip)));
        assert_eq!(named("0a-other.xml.zst"), Some((1, Compression::Zstd)));
        for none in ["repomd.xml", "primary.xml.gz", "0a-comps.xml", "0a-primary_db.sqlite.bz2", "0a-other.xml"] {
            assert_eq!(named(none), None, "{none}");
        }
    }
}
