//! Routes: one file for each kind of request. The only part that knows HTTP status codes.

pub mod access;
pub mod artifact;
pub mod body;
mod client;
pub mod conditional;
mod deliver;
mod direct;
pub mod error;
pub mod fast;
pub mod headers;
pub mod manage;
pub mod range;
mod refused;
pub mod serve;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::get;

use self::artifact::Artifacts;
use self::error::Problem;

/// Everything below `/api/`.
pub fn artifact_routes(artifacts: Artifacts) -> Router {
    Router::new().route("/api/{*below}", get(artifact::get)).with_state(artifacts)
}

/// Puts what every route shares around the routes: answers for unknown paths and methods, and request ids.
pub fn finish(routes: Router) -> Router {
    routes
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(axum::middleware::from_fn(error::identify))
}

async fn unknown_route(request: Request) -> Problem {
    Problem::not_found(format!(
        "There is nothing at {:?}. Files are below /api/{{repository}}/; GET / lists the repositories.",
        request.uri().path()
    ))
}

async fn unknown_method(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed",
        format!("{} is not possible on {:?}; the Allow header says what is.", request.method(), request.uri().path()),
    )
}
