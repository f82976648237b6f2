//! The routes in one process, over real stores (files, SQLite) and a real upstream on loopback.

mod access;
mod artifacts;
mod batch;
mod clocks;
mod document;
mod edges;
mod operation;
mod upstream;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, request};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tower::ServiceExt as _;

use self::upstream::Upstream;
use super::health::Stage;
use crate::app::Stores;
use crate::app::engine::{Engine, Rooms};
use crate::app::routes::Routed;
use crate::config::{LiveRepositories, Settings, Source};
use crate::engine::callers::Callers;
use crate::engine::counts::Counts;
use crate::engine::distrust::Distrust;
use crate::engine::shelf::{Shelf, ShelfBudget};
use crate::http::access::Gate;
use crate::http::fast::Fast;
use crate::spool::SpoolFolder;
use crate::store::blobs::files::FileBlobs;
use crate::store::catalog::sqlite::SqliteCatalog;
use crate::store::catalog::tokens::Tokens;
use crate::store::catalog::{Artifact, Catalog, ListQuery};
use crate::store::coordinator::in_process::InProcessCoordinator;

const REPOSITORIES: &str = r#"
remotes:
  apks:
    base_url: "UPSTREAM/alpine"
    type: remote
    package: alpine
    include_patterns: [".*/x86_64/.*\\.apk$"]
  rpms:
    base_url: "UPSTREAM/rpm"
    type: remote
    package: rpm
  files:
    base_url: "UPSTREAM/files"
    type: remote
    package: generic
    description: "Files <for> all"
    exclude_patterns: [".*secret.*"]
    username: someone
    password: hunter2
  signed:
    base_url: "UPSTREAM/signed"
    type: remote
    package: alpine
    anonymous_read: false
    trusted_keys: ["KEYS/fixtures@example.org-67241a00.rsa.pub"]
  ours:
    type: local
    package: generic
  closed:
    base_url: "UPSTREAM/closed"
    type: remote
    package: generic
    anonymous_read: false
"#;

/// Where public keys are.
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/small/alpine");

/// What the administrator presents.
const ADMINISTRATOR: &str = "hunter3";

/// A whole server but for its listener.
struct Server {
    upstream: Upstream,
    router: Router,
    repositories: Arc<LiveRepositories>,
    catalog: Arc<dyn Catalog>,
    tokens: Arc<dyn Tokens>,
    fast: Arc<Fast>,
    shelf: Arc<Shelf>,
    stage: Arc<Stage>,
    distrust: Arc<Distrust>,
    _data: tempfile::TempDir,
}

/// An answer, read to its end.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

impl Server {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let data = tempfile::tempdir().expect("a folder");
        let upstream = Upstream::start().await;
        let database = Arc::new(SqliteCatalog::open(&data.path().join("catalog.sqlite")).await.expect("catalog"));
        let stores = Stores {
            blobs: Arc::new(FileBlobs::open(data.path()).expect("blobs")),
            snapshots: Arc::clone(&database) as _,
            fragments: Arc::clone(&database) as _,
            tokens: Arc::clone(&database) as _,
            catalog: database,
            coordinator: Arc::new(InProcessCoordinator::new()),
        };
        let repositories = Arc::new(repositories(data.path(), &upstream.url));
        let mut registry = Registry::with_prefix("artifactapi");
        let counts = Arc::new(Counts::registered(&mut registry));
        let asked = crate::upstream::Upstream::new(Duration::from_secs(1), counts.upstream_requests.clone());
        let spool = SpoolFolder::open(&data.path().join("spool")).expect("a spool");
        let publishing = data.path().join("publish");
        let rooms = Rooms { spool: &spool, publishing: &publishing, shelf: ShelfBudget(1 << 20) };
        let engine = Engine::over(&stores, &rooms, asked.expect("a client"), &repositories, counts).expect("an engine");
        let callers = Callers::new(Some(ADMINISTRATOR), Arc::clone(&repositories), Arc::clone(&stores.tokens));
        let gate = Arc::new(Gate::new(Arc::new(callers), Arc::from([])));
        let fast = Arc::new(Fast::new(Arc::clone(&repositories), Arc::clone(&engine.holding.pins)));
        let stage = Arc::new(Stage::default());
        let settings = Settings { data_dir: data.path().to_owned(), ..settings() };
        let routed = Routed {
            settings: &settings,
            repositories: &repositories,
            stores: &stores,
            engine: &engine,
            spool: &spool,
            fast: &fast,
            gate: &gate,
            stage: &stage,
        };
        let router = routed.router(registry);
        let Stores { catalog, tokens, .. } = stores;
        let Engine { holding, distrust, .. } = engine;
        let shelf = holding.shelf;
        Self { upstream, router, repositories, catalog, tokens, fast, shelf, stage, distrust, _data: data }
    }

    /// Has a root's index refused for its signature.
    fn refused_root(&self, repository: &str, entry: &str) {
        let path = artifactapi_formats::RepoPath::new(entry).expect("a path");
        let root = crate::store::key::Target::new(repository.parse().expect("a name"), path);
        self.distrust.refused(&root, "upstream.test", "nobody signed it", std::time::SystemTime::UNIX_EPOCH);
    }

    async fn send(&self, request: Request<Body>) -> Answered {
        let (parts, body) = self.router.clone().oneshot(request).await.expect("infallible").into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a whole body").to_vec();
        Answered { status: parts.status, headers: parts.headers, body }
    }

    /// Has files of the generic repository cached, and returns the record of the first.
    async fn cached(&self, paths: &[&str]) -> Artifact {
        for path in paths {
            self.upstream.put(&format!("files/{path}"), path.as_bytes());
        }
        let answer = self.cache(serde_json::json!({ "remote": "files", "paths": paths })).await.json();
        assert_eq!(answer["cached"], paths.len(), "{answer}");
        let all = ListQuery { prefix: paths[0].to_owned(), after: None, limit: 1 };
        self.catalog.list(&"files".parse().expect("a name"), &all).await.expect("listed").remove(0)
    }

    async fn get(&self, path: &str) -> Answered {
        self.get_as(path, "*/*").await
    }

    async fn get_as(&self, path: &str, accept: &str) -> Answered {
        let request = Request::get(path).header("accept", accept).header("host", "packages.example:8000");
        self.send(request.body(Body::empty()).expect("a request")).await
    }

    async fn cache(&self, body: Value) -> Answered {
        self.cache_as(&body.to_string(), "application/json").await
    }

    async fn cache_as(&self, body: &str, accept: &str) -> Answered {
        let request = Request::builder().method(Method::POST).uri("/cache-artifact");
        let request = as_administrator(request).header("content-type", "application/json").header("accept", accept);
        self.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    }
}

fn as_administrator(request: request::Builder) -> request::Builder {
    request.header("authorization", format!("Bearer {ADMINISTRATOR}"))
}

fn repositories(folder: &Path, upstream: &str) -> LiveRepositories {
    let file = folder.join("remotes.yaml");
    std::fs::write(&file, REPOSITORIES.replace("UPSTREAM", upstream).replace("KEYS", KEYS)).expect("written");
    let source = Source::find(Some(&file), folder, artifactapi_formats::FORMATS, Arc::new(|_: &str| None));
    LiveRepositories::new(source.and_then(|source| source.load()).expect("repositories"))
}

fn settings() -> Settings {
    let environment = |name: &str| (name == "ARTIFACTAPI_ADMIN_TOKEN").then(|| ADMINISTRATOR.to_owned());
    Settings::from_env(&environment).expect("settings")
}
