//! Where changes wait for their index to be written, and how they are divided among indexes that share a folder.
//!
//! A *desk* is an index root, together with those beside it that list packages of other kinds (apk: `APKINDEX.tar.gz` and
//! `Packages.adb`). One task works at a desk at a time, and one replica as long as leases are to be had. What waits there is
//! published in rounds, in each of them the changes of every root together.
//!
//! A path is one file, so one root at most lists it. A package that takes the place of one of another kind takes two
//! publications, first of the index that loses it, then of the one that gains it; between them nobody has it. If the second one
//! fails, whoever uploaded it is told so, and the path is free.

use std::sync::Arc;

use artifactapi_formats::{IndexRoot, RepoPath};
use tokio::sync::oneshot;

use super::{Change, Done, LEASE_PATIENCE, MAX_BATCH, Outcome, PublishError, Publisher, local_of};
use crate::config::{Local, Repository};
use crate::store::catalog::snapshots::Generation;
use crate::store::coordinator::Entered;
use crate::store::key::Target;

/// A change that waits.
pub(super) struct Job {
    /// The root that it is about; `None` for whichever of the desk's lists the path.
    root: Option<Target>,
    change: Change,
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
        repository: &Arc<Repository>,
        desk: Target,
        root: Option<Target>,
        change: Change,
    ) -> Result<Done, PublishError> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            let is_being_written = waiting.contains_key(&desk);
            waiting.entry(desk.clone()).or_default().push(Job { root, change, answer });
            if !is_being_written {
                // A task of its own: a client that leaves takes nobody's upload with it.
                tokio::spawn(Arc::clone(self).write_all(Arc::clone(repository), desk));
            }
        }
        answered.await.map_err(|_| PublishError::Contended)?
    }

    /// Publishes what waits at a desk until nothing does.
    async fn write_all(self: Arc<Self>, repository: Arc<Repository>, desk: Target) {
        let lease_on = Target::with_query(desk.repository.clone(), desk.path.clone(), "publish");
        loop {
            // Whoever comes from here on is in this batch or the next.
            let lease = loop {
                match self.coordinator.enter(&lease_on, LEASE_PATIENCE).await {
                    Entered::Lead(lease) => break Some(lease),
                    Entered::Settled => {}
                    Entered::OutOfPatience => break None,
                }
            };
            let jobs: Vec<Job> = {
                let mut waiting = self.waiting.lock();
                match waiting.get_mut(&desk) {
                    Some(jobs) if !jobs.is_empty() => jobs.drain(..jobs.len().min(MAX_BATCH)).collect(),
                    _ => {
                        waiting.remove(&desk);
                        return;
                    }
                }
            };
            self.write_some(&repository, &desk, jobs).await;
            drop(lease);
        }
    }

    async fn write_some(&self, repository: &Arc<Repository>, desk: &Target, jobs: Vec<Job>) {
        let roots = roots_of(repository, desk);
        let mut round = Round::new();
        for job in jobs {
            let before = round
                .iter()
                .find(|(_, jobs)| roots.len() > 1 && jobs.iter().any(|other| other.change.path() == job.change.path()))
                .map(|(root, _)| root.clone());
            let root = match (&job.root, &before) {
                (Some(root), _) | (None, Some(root)) => root.clone(),
                (None, None) => match self.listing(&roots, desk, job.change.path()).await {
                    Ok(root) => root,
                    Err(error) => {
                        job.end(Err(error));
                        continue;
                    }
                },
            };
            // What was asked before about the same path has happened by then.
            if before.is_some_and(|before| before != root) {
                self.write_round(repository, &roots, std::mem::take(&mut round)).await;
            }
            match round.iter_mut().find(|(known, _)| *known == root) {
                Some((_, jobs)) => jobs.push(job),
                None => round.push((root, vec![job])),
            }
        }
        self.write_round(repository, &roots, round).await;
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

    async fn write_round(&self, repository: &Arc<Repository>, roots: &[Target], round: Round) {
        for (root, jobs) in round {
            let local = match local_of(repository) {
                Ok(local) => local,
                Err(error) => {
                    jobs.into_iter().for_each(|job| job.end(Err(error.clone())));
                    continue;
                }
            };
            let others: Vec<&Target> = roots.iter().filter(|other| **other != root).collect();
            let displaced = self.displaced(repository, local, &others, &jobs).await;
            let (jobs, taken): (Vec<_>, Vec<_>) = match &displaced {
                Ok(displaced) if !local.overwrite => {
                    jobs.into_iter().partition(|job| !displaced.contains(job.change.path()))
                }
                _ => (jobs, Vec::new()),
            };
            taken.into_iter().for_each(|job| job.end(Ok(Done { outcome: Outcome::Conflict, snapshot: None })));
            let (changes, answers): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.change, job.answer)).unzip();
            if changes.is_empty() {
                continue;
            }
            let published = match &displaced {
                Ok(_) => self.publish(repository, local, &root, &changes).await,
                Err(error) => Err(error.clone()),
            };
            if let Err(error) = &published {
                tracing::warn!(target: "artifactapi::publish", %root, changes = changes.len(), %error, "nothing published");
            }
            let displaced = displaced.unwrap_or_default();
            // Whoever asked may have left.
            match published {
                Ok(done) => answers.into_iter().zip(done).zip(&changes).for_each(|((answer, done), change)| {
                    let is_another = done.outcome == Outcome::Created && displaced.contains(change.path());
                    let outcome = if is_another { Outcome::Replaced } else { done.outcome };
                    drop(answer.send(Ok(Done { outcome, ..done })));
                }),
                Err(error) => answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone())))),
            }
        }
    }

    /// The paths of packages to be put that another root of the desk lists. If they may be replaced, it lists them no more.
    async fn displaced(
        &self,
        repository: &Arc<Repository>,
        local: &Local,
        others: &[&Target],
        jobs: &[Job],
    ) -> Result<Vec<RepoPath>, PublishError> {
        let mut displaced = Vec::new();
        for other in others {
            let base = self.base(other).await?;
            let put = jobs.iter().filter(|job| matches!(job.change, Change::Put { .. })).map(|job| job.change.path());
            let mut taken: Vec<RepoPath> = put.filter(|path| base.sheet.mark_of(path).is_some()).cloned().collect();
            taken.dedup();
            if local.overwrite && !taken.is_empty() {
                let going: Vec<Change> = taken.iter().map(|path| Change::Remove { path: path.clone() }).collect();
                self.publish(repository, local, other, &going).await?;
                for path in &taken {
                    self.switches.changes_hands(repository, &Target::new(other.repository.clone(), path.clone()));
                }
            }
            displaced.append(&mut taken);
        }
        Ok(displaced)
    }
}

/// The roots of a desk, the usual one first.
fn roots_of(repository: &Repository, desk: &Target) -> Vec<Target> {
    let usual = IndexRoot { entry: desk.path.clone() };
    let beside = repository.format.publish().map(|format| format.roots_beside(&usual)).unwrap_or_default();
    let beside = beside.into_iter().map(|root| Target::new(desk.repository.clone(), root.entry));
    std::iter::once(desk.clone()).chain(beside).collect()
}
