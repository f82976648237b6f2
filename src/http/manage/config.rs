//! `GET /config`: the configuration in force.
//!
//! It is what the server goes by, with defaults filled in, not the text of the file; `/ready` says whether the file has
//! been refused since. Secrets are stars before they get here: [`ConfigView`] sees to that. Repositories that whoever asks may
//! not read are left out, and the tokens of `access:` are for administrators.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::config::{ConfigView, LiveRepositories, Settings};
use crate::http::access::{Gate, may_see};
use crate::http::error::Problem;

/// What is shown.
#[derive(Clone)]
#[allow(missing_docs, reason = "the types say it")]
pub struct Configuration {
    pub settings: Arc<Settings>,
    pub repositories: Arc<LiveRepositories>,
    pub gate: Arc<Gate>,
}

/// `/config`.
pub fn routes(configuration: Configuration) -> Router {
    Router::new().route("/config", get(show)).with_state(configuration)
}

async fn show(State(configuration): State<Configuration>, parts: Parts) -> Result<Response, Problem> {
    let caller = configuration.gate.caller(&parts).await?;
    let repositories = configuration.repositories.current();
    let mut view = ConfigView::of(&configuration.settings, &repositories);
    if !caller.administers_everything() {
        view = view.only(|name| repositories.get(name).is_some_and(|repository| may_see(&caller, repository)));
    }
    let mut response = Json(view).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("authorization"));
    Ok(response)
}
