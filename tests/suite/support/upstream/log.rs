//! What was asked of the upstream, and how much it sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use percent_encoding::percent_decode_str;
use tokio::sync::watch;

use crate::support::within;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// As it was sent: encoded path and query, below the host if we are asked as a proxy.
    pub(crate) target: String,
    /// Decoded, without the query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) status: u16,
    sent: Arc<AtomicU64>,
}

impl Seen {
    /// Reads the head of a request.
    pub(crate) fn parse(head: &str) -> Option<Self> {
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        let path = below_the_host(&target).split('?').next()?;
        let path = percent_decode_str(path).decode_utf8().ok()?.into_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Some(Self { method, target, path, headers, status: 0, sent: Arc::default() })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// How many bytes of the answer's body have gone out.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Whoever is asked as a proxy is told the host, too (RFC 9112 section 3.2.2).
fn below_the_host(target: &str) -> &str {
    let below = target.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    below.unwrap_or(target)
}

/// Every request since the start, or since it was last cleared.
#[derive(Debug, Default)]
pub(crate) struct Log {
    seen: Mutex<Vec<Seen>>,
    grown: watch::Sender<()>,
}

impl Log {
    pub(super) fn enter(&self, mut seen: Seen, status: u16) -> Seen {
        seen.status = status;
        self.seen.lock().expect("log").push(seen.clone());
        self.grown.send_replace(());
        seen
    }

    pub(crate) fn clear(&self) {
        self.seen.lock().expect("log").clear();
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().expect("log").clone()
    }

    /// The requests for one decoded path.
    pub(crate) fn of(&self, path: &str) -> Vec<Seen> {
        self.all().into_iter().filter(|seen| seen.path == path).collect()
    }

    /// Method, path and status of every request: `GET /a.rpm 200`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.all().iter().map(|seen| format!("{} {} {}", seen.method, seen.path, seen.status)).collect()
    }

    /// Waits until there is any request.
    pub(crate) async fn begins(&self) {
        let mut grown = self.grown.subscribe();
        let begun = async {
            while self.seen.lock().expect("log").is_empty() {
                grown.changed().await.expect("the sender is ours");
            }
        };
        within("an upstream request", begun).await;
    }

    /// Waits until there are `count` requests for a path.
    pub(crate) async fn reaches(&self, path: &str, count: usize) {
        let mut grown = self.grown.subscribe();
        let reached = async {
            while self.of(path).len() < count {
                grown.changed().await.expect("the sender is ours");
            }
        };
        within(format!("{count} upstream requests for {path}"), reached).await;
    }
}
