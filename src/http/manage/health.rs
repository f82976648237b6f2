//! Is it alive, and what of it is well: `/health`, `/health?ready` and `/ready`.
//!
//! `/health` is for whoever restarts the process: it does no I/O and answers 200 as long as requests are answered at all,
//! also while draining, because killing a server that is about to finish helps nobody. Readiness is for whoever sends
//! clients here, and for people: it names each part's state. A part that is away makes the server *degraded*, not
//! unready: hits are still served, misses pass through, and with every replica degraded alike taking them all out of
//! rotation would turn a slow day into an outage (DESIGN 7). Only a server that has not started yet, or is about to stop,
//! answers 503.
//!
//! An index that nobody trusted has signed makes the server degraded, too: something is wrong upstream or with our keys, and
//! only a person can say which. The roots are named to those who may read their repositories, and counted for the others
//! ([`trust`](super::trust)). A wrong token is no token here: a probe must not fail for one.
//!
//! The checks run at the same time, each for at most [`CHECK_LIMIT`], and whoever asks within [`REMEMBERED`] is given the
//! last answer, so the endpoint cannot be used to lean on the database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{RawQuery, State};
use axum::http::request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::Mutex;

use super::trust::Trust;
use crate::access::Caller;
use crate::calendar::rfc3339;
use crate::config::LiveRepositories;
use crate::engine::distrust::Distrust;
use crate::http::access::Gate;
use crate::store::blobs::BlobStore;
use crate::store::catalog::Catalog;
use crate::store::coordinator::Coordinator;

/// How long one part may take to answer.
pub const CHECK_LIMIT: Duration = Duration::from_secs(1);

/// How long an answer is given again.
const REMEMBERED: Duration = Duration::from_secs(1);

/// How long it is believed that the data folder can be written, or cannot.
const WRITTEN: Duration = Duration::from_secs(10);

/// Less free space than this in the data folder is worth telling, in bytes: fills of large files will not be kept.
pub const LOW_SPACE: u64 = 1 << 30;

/// Where the server is between its start and its end. Made by the composition root, which moves it on.
#[derive(Debug, Default)]
pub struct Stage(AtomicU8);

const SERVING: u8 = 1;
const DRAINING: u8 = 2;

impl Stage {
    /// Everything is in place.
    pub fn serving(&self) {
        self.0.fetch_max(SERVING, Ordering::Release);
    }

    /// The server was told to stop; there is no way back.
    pub fn draining(&self) {
        self.0.fetch_max(DRAINING, Ordering::Release);
    }

    /// `None` while serving, otherwise the word for what it is doing.
    fn unready(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Acquire) {
            SERVING => None,
            DRAINING => Some("draining"),
            _ => Some("starting"),
        }
    }
}

/// The parts whose state is told.
#[allow(missing_docs, reason = "the types say it")]
pub struct Parts {
    pub catalog: Arc<dyn Catalog>,
    pub blobs: Arc<dyn BlobStore>,
    pub coordinator: Arc<dyn Coordinator>,
    pub repositories: Arc<LiveRepositories>,
    pub distrust: Arc<Distrust>,
    pub gate: Arc<Gate>,
    /// The folder that the spool is in.
    pub data_dir: PathBuf,
}

/// What health is told with.
#[derive(Clone)]
pub struct Health {
    stage: Arc<Stage>,
    parts: Arc<Parts>,
    last: Arc<Mutex<Option<(Instant, Checked)>>>,
    written: Arc<Mutex<Option<(Instant, Part)>>>,
}

impl Health {
    /// Over the parts it asks.
    #[must_use]
    pub fn new(stage: Arc<Stage>, parts: Parts) -> Self {
        Self { stage, parts: Arc::new(parts), last: Arc::default(), written: Arc::default() }
    }

    /// The state of each part, at most [`REMEMBERED`] old. Whoever asks at the same time waits for the same checks.
    async fn checked(&self) -> Checked {
        let mut last = self.last.lock().await;
        if let Some((_, checked)) = last.as_ref().filter(|(at, _)| at.elapsed() < REMEMBERED) {
            return checked.clone();
        }
        let mut checked = check(&self.parts).await;
        let written = self.written().await;
        if checked.spool.state == Condition::Ok {
            (checked.spool.state, checked.spool.detail) = (written.state, written.detail);
        }
        *last = Some((Instant::now(), checked.clone()));
        checked
    }
}

impl Health {
    /// Whether the data folder can be written, at most [`WRITTEN`] old: asking costs a write.
    async fn written(&self) -> Part {
        let mut last = self.written.lock().await;
        if let Some((_, part)) = last.as_ref().filter(|(at, _)| at.elapsed() < WRITTEN) {
            return part.clone();
        }
        let folder = self.parts.data_dir.clone();
        let trying = tokio::task::spawn_blocking(move || try_to_write(&folder));
        let part = match tokio::time::timeout(CHECK_LIMIT, trying).await {
            Ok(Ok(Ok(()))) => Part { state: Condition::Ok, detail: None },
            Ok(Ok(Err(error))) => {
                let detail = format!("the data folder cannot be written: {}", error.kind());
                Part { state: Condition::Away, detail: Some(detail) }
            }
            Ok(Err(_)) => Part { state: Condition::Away, detail: None },
            Err(_) => Part { state: Condition::Slow, detail: None },
        };
        *last = Some((Instant::now(), part.clone()));
        part
    }
}

/// Writes a byte where files are made: in the data folder, and in the spool's.
fn try_to_write(data: &Path) -> std::io::Result<()> {
    let spool = data.join("spool");
    for folder in [Some(data), spool.is_dir().then_some(&*spool)].into_iter().flatten() {
        let path = folder.join(".writable");
        std::fs::write(&path, b"1")?;
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

/// `/health` and `/ready`.
pub fn routes(health: Health) -> Router {
    Router::new().route("/health", get(alive_or_ready)).route("/ready", get(ready)).with_state(health)
}

async fn alive_or_ready(State(health): State<Health>, RawQuery(query): RawQuery, request: request::Parts) -> Response {
    let asked = query.unwrap_or_default();
    if url::form_urlencoded::parse(asked.as_bytes()).any(|(name, _)| name == "ready") {
        return ready(State(health), request).await;
    }
    let alive = serde_json::json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") });
    no_store((StatusCode::OK, Json(alive)).into_response())
}

async fn ready(State(health): State<Health>, request: request::Parts) -> Response {
    let checked = health.checked().await;
    let caller = health.parts.gate.caller(&request).await.unwrap_or(Caller::Anonymous);
    let trust = Trust::of(&health.parts.distrust, &health.parts.repositories.current(), &caller);
    let parts = Told { checked, trust };
    let (code, status) = match health.stage.unready() {
        Some(status) => (StatusCode::SERVICE_UNAVAILABLE, status),
        None if parts.checked.all_well() && parts.trust.is_well() => (StatusCode::OK, "ready"),
        None => (StatusCode::OK, "degraded"),
    };
    no_store((code, Json(Readiness { status, parts })).into_response())
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[derive(Debug, Serialize)]
struct Readiness {
    status: &'static str,
    parts: Told,
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    checked: Checked,
    trust: Trust,
}

#[derive(Debug, Clone, Serialize)]
struct Checked {
    catalog: Part,
    store: Part,
    coordinator: Part,
    configuration: Configuration,
    spool: Spool,
}

impl Checked {
    fn all_well(&self) -> bool {
        let states =
            [self.catalog.state, self.store.state, self.coordinator.state, self.configuration.state, self.spool.state];
        states.iter().all(|state| *state == Condition::Ok)
    }
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Condition {
    Ok,
    /// It does not answer, or refuses to.
    Away,
    /// It did not answer within [`CHECK_LIMIT`].
    Slow,
    /// The file on disk is wrong; what was in force before still is.
    Outdated,
    /// Less than [`LOW_SPACE`] is free.
    Low,
}

#[derive(Debug, Clone, Serialize)]
struct Part {
    state: Condition,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Configuration {
    state: Condition,
    generation: u64,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Spool {
    state: Condition,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

async fn check(parts: &Parts) -> Checked {
    let (catalog, store, coordinator, spool) = tokio::join!(
        part("catalog", parts.catalog.ping()),
        part("store", parts.blobs.ping()),
        part("coordinator", parts.coordinator.ping()),
        spool(parts.data_dir.clone()),
    );
    Checked { catalog, store, coordinator, configuration: configuration(&parts.repositories), spool }
}

/// Asks one part. Its own short sentence is given out, what caused it goes to the log.
async fn part<E: std::error::Error>(name: &'static str, ping: impl Future<Output = Result<(), E>>) -> Part {
    match tokio::time::timeout(CHECK_LIMIT, ping).await {
        Ok(Ok(())) => Part { state: Condition::Ok, detail: None },
        Ok(Err(error)) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            tracing::debug!(part = name, %error, cause, "a part of the server is away");
            Part { state: Condition::Away, detail: Some(error.to_string()) }
        }
        Err(_) => {
            let detail = format!("no answer within {} s", CHECK_LIMIT.as_secs());
            Part { state: Condition::Slow, detail: Some(detail) }
        }
    }
}

fn configuration(repositories: &LiveRepositories) -> Configuration {
    let (generation, digest) = {
        let current = repositories.current();
        (current.generation(), current.digest().hex())
    };
    let refused = repositories.last_error();
    Configuration {
        state: if refused.is_some() { Condition::Outdated } else { Condition::Ok },
        generation,
        digest,
        refused_at: refused.as_ref().map(|refused| rfc3339(refused.at)),
        problems: refused.map(|refused| refused.message.clone()),
    }
}

async fn spool(folder: PathBuf) -> Spool {
    let asking = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder));
    match tokio::time::timeout(CHECK_LIMIT, asking).await {
        Ok(Ok(Ok(found))) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let state = if free < LOW_SPACE { Condition::Low } else { Condition::Ok };
            Spool { state, free_bytes: Some(free), detail: None }
        }
        Ok(_) => Spool { state: Condition::Away, free_bytes: None, detail: None },
        Err(_) => Spool { state: Condition::Slow, free_bytes: None, detail: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_the_data_folder_can_be_written() {
        let data = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(data.path().join("spool")).expect("a folder");
        try_to_write(data.path()).expect("it can");
        assert_eq!(std::fs::read_dir(data.path()).expect("a folder").count(), 1, "nothing stays");
        // Whoever runs tests as root may write anywhere that is a folder.
        std::fs::write(data.path().join("file"), b"").expect("written");
        assert!(try_to_write(&data.path().join("file")).is_err());
    }
}
