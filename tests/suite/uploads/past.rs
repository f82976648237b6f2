//! The past of what was uploaded: a tag, a number and a time stand for an index of before, with the packages it names, whatever was
//! deleted since (DESIGN 6).

use serde_json::Value;

use super::rpm::site;
use super::{delete, json, put};
use crate::support::clients::Dnf;
use crate::support::http::Request;
use crate::support::rpms::listed;
use crate::support::server::Server;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::testbed::fixture;

const ROOT: &str = "el9/x86_64";
const FOLDER: &str = "own/el9/x86_64/Packages";

/// What is deleted, and what is uploaded between that and the tag.
const FIRST: &str = "b/big-1.0-1.el9.x86_64.rpm";
const SECOND: &str = "h/hello-libs-1.0-1.el9.x86_64.rpm";

fn package(name: &str) -> Vec<u8> {
    fixture(1, &format!("rpm/el9/x86_64/Packages/{name}"))
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The snapshots of the root, oldest first.
async fn snapshots(server: &Server) -> Vec<Value> {
    let reply = server.ask(&Request::get(format!("/snapshots/own/{ROOT}"))).await;
    let mut snapshots = json(reply.has(200))["snapshots"].as_array().expect("snapshots").clone();
    snapshots.reverse();
    snapshots
}

async fn what_was_deleted_is_installed_from_before(backend: Backend) {
    let (mut site, public) = site(backend).await;
    put(&site.server, &format!("{FOLDER}/{FIRST}"), &package(FIRST)).await.has(201);
    let tag = Request::new("PUT", format!("/snapshots/own/{ROOT}?tag=stable")).by_administrator();
    site.server.ask(&tag).await.has(200);
    put(&site.server, &format!("{FOLDER}/{SECOND}"), &package(SECOND)).await.has(201);
    delete(&site.server, &format!("{FOLDER}/{FIRST}")).await.has(200);

    let other = if backend == Shared { Some(site.replica().await) } else { None };
    let server = other.as_ref().unwrap_or(&site.server);
    let past = snapshots(server).await;
    let counts: Vec<_> = past.iter().map(|snapshot| snapshot["packages"].as_u64().expect("a count")).collect();
    assert_eq!(counts, [1, 2, 1], "{past:?}");
    let time = |number: usize| past[number]["published_at"].as_str().expect("a time").to_owned();
    let names = [FIRST, SECOND].map(file_name);
    let named: [(String, &[&str]); 5] = [
        ("own@stable".into(), &names[..1]),
        (format!("own@{}", past[0]["id"]), &names[..1]),
        (format!("own@{}", time(0)), &names[..1]),
        (format!("own@{}", time(1)), &names),
        ("own".into(), &names[1..]),
    ];
    for (at, expected) in &named {
        let mut now = listed(server, &format!("{at}/{ROOT}")).await;
        now.sort();
        assert_eq!(now, *expected, "{at}");
        let reply = server.get(&format!("{at}/{ROOT}/Packages/{FIRST}")).await;
        // The signatures are of their time, too: dnf checks them. It asks for packages with what it finds there and nothing else.
        let url = format!("http://{}/api/{at}/{ROOT}", server.address());
        let dnf = Dnf::trusting(&site.run, &at.replace(['@', ':'], "-"), &url, &public);
        if expected.contains(&names[0]) {
            reply.is(&package(FIRST));
            dnf.run(&["install", "big"]).await.succeeded();
            assert_eq!(dnf.installed("big").await, "big-1.0-1.el9.x86_64", "{at}");
        } else {
            reply.problem(404);
            dnf.run(&["install", "big"]).await.failed_with("big");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_installed_from_before_on_a_laptop() {
    what_was_deleted_is_installed_from_before(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_installed_from_before_over_shared_stores() {
    what_was_deleted_is_installed_from_before(Shared).await;
}
