//! Roots whose first snapshot is on its way.
//!
//! Their entry is shown before it is known here what it says of packages. A package that is asked for in that moment could only be
//! checked in itself, and upstream may have built it again since. So packages wait for the snapshot, until the entry has been shown for
//! as long as clients bear to wait: a large root behind a slow line holds nobody up for longer than that. Where keys are trusted, a
//! mirror could slip an old build, rightly signed as it is, under a new index: there each package waits as long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use artifactapi_formats::RepoPath;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::PATIENCE;
use crate::config::Repository;
use crate::store::key::Target;

/// The roots that are being completed by this server.
#[derive(Debug, Default)]
pub(super) struct Completing {
    roots: Mutex<HashMap<Target, Running>>,
}

/// A root that is being completed.
#[derive(Debug)]
struct Running {
    since: Instant,
    /// By how many: one that is still shown as it comes may be recorded by another already.
    by: usize,
    /// Goes when the last of them is done; it never says anything.
    end: watch::Sender<()>,
}

impl Running {
    /// For how long it is waited for, now and by everybody.
    fn patience(&self) -> Duration {
        PATIENCE.saturating_sub(self.since.elapsed())
    }
}

/// A root is being completed for as long as this lives.
pub(super) struct Completion {
    completing: Arc<Completing>,
    root: Target,
}

impl Completing {
    /// Notes a root.
    pub(super) fn begin(self: &Arc<Self>, root: &Target) -> Completion {
        let begun = || Running { since: Instant::now(), by: 0, end: watch::Sender::default() };
        self.roots.lock().entry(root.clone()).or_insert_with(begun).by += 1;
        Completion { completing: Arc::clone(self), root: root.clone() }
    }

    /// Whether a root that may name this package is being completed.
    pub(super) fn any(&self, repository: &Repository, package: &RepoPath) -> bool {
        self.roots.lock().keys().any(|root| may_name(repository, root, package))
    }

    /// Waits until no root that may name this package is being completed. `each` waits as long as the first, if anybody signed for
    /// what the roots say.
    pub(super) async fn wait(&self, repository: &Repository, package: &RepoPath, each: bool) {
        let found: Vec<_> = {
            let roots = self.roots.lock();
            let meant = roots.iter().filter(|(root, _)| may_name(repository, root, package));
            meant.map(|(_, running)| (running.end.subscribe(), running.patience())).collect()
        };
        let all = found.into_iter().map(|(end, patience)| ended(end, if each { PATIENCE } else { patience }));
        futures_util::future::join_all(all).await;
    }

    /// Waits until a root is not being completed by this server; `false` when that takes too long.
    pub(super) async fn wait_for(&self, root: &Target) -> bool {
        let running = self.roots.lock().get(root).map(|running| (running.end.subscribe(), running.patience()));
        match running {
            Some((end, patience)) => ended(end, patience).await,
            None => true,
        }
    }
}

async fn ended(mut end: watch::Receiver<()>, patience: Duration) -> bool {
    tokio::time::timeout(patience, async { while end.changed().await.is_ok() {} }).await.is_ok()
}

impl Drop for Completion {
    fn drop(&mut self) {
        let mut roots = self.completing.roots.lock();
        let Some(running) = roots.get_mut(&self.root) else { return };
        running.by -= 1;
        if running.by == 0 {
            roots.remove(&self.root);
        }
    }
}

/// Whether a package of this repository lies where those of a root do: below its folder, or in a folder beside it, as those for every
/// architecture do.
pub(in crate::engine) fn may_name(repository: &Repository, root: &Target, package: &RepoPath) -> bool {
    let Some(index) = repository.format.index().filter(|_| root.repository == repository.name) else { return false };
    let Some(root) = index.root_of(&root.path) else { return false };
    let folder = index.layout(&root).folder;
    match folder.rsplit_once('/') {
        Some((above, _)) => package.as_str().strip_prefix(above).is_some_and(|rest| rest.starts_with('/')),
        None => true,
    }
}
