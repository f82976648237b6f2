//! Errors as clients see them: `application/problem+json` (RFC 9457) with a request id that the log also has.
//!
//! This is the only place where an error of the server becomes a status code. A problem says what failed, for which
//! repository and path, and what to do about it; a 5xx never carries an inner error, only the id under which the log has
//! it.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use serde_json::json;
use tracing::Instrument as _;

use crate::causes::with_causes;
use crate::config::{Admission, Repository};
use crate::engine::fill::FillError;
use crate::engine::read::ReadError;
use crate::spool::SpoolError;
use crate::upstream::{UpstreamError, UpstreamErrorKind};

/// The header that carries the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The media type of a problem.
const MEDIA_TYPE: &str = "application/problem+json";

/// The id of a request that may change something, in its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id, as the answer has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    /// For the log only.
    cause: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with a status, a short title that is the same for all its kind, and a detail.
    #[must_use]
    pub fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into(), cause: None, headers: Vec::new() }
    }

    /// 400: the request itself is wrong.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad request", detail)
    }

    /// 414: a query longer than the name of a file may be.
    #[must_use]
    pub fn query_too_long(most: usize) -> Self {
        let detail = format!("The query is longer than {most} bytes; a file's name is not that long.");
        Self::new(StatusCode::URI_TOO_LONG, "The query is too long", detail)
    }

    /// 422: a part of the request cannot be used; the detail names it.
    #[must_use]
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "A field cannot be used", detail)
    }

    /// What a body that is not the JSON it should be is answered with: 400, 413, 415 or 422, naming the field if there is
    /// one.
    #[must_use]
    pub fn from_json(rejection: &JsonRejection) -> Self {
        let title = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "The body is too large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "The body is not declared as application/json",
            StatusCode::UNPROCESSABLE_ENTITY => "A field cannot be used",
            _ => "The body is not JSON",
        };
        Self::new(rejection.status(), title, format!("{}.", rejection.body_text()))
    }

    /// 404.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", detail)
    }

    /// 404: no repository of that name.
    #[must_use]
    pub fn no_such_repository(name: &str) -> Self {
        Self::not_found(format!("There is no repository {name:?}. GET / lists the repositories there are."))
    }

    /// 403: the path is outside the repository's patterns.
    #[must_use]
    pub fn not_admitted(repository: &Repository, path: &str, admission: &Admission) -> Self {
        let why = match admission {
            Admission::Excluded { pattern } => {
                format!("its exclude_patterns refuse it by {pattern:?}")
            }
            _ => {
                let patterns = repository.patterns.include().unwrap_or_default();
                let shown: Vec<String> = patterns.iter().take(8).map(|pattern| format!("{pattern:?}")).collect();
                let more = patterns.len().saturating_sub(shown.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("no include_patterns entry matches it from its start: {}{more}", shown.join(", "))
            }
        };
        let detail = format!(
            "Repository {:?} does not admit {path:?}: {why}. Add a pattern to remotes.yaml if it should.",
            repository.name
        );
        Self::new(StatusCode::FORBIDDEN, "Not admitted by the repository's patterns", detail)
    }

    /// 503: a part of this server is away.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>, cause: &dyn std::error::Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "A part of the server is away", detail)
            .caused_by(cause)
            .with(header::RETRY_AFTER, HeaderValue::from_static("5"))
    }

    /// 503: it did not work this time.
    #[must_use]
    pub fn try_again(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Cannot be read now", detail)
            .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Says more.
    #[must_use]
    pub fn also(mut self, sentence: &str) -> Self {
        self.detail = format!("{} {sentence}", self.detail);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Notes what the log should say.
    #[must_use]
    pub fn caused_by(mut self, cause: &dyn std::error::Error) -> Self {
        self.cause = Some(with_causes(cause));
        self
    }

    /// The status it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn document(&self, id: &str) -> serde_json::Value {
        json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "request_id": id,
        })
    }

    /// The response to a request with this id.
    fn written(&self, id: &str, headers: HeaderMap) -> axum::response::Response {
        let mut written = (self.status, Json(self.document(id))).into_response();
        written.headers_mut().extend(headers);
        written.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        written.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::from_str(id) {
            written.headers_mut().insert(REQUEST_ID, id);
        }
        written
    }

    /// The response to a request that is refused before any router sees it.
    #[must_use]
    pub fn into_early_response(self) -> axum::response::Response {
        let id = new_request_id();
        tracing::debug!(request_id = %id, status = self.status.as_u16(), detail = %self.detail, "request refused unread");
        self.written(&id, HeaderMap::new())
    }

    /// A whole HTTP/1.1 response as bytes, after which the connection closes: for requests that no router sees.
    #[must_use]
    pub fn into_last_response(self) -> Vec<u8> {
        let id = new_request_id();
        tracing::debug!(request_id = %id, status = self.status.as_u16(), detail = %self.detail, "request refused unread");
        let body = self.document(&id).to_string();
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let head = format!(
            "HTTP/1.1 {}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
             x-request-id: {id}\r\nconnection: close\r\ndate: {date}\r\n\r\n",
            self.status,
            body.len()
        );
        (head + &body).into_bytes()
    }

    /// What a failed read is answered with.
    #[must_use]
    pub fn from_read(error: &ReadError, repository: &Repository, path: &str) -> Self {
        let of = format!("{path:?} of repository {:?}", repository.name);
        match error {
            ReadError::Absent(why) => Self::not_found(format!("There is no {of}: {why}.")),
            ReadError::Fill(FillError::Upstream(upstream)) => Self::from_upstream(upstream, &of),
            ReadError::Fill(FillError::Spool(SpoolError::Invalid(why))) => {
                Self::new(StatusCode::BAD_GATEWAY, "Upstream sent something else", format!("{of} was refused: {why}."))
            }
            ReadError::Fill(error @ FillError::Spool(_)) => {
                Self::unavailable(format!("{of} could not be spooled; look at the disk of the data folder."), error)
            }
            ReadError::Fill(error @ FillError::NotPublished(_)) => {
                Self::unavailable(format!("{of} cannot be made current now; GET /ready says what is away."), error)
            }
            ReadError::Fill(error @ FillError::GivenUp) => {
                let why = "its transfer ended without an outcome. The server is stopping, or its log says what broke";
                Self::unavailable(format!("{of} could not be fetched: {why}."), error)
            }
            ReadError::Store(error) => Self::unavailable(
                format!("{of} cannot be looked up or opened now; GET /ready says what is away."),
                error,
            ),
            ReadError::Later(why) => Self::try_again(format!("{of} cannot be had now: {why}.")),
            ReadError::Unreadable(why) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Cannot be read", format!("{of}: {why}."))
            }
        }
    }

    fn from_upstream(error: &UpstreamError, of: &str) -> Self {
        let (status, title) = match error.kind {
            UpstreamErrorKind::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "Too much is waited for"),
            UpstreamErrorKind::TimedOut { .. } | UpstreamErrorKind::TooSlow(_) => {
                (StatusCode::GATEWAY_TIMEOUT, "Upstream was too slow")
            }
            UpstreamErrorKind::Unfit(_) | UpstreamErrorKind::WrongLength { .. } => {
                (StatusCode::BAD_GATEWAY, "Upstream sent something else")
            }
            UpstreamErrorKind::Absent(_) => (StatusCode::NOT_FOUND, "Not found"),
            _ => (StatusCode::BAD_GATEWAY, "Upstream cannot be used"),
        };
        let detail = format!("{of} is not held here, and upstream {error}. Nothing was kept; try again later.");
        let problem = Self::new(status, title, detail).caused_by(error);
        match error.kind {
            UpstreamErrorKind::NoRoom => problem.with(header::RETRY_AFTER, HeaderValue::from_static("5")),
            _ => problem,
        }
    }
}

impl IntoResponse for Problem {
    /// The body is written by [`identify`], which knows the request id.
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers.iter().cloned());
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Gives each request an id, each log line of it that id, and each [`Problem`] its body. What another site's page may not ask goes
/// no further.
pub async fn identify(mut request: Request, next: Next) -> axum::response::Response {
    let id = new_request_id();
    // For the audit, which has no lines about reading.
    if !request.method().is_safe() {
        request.extensions_mut().insert(RequestId(Arc::from(&*id)));
    }
    let span = tracing::info_span!("request", id = %id, method = %request.method(), path = request.uri().path());
    let refused = super::cross_site::refusal(request.method(), request.uri(), request.headers());
    let mut response = match refused {
        Some(problem) => problem.into_response(),
        None => next.run(request).instrument(span.clone()).await,
    };
    // What we call JSON or text is that, whatever is in it.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() else {
        return response;
    };
    let status = problem.status.as_u16();
    span.in_scope(|| match problem.cause.as_deref() {
        Some(cause) if problem.status.is_server_error() => {
            tracing::warn!(status, detail = %problem.detail, cause, "request failed");
        }
        _ => tracing::debug!(status, detail = %problem.detail, "request refused"),
    });
    let headers = std::mem::take(response.headers_mut());
    problem.written(&id, headers)
}

/// 16 hexadecimal digits: a start time of the process and a count, so that ids of replicas and restarts differ.
fn new_request_id() -> String {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static SEED: LazyLock<u64> = LazyLock::new(|| getrandom::u64().unwrap_or_else(|_| std::process::id().into()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}", SEED.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_room_may_come_again() {
        let answered = |kind| {
            let problem =
                Problem::from_upstream(&UpstreamError { host: "h".to_owned(), kind }, "\"a/\" of repository \"r\"");
            (problem.status().as_u16(), problem.headers.iter().any(|(name, _)| *name == header::RETRY_AFTER))
        };
        assert_eq!(answered(UpstreamErrorKind::NoRoom), (503, true));
        assert_eq!(answered(UpstreamErrorKind::Unfit("a page".to_owned())), (502, false));
        assert_eq!(answered(UpstreamErrorKind::Unreachable("x".to_owned())), (502, false));
    }
}
