//! Stopping: what is under way may finish within the grace time, nothing new begins, and the next start finds no rubbish.

use crate::support::bodies::{assert_same, noise};
use crate::support::http::{self, Connection, End, Request};
use crate::support::process::{Process, Signal};
use crate::support::run::Run;
use crate::support::server::Plan;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::within;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn being_told_to_stop_it_finishes_what_is_under_way() {
    let mut site = Site::on(Laptop).await;
    let body = noise(7, 4 * MIB);
    site.upstream.put("/generic/big", body.clone());
    site.server.get("files/10k.bin").await.has(200);
    let gate = site.upstream.gate("/generic/big", MIB as u64);
    let request = Request::get("/api/files/big");
    let mut under_way = Connection::open(site.server.address()).await;
    under_way.send(&request).await;
    assert_eq!(under_way.head(&request).await.status, 200);
    let mut got = under_way.bytes(MIB / 2).await;
    let mut idle = Connection::open(site.server.address()).await;
    idle.exchange(&Request::get("/health")).await.has(200);

    site.server.signal(Signal::TERM);
    site.server.says(&["draining connections"]).await;
    assert!(http::try_ask(site.server.address(), &Request::get("/health")).await.is_none(), "it takes new connections");
    assert!(idle.is_closed().await);
    gate.open();
    let (rest, end) = under_way.rest().await;
    got.extend(rest);
    assert_eq!(end, End::Whole);
    assert_same(&got, &body, "the download that was under way");
    assert_eq!(site.server.ended().await.code(), Some(0));

    site.server.start_again().await;
    assert!(site.spooled().is_empty());
    site.server.get("files/big").await.is(&body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_within_the_grace_time_is_cut() {
    let mut site = Setup::new(Laptop).await.environment("ARTIFACTAPI_SHUTDOWN_GRACE", "1").start().await;
    let body = noise(8, 4 * MIB);
    site.upstream.put("/generic/big", body.clone());
    let gate = site.upstream.gate("/generic/big", MIB as u64);
    let request = Request::get("/api/files/big");
    let mut under_way = Connection::open(site.server.address()).await;
    under_way.send(&request).await;
    under_way.head(&request).await;
    site.server.stop().await;
    let (got, end) = under_way.rest().await;
    assert_eq!(end, End::Cut, "a cut body ended as if it were whole");
    assert!(body.starts_with(&got));
    gate.open();
    site.server.start_again().await;
    assert!(site.spooled().is_empty());
    site.server.get("files/big").await.is(&body);
}

/// Who says it twice does not want to wait.
#[tokio::test(flavor = "multi_thread")]
async fn being_told_twice_it_cuts_what_is_under_way() {
    let mut site = Setup::new(Laptop).await.environment("ARTIFACTAPI_SHUTDOWN_GRACE", "600").start().await;
    site.upstream.put("/generic/big", noise(9, 4 * MIB));
    let gate = site.upstream.gate("/generic/big", MIB as u64);
    let request = Request::get("/api/files/big");
    let mut under_way = Connection::open(site.server.address()).await;
    under_way.send(&request).await;
    under_way.head(&request).await;
    site.server.signal(Signal::TERM);
    site.server.says(&["draining connections"]).await;
    site.server.signal(Signal::INT);
    site.server.says(&["told to stop once more"]).await;
    assert_eq!(site.server.ended().await.code(), Some(0));
    assert_eq!(under_way.rest().await.1, End::Cut);
    gate.open();
}

/// While it starts, too; the first process of a container is sent nothing that it does not listen for.
#[tokio::test(flavor = "multi_thread")]
async fn being_told_to_stop_while_it_starts_it_stops() {
    // A database that takes connections and says nothing.
    let database = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let run = Run::new();
    let mut plan = Plan::new(&run, "server");
    plan.configure("remotes: {}\n");
    let port = database.local_addr().expect("an address").port().to_string();
    for (name, value) in [("DBHOST", "127.0.0.1"), ("DBPORT", &port), ("DBUSER", "x"), ("DBPASS", "x"), ("DBNAME", "x")]
    {
        plan.set(name, value);
    }
    let mut server = Process::spawn("the server", plan.command(&[]));
    let _silent = within("the server to ask its database", database.accept()).await.expect("a connection");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0), "{:#?}", server.lines().all());
    assert!(server.lines().all().iter().any(|line| line.contains("stopped before it had started")));
}
