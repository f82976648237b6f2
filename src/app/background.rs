//! What goes on beside requests, until the server stops.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Stores;
use super::engine::Engine;
use crate::config::{LiveRepositories, Settings};
use crate::engine::callers::Callers;
use crate::engine::prefetch::follow::{Follower, follow};
use crate::engine::retention::{Retention, RetentionParts, task};
use crate::engine::tend;
use crate::http::fast::Fast;

/// Begins all of it.
pub(super) async fn begin(
    settings: &Settings,
    repositories: &Arc<LiveRepositories>,
    stores: &Stores,
    engine: &Engine,
    callers: Arc<Callers>,
    fast: Arc<Fast>,
) -> JoinSet<()> {
    let Stores { blobs, catalog, snapshots, fragments, coordinator, .. } = stores.clone();
    let (shelf, pins) = (&engine.holding.shelf, &engine.holding.pins);
    let retention = Retention::new(RetentionParts {
        catalog: Arc::clone(&catalog),
        snapshots,
        coordinator: Arc::clone(&coordinator),
        counts: Arc::clone(&engine.counts),
        overall: settings.max_bytes,
    });
    let growth = engine.holding.keeper.growth();
    let mut background = JoinSet::new();
    background.spawn(follow(Follower {
        fills: Arc::clone(&engine.fills),
        repositories: Arc::clone(repositories),
        coordinator: Arc::clone(&coordinator),
    }));
    callers.first_token(&settings.data_dir, &mut background).await;
    background.spawn(callers.hear(Arc::clone(&coordinator)));
    background.spawn(tend::hear(coordinator, Arc::clone(shelf), Arc::clone(pins)));
    background.spawn(tend::report_uses(Arc::clone(&catalog), Arc::clone(shelf)));
    background.spawn(Arc::clone(&engine.holding.publisher).write_rested());
    background.spawn(tend::sweep(catalog, blobs, fragments));
    background.spawn(task::keep_in_bounds(retention, Arc::clone(repositories), Arc::clone(shelf), growth));
    background.spawn(forget_with_configuration(Arc::clone(repositories), fast));
    background
}

/// A new configuration makes what was remembered under the old one useless.
async fn forget_with_configuration(repositories: Arc<LiveRepositories>, fast: Arc<Fast>) {
    let mut generations = repositories.generations();
    while generations.changed().await.is_ok() {
        fast.forget();
    }
}
