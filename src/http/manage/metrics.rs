//! `GET /metrics`: counters, gauges and how long requests take, in the OpenMetrics text format.
//!
//! Counters are kept by those who count ([`Counts`](crate::engine::counts::Counts)). Gauges are looked up when somebody
//! asks, so they cost nothing in between. Times are taken of requests that pass the router only: the short way for hits
//! does not, on purpose, and its time is below what a histogram could tell apart.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::gauges::{Gauges, Process};
use super::totals::Holdings;
use crate::http::error::Problem;

/// Upper bounds of the buckets of request times, in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0];

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is shown.
#[derive(Clone)]
pub struct Metrics {
    /// Ours, and the process's under the names that every exporter has for one.
    registries: Arc<[Registry; 2]>,
    holdings: Arc<Holdings>,
}

impl Metrics {
    /// Everything registered so far, which says what the names begin with, and the gauges.
    #[must_use]
    pub fn new(mut registry: Registry, gauges: Gauges) -> Self {
        let holdings = gauges.holdings();
        registry.register_collector(Box::new(gauges));
        let mut process = Registry::default();
        process.register_collector(Box::new(Process::starting_now()));
        Self { registries: Arc::new([registry, process]), holdings }
    }
}

/// `/metrics`.
pub fn routes(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(show)).with_state(metrics)
}

async fn show(State(metrics): State<Metrics>) -> Result<Response, Problem> {
    metrics.holdings.look().await;
    let registries = Arc::clone(&metrics.registries);
    // Looking at /proc and writing it all down takes a moment with thousands of descriptors.
    let writing = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        for registry in &*registries {
            encode_registry(&mut text, registry)?;
        }
        encode_eof(&mut text).map(|()| text)
    });
    let written = match writing.await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(Problem::unavailable("The metrics could not be written.", &error)),
        Err(error) => return Err(Problem::unavailable("The metrics could not be written.", &error)),
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(TEXT))], written).into_response())
}

/// How long requests take until their answer begins.
#[derive(Debug, Clone)]
pub struct Times {
    seconds: Family<TimesLabels, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TimesLabels {
    route: String,
    status: u16,
}

impl Times {
    /// Registered under its name.
    #[must_use]
    pub fn registered(registry: &mut Registry) -> Self {
        let seconds = Family::<TimesLabels, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let help = "Seconds until the answer to a request began, by route and status; answers from the fast path not among them";
        registry.register("request_seconds", help, seconds.clone());
        Self { seconds }
    }

    /// Takes the time of every request to these routes.
    pub fn around(&self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(self.clone(), take_time))
    }
}

async fn take_time(State(times): State<Times>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    // The route's pattern, never the path: a stranger could make as many series of paths as he likes.
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let labels = TimesLabels { route, status: response.status().as_u16() };
    times.seconds.get_or_create(&labels).observe(began.elapsed().as_secs_f64());
    response
}
