//! Roots whose first snapshot is on its way.
//!
//! Their entry is shown before it is known here what it says of packages. Where nobody asks who signed an index, a package that is
//! asked for in that moment is checked in itself only. Where keys are trusted, that would let a mirror slip an old build, rightly
//! signed as it is, under a new index: so packages wait for the snapshot there, for as long as clients bear it.

use std::collections::HashMap;
use std::sync::Arc;

use artifactapi_formats::RepoPath;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::PATIENCE;
use crate::config::Repository;
use crate::store::key::Target;

/// The roots that are being completed by this server.
#[derive(Debug, Default)]
pub(super) struct Completing {
    roots: Mutex<HashMap<Target, watch::Sender<()>>>,
}

/// A root is being completed for as long as this lives.
pub(super) struct Completion {
    completing: Arc<Completing>,
    root: Target,
}

impl Completing {
    /// Notes a root.
    pub(super) fn begin(self: &Arc<Self>, root: &Target) -> Completion {
        self.roots.lock().entry(root.clone()).or_default();
        Completion { completing: Arc::clone(self), root: root.clone() }
    }

    /// Waits until no root that may name this package is being completed.
    pub(super) async fn wait(&self, repository: &Repository, package: &RepoPath) {
        let mut found: Vec<watch::Receiver<()>> = Vec::new();
        for (root, sender) in &*self.roots.lock() {
            if root.repository == repository.name && may_name(repository, root, package) {
                found.push(sender.subscribe());
            }
        }
        let all = async {
            for mut root in found {
                // The sender goes when the root is done; it never says anything.
                while root.changed().await.is_ok() {}
            }
        };
        let _ = tokio::time::timeout(PATIENCE, all).await;
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.completing.roots.lock().remove(&self.root);
    }
}

/// Whether a package lies where those of a root do: below its folder, or in a folder beside it, as those for every architecture do.
fn may_name(repository: &Repository, root: &Target, package: &RepoPath) -> bool {
    let Some(index) = repository.format.index() else { return false };
    let Some(root) = index.root_of(&root.path) else { return false };
    let folder = index.layout(&root).folder;
    match folder.rsplit_once('/') {
        Some((above, _)) => package.as_str().strip_prefix(above).is_some_and(|rest| rest.starts_with('/')),
        None => true,
    }
}
