//! One attempt at one base URL: the request, its redirects, the head, and a body that cannot fall silent.

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use prometheus_client::metrics::counter::Counter;
use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Method, Response};
use url::{Host, Url};

use super::address::{NotPublic, is_public};
use super::client::host_of;
use super::word::{Led, Word};
use super::{Answer, Ask, Chunk, How, MAX_REDIRECTS, UpstreamError, UpstreamErrorKind};
use crate::config::{Credentials, Remote};

/// Connection pools for one connect time-out.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    /// Goes anywhere.
    pub(super) any: reqwest::Client,
    /// Resolves public addresses only.
    pub(super) public: reqwest::Client,
    /// Counts every request that is sent, whoever it is for.
    pub(super) requests: Counter,
}

pub(super) async fn attempt(
    clients: &Clients,
    remote: &Remote,
    how: &How<'_>,
    start: Url,
    word: Word<'_>,
) -> Result<Answer, UpstreamError> {
    let (mut url, mut led) = (start.clone(), Led::by_nobody());
    for _ in 0..=MAX_REDIRECTS {
        let client = if word.is_good_for(&start, &url, led) {
            &clients.any
        } else {
            refuse_private_literal(&url)?;
            &clients.public
        };
        clients.requests.inc();
        let response = send(client, remote, how, &url).await?;
        led.answered(remote, response.remote_addr());
        match next_hop(&response)? {
            Some(next) => url = next,
            None => return judge(response, url, remote.timeouts.idle, led),
        }
    }
    Err(error(&url, UpstreamErrorKind::Redirect(format!("more than {MAX_REDIRECTS} in a row"))))
}

pub(super) fn target_url(base: &Url, ask: &Ask<'_>) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{}", base.path(), ask.path.to_url_path()));
    url.set_query(if ask.query.is_empty() { None } else { Some(ask.query) });
    url
}

async fn send(client: &reqwest::Client, remote: &Remote, how: &How<'_>, url: &Url) -> Result<Response, UpstreamError> {
    let method = if matches!(how, How::Head) { Method::HEAD } else { Method::GET };
    let mut request =
        client.request(method, url.clone()).header(header::ACCEPT, "*/*").header(header::ACCEPT_ENCODING, "identity");
    match how {
        How::Get | How::Head => {}
        How::GetIfChanged { etag, last_modified } => {
            if let Some(etag) = etag {
                request = request.header(header::IF_NONE_MATCH, *etag);
            }
            if let Some(date) = last_modified {
                request = request.header(header::IF_MODIFIED_SINCE, *date);
            }
        }
        How::Range { first, last, if_range } => {
            let range = match last {
                Some(last) => format!("bytes={first}-{last}"),
                None => format!("bytes={first}-"),
            };
            request = request.header(header::RANGE, range);
            if let Some(validator) = if_range {
                request = request.header(header::IF_RANGE, *validator);
            }
        }
    }
    request = match remote.credentials_for(url) {
        Some(Credentials::Basic { username, password }) => {
            request.basic_auth(username.expose(), Some(password.expose()))
        }
        Some(Credentials::Bearer(token)) => request.bearer_auth(token.expose()),
        None => request,
    };
    let idle = remote.timeouts.idle;
    let limit = remote.timeouts.connect.saturating_add(idle);
    match tokio::time::timeout(limit, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(cause)) => Err(error(url, trouble(&cause, remote))),
        Err(_) => Err(error(url, UpstreamErrorKind::TimedOut { during: "waiting for the head", after: limit })),
    }
}

fn trouble(cause: &reqwest::Error, remote: &Remote) -> UpstreamErrorKind {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(cause);
    let mut deepest = cause.to_string();
    while let Some(inner) = source {
        if let Some(refused) = inner.downcast_ref::<NotPublic>() {
            return UpstreamErrorKind::Private(refused.to_string());
        }
        deepest = inner.to_string();
        source = inner.source();
    }
    if cause.is_timeout() {
        let during = if cause.is_connect() { "connecting" } else { "waiting for the head" };
        return UpstreamErrorKind::TimedOut { during, after: remote.timeouts.connect };
    }
    UpstreamErrorKind::Unreachable(deepest)
}

fn next_hop(response: &Response) -> Result<Option<Url>, UpstreamError> {
    let status = response.status();
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let url = response.url();
    let refused = |why: &str| error(url, UpstreamErrorKind::Redirect(why.to_owned()));
    let location = text(response.headers(), &header::LOCATION).ok_or_else(|| refused("it names no location"))?;
    let next = url.join(&location).map_err(|_| refused("its location is not a URL"))?;
    match (url.scheme(), next.scheme()) {
        (_, "https") | ("http", "http") => Ok(Some(next)),
        ("https", "http") => Err(refused("it leads from https to http")),
        _ => Err(refused("its scheme is neither http nor https")),
    }
}

/// A literal address meets no resolver, so it is looked at here.
fn refuse_private_literal(url: &Url) -> Result<(), UpstreamError> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err(error(url, UpstreamErrorKind::Redirect("it names no host".into()))),
    };
    if is_public(address) {
        Ok(())
    } else {
        Err(error(url, UpstreamErrorKind::Private(NotPublic(address.to_string()).to_string())))
    }
}

fn judge(response: Response, url: Url, idle: Duration, led: Led) -> Result<Answer, UpstreamError> {
    let status = response.status();
    match status.as_u16() {
        200 | 206 | 304 => {}
        403 | 404 | 410 => return Err(error(&url, UpstreamErrorKind::Absent(status))),
        _ => return Err(error(&url, UpstreamErrorKind::Status(status))),
    }
    let headers = response.headers();
    if let Some(encoding) = text(headers, &header::CONTENT_ENCODING).filter(|e| !e.eq_ignore_ascii_case("identity")) {
        // Asked for identity, got something else: storing it would break every checksum downstream.
        let kind = UpstreamErrorKind::Unfit(format!("a body encoded as {encoding}, which was not asked for"));
        if !matches!(encoding.as_str(), "gzip" | "x-gzip") || !url.path().ends_with("gz") {
            return Err(error(&url, kind));
        }
    }
    Ok(Answer {
        status,
        length: text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        range: text(headers, &header::CONTENT_RANGE).and_then(|range| content_range(&range)),
        etag: text(headers, &header::ETAG),
        last_modified: text(headers, &header::LAST_MODIFIED),
        content_type: text(headers, &header::CONTENT_TYPE),
        accepts_ranges: text(headers, &header::ACCEPT_RANGES).is_some_and(|units| units == "bytes"),
        source: 0,
        led,
        body: Body { host: host_of(&url), idle, bytes: Box::pin(response.bytes_stream()) },
        url,
    })
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// `bytes first-last/total` (RFC 9110 section 14.4).
fn content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

pub(super) fn error(url: &Url, kind: UpstreamErrorKind) -> UpstreamError {
    UpstreamError { host: host_of(url), kind }
}

/// A response body. Reading it fails when upstream is silent for longer than the remote's idle time-out.
pub struct Body {
    host: String,
    idle: Duration,
    bytes: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Body {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Chunk> {
        match tokio::time::timeout(self.idle, self.bytes.next()).await {
            Ok(Some(Ok(bytes))) => Some(Ok(bytes)),
            Ok(Some(Err(cause))) => Some(Err(self.error(broken(&cause)))),
            Ok(None) => None,
            Err(_) => {
                Some(Err(self.error(UpstreamErrorKind::TimedOut { during: "reading the body", after: self.idle })))
            }
        }
    }

    /// Bytes that have arrived already, without waiting.
    pub fn try_next(&mut self) -> Option<Chunk> {
        use futures_util::FutureExt as _;
        let chunk = self.bytes.next().now_or_never()??;
        Some(chunk.map_err(|cause| self.error(broken(&cause))))
    }

    /// Host (and port) that sends it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// An error that names this upstream.
    #[must_use]
    pub fn error(&self, kind: UpstreamErrorKind) -> UpstreamError {
        UpstreamError { host: self.host.clone(), kind }
    }
}

fn broken(cause: &reqwest::Error) -> UpstreamErrorKind {
    let mut deepest: &dyn std::error::Error = cause;
    while let Some(inner) = deepest.source() {
        deepest = inner;
    }
    UpstreamErrorKind::Unreachable(format!("the connection broke: {deepest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_address_must_be_public() {
        let refused = |url: &str| refuse_private_literal(&url.parse().expect(url)).is_err();
        for private in ["http://127.0.0.1/", "http://10.1.2.3:8000/x", "https://[::1]/", "http://169.254.169.254/"] {
            assert!(refused(private), "{private}");
        }
        // A name is looked at where it becomes an address.
        assert!(!refused("https://1.1.1.1/") && !refused("https://localhost/"));
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/20"), Some((5, 9, Some(20))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, 9, None)));
        assert_eq!(content_range("bytes */20"), None);
        assert_eq!(content_range("chunks 1-2/3"), None);
    }
}
