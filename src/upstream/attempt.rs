//! One attempt at one base URL: the request, its redirects, the head, and a body that cannot fall silent.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use prometheus_client::metrics::counter::Counter;
use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Method, Response};
use url::{Host, Url};

use super::address::{NotPublic, is_public};
use super::client::host_of;
use super::word::{Led, Word};
use super::{Answer, Ask, Chunk, How, MAX_REDIRECTS, Sent, UpstreamError, UpstreamErrorKind};
use crate::config::{Credentials, Remote};
use crate::patience::{Patience, Rule};

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
    UpstreamErrorKind::Unreachable(match &remote.proxy {
        Some(proxy) => format!("{deepest} (through the proxy {})", host_of(&proxy.url)),
        None => deepest,
    })
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

/// A literal address meets no resolver, so it is looked at here; nor does a name, if a proxy resolves it, and there is one whose
/// address is known (RFC 6761 section 6.3).
fn refuse_private_literal(url: &Url) -> Result<(), UpstreamError> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(name)) if is_localhost(name) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err(error(url, UpstreamErrorKind::Redirect("it names no host".into()))),
    };
    if is_public(address) {
        Ok(())
    } else {
        Err(error(url, UpstreamErrorKind::Private(NotPublic(address.to_string()).to_string())))
    }
}

fn is_localhost(name: &str) -> bool {
    name.trim_end_matches('.').rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

fn judge(response: Response, url: Url, idle: Duration, led: Led) -> Result<Answer, UpstreamError> {
    let status = response.status();
    let headers = response.headers();
    let range = text(headers, &header::CONTENT_RANGE).and_then(|range| content_range(&range));
    let sent = match (status.as_u16(), range) {
        (200, _) => Sent::Whole,
        (206, Some((first, last, total))) => Sent::Part { first, last, total },
        (304, _) => Sent::Unchanged,
        (206, None) => {
            let why = "a part, without saying which".to_owned();
            return Err(error(&url, UpstreamErrorKind::Unfit(why)));
        }
        (403 | 404 | 410, _) => return Err(error(&url, UpstreamErrorKind::Absent(status))),
        _ => return Err(error(&url, UpstreamErrorKind::Status(status))),
    };
    if let Some(encoding) = text(headers, &header::CONTENT_ENCODING).filter(|e| !e.eq_ignore_ascii_case("identity")) {
        // Asked for identity, got something else: storing it would break every checksum downstream.
        let kind = UpstreamErrorKind::Unfit(format!("a body encoded as {encoding}, which was not asked for"));
        if !matches!(encoding.as_str(), "gzip" | "x-gzip") || !url.path().ends_with("gz") {
            return Err(error(&url, kind));
        }
    }
    Ok(Answer {
        sent,
        length: text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        etag: text(headers, &header::ETAG),
        last_modified: text(headers, &header::LAST_MODIFIED),
        content_type: text(headers, &header::CONTENT_TYPE),
        accepts_ranges: text(headers, &header::ACCEPT_RANGES).is_some_and(|units| units == "bytes"),
        source: 0,
        led,
        body: Body::new(host_of(&url), idle, Box::pin(response.bytes_stream())),
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
    let (first, last) = (first.parse().ok()?, last.parse::<u64>().ok()?);
    // Whoever counts on from the last byte must be able to.
    (first <= last && last < u64::MAX).then_some((first, last, total))
}

pub(super) fn error(url: &Url, kind: UpstreamErrorKind) -> UpstreamError {
    UpstreamError { host: host_of(url), kind }
}

/// The bytes of a body as they come.
type Bytestream = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// A response body. Reading it fails when upstream is silent for longer than the remote's idle time-out, and when it drips.
pub struct Body {
    host: String,
    idle: Duration,
    patience: Patience,
    bytes: Bytestream,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn new(host: String, idle: Duration, bytes: Bytestream) -> Self {
        // Twice the longest pause, so that whoever makes such pauses can make up for them.
        let rule = Rule { span: idle.saturating_mul(2), longest: None };
        Self { host, idle, patience: Patience::new(rule), bytes }
    }

    /// Goes on in place of a body that broke: what that one has used up stays used up.
    #[must_use]
    pub fn in_place_of(self, broken: Self) -> Self {
        Self { patience: broken.patience, ..self }
    }

    /// What was read of it, to be read again.
    #[must_use]
    pub(super) fn made_of(self, whole: Bytes) -> Self {
        Self { bytes: Box::pin(futures_util::stream::iter(Some(Ok(whole)))), ..self }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Chunk> {
        match tokio::time::timeout(self.idle, self.patiently()).await {
            Ok(chunk) => chunk,
            Err(_) => {
                let _ = self.heard(0);
                Some(Err(self.error(UpstreamErrorKind::TimedOut { during: "reading the body", after: self.idle })))
            }
        }
    }

    async fn patiently(&mut self) -> Option<Chunk> {
        loop {
            let look = self.patience.wait(Instant::now());
            let comes = tokio::time::timeout_at(look.into(), self.bytes.next()).await;
            let bytes = match &comes {
                Ok(Some(Ok(bytes))) => bytes.len(),
                Ok(Some(Err(_)) | None) | Err(_) => 0,
            };
            let heard = self.heard(bytes);
            match comes {
                Ok(None) => return None,
                Ok(Some(Err(cause))) => return Some(Err(self.error(broken(&cause)))),
                Ok(Some(Ok(bytes))) => return Some(heard.map(|()| bytes)),
                // The timer rings a moment late, never early: a span that was made use of is over, and the next begins.
                Err(_) => {
                    if let Err(too_slow) = heard {
                        return Some(Err(too_slow));
                    }
                }
            }
        }
    }

    /// Bytes that have arrived already, without waiting.
    pub fn try_next(&mut self) -> Option<Chunk> {
        use futures_util::FutureExt as _;
        let chunk = self.bytes.next().now_or_never()??;
        Some(match chunk {
            Ok(bytes) => self.heard(bytes.len()).map(|()| bytes),
            Err(cause) => Err(self.error(broken(&cause))),
        })
    }

    fn heard(&mut self, bytes: usize) -> Result<(), UpstreamError> {
        let heard = self.patience.heard(bytes as u64, Instant::now());
        heard.map_err(|too_slow| self.error(UpstreamErrorKind::TooSlow(too_slow)))
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
        let private = ["http://127.0.0.1/", "http://10.1.2.3:8000/x", "https://[::1]/", "http://169.254.169.254/"];
        for private in private.into_iter().chain(["https://localhost/", "http://a.LocalHost.:80/"]) {
            assert!(refused(private), "{private}");
        }
        // A name is looked at where it becomes an address.
        assert!(!refused("https://1.1.1.1/") && !refused("https://localhost.example/"));
    }

    /// Reads a body that sends so many bytes after each such pause, with this limit of silence, to its end. How long that took.
    async fn read(idle: Duration, pauses: &[(u64, usize)]) -> (Duration, Result<usize, UpstreamError>) {
        let pauses = pauses.to_vec();
        let bytes = futures_util::stream::iter(pauses).then(|(millis, count)| async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok(Bytes::from(vec![0; count]))
        });
        let (began, mut got) = (Instant::now(), 0);
        let mut body = Body::new("here".to_owned(), idle, Box::pin(bytes));
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(bytes) => got += bytes.len(),
                Err(error) => return (began.elapsed(), Err(error)),
            }
        }
        (began.elapsed(), Ok(got))
    }

    #[tokio::test]
    async fn a_body_that_drips_is_given_up() {
        let idle = Duration::from_millis(200);
        // Never silent for long enough, and never worth waiting for.
        let (took, end) = read(idle, &[(20, 1); 1_000]).await;
        let error = end.expect_err("it drips");
        assert!(matches!(error.kind, UpstreamErrorKind::TooSlow(_)) && !error.kind.may_pass(), "{error}");
        assert!(took >= idle * 2 && took < idle * 50, "{took:?}");
        // Ten times what is asked, and pauses that are made up for.
        assert_eq!(read(idle, &[(20, 410); 50]).await.1.expect("slow and honest"), 50 * 410);
        assert_eq!(read(idle, &[(1, 0), (100, 2_048)].repeat(8)).await.1.expect("with pauses"), 8 * 2_048);
        let (_, end) = read(idle, &[(1, 1), (60_000, 1)]).await;
        assert!(matches!(end.expect_err("silence").kind, UpstreamErrorKind::TimedOut { .. }));
    }

    #[tokio::test]
    async fn what_we_take_ourselves_is_not_waiting() {
        let bytes = futures_util::stream::iter((0..10).map(|_| Ok(Bytes::from_static(b"a"))));
        let mut body = Body::new("here".to_owned(), Duration::from_millis(10), Box::pin(bytes));
        for _ in 0..10 {
            body.next().await.expect("more").expect("bytes");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    #[tokio::test]
    async fn who_breaks_off_again_and_again_does_not_begin_anew() {
        let idle = Duration::from_millis(100);
        let drip = || {
            futures_util::stream::iter(0..5).then(|_| async {
                tokio::time::sleep(Duration::from_millis(15)).await;
                Ok(Bytes::from_static(b"a"))
            })
        };
        let mut body = Body::new("here".to_owned(), idle, Box::pin(drip()));
        let mut pieces = 0;
        loop {
            match body.next().await {
                Some(Ok(_)) => pieces += 1,
                Some(Err(error)) => break assert!(matches!(error.kind, UpstreamErrorKind::TooSlow(_)), "{error}"),
                None => body = Body::new("here".to_owned(), idle, Box::pin(drip())).in_place_of(body),
            }
        }
        assert!(pieces > 5, "a body alone is over before its span is");
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/20"), Some((5, 9, Some(20))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, 9, None)));
        assert_eq!(content_range("bytes */20"), None);
        assert_eq!(content_range("bytes 9-5/20"), None);
        assert_eq!(content_range("bytes 0-18446744073709551615/*"), None);
        assert_eq!(content_range("chunks 1-2/3"), None);
    }
}
