//! What a client makes a change depend on: `If-Match`, `If-None-Match`, `If-Unmodified-Since` (RFC 9110, 13). It has seen some content, or
//! none, and means to replace just that.
//!
//! And that a body is a whole file: what says that it is a part of one is refused, for it would be taken for all of it (14.5), and so
//! is what says that it is encoded, for it would be given out without that word (8.4).

use axum::http::header::{CONTENT_ENCODING, CONTENT_RANGE, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::super::conditional::allows_change;
use super::super::error::Problem;
use super::super::headers::etag;
use crate::engine::publish::Condition;

const CONDITIONS: [HeaderName; 3] = [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE];

/// What a request's headers say must hold of the content that is there.
pub(super) fn condition(headers: &HeaderMap) -> Condition {
    let mut said = HeaderMap::new();
    for name in &CONDITIONS {
        said.extend(headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
    }
    if said.is_empty() {
        return Condition::default();
    }
    Condition::that(move |current| {
        let tag = current.map(|current| etag(&current.sha256));
        allows_change(&said, tag.as_deref(), current.map(|current| current.last_modified))
    })
}

/// Refuses what is about a part of a file, and a file in a wrapping that nobody would be told of who is given it.
///
/// # Errors
/// 400, 415.
pub(super) fn is_about_all(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Problem::bad_request(
            "Content-Range says that this is about a part of a file; files are uploaded and deleted whole, so an upload that broke \
             off begins again from the start.",
        ));
    }
    let is_wrapped = |encoding: &HeaderValue| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(is_wrapped) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body is encoded",
            "Content-Encoding says that the body is the file in another form; files are kept as they come, so send the file itself.",
        ));
    }
    Ok(())
}

/// Refuses conditions where several files are put at once: none of them would know which is meant.
///
/// # Errors
/// 400.
pub(super) fn asks_nothing(headers: &HeaderMap) -> Result<(), Problem> {
    match CONDITIONS.iter().find(|name| headers.contains_key(*name)) {
        Some(name) => Err(Problem::bad_request(format!(
            "{name} is about one file, and a form may have several; PUT the file instead."
        ))),
        None => Ok(()),
    }
}
