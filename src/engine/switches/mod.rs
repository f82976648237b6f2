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
//! An entry that was shown before its snapshot was recorded stands [on credit](Standing::OnCredit): for as long as anybody may have
//! it, no package of its repository is given out without a look at who asks.
//!
//! A record that the current index contradicts (a transfer that began before a switch and ended after it) is never
//! shown; of one that does not say what it is, the bytes are asked ([`Identities`]). None of this is on the path of a hit: what is on the shelf is right for the entry that was noticed last.

mod agreement;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use artifactapi_formats::{Expected, Mutability, Role, Sha256};
use parking_lot::RwLock;

use self::agreement::agrees;
pub(super) use self::agreement::means;
use super::changes::Changes;
use super::held::{Held, now};
use super::identities::Identities;
use super::pins::{CHANGED, Pins};
use super::shelf::{Found, Shelf, ShelfError};
use crate::config::{Kind, Repository};
use crate::store::catalog::snapshots::{Generation, NamedPackage, Snapshot, SnapshotId, Snapshots};
use crate::store::catalog::{Artifact, CatalogError};
use crate::store::key::Target;

/// How many roots are remembered.
const ROOTS: usize = 16_384;

/// The switches that were noticed.
pub struct Switches {
    shelf: Arc<Shelf>,
    snapshots: Arc<dyn Snapshots>,
    pins: Arc<Pins>,
    identities: Identities,
    noticed: quick_cache::sync::Cache<Target, Noticed>,
    /// Counts the switches that were noticed. Held for reading while a package that was looked up at the same count is put on the
    /// shelf.
    count: RwLock<u64>,
}

/// Whether it is known what an entry says of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its snapshot is recorded.
    Recorded,
    /// It was shown as soon as it came, and what it names is not recorded yet.
    OnCredit,
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
    pub fn new(shelf: Arc<Shelf>, snapshots: Arc<dyn Snapshots>, pins: Arc<Pins>, identities: Identities) -> Self {
        let noticed = quick_cache::sync::Cache::new(ROOTS);
        Self { shelf, snapshots, pins, identities, noticed, count: RwLock::new(0) }
    }

    /// Notices the switch that made `entry` the entry of `root`, if there was one. Free once that is done.
    pub async fn notice_entry(&self, repository: &Repository, root: &Target, entry: &Sha256) -> Standing {
        if self.noticed.get(root).is_some_and(|noticed| noticed.entry == *entry) {
            return Standing::Recorded;
        }
        match self.snapshots.with_entry(root, entry).await {
            Ok(Some(snapshot)) => {
                self.notice(repository, &snapshot, None).await;
                Standing::Recorded
            }
            Ok(None) => {
                self.show_on_credit(repository);
                Standing::OnCredit
            }
            // Without the catalog there is no switch that could be missed: what is shown was shown before.
            Err(_) => Standing::Recorded,
        }
    }

    /// An entry is shown of which it is not known what it names: any package of the repository may be another than it says. What is
    /// remembered of any goes, so that nobody is given it without being looked at.
    pub fn show_on_credit(&self, repository: &Repository) {
        if self.pins.unsettle(&repository.name, repository.cache.pin) {
            self.shelf.forget_all(Some(&repository.name));
        }
    }

    /// Notices a switch to `snapshot`, from the snapshot noticed last or else from `follows`.
    pub async fn notice(&self, repository: &Repository, snapshot: &Snapshot, follows: Option<SnapshotId>) {
        let before = self.noticed.get(&snapshot.root).map(|noticed| noticed.id).or(follows);
        if before.is_some_and(|before| before >= snapshot.id) {
            return;
        }
        let changes = match before {
            Some(before) => self.changes(repository, before, snapshot).await,
            None => None,
        };
        // From here on nothing gets onto the shelf that was looked up before; what is there already goes now.
        *self.count.write() += 1;
        match changes {
            Some(changes) => {
                for (package, is_another) in changes {
                    if is_another {
                        self.pins.change(package.clone(), repository.cache.pin);
                    }
                    self.shelf.forget(&package);
                }
            }
            // What was there before is not known: every record is compared with the catalog at its next use, and with what the
            // indexes say that clients were given before.
            None => {
                let since = now().duration_since(snapshot.published_at).unwrap_or_default();
                self.pins.unsettle(&repository.name, repository.cache.pin.saturating_sub(since));
                self.shelf.forget_all(Some(&repository.name));
            }
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

    /// Notices the switches that took a package out of its indexes, if there were any.
    ///
    /// # Errors
    /// When the catalog cannot say.
    pub async fn notice_removal(&self, repository: &Repository, package: &Target) -> Result<(), CatalogError> {
        let named = self.snapshots.named(&package.repository, &package.path, Generation::Any).await?;
        let mut roots: Vec<&Target> = named.iter().map(|named| &named.root).collect();
        roots.dedup();
        for root in roots {
            if let Some(current) = self.snapshots.current(root).await? {
                self.notice(repository, &current, None).await;
            }
        }
        Ok(())
    }

    /// A path is about to stand for something else, in another index than before: for a while it matters who asks for it.
    pub fn changes_hands(&self, repository: &Repository, package: &Target) {
        self.pins.change(package.clone(), repository.cache.pin);
        self.shelf.forget(package);
    }

    /// The paths that stand for something else than before, and whether they stood for something before; `None` when that is too
    /// much to remember or cannot be known. What is removed from an index of our own stands for nothing; what upstream does not name
    /// any more is still there.
    async fn changes(
        &self,
        repository: &Repository,
        before: SnapshotId,
        snapshot: &Snapshot,
    ) -> Option<Vec<(Target, bool)>> {
        let are_ours = matches!(repository.kind, Kind::Local(_) | Kind::Virtual(_));
        let (mut changed, mut seen) = (Vec::new(), 0);
        self.snapshots.snapshot(before).await.ok()??;
        let mut changes = Changes::between(&*self.snapshots, before, snapshot.id);
        while let Some(page) = changes.page().await.ok()? {
            seen += page.len();
            if seen > CHANGED {
                return None;
            }
            changed.extend(page.into_iter().filter_map(|change| {
                let stood_for_something = change.from.is_some();
                let path = change.to.or(change.from.filter(|_| are_ours))?.path;
                Some((Target::new(snapshot.root.repository.clone(), path), stood_for_something))
            }));
        }
        Some(changed)
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
        let on_shelf = self.shelf.peek(target);
        if let Some(held) = on_shelf.as_ref().filter(|held| !held.record_is_old()) {
            return Ok(Found::Held(Arc::clone(held)));
        }
        let (count, removals) = (*self.count.read(), self.shelf.removals(target));
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
            // Held on to: a switch that is noticed in between would doubt the record first.
            let now = self.count.read();
            if *now == count {
                held.record_is_young();
            }
            return Ok(Found::Held(held));
        }
        let found = self.shelf.open_beside(record, role, mutability).await?;
        if let Found::Held(held) = &found {
            // The same as `put`, of what was not just made current but looked up.
            let now = self.count.read();
            if *now == count { self.shelf.put_looked_up(removals, held) } else { held.supersede() }
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
            // What it is not known to be is looked at when it is asked for again.
            Ok(named) => agrees(repository, &named, &held.artifact) == Some(true),
            Err(_) => true,
        };
        if is_right { self.put(count, held) } else { held.supersede() }
    }

    /// Puts a package on the shelf unless a switch was noticed since the count was `count`; then it is for those who asked for it
    /// and for nobody after them.
    fn put(&self, count: u64, held: &Arc<Held>) {
        let now = self.count.read();
        if *now == count { self.shelf.put(held) } else { held.supersede() }
    }

    async fn judged(&self, repository: &Repository, target: &Target) -> Result<Option<Judged>, ShelfError> {
        let Some(record) = self.shelf.record(target).await? else {
            return Ok(None);
        };
        let named = self.named(repository, target).await?;
        if let Some(is_right) = agrees(repository, &named, &record) {
            return Ok(Some(Judged { record, is_right }));
        }
        let mut all: Vec<Expected> = Vec::new();
        for named in &named {
            if all.iter().all(|known| known.identity != named.package.identity) {
                all.push(named.package.expected());
            }
        }
        Ok(Some(match self.identities.find(repository, record.clone(), &all).await? {
            // What it is one of, another index of the same folder may contradict.
            Some(record) => Judged { is_right: agrees(repository, &named, &record) == Some(true), record },
            None => Judged { record, is_right: false },
        }))
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
