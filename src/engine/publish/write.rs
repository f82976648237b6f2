//! Writing an index of ours: one publication, with everything that arrived together.
//!
//! The sheet of the current snapshot and the changes make the next sheet; its chunks are joined to lists; the format binds
//! them together; and one transaction of the catalog makes index and packages current. If another replica was first,
//! nothing has happened, and all of it is done again on top of what that one published: the catalog's compare-and-set is
//! the only arbiter.

pub(super) mod merge;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::publish::{
    Carried, Compression, Finished, FinishedContent, Index, PublishFormat, Totals, WrittenList,
};
use artifactapi_formats::{IndexRoot, Invalid, Mutability, PackageEntry, RepoPath, Role};
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};

use super::chunks::{Chunk, Shape};
use super::joined::Joined;
use super::sheet::{Listed, Sheet};
use super::spooling::spooled;
use super::{Change, Done, LEASE_PATIENCE, Outcome, PublishError, Publisher};
use crate::config::{Local, Repository};
use crate::engine::freshness::last_modified;
use crate::engine::held::now;
use crate::spool::Spooled;
use crate::store::catalog::snapshots::{
    Generation, PackageQuery, PackageRowId, ROWS, Snapshot, SnapshotId, SnapshotPublished,
};
use crate::store::catalog::{Artifact, Revision, Validators};
use crate::store::coordinator::Event;
use crate::store::key::Target;

/// How often a publication that another came before is tried again.
const TRIES: usize = 16;

/// What a sheet was read from.
pub(super) struct Base {
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) sheet: Arc<Sheet>,
}

/// What the changes come to, on top of a base.
#[derive(Default)]
struct Plan {
    outcomes: Vec<Outcome>,
    put: Vec<PackageEntry>,
    records: Vec<Artifact>,
    carried: Vec<Artifact>,
    removed: Vec<RepoPath>,
    dropped: Vec<PackageRowId>,
    replaced: Vec<Target>,
    /// What the next snapshot is made of, if not of uploads.
    source: String,
}

impl Plan {
    fn changes_nothing(&self) -> bool {
        self.records.is_empty() && self.put.is_empty() && self.removed.is_empty() && self.carried.is_empty()
    }
}

impl Publisher {
    /// Publishes changes of one root together; an outcome for each, in their order.
    pub(super) async fn publish(
        &self,
        repository: &Arc<Repository>,
        local: &Local,
        root: &Target,
        changes: &[Change],
    ) -> Result<Vec<Done>, PublishError> {
        let format = repository.format.publish().ok_or(PublishError::NotPublished)?;
        for _ in 0..TRIES {
            let base = self.base(root).await?;
            let plan = self.plan(local, root, &base, changes).await?;
            if plan.changes_nothing() {
                let current = base.snapshot.as_ref().map(|snapshot| snapshot.id);
                return Ok(plan.outcomes.into_iter().map(|outcome| Done { outcome, snapshot: current }).collect());
            }
            match self.attempt(repository, local, format, root, &base, &plan).await? {
                Some(snapshot) => {
                    self.finish(repository, root, &base, &plan, &snapshot).await;
                    let id = Some(snapshot.id);
                    return Ok(plan.outcomes.into_iter().map(|outcome| Done { outcome, snapshot: id }).collect());
                }
                None => self.sheets.remove(root),
            };
        }
        Err(PublishError::Contended)
    }

    /// The current snapshot, and its sheet.
    pub(super) async fn base(&self, root: &Target) -> Result<Base, PublishError> {
        let Some(snapshot) = self.snapshots.current(root).await?.map(Arc::new) else {
            return Ok(Base { snapshot: None, sheet: Arc::default() });
        };
        let known = self.sheets.get(root);
        let sheet = match known {
            Some((id, sheet)) if id == snapshot.id => return Ok(Base { snapshot: Some(snapshot), sheet }),
            Some((id, sheet)) => match self.followed(&sheet, id, snapshot.id).await? {
                Some(sheet) => sheet,
                None => self.read_sheet(root, &snapshot).await?,
            },
            None => self.read_sheet(root, &snapshot).await?,
        };
        let sheet = Arc::new(sheet);
        self.sheets.insert(root.clone(), (snapshot.id, Arc::clone(&sheet)));
        Ok(Base { snapshot: Some(snapshot), sheet })
    }

    /// A sheet, with what changed since.
    async fn followed(&self, sheet: &Sheet, from: SnapshotId, to: SnapshotId) -> Result<Option<Sheet>, PublishError> {
        if self.snapshots.snapshot(from).await?.is_none() {
            return Ok(None);
        }
        let (mut put, mut removed, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let changes = self.snapshots.diff(from, to, after.as_ref(), ROWS).await?;
            let Some(last) = changes.last().and_then(|change| change.to.as_ref().or(change.from.as_ref())) else {
                return Ok(Some(sheet.with(put, &removed)));
            };
            after = Some(last.path.clone());
            for change in changes {
                match (change.from, change.to) {
                    (_, Some(to)) => put.push(Listed::of(&to)),
                    (Some(from), None) => removed.push(from.path),
                    (None, None) => {}
                }
            }
        }
    }

    async fn read_sheet(&self, root: &Target, snapshot: &Snapshot) -> Result<Sheet, PublishError> {
        let mut query = PackageQuery { root: Some(root.path.clone()), limit: ROWS, ..PackageQuery::default() };
        let mut packages = Vec::with_capacity(usize::try_from(snapshot.packages).unwrap_or_default().min(1 << 20));
        loop {
            let page = self.snapshots.search(&root.repository, &query).await?;
            let Some(last) = page.last() else { break };
            query.after = Some(last.row);
            // Read while another publishes, a page may be of a later snapshot: publishing is then lost, and begun again.
            packages.extend(page.iter().map(|named| Listed::of(&named.package)));
        }
        Ok(Sheet::of(packages))
    }

    /// What each change comes to. Changes to one path are taken in their order.
    async fn plan(&self, local: &Local, root: &Target, base: &Base, changes: &[Change]) -> Result<Plan, PublishError> {
        let mut plan = Plan::default();
        for change in changes {
            let outcome = match change {
                Change::Put { record, described } => {
                    self.plan_package(local, root, base, record, &described.entry, &mut plan).await?
                }
                Change::Carry { record } => {
                    let before = base.snapshot.as_ref().and_then(|snapshot| snapshot.file(&record.target.path));
                    match before {
                        Some(before) if before.sha256 == record.sha256 => Outcome::Unchanged,
                        Some(_) if !local.overwrite => Outcome::Conflict,
                        before => {
                            plan.carried.retain(|carried| carried.target != record.target);
                            plan.carried.push(record.clone());
                            if before.is_some() { Outcome::Replaced } else { Outcome::Created }
                        }
                    }
                }
                Change::Remove { path } => self.plan_removal(root, base, path, &mut plan).await?,
            };
            plan.outcomes.push(outcome);
        }
        Ok(plan)
    }

    async fn plan_package(
        &self,
        local: &Local,
        root: &Target,
        base: &Base,
        record: &Artifact,
        entry: &PackageEntry,
        plan: &mut Plan,
    ) -> Result<Outcome, PublishError> {
        let path = &record.target.path;
        let in_this_batch = plan.records.iter().find(|planned| planned.target == record.target);
        if let Some(planned) = in_this_batch {
            match planned.sha256 == record.sha256 {
                true => return Ok(Outcome::Unchanged),
                false if !local.overwrite => return Ok(Outcome::Conflict),
                false => {
                    plan.records.retain(|planned| planned.target != record.target);
                    plan.put.retain(|planned| planned.path != *path);
                }
            }
        }
        let is_removed = plan.removed.contains(path);
        let listed = base.sheet.mark_of(path).filter(|_| !is_removed);
        let outcome = match listed {
            None => Outcome::Created,
            Some(_) => {
                let current = self.catalog.lookup(&record.target).await?;
                match current {
                    Some(current) if current.sha256 == record.sha256 => return Ok(Outcome::Unchanged),
                    // Its record was lost; the same package again is as good as it.
                    None if listed == Some(Listed::of(entry).mark) => {}
                    _ if !local.overwrite => return Ok(Outcome::Conflict),
                    _ => {}
                }
                self.drop_row(root, path, plan).await?;
                plan.replaced.push(record.target.clone());
                Outcome::Replaced
            }
        };
        plan.put.push(entry.clone());
        plan.records.push(record.clone());
        Ok(outcome)
    }

    async fn plan_removal(
        &self,
        root: &Target,
        base: &Base,
        path: &RepoPath,
        plan: &mut Plan,
    ) -> Result<Outcome, PublishError> {
        let is_carried = base.snapshot.as_ref().is_some_and(|snapshot| snapshot.file(path).is_some());
        let was_put = plan.put.iter().any(|entry| entry.path == *path);
        plan.put.retain(|entry| entry.path != *path);
        plan.records.retain(|record| record.target.path != *path);
        if base.sheet.mark_of(path).is_some() {
            if !plan.removed.contains(path) {
                self.drop_row(root, path, plan).await?;
                plan.removed.push(path.clone());
            }
        } else if is_carried {
            plan.removed.push(path.clone());
        } else if !was_put {
            return Ok(Outcome::Absent);
        }
        Ok(Outcome::Removed)
    }

    async fn drop_row(&self, root: &Target, path: &RepoPath, plan: &mut Plan) -> Result<(), PublishError> {
        let named = self.snapshots.named(&root.repository, path, Generation::Current).await?;
        plan.dropped.extend(named.iter().filter(|named| named.root == *root).map(|named| named.row));
        Ok(())
    }

    /// Writes the index that a plan makes, and publishes it. `None` if another was published first.
    async fn attempt(
        &self,
        repository: &Arc<Repository>,
        local: &Local,
        format: &'static dyn PublishFormat,
        root: &Target,
        base: &Base,
        plan: &Plan,
    ) -> Result<Option<Snapshot>, PublishError> {
        let began = now();
        let draft = self.snapshots.begin(root, began).await?;
        if draft.follows != base.snapshot.as_ref().map(|snapshot| snapshot.id) {
            let _ = self.snapshots.abandon(draft.id).await;
            return Ok(None);
        }
        let written = self.write(repository, local, format, root, base, plan).await;
        let published = match written {
            Ok((files, made_at, packages)) => {
                for target in &plan.replaced {
                    self.fragments.keep_past(target, now()).await?;
                }
                for packages in plan.put.chunks(ROWS as usize) {
                    self.snapshots.add_packages(draft.id, packages).await?;
                }
                for rows in plan.dropped.chunks(ROWS as usize) {
                    self.snapshots.drop_packages(draft.id, rows).await?;
                }
                let published_at = now();
                let snapshot = Snapshot {
                    id: draft.id,
                    root: root.clone(),
                    published_at,
                    made_at: Some(made_at),
                    source: plan.source.clone(),
                    packages,
                    tags: Vec::new(),
                    files,
                };
                self.snapshots.publish_snapshot(&snapshot, draft.follows).await.map_err(PublishError::from)
            }
            Err(error) => Err(error),
        };
        match published {
            Ok(SnapshotPublished::Won { snapshot, replaced }) => {
                for target in replaced {
                    self.shelf.forget(&target);
                    self.coordinator.announce(Event::Removed(target)).await;
                }
                Ok(Some(*snapshot))
            }
            Ok(SnapshotPublished::Lost(_) | SnapshotPublished::BlobLeaving(_)) => {
                let _ = self.snapshots.abandon(draft.id).await;
                Ok(None)
            }
            Err(error) => {
                let _ = self.snapshots.abandon(draft.id).await;
                Err(error)
            }
        }
    }

    /// The files of the next snapshot, durable, the entry first; when it says it was made; how many packages it lists.
    async fn write(
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
        let made = self.lists(format, root, &sheet, compression, written_at).await?;
        let lists: Vec<WrittenList> = try_join_all(made.iter().map(Joined::sum)).await?;

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
        let named: Vec<Carried> = carried
            .iter()
            .filter_map(|file| {
                Some(Carried {
                    kind: format.carried_kind(&file.target.path)?,
                    path: file.target.path.clone(),
                    size: file.size,
                    sha256: file.sha256,
                    open: None,
                    uploaded_at: seconds(file.stored_at),
                })
            })
            .collect();
        let index = Index {
            root: &IndexRoot { entry: root.path.clone() },
            lists: &lists,
            carried: &named,
            keys: &local.signing_keys,
            written_at,
            revision: written_at,
        };
        let finished = format.finish(&index).map_err(|why| PublishError::Unreadable(why.to_string()))?;
        let finishing = finished.into_iter().map(|Finished { path, content }| {
            self.file(repository, local, Target::new(root.repository.clone(), path), content, &made, &lists)
        });
        let mut files = try_join_all(finishing).await?;
        files.extend(carried);
        files.extend(plan.records.iter().cloned());
        Ok((files, SystemTime::UNIX_EPOCH + Duration::from_secs(written_at), packages))
    }

    /// What the lists of an index are made of.
    pub(super) async fn lists(
        &self,
        format: &'static dyn PublishFormat,
        root: &Target,
        sheet: &Sheet,
        compression: Compression,
        written_at: u64,
    ) -> Result<Vec<Joined>, PublishError> {
        let shape = Shape { lists: format.lists().len(), compression };
        let index_root = IndexRoot { entry: root.path.clone() };
        let mut chunks: Vec<Arc<Chunk>> = Vec::new();
        for (key, packages) in sheet.chunks() {
            chunks.push(self.chunks.of(root, key, packages, shape).await?);
        }
        let chunks: Arc<[Arc<Chunk>]> = chunks.into();
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
                let spooled = self.behind(prefix, &list).await?;
                self.put_aside(self.draft(repository, target, role, &spooled), &spooled).await
            }
            FinishedContent::Composed { list } => {
                let format = repository.format.publish().ok_or(PublishError::NotPublished)?;
                let mut text = made.get(list).ok_or(PublishError::NotPublished)?.text();
                let (root, keys) = (IndexRoot { entry: target.path.clone() }, local.signing_keys.clone());
                let limits = self.limits.clone();
                // One at a time: it is held whole while it is made.
                let _turn = self.writing_lists.acquire().await.map_err(|_| PublishError::Contended)?;
                let composing = spooled(&self.spool, move |into| {
                    format.compose(&root, &mut text, &keys, &limits, into).map_err(|error| match error {
                        Invalid::Read(error) => error.into(),
                        why => PublishError::Invalid(Arc::new(why)),
                    })
                });
                let spooled = composing.await?;
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

    /// A spool with something before another.
    async fn behind(&self, prefix: Vec<u8>, list: &Spooled) -> Result<Spooled, PublishError> {
        const FRAME: usize = 1 << 20;
        let (mut writer, _reader) = self.spool.create(None, None).await?;
        writer.append(prefix.into()).await?;
        let mut reader = list.reader();
        loop {
            let reading = tokio::task::spawn_blocking(move || {
                let mut frame = vec![0; FRAME];
                let read = std::io::Read::read(&mut reader, &mut frame)?;
                frame.truncate(read);
                Ok::<_, std::io::Error>((reader, frame))
            });
            let (after, frame) = reading.await.map_err(std::io::Error::other)??;
            if frame.is_empty() {
                return Ok(writer.complete().await?);
            }
            reader = after;
            writer.append(Bytes::from(frame)).await?;
        }
    }

    /// The record that bytes will have.
    pub(super) fn draft(&self, repository: &Repository, target: Target, role: Role, spooled: &Spooled) -> Artifact {
        let at = now();
        Artifact {
            revision: Revision(0),
            blob: target.first_blob_key(),
            size: spooled.size,
            sha256: spooled.sha256,
            content_type: repository.format.content_type(&target.path).to_owned(),
            last_modified: last_modified(role, None, at),
            validators: Validators::default(),
            stored_at: at,
            checked_at: at,
            identity: None,
            target,
        }
    }

    /// Makes bytes durable without making them current. Bytes that are kept under that path already, by an earlier snapshot or as a
    /// past content, are not written again.
    pub(super) async fn put_aside(&self, draft: Artifact, spooled: &Spooled) -> Result<Artifact, PublishError> {
        let by_content = artifactapi_formats::Identity::File(spooled.sha256.into());
        let known = match self.catalog.lookup(&draft.target).await? {
            Some(current) if current.sha256 == spooled.sha256 => Some(current),
            _ => self.snapshots.content(&draft.target, &by_content, Some(&spooled.sha256)).await?,
        };
        if let Some(known) = known.filter(|known| known.sha256 == spooled.sha256) {
            return Ok(Artifact { blob: known.blob, size: spooled.size, sha256: spooled.sha256, ..draft });
        }
        let is_first = self.catalog.lookup(&draft.target).await?.is_none();
        self.snapshots.stage(&self.keeper.keys_for(&draft.target, spooled), draft.stored_at).await?;
        Ok(self.keeper.put_aside(spooled, draft, is_first).await?)
    }

    /// What follows a publication: everybody is told, removed packages lose their records, and the next one begins here.
    async fn finish(&self, repository: &Repository, root: &Target, base: &Base, plan: &Plan, snapshot: &Snapshot) {
        let sheet = base.sheet.with(plan.put.iter().map(Listed::of).collect(), &plan.removed);
        self.sheets.insert(root.clone(), (snapshot.id, Arc::new(sheet)));
        self.switches.notice(repository, snapshot, base.snapshot.as_ref().map(|snapshot| snapshot.id)).await;
        // Whoever was given the index before still finds them, by that snapshot.
        let superseded = base.snapshot.iter().flat_map(|before| &before.files).filter(|file| {
            repository.format.classify(&file.target.path) == Role::IndexMember
                && snapshot.file(&file.target.path).is_none()
        });
        let forgetting = superseded.map(|file| async {
            if let Err(error) = self.catalog.remove(&file.target, file.revision, now()).await {
                tracing::debug!(target: "artifactapi::publish", path = %file.target, %error, "a superseded list keeps its record");
            }
            self.shelf.forget(&file.target);
        });
        join_all(forgetting).await;
        // A merged index has no packages of its own.
        let goes = if plan.source.is_empty() { &plan.removed[..] } else { &[] };
        for path in goes {
            let target = Target::new(root.repository.clone(), path.clone());
            // The index does not name it any more; a record that is left over is in nobody's way.
            if let Err(error) = self.retire(&target).await {
                tracing::warn!(target: "artifactapi::publish", path = %target, %error, "removed, but its record is still there");
            }
            self.shelf.forget(&target);
            self.coordinator.announce(Event::Removed(target)).await;
        }
        for file in &snapshot.files {
            self.shelf.forget(&file.target);
            self.coordinator.announce(Event::Published(file.target.clone(), file.revision)).await;
        }
        tracing::info!(
            target: "artifactapi::publish",
            root = %snapshot.root, snapshot = snapshot.id.0, packages = snapshot.packages,
            put = plan.put.len(), removed = plan.removed.len(), "index published"
        );
    }

    /// Removes a package's record, so that earlier snapshots still find its content.
    async fn retire(&self, target: &Target) -> Result<(), PublishError> {
        if let Some(record) = self.catalog.lookup(target).await? {
            self.fragments.keep_past(target, now()).await?;
            self.catalog.remove(target, record.revision, now()).await?;
        }
        Ok(())
    }
}
