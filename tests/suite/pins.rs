//! Who was given an index goes on with that generation of it: of the right index, over any connection, on any replica.

use crate::snapshots::{PLAIN, PLAIN_FILES, complete, publish_at, shows, snapshots};
use crate::support::http::{Connection, Request};
use crate::support::made::{apk, listed};
use crate::support::remotes::Remote;
use crate::support::server::Server;
use crate::support::services::Backend::{Laptop, Shared};
use crate::support::site::Setup;
use crate::support::testbed::fixture;
use crate::support::until;
use crate::uploads::asked;

/// A client that is told from others by its user agent only.
fn by(agent: &str, path: &str) -> Request {
    Request::get(format!("/api/{path}")).with("User-Agent", agent)
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_replica_is_asked() {
    let mut site = complete(Shared).await;
    let other = site.replica().await;
    let entry = format!("{PLAIN}/repomd.xml");
    site.server.ask(&by("early", &entry)).await.is(&fixture(1, &entry));
    site.switch_to(2);
    shows(&site.server, &entry, 2).await;
    // Replicas hear each other in order: who has heard of the switch has heard whom the earlier entry was given to.
    shows(&other, &entry, 2).await;
    for file in PLAIN_FILES.iter().skip(1) {
        let path = format!("{PLAIN}/{file}");
        other.ask(&by("early", &path)).await.is(&fixture(1, &path));
        other.ask(&by("late", &path)).await.is(&fixture(2, &path));
    }
    // From the new entry on it is another client, there and here.
    other.ask(&by("early", &entry)).await.is(&fixture(2, &entry));
    let signature = format!("{PLAIN}/repomd.xml.asc");
    until("the first replica to hear of it", || async {
        (site.server.ask(&by("early", &signature)).await.body == fixture(2, &signature)).then_some(())
    })
    .await;
}

fn builds() -> [Vec<u8>; 2] {
    ["hello-1.0-1.el9.x86_64.rpm", "hello-doc-1.0-1.el9.noarch.rpm"]
        .map(|name| fixture(1, &format!("rpm/plain-names/Packages/h/{name}")))
}

async fn shows_revision(server: &Server, root: &str, made_at: u32) {
    until(format!("revision {made_at} of {root}"), || async {
        let entry = server.ask(&by("observer", &format!("rpm/{root}/repodata/repomd.xml"))).await;
        String::from_utf8_lossy(&entry.body).contains(&format!("<revision>{made_at}<")).then_some(())
    })
    .await;
}

/// One client knows two indexes of one repository, both switch, and it asks for a package of one of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_belongs_to_the_index_that_names_it() {
    let [first, second] = builds();
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).start().await;
    let roots = ["main", "extra"];
    for root in roots {
        publish_at(&site.upstream, &format!("/rpm/{root}"), 100, &first);
    }
    let package = |root: &str| format!("rpm/{root}/made-1-1.x86_64.rpm");
    let entry = |root: &str| format!("rpm/{root}/repodata/repomd.xml");
    // Each over a connection of its own, and the one that matters first.
    let mut connections = Vec::new();
    for root in roots {
        let mut connection = Connection::open(site.server.address()).await;
        connection.exchange(&by("client", &entry(root))).await.has(200);
        snapshots(&site.server, &format!("rpm/{root}"), 1).await;
        connection.exchange(&by("client", &package(root))).await.is(&first);
        connections.push(connection);
    }
    for root in roots {
        publish_at(&site.upstream, &format!("/rpm/{root}"), 200, &second);
        shows_revision(&site.server, root, 200).await;
    }
    for root in roots {
        for connection in &mut connections {
            connection.exchange(&by("client", &package(root))).await.is(&first);
        }
        site.server.ask(&by("observer", &package(root))).await.is(&second);
    }
}

/// Clients with the earlier index ask for a package that is not kept, all at once: upstream is asked for it once.
#[tokio::test(flavor = "multi_thread")]
async fn many_who_want_what_an_earlier_index_names_cost_one_transfer() {
    let [first, second] = builds();
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).start().await;
    publish_at(&site.upstream, "/rpm/main", 100, &first);
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(site.server.address()).await;
        connection.exchange(&by("client", "rpm/main/repodata/repomd.xml")).await.has(200);
        connections.push(connection);
    }
    snapshots(&site.server, "rpm/main", 1).await;
    publish_at(&site.upstream, "/rpm/main", 200, &second);
    shows_revision(&site.server, "main", 200).await;
    // A mirror that lags behind still has it.
    let package = "/rpm/main/made-1-1.x86_64.rpm";
    site.upstream.put(package, first.clone());
    site.upstream.log().clear();
    let gate = site.upstream.gate(package, 1_000);
    let ask = by("client", "rpm/main/made-1-1.x86_64.rpm");
    for connection in &mut connections {
        connection.send(&ask).await;
    }
    gate.reached().await;
    gate.open();
    for connection in &mut connections {
        connection.reply(&ask).await.is(&first);
    }
    let asked = site.upstream.log().of(package).len();
    assert!(asked * 4 <= connections.len(), "{asked} transfers: one, and another for those who came when it was over");
}

/// What people take away, those who know of it still get, on a replica that has not heard of it, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_was_deleted_is_there_for_whoever_was_given_its_index() {
    let mut site = Setup::new(Shared).await.remote(Remote::local("own", "alpine")).start().await;
    let other = site.replica().await;
    let (folder, package) = ("own/x86_64", "own/x86_64/p-1.0-r0.apk");
    let (bytes, entry) = (apk("p", "1.0-r0", 1), format!("{folder}/APKINDEX.tar.gz"));
    let put = site.server.ask(&asked("PUT", package).body(bytes.clone())).await;
    assert_eq!(put.status, 201);
    for agent in ["early", "none"] {
        assert_eq!(site.server.ask(&by(agent, &entry)).await.status, 200);
    }
    assert_eq!(other.ask(&asked("DELETE", package)).await.status, 200);
    site.server.ask(&by("early", package)).await.is(&bytes);
    // From the new entry on it is another client.
    until("the new index", || async {
        listed(&site.server.ask(&by("none", &entry)).await.body).is_empty().then_some(())
    })
    .await;
    assert_eq!(site.server.ask(&by("none", package)).await.status, 404);
    assert_eq!(site.server.ask(&by("nobody", package)).await.status, 404);
}

/// The same through a virtual repository, whose index is another than that of the member which has the package.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_was_deleted_is_there_for_whoever_was_given_a_merged_index() {
    let setup = Setup::new(Laptop).await.remote(Remote::local("own", "alpine"));
    let site = setup.remote(Remote::virtual_of("all", "alpine", &["own"])).start().await;
    let (bytes, entry) = (apk("p", "1.0-r0", 1), "all/x86_64/APKINDEX.tar.gz");
    assert_eq!(site.server.ask(&asked("PUT", "own/x86_64/p-1.0-r0.apk").body(bytes.clone())).await.status, 201);
    for agent in ["early", "none"] {
        assert_eq!(listed(&site.server.ask(&by(agent, entry)).await.body).len(), 1, "{agent}");
    }
    assert_eq!(site.server.ask(&asked("DELETE", "own/x86_64/p-1.0-r0.apk")).await.status, 200);
    assert!(listed(&site.server.ask(&by("none", entry)).await.body).is_empty());
    let package = "all/x86_64/p-1.0-r0.apk";
    site.server.ask(&by("early", package)).await.is(&bytes);
    for agent in ["none", "nobody"] {
        assert_eq!(site.server.ask(&by(agent, package)).await.status, 404, "{agent}");
    }
}
