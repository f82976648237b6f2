//! From what is held, growing or passed through to a response: conditions, ranges, parts, headers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;

use super::body::{Origin, ServedBody};
use super::conditional::{Verdict, evaluate, range_applies};
use super::error::Problem;
use super::headers::{CACHE_STATUS, Representation, X_ARTIFACT_SOURCE};
use super::range::{self, Ranges};
use crate::engine::held::{Held, HeldBody};
use crate::engine::read::Source;
use crate::spool::SpoolReader;
use crate::upstream::{self, Sent};

/// What an answer says of where it came from.
pub(super) struct Status {
    /// `X-Artifact-Source`.
    pub(super) source: &'static str,
    /// `Cache-Status`.
    pub(super) cache: String,
}

impl Status {
    /// Of something that came from upstream for this request.
    pub(super) fn forwarded(how: impl std::fmt::Display) -> Self {
        Self { source: "remote", cache: format!("artifactapi; fwd={how}") }
    }
}

pub(super) fn source_headers(source: Source, fresh_for: Option<Duration>) -> Status {
    let ttl = fresh_for.map(|fresh| format!("; ttl={}", fresh.as_secs())).unwrap_or_default();
    let hit = |how: String| Status { source: "cache", cache: format!("artifactapi; hit{how}") };
    match source {
        Source::Hit => hit(ttl),
        // No hit: what had to be asked about was not answered from the cache alone (RFC 9211 section 2.1).
        Source::Confirmed => Status { source: "cache", cache: format!("artifactapi; fwd=stale; fwd-status=304{ttl}") },
        Source::Stale => hit("; ttl=-1; detail=\"stale, upstream not asked in time\"".to_owned()),
        Source::Fetched => Status::forwarded("uri-miss; stored"),
        Source::Unkept => Status::forwarded("uri-miss; detail=\"not stored\""),
    }
}

pub(super) fn origin(held: &Held) -> Option<Origin> {
    match &held.body {
        HeldBody::Memory(bytes) => Some(Origin::Memory(bytes.clone())),
        HeldBody::File(file) => Some(Origin::File(Arc::clone(file))),
        HeldBody::Growing(reader) => Some(Origin::Growing(reader.clone())),
        HeldBody::Distant => None,
    }
}

/// A representation of known size whose bytes can be read from anywhere.
pub(super) fn whole_or_parts(
    asked: &HeaderMap,
    head_only: bool,
    mut about: Representation,
    origin: &Origin,
    status: &Status,
    age: Option<Duration>,
) -> Response {
    if let Some(age) = age {
        about.headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    }
    about = match by_conditions(asked, head_only, about, status) {
        Ok(about) => about,
        Err(response) => return *response,
    };
    let size = about.size.unwrap_or_default();
    let ranges = match asked.get(header::RANGE).and_then(|range| range.to_str().ok()) {
        Some(range) if !head_only && range_applies(asked, about.etag.as_deref(), about.last_modified) => {
            range::resolve(range, size)
        }
        _ => Ranges::Whole,
    };
    match ranges {
        Ranges::Whole => {
            let body = if head_only { ServedBody::empty() } else { origin.range(0..size) };
            finish(StatusCode::OK, about.headers, Some(size), status, body)
        }
        Ranges::Unsatisfiable => unsatisfiable(size),
        Ranges::Parts(parts) => match parts.as_slice() {
            [one] => {
                let length = one.end - one.start;
                let content_range = format!("bytes {}-{}/{size}", one.start, one.end - 1);
                insert(&mut about.headers, header::CONTENT_RANGE, &content_range);
                let body = origin.range(one.clone());
                finish(StatusCode::PARTIAL_CONTENT, about.headers, Some(length), status, body)
            }
            _ => multipart(about, origin, parts, size, status),
        },
    }
}

/// What the preconditions leave of a representation: it, or the answer in its place.
fn by_conditions(
    asked: &HeaderMap,
    head_only: bool,
    about: Representation,
    status: &Status,
) -> Result<Representation, Box<Response>> {
    match evaluate(asked, about.etag.as_deref(), about.last_modified) {
        Verdict::Send => Ok(about),
        Verdict::NotModified => {
            // To a HEAD hyper would declare the empty body's length, which is not the representation's.
            let length = about.size.filter(|_| head_only);
            let body = if head_only { ServedBody::Withheld } else { ServedBody::empty() };
            Err(Box::new(finish(StatusCode::NOT_MODIFIED, about.headers, length, status, body)))
        }
        Verdict::Failed => {
            let detail = "The file is not (any more) the one that If-Match or If-Unmodified-Since asks for.";
            let problem = Problem::new(StatusCode::PRECONDITION_FAILED, "Precondition failed", detail);
            Err(Box::new(problem.into_response()))
        }
    }
}

pub(super) fn unsatisfiable(size: u64) -> Response {
    let detail = format!("None of the ranges asked for lies within the {size} bytes there are.");
    let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "Range not satisfiable", detail);
    match HeaderValue::from_str(&format!("bytes */{size}")) {
        Ok(range) => problem.with(header::CONTENT_RANGE, range).into_response(),
        Err(_) => problem.into_response(),
    }
}

/// One part for each range, in the asked order; header names and boundary as zchunk's and zypper's readers want them
/// (FORMATS 3.8).
fn multipart(
    mut about: Representation,
    origin: &Origin,
    ranges: Vec<std::ops::Range<u64>>,
    size: u64,
    status: &Status,
) -> Response {
    // Chosen anew each time, so that no content can be made to hold it.
    let chosen = [getrandom::u64(), getrandom::u64()].map(|half| half.unwrap_or(size));
    let boundary = format!("{:016x}{:016x}", chosen[0], chosen[1]);
    let content_type = about.headers.get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default();
    let mut length = 0;
    let mut parts = Vec::with_capacity(ranges.len());
    for range in ranges {
        let text = format!(
            "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
            range.start,
            range.end - 1
        );
        length += text.len() as u64 + (range.end - range.start);
        parts.push((Bytes::from(text), range));
    }
    let closing = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    length += closing.len() as u64;
    let body = origin.parts(parts, closing);
    insert(&mut about.headers, header::CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
    finish(StatusCode::PARTIAL_CONTENT, about.headers, Some(length), status, body)
}

/// A body that is still on its way. With a known size it can be cut into ranges like any other.
pub(super) fn growing(
    asked: &HeaderMap,
    head_only: bool,
    about: Representation,
    body: SpoolReader,
    status: &Status,
) -> Response {
    if about.size.is_some() {
        return whole_or_parts(asked, head_only, about, &Origin::Growing(body), status, None);
    }
    match by_conditions(asked, head_only, about, status) {
        Ok(about) if head_only => finish(StatusCode::OK, about.headers, None, status, ServedBody::Withheld),
        Ok(about) => finish(StatusCode::OK, about.headers, None, status, Origin::open_ended(body)),
        Err(response) => *response,
    }
}

/// The head of something of which nothing is on its way.
pub(super) fn only_head(asked: &HeaderMap, about: Representation, status: &Status) -> Response {
    match by_conditions(asked, true, about, status) {
        Ok(about) => finish(StatusCode::OK, about.headers, about.size, status, ServedBody::Withheld),
        Err(response) => *response,
    }
}

pub(super) fn through(asked: &HeaderMap, head_only: bool, about: Representation, answer: upstream::Answer) -> Response {
    let status = Status::forwarded("uri-miss; detail=\"passed through\"");
    let mut about = match by_conditions(asked, head_only, about, &status) {
        Ok(about) => about,
        Err(response) => return *response,
    };
    let (code, length) = match answer.sent {
        Sent::Part { first, last, total } => {
            let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
            insert(&mut about.headers, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{total}"));
            (StatusCode::PARTIAL_CONTENT, Some(last - first + 1))
        }
        Sent::Whole | Sent::Unchanged => (StatusCode::OK, answer.length),
    };
    let body = if head_only { ServedBody::Withheld } else { passed_through(answer.body, length) };
    finish(code, about.headers, length, &status, body)
}

/// A body that nobody else reads and nothing keeps. One that ends early is cut, not ended.
fn passed_through(body: upstream::Body, declared: Option<u64>) -> ServedBody {
    let stream = futures_util::stream::unfold((body, 0u64, false), move |(mut body, got, over)| async move {
        if over {
            return None;
        }
        match body.next().await {
            Some(Ok(bytes)) => {
                let got = got + bytes.len() as u64;
                Some((Ok(bytes), (body, got, false)))
            }
            Some(Err(error)) => Some((Err(error.into()), (body, got, true))),
            None => match declared {
                Some(declared) if declared != got => {
                    let error = body.error(upstream::UpstreamErrorKind::WrongLength { got, declared });
                    Some((Err(error.into()), (body, got, true)))
                }
                _ => None,
            },
        }
    });
    ServedBody::Stream(Box::pin(stream))
}

pub(super) fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub(super) fn finish(
    code: StatusCode,
    mut headers: HeaderMap,
    length: Option<u64>,
    status: &Status,
    body: ServedBody,
) -> Response {
    insert(&mut headers, X_ARTIFACT_SOURCE, status.source);
    insert(&mut headers, CACHE_STATUS, &status.cache);
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_about_is_no_hit() {
        let said = |source, fresh_for| source_headers(source, fresh_for).cache;
        assert_eq!(said(Source::Hit, Some(Duration::from_secs(9))), "artifactapi; hit; ttl=9");
        assert_eq!(said(Source::Confirmed, None), "artifactapi; fwd=stale; fwd-status=304");
    }
}
