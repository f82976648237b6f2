//! Bodies that are documents: read whole, and in time.
//!
//! A request that says in its body what it is about is small, so it is there at once or the connection is not worth keeping: who
//! opens one and sends half of a document must not be able to keep it, for there are only so many
//! ([`MAX_CONNECTIONS`](super::serve::MAX_CONNECTIONS)). How long it may be is the route's to say, by a
//! [`DefaultBodyLimit`](axum::extract::DefaultBodyLimit). Whoever calls this has asked the gate before.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest as _, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::error::Problem;

/// How long the body of a document may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The document in the body of a request.
///
/// # Errors
/// 408 when it does not come in time; 400, 413, 415 or 422 when it is not the JSON it should be.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    match tokio::time::timeout(PATIENCE, Json::from_request(request, &())).await {
        Ok(Ok(Json(document))) => Ok(document),
        Ok(Err(rejection)) => Err(Problem::from_json(&rejection)),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "The body did not come",
            format!("The body was not there after {} seconds; send it with the request.", PATIENCE.as_secs()),
        )),
    }
}
