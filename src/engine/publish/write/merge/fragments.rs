//! Getting the fragments of packages that a merged index lists and the one before it did not.
//!
//! From an index of ours they are copied, for they are kept; out of one that a remote has they are cut. Either way they are kept for the
//! virtual root from then on, as long as one of its snapshots lists the package.

use std::collections::HashSet;

use artifactapi_formats::{IndexRoot, Member, Role};
use tokio::sync::mpsc;

use super::Part;
use crate::config::Repository;
use crate::engine::content;
use crate::engine::held::now;
use crate::engine::publish::choice::Chosen;
use crate::engine::publish::cuttings::{BATCHES_BETWEEN, Cutting};
use crate::engine::publish::{PublishError, Publisher};
use crate::engine::shelf::Found;
use crate::store::catalog::Artifact;
use crate::store::catalog::fragments::{FRAGMENTS, groups};
use crate::store::catalog::snapshots::PackageMark;
use crate::store::key::Target;

impl Publisher {
    /// Which of these have their fragments kept for the root.
    pub(super) async fn with_fragments(
        &self,
        root: &Target,
        packages: &[&Chosen],
    ) -> Result<HashSet<PackageMark>, PublishError> {
        let mut known = HashSet::new();
        for some in packages.chunks(FRAGMENTS) {
            let marks: Vec<PackageMark> = some.iter().map(|one| one.mark).collect();
            known.extend(self.fragments.fragment_lengths(root, &marks).await?.into_iter().map(|(mark, _)| mark));
        }
        Ok(known)
    }

    /// From an index of ours.
    pub(super) async fn copy_fragments(
        &self,
        root: &Target,
        part: &Part,
        wanted: &[&Chosen],
    ) -> Result<(), PublishError> {
        for some in wanted.chunks(FRAGMENTS) {
            let mut copied = 0;
            let marks: Vec<PackageMark> = some.iter().map(|one| one.mark).collect();
            let measured = self.fragments.fragment_lengths(&part.snapshot.root, &marks).await?;
            for group in groups(&measured) {
                let marks: Vec<PackageMark> = group.iter().map(|(mark, _)| *mark).collect();
                let found = self.fragments.fragments(&part.snapshot.root, &marks).await?;
                copied += found.len();
                self.fragments.put_fragments(root, &found, now()).await?;
            }
            if copied < marks.len() {
                return Err(PublishError::Unreadable(format!(
                    "what packages contribute to {} is gone",
                    part.snapshot.root
                )));
            }
        }
        Ok(())
    }

    /// Out of the lists of a held generation. Answers what no client could read, of which nothing is kept.
    pub(super) async fn cut_fragments(
        &self,
        root: &Target,
        part: &Part,
        wanted: &[&Chosen],
    ) -> Result<HashSet<PackageMark>, PublishError> {
        let Part { member, snapshot } = part;
        let (Some(format), Some(index)) = (member.format.publish(), member.format.index()) else {
            return Err(PublishError::NotPublished);
        };
        let unreadable = |why: String| PublishError::Unreadable(format!("the index {} {why}", snapshot.root));
        let index_root = IndexRoot { entry: root.path.clone() };
        let members = self.members(part, &index_root).await?;
        let mut lists = Vec::with_capacity(format.lists().len());
        for (number, name) in format.lists().iter().enumerate() {
            let path = match number {
                0 => index.package_list(&index_root, &members),
                _ => members.iter().find(|member| member.kind == *name).map(|member| member.path.clone()),
            };
            let held = path.as_ref().and_then(|path| snapshot.file(path));
            lists.push(match held {
                Some(held) => Some(self.open_list(member, held).await?),
                None => None,
            });
        }
        let wanted = wanted.iter().map(|one| (one.mark, one.package.identity.digest().hex())).collect();
        let (aside, limits) = (self.chunks.aside().await?, self.limits.clone());
        let cutting = Cutting { format, root: index_root, lists, wanted, aside, limits };
        let (sender, mut batches) = mpsc::channel(BATCHES_BETWEEN);
        let running = tokio::task::spawn_blocking(move || cutting.run(&sender));
        while let Some(batch) = batches.recv().await {
            for some in batch.chunks(FRAGMENTS) {
                self.fragments.put_fragments(root, some, now()).await?;
            }
        }
        running.await.map_err(std::io::Error::other)?.map_err(|why| unreadable(format!("cannot be cut up: {why}")))
    }

    /// The files that the entry of a held generation names.
    pub(super) async fn members(&self, part: &Part, root: &IndexRoot) -> Result<Vec<Member>, PublishError> {
        let Part { member, snapshot } = part;
        let unreadable = |why: String| PublishError::Unreadable(format!("the index {} {why}", snapshot.root));
        let index = member.format.index().ok_or(PublishError::NotPublished)?;
        let entry = snapshot.files.first().ok_or_else(|| unreadable("has no entry".to_owned()))?;
        // An entry that is the whole index is streamed, and names no members.
        let bytes = if entry.size <= self.limits.entry_bytes {
            let mut reader = self.open_list(member, entry).await?;
            let reading = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map(|_| bytes)
            });
            reading.await.map_err(std::io::Error::other)??
        } else {
            Vec::new()
        };
        index.members(root, &bytes, &self.limits).map_err(|why| unreadable(why.to_string()))
    }

    pub(super) async fn open_list(
        &self,
        member: &Repository,
        file: &Artifact,
    ) -> Result<Box<dyn std::io::Read + Send>, PublishError> {
        let gone = || PublishError::Unreadable(format!("the bytes of {} cannot be had", file.target));
        let mutability = member.format.mutability(&file.target.path);
        let found = self.shelf.open_beside(file.clone(), Role::IndexMember, &mutability).await;
        match found.map_err(|error| PublishError::Away(error.to_string().into()))? {
            Found::Held(held) => content::open(&held, &self.blobs).await.map_err(|_| gone()),
            Found::Bodiless(_) | Found::Nothing => Err(gone()),
        }
    }
}
