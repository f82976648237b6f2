//! Ways in which an upstream misbehaves.

use std::io::Write as _;

use bytes::Bytes;

use super::plan::{Breakage, Framing, Plan};
use super::{File, Seen};

/// One way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers with this status and a page.
    Status(u16),
    /// Takes the request and says nothing.
    Silent,
    /// Says nothing more after so many bytes of the body.
    Stalls(u64),
    /// Resets the connection after so many bytes of the body.
    Reset(u64),
    /// Closes the connection after so many bytes of the body, as if all were well.
    Truncated(u64),
    /// Flips a bit of this byte.
    Corrupt(u64),
    /// Sends so many bytes a second.
    Drip(u64),
    /// Declares so many bytes more than it sends, then closes.
    DeclaresMore(u64),
    /// Declares so many bytes fewer than it sends.
    DeclaresLess(u64),
    /// Sends elsewhere.
    Redirect(u16, String),
    /// A page for people, with status 200 and its type.
    Page,
    /// A page for people that claims to be bytes.
    DisguisedPage,
    /// No length: chunked.
    Chunked,
    /// No length: until the connection is closed.
    UntilClose,
    /// Chunked, and broken off after so many bytes.
    ChunkedCut(u64),
    /// Without a length, and closed after so many bytes.
    CloseCut(u64),
    /// 206 with the first half, to a plain GET.
    Half,
    /// Of a range that is asked for, only the first so many bytes.
    Short(usize),
    /// This status to a HEAD; a GET is answered as it should be.
    RefusesHead(u16),
    /// 304 to whatever is asked.
    NotModified,
    /// 200 with the whole, whatever is known or wanted.
    Deaf,
    /// Compresses what it should send as it is.
    Compressed,
    /// Other content of the same length, from the start.
    OtherContent,
}

/// A fault for a path, for so many answers.
#[derive(Debug)]
pub(super) struct Rule {
    path: String,
    left: usize,
    fault: Fault,
}

impl Rule {
    pub(super) fn new(path: &str, times: usize, fault: Fault) -> Self {
        Self { path: path.to_owned(), left: times, fault }
    }

    /// The fault, if it is for this path and not used up.
    pub(super) fn take(&mut self, path: &str) -> Option<Fault> {
        let is_for = match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == self.path,
        };
        if !is_for || self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(self.fault.clone())
    }
}

const PAGE: &str = "<!DOCTYPE html><html><body><h1>Please log in</h1></body></html>";

impl Fault {
    /// Spoils an answer.
    pub(super) fn spoil(&self, plan: &mut Plan, file: Option<&File>, seen: &Seen) {
        let bodiless = plan.bodiless;
        match self {
            Self::Status(status) => *plan = Plan::plain(*status, "text/html", format!("<h1>{status}</h1>")),
            Self::Silent => plan.silent = true,
            Self::Stalls(at) => plan.breaks = Some((*at, Breakage::Silence)),
            Self::Reset(at) => plan.breaks = Some((*at, Breakage::Reset)),
            Self::Truncated(at) => plan.breaks = Some((*at, Breakage::Close)),
            Self::Corrupt(at) => {
                let mut bytes = plan.body.to_vec();
                if let Some(byte) = usize::try_from(*at).ok().and_then(|at| bytes.get_mut(at)) {
                    *byte ^= 1;
                }
                plan.body = bytes.into();
            }
            Self::Drip(rate) => plan.rate = Some(*rate),
            Self::DeclaresMore(by) => plan.framing = Framing::Length(plan.body.len() as u64 + *by),
            Self::DeclaresLess(by) => plan.framing = Framing::Length((plan.body.len() as u64).saturating_sub(*by)),
            Self::Redirect(status, to) => {
                *plan = Plan::plain(*status, "text/html", "<h1>elsewhere</h1>");
                plan.add("Location", to);
            }
            Self::Page => *plan = Plan::plain(200, "text/html; charset=utf-8", PAGE),
            Self::DisguisedPage => *plan = Plan::plain(200, "application/octet-stream", PAGE),
            Self::Chunked => plan.framing = Framing::Chunked,
            Self::UntilClose => plan.framing = Framing::Close,
            Self::ChunkedCut(at) => {
                plan.framing = Framing::Chunked;
                plan.breaks = Some((*at, Breakage::Close));
            }
            Self::CloseCut(at) => {
                plan.framing = Framing::Close;
                plan.breaks = Some((*at, Breakage::Close));
            }
            Self::Half => {
                let all = plan.body.clone();
                let half = all.len() / 2;
                *plan = Plan::plain(206, "application/octet-stream", all.slice(..half));
                plan.add("Content-Range", format!("bytes 0-{}/{}", half.saturating_sub(1), all.len()));
            }
            Self::Short(length) => {
                let range = plan.headers.iter_mut().find(|(name, _)| name == "Content-Range");
                if let (206, Some((_, value))) = (plan.status, range) {
                    let (first, total) = value.split_once('-').expect("a range");
                    let first: usize = first.strip_prefix("bytes ").expect("bytes").parse().expect("a number");
                    let total = total.split_once('/').expect("a total").1;
                    *value = format!("bytes {first}-{}/{total}", first + length - 1);
                    plan.body = plan.body.slice(..*length);
                    plan.framing = Framing::Length(*length as u64);
                }
            }
            Self::RefusesHead(status) if seen.method == "HEAD" => {
                *plan = Plan::plain(*status, "text/html", format!("<h1>{status}</h1>"));
            }
            Self::RefusesHead(_) => {}
            Self::NotModified => *plan = Plan::plain(304, "application/octet-stream", Bytes::new()),
            Self::Deaf => {
                let mut deaf = seen.clone();
                deaf.headers.clear();
                *plan = Plan::honest(file, &deaf);
            }
            Self::Compressed => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(&plan.body).expect("into memory");
                *plan = Plan::plain(200, "application/octet-stream", gzip.finish().expect("into memory"));
                plan.add("Content-Encoding", "gzip");
            }
            Self::OtherContent => {
                let other: Vec<u8> = plan.body.iter().map(|byte| byte.wrapping_add(1)).collect();
                plan.body = other.into();
            }
        }
        plan.bodiless = bodiless || plan.status == 304;
    }
}
