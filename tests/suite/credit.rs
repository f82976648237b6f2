//! The first index of a root is shown before it is known here what it names. Whoever has it is given what it names all the same, or is
//! told to ask for the index again: never what upstream has under the same name by now.

use std::time::Duration;

use crate::snapshots::{publish_at, snapshots};
use crate::support::http::{Connection, Request};
use crate::support::services::Backend::{Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;
use crate::support::upstream::fault::Fault;
use crate::support::upstream::gate::Gate;

/// For as long packages wait for the word of an index.
const PATIENCE: Duration = Duration::from_secs(20);

const FOLDER: &str = "/rpm/main";
const ENTRY: &str = "rpm/main/repodata/repomd.xml";
const PACKAGE: &str = "rpm/main/made-1-1.x86_64.rpm";

fn builds() -> [Vec<u8>; 2] {
    ["hello-1.0-1.el9.x86_64.rpm", "hello-doc-1.0-1.el9.noarch.rpm"]
        .map(|name| fixture(1, &format!("rpm/plain-names/Packages/h/{name}")))
}

fn get(path: &str) -> Request {
    Request::get(format!("/api/{path}")).with("User-Agent", "client")
}

/// A client that has an index whose list is held back, and the gate that holds it.
async fn early(site: &Site, package: &[u8]) -> (Connection, Gate) {
    publish_at(&site.upstream, FOLDER, 100, package);
    let gate = site.upstream.gate(&format!("{FOLDER}/repodata/primary.xml"), 0);
    let mut client = Connection::open(site.server.address()).await;
    client.exchange(&get(ENTRY)).await.has(200);
    gate.reached().await;
    (client, gate)
}

/// What upstream has by now is another build, and it is not what the client is given: on no replica.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_waits_for_the_word_of_its_index() {
    let [first, second] = builds();
    let mut site = Setup::new(Shared).await.set("cache.index_ttl", 0).start().await;
    let other = site.replica().await;
    let (mut client, gate) = early(&site, &first).await;
    let mut elsewhere = Connection::open(other.address()).await;
    elsewhere.exchange(&get(ENTRY)).await.has(200);
    site.upstream.put(&format!("{FOLDER}/made-1-1.x86_64.rpm"), second.clone());
    for connection in [&mut client, &mut elsewhere] {
        connection.send(&get(PACKAGE)).await;
    }
    gate.open();
    for connection in [&mut client, &mut elsewhere] {
        let reply = connection.reply(&get(PACKAGE)).await;
        assert_eq!(reply.status, 502, "{reply:?}");
    }
    snapshots(&site.server, "rpm/main", 1).await;
    site.upstream.put(&format!("{FOLDER}/made-1-1.x86_64.rpm"), first.clone());
    for connection in [&mut client, &mut elsewhere] {
        until("what the index names", || async {
            let reply = Connection::open(site.server.address()).await.exchange(&get(PACKAGE)).await;
            (reply.body == first).then_some(())
        })
        .await;
        connection.exchange(&get(PACKAGE)).await.is(&first);
    }
}

/// Upstream has gone on before anybody could write down what its first index named.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_an_index_that_upstream_has_gone_past_asks_again() {
    let [first, second] = builds();
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).set("cache.negative_ttl", 0).start().await;
    publish_at(&site.upstream, FOLDER, 100, &first);
    let list = format!("{FOLDER}/repodata/primary.xml");
    site.upstream.spoil(&list, Fault::Status(404));
    let mut client = Connection::open(site.server.address()).await;
    client.exchange(&get(ENTRY)).await.has(200);
    site.upstream.log().reaches(&list, 1).await;
    publish_at(&site.upstream, FOLDER, 200, &second);
    site.upstream.heal();
    let refused = client.exchange(&get(PACKAGE)).await.problem(404);
    assert!(refused.detail.contains("ask for the index again"), "{refused:?}");
    snapshots(&site.server, "rpm/main", 1).await;
    client.exchange(&get(ENTRY)).await.has(200);
    client.exchange(&get(PACKAGE)).await.is(&second);
}

/// What was remembered of a package before its first index came is not given to whoever has that index.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_was_there_before_its_index_is_looked_at_again() {
    let [first, second] = builds();
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).start().await;
    site.upstream.put(&format!("{FOLDER}/made-1-1.x86_64.rpm"), first.clone());
    for _ in 0..3 {
        site.server.get(PACKAGE).await.is(&first);
    }
    let (mut client, gate) = early(&site, &second).await;
    let ask = get(PACKAGE).with("User-Agent", "without an index");
    let mut without = Connection::open(site.server.address()).await;
    without.send(&ask).await;
    client.send(&get(PACKAGE)).await;
    gate.open();
    client.reply(&get(PACKAGE)).await.is(&second);
    without.reply(&ask).await.is(&second);
}

/// An index that upstream does not answer for is none that anything waits for.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_an_index_that_may_not_be_there() {
    let [first, _] = builds();
    let site = Setup::new(Laptop).await.start().await;
    site.upstream.put(&format!("{FOLDER}/made-1-1.x86_64.rpm"), first.clone());
    let gate = site.upstream.gate("/rpm/elsewhere/repodata/repomd.xml", 0);
    let mut curious = Connection::open(site.server.address()).await;
    curious.send(&get("rpm/elsewhere/repodata/repomd.xml")).await;
    gate.reached().await;
    for _ in 0..2 {
        // With a condition, it takes the long way.
        let ask = get(PACKAGE).with("If-None-Match", "\"another\"");
        let reply = tokio::time::timeout(PATIENCE / 2, site.server.ask(&ask)).await.expect("at once");
        reply.is(&first);
    }
    gate.open();
}

/// An index that names what its upstream never has is no reason to have nothing of that upstream.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_will_never_be_complete_is_of_use() {
    let [first, _] = builds();
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).set("cache.negative_ttl", 0).start().await;
    publish_at(&site.upstream, FOLDER, 100, &first);
    site.upstream.spoil(&format!("{FOLDER}/repodata/primary.xml"), Fault::Status(404));
    let mut client = Connection::open(site.server.address()).await;
    client.exchange(&get(ENTRY)).await.has(200);
    let refused = client.exchange(&get(PACKAGE)).await.problem(503);
    assert!(refused.detail.contains("ask for the index again"), "{refused:?}");
    until("the end of what may be an update", || async {
        let reply = Connection::open(site.server.address()).await.exchange(&get(PACKAGE)).await;
        (reply.body == first).then_some(())
    })
    .await;
    client.exchange(&get(PACKAGE)).await.is(&first);
}
