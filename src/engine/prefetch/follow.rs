//! Runs that follow what happens: a snapshot was published here, the server started, the configuration changed.
//!
//! A publication happens on one replica, so its run does too. Mirrors are looked through on every replica when it starts,
//! and a lease lets one of them do it. Runs of one root and kind take turns; the later one finds what the earlier one left.

use std::collections::VecDeque;
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

/// The most runs that go on at once, or wait for one of the same root elsewhere.
const RUNS: usize = 64;

/// The most runs that have not begun. One beyond that is left to the next publication of its root.
const WAITING: usize = 65_536;

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
    let mut runs = Runs::default();
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
            Some(_) = runs.going.join_next(), if !runs.going.is_empty() => {}
        }
        runs.begin(&follower);
    }
}

/// Runs that go on, and those that come after them.
#[derive(Default)]
struct Runs {
    going: JoinSet<()>,
    waiting: VecDeque<Coming>,
}

/// A run that has not begun.
struct Coming {
    repository: Arc<Repository>,
    root: Target,
    through: Through,
}

impl Runs {
    fn add(&mut self, repository: &Arc<Repository>, root: &Target, through: Through) {
        if self.waiting.len() >= WAITING {
            tracing::warn!(target: "artifactapi::prefetch", %root, "too many runs already; nothing is fetched ahead for this one");
            return;
        }
        self.waiting.push_back(Coming { repository: Arc::clone(repository), root: root.clone(), through });
    }

    fn begin(&mut self, follower: &Follower) {
        while self.going.len() < RUNS
            && let Some(coming) = self.waiting.pop_front()
        {
            self.going.spawn(follower.clone().go_through(coming));
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
    fn published(&self, publication: &Publication, runs: &mut Runs) {
        // The policy in force is asked, not the one under which the snapshot was begun.
        let Some(repository) = self.repositories.get(publication.root.repository.as_str()) else { return };
        let Some(policy) = policy_of(&repository) else { return };
        if policy.used {
            runs.add(&repository, &publication.root, Through::Renewals(publication.snapshot));
        }
        if policy.include.is_some() {
            runs.add(&repository, &publication.root, Through::Mirror);
        }
    }

    /// Looks through every root of every mirror: what an earlier process did not come to, and what a new pattern matches.
    async fn mirrors(&self, runs: &mut Runs) {
        let repositories: Vec<_> = self.repositories.current().iter().cloned().collect();
        for repository in repositories {
            if policy_of(&repository).is_none_or(|policy| policy.include.is_none()) {
                continue;
            }
            if let Err(error) = self.mirror(&repository, runs).await {
                tracing::warn!(target: "artifactapi::prefetch", repository = %repository.name, %error, "mirror not looked through");
            }
        }
        runs.begin(self);
    }

    async fn mirror(&self, repository: &Arc<Repository>, runs: &mut Runs) -> Result<(), CatalogError> {
        let mut after = None;
        loop {
            let roots = self.fills.prefetcher().snapshots.roots(&repository.name, after.as_ref(), ROWS).await?;
            let Some(last) = roots.last() else { return Ok(()) };
            after = Some(last.path.clone());
            roots.iter().for_each(|root| runs.add(repository, root, Through::Mirror));
        }
    }

    async fn go_through(self, Coming { repository, root, through }: Coming) {
        let Some(policy) = policy_of(&repository) else { return };
        let _lease = self.turn(&root, through).await;
        let tally = Tally::default();
        let run = Run { repository: &repository, policy, only: through.only(policy), moment: Moment::AfterSwitch };
        let prefetcher = self.fills.prefetcher();
        let mut rows = through.rows(prefetcher, &root);
        let ended: Result<(), CatalogError> = Box::pin(prefetcher.run(&self.fills, &run, &mut rows, &tally)).await;
        tally.tell(&root, through.name(), true, ended.err());
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
