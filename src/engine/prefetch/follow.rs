//! Runs that follow what happens: a snapshot was published here, the server started, the configuration changed.
//!
//! A publication happens on one replica, so its run does too. Mirrors are looked through on every replica when it starts,
//! and a lease lets one of them do it. Runs of one root and kind take turns; the later one finds what the earlier one left.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use super::rows::Rows;
use super::{Moment, Prefetcher, Run, Tally};
use crate::config::{Kind, LiveRepositories, Prefetch, Repository};
use crate::engine::fills::{Fills, Publication};
use crate::store::catalog::CatalogError;
use crate::store::catalog::snapshots::{ROWS, SnapshotId};
use crate::store::coordinator::{Coordinator, Entered, Lease};
use crate::store::key::Target;

/// How long a run waits, each time, for the one before it.
const TURN: Duration = Duration::from_secs(600);

/// The most runs that go on or wait for their turn. A publication beyond that brings none; the next one of its root does.
const RUNS: usize = 256;

/// What runs are made with.
#[derive(Clone)]
#[allow(missing_docs, reason = "the types say it")]
pub struct Follower {
    pub fills: Arc<Fills>,
    pub repositories: Arc<LiveRepositories>,
    pub coordinator: Arc<dyn Coordinator>,
}

/// Follows until the server ends.
pub async fn follow(follower: Follower) {
    let mut publications = follower.fills.publications();
    let mut configurations = follower.repositories.generations();
    let mut runs = JoinSet::new();
    follower.mirrors(&mut runs).await;
    loop {
        tokio::select! {
            publication = publications.recv() => match publication {
                Ok(publication) => follower.published(&publication, &mut runs),
                // Mirrors find what was missed; newer builds of what is used are then fetched when they are asked for.
                Err(RecvError::Lagged(_)) => follower.mirrors(&mut runs).await,
                Err(RecvError::Closed) => return,
            },
            changed = configurations.changed() => match changed {
                Ok(()) => follower.mirrors(&mut runs).await,
                Err(_) => return,
            },
            Some(_) = runs.join_next(), if !runs.is_empty() => {}
        }
    }
}

/// What a run goes through.
#[derive(Debug, Clone, Copy)]
enum Through {
    /// Newer builds in this snapshot.
    Renewals(SnapshotId),
    /// The whole current snapshot.
    Mirror,
}

impl Follower {
    fn published(&self, publication: &Publication, runs: &mut JoinSet<()>) {
        // The policy in force is asked, not the one under which the snapshot was begun.
        let Some(repository) = self.repositories.get(publication.root.repository.as_str()) else { return };
        let Some(policy) = policy_of(&repository) else { return };
        let (used, mirrored) = (policy.used, policy.include.is_some());
        if used {
            self.begin(&repository, &publication.root, Through::Renewals(publication.snapshot), runs);
        }
        if mirrored {
            self.begin(&repository, &publication.root, Through::Mirror, runs);
        }
    }

    /// Looks through every root of every mirror: what an earlier process did not come to, and what a new pattern matches.
    async fn mirrors(&self, runs: &mut JoinSet<()>) {
        let repositories: Vec<_> = self.repositories.current().iter().cloned().collect();
        for repository in repositories {
            if policy_of(&repository).is_none_or(|policy| policy.include.is_none()) {
                continue;
            }
            let roots = self.fills.prefetcher().snapshots.roots(&repository.name, None, ROWS).await;
            match roots {
                Ok(roots) => roots.iter().for_each(|root| self.begin(&repository, root, Through::Mirror, runs)),
                Err(error) => {
                    tracing::warn!(target: "artifactapi::prefetch", repository = %repository.name, %error, "mirror not looked through");
                }
            }
        }
    }

    fn begin(&self, repository: &Arc<Repository>, root: &Target, through: Through, runs: &mut JoinSet<()>) {
        if runs.len() >= RUNS {
            tracing::warn!(target: "artifactapi::prefetch", %root, "too many runs already; nothing is fetched ahead for this one");
            return;
        }
        let (follower, repository, root) = (self.clone(), Arc::clone(repository), root.clone());
        runs.spawn(async move {
            let Some(policy) = policy_of(&repository) else { return };
            let _lease = follower.turn(&root, through).await;
            let tally = Tally::default();
            let run = Run { repository: &repository, policy, only: through.only(policy), moment: Moment::AfterSwitch };
            let prefetcher = follower.fills.prefetcher();
            let mut rows = through.rows(prefetcher, &root);
            let ended: Result<(), CatalogError> =
                Box::pin(prefetcher.run(&follower.fills, &run, &mut rows, &tally)).await;
            tally.tell(&root, through.name(), true, ended.err());
        });
    }

    /// Waits for the runs of this root and kind that are before us, here and elsewhere.
    async fn turn(&self, root: &Target, through: Through) -> Lease {
        let key = Target::with_query(root.repository.clone(), root.path.clone(), through.name());
        loop {
            if let Entered::Lead(lease) = self.coordinator.enter(&key, TURN).await {
                return lease;
            }
        }
    }
}

impl Through {
    const fn name(self) -> &'static str {
        match self {
            Self::Renewals(_) => "newer builds",
            Self::Mirror => "mirror",
        }
    }

    fn only(self, policy: &Prefetch) -> Option<&crate::config::PatternSet> {
        match self {
            Self::Renewals(_) => None,
            Self::Mirror => policy.include.as_ref(),
        }
    }

    fn rows(self, prefetcher: &Prefetcher, root: &Target) -> Rows {
        let snapshots = Arc::clone(&prefetcher.snapshots);
        match self {
            Self::Renewals(snapshot) => Rows::renewals(snapshots, snapshot),
            Self::Mirror => Rows::current(snapshots, root),
        }
    }
}

fn policy_of(repository: &Repository) -> Option<&Prefetch> {
    match &repository.kind {
        Kind::Remote(remote) => remote.prefetch.as_ref(),
        Kind::Local(_) | Kind::Virtual(_) => None,
    }
}
