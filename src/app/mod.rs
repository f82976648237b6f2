//! The composition root: puts the parts together. Only [`stores`] names concrete stores.
//!
//! [`App::start`] makes every part from the settings (stores, [`engine`], [`routes`], `background`) and hands each exactly what
//! it uses; [`App::run`] serves until it is told to stop, drains, and lets go. A service that is merely not reachable at the start does not keep the server from
//! starting: it serves what it can (DESIGN 7). One that refuses us, or a bucket that is missing, needs an operator and
//! is one clear sentence.

mod background;
pub(crate) mod engine;
mod lock;
mod publishing;
pub(crate) mod routes;
mod stores;

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::engine::{Engine, Rooms};
use self::routes::Routed;
use crate::causes::with_causes;
use crate::config::{LiveRepositories, Secret, Settings};
use crate::engine::callers::Callers;
use crate::engine::counts::Counts;
use crate::engine::shelf::{Shelf, ShelfBudget};
use crate::engine::tend;
use crate::http::access::Gate;
use crate::http::fast::Fast;
use crate::http::manage::health::Stage;
use crate::http::serve::{self, Grace};
use crate::store::catalog::Catalog;
use crate::upstream::Upstream;

pub use self::publishing::PublisherBeside;
pub use self::stores::{DurableStores, Stores, StoresBeside, open_snapshots, open_tokens, tell_that_tokens_changed};

/// How long an upstream may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the server cannot start: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl StartError {
    fn new(doing: &str, error: &dyn std::error::Error) -> Self {
        Self(format!("{doing}: {}", with_causes(error)))
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
        // Before anything is made on the disk: a start that cannot listen leaves nothing behind.
        let listener = serve::listen(settings.listen).map_err(|error| {
            StartError::new(&format!("cannot listen on {} (ARTIFACTAPI_LISTEN)", settings.listen), &error)
        })?;
        let data_lock = lock::take(data)?;
        let spool = stores::open_spool(settings)?;
        let stores = Stores::open(settings, &spool).await?;
        let mut registry = Registry::with_prefix("artifactapi");
        let counts = Arc::new(Counts::registered(&mut registry));
        let upstream = Upstream::new(CONNECT_TIMEOUT, counts.upstream_requests.clone())
            .map_err(|error| StartError::new("upstreams cannot be asked", &error))?;
        let publishing = data.join("publish");
        let rooms = Rooms { spool: &spool, publishing: &publishing, shelf: ShelfBudget(settings.memory_cache_bytes) };
        let engine = Engine::over(&stores, &rooms, upstream, &repositories, counts)?;

        let administrator = settings.admin_token.as_ref().map(Secret::expose);
        let callers = Arc::new(Callers::new(administrator, Arc::clone(&repositories), Arc::clone(&stores.tokens)));
        let gate = Arc::new(Gate::new(Arc::clone(&callers), settings.trusted_proxies.clone().into()));
        let fast = Arc::new(Fast::new(Arc::clone(&repositories), Arc::clone(&engine.holding.pins)));
        let stage = Arc::new(Stage::default());
        let routed = Routed {
            settings,
            repositories: &repositories,
            stores: &stores,
            engine: &engine,
            spool: &spool,
            fast: &fast,
            gate: &gate,
            stage: &stage,
        };
        let router = routed.router(registry);
        let background = background::begin(settings, &repositories, &stores, &engine, callers, Arc::clone(&fast)).await;
        Ok(Self {
            listener,
            router,
            fast,
            shelf: engine.holding.shelf,
            catalog: stores.catalog,
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

    /// Serves until `stop` resolves, then drains, or cuts what is left as soon as `cut` is cancelled.
    pub async fn run(mut self, stop: impl Future<Output = ()>, cut: CancellationToken) {
        self.stage.serving();
        let stage = Arc::clone(&self.stage);
        let stop = async move {
            stop.await;
            stage.draining();
        };
        let grace = Grace { longest: self.grace, cut };
        serve::serve(self.listener, self.router, self.fast, grace, stop).await;
        self.background.abort_all();
        tend::report_uses_now(&*self.catalog, &self.shelf).await;
    }
}
