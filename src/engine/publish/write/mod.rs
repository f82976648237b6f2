//! Writing an index of ours: one publication, with everything that arrived together.
//!
//! The sheet of the current snapshot and the changes make the next sheet; its chunks are joined to lists; the format binds
//! them together; and one transaction of the catalog makes index and packages current. If another replica was first,
//! nothing has happened, and all of it is done again on top of what that one published: the catalog's compare-and-set is
//! the only arbiter.

mod files;
pub(super) mod merge;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use artifactapi_formats::publish::PublishFormat;
use artifactapi_formats::{RepoPath, Role};
use futures_util::future::join_all;

use super::plan::{Before, Plan, plan};
use super::sheet::{Listed, Sheet};
use super::terms::Condition;
use super::{Change, Done, Outcome, PublishError, Publisher};
use crate::config::{Local, Repository};
use crate::engine::changes::Changes;
use crate::engine::held::now;
use crate::store::catalog::Artifact;
use crate::store::catalog::snapshots::{
    Draft, Generation, PackageQuery, ROWS, Snapshot, SnapshotId, SnapshotPublished,
};
use crate::store::coordinator::Event;
use crate::store::key::Target;

/// How often a publication that another came before is tried again.
pub(super) const TRIES: usize = 16;

/// What becomes of each change: an outcome for those whose conditions held.
fn answers(held: &[bool], outcomes: Vec<Outcome>, snapshot: Option<SnapshotId>) -> Vec<Result<Done, PublishError>> {
    let mut outcomes = outcomes.into_iter();
    let mut answer = |held: &bool| match held.then(|| outcomes.next()).flatten() {
        Some(outcome) => Ok(Done { outcome, snapshot }),
        None => Err(PublishError::Precondition),
    };
    held.iter().map(&mut answer).collect()
}

/// What a sheet was read from.
pub(super) struct Base {
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) sheet: Arc<Sheet>,
}

impl Base {
    /// Whether the index lists or carries something under a path.
    pub(super) fn has(&self, path: &RepoPath) -> bool {
        self.before(&HashMap::new()).has(path)
    }

    fn before<'b>(&'b self, records: &'b HashMap<RepoPath, Artifact>) -> Before<'b> {
        Before { sheet: &self.sheet, snapshot: self.snapshot.as_deref(), records }
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
        let conditions = vec![Condition::default(); changes.len()];
        let done = self.publish_if(repository, local, root, changes, &conditions).await?;
        done.into_iter().collect()
    }

    /// The same of those changes whose conditions hold; the others are answered that theirs do not. Conditions are looked at in every
    /// attempt anew, and after what it is made on top of: whatever was published before that, they have seen, and whatever is published
    /// after it, the attempt loses to. Of several changes of a path only the first may have one.
    pub(super) async fn publish_if(
        &self,
        repository: &Arc<Repository>,
        local: &Local,
        root: &Target,
        changes: &[Change],
        conditions: &[Condition],
    ) -> Result<Vec<Result<Done, PublishError>>, PublishError> {
        let format = repository.format.publish().ok_or(PublishError::NotPublished)?;
        for _ in 0..TRIES {
            let base = self.base(root).await?;
            let held = self.holding_conditions(root, changes, conditions).await?;
            let may: Vec<&Change> = changes.iter().zip(&held).filter(|(_, held)| **held).map(|(one, _)| one).collect();
            let plan = self.plan(local, root, &base, &may).await?;
            if plan.changes_nothing() {
                let current = base.snapshot.as_ref().map(|snapshot| snapshot.id);
                return Ok(answers(&held, plan.outcomes, current));
            }
            match self.attempt(repository, local, format, root, &base, &plan).await? {
                SnapshotPublished::Won { snapshot, .. } => {
                    self.finish(repository, root, &base, &plan, &snapshot).await;
                    return Ok(answers(&held, plan.outcomes, Some(snapshot.id)));
                }
                SnapshotPublished::BlobLeaving(blob) if changes.iter().any(|change| change.blob() == Some(&blob)) => {
                    return Err(PublishError::Late(blob));
                }
                SnapshotPublished::Lost(_) | SnapshotPublished::BlobLeaving(_) => self.sheets.remove(root),
            };
        }
        Err(PublishError::Contended)
    }

    /// Which conditions hold of what is there now.
    async fn holding_conditions(
        &self,
        root: &Target,
        changes: &[Change],
        conditions: &[Condition],
    ) -> Result<Vec<bool>, PublishError> {
        let mut held = Vec::with_capacity(changes.len());
        for (change, condition) in changes.iter().zip(conditions) {
            held.push(if condition.asks_something() {
                let target = Target::new(root.repository.clone(), change.path().clone());
                condition.check(self.catalog.lookup(&target).await?.as_ref()).is_ok()
            } else {
                true
            });
        }
        Ok(held)
    }

    /// The current snapshot, and its sheet.
    pub(super) async fn base(&self, root: &Target) -> Result<Base, PublishError> {
        for _ in 0..TRIES {
            let Some(snapshot) = self.snapshots.current(root).await?.map(Arc::new) else {
                return Ok(Base { snapshot: None, sheet: Arc::default() });
            };
            let sheet = match self.sheets.get(root) {
                Some((id, sheet)) if id == snapshot.id => return Ok(Base { snapshot: Some(snapshot), sheet }),
                Some((id, sheet)) => self.followed(&sheet, id, snapshot.id).await?,
                None => None,
            };
            let sheet = match sheet {
                Some(sheet) => sheet,
                None => {
                    let sheet = self.read_sheet(root, &snapshot).await?;
                    // Page by page, of whatever was current: with a publication in between it would be of two snapshots, and of none.
                    if self.snapshots.current(root).await?.is_none_or(|current| current.id != snapshot.id) {
                        continue;
                    }
                    sheet
                }
            };
            let sheet = Arc::new(sheet);
            self.sheets.insert(root.clone(), (snapshot.id, Arc::clone(&sheet)));
            return Ok(Base { snapshot: Some(snapshot), sheet });
        }
        Err(PublishError::Contended)
    }

    /// A sheet of one snapshot as it is in another, later or earlier. `None` if one of the two is not there any more.
    pub(super) async fn followed(
        &self,
        sheet: &Sheet,
        from: SnapshotId,
        to: SnapshotId,
    ) -> Result<Option<Sheet>, PublishError> {
        let (mut put, mut removed) = (Vec::new(), Vec::new());
        let mut changes = Changes::between(&*self.snapshots, from, to);
        while let Some(page) = changes.page().await? {
            for change in page {
                match (change.from, change.to) {
                    (_, Some(to)) => put.push(Listed::of(&to)),
                    (Some(from), None) => removed.push(from.path),
                    (None, None) => {}
                }
            }
        }
        // Asked afterwards: between two of which one is gone there seems to be no difference.
        for end in [from, to] {
            if self.snapshots.snapshot(end).await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(sheet.with(put, &removed)))
    }

    /// As the catalog has it now, page by page. Whether that is of one snapshot, is for the caller to ask afterwards.
    async fn read_sheet(&self, root: &Target, snapshot: &Snapshot) -> Result<Sheet, PublishError> {
        let mut query = PackageQuery { root: Some(root.path.clone()), limit: ROWS, ..PackageQuery::default() };
        let mut packages = Vec::with_capacity(usize::try_from(snapshot.packages).unwrap_or_default().min(1 << 20));
        loop {
            let page = self.snapshots.search(&root.repository, &query).await?;
            let Some(last) = page.last() else { break };
            query.after = Some(last.row);
            packages.extend(page.iter().map(|named| Listed::of(&named.package)));
        }
        Ok(Sheet::of(packages))
    }

    /// What the changes come to, with what the catalog knows of their paths.
    pub(super) async fn plan(
        &self,
        local: &Local,
        root: &Target,
        base: &Base,
        changes: &[&Change],
    ) -> Result<Plan, PublishError> {
        let mut records = HashMap::new();
        for change in changes {
            let path = match change {
                Change::Put { record, .. } => &record.target.path,
                Change::Remove { path } => path,
                Change::Carry { .. } | Change::Renew { .. } => continue,
            };
            if base.has(path) && !records.contains_key(path) {
                let found = self.catalog.lookup(&Target::new(root.repository.clone(), path.clone())).await?;
                records.extend(found.map(|record| (path.clone(), record)));
            }
        }
        let mut plan = plan(base.before(&records), local.overwrite, changes);
        for path in plan.replaced.iter().map(|target| &target.path).chain(&plan.removed) {
            if base.sheet.mark_of(path).is_some() {
                let named = self.snapshots.named(&root.repository, path, Generation::Current).await?;
                plan.dropped.extend(named.iter().filter(|named| named.root == *root).map(|named| named.row));
            }
        }
        Ok(plan)
    }

    /// Writes the index that a plan makes, and publishes it.
    pub(super) async fn attempt(
        &self,
        repository: &Arc<Repository>,
        local: &Local,
        format: &'static dyn PublishFormat,
        root: &Target,
        base: &Base,
        plan: &Plan,
    ) -> Result<SnapshotPublished, PublishError> {
        let draft = self.snapshots.begin(root, now()).await?;
        let publishing = async {
            if draft.follows != base.snapshot.as_ref().map(|snapshot| snapshot.id) {
                return Ok(SnapshotPublished::Lost(draft.follows));
            }
            let written = self.write(repository, local, format, root, base, plan).await?;
            self.publish_draft(root, draft, plan, written).await
        };
        let published = publishing.await;
        if !matches!(published, Ok(SnapshotPublished::Won { .. })) {
            // Should the catalog be away, the next publication of the root takes its rows along.
            let _ = self.snapshots.abandon(draft.id).await;
        }
        let published = published?;
        if let SnapshotPublished::BlobLeaving(blob) = &published {
            self.leaving.insert(blob.clone(), ());
        }
        if let SnapshotPublished::Won { replaced, .. } = &published {
            for target in replaced {
                self.shelf.forget(target);
                self.coordinator.announce(Event::Removed(target.clone())).await;
            }
        }
        Ok(published)
    }

    /// Publishes a draft. Whoever calls gives it up if that does not succeed.
    async fn publish_draft(
        &self,
        root: &Target,
        draft: Draft,
        plan: &Plan,
        (files, made_at, packages): (Vec<Artifact>, SystemTime, u64),
    ) -> Result<SnapshotPublished, PublishError> {
        for target in &plan.replaced {
            self.fragments.keep_past(target, now()).await?;
        }
        for packages in plan.put.chunks(ROWS as usize) {
            self.snapshots.add_packages(draft.id, packages).await?;
        }
        for rows in plan.dropped.chunks(ROWS as usize) {
            self.snapshots.drop_packages(draft.id, rows).await?;
        }
        let snapshot = Snapshot {
            id: draft.id,
            root: root.clone(),
            published_at: now(),
            made_at: Some(made_at),
            source: plan.source.clone(),
            packages,
            tags: Vec::new(),
            files,
        };
        let publishing = self.snapshots.publish_snapshot(&snapshot, draft.follows, &plan.retired);
        publishing.await.map_err(PublishError::of_change)
    }

    /// What follows a publication: everybody is told, removed packages lose their records, and the next one begins here.
    pub(super) async fn finish(
        &self,
        repository: &Repository,
        root: &Target,
        base: &Base,
        plan: &Plan,
        snapshot: &Snapshot,
    ) {
        let sheet = base.sheet.with(plan.put.iter().map(Listed::of).collect(), &plan.removed);
        self.sheets.insert(root.clone(), (snapshot.id, Arc::new(sheet)));
        self.resting.published(root);
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
        for record in &plan.retired {
            self.shelf.forget(&record.target);
            self.coordinator.announce(Event::Removed(record.target.clone())).await;
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
}
