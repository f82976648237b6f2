//! The server that ours caches: an HTTP/1.1 server in this process, over a folder and over content made by the test.
//!
//! It answers as a good static file server does: strong ETags, dates, ranges, If-Range, conditions, kept connections.
//! A test then makes it worse, path by path ([`fault`]), holds an answer at a byte until it says so ([`gate`]), stops it
//! and starts it again on the same port, switches it to another generation, and counts what was asked of it ([`log`]).

pub(crate) mod fault;
pub(crate) mod gate;
mod log;
mod plan;
mod send;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use self::fault::{Fault, Rule};
use self::gate::Gate;
pub(crate) use self::log::{Log, Seen};
use self::plan::Plan;
use super::bodies::sha256;
use super::run::Port;

/// What the server has at one path.
#[derive(Debug, Clone)]
struct File {
    bytes: Bytes,
    etag: Option<String>,
    modified: Option<SystemTime>,
}

/// Which validators answers carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validators {
    /// A strong ETag and a date.
    Both,
    /// No ETag.
    DateOnly,
    /// None at all.
    None,
}

struct State {
    root: RwLock<PathBuf>,
    made: RwLock<HashMap<String, File>>,
    /// What was read from folders; fixtures do not change.
    read: RwLock<HashMap<PathBuf, File>>,
    validators: RwLock<Validators>,
    rules: Mutex<Vec<Rule>>,
    gates: Mutex<Vec<Gate>>,
    log: Log,
}

/// The server. Stopped when dropped.
pub(crate) struct Upstream {
    port: Port,
    state: Arc<State>,
    running: Mutex<Option<CancellationToken>>,
}

impl Upstream {
    /// Serves a folder.
    pub(crate) async fn serving(root: &Path) -> Self {
        let state = State {
            root: RwLock::new(root.to_owned()),
            made: RwLock::default(),
            read: RwLock::default(),
            validators: RwLock::new(Validators::Both),
            rules: Mutex::default(),
            gates: Mutex::default(),
            log: Log::default(),
        };
        let upstream = Self { port: Port::reserve(), state: Arc::new(state), running: Mutex::default() };
        upstream.start().await;
        upstream
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL of something below.
    pub(crate) fn url(&self, below: &str) -> String {
        format!("http://{}{below}", self.address())
    }

    /// Listens (again).
    pub(crate) async fn start(&self) {
        let listener = TcpListener::bind(self.address()).await.expect("the reserved port");
        let (stop, state) = (CancellationToken::new(), Arc::clone(&self.state));
        let earlier = self.running.lock().expect("running").replace(stop.clone());
        assert!(earlier.is_none(), "the upstream is running already");
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (stop, state) = (stop.clone(), Arc::clone(&state));
                tokio::spawn(async move { stop.run_until_cancelled(converse(&state, stream)).await });
            }
        });
    }

    /// Stops listening, and cuts every connection.
    pub(crate) async fn stop(&self) {
        self.running.lock().expect("running").take().expect("a running upstream").cancel();
        // The listener goes with its task; nobody is refused before that.
        super::until("the upstream to be gone", || async { TcpStream::connect(self.address()).await.err() }).await;
    }

    /// Serves another folder from now on.
    pub(crate) fn switch_to(&self, root: &Path) {
        root.clone_into(&mut self.state.root.write().expect("root"));
    }

    /// Has this content at this path (which begins with a slash) from now on, whatever the folder says.
    pub(crate) fn put(&self, path: &str, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let etag = Some(etag(&bytes));
        let modified = Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000));
        self.state.made.write().expect("made").insert(path.to_owned(), File { bytes, etag, modified });
    }

    pub(crate) fn validators(&self, validators: Validators) {
        *self.state.validators.write().expect("validators") = validators;
    }

    /// Spoils every answer for this path until [`Upstream::heal`]. A path that ends in `*` stands for all that begin so.
    pub(crate) fn spoil(&self, path: &str, fault: Fault) {
        self.spoil_times(path, usize::MAX, fault);
    }

    /// Spoils the next `times` answers for this path.
    pub(crate) fn spoil_times(&self, path: &str, times: usize, fault: Fault) {
        self.state.rules.lock().expect("rules").push(Rule::new(path, times, fault));
    }

    /// No faults any more for what is asked from now on.
    pub(crate) fn heal(&self) {
        self.state.rules.lock().expect("rules").clear();
    }

    /// Holds every answer for this path once `at` bytes of its body are out.
    pub(crate) fn gate(&self, path: &str, at: u64) -> Gate {
        let gate = Gate::new(path, at);
        self.state.gates.lock().expect("gates").push(gate.clone());
        gate
    }

    /// What was asked so far.
    pub(crate) fn log(&self) -> &Log {
        &self.state.log
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(running) = self.running.lock().expect("running").take() {
            running.cancel();
        }
    }
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &sha256(bytes)[..20])
}

impl State {
    /// What there is at a decoded path. A first segment that begins with `@` stands for nothing: it gives the same
    /// content other URLs.
    async fn file(&self, path: &str) -> Option<File> {
        let path = match path.strip_prefix("/@").and_then(|tagged| tagged.find('/').map(|at| &tagged[at..])) {
            Some(rest) => rest,
            None => path,
        };
        let name = self.root.read().expect("root").join(path.trim_start_matches('/'));
        let known = self.made.read().expect("made").get(path).cloned();
        let known = known.or_else(|| self.read.read().expect("read").get(&name).cloned());
        let mut file = match known {
            Some(file) => file,
            None => {
                let bytes = Bytes::from(tokio::fs::read(&name).await.ok()?);
                let modified = tokio::fs::metadata(&name).await.ok()?.modified().ok();
                let file = File { etag: Some(etag(&bytes)), modified, bytes };
                self.read.write().expect("read").insert(name, file.clone());
                file
            }
        };
        match *self.validators.read().expect("validators") {
            Validators::Both => {}
            Validators::DateOnly => file.etag = None,
            Validators::None => (file.etag, file.modified) = (None, None),
        }
        Some(file)
    }

    /// The faults of the next answer for a path.
    fn faults(&self, path: &str) -> Vec<Fault> {
        self.rules.lock().expect("rules").iter_mut().filter_map(|rule| rule.take(path)).collect()
    }

    fn gates(&self, path: &str) -> Vec<Gate> {
        self.gates.lock().expect("gates").iter().filter(|gate| gate.is_for(path)).cloned().collect()
    }
}

/// Answers the requests of one connection until either side has enough.
async fn converse(state: &State, mut stream: TcpStream) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        };
        let seen = Seen::parse(&String::from_utf8(read.drain(..end).collect()).ok()?)?;
        let file = state.file(&seen.path).await;
        let mut plan = Plan::honest(file.as_ref(), &seen);
        for fault in state.faults(&seen.path) {
            fault.spoil(&mut plan, file.as_ref(), &seen);
        }
        let entry = state.log.enter(seen, plan.status);
        let gates = state.gates(&entry.path);
        send::send(&mut stream, &plan, &gates, &entry).await?;
    }
}
