//! An answer as a value: what a good server would send, before a fault spoils it.

use bytes::Bytes;

use super::{File, Seen};

/// How the body's length is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// `Content-Length`, right or wrong.
    Length(u64),
    Chunked,
    /// Until the connection is closed.
    Close,
}

/// What happens in the middle of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breakage {
    /// The connection is reset.
    Reset,
    /// The connection is closed as if all were well.
    Close,
    /// Nothing more comes.
    Silence,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Nothing comes at all.
    pub(super) silent: bool,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) framing: Framing,
    /// After so many bytes of the body.
    pub(super) breaks: Option<(u64, Breakage)>,
    /// Bytes a second.
    pub(super) rate: Option<u64>,
    /// The answer is to a HEAD.
    pub(super) bodiless: bool,
}

impl Plan {
    pub(super) fn plain(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self {
            silent: false,
            status,
            headers: vec![("Content-Type".into(), content_type.into())],
            framing: Framing::Length(body.len() as u64),
            body,
            breaks: None,
            rate: None,
            bodiless: false,
        }
    }

    pub(super) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.into(), value.into()));
    }

    /// What a good server answers.
    pub(super) fn honest(file: Option<&File>, seen: &Seen) -> Self {
        let mut plan = match file {
            Some(file) => Self::of_file(file, seen),
            None => Self::plain(404, "text/html", "<h1>404 Not Found</h1>"),
        };
        plan.bodiless = seen.method == "HEAD" || plan.status == 304;
        plan
    }

    fn of_file(file: &File, seen: &Seen) -> Self {
        let mut plan = if is_unchanged(file, seen) {
            Self::plain(304, "application/octet-stream", Bytes::new())
        } else {
            match wanted_range(file, seen) {
                Some((first, last)) => {
                    let mut plan = Self::plain(206, "application/octet-stream", file.bytes.slice(first..=last));
                    plan.add("Content-Range", format!("bytes {first}-{last}/{}", file.bytes.len()));
                    plan
                }
                None => Self::plain(200, "application/octet-stream", file.bytes.clone()),
            }
        };
        plan.add("Accept-Ranges", "bytes");
        if let Some(etag) = &file.etag {
            plan.add("ETag", etag);
        }
        if let Some(modified) = file.modified {
            plan.add("Last-Modified", httpdate::fmt_http_date(modified));
        }
        plan
    }
}

fn is_unchanged(file: &File, seen: &Seen) -> bool {
    match (seen.header("if-none-match"), seen.header("if-modified-since")) {
        (Some(known), _) => file.etag.as_ref().is_some_and(|etag| known.contains(etag.as_str())),
        (None, Some(date)) => file.modified.is_some_and(|modified| httpdate::fmt_http_date(modified) == date),
        (None, None) => false,
    }
}

/// One range, if it is asked for on a condition that holds.
fn wanted_range(file: &File, seen: &Seen) -> Option<(usize, usize)> {
    let (first, last) = seen.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    let holds = seen.header("if-range").is_none_or(|condition| {
        file.etag.as_deref() == Some(condition)
            || file.modified.is_some_and(|modified| httpdate::fmt_http_date(modified) == condition)
    });
    let (first, end) = (first.parse().ok()?, file.bytes.len().checked_sub(1)?);
    let last = last.parse().unwrap_or(end).min(end);
    (holds && first <= last).then_some((first, last))
}
