//! Many upload at once: what arrives while an index is being written is published together by the next, so there are far fewer
//! snapshots than uploads, and yet each upload is in the index when it is acknowledged.

use std::collections::BTreeSet;

use super::{ask, asked, json, put};
use crate::support::http::{Connection, Request};
use crate::support::made;
use crate::support::remotes::Remote;
use crate::support::rpms;
use crate::support::server::Server;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};

const CLIENTS: usize = 16;
const PACKAGES: u32 = 200;

/// On average so many uploads share a snapshot, at least.
const TOGETHER: usize = 3;

/// Has [`CLIENTS`] upload these packages to a folder, each of them one after the other over its own connection; what is acknowledged
/// is listed from then on. Answers which package was acknowledged with which snapshot.
async fn upload(server: &Server, folder: &str, root: &str, packages: &[(String, Vec<u8>)]) -> Vec<(String, i64)> {
    let clients = (0..CLIENTS).map(|first| async move {
        let (mut connection, mut acknowledged) = (Connection::open(server.address()).await, Vec::new());
        for (name, body) in packages.iter().skip(first).step_by(CLIENTS) {
            let request = asked("PUT", &format!("{folder}/{name}")).body(body.clone());
            let reply = connection.exchange(&request).await;
            let snapshot = json(reply.has(201))["snapshot"].as_i64().expect("a number");
            assert!(listed(server, root).await.contains(name), "{name} is acknowledged and not listed");
            acknowledged.push((name.clone(), snapshot));
        }
        acknowledged
    });
    futures_util::future::join_all(clients).await.concat()
}

/// The numbers of all snapshots of a root.
async fn snapshots(server: &Server, root: &str) -> BTreeSet<i64> {
    let reply = ask(server, &Request::get(format!("/snapshots/{root}?limit=1000"))).await;
    let snapshots = json(reply.has(200))["snapshots"].as_array().expect("snapshots").clone();
    snapshots.iter().map(|snapshot| snapshot["id"].as_i64().expect("a number")).collect()
}

/// There are few snapshots, and each lists what was acknowledged with it and everything before.
async fn are_grouped(site: &Site, folder: &str, root: &str, packages: Vec<(String, Vec<u8>)>) {
    let names: BTreeSet<String> = packages.iter().map(|(name, _)| name.clone()).collect();
    let acknowledged = upload(&site.server, folder, root, &packages).await;
    assert_eq!(acknowledged.len(), names.len());
    let all = snapshots(&site.server, root).await;
    let meant: BTreeSet<i64> = acknowledged.iter().map(|(_, snapshot)| *snapshot).collect();
    assert_eq!(all, meant, "there is none that acknowledges nothing");
    assert!(all.len() * TOGETHER <= names.len(), "{} snapshots for {} uploads", all.len(), names.len());
    for snapshot in all {
        let expected: BTreeSet<String> =
            acknowledged.iter().filter(|(_, with)| *with <= snapshot).map(|(name, _)| name.clone()).collect();
        assert_eq!(listed(&site.server, &root.replacen("own", &format!("own@{snapshot}"), 1)).await, expected);
    }
    assert_eq!(listed(&site.server, root).await, names);
}

/// What the index of a root lists now.
async fn listed(server: &Server, root: &str) -> BTreeSet<String> {
    if root.contains("/el9/") {
        return rpms::listed(server, root).await.into_iter().collect();
    }
    let index = server.get(&format!("{root}/APKINDEX.tar.gz")).await;
    made::listed(&index.has(200).body).into_iter().collect()
}

async fn rpms_are_grouped(backend: Backend) {
    let setup = Setup::new(backend).await.remote(Remote::local("own", "rpm").set("root_depth", 2));
    let packages = rpms::many(&setup.run, PACKAGES).await;
    let site = setup.start().await;
    let (name, body) = packages[7].clone();
    are_grouped(&site, "own/el9/noarch/Packages", "own/el9/noarch", packages).await;
    put(&site.server, &format!("own/el9/noarch/Packages/{name}"), &body).await.has(200);
    site.server.get(&format!("own/el9/noarch/Packages/{name}")).await.is(&body);
}

async fn apks_are_grouped(backend: Backend) {
    let site = Setup::new(backend).await.remote(Remote::local("own", "alpine")).start().await;
    let packages = (0..PACKAGES).map(|number| {
        let name = format!("p{number:03}");
        (format!("{name}-1.0-r0.apk"), made::apk(&name, "1.0-r0", number))
    });
    are_grouped(&site, "own/edge/x86_64", "own/edge/x86_64", packages.collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rpms_are_grouped_on_a_laptop() {
    rpms_are_grouped(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rpms_are_grouped_over_shared_stores() {
    rpms_are_grouped(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apks_are_grouped_on_a_laptop() {
    apks_are_grouped(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apks_are_grouped_over_shared_stores() {
    apks_are_grouped(Shared).await;
}
