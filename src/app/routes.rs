//! Every route of the server, each handed exactly what it uses.

use std::sync::Arc;

use axum::Router;
use prometheus_client::registry::Registry;

use super::Stores;
use super::engine::Engine;
use crate::config::{LiveRepositories, Settings};
use crate::http;
use crate::http::access::Gate;
use crate::http::artifact::Artifacts;
use crate::http::fast::Fast;
use crate::http::manage::artifacts::Listing;
use crate::http::manage::batch::CacheArtifact;
use crate::http::manage::config::Configuration;
use crate::http::manage::gauges::Gauges;
use crate::http::manage::health::{Health, Parts, Stage};
use crate::http::manage::metrics::{Metrics, Times};
use crate::http::manage::packages::Packages;
use crate::http::manage::root::Root;
use crate::http::manage::snapshots::SnapshotRoutes;
use crate::http::manage::totals::Holdings;
use crate::http::manage::{self, Management};
use crate::http::upload::Uploads;
use crate::spool::SpoolFolder;

/// What the routes are made of.
pub(crate) struct Routed<'r> {
    pub settings: &'r Settings,
    pub repositories: &'r Arc<LiveRepositories>,
    pub stores: &'r Stores,
    pub engine: &'r Engine,
    /// Where uploads grow.
    pub spool: &'r SpoolFolder,
    pub fast: &'r Arc<Fast>,
    pub gate: &'r Arc<Gate>,
    pub stage: &'r Arc<Stage>,
}

impl Routed<'_> {
    /// The routes, and what `/metrics` shows.
    pub(crate) fn router(&self, mut registry: Registry) -> Router {
        let times = Times::registered(&mut registry);
        let artifacts = Artifacts {
            repositories: Arc::clone(self.repositories),
            reader: Arc::clone(&self.engine.reader),
            blobs: Arc::clone(&self.stores.blobs),
            catalog: Arc::clone(&self.stores.catalog),
            fast: Arc::clone(self.fast),
            gate: Arc::clone(self.gate),
            trusted_proxies: self.settings.trusted_proxies.clone().into(),
        };
        let uploads = Uploads {
            repositories: Arc::clone(self.repositories),
            publisher: Arc::clone(&self.engine.holding.publisher),
            spool: self.spool.clone(),
            gate: Arc::clone(self.gate),
        };
        let routes = http::artifact_routes(artifacts)
            .merge(http::upload_routes(uploads))
            .merge(manage::routes(self.management(registry)));
        http::finish(times.around(routes))
    }

    fn management(&self, registry: Registry) -> Management {
        let Self { settings, repositories, stores, engine, gate, stage, .. } = *self;
        let holdings = Arc::new(Holdings::new(Arc::clone(&stores.catalog), Arc::clone(repositories)));
        let parts = Parts {
            catalog: Arc::clone(&stores.catalog),
            blobs: Arc::clone(&stores.blobs),
            coordinator: Arc::clone(&stores.coordinator),
            repositories: Arc::clone(repositories),
            distrust: Arc::clone(&engine.distrust),
            gate: Arc::clone(gate),
            data_dir: settings.data_dir.clone(),
        };
        let gauges = Gauges {
            fills: Arc::clone(&engine.fills),
            shelf: Arc::clone(&engine.holding.shelf),
            holdings: Arc::clone(&holdings),
            distrust: Arc::clone(&engine.distrust),
            repositories: Arc::clone(repositories),
        };
        Management {
            root: Root {
                repositories: Arc::clone(repositories),
                holdings,
                gate: Arc::clone(gate),
                trusted_proxies: settings.trusted_proxies.clone().into(),
            },
            health: Health::new(Arc::clone(stage), parts),
            configuration: Configuration {
                settings: Arc::new(settings.clone()),
                repositories: Arc::clone(repositories),
                gate: Arc::clone(gate),
            },
            snapshots: SnapshotRoutes {
                repositories: Arc::clone(repositories),
                generations: engine.generations.clone(),
                gate: Arc::clone(gate),
            },
            packages: Packages {
                repositories: Arc::clone(repositories),
                snapshots: Arc::clone(&stores.snapshots),
                gate: Arc::clone(gate),
            },
            listing: Listing {
                repositories: Arc::clone(repositories),
                catalog: Arc::clone(&stores.catalog),
                gate: Arc::clone(gate),
            },
            cache_artifact: CacheArtifact {
                repositories: Arc::clone(repositories),
                batches: Arc::clone(&engine.batches),
                gate: Arc::clone(gate),
            },
            metrics: Metrics::new(registry, gauges),
        }
    }
}
