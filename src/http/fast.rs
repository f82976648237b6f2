//! The short way for hits: from the request's own spelling of its URI to a finished response.
//!
//! A hit that was answered once by the long way is remembered under the exact path and query the client sent, with its
//! headers made and its body at hand. The next one costs one look-up in memory: no decoding, no pattern, no SQL, no lock
//! that is contended, no log line. Anything out of the ordinary (a range, a condition, `no-cache`, credentials) takes
//! the long way, and so does a content that was replaced, whose time is over, or that was answered under an earlier
//! configuration.
//!
//! Nobody is asked for a token here, so nothing is remembered of a repository that not everybody may read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};

use super::artifact::depends_on_index;
use super::body::{Origin, ServedBody};
use super::headers::{CACHE_STATUS, Representation, X_ARTIFACT_SOURCE};
use crate::config::{LiveRepositories, Repository};
use crate::engine::counts::RepositoryCounts;
use crate::engine::held::{Held, HeldBody};
use crate::engine::pins::Pins;
use crate::engine::read::age;

/// How many spellings are remembered.
const REMEMBERED: usize = 32_768;

/// The longest spelling that is remembered, in bytes.
const LONGEST: usize = 512;

/// Remembered hits.
pub struct Fast {
    hits: quick_cache::sync::Cache<Box<str>, Arc<Hit>>,
    repositories: Arc<LiveRepositories>,
    pins: Arc<Pins>,
}

/// A hit whose body is in memory, ready to be written to a connection.
pub(super) struct WireHit(Arc<Hit>);

impl WireHit {
    /// Status line and headers, but for `age` and `date` and the empty line.
    pub(super) fn head(&self) -> &[u8] {
        &self.0.wire_head
    }

    /// The body.
    pub(super) fn body(&self) -> &[u8] {
        match &self.0.origin {
            Origin::Memory(bytes) => bytes,
            Origin::File(_) | Origin::Growing(_) => &[],
        }
    }

    /// Seconds since upstream confirmed it.
    pub(super) fn age(&self) -> u64 {
        age(self.0.held.confirmed_at()).as_secs()
    }

    /// Counts it as answered.
    pub(super) fn count(&self) {
        self.0.count();
    }
}

struct Hit {
    held: Arc<Held>,
    generation: u64,
    fresh_until: Option<Instant>,
    headers: HeaderMap,
    /// The same as they stand on the wire, for bodies in memory.
    wire_head: Box<[u8]>,
    origin: Origin,
    counts: Arc<RepositoryCounts>,
}

impl Hit {
    fn count(&self) {
        self.held.used();
        self.counts.hit.inc();
        self.counts.bytes.inc_by(self.held.artifact.size);
    }
}

impl Fast {
    /// Nothing remembered yet.
    #[must_use]
    pub fn new(repositories: Arc<LiveRepositories>, pins: Arc<Pins>) -> Self {
        Self { hits: quick_cache::sync::Cache::new(REMEMBERED), repositories, pins }
    }

    /// The generation of the configuration in force; what was answered under an earlier one is not given out any more.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.repositories.current().generation()
    }

    /// Forgets everything. It would not be given out under a new configuration, but takes up memory.
    pub fn forget(&self) {
        self.hits.clear();
    }

    /// Remembers a hit for the next request that spells it the same way.
    pub fn remember(
        &self,
        uri: &Uri,
        generation: u64,
        repository: &Repository,
        held: &Arc<Held>,
        fresh_for: Option<Duration>,
        counts: &Arc<RepositoryCounts>,
    ) {
        let origin = match &held.body {
            HeldBody::Memory(bytes) => Origin::Memory(bytes.clone()),
            HeldBody::File(file) => Origin::File(Arc::clone(file)),
            HeldBody::Growing(_) | HeldBody::Distant => return,
        };
        if !repository.anonymous_read {
            return;
        }
        let spelling = spelling(uri);
        let lasts = fresh_for.is_none_or(|fresh| !fresh.is_zero());
        let addressed = matches!(held.mutability, artifactapi_formats::Mutability::Addressed(_));
        // For a while after a switch it matters who asks.
        let depends_on_client = self.pins.has_changed(&held.artifact.target);
        if !lasts || depends_on_client || spelling.len() > LONGEST || (depends_on_index(held.role) && !addressed) {
            return;
        }
        let mut headers = Representation::of_held(held).headers;
        headers.insert(X_ARTIFACT_SOURCE, HeaderValue::from_static("cache"));
        headers.insert(CACHE_STATUS, HeaderValue::from_static("artifactapi; hit"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(held.artifact.size));
        let wire_head = match &origin {
            Origin::Memory(_) => wire_head(&headers),
            Origin::File(_) | Origin::Growing(_) => Box::default(),
        };
        headers.insert(header::AGE, HeaderValue::from(0));
        let hit = Hit {
            wire_head,
            held: Arc::clone(held),
            generation,
            fresh_until: fresh_for.map(|fresh| Instant::now() + fresh),
            headers,
            origin,
            counts: Arc::clone(counts),
        };
        self.hits.insert(spelling.into(), Arc::new(hit));
    }

    /// The response, if this is an ordinary request for something remembered.
    #[must_use]
    pub fn answer<B>(&self, request: &Request<B>) -> Option<Response<ServedBody>> {
        let head_only = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return None,
        };
        let hit = self.find(spelling(request.uri())).filter(|_| is_ordinary(request.headers()))?;
        let size = hit.held.artifact.size;
        let body = if head_only { ServedBody::empty() } else { hit.origin.range(0..size) };
        let mut response = Response::new(body);
        *response.headers_mut() = hit.headers.clone();
        let age = age(hit.held.confirmed_at()).as_secs();
        response.headers_mut().insert(header::AGE, HeaderValue::from(age));
        hit.count();
        Some(response)
    }

    /// What is remembered under a spelling, if its body is in memory and it may still be given out.
    pub(super) fn in_memory(&self, spelling: &str) -> Option<WireHit> {
        self.find(spelling).filter(|hit| matches!(hit.origin, Origin::Memory(_))).map(WireHit)
    }

    fn find(&self, spelling: &str) -> Option<Arc<Hit>> {
        let hit = self.hits.get(spelling)?;
        let in_force = hit.generation == self.generation();
        let fresh = hit.fresh_until.is_none_or(|until| Instant::now() < until);
        (in_force && fresh && hit.held.is_current() && !hit.held.record_is_old()).then_some(hit)
    }
}

/// The head of an answer as HTTP/1.1 writes it, for a connection that stays (FORMATS 1.6), up to what changes.
fn wire_head(headers: &HeaderMap) -> Box<[u8]> {
    let mut head = b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n".to_vec();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.into()
}

fn spelling(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", |spelled| spelled.as_str())
}

/// Whether no header asks for anything but the whole, fresh enough.
fn is_ordinary(headers: &HeaderMap) -> bool {
    !headers.keys().any(|name| {
        matches!(
            *name,
            header::RANGE
                | header::IF_NONE_MATCH
                | header::IF_MODIFIED_SINCE
                | header::IF_MATCH
                | header::IF_UNMODIFIED_SINCE
                | header::CACHE_CONTROL
                | header::PRAGMA
                | header::AUTHORIZATION
        )
    })
}
