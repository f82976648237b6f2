//! Where changes wait for their index to be written, and how they are divided among indexes that share a folder.
//!
//! A *desk* is an index root, together with those beside it that list packages of other kinds (apk: `APKINDEX.tar.gz` and
//! `Packages.adb`). One task works at a desk at a time, and one replica as long as leases are to be had. What waits there is
//! published in rounds, in each of them the changes of every root together.
//!
//! A path is one file, so one root at most lists it. A package that takes the place of one of another kind takes two
//! publications, first of the index that loses it, then of the one that gains it; between them nobody has it. If the second one
//! fails, whoever uploaded it is told so, and the path is free. The same goes for indexes of other desks: those that the
//! configuration meant when it said another depth of roots are still there, and what they list is as good as ever.

use std::sync::Arc;

use artifactapi_formats::publish::PublishFormat;
use artifactapi_formats::{IndexRoot, PackageEntry, RepoPath};
use futures_util::future::try_join_all;
use tokio::sync::oneshot;

use super::terms::Condition;
use super::{Change, Done, LEASE_PATIENCE, MAX_BATCH, Outcome, PublishError, Publisher, local_of};
use crate::config::{Local, Repository};
use crate::store::catalog::snapshots::{Generation, PackageMark};
use crate::store::coordinator::{Entered, Lease};
use crate::store::key::Target;

/// Paths that are looked up at once.
const AT_ONCE: usize = 8;

/// A change that waits.
pub(super) struct Job {
    /// The format that it was read as.
    format: &'static str,
    /// The root that it is about; `None` for whichever of the desk's lists the path.
    root: Option<Target>,
    change: Change,
    condition: Condition,
    answer: oneshot::Sender<Result<Done, PublishError>>,
}

impl Job {
    fn end(self, done: Result<Done, PublishError>) {
        // Whoever asked may have left.
        drop(self.answer.send(done));
    }
}

/// What is published next, by root.
type Round = Vec<(Target, Vec<Job>)>;

impl Publisher {
    /// Has a change published with whatever else waits at the same desk.
    pub(super) async fn submit(
        self: &Arc<Self>,
        repository: &Repository,
        desk: Target,
        root: Option<Target>,
        change: Change,
        condition: Condition,
    ) -> Result<Done, PublishError> {
        let (answer, answered) = oneshot::channel();
        let job = Job { format: repository.format.name(), root, change, condition, answer };
        let is_being_written = {
            let mut waiting = self.waiting.lock();
            let is_being_written = waiting.contains_key(&desk);
            waiting.entry(desk.clone()).or_default().push(job);
            is_being_written
        };
        if !is_being_written {
            let turn = Turn { publisher: Arc::clone(self), desk, is_over: false };
            // A task of its own: a client that leaves takes nobody's upload with it.
            tokio::spawn(turn.write_all());
        }
        answered.await.map_err(|_| PublishError::Unanswered)?
    }

    /// The right to write an index before other replicas do, if it can be had in time.
    pub(super) async fn lease(&self, desk: &Target) -> Option<Lease> {
        let lease_on = Target::with_query(desk.repository.clone(), desk.path.clone(), "publish");
        loop {
            match self.coordinator.enter(&lease_on, LEASE_PATIENCE).await {
                Entered::Lead(lease) => return Some(lease),
                Entered::Settled => {}
                Entered::OutOfPatience => return None,
            }
        }
    }

    /// What is published next, or `None`: then the desk is free for the next task.
    fn next_batch(&self, desk: &Target) -> Option<Vec<Job>> {
        let mut waiting = self.waiting.lock();
        match waiting.get_mut(desk) {
            Some(jobs) if !jobs.is_empty() => Some(jobs.drain(..jobs.len().min(MAX_BATCH)).collect()),
            _ => {
                waiting.remove(desk);
                None
            }
        }
    }

    async fn write_some(self: &Arc<Self>, desk: &Target, jobs: Vec<Job>) {
        // What is in force now, not when the first of them began: a key that was taken out signs nothing more, however long
        // the queue is.
        let in_force = self.repositories.get(desk.repository.as_str());
        let in_force = in_force.filter(|repository| jobs.iter().all(|job| job.format == repository.format.name()));
        let local = in_force.as_ref().ok_or(PublishError::NotLocal).and_then(|repository| local_of(repository));
        match (&in_force, local) {
            (Some(repository), Ok(local)) => self.write_rounds(repository, local, desk, jobs).await,
            (None, _) => refuse(desk, jobs, &PublishError::NotLocal),
            (_, Err(error)) => refuse(desk, jobs, &error),
        }
    }

    /// Publishes a batch, in one round if no path is in it twice.
    async fn write_rounds(
        self: &Arc<Self>,
        repository: &Arc<Repository>,
        local: &Local,
        desk: &Target,
        jobs: Vec<Job>,
    ) {
        let roots = roots_of(repository, desk);
        let mut round = Round::new();
        for job in jobs {
            let earlier = round.iter().find_map(|(root, jobs)| {
                let same = jobs.iter().find(|other| other.change.path() == job.change.path());
                same.map(|other| (root, other.condition.asks_something()))
            });
            // A plan knows of one root only, so what was asked before of another, or of whichever lists the path, has happened by then.
            // And a condition is about what is there when all that was asked before has happened; where a path has to leave another
            // root, it is the only one in its round.
            let comes_after = earlier.is_some_and(|(before, is_conditional)| {
                job.condition.asks_something()
                    || roots.len() > 1 && (is_conditional || Some(before) != job.root.as_ref())
            });
            if comes_after {
                self.write_round(repository, local, &roots, std::mem::take(&mut round)).await;
            }
            let root = match &job.root {
                Some(root) => root.clone(),
                None => match self.listing(&roots, desk, job.change.path()).await {
                    Ok(root) => root,
                    Err(error) => {
                        job.end(Err(error));
                        continue;
                    }
                },
            };
            match round.iter_mut().find(|(known, _)| *known == root) {
                Some((_, jobs)) => jobs.push(job),
                None => round.push((root, vec![job])),
            }
        }
        self.write_round(repository, local, &roots, round).await;
    }

    /// The root of a desk that lists a path now; the usual one if none does.
    async fn listing(&self, roots: &[Target], desk: &Target, path: &RepoPath) -> Result<Target, PublishError> {
        if roots.len() < 2 {
            return Ok(desk.clone());
        }
        let named = self.snapshots.named(&desk.repository, path, Generation::Current).await?;
        let listing = named.into_iter().map(|named| named.root).find(|root| roots.contains(root));
        Ok(listing.unwrap_or_else(|| desk.clone()))
    }

    async fn write_round(
        self: &Arc<Self>,
        repository: &Arc<Repository>,
        local: &Local,
        roots: &[Target],
        round: Round,
    ) {
        for (root, jobs) in round {
            let mut jobs = self.those_that_may(&root, jobs).await;
            let displaced = match self.displaced(repository, local, (&root, roots), &mut jobs).await {
                Ok(displaced) => displaced,
                Err(error) => {
                    refuse(&root, jobs, &error);
                    continue;
                }
            };
            let is_another =
                |change: &Change| matches!(change, Change::Put { .. }) && displaced.contains(change.path());
            let (taken, jobs): (Vec<_>, Vec<_>) =
                jobs.into_iter().partition(|job| !local.overwrite && is_another(&job.change));
            taken.into_iter().for_each(|job| job.end(Ok(Done { outcome: Outcome::Conflict, snapshot: None })));
            if jobs.is_empty() {
                continue;
            }
            let (mut changes, mut conditions, mut answers) = (Vec::new(), Vec::new(), Vec::new());
            for Job { change, condition, answer, .. } in jobs {
                changes.push(change);
                conditions.push(condition);
                answers.push(answer);
            }
            let mut published = loop {
                let published = self.publish_if(repository, local, &root, &changes, &conditions).await;
                let Err(PublishError::Late(blob)) = &published else { break published };
                // One that came too late costs the others nothing.
                let Some(late) = changes.iter().position(|change| change.blob() == Some(blob)) else { break published };
                changes.remove(late);
                conditions.remove(late);
                drop(answers.remove(late).send(Err(PublishError::Late(blob.clone()))));
                if changes.is_empty() {
                    break Ok(Vec::new());
                }
            };
            if let Ok(done) = &mut published {
                for ((change, condition), done) in changes.iter().zip(&conditions).zip(done) {
                    self.remove_unlisted(&root, (change, condition), done).await;
                }
            }
            if let Err(error) = &published {
                tracing::warn!(target: "artifactapi::publish", %root, changes = changes.len(), %error, "nothing published");
            }
            // Whoever asked may have left.
            match published {
                Ok(done) => answers.into_iter().zip(done).zip(&changes).for_each(|((answer, done), change)| {
                    let in_place = |done: Done| match done.outcome {
                        Outcome::Created if is_another(change) => Done { outcome: Outcome::Replaced, ..done },
                        _ => done,
                    };
                    drop(answer.send(done.map(in_place)));
                }),
                Err(error) => answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone())))),
            }
        }
    }

    /// What no index lists may be there all the same: it came when the repository had another format, or was found in the store and
    /// taken by no index. Whoever is given it can remove it, too.
    async fn remove_unlisted(
        self: &Arc<Self>,
        root: &Target,
        (change, condition): (&Change, &Condition),
        done: &mut Result<Done, PublishError>,
    ) {
        let (Change::Remove { path }, Ok(Done { outcome: Outcome::Absent, snapshot })) = (change, &*done) else {
            return;
        };
        let (snapshot, target) = (*snapshot, Target::new(root.repository.clone(), path.clone()));
        let removing = async {
            // Somebody may have put it in the same batch.
            let is_listed = self.base(root).await?.has(path)
                || !self.snapshots.named(&root.repository, path, Generation::Current).await?.is_empty();
            if is_listed { Ok(Outcome::Absent) } else { Ok(self.remove_file(&target, condition).await?.outcome) }
        };
        *done = removing.await.map(|outcome| Done { outcome, snapshot });
    }

    /// The changes whose conditions hold of what is there now; the others are answered before anything is done for them. Whether they
    /// still hold is looked at again where they are published: another replica may be first.
    async fn those_that_may(&self, root: &Target, jobs: Vec<Job>) -> Vec<Job> {
        let mut may = Vec::with_capacity(jobs.len());
        for job in jobs {
            if job.condition.asks_something() {
                let target = Target::new(root.repository.clone(), job.change.path().clone());
                let current = self.catalog.lookup(&target).await.map_err(PublishError::from);
                if let Err(error) = current.and_then(|current| job.condition.check(current.as_ref())) {
                    job.end(Err(error));
                    continue;
                }
            }
            may.push(job);
        }
        may
    }

    /// Where the changes of a package wait: at the desks of those indexes that list it now. If none does, of the one that would. The
    /// configuration may have said another depth of roots when the package came.
    pub(super) async fn desks_of(
        &self,
        repository: &Repository,
        local: &Local,
        format: &dyn PublishFormat,
        path: &RepoPath,
    ) -> Result<Vec<Target>, PublishError> {
        let usual = |depth: usize| {
            let root = format.root_for(path, depth).ok()?;
            Some(Target::new(repository.name.clone(), root.entry))
        };
        let mut desks = Vec::new();
        for named in self.snapshots.named(&repository.name, path, Generation::Current).await? {
            let mut possible = (0..=path.as_str().matches('/').count()).filter_map(usual);
            let desk = possible.find(|desk| roots_of(repository, desk).contains(&named.root));
            let desk = desk.unwrap_or(named.root);
            if !desks.contains(&desk) {
                desks.push(desk);
            }
        }
        if desks.is_empty() {
            desks.extend(usual(local.root_depth));
        }
        Ok(desks)
    }

    /// Roots other than this one that list packages to be put: those of the desk, and whichever were written when the configuration
    /// said another depth of roots.
    async fn listing_too(
        &self,
        (root, roots): (&Target, &[Target]),
        jobs: &[Job],
    ) -> Result<Vec<Target>, PublishError> {
        let mut others: Vec<Target> = roots.iter().filter(|other| *other != root).cloned().collect();
        let put: Vec<&RepoPath> =
            jobs.iter().filter(|job| matches!(job.change, Change::Put { .. })).map(|job| job.change.path()).collect();
        for some in put.chunks(AT_ONCE) {
            let asked: Vec<_> =
                some.iter().map(|path| self.snapshots.named(&root.repository, path, Generation::Current)).collect();
            for other in try_join_all(asked).await?.into_iter().flatten().map(|named| named.root) {
                if other != *root && !others.contains(&other) {
                    others.push(other);
                }
            }
        }
        Ok(others)
    }

    /// The paths of packages to be put that another root lists with other content. If they may be replaced, it lists them no more:
    /// then nothing is there, if the conditions of those who put them held until then. Whose do not are answered.
    async fn displaced(
        &self,
        repository: &Arc<Repository>,
        local: &Local,
        roots: (&Target, &[Target]),
        jobs: &mut Vec<Job>,
    ) -> Result<Vec<RepoPath>, PublishError> {
        let mut displaced = Vec::new();
        for other in &self.listing_too(roots, jobs).await? {
            let base = self.base(other).await?;
            let is_listed = |entry: &PackageEntry| {
                base.sheet.mark_of(&entry.path).is_some_and(|listed| listed != PackageMark::of(entry))
            };
            let put = jobs.iter().filter_map(|job| match &job.change {
                Change::Put { described, .. } => Some(&described.entry),
                _ => None,
            });
            let mut taken: Vec<RepoPath> =
                put.filter(|entry| is_listed(entry)).map(|entry| entry.path.clone()).collect();
            taken.dedup();
            if local.overwrite && !taken.is_empty() {
                let going: Vec<Change> = taken.iter().map(|path| Change::Remove { path: path.clone() }).collect();
                let condition = |path| {
                    let job = jobs.iter().find(|job| job.change.path() == path);
                    job.map(|job| job.condition.clone()).unwrap_or_default()
                };
                let conditions: Vec<Condition> = taken.iter().map(condition).collect();
                let went = self.publish_if(repository, local, other, &going, &conditions).await?;
                let stays: Vec<RepoPath> =
                    taken.iter().zip(&went).filter(|(_, went)| went.is_err()).map(|(path, _)| path.clone()).collect();
                taken.retain(|path| !stays.contains(path));
                for path in &taken {
                    self.switches.changes_hands(repository, &Target::new(other.repository.clone(), path.clone()));
                }
                for mut job in std::mem::take(jobs) {
                    if stays.contains(job.change.path()) {
                        job.end(Err(PublishError::Precondition));
                        continue;
                    }
                    if taken.contains(job.change.path()) && job.condition.asks_something() {
                        job.condition = Condition::that(|current| current.is_none());
                    }
                    jobs.push(job);
                }
            }
            displaced.append(&mut taken);
        }
        Ok(displaced)
    }
}

/// Answers that nothing of it is published.
fn refuse(root: &Target, jobs: Vec<Job>, error: &PublishError) {
    tracing::warn!(target: "artifactapi::publish", %root, changes = jobs.len(), %error, "nothing published");
    jobs.into_iter().for_each(|job| job.end(Err(error.clone())));
}

/// The turn of one task at a desk. However it ends, the next upload begins another, and nobody waits for a task that is no more.
struct Turn {
    publisher: Arc<Publisher>,
    desk: Target,
    /// Whether the desk is free already.
    is_over: bool,
}

impl Turn {
    /// Publishes what waits at the desk until nothing does.
    async fn write_all(mut self) {
        let Self { publisher, desk, .. } = &self;
        loop {
            // Whoever comes from here on is in this batch or the next.
            let lease = publisher.lease(desk).await;
            let Some(jobs) = publisher.next_batch(desk) else { break };
            publisher.write_some(desk, jobs).await;
            drop(lease);
        }
        self.is_over = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            // Whatever waits is told by its channel that nobody answers.
            self.publisher.waiting.lock().remove(&self.desk);
        }
    }
}

/// The roots of a desk, the usual one first.
pub(super) fn roots_of(repository: &Repository, desk: &Target) -> Vec<Target> {
    let usual = IndexRoot { entry: desk.path.clone() };
    let beside = repository.format.publish().map(|format| format.roots_beside(&usual)).unwrap_or_default();
    let beside = beside.into_iter().map(|root| Target::new(desk.repository.clone(), root.entry));
    std::iter::once(desk.clone()).chain(beside).collect()
}
