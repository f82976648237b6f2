//! `POST /cache-artifact`: the engine's batches over HTTP.
//!
//! The answer is one JSON summary at the end, or, for `Accept: application/x-ndjson`, a line for each finished file and
//! then the summary. A client that leaves is noticed because the answer's body (or its future) is dropped, and with it the
//! batch. Once a batch has begun the answer is 200: what did not work is in it, for a batch of which one file failed is
//! neither a success nor a failure as a whole.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::accept::prefers;
use super::batch_answer::{Line, SummaryView};
use crate::access::Grant;
use crate::config::{LiveRepositories, Repository};
use crate::engine::batch::{Batch, Batches, Running, Summary, Wanted};
use crate::http::access::Gate;
use crate::http::document;
use crate::http::error::Problem;

/// The largest request, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;

/// A stream that has nothing to tell for this long tells how far it is, so that no proxy takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

const NDJSON: &str = "application/x-ndjson";

/// What batches are started with.
#[derive(Clone)]
#[allow(missing_docs, reason = "the types say it")]
pub struct CacheArtifact {
    pub repositories: Arc<LiveRepositories>,
    pub batches: Arc<Batches>,
    pub gate: Arc<Gate>,
}

/// `/cache-artifact`.
pub fn routes(state: CacheArtifact) -> Router {
    Router::new().route("/cache-artifact", post(cache)).layer(DefaultBodyLimit::max(MAX_REQUEST)).with_state(state)
}

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with remote, and include_pattern, path, paths, urls and dry_run as needed"
)]
struct Asked {
    remote: String,
    include_pattern: Option<String>,
    path: Option<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    urls: Vec<String>,
    #[serde(default)]
    dry_run: bool,
}

async fn cache(State(state): State<CacheArtifact>, request: Request) -> Result<Response, Problem> {
    // Whoever may do nothing has no body read, and is not told what is wrong with it.
    let (parts, body) = request.into_parts();
    state.gate.somebody(&parts).await?;
    let asked = document::read(Request::from_parts(parts.clone(), body)).await?;
    let Asked { remote, include_pattern, path, paths, urls, dry_run } = asked;
    let repository = state.repositories.get(&remote).ok_or_else(|| Problem::no_such_repository(&remote))?;
    let entry = state.gate.authorize(&parts, &repository, Grant::Write).await?;
    let below = path.clone().unwrap_or_default();
    let wanted = Wanted { include_pattern, path, paths, urls, dry_run };
    let running = entry.audited("cache", &below, state.start(repository, wanted)).await?;
    let told = Told { remote, dry_run, running, summary: Summary::default() };
    let mut response =
        if prefers(&parts.headers, NDJSON, "application/json") { told.into_lines() } else { told.into_summary().await };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl CacheArtifact {
    async fn start(&self, repository: Arc<Repository>, wanted: Wanted) -> Result<Running, Problem> {
        // A large pattern takes milliseconds to compile.
        let checked = tokio::task::spawn_blocking(move || Batch::new(repository, &wanted)).await;
        let checked = checked.map_err(|error| Problem::unavailable("The request could not be checked.", &error))?;
        let batch = checked.map_err(|invalid| Problem::unprocessable(format!("{invalid}.")))?;
        self.batches.start(batch).map_err(|busy| {
            let detail = format!("{busy}; ask again when one is over.");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "Too many batches", detail)
                .with(header::RETRY_AFTER, HeaderValue::from_static("30"))
        })
    }
}

/// A batch that is being told about.
struct Told {
    remote: String,
    dry_run: bool,
    running: Running,
    summary: Summary,
}

impl Told {
    async fn into_summary(mut self) -> Response {
        while let Some(report) = self.running.next().await {
            self.summary.add(report, self.dry_run);
        }
        Json(SummaryView::of(&self.remote, self.dry_run, &self.summary)).into_response()
    }

    fn into_lines(self) -> Response {
        let lines = futures_util::stream::unfold(Some(self), |told| async {
            let mut told = told?;
            let line = told.next_line().await;
            let over = line.is_none();
            let line = line
                .unwrap_or_else(|| written(&Line::Summary(SummaryView::of(&told.remote, told.dry_run, &told.summary))));
            Some((Ok::<_, Infallible>(line), (!over).then_some(told)))
        });
        let mut response = Response::new(Body::from_stream(lines));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        // A proxy that collects answers before it passes them on would make progress invisible.
        response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    /// The next line but the last; `None` when it is time for that one.
    async fn next_line(&mut self) -> Option<Bytes> {
        loop {
            let Ok(report) = tokio::time::timeout(HEARTBEAT, self.running.next()).await else {
                return Some(written(&Line::progress(&self.summary)));
            };
            let report = report?;
            let line = Line::of(&report).map(|line| written(&line));
            // Every file had its line, so the summary need not list them again.
            self.summary.add(report, false);
            if line.is_some() {
                return line;
            }
        }
    }
}

fn written<T: Serialize>(line: &T) -> Bytes {
    // What is written here has no map with odd keys and nothing that can fail: an empty line would say so if it did.
    let mut line = serde_json::to_vec(line).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
