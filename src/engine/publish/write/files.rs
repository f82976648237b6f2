//! The files of an index that is about to be published: what each of them is, and that its bytes are durable.
//!
//! Nothing is visible yet, and what is not published goes away by itself. A list that is named by its digest is not written: it can
//! be joined again at any time, and whoever asks for it first has that done ([`super::super::promised`]).

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::publish::{
    Carried, Compression, Finished, FinishedContent, Index, PublishFormat, Totals, WrittenList,
};
use artifactapi_formats::{IndexRoot, Invalid, Mutability, Role};
use futures_util::future::try_join_all;

use super::{Base, Plan};
use crate::config::{Local, Repository};
use crate::engine::freshness::last_modified;
use crate::engine::held::now;
use crate::engine::keep::KeepError;
use crate::engine::publish::chunks::{Chunk, Shape, Trust};
use crate::engine::publish::joined::Joined;
use crate::engine::publish::sheet::{Listed, Sheet};
use crate::engine::publish::spooling::spooled;
use crate::engine::publish::{PublishError, Publisher};
use crate::engine::threads::{Pace, on_its_own};
use crate::spool::Spooled;
use crate::store::blobs::{BlobError, BlobErrorKind};
use crate::store::catalog::Artifact;
use crate::store::key::Target;

impl Publisher {
    /// The files of the next snapshot, durable, the entry first; when it says it was made; how many packages it lists.
    pub(super) async fn write(
        &self,
        repository: &Arc<Repository>,
        local: &Local,
        format: &'static dyn PublishFormat,
        root: &Target,
        base: &Base,
        plan: &Plan,
    ) -> Result<(Vec<Artifact>, SystemTime, u64), PublishError> {
        let sheet = base.sheet.with(plan.put.iter().map(Listed::of).collect(), &plan.removed);
        let compression = local.compression.filter(|asked| format.compressions().contains(asked)).unwrap_or_default();
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let before = base.snapshot.as_ref().and_then(|snapshot| snapshot.made_at).map_or(0, seconds);
        let written_at = seconds(now()).max(before + 1);
        let packages = sheet.len() as u64;
        let trust = if plan.is_anew { Trust::Gone } else { Trust::Usual };
        let (made, lists) = self.summed(format, root, &sheet, compression, written_at, trust).await?;

        let mut carried: Vec<Artifact> = plan.carried.clone();
        for file in base.snapshot.iter().flat_map(|snapshot| &snapshot.files) {
            let path = &file.target.path;
            let is_kept = format.carried_kind(path).is_some()
                && !plan.removed.contains(path)
                && !carried.iter().any(|carried| carried.target == file.target);
            if is_kept {
                carried.push(file.clone());
            }
        }
        carried.sort_by(|a, b| a.target.path.as_str().cmp(b.target.path.as_str()));
        let mut named: Vec<Carried> = Vec::with_capacity(carried.len());
        for file in &carried {
            named.extend(self.told_of(format, file).await);
        }
        // Signing takes a processor for milliseconds, once for each key.
        let (index_root, keys) = (IndexRoot { entry: root.path.clone() }, local.signing_keys.clone());
        let written = lists.clone();
        let signing = on_its_own(Pace::Usual, move || {
            format.finish(&Index {
                root: &index_root,
                lists: &written,
                carried: &named,
                keys: &keys,
                written_at,
                revision: written_at,
            })
        });
        let died = || PublishError::Unreadable("the thread that signed the index died".to_owned());
        let finished = signing.await.ok_or_else(died)?.map_err(|why| PublishError::Unreadable(why.to_string()))?;
        let finish = |made: Vec<Joined>| {
            let (finished, lists) = (finished.clone(), &lists);
            let file = async move |made: &[Joined], Finished { path, content }| {
                let target = Target::new(root.repository.clone(), path);
                self.file(repository, local, target, content, made, lists).await
            };
            async move { try_join_all(finished.into_iter().map(|one| file(&made, one))).await }
        };
        let mut files = match finish(made).await {
            // Summing up long lists reads no text; what is composed is made of it.
            Err(PublishError::PieceLost) => {
                finish(self.lists(format, root, &sheet, compression, written_at, Trust::Shaken).await?).await?
            }
            files => files?,
        };
        files.extend(carried);
        files.extend(plan.records.iter().cloned());
        Ok((files, SystemTime::UNIX_EPOCH + Duration::from_secs(written_at), packages))
    }

    /// The lists of an index, and what each of them is.
    async fn summed(
        &self,
        format: &'static dyn PublishFormat,
        root: &Target,
        sheet: &Sheet,
        compression: Compression,
        written_at: u64,
        trust: Trust,
    ) -> Result<(Vec<Joined>, Vec<WrittenList>), PublishError> {
        let made = self.lists(format, root, sheet, compression, written_at, trust).await?;
        match try_join_all(made.iter().map(Joined::sum)).await {
            Ok(lists) => return Ok((made, lists)),
            Err(PublishError::PieceLost) => {}
            Err(error) => return Err(error),
        }
        let made = self.lists(format, root, sheet, compression, written_at, Trust::Shaken).await?;
        let lists = try_join_all(made.iter().map(Joined::sum)).await?;
        Ok((made, lists))
    }

    /// What the lists of an index are made of.
    pub(in crate::engine::publish) async fn lists(
        &self,
        format: &'static dyn PublishFormat,
        root: &Target,
        sheet: &Sheet,
        compression: Compression,
        written_at: u64,
        trust: Trust,
    ) -> Result<Vec<Joined>, PublishError> {
        let shape = Shape { lists: format.lists().len(), compression };
        let index_root = IndexRoot { entry: root.path.clone() };
        let chunks: Arc<[Arc<Chunk>]> = self.chunks.all(root, sheet, shape, trust).await?.into();
        let joined = (0..shape.lists).map(|number| {
            let bytes = chunks.iter().map(|chunk| chunk.text(number)).sum();
            let totals = Totals { packages: sheet.len() as u64, bytes, written_at };
            let (open, close) = (format.open(&index_root, number, &totals), format.close(&index_root, number, &totals));
            Joined { compression, number, open, chunks: Arc::clone(&chunks), close }
        });
        Ok(joined.collect())
    }

    /// One file of the index, on its way to be published: durable, or a list that can be joined again at any time.
    async fn file(
        &self,
        repository: &Repository,
        local: &Local,
        target: Target,
        content: FinishedContent,
        made: &[Joined],
        lists: &[WrittenList],
    ) -> Result<Artifact, PublishError> {
        let role = Role::IndexMember;
        match content {
            // Only what is named by its digest can be told from what another snapshot has under that name.
            FinishedContent::List { prefix, list }
                if prefix.is_empty()
                    && matches!(repository.format.mutability(&target.path), Mutability::Addressed(_)) =>
            {
                let list = lists.get(list).ok_or(PublishError::NotPublished)?;
                Ok(self.promise(repository, target, list))
            }
            FinishedContent::List { prefix, list } => {
                let list = made.get(list).ok_or(PublishError::NotPublished)?.write(&self.spool).await?;
                let spooled = spooled(&self.spool, move |into| {
                    into.write_all(&prefix)?;
                    io::copy(&mut list.reader(), into).map(drop)
                });
                let spooled = spooled.await?;
                self.put_aside(self.draft(repository, target, role, &spooled), &spooled).await
            }
            FinishedContent::Composed { list } => {
                let format = repository.format.publish().ok_or(PublishError::NotPublished)?;
                let mut text = made.get(list).ok_or(PublishError::NotPublished)?.text();
                let (root, keys) = (IndexRoot { entry: target.path.clone() }, local.signing_keys.clone());
                let limits = self.limits.clone();
                // One at a time: it is held whole while it is made.
                let turn = self.writing_lists.acquire().await.map_err(|_| PublishError::Contended)?;
                let composing = spooled(&self.spool, move |into| {
                    format.compose(&root, &mut text, &keys, &limits, into).map_err(|error| match error {
                        Invalid::Read(error) => error.into(),
                        why => PublishError::Invalid(Arc::new(why)),
                    })
                });
                let spooled = composing.await?;
                drop(turn);
                self.put_aside(self.draft(repository, target, role, &spooled), &spooled).await
            }
            FinishedContent::Bytes(bytes) => {
                let (mut writer, _reader) = self.spool.create(Some(bytes.len() as u64), None).await?;
                writer.append(bytes.into()).await?;
                let spooled = writer.complete().await?;
                self.put_aside(self.draft(repository, target, role, &spooled), &spooled).await
            }
        }
    }

    /// The record that bytes will have.
    pub(in crate::engine::publish) fn draft(
        &self,
        repository: &Repository,
        target: Target,
        role: Role,
        spooled: &Spooled,
    ) -> Artifact {
        let at = now();
        let content_type = repository.format.content_type(&target.path);
        Artifact {
            last_modified: last_modified(role, None, at),
            ..Artifact::unpublished(target, spooled.size, spooled.sha256, content_type, at)
        }
    }

    /// Sees to it that the store has the bytes of a record, which have come again: of what it lost, or has damaged, this may be the only
    /// copy.
    pub(in crate::engine::publish) async fn have_bytes_of(
        &self,
        known: &Artifact,
        spooled: &Spooled,
    ) -> Result<(), PublishError> {
        let away = |error: BlobError| PublishError::from(KeepError::from(error));
        match self.blobs.about(&known.blob).await {
            Ok(Some(about)) if (about.size, about.sha256) == (spooled.size, spooled.sha256) => return Ok(()),
            Ok(None) => {}
            Err(error) if error.kind != BlobErrorKind::Damaged => return Err(away(error)),
            // Nobody is given these bytes, and they would keep the right ones out.
            Ok(Some(_)) | Err(_) => {
                let deleting = self.blobs.delete(std::slice::from_ref(&known.blob));
                deleting.await.map_err(|undeleted| away(undeleted.into()))?;
            }
        }
        tracing::warn!(target: "artifactapi::publish", path = %known.target, "its bytes were lost and are written again");
        self.keeper.write_as(spooled, known).await?;
        self.shelf.forget(&known.target);
        Ok(())
    }

    /// Makes bytes durable without making them current. Bytes that are kept under that path already, by an earlier snapshot or as a
    /// past content, are not written again, if they are still there.
    pub(in crate::engine::publish) async fn put_aside(
        &self,
        draft: Artifact,
        spooled: &Spooled,
    ) -> Result<Artifact, PublishError> {
        let by_content = artifactapi_formats::Identity::File(spooled.sha256.into());
        let known = match self.catalog.lookup(&draft.target).await? {
            Some(current) if current.sha256 == spooled.sha256 => Some(current),
            _ => self.snapshots.content(&draft.target, &by_content, Some(&spooled.sha256)).await?,
        };
        if let Some(known) = known.filter(|known| known.sha256 == spooled.sha256) {
            self.have_bytes_of(&known, spooled).await?;
            return Ok(Artifact { blob: known.blob, size: spooled.size, sha256: spooled.sha256, ..draft });
        }
        Ok(self.keeper.put_by_content(spooled, draft).await?)
    }
}
