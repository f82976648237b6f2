//! Which switches of an index this replica has taken notice of.
//!
//! A switch happens in the catalog, for all replicas at one moment; what each of them has on its shelf and remembers of its
//! clients follows a little later. In between, an index of one generation must not meet packages of another. Hence two rules,
//! which hold whether or not any message about the switch has come yet:
//!
//! - Before anybody is given an entry, the switch that brought it is noticed ([`Switches::notice_entry`]): every path that it
//!   gave another package is off the shelf, and known as one for which it matters who asks ([`Pins::change`]).
//! - Before a package gets onto the shelf, the switch that its index's word for it came with is noticed, and a switch that is
//!   noticed meanwhile keeps it off ([`Switches::find`], [`Switches::shelve`]).
//!
//! A record that the current index contradicts (a transfer that began before a switch and ended after it) is never
//! shown. None of this is on the path of a hit: what is on the shelf is right for the entry that was noticed last.

use std::sync::Arc;

use artifactapi_formats::{Mutability, Role, Sha256};
use parking_lot::RwLock;

use super::held::Held;
use super::pins::{CHANGED, Pins};
use super::shelf::{Found, Shelf, ShelfError};
use crate::config::{Kind, Repository, Verify};
use crate::store::catalog::snapshots::{Generation, NamedPackage, ROWS, Snapshot, SnapshotId, Snapshots};
use crate::store::catalog::{Artifact, CatalogError};
use crate::store::key::Target;

/// How many roots are remembered.
const ROOTS: usize = 16_384;

/// Snapshots that are looked through for the one that has an entry.
const LOOKED_THROUGH: u32 = 8;

/// The switches that were noticed.
pub struct Switches {
    shelf: Arc<Shelf>,
    snapshots: Arc<dyn Snapshots>,
    pins: Arc<Pins>,
    noticed: quick_cache::sync::Cache<Target, Noticed>,
    /// Counts the switches that were noticed. Held for writing while one takes paths off the shelf, for reading while a package
    /// is put there.
    count: RwLock<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Noticed {
    id: SnapshotId,
    entry: Sha256,
}

/// A package's record, and whether the current indexes agree with it.
struct Judged {
    record: Artifact,
    is_right: bool,
}

impl Switches {
    /// None noticed yet.
    #[must_use]
    pub fn new(shelf: Arc<Shelf>, snapshots: Arc<dyn Snapshots>, pins: Arc<Pins>) -> Self {
        let noticed = quick_cache::sync::Cache::new(ROOTS);
        Self { shelf, snapshots, pins, noticed, count: RwLock::new(0) }
    }

    /// Notices the switch that made `entry` the entry of `root`, if there was one. Free once that is done.
    pub async fn notice_entry(&self, repository: &Repository, root: &Target, entry: &Sha256) {
        if self.noticed.get(root).is_some_and(|noticed| noticed.entry == *entry) {
            return;
        }
        // Without the catalog there is no switch that could be missed: what is shown was shown before.
        if let Ok(Some(snapshot)) = self.with_entry(root, entry).await {
            self.notice(repository, &snapshot, None).await;
        }
    }

    async fn with_entry(&self, root: &Target, entry: &Sha256) -> Result<Option<Snapshot>, CatalogError> {
        let is_it = |snapshot: &Snapshot| snapshot.files.first().is_some_and(|file| file.sha256 == *entry);
        match self.snapshots.current(root).await? {
            None => return Ok(None),
            Some(current) if is_it(&current) => return Ok(Some(current)),
            Some(_) => {}
        }
        for listed in self.snapshots.snapshots(root, None, LOOKED_THROUGH).await? {
            if let Some(snapshot) = self.snapshots.snapshot(listed.id).await?.filter(is_it) {
                return Ok(Some(snapshot));
            }
        }
        Ok(None)
    }

    /// Notices a switch to `snapshot`, from the snapshot noticed last or else from `follows`.
    pub async fn notice(&self, repository: &Repository, snapshot: &Snapshot, follows: Option<SnapshotId>) {
        let before = self.noticed.get(&snapshot.root).map(|noticed| noticed.id).or(follows);
        if before.is_some_and(|before| before >= snapshot.id) {
            return;
        }
        let changes = match before {
            Some(before) => self.changes(before, snapshot).await,
            None => None,
        };
        let mut count = self.count.write();
        *count += 1;
        match changes {
            Some(changes) => {
                for (package, is_another) in changes {
                    if is_another {
                        self.pins.change(package.clone(), repository.cache.pin);
                    }
                    self.shelf.forget(&package);
                }
            }
            // What was there before is not known: every record is compared with the catalog at its next use.
            None => self.shelf.doubt(&snapshot.root.repository),
        }
        if let Some(entry) = snapshot.files.first() {
            // Another request may have noticed a later one meanwhile.
            if self.noticed.get(&snapshot.root).is_none_or(|noticed| noticed.id < snapshot.id) {
                let noticed = Noticed { id: snapshot.id, entry: entry.sha256 };
                self.noticed.insert(snapshot.root.clone(), noticed);
            }
            if self.shelf.peek(&snapshot.root).is_some_and(|held| held.artifact.revision < entry.revision) {
                self.shelf.forget(&snapshot.root);
            }
        }
    }

    /// A path is about to stand for something else, in another index than before: for a while it matters who asks for it.
    pub fn changes_hands(&self, repository: &Repository, package: &Target) {
        self.pins.change(package.clone(), repository.cache.pin);
        self.shelf.forget(package);
    }

    /// The paths that stand for something else than before, and whether they stood for something before; `None` when that is too
    /// much to remember or cannot be known.
    async fn changes(&self, before: SnapshotId, snapshot: &Snapshot) -> Option<Vec<(Target, bool)>> {
        let (mut changed, mut after, mut seen) = (Vec::new(), None, 0);
        self.snapshots.snapshot(before).await.ok()??;
        loop {
            let changes = self.snapshots.diff(before, snapshot.id, after.as_ref(), ROWS).await.ok()?;
            let Some(last) = changes.last().and_then(|change| change.to.as_ref().or(change.from.as_ref())) else {
                return Some(changed);
            };
            after = Some(last.path.clone());
            seen += changes.len();
            if seen > CHANGED {
                return None;
            }
            changed.extend(changes.into_iter().filter_map(|change| {
                let to = change.to?;
                Some((Target::new(snapshot.root.repository.clone(), to.path), change.from.is_some()))
            }));
        }
    }

    /// What is held of `target`, as [`Shelf::find`]; a package that the current index contradicts is as good as none.
    ///
    /// # Errors
    /// [`ShelfError`] when it is not on the shelf and cannot be looked up or opened.
    pub async fn find(
        &self,
        repository: &Repository,
        target: &Target,
        role: Role,
        mutability: &Mutability,
    ) -> Result<Found, ShelfError> {
        if !is_indexed(repository, target, role) {
            return self.shelf.find(target, role, mutability).await;
        }
        let on_shelf = self.shelf.peek(target).filter(|held| !held.body.has_arrived());
        if let Some(held) = on_shelf.as_ref().filter(|held| !held.record_is_old()) {
            return Ok(Found::Held(Arc::clone(held)));
        }
        let count = *self.count.read();
        let Judged { record, is_right } = match (self.judged(repository, target).await, on_shelf.as_ref()) {
            (Ok(Some(judged)), _) => judged,
            (Ok(None), _) => {
                self.shelf.forget(target);
                return Ok(Found::Nothing);
            }
            // The catalog is away: what is in memory goes on being served (DESIGN 7).
            (Err(_), Some(held)) => {
                held.record_is_young();
                return Ok(Found::Held(Arc::clone(held)));
            }
            (Err(error), None) => return Err(error),
        };
        if !is_right {
            self.shelf.forget(target);
            return Ok(Found::Bodiless(Box::new(record)));
        }
        if let Some(held) = on_shelf.filter(|held| held.artifact.revision == record.revision) {
            held.confirm(record.checked_at);
            if *self.count.read() == count {
                held.record_is_young();
            }
            return Ok(Found::Held(held));
        }
        let found = self.shelf.open_beside(record, role, mutability).await?;
        if let Found::Held(held) = &found {
            self.put(count, held);
        }
        Ok(found)
    }

    /// Puts on the shelf what was just made current.
    pub async fn shelve(&self, repository: &Repository, held: &Arc<Held>) {
        let target = &held.artifact.target;
        if !is_indexed(repository, target, held.role) {
            return self.shelf.put(held);
        }
        let count = *self.count.read();
        // Without the catalog nothing new can have been published either.
        let is_right = match self.named(repository, target).await {
            Ok(named) => agrees(repository, &named, &held.artifact),
            Err(_) => true,
        };
        match is_right {
            true => self.put(count, held),
            false => held.supersede(),
        }
    }

    /// Puts a package on the shelf unless a switch was noticed since the count was `count`; then it is for those who asked for it
    /// and for nobody after them.
    fn put(&self, count: u64, held: &Arc<Held>) {
        let now = self.count.read();
        match *now == count {
            true => self.shelf.put(held),
            false => held.supersede(),
        }
    }

    async fn judged(&self, repository: &Repository, target: &Target) -> Result<Option<Judged>, ShelfError> {
        let Some(record) = self.shelf.record(target).await? else {
            return Ok(None);
        };
        let named = self.named(repository, target).await?;
        Ok(Some(Judged { is_right: agrees(repository, &named, &record), record }))
    }

    /// What the current indexes say of a path; switches that gave it what they say are noticed.
    async fn named(&self, repository: &Repository, target: &Target) -> Result<Vec<NamedPackage>, CatalogError> {
        let named = self.snapshots.named(&target.repository, &target.path, Generation::Current).await?;
        for package in &named {
            let is_news = self.noticed.get(&package.root).is_some_and(|noticed| package.first > noticed.id);
            if is_news && let Some(current) = self.snapshots.current(&package.root).await? {
                self.notice(repository, &current, None).await;
            }
        }
        Ok(named)
    }
}

/// Whether a path can be one that an index names.
fn is_indexed(repository: &Repository, target: &Target, role: Role) -> bool {
    role == Role::Package && target.query.is_empty() && repository.format.index().is_some()
}

/// Whether one of those who name a package means these bytes, as far as that can be known, or nobody names it. Two indexes of our own in
/// one folder must both mean them: they name one path only if they were written at once without a coordinator, and then nobody is given
/// what the other one says. Who does not have packages checked has chosen to be given what there is.
fn agrees(repository: &Repository, named: &[NamedPackage], record: &Artifact) -> bool {
    let is_checked = match &repository.kind {
        Kind::Remote(remote) => remote.verify == Verify::Strict,
        Kind::Local(_) | Kind::Virtual(_) => true,
    };
    let means_it = |named: &NamedPackage| {
        let means = &named.package.identity;
        match &record.identity {
            Some(identity) => identity == means,
            None => means.sha256().is_none_or(|sha256| sha256 == record.sha256),
        }
    };
    let are_beside = |one: &NamedPackage, other: &NamedPackage| one.root.path.folder() == other.root.path.folder();
    let is_contradicted = |one: &NamedPackage| {
        matches!(repository.kind, Kind::Local(_))
            && named.iter().any(|other| are_beside(one, other) && !means_it(other))
    };
    let agree = named.iter().any(|one| means_it(one) && !is_contradicted(one));
    !is_checked || named.is_empty() || agree
}
