//! `GET /config`: the configuration in force.
//!
//! It is what the server goes by, with defaults filled in, not the text of the file; `/ready` says whether the file has
//! been refused since. Secrets are stars before they get here: [`ConfigView`] sees to that.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::config::{ConfigView, LiveRepositories, Settings};

/// What is shown.
#[derive(Clone)]
#[allow(missing_docs, reason = "the types say it")]
pub struct Configuration {
    pub settings: Arc<Settings>,
    pub repositories: Arc<LiveRepositories>,
}

/// `/config`.
pub fn routes(configuration: Configuration) -> Router {
    Router::new().route("/config", get(show)).with_state(configuration)
}

async fn show(State(configuration): State<Configuration>) -> Response {
    let repositories = configuration.repositories.current();
    let mut response = Json(ConfigView::of(&configuration.settings, &repositories)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
