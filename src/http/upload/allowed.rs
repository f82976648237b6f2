//! Whether a repository takes changes at all, told before anybody is asked for a token.
//!
//! No token helps with a remote repository, so nobody is sent to look for one. But what a repository is that somebody may not
//! read is not theirs to know: they are answered as if it took uploads.

use axum::extract::{Request, State};
use axum::http::header::ALLOW;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::{Uploads, destination, takes_uploads};
use crate::access::{Caller, Grant};
use crate::config::Repository;
use crate::http::access::{Entry, may_see};
use crate::http::artifact::repository_of;
use crate::http::error::Problem;

/// What may be done with the files of a repository that takes uploads.
const ALL: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE, OPTIONS");

/// And with those of one that takes none.
pub(super) const READING: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Lets a request on that changes a repository and needs this grant for it.
///
/// # Errors
/// 405 for whoever may read a repository that takes no changes; else as [`Gate::authorize`](crate::http::access::Gate::authorize).
pub(super) async fn authorize(
    uploads: &Uploads,
    parts: &Parts,
    repository: &Repository,
    needed: Grant,
) -> Result<Entry, Problem> {
    let takes_none = |caller: &Caller| takes_uploads(repository).err().filter(|_| may_see(caller, repository));
    uploads.gate.authorize_or(parts, repository, needed, takes_none).await
}

/// Answers `OPTIONS`: which methods there are for the files of a repository.
///
/// # Errors
/// 404 for an unknown repository, 401 for a wrong token.
pub async fn options(State(uploads): State<Uploads>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let repository = repository_of(&uploads.repositories, &parts.uri)?;
    let caller = uploads.gate.caller(&parts).await?;
    let takes_none = destination(&repository).is_none() && may_see(&caller, &repository);
    Ok((StatusCode::NO_CONTENT, [(ALLOW, if takes_none { READING } else { ALL })]).into_response())
}
