//! HTTP: the only part that knows status codes.
//!
//! | room | what changes belong there |
//! |---|---|
//! | [`serve`], `direct`, `linger`, `refused`, `host`, `heard`, `ordinary` | connections: accepting, the bare path of hits, slow and wrong clients |
//! | [`artifact`], `deliver`, [`fast`], `folder`, `mirror_list` | `GET /api/…`: from what the engine answers to a response |
//! | [`conditional`], [`mod@range`], [`headers`], [`body`] | the rules of RFC 9110, and bodies |
//! | [`upload`] | what is put in below `/api/…` |
//! | [`access`], `client`, `cross_site`, `own_url` | who asks, and under which name |
//! | [`manage`], `document`, [`error`] | every other route, documents, and errors |

pub mod access;
pub mod artifact;
pub mod body;
mod client;
pub mod conditional;
mod cross_site;
mod deliver;
mod direct;
mod document;
pub mod error;
pub mod fast;
mod folder;
pub mod headers;
mod heard;
mod host;
mod linger;
pub mod manage;
mod mirror_list;
mod ordinary;
mod own_url;
pub mod range;
mod refused;
pub mod serve;
pub mod upload;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};

use self::artifact::Artifacts;
use self::error::Problem;
use self::upload::Uploads;

/// Everything below `/api/`.
pub fn artifact_routes(artifacts: Artifacts) -> Router {
    Router::new().route("/api/{*below}", get(artifact::get)).with_state(artifacts)
}

/// What is put in below `/api/`.
pub fn upload_routes(uploads: Uploads) -> Router {
    // Sizes are the repository's to bound, and bodies go to the disk.
    Router::new()
        .route("/api/{*below}", put(upload::put).delete(upload::delete).post(upload::post).options(upload::options))
        .layer(DefaultBodyLimit::disable())
        .with_state(uploads)
}

/// Puts what every route shares around the routes: answers for unknown paths and methods, and request ids.
pub fn finish(routes: Router) -> Router {
    routes
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(axum::middleware::from_fn(error::identify))
}

/// What there is on this server, somewhere.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE, OPTIONS");

async fn unknown_route(request: Request) -> Result<Response, Problem> {
    // About the server as a whole (RFC 9110, 9.3.7).
    if request.method() == Method::OPTIONS && request.uri().path() == "*" {
        return Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response());
    }
    Err(Problem::not_found(format!(
        "There is nothing at {:?}. Files are below /api/{{repository}}/; GET / lists the repositories.",
        request.uri().path()
    )))
}

async fn unknown_method(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed",
        format!("{} is not possible on {:?}; the Allow header says what is.", request.method(), request.uri().path()),
    )
}
