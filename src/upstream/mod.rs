//! Asking upstream: conditional requests, mirrors in turn, redirects under a policy, time-outs on idleness.
//!
//! What this promises:
//! - **Nothing of the client goes upstream** but the path and, for formats that key on it, the query. We ask with
//!   `Accept-Encoding: identity` so that bytes arrive as they are stored there (DESIGN 4.7).
//! - **Mirrors are tried in turn** until one answers definitely: content, "not modified", or, if every one says so, "not
//!   found". Those that fail, corrupt or crawl go behind the others for a while (`ranking`).
//! - **Where mirrors are may be a list's to say** (`lists`): it is fetched when it is needed, kept while it is young, and used
//!   when it is old and no younger one can be had. What it names is a stranger's word.
//! - **Redirects are followed here**, at most [`MAX_REDIRECTS`], never with credentials to another origin, and never to
//!   a private address on a public host's word ([`address`]).
//! - **A transfer may take as long as it goes on**: connecting, waiting for the head and every pause in the body are limited,
//!   and a body that drips is given up ([`crate::patience`]); the whole is not limited.
//!
//! It has no trait: the seam for tests is HTTP itself.

pub mod address;
mod attempt;
mod client;
mod lists;
mod measured;
mod ranking;
mod sources;
mod word;

use std::time::{Duration, Instant};

use artifactapi_formats::RepoPath;
use bytes::Bytes;
use reqwest::StatusCode;
use url::Url;

pub use attempt::Body;
pub use client::{Upstream, folder_url};
pub use sources::Sources;

use crate::patience::TooSlow;

/// The most redirects followed for one request.
pub const MAX_REDIRECTS: usize = 10;

/// What to ask of a remote.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The remote, with its sources.
    pub remote: &'a Sources,
    /// The path below it.
    pub path: &'a RepoPath,
    /// The query, without `?`; empty for none.
    pub query: &'a str,
    /// What about the path.
    pub how: How<'a>,
}

/// How new a list of mirrors must be, as long as one can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Fetched no longer ago than this.
    Within(Duration),
    /// Fetched after this moment.
    Since(Instant),
}

/// The kinds of request made upstream.
#[derive(Debug, Clone)]
pub enum How<'a> {
    /// The whole content.
    Get,
    /// The content unless it is still what these validators say.
    GetIfChanged {
        /// An ETag, verbatim.
        etag: Option<&'a str>,
        /// A Last-Modified, verbatim.
        last_modified: Option<&'a str>,
    },
    /// Only the head.
    Head,
    /// The bytes from `first` (to `last`, inclusive), if the content is still what `if_range` says.
    Range {
        /// First byte.
        first: u64,
        /// Last byte; `None` for all the rest.
        last: Option<u64>,
        /// A strong ETag or a date; `None` takes any content.
        if_range: Option<&'a str>,
    },
}

/// What of the content an answer brings. It need not be what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// All of it.
    Whole,
    /// A range of its bytes.
    Part {
        /// The first.
        first: u64,
        /// The last, which is not before the first.
        last: u64,
        /// How many there are in all, if that is said.
        total: Option<u64>,
    },
    /// Nothing: it is what the one who asks has.
    Unchanged,
}

/// What upstream answered: a success, or "not modified".
#[derive(Debug)]
pub struct Answer {
    /// What the body is.
    pub sent: Sent,
    /// Length of the body in bytes, as declared.
    pub length: Option<u64>,
    /// `ETag`, verbatim.
    pub etag: Option<String>,
    /// `Last-Modified`, verbatim.
    pub last_modified: Option<String>,
    /// `Content-Type`, verbatim.
    pub content_type: Option<String>,
    /// Whether upstream says that it takes ranges.
    pub accepts_ranges: bool,
    /// The URL that answered, after redirects.
    pub url: Url,
    /// Which of the sources it came from, counted from 0.
    pub source: usize,
    /// Who led to it.
    led: word::Led,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// A validator that allows resuming with If-Range: a strong ETag, or else a date.
    #[must_use]
    pub fn resume_validator(&self) -> Option<&str> {
        match self.etag.as_deref() {
            Some(etag) if !etag.starts_with("W/") => Some(etag),
            _ => self.last_modified.as_deref(),
        }
    }

    /// Whether redirects led from a file's name to a folder's: what came is a listing, not the file.
    #[must_use]
    pub fn became_listing(&self, asked: &RepoPath) -> bool {
        !asked.is_directory() && self.url.path().ends_with('/')
    }
}

/// Why upstream could not be asked, or did not give what was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host}: {kind}")]
pub struct UpstreamError {
    /// Host (and port) of the upstream asked last.
    pub host: String,
    /// What happened.
    pub kind: UpstreamErrorKind,
}

/// Kinds of [`UpstreamError`], by what the caller answers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamErrorKind {
    /// 404 or 410 (or 403, which object stores say for what is missing): a definite no.
    #[error("answered {0}")]
    Absent(StatusCode),
    /// Any other status that is no success.
    #[error("answered {0}")]
    Status(StatusCode),
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No connection, no head or no further bytes within the time allowed.
    #[error("was silent for {} s ({during})", .after.as_secs_f32())]
    TimedOut {
        /// Doing what.
        during: &'static str,
        /// The limit.
        after: Duration,
    },
    /// A body came, but hardly.
    #[error("was too slow: {0}")]
    TooSlow(TooSlow),
    /// A redirect that is not followed.
    #[error("sent a redirect that is not followed: {0}")]
    Redirect(String),
    /// An address that is not asked on the word of whoever named it.
    #[error("is not asked: {0}")]
    Private(String),
    /// The list of mirrors cannot be had, or names none.
    #[error("gave no list of mirrors: {0}")]
    NoList(String),
    /// The body ended before its declared length, or is longer.
    #[error("the body has {got} bytes, {declared} were declared")]
    WrongLength {
        /// Bytes received.
        got: u64,
        /// Bytes declared.
        declared: u64,
    },
    /// The content is not what it claims to be.
    #[error("sent something else: {0}")]
    Unfit(String),
    /// A body would have to be waited for in memory, where there is no room for one more.
    #[error("sends a body of unknown length, for which there is no room in memory beside those of other clients")]
    NoRoom,
}

impl UpstreamErrorKind {
    /// Whether asking the same again in a moment may do better. Whoever was silent has had his time.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Unreachable(_) | Self::WrongLength { .. } | Self::NoRoom => true,
            Self::TimedOut { .. }
            | Self::TooSlow(_)
            | Self::Absent(_)
            | Self::Redirect(_)
            | Self::Private(_)
            | Self::NoList(_)
            | Self::Unfit(_) => false,
        }
    }

    /// Whether it may be the method that is refused, and not the content: a URL signed for a GET takes no HEAD.
    fn may_be_the_methods(&self) -> bool {
        matches!(self, Self::Absent(status) | Self::Status(status) if matches!(status.as_u16(), 403 | 405 | 501))
    }

    /// Whether it says something about the source, and not about the path that was asked for.
    fn is_the_sources_fault(&self) -> bool {
        match self {
            Self::Absent(_) | Self::NoList(_) | Self::NoRoom => false,
            Self::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Unreachable(_)
            | Self::TimedOut { .. }
            | Self::TooSlow(_)
            | Self::Redirect(_)
            | Self::Private(_)
            | Self::WrongLength { .. }
            | Self::Unfit(_) => true,
        }
    }
}

/// One piece of an upstream body.
pub type Chunk = Result<Bytes, UpstreamError>;
