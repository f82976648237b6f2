//! Writing the index of a virtual repository: of what the indexes of its members list at the same place (DESIGN 6).
//!
//! A virtual root is a sequence of snapshots like any other, and written like those of local repositories: sheet, chunks, lists,
//! one transaction. Its packages are those of its members' roots ([`members`]; [`Choice`] says which win); their fragments come from the
//! catalog if the member's index is one of ours, and are cut out of its lists if not ([`fragments`]). They are kept for the virtual root
//! by their marks, so that the next time only what differs is cut and written. What members carry beside their lists is joined
//! ([`carried`]). What a remote member has that no client could read is left out of both, and logged: it would take the rest with it.
//!
//! Which generations an index was merged of stands in its snapshot's source; while that is what there is, nothing is written. No
//! package is copied, and none is asked of anybody: what the indexes that are held say is enough.

mod carried;
mod fragments;
mod members;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use artifactapi_formats::{RepoPath, Sha256};
use tokio::sync::watch;

use super::{Base, Plan, TRIES};
use crate::config::{Kind, Local, Repository, Virtual};
use crate::engine::publish::choice::{Choice, Chosen};
use crate::engine::publish::{PublishError, Publisher};
use crate::store::catalog::snapshots::SnapshotPublished;
use crate::store::catalog::snapshots::{PackageMark, Snapshot};
use crate::store::key::Target;

/// What stands between the members in a source.
const BETWEEN: &str = ", ";

/// A member's index at the place of the virtual one.
struct Part {
    member: Arc<Repository>,
    snapshot: Snapshot,
}

impl Part {
    fn named(&self) -> String {
        format!("{} {}", self.member.name, self.snapshot.id.0)
    }
}

/// How a merged index stands to the indexes of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No member has an index there, and there is no merged one.
    Nothing,
    /// It is of what the members have.
    Current,
    /// A member has published another since.
    Behind {
        /// One that has no upstream to wait for: what was uploaded there is acknowledged.
        is_acknowledged: bool,
    },
    /// There is none yet.
    Unwritten,
}

/// A merge that is under way: whoever needs it waits for the same one.
pub(in crate::engine::publish) type Merging = watch::Receiver<Option<Result<(), PublishError>>>;

impl Publisher {
    /// How the merged index of a root stands to its members' indexes. A few look-ups.
    ///
    /// # Errors
    /// [`PublishError`] when the catalog cannot say.
    pub async fn standing(
        &self,
        repository: &Repository,
        all: &Virtual,
        root: &Target,
    ) -> Result<Standing, PublishError> {
        let parts = self.parts(all, root).await?;
        let Some(current) = self.snapshots.current(root).await? else {
            return Ok(if parts.is_empty() { Standing::Nothing } else { Standing::Unwritten });
        };
        // Without any index there is nothing to merge: the last one stands.
        if parts.is_empty() || current.source == source(repository, all, &parts) {
            return Ok(Standing::Current);
        }
        let known: HashSet<&str> = current.source.split(BETWEEN).collect();
        let is_acknowledged = parts
            .iter()
            .any(|part| !matches!(part.member.kind, Kind::Remote(_)) && !known.contains(part.named().as_str()));
        Ok(Standing::Behind { is_acknowledged })
    }

    /// Writes the merged index of a root anew, unless it is what it should be by then. A task of its own does it: whoever waits may
    /// leave.
    ///
    /// # Errors
    /// [`PublishError`]; the index is then what it was.
    pub async fn merge(self: &Arc<Self>, repository: &Arc<Repository>, root: &Target) -> Result<(), PublishError> {
        let mut merging = {
            let mut running = self.merging.lock();
            match running.get(root).filter(|merging| merging.has_changed().is_ok()) {
                Some(merging) => merging.clone(),
                None => {
                    let (sender, merging) = watch::channel(None);
                    running.insert(root.clone(), merging.clone());
                    let (publisher, repository, root) = (Arc::clone(self), Arc::clone(repository), root.clone());
                    tokio::spawn(async move {
                        let done = publisher.merge_now(&repository, &root).await;
                        if let Err(error) = &done {
                            tracing::warn!(target: "artifactapi::publish", %root, %error, "not merged");
                        }
                        publisher.merging.lock().remove(&root);
                        sender.send_replace(Some(done));
                    });
                    merging
                }
            }
        };
        let done = merging.wait_for(Option::is_some).await.map_err(|_| PublishError::Contended)?;
        done.clone().unwrap_or(Err(PublishError::Contended))
    }

    async fn merge_now(self: &Arc<Self>, repository: &Arc<Repository>, root: &Target) -> Result<(), PublishError> {
        let Kind::Virtual(all) = &repository.kind else { return Err(PublishError::NotLocal) };
        let format = repository.format.publish().ok_or(PublishError::NotPublished)?;
        let _lease = self.lease(root).await;
        // Some hundred bytes for each package of all its members.
        let _turn = self.choosing.acquire().await.map_err(|_| PublishError::Contended)?;
        let local = Local { signing_keys: all.signing_keys.clone(), ..Local::default() };
        for _ in 0..TRIES {
            let parts = self.parts(all, root).await?;
            let base = self.base(root).await?;
            let source = source(repository, all, &parts);
            if parts.is_empty() || base.snapshot.as_ref().is_some_and(|snapshot| snapshot.source == source) {
                return Ok(());
            }
            let Some(choice) = self.choose(repository, &parts).await? else { continue };
            let mut plan = self.plan_merge(repository, root, &base, &parts, &choice).await?;
            plan.source = source;
            match self.attempt(repository, &local, format, root, &base, &plan).await? {
                SnapshotPublished::Won { snapshot, .. } => {
                    self.finish(repository, root, &base, &plan, &snapshot).await;
                    return Ok(());
                }
                SnapshotPublished::Lost(_) | SnapshotPublished::BlobLeaving(_) => drop(self.sheets.remove(root)),
            }
        }
        Err(PublishError::Contended)
    }

    /// What differs from the index there is. The fragments of what is new are kept by then.
    async fn plan_merge(
        &self,
        repository: &Repository,
        root: &Target,
        base: &Base,
        parts: &[Part],
        choice: &Choice,
    ) -> Result<Plan, PublishError> {
        let chosen = choice.chosen();
        let before: HashMap<PackageMark, _> = self.snapshots.marks(root).await?.into_iter().collect();
        let new: Vec<&Chosen> = chosen.values().filter(|one| !before.contains_key(&one.mark)).collect();
        let known = self.with_fragments(root, &new).await?;
        let mut left_out = HashSet::new();
        for (number, part) in parts.iter().enumerate() {
            let wanted: Vec<&Chosen> =
                new.iter().filter(|one| one.from == number && !known.contains(&one.mark)).copied().collect();
            match &part.member.kind {
                _ if wanted.is_empty() => {}
                Kind::Remote(_) => left_out.extend(self.cut_fragments(root, part, &wanted).await?),
                Kind::Local(_) | Kind::Virtual(_) => self.copy_fragments(root, part, &wanted).await?,
            }
        }

        let now_listed: HashSet<PackageMark> =
            chosen.values().map(|one| one.mark).filter(|mark| !left_out.contains(mark)).collect();
        let carried = self.carried(repository, root, parts).await?;
        let was_carried = base.snapshot.iter().flat_map(|snapshot| &snapshot.files).map(|file| &file.target.path);
        let publishing = repository.format.publish();
        let not_carried = was_carried.filter(|path| {
            publishing.is_some_and(|format| format.carried_kind(path).is_some())
                && !carried.iter().any(|carried| carried.target.path == **path)
        });
        Ok(Plan {
            removed: base
                .sheet
                .paths()
                .filter(|path| chosen.get(*path).is_none_or(|one| left_out.contains(&one.mark)))
                .chain(not_carried)
                .cloned()
                .collect::<Vec<RepoPath>>(),
            dropped: before.iter().filter(|(mark, _)| !now_listed.contains(mark)).map(|(_, row)| *row).collect(),
            put: new.into_iter().filter(|one| !left_out.contains(&one.mark)).map(|one| one.package.clone()).collect(),
            carried,
            ..Plan::default()
        })
    }
}

/// What an index is merged of: each member with the number of its snapshot, and a digest of what else it depends on.
fn source(repository: &Repository, all: &Virtual, parts: &[Part]) -> String {
    let mut beside = String::new();
    for (name, key) in all.signing_keys.public_keys() {
        beside.push_str(&format!("{name}\n{key}\n"));
    }
    for patterns in std::iter::once(&repository.patterns).chain(parts.iter().map(|part| &part.member.patterns)) {
        beside.push_str(&format!("{:?} {:?}\n", patterns.include(), patterns.exclude()));
    }
    let beside = format!("with {}", Sha256::of(beside.as_bytes()).hex16());
    parts.iter().map(Part::named).chain([beside]).collect::<Vec<_>>().join(BETWEEN)
}
