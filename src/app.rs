//! The composition root: the only file that names concrete stores.
//!
//! [`App::start`] makes every part from the settings and hands each exactly what it uses; [`App::run`] serves until it is
//! told to stop, drains, and lets go. A service that is merely not reachable at the start does not keep the server from
//! starting: it serves what it can (DESIGN 7). One that refuses us, or a bucket that is missing, needs an operator and
//! is one clear sentence.

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

use crate::config::{LiveRepositories, PostgresSettings, S3Settings, Secret, Settings};
use crate::engine::batch::{BatchParts, Batches};
use crate::engine::counts::Counts;
use crate::engine::fills::{FillParts, Fills};
use crate::engine::keep::Keeper;
use crate::engine::read::Reader;
use crate::engine::roots::Roots;
use crate::engine::shelf::{Shelf, ShelfBudget};
use crate::engine::tend;
use crate::http::artifact::Artifacts;
use crate::http::fast::Fast;
use crate::http::manage::artifacts::Listing;
use crate::http::manage::batch::CacheArtifact;
use crate::http::manage::config::Configuration;
use crate::http::manage::gauges::Gauges;
use crate::http::manage::health::{Health, Parts, Stage};
use crate::http::manage::metrics::{Metrics, Times};
use crate::http::manage::root::Root;
use crate::http::manage::totals::Holdings;
use crate::http::manage::{self, Management};
use crate::http::{self, serve};
use crate::spool::SpoolFolder;
use crate::store::blobs::files::FileBlobs;
use crate::store::blobs::hot_tier::HotTier;
use crate::store::blobs::s3::{self, S3Blobs};
use crate::store::blobs::{BlobErrorKind, BlobStore};
use crate::store::catalog::postgres::{self, PostgresCatalog};
use crate::store::catalog::sqlite::SqliteCatalog;
use crate::store::catalog::{Catalog, CatalogErrorKind};
use crate::store::coordinator::Coordinator;
use crate::store::coordinator::in_process::InProcessCoordinator;
use crate::store::coordinator::redis::RedisCoordinator;
use crate::upstream::Upstream;

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

/// The three stores, whichever they are.
pub struct Stores {
    /// Bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// Records.
    pub catalog: Arc<dyn Catalog>,
    /// Leases and events.
    pub coordinator: Arc<dyn Coordinator>,
}

impl Stores {
    /// The stores that the settings choose.
    ///
    /// # Errors
    /// [`StartError`] when one of them needs an operator.
    pub async fn open(settings: &Settings, spool: &SpoolFolder) -> Result<Self, StartError> {
        let data = &settings.data_dir;
        let blobs: Arc<dyn BlobStore> = match &settings.s3 {
            Some(s3) => Arc::new(open_s3(settings, s3, spool).await?),
            None => {
                let files = FileBlobs::open(data);
                Arc::new(files.map_err(|error| StartError::new("the file store cannot be opened", &error))?)
            }
        };
        let catalog: Arc<dyn Catalog> = match &settings.postgres {
            Some(postgres) => Arc::new(open_postgres(postgres).await?),
            None => Arc::new(
                SqliteCatalog::open(&data.join("catalog.sqlite"))
                    .await
                    .map_err(|error| StartError::new("the SQLite catalog cannot be opened", &error))?,
            ),
        };
        let coordinator: Arc<dyn Coordinator> = match &settings.redis {
            Some(redis) => {
                let redis = RedisCoordinator::connect(redis.url.expose()).await;
                Arc::new(redis.map_err(|error| StartError::new("Redis cannot be used", &error))?)
            }
            None => Arc::new(InProcessCoordinator::new()),
        };
        Ok(Self { blobs, catalog, coordinator })
    }
}

/// A bucket that cannot be reached yet may be any moment; one that is missing or refuses us will not.
async fn open_s3(settings: &Settings, s3: &S3Settings, spool: &SpoolFolder) -> Result<HotTier<S3Blobs>, StartError> {
    let settings_of_store = s3::S3Settings {
        endpoint: s3.endpoint.as_ref().map(ToString::to_string),
        secure: true,
        region: s3.region.clone(),
        bucket: s3.bucket.clone(),
        keys: s3.keys.as_ref().map(|keys| s3::S3Keys {
            access_key: keys.access.expose().to_owned(),
            secret_key: keys.secret.expose().to_owned(),
        }),
    };
    let store = S3Blobs::new(&settings_of_store)
        .await
        .map_err(|error| StartError::new("S3 (MINIO_*) cannot be used", &error))?;
    match store.ping().await {
        Ok(()) => {}
        Err(error) if matches!(error.kind, BlobErrorKind::Missing | BlobErrorKind::Denied) => {
            return Err(StartError::new("S3 (MINIO_*) cannot be used", &error));
        }
        Err(error) => {
            tracing::warn!(%error, "S3 does not answer; serving without it until it does")
        }
    }
    let folder = settings.data_dir.join("hot");
    HotTier::open(store, &folder, settings.hot_tier_bytes, spool.clone())
        .map_err(|error| StartError::new("the hot tier cannot be opened", &error))
}

/// A database that does not answer yet may do so any moment, and every call tries again; one that refuses us will not.
async fn open_postgres(settings: &PostgresSettings) -> Result<PostgresCatalog, StartError> {
    let password = settings.password.as_ref().map_or("", Secret::expose);
    let catalog = PostgresCatalog::connect(&postgres::PostgresSettings {
        host: &settings.host,
        port: settings.port,
        user: &settings.user,
        password,
        database: &settings.database,
        connections: postgres::DEFAULT_CONNECTIONS,
    });
    let place = format!("PostgreSQL at {}:{} (DBHOST, DBPORT)", settings.host, settings.port);
    match catalog.migrate().await {
        Ok(()) => Ok(catalog),
        Err(error) if error.kind == CatalogErrorKind::Unavailable => {
            tracing::warn!(%error, "{place} does not answer; serving without a catalog until it does");
            Ok(catalog)
        }
        Err(error) => Err(StartError::new(&format!("{place} cannot be used"), &error)),
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
        let upstream = Upstream::new(Duration::from_secs(10))
            .map_err(|error| StartError::new("upstreams cannot be asked", &error))?;
        let mut registry = Registry::with_prefix("artifactapi");
        let counts = Arc::new(Counts::registered(&mut registry));

        let Stores { blobs, catalog, coordinator } = stores;
        let budget = ShelfBudget(settings.memory_cache_bytes);
        let shelf = Arc::new(Shelf::new(budget, Arc::clone(&catalog), Arc::clone(&blobs)));
        let keeper = Arc::new(Keeper::new(Arc::clone(&blobs), Arc::clone(&catalog), Arc::clone(&coordinator)));
        let fills = Arc::new(Fills::new(FillParts {
            upstream,
            spool,
            limits: Limits::default(),
            shelf: Arc::clone(&shelf),
            keeper,
            catalog: Arc::clone(&catalog),
            coordinator: Arc::clone(&coordinator),
            counts: Arc::clone(&counts),
        }));
        let roots = Roots::new(Arc::clone(&shelf), Limits::default());
        let reader = Arc::new(Reader::new(Arc::clone(&shelf), Arc::clone(&fills), roots, Arc::clone(&blobs), counts));
        let fast = Arc::new(Fast::default());

        let artifacts = Artifacts {
            repositories: Arc::clone(&repositories),
            reader: Arc::clone(&reader),
            blobs: Arc::clone(&blobs),
            fast: Arc::clone(&fast),
        };
        let stage = Arc::new(Stage::default());
        let holdings = Arc::new(Holdings::new(Arc::clone(&catalog)));
        let times = Times::registered(&mut registry);
        let batches = Batches::new(BatchParts {
            reader,
            fills: Arc::clone(&fills),
            catalog: Arc::clone(&catalog),
            blobs: Arc::clone(&blobs),
            limits: Limits::default(),
        });
        let management = Management {
            root: Root {
                repositories: Arc::clone(&repositories),
                holdings: Arc::clone(&holdings),
                trusted_proxies: settings.trusted_proxies.clone().into(),
            },
            health: Health::new(
                Arc::clone(&stage),
                Parts {
                    catalog: Arc::clone(&catalog),
                    blobs: Arc::clone(&blobs),
                    coordinator: Arc::clone(&coordinator),
                    repositories: Arc::clone(&repositories),
                    data_dir: settings.data_dir.clone(),
                },
            ),
            configuration: Configuration {
                settings: Arc::new(settings.clone()),
                repositories: Arc::clone(&repositories),
            },
            listing: Listing { repositories: Arc::clone(&repositories), catalog: Arc::clone(&catalog) },
            cache_artifact: CacheArtifact { repositories: Arc::clone(&repositories), batches: Arc::new(batches) },
            metrics: Metrics::new(
                registry,
                Gauges { fills, shelf: Arc::clone(&shelf), holdings },
                Arc::clone(&repositories),
            ),
        };
        let routes = http::artifact_routes(artifacts).merge(manage::routes(management));
        let router = http::finish(times.around(routes));

        let mut background = JoinSet::new();
        background.spawn(tend::hear(coordinator, Arc::clone(&shelf)));
        background.spawn(tend::report_uses(Arc::clone(&catalog), Arc::clone(&shelf)));
        background.spawn(tend::sweep(Arc::clone(&catalog), blobs));
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

/// A new configuration makes what was answered under the old one unusable.
async fn follow_generations(repositories: Arc<LiveRepositories>, fast: Arc<Fast>) {
    let mut generations = repositories.generations();
    while generations.changed().await.is_ok() {
        fast.new_generation();
    }
}

/// Two processes over one data folder would delete each other's spools.
fn lock(data: &Path) -> Result<File, StartError> {
    let path = data.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| StartError::new(&format!("{} cannot be opened", path.display()), &error))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(StartError(format!(
            "another artifactapi uses the data folder {}; give each its own ARTIFACTAPI_DATA_DIR",
            data.display()
        ))),
    }
}
