//! What a client makes a change depend on: `If-Match`, `If-None-Match`, `If-Unmodified-Since` (RFC 9110, 13). It has seen some content, or
//! none, and means to replace just that.
//!
//! And that a body is a whole file: what says that it is a part of one is refused, for it would be taken for all of it (14.5).

use axum::http::header::{CONTENT_RANGE, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use axum::http::{HeaderMap, HeaderName};

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

/// Refuses what is about a part of a file.
///
/// # Errors
/// 400.
pub(super) fn is_about_all(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.contains_key(CONTENT_RANGE) {
        true => Err(Problem::bad_request(
            "Content-Range says that this is about a part of a file; files are uploaded and deleted whole, so an upload that broke \
             off begins again from the start.",
        )),
        false => Ok(()),
    }
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
