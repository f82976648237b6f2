//! `GET /openapi.json`: every route, written down by hand.
//!
//! The document is part of the source, so that a change of a route and of its description are one change; a test asks the
//! router for each path and method in it, and it for each path of the router.

use axum::Router;
use axum::http::header;
use axum::routing::get;

/// The document.
pub const DOCUMENT: &str = include_str!("openapi.json");

/// `/openapi.json`.
pub fn routes() -> Router {
    Router::new().route("/openapi.json", get(show))
}

async fn show() -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=300")], DOCUMENT)
}
