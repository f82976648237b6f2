//! The composition root: puts the parts together. Only [`stores`] names concrete stores.
//!
//! [`App::start`] makes every part from the settings and hands each exactly what it uses; [`App::run`] serves until it is
//! told to stop, drains, and lets go. A service that is merely not reachable at the start does not keep the server from
//! starting: it serves what it can (DESIGN 7). One that refuses us, or a bucket that is missing, needs an operator and
//! is one clear sentence.

mod publishing;
mod stores;

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::Limits;
use axum::Router;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::config::{LiveRepositories, Secret, Settings};
use crate::engine::batch::{BatchParts, Batches};
use crate::engine::callers::Callers;
use crate::engine::counts::Counts;
use crate::engine::distrust::Distrust;
use crate::engine::fills::{FillParts, Fills};
use crate::engine::generations::Generations;
use crate::engine::identities::Identities;
use crate::engine::keep::Keeper;
use crate::engine::pins::Pins;
use crate::engine::prefetch::follow::{Follower, follow};
use crate::engine::publish::{Publisher, PublisherParts};
use crate::engine::read::{Reader, ReaderParts};
use crate::engine::retention::{Retention, RetentionParts, task};
use crate::engine::roots::Roots;
use crate::engine::shelf::{Shelf, ShelfBudget};
use crate::engine::switches::Switches;
use crate::engine::tend;
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
use crate::http::{self, serve};
use crate::spool::SpoolFolder;
use crate::store::catalog::Catalog;
use crate::upstream::Upstream;

pub use self::publishing::PublisherBeside;
pub use self::stores::{DurableStores, Stores, StoresBeside, open_snapshots, open_tokens, tell_that_tokens_changed};

/// Why the server cannot start: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl StartError {
    fn new(doing: &str, error: &dyn std::error::Error) -> Self {
        let mut text = format!("{doing}: {error}");
        let mut source = error.source();
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        Self(text)
    }
}

/// A server that is ready to serve.
pub struct App {
    listener: TcpListener,
    router: Router,
    fast: Arc<Fast>,
    shelf: Arc<Shelf>,
    catalog: Arc<dyn Catalog>,
    background: JoinSet<()>,
    stage: Arc<Stage>,
    grace: Duration,
    _data_lock: File,
}

impl App {
    /// Makes everything and listens.
    ///
    /// # Errors
    /// [`StartError`] says what an operator has to mend.
    pub async fn start(settings: &Settings, repositories: Arc<LiveRepositories>) -> Result<Self, StartError> {
        // Whoever installed one before us has chosen; there is only one choice here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let data = &settings.data_dir;
        std::fs::create_dir_all(data)
            .map_err(|error| StartError::new(&format!("the data folder {} cannot be made", data.display()), &error))?;
        let data_lock = lock(data)?;
        let spool = SpoolFolder::open(&data.join("spool"))
            .map_err(|error| StartError::new("the spool folder cannot be opened", &error))?;
        let stores = Stores::open(settings, &spool).await?;
        let mut registry = Registry::with_prefix("artifactapi");
        let counts = Arc::new(Counts::registered(&mut registry));
        let upstream = Upstream::new(Duration::from_secs(10), counts.upstream_requests.clone())
            .map_err(|error| StartError::new("upstreams cannot be asked", &error))?;

        let Stores { blobs, catalog, snapshots, fragments, tokens, coordinator } = stores;
        let budget = ShelfBudget(settings.memory_cache_bytes);
        let shelf = Arc::new(Shelf::new(budget, Arc::clone(&catalog), Arc::clone(&blobs)));
        let pins = Arc::new(Pins::default());
        let keeper = Arc::new(Keeper::new(
            Arc::clone(&blobs),
            Arc::clone(&catalog),
            Arc::clone(&snapshots),
            Arc::clone(&coordinator),
        ));
        let identities =
            Identities::new(Arc::clone(&blobs), Arc::clone(&catalog), Arc::clone(&coordinator), spool.clone());
        let switches =
            Arc::new(Switches::new(Arc::clone(&shelf), Arc::clone(&snapshots), Arc::clone(&pins), identities));
        let publisher = Publisher::open(
            &data.join("publish"),
            PublisherParts {
                limits: Limits::default(),
                spool: spool.clone(),
                shelf: Arc::clone(&shelf),
                blobs: Arc::clone(&blobs),
                keeper: Arc::clone(&keeper),
                catalog: Arc::clone(&catalog),
                snapshots: Arc::clone(&snapshots),
                fragments: Arc::clone(&fragments),
                coordinator: Arc::clone(&coordinator),
                switches: Arc::clone(&switches),
                repositories: Arc::clone(&repositories),
            },
        );
        let publisher =
            publisher.map_err(|error| StartError::new("the folder for pieces of indexes cannot be opened", &error))?;
        let publisher = Arc::new(publisher);
        let growth = keeper.growth();
        let uploading = spool.clone();
        let sweeping = fragments;
        let distrust = Arc::new(Distrust::default());
        let fills = Arc::new(Fills::new(FillParts {
            upstream,
            spool,
            limits: Limits::default(),
            shelf: Arc::clone(&shelf),
            keeper,
            catalog: Arc::clone(&catalog),
            snapshots: Arc::clone(&snapshots),
            blobs: Arc::clone(&blobs),
            coordinator: Arc::clone(&coordinator),
            switches: Arc::clone(&switches),
            counts: Arc::clone(&counts),
            distrust: Arc::clone(&distrust),
        }));
        let prefetching = Arc::clone(&fills);
        let roots = Roots::new(Arc::clone(&shelf), Arc::clone(&snapshots), Limits::default());
        let generations = Generations::new(Arc::clone(&snapshots));
        let reader = Arc::new(Reader::new(ReaderParts {
            shelf: Arc::clone(&shelf),
            fills: Arc::clone(&fills),
            roots,
            generations: generations.clone(),
            pins: Arc::clone(&pins),
            switches,
            publisher: Arc::clone(&publisher),
            blobs: Arc::clone(&blobs),
            coordinator: Arc::clone(&coordinator),
            counts: Arc::clone(&counts),
        }));
        let retention = Retention::new(RetentionParts {
            catalog: Arc::clone(&catalog),
            snapshots: Arc::clone(&snapshots),
            coordinator: Arc::clone(&coordinator),
            counts,
            overall: settings.max_bytes,
        });
        let fast = Arc::new(Fast::new(Arc::clone(&repositories), Arc::clone(&pins)));

        let administrator = settings.admin_token.as_ref().map(Secret::expose);
        let callers = Arc::new(Callers::new(administrator, Arc::clone(&repositories), tokens));
        let gate = Arc::new(Gate::new(Arc::clone(&callers), settings.trusted_proxies.clone().into()));
        let artifacts = Artifacts {
            repositories: Arc::clone(&repositories),
            reader: Arc::clone(&reader),
            blobs: Arc::clone(&blobs),
            catalog: Arc::clone(&catalog),
            fast: Arc::clone(&fast),
            gate: Arc::clone(&gate),
            trusted_proxies: settings.trusted_proxies.clone().into(),
        };
        let uploads =
            Uploads { repositories: Arc::clone(&repositories), publisher, spool: uploading, gate: Arc::clone(&gate) };
        let stage = Arc::new(Stage::default());
        let holdings = Arc::new(Holdings::new(Arc::clone(&catalog), Arc::clone(&repositories)));
        let times = Times::registered(&mut registry);
        let batches = Batches::new(BatchParts {
            reader,
            fills: Arc::clone(&fills),
            catalog: Arc::clone(&catalog),
            snapshots: Arc::clone(&snapshots),
            blobs: Arc::clone(&blobs),
            limits: Limits::default(),
        });
        let management = Management {
            root: Root {
                repositories: Arc::clone(&repositories),
                holdings: Arc::clone(&holdings),
                gate: Arc::clone(&gate),
                trusted_proxies: settings.trusted_proxies.clone().into(),
            },
            health: Health::new(
                Arc::clone(&stage),
                Parts {
                    catalog: Arc::clone(&catalog),
                    blobs: Arc::clone(&blobs),
                    coordinator: Arc::clone(&coordinator),
                    repositories: Arc::clone(&repositories),
                    distrust: Arc::clone(&distrust),
                    gate: Arc::clone(&gate),
                    data_dir: settings.data_dir.clone(),
                },
            ),
            configuration: Configuration {
                settings: Arc::new(settings.clone()),
                repositories: Arc::clone(&repositories),
                gate: Arc::clone(&gate),
            },
            snapshots: SnapshotRoutes { repositories: Arc::clone(&repositories), generations, gate: Arc::clone(&gate) },
            packages: Packages { repositories: Arc::clone(&repositories), snapshots, gate: Arc::clone(&gate) },
            listing: Listing {
                repositories: Arc::clone(&repositories),
                catalog: Arc::clone(&catalog),
                gate: Arc::clone(&gate),
            },
            cache_artifact: CacheArtifact { repositories: Arc::clone(&repositories), batches: Arc::new(batches), gate },
            metrics: Metrics::new(
                registry,
                Gauges {
                    fills,
                    shelf: Arc::clone(&shelf),
                    holdings,
                    distrust,
                    repositories: Arc::clone(&repositories),
                },
            ),
        };
        let routes =
            http::artifact_routes(artifacts).merge(http::upload_routes(uploads)).merge(manage::routes(management));
        let router = http::finish(times.around(routes));

        let mut background = JoinSet::new();
        background.spawn(follow(Follower {
            fills: prefetching,
            repositories: Arc::clone(&repositories),
            coordinator: Arc::clone(&coordinator),
        }));
        callers.first_token(&settings.data_dir, &mut background).await;
        background.spawn(callers.hear(Arc::clone(&coordinator)));
        background.spawn(tend::hear(coordinator, Arc::clone(&shelf), Arc::clone(&pins)));
        background.spawn(tend::report_uses(Arc::clone(&catalog), Arc::clone(&shelf)));
        background.spawn(tend::sweep(Arc::clone(&catalog), blobs, sweeping));
        background.spawn(task::keep_in_bounds(retention, Arc::clone(&repositories), Arc::clone(&shelf), growth));
        background.spawn(follow_generations(repositories, Arc::clone(&fast)));

        let listener = serve::listen(settings.listen).map_err(|error| {
            StartError::new(&format!("cannot listen on {} (ARTIFACTAPI_LISTEN)", settings.listen), &error)
        })?;
        Ok(Self {
            listener,
            router,
            fast,
            shelf,
            catalog,
            background,
            stage,
            grace: settings.shutdown_grace,
            _data_lock: data_lock,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` resolves, then drains.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        self.stage.serving();
        let stage = Arc::clone(&self.stage);
        let stop = async move {
            stop.await;
            stage.draining();
        };
        serve::serve(self.listener, self.router, self.fast, self.grace, stop).await;
        self.background.abort_all();
        tend::report_uses_now(&*self.catalog, &self.shelf).await;
    }
}

/// A new configuration makes what was remembered under the old one useless.
async fn follow_generations(repositories: Arc<LiveRepositories>, fast: Arc<Fast>) {
    let mut generations = repositories.generations();
    while generations.changed().await.is_ok() {
        fast.forget();
    }
}

/// Two processes over one data folder would delete each other's spools.
fn lock(data: &Path) -> Result<File, StartError> {
    lock_if_free(data)?.ok_or_else(|| {
        StartError(format!(
            "another artifactapi uses the data folder {}; give each its own ARTIFACTAPI_DATA_DIR",
            data.display()
        ))
    })
}

/// The lock of the data folder, unless another process has it.
fn lock_if_free(data: &Path) -> Result<Option<File>, StartError> {
    let path = data.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| StartError::new(&format!("{} cannot be opened", path.display()), &error))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(_) => Ok(None),
    }
}
