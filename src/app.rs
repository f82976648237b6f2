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

use crate::config::{LiveRepositories, PostgresSettings, Secret, Settings};
use crate::engine::counts::Counts;
use crate::engine::fills::{FillParts, Fills};
use crate::engine::keep::Keeper;
use crate::engine::read::Reader;
use crate::engine::roots::Roots;
use crate::engine::shelf::{Shelf, ShelfBudget};
use crate::engine::tend;
use crate::http::artifact::Artifacts;
use crate::http::fast::Fast;
use crate::http::{self, serve};
use crate::spool::SpoolFolder;
use crate::store::blobs::BlobStore;
use crate::store::blobs::files::FileBlobs;
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
    pub async fn open(settings: &Settings) -> Result<Self, StartError> {
        let data = &settings.data_dir;
        std::fs::create_dir_all(data)
            .map_err(|error| StartError::new(&format!("the data folder {} cannot be made", data.display()), &error))?;
        let blobs: Arc<dyn BlobStore> =
            Arc::new(FileBlobs::open(data).map_err(|error| StartError::new("the file store cannot be opened", &error))?);
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
        let stores = Stores::open(settings).await?;
        let data_lock = lock(&settings.data_dir)?;
        let spool = SpoolFolder::open(&settings.data_dir.join("spool"))
            .map_err(|error| StartError::new("the spool folder cannot be opened", &error))?;
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
        let reader = Arc::new(Reader::new(Arc::clone(&shelf), fills, roots, Arc::clone(&blobs), counts));
        let fast = Arc::new(Fast::default());

        let artifacts = Artifacts {
            repositories: Arc::clone(&repositories),
            reader,
            blobs: Arc::clone(&blobs),
            fast: Arc::clone(&fast),
        };
        let router = http::finish(http::artifact_routes(artifacts));

        let mut background = JoinSet::new();
        background.spawn(tend::hear(coordinator, Arc::clone(&shelf)));
        background.spawn(tend::report_uses(Arc::clone(&catalog), Arc::clone(&shelf)));
        background.spawn(tend::sweep(Arc::clone(&catalog), blobs));
        background.spawn(follow_generations(repositories, Arc::clone(&fast)));

        let listener = serve::listen(settings.listen).map_err(|error| {
            StartError::new(&format!("cannot listen on {} (ARTIFACTAPI_LISTEN)", settings.listen), &error)
        })?;
        Ok(Self { listener, router, fast, shelf, catalog, background, grace: settings.shutdown_grace, _data_lock: data_lock })
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
