//! The short way for hits: from the request's own spelling of its URI to a finished response.
//!
//! A hit that was answered once by the long way is remembered under the exact path and query the client sent, with its
//! headers made and its body at hand. The next one costs one look-up in memory: no decoding, no pattern, no SQL, no lock
//! that is contended, no log line. Anything out of the ordinary (a range, a condition, `no-cache`, credentials) takes
//! the long way, and so does a content that was replaced, whose time is over, or that was answered under an earlier
//! configuration.
//!
//! Nobody is asked for a token here, so nothing is remembered of a repository that not everybody may read.
//!
//! The body stays the shelf's: a hit is remembered without keeping it alive, so what leaves the shelf is forgotten here, too,
//! and memory has one budget. What is remembered besides, headers and spellings, is bounded by [`BUDGET`].

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};

use super::artifact::depends_on_index;
use super::body::{Origin, ServedBody};
use super::headers::{CACHE_STATUS, Representation, X_ARTIFACT_SOURCE};
use super::ordinary;
use crate::config::{LiveRepositories, Repository};
use crate::engine::counts::RepositoryCounts;
use crate::engine::held::{Held, HeldBody};
use crate::engine::pins::Pins;
use crate::engine::read::age;

/// How much spellings and headers may take, in bytes, about.
const BUDGET: u64 = 32 << 20;

/// What a hit takes beside its spelling and its head as it stands on the wire, in bytes: the same headers once more, as values.
const HIT_WEIGHT: u64 = 2 << 10;

/// The longest spelling that is remembered, in bytes.
const LONGEST: usize = 512;

/// Remembered hits.
pub struct Fast {
    hits: quick_cache::sync::Cache<Box<str>, Arc<Hit>, Weigher>,
    repositories: Arc<LiveRepositories>,
    pins: Arc<Pins>,
}

#[derive(Debug, Clone, Copy)]
struct Weigher;

impl quick_cache::Weighter<Box<str>, Arc<Hit>> for Weigher {
    fn weight(&self, spelling: &Box<str>, hit: &Arc<Hit>) -> u64 {
        HIT_WEIGHT + spelling.len() as u64 + hit.wire_head.len() as u64
    }
}

/// A hit that may be given out, and what it is about.
struct Found {
    hit: Arc<Hit>,
    held: Arc<Held>,
}

impl Found {
    /// In seconds, as the long way says it.
    fn age(&self) -> u64 {
        match self.hit.fresh_until {
            Some(_) => age(self.held.confirmed_at()).as_secs(),
            None => 0,
        }
    }

    fn count(&self) {
        self.held.used();
        self.hit.counts.hit.inc();
        self.hit.counts.bytes.inc_by(self.held.artifact.size);
    }
}

/// A hit whose body is in memory, ready to be written to a connection.
pub(super) struct WireHit(Found);

impl WireHit {
    /// Status line and headers, but for `age` and `date` and the empty line.
    pub(super) fn head(&self) -> &[u8] {
        &self.0.hit.wire_head
    }

    /// The body.
    pub(super) fn body(&self) -> &[u8] {
        match &self.0.held.body {
            HeldBody::Memory(bytes) => bytes,
            HeldBody::File(_) | HeldBody::Growing(_) | HeldBody::Distant => &[],
        }
    }

    /// Its age in seconds.
    pub(super) fn age(&self) -> u64 {
        self.0.age()
    }

    /// Counts it as answered.
    pub(super) fn count(&self) {
        self.0.count();
    }
}

struct Hit {
    held: Weak<Held>,
    generation: u64,
    fresh_until: Option<Instant>,
    headers: HeaderMap,
    /// The same as they stand on the wire, for bodies in memory.
    wire_head: Box<[u8]>,
    counts: Arc<RepositoryCounts>,
}

impl Fast {
    /// Nothing remembered yet.
    #[must_use]
    pub fn new(repositories: Arc<LiveRepositories>, pins: Arc<Pins>) -> Self {
        let expected = usize::try_from(BUDGET / HIT_WEIGHT).unwrap_or(usize::MAX);
        Self { hits: quick_cache::sync::Cache::with_weighter(expected, BUDGET, Weigher), repositories, pins }
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
        if !repository.anonymous_read || matches!(held.body, HeldBody::Growing(_) | HeldBody::Distant) {
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
        let wire_head = match &held.body {
            HeldBody::Memory(_) => wire_head(&headers),
            HeldBody::File(_) | HeldBody::Growing(_) | HeldBody::Distant => Box::default(),
        };
        headers.insert(header::AGE, HeaderValue::from(0));
        let hit = Hit {
            wire_head,
            held: Arc::downgrade(held),
            generation,
            fresh_until: fresh_for.map(|fresh| Instant::now() + fresh),
            headers,
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
        let found = self
            .find(spelling(request.uri()))
            .filter(|_| !request.headers().keys().any(|name| ordinary::decides(name.as_str())))?;
        let body = match &found.held.body {
            _ if head_only => ServedBody::empty(),
            HeldBody::Memory(bytes) => Origin::Memory(bytes.clone()).range(0..found.held.artifact.size),
            HeldBody::File(file) => Origin::File(Arc::clone(file)).range(0..found.held.artifact.size),
            HeldBody::Growing(_) | HeldBody::Distant => return None,
        };
        let mut response = Response::new(body);
        *response.headers_mut() = found.hit.headers.clone();
        response.headers_mut().insert(header::AGE, HeaderValue::from(found.age()));
        found.count();
        Some(response)
    }

    /// What is remembered under a spelling, if its body is in memory and it may still be given out.
    pub(super) fn in_memory(&self, spelling: &str) -> Option<WireHit> {
        self.find(spelling).filter(|found| matches!(found.held.body, HeldBody::Memory(_))).map(WireHit)
    }

    fn find(&self, spelling: &str) -> Option<Found> {
        let hit = self.hits.get(spelling)?;
        let Some(held) = hit.held.upgrade().filter(|held| held.is_current()) else {
            self.hits.remove(spelling);
            return None;
        };
        let in_force = hit.generation == self.generation();
        let fresh = hit.fresh_until.is_none_or(|until| Instant::now() < until);
        (in_force && fresh && !held.record_is_old()).then_some(Found { hit, held })
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
