//! An upstream that never rests, and clients that check everything they are given against each other, as librepo does.
//!
//! Upstream switches every few hundred milliseconds, file by file and in any order, so that half-copied states are common; its
//! metadata has plain names, packages are built again under their names, and a mirror lags behind. Each client takes an
//! index, then its signature, what it names and a package, with pauses in between. What it may get is the bytes that the
//! index it holds promises, or an honest error; anything else is a contradiction, and there must be none.
//!
//! `make flip` runs it for longer and runs the same clients through nginx with `proxy_cache`, for comparison.

#![allow(clippy::print_stdout, reason = "the counts are what `make flip` is for")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::bodies::sha256;
use crate::support::http::{Connection, End, Request};
use crate::support::remotes::Remote;
use crate::support::run::{Port, Run};
use crate::support::services::Backend::{Laptop, Shared};
use crate::support::site::Setup;
use crate::support::testbed::{fixture, tool};
use crate::support::until;
use crate::support::upstream::Upstream;

const CLIENTS: u8 = 32;

/// Packages in the index; one of them is built again in each generation.
const PACKAGES: usize = 12;

/// Where the repository lies on either upstream.
const FOLDER: &str = "/rpm/flip";

/// How long an ordinary run takes.
const SECONDS: u64 = 20;

fn seconds() -> Duration {
    let asked = std::env::var("ARTIFACTAPI_FLIP_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(SECONDS))
}

/// One generation of the repository.
#[derive(Clone)]
struct Generation {
    number: u64,
    /// Which of the builds each package has.
    builds: [usize; PACKAGES],
}

impl Generation {
    /// Its files by name below the folder, the entry first.
    fn files(&self, pool: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
        let made_at = 1_000_000 + self.number;
        let package = |(number, build): (usize, &usize)| {
            let body = &pool[*build];
            format!(
                r#"<package type="rpm"><name>p{number}</name><arch>x86_64</arch><version epoch="0" ver="1" rel="1"/>
                <checksum type="sha256" pkgid="YES">{}</checksum><size package="{}" installed="1" archive="1"/>
                <location href="p{number}-1-1.x86_64.rpm"/></package>"#,
                sha256(body),
                body.len()
            )
        };
        let packages: String = self.builds.iter().enumerate().map(package).collect();
        let primary = format!(
            r#"<?xml version="1.0"?><metadata xmlns="http://linux.duke.edu/metadata/common" packages="{PACKAGES}">{packages}</metadata>"#
        );
        let group = format!("<?xml version=\"1.0\"?><comps><!-- {} --></comps>", self.number);
        let data = |kind: &str, name: &str, body: &str| {
            format!(
                r#"<data type="{kind}"><checksum type="sha256">{}</checksum><location href="repodata/{name}"/>
                <timestamp>{made_at}</timestamp><size>{}</size></data>"#,
                sha256(body.as_bytes()),
                body.len()
            )
        };
        let entry = format!(
            r#"<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>{made_at}</revision>{}{}</repomd>"#,
            data("primary", "primary.xml", &primary),
            data("group", "comps.xml", &group)
        );
        let signature = signature(entry.as_bytes());
        let mut files = vec![
            ("repodata/repomd.xml".to_owned(), entry.into_bytes()),
            ("repodata/repomd.xml.asc".to_owned(), signature.into_bytes()),
            ("repodata/primary.xml".to_owned(), primary.into_bytes()),
            ("repodata/comps.xml".to_owned(), group.into_bytes()),
        ];
        let package = |(number, build): (usize, &usize)| (format!("p{number}-1-1.x86_64.rpm"), pool[*build].clone());
        files.extend(self.builds.iter().enumerate().map(package));
        files
    }
}

#[allow(clippy::cast_possible_truncation, reason = "it is some dozens of bytes")]
/// A signature as nobody's key makes it: everything in it is right but the sum at its end (RFC 9580, 5.2.3). Which index it
/// belongs to can be seen, by us as by everybody, from the beginning of the digest that it carries.
fn signature(entry: &[u8]) -> String {
    const MADE: [u8; 6] = [5, 2, 0x67, 0x74, 0x85, 0x80];
    let mut signed = vec![4, 0, 1, 8, 0, MADE.len() as u8];
    signed.extend(MADE);
    let hashed = signed.len() as u32;
    let trailer = [&[4, 0xff][..], &hashed.to_be_bytes()].concat();
    let digest = sha256(&[entry, &signed, &trailer].concat());
    let begin = u16::from_str_radix(&digest[..4], 16).expect("hexadecimal").to_be_bytes();
    let body = [&signed[..], &[0, 0], &begin, &[0, 9, 1, 0x55]].concat();
    let packet = [&[0xc2, body.len() as u8][..], &body].concat();
    format!(
        "-----BEGIN PGP SIGNATURE-----\nComment: {}\n\n{}\n-----END PGP SIGNATURE-----\n",
        sha256(entry),
        base64::engine::general_purpose::STANDARD.encode(packet)
    )
}

/// Contents that packages may have: real packages, or the server would not keep them.
fn pool() -> Vec<Vec<u8>> {
    [
        "Packages/h/hello-1.0-1.el9.x86_64.rpm",
        "Packages/h/hello-doc-1.0-1.el9.noarch.rpm",
        "Packages/h/hello-libs-1.0-1.el9.x86_64.rpm",
        "Packages/u/unsigned-1.0-1.el9.x86_64.rpm",
    ]
    .map(|name| fixture(1, &format!("rpm/plain-names/{name}")))
    .into()
}

/// Keeps two upstreams switching, the second behind the first.
fn flip(first: Arc<Upstream>, second: Arc<Upstream>, stop: CancellationToken) -> JoinHandle<u64> {
    let pool = pool();
    let mut random = SmallRng::seed_from_u64(7);
    let mut generation = Generation { number: 0, builds: [0; PACKAGES] };
    let mut shown = generation.files(&pool);
    for (name, body) in &shown {
        first.put(&format!("{FOLDER}/{name}"), body.clone());
        second.put(&format!("{FOLDER}/{name}"), body.clone());
    }
    let flipping = async move {
        let mut count = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(random.random_range(300..800))).await;
            generation.number += 1;
            let package = random.random_range(0..PACKAGES);
            generation.builds[package] = (generation.builds[package] + 1) % pool.len();
            let mut next = generation.files(&pool);
            // The mirror gets now what the other has had for a while.
            let mut lagging = std::mem::replace(&mut shown, next.clone());
            for (upstream, files) in [(&first, &mut next), (&second, &mut lagging)] {
                for left in (1..=files.len()).rev() {
                    let (name, body) = files.swap_remove(random.random_range(0..left));
                    upstream.put(&format!("{FOLDER}/{name}"), body);
                    if random.random_bool(0.3) {
                        tokio::time::sleep(Duration::from_millis(random.random_range(1..30))).await;
                    }
                }
            }
            count += 1;
            if stop.is_cancelled() {
                return count;
            }
        }
    };
    tokio::spawn(flipping)
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    right: AtomicU64,
    refused: AtomicU64,
    contradictions: AtomicU64,
    first: std::sync::Mutex<Option<String>>,
}

impl Seen {
    fn contradiction(&self, what: String) {
        self.contradictions.fetch_add(1, Ordering::Relaxed);
        self.first.lock().expect("first").get_or_insert(what);
    }

    fn counts(&self) -> [u64; 3] {
        [&self.right, &self.refused, &self.contradictions].map(|count| count.load(Ordering::Relaxed))
    }
}

/// One client: rounds until it is stopped.
async fn client(number: u8, servers: Vec<SocketAddr>, below: &'static str, seen: Arc<Seen>, stop: CancellationToken) {
    let mut random = SmallRng::seed_from_u64(u64::from(number));
    let local = Ipv4Addr::new(127, 0, 2, number + 1);
    let agent = format!("client/{number}");
    while !stop.is_cancelled() {
        let server = servers[random.random_range(0..servers.len())];
        let mut connection = Connection::open_from(local, server).await;
        let mut get = async |name: &str, random: &mut SmallRng| -> Option<Vec<u8>> {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..1_000))).await;
            if random.random_bool(0.3) {
                connection = Connection::open_from(local, server).await;
            }
            let ask = Request::get(format!("{below}/{name}")).with("User-Agent", agent.clone());
            connection.send(&ask).await;
            let Some(head) = connection.try_head(&ask).await else {
                connection = Connection::open_from(local, server).await;
                seen.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            let (body, end) = connection.rest().await;
            if head.status == 200 && end == End::Whole {
                return Some(body);
            }
            if end == End::Cut {
                connection = Connection::open_from(local, server).await;
            }
            seen.refused.fetch_add(1, Ordering::Relaxed);
            None
        };
        let Some(entry) = get("repodata/repomd.xml", &mut random).await else { continue };
        seen.right.fetch_add(1, Ordering::Relaxed);
        let digest = sha256(&entry);
        let text = String::from_utf8(entry).expect("text");
        let said = |kind: &str| {
            let rest = text.split_once(&format!("<data type=\"{kind}\"><checksum type=\"sha256\">")).expect("a kind").1;
            rest[..64].to_owned()
        };
        if let Some(signature) = get("repodata/repomd.xml.asc", &mut random).await {
            match String::from_utf8_lossy(&signature).contains(&digest) {
                true => drop(seen.right.fetch_add(1, Ordering::Relaxed)),
                false => seen.contradiction(format!("the signature of another index than {digest}")),
            }
        }
        if let Some(group) = get("repodata/comps.xml", &mut random).await {
            match sha256(&group) == said("group") {
                true => drop(seen.right.fetch_add(1, Ordering::Relaxed)),
                false => seen.contradiction("comps.xml of another index".to_owned()),
            }
        }
        let Some(primary) = get("repodata/primary.xml", &mut random).await else { continue };
        if sha256(&primary) != said("primary") {
            seen.contradiction("primary.xml of another index".to_owned());
            continue;
        }
        seen.right.fetch_add(1, Ordering::Relaxed);
        let primary = String::from_utf8(primary).expect("text");
        for _ in 0..2 {
            let package = random.random_range(0..PACKAGES);
            let rest = primary.split_once(&format!("<name>p{package}</name>")).expect("a package").1;
            let digest = &rest.split_once("pkgid=\"YES\">").expect("a checksum").1[..64];
            if let Some(body) = get(&format!("p{package}-1-1.x86_64.rpm"), &mut random).await {
                match sha256(&body) == digest {
                    true => drop(seen.right.fetch_add(1, Ordering::Relaxed)),
                    false => seen.contradiction(format!("p{package} is not what its index says")),
                }
            }
        }
    }
}

/// Clients over these servers until the time is up.
async fn clients(servers: Vec<SocketAddr>, below: &'static str) -> Arc<Seen> {
    let (seen, stop) = (Arc::new(Seen::default()), CancellationToken::new());
    let running: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client(number, servers.clone(), below, Arc::clone(&seen), stop.clone())))
        .collect();
    tokio::time::sleep(seconds()).await;
    stop.cancel();
    for client in running {
        client.await.expect("a client");
    }
    seen
}

async fn no_contradiction(replicas: usize) {
    let setup = Setup::new(if replicas > 1 { Shared } else { Laptop }).await;
    let (first, second) = (
        Arc::new(Upstream::serving(&setup.run.folder("first")).await),
        Arc::new(Upstream::serving(&setup.run.folder("second")).await),
    );
    let remote = Remote::new("flip", "rpm", first.url(FOLDER))
        .set("mirrors", json!([second.url(FOLDER)]))
        .set("cache.index_ttl", 0)
        .set("cache.negative_ttl", 0);
    let stop = CancellationToken::new();
    let flipping = flip(Arc::clone(&first), Arc::clone(&second), stop.clone());
    let mut site = setup.remote(remote).start().await;
    let mut others = Vec::new();
    for _ in 1..replicas {
        others.push(site.replica().await);
    }
    let servers = std::iter::once(&site.server).chain(&others).map(|server| server.address()).collect();
    let began = Instant::now();
    let seen = clients(servers, "/api/flip").await;
    stop.cancel();
    let flips = flipping.await.expect("flips");
    let [right, refused, contradictions] = seen.counts();
    let listed = site.server.ask(&Request::get("/snapshots/flip/repodata/repomd.xml?limit=1000")).await;
    let listed: serde_json::Value = serde_json::from_slice(&listed.body).expect("JSON");
    let published = listed["snapshots"].as_array().map_or(0, Vec::len);
    println!(
        "artifactapi, {replicas} replica(s), {:?}: {flips} generations upstream, {published} published; {right} right answers, \
         {refused} honest refusals, {contradictions} contradictions",
        began.elapsed()
    );
    assert_eq!(contradictions, 0, "{:?}", seen.first.lock().expect("first"));
    assert!(published as u64 > flips / 4, "{published} of {flips} generations were published");
    assert!(refused * 20 < right, "{refused} refusals beside {right} right answers");
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
    let flipping = flip(Arc::clone(&first), Arc::clone(&second), stop.clone());
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
         proxy_cache_lock on; location ~ rpm$ {{ proxy_pass {3}; proxy_cache c; proxy_cache_valid 200 1h; }} }} }} }}",
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
    let seen = clients(vec![port.address()], FOLDER).await;
    stop.cancel();
    let flips = flipping.await.expect("flips");
    // The master takes its worker along.
    let id = rustix::process::Pid::from_child(&nginx);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("told to stop");
    nginx.wait().expect("gone");
    let [right, refused, contradictions] = seen.counts();
    println!(
        "nginx: {flips} generations upstream; {right} right answers, {refused} errors, {contradictions} contradictions"
    );
    assert!(contradictions > 0, "these clients notice nothing");
}
