//! Two servers over one bucket, one database and one Redis: one upstream transfer for the clients of both, right bytes
//! for everybody when one of them dies, and what one replaces the other replaces, too.

use bytes::Bytes;
use futures_util::future::join_all;

use crate::support::bodies::{assert_same, noise};
use crate::support::http::{Connection, End, Request};
use crate::support::server::Server;
use crate::support::services::Backend::Shared;
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;

const TARGET: &str = "/api/files/big";
const PATH: &str = "/generic/big";
const MIB: usize = 1 << 20;

/// Two replicas over an upstream that has 4 MiB at [`PATH`].
async fn pair() -> (Site, Server, Bytes) {
    let mut site = Site::on(Shared).await;
    let other = site.replica().await;
    let body = noise(3, 4 * MIB);
    site.upstream.put(PATH, body.clone());
    (site, other, body)
}

/// So many clients that have asked for [`TARGET`] and read nothing yet.
async fn clients(server: &Server, count: usize) -> Vec<Connection> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Connection::open(server.address()).await;
        client.send(&Request::get(TARGET)).await;
        clients.push(client);
    }
    clients
}

/// The whole of what each client gets from here on.
async fn answers(clients: Vec<Connection>) -> Vec<(u16, Vec<u8>, End)> {
    let answer = |mut client: Connection| async move {
        let head = client.head(&Request::get(TARGET)).await;
        let (body, end) = client.rest().await;
        (head.status, body, end)
    };
    join_all(clients.into_iter().map(answer)).await
}

#[track_caller]
fn all_whole(answers: &[(u16, Vec<u8>, End)], body: &[u8]) {
    for (status, got, end) in answers {
        assert_eq!((*status, *end), (200, End::Whole));
        assert_same(got, body, "what a client got");
    }
}

/// Waits until the server has so many connections and waits for, or does, a transfer.
async fn is_filling_for(server: &Server, connections: u64) {
    until("the clients to be served", || async {
        let said = server.ask(&Request::get("/metrics")).await;
        let said = String::from_utf8(said.body).expect("text");
        let value = |name: &str| -> u64 {
            let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in {said}")).trim().parse().expect("a number")
        };
        (value("artifactapi_connections") >= connections && value("artifactapi_fills_running") == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_of_two_replicas_cost_one_transfer() {
    let (site, other, body) = pair().await;
    let gate = site.upstream.gate(PATH, MIB as u64);
    let first = clients(&site.server, 1).await;
    gate.reached().await;
    let (here, there) = tokio::join!(clients(&site.server, 24), clients(&other, 25));
    is_filling_for(&site.server, 25).await;
    is_filling_for(&other, 25).await;
    gate.open();
    all_whole(&answers([first, here, there].into_iter().flatten().collect()).await, &body);
    assert_eq!(site.upstream.log().lines(), ["GET /generic/big 200"]);
    assert_eq!(site.upstream.log().of(PATH)[0].sent(), body.len() as u64);

    // Both hold it: the second found what the first kept.
    site.upstream.stop().await;
    for server in [&site.server, &other] {
        server.get("files/big").await.is(&body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_dies_while_it_fills_takes_nobody_with_it() {
    let (mut site, other, body) = pair().await;
    let gate = site.upstream.gate(PATH, MIB as u64);
    let here = clients(&site.server, 10).await;
    gate.reached().await;
    is_filling_for(&site.server, 10).await;
    let there = clients(&other, 40).await;
    is_filling_for(&other, 40).await;

    site.server.kill().await;
    for mut client in here {
        if client.try_head(&Request::get(TARGET)).await.is_some() {
            let (got, end) = client.rest().await;
            assert_eq!(end, End::Cut, "half a file ended as if it were whole");
            assert!(body.starts_with(&got));
        }
    }
    // The other takes over as soon as the dead one's lease has run out, and from the start.
    site.upstream.log().reaches(PATH, 2).await;
    gate.open();
    all_whole(&answers(there).await, &body);
    let asked = site.upstream.log().of(PATH);
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[1].status, asked[1].sent()), (200, body.len() as u64));

    site.server.start_again().await;
    assert!(site.spooled().is_empty());
    site.upstream.stop().await;
    for server in [&site.server, &other] {
        server.get("files/big").await.is(&body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_replaces_the_other_replaces() {
    const INDEX: &str = "rpm/el9/x86_64/repodata/repomd.xml";
    let [old, new] = [1, 2].map(|number| fixture(number, INDEX));
    assert_ne!(old, new);
    let setup = Setup::new(Shared).await.set("cache.index_ttl", 0).set("allow_rollback", true);
    let mut site = setup.start().await;
    let other = site.replica().await;
    for server in [&site.server, &other] {
        server.get(INDEX).await.is(&old);
        server.holds(INDEX).await;
    }
    site.switch_to(2);
    site.server.get(INDEX).await.is(&new);
    // The other cannot ask upstream; it learns it from the first. Until it has, it gives what it held, whole.
    site.upstream.stop().await;
    until("the other replica to have the new index", || async {
        let reply = other.get(INDEX).await;
        if reply.body == old {
            reply.is(&old);
            return None;
        }
        reply.is(&new);
        Some(())
    })
    .await;

    // And back again, the other way round, with upstream there.
    site.upstream.start().await;
    site.switch_to(1);
    until("upstream to be asked again", || async { (other.get(INDEX).await.body == old).then_some(()) }).await;
    until("the first replica to have the old index again", || async {
        let reply = site.server.get(INDEX).await;
        reply.has(200);
        assert!(reply.body == old || reply.body == new, "an index that upstream never had");
        (reply.body == old).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_migrate_one_empty_database() {
    let mut site = Site::on(Shared).await;
    site.server.stop().await;
    let services = site.services.as_ref().expect("services");
    services.postgres.sql("artifacts", "drop schema public cascade; create schema public").await;
    let [plan_a, plan_b, plan_c] = [site.plan(), site.plan(), site.plan()];
    let (a, b, c) = tokio::join!(Server::start(plan_a), Server::start(plan_b), Server::start(plan_c));
    let body = fixture(1, "generic/1m.bin");
    for server in [&a, &b, &c] {
        server.get("files/1m.bin").await.is(&body);
        server.holds("files/1m.bin").await;
    }
    assert_eq!(site.upstream.log().of("/generic/1m.bin").len(), 1);
}
