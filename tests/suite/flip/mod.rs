//! An upstream that never rests, and clients that check everything they are given against each other, as librepo does.
//!
//! Upstream switches every few hundred milliseconds, file by file and in any order, so that half-copied states are common; its
//! metadata has plain names, packages are built again under their names, and a mirror lags behind. Each client takes an
//! index, then its signature, what it names and a package, with pauses in between. What it may get is the bytes that the
//! index it holds promises, or an honest error; anything else is a contradiction, and there must be none. Beside them real dnf
//! and real apk take indexes and download packages, and judge for themselves.
//!
//! | module | what it is |
//! |---|---|
//! | `upstream` | the two upstreams and their generations |
//! | `watchers` | the clients that compare |
//! | `real` | dnf and apk |
//!
//! `make flip` runs it for longer and runs the same clients through nginx with `proxy_cache`, for comparison.

#![allow(clippy::print_stdout, reason = "the counts are what `make flip` is for")]

mod real;
mod upstream;
mod watchers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::upstream::{APK_FOLDER, FOLDER, flip};
use crate::support::http::Request;
use crate::support::remotes::Remote;
use crate::support::run::{Port, Run};
use crate::support::services::Backend::{Laptop, Shared};
use crate::support::site::Setup;
use crate::support::testbed::tool;
use crate::support::until;
use crate::support::upstream::Upstream;

const CLIENTS: u8 = 32;

/// Where the repositories lie on a server.
#[derive(Debug, Clone, Copy)]
struct Below {
    rpm: &'static str,
    apk: &'static str,
}

/// How long an ordinary run takes.
const SECONDS: u64 = 20;

fn seconds() -> Duration {
    let asked = std::env::var("ARTIFACTAPI_FLIP_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(SECONDS))
}

/// What clients of a kind saw: answers, or runs of a program.
#[derive(Default)]
struct Seen {
    right: AtomicU64,
    refused: AtomicU64,
    contradictions: AtomicU64,
    first: std::sync::Mutex<Option<String>>,
}

/// What each kind of client saw.
#[derive(Default)]
struct All {
    watchers: Arc<Seen>,
    dnf: Arc<Seen>,
    apk: Arc<Seen>,
}

impl Seen {
    fn contradiction(&self, what: String) {
        self.contradictions.fetch_add(1, Ordering::Relaxed);
        self.first.lock().expect("first").get_or_insert(what);
    }

    fn counts(&self) -> [u64; 3] {
        [&self.right, &self.refused, &self.contradictions].map(|count| count.load(Ordering::Relaxed))
    }

    /// Fails if there was a contradiction, or more than one refusal to so many right answers.
    fn is_consistent(&self, rights: u64) {
        let [right, refused, contradictions] = self.counts();
        assert_eq!(contradictions, 0, "{:?}", self.first.lock().expect("first"));
        assert!(refused * rights < right, "{refused} refusals beside {right} right answers");
    }
}

impl std::fmt::Display for All {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (kind, seen) in [("clients", &self.watchers), ("dnf", &self.dnf), ("apk", &self.apk)] {
            let [right, refused, contradictions] = seen.counts();
            write!(f, "; {kind}: {right} right, {refused} honest refusals, {contradictions} contradictions")?;
        }
        Ok(())
    }
}

/// Clients over these servers until the time is up.
async fn clients(run: &Run, servers: Vec<SocketAddr>, below: Below) -> All {
    let (all, stop) = (All::default(), CancellationToken::new());
    let watching =
        |number| watchers::client(number, servers.clone(), below.rpm, Arc::clone(&all.watchers), stop.clone());
    let mut running: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(watching(number))).collect();
    running.push(tokio::spawn(real::dnf(run.clone(), servers.clone(), below.rpm, Arc::clone(&all.dnf), stop.clone())));
    running.push(tokio::spawn(real::apk(run.clone(), servers.clone(), below.apk, Arc::clone(&all.apk), stop.clone())));
    tokio::time::sleep(seconds()).await;
    stop.cancel();
    for client in running {
        client.await.expect("a client");
    }
    all
}

async fn no_contradiction(replicas: usize) {
    let setup = Setup::new(if replicas > 1 { Shared } else { Laptop }).await;
    let (first, second) = (
        Arc::new(Upstream::serving(&setup.run.folder("first")).await),
        Arc::new(Upstream::serving(&setup.run.folder("second")).await),
    );
    let remote = |name: &str, format: &str, folder: &str| {
        Remote::new(name, format, first.url(folder))
            .set("mirrors", json!([second.url(folder)]))
            .set("cache.index_ttl", 0)
            .set("cache.negative_ttl", 0)
    };
    let (rpm, apk) = (remote("flip", "rpm", FOLDER), remote("flip-apk", "alpine", APK_FOLDER));
    let stop = CancellationToken::new();
    let flipping = flip(&setup.run, Arc::clone(&first), Arc::clone(&second), stop.clone()).await;
    let mut site = setup.remote(rpm).remote(apk).start().await;
    let mut others = Vec::new();
    for _ in 1..replicas {
        others.push(site.replica().await);
    }
    let servers = std::iter::once(&site.server).chain(&others).map(|server| server.address()).collect();
    let began = Instant::now();
    let seen = clients(&site.run, servers, Below { rpm: "/api/flip", apk: "/api/flip-apk" }).await;
    stop.cancel();
    let flips = flipping.await.expect("flips");
    let mut published = Vec::new();
    for root in ["flip/repodata/repomd.xml", "flip-apk/x86_64/APKINDEX.tar.gz"] {
        let listed = site.server.ask(&Request::get(format!("/snapshots/{root}?limit=1000"))).await;
        let listed: serde_json::Value = serde_json::from_slice(&listed.body).expect("JSON");
        published.push(listed["snapshots"].as_array().map_or(0, Vec::len));
    }
    println!(
        "artifactapi, {replicas} replica(s), {:?}: {flips} generations upstream, {published:?} published (rpm, apk){seen}",
        began.elapsed()
    );
    seen.watchers.is_consistent(20);
    // They run a few times only, so that a single refusal is more than one in twenty.
    seen.dnf.is_consistent(4);
    seen.apk.is_consistent(4);
    assert!(published[0] as u64 > flips / 4, "{published:?} of {flips} generations were published");
    assert!(published[1] > 1, "apk met no second generation");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_contradiction_from_one_server() {
    no_contradiction(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_contradiction_from_two_replicas() {
    no_contradiction(2).await;
}

/// The same through nginx: not a test of ours, but what the feature is worth. It must at least show contradictions, or these clients
/// would not notice any.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_contradicts_itself() {
    let run = Run::new();
    let (first, second) = (
        Arc::new(Upstream::serving(&run.folder("first")).await),
        Arc::new(Upstream::serving(&run.folder("second")).await),
    );
    let stop = CancellationToken::new();
    let flipping = flip(&run, Arc::clone(&first), Arc::clone(&second), stop.clone()).await;
    let port = Port::reserve();
    let folder = run.folder("nginx");
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {0}/{kind};\n", folder.display()))
        .concat();
    let configuration = format!(
        "{user} daemon off; pid {0}/pid; error_log {0}/error.log; worker_processes 1; events {{ worker_connections 1024; }}\n\
         http {{ access_log off; {temp} proxy_cache_path {0}/cache keys_zone=c:10m;\n\
         server {{ listen {1}; location / {{ proxy_pass {2}; proxy_cache c; proxy_cache_valid 200 1s; proxy_cache_revalidate on;\n\
         proxy_cache_lock on; location ~ (rpm|apk)$ {{ proxy_pass {3}; proxy_cache c; proxy_cache_valid 200 1h; }} }} }} }}",
        folder.display(),
        port.address(),
        first.url(""),
        first.url("")
    );
    std::fs::write(folder.join("nginx.conf"), configuration).expect("a configuration");
    let mut nginx = std::process::Command::new(tool("NGINX"))
        .args(["-c", &folder.join("nginx.conf").display().to_string()])
        .spawn()
        .expect("nginx");
    until("nginx", || async { tokio::net::TcpStream::connect(port.address()).await.ok() }).await;
    let seen = clients(&run, vec![port.address()], Below { rpm: FOLDER, apk: APK_FOLDER }).await;
    stop.cancel();
    let flips = flipping.await.expect("flips");
    // The master takes its worker along.
    let id = rustix::process::Pid::from_child(&nginx);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("told to stop");
    nginx.wait().expect("gone");
    println!("nginx: {flips} generations upstream{seen}");
    let contradictions = |seen: &Seen| seen.counts()[2];
    assert!(contradictions(&seen.watchers) > 0, "these clients notice nothing");
    assert!(contradictions(&seen.dnf) + contradictions(&seen.apk) > 0, "real clients notice nothing");
}
