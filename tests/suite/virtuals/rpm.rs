//! Packages for dnf and zypper, from a local and a remote member under one name, with all signatures checked.

use std::path::PathBuf;

use serde_json::json;

use super::{change, json, put};
use crate::support::clients::{Dnf, Zypper};
use crate::support::http::Request;
use crate::support::keys;
use crate::support::remotes::Remote;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;

const FOLDER: &str = "el9/x86_64/Packages";
const ENTRY: &str = "el9/x86_64/repodata/repomd.xml";

/// `all` is made of the local `own` and the remote `rpm`, and signed by a key which was just made; its public half.
async fn site(backend: Backend) -> (Site, PathBuf) {
    let setup = Setup::new(backend).await;
    let (secret, public) = keys::for_rpm(&setup).await;
    let all = Remote::virtual_of("all", "rpm", &["own", "rpm"])
        .set("deploy_to", "own")
        .set("signing_keys", json!([secret]))
        .set("cache.index_ttl", 0);
    let own = Remote::local("own", "rpm").set("root_depth", 2);
    (setup.set("cache.index_ttl", 0).remote(own).remote(all).start().await, public)
}

/// A package of the fixtures' second generation, which the remote does not have yet.
fn newer(name: &str) -> Vec<u8> {
    fixture(2, &format!("rpm/el9/x86_64/Packages/{name}"))
}

async fn packages_of_both_are_installed(backend: Backend) {
    let (mut site, public) = site(backend).await;
    let url = |server: &crate::support::server::Server| format!("http://{}/api/all/el9/x86_64", server.address());

    // Before anybody uploaded anything, it is what the remote has, signed by ours.
    let dnf = Dnf::trusting(&site.run, "dnf", &url(&site.server), &public);
    dnf.run(&["install", "hello"]).await.succeeded();
    assert_eq!(dnf.installed("hello").await, "hello-1.0-1.el9.x86_64");

    // What is uploaded is installable at once, through any replica.
    let names = ["h/hello-1.0-2.el9.x86_64.rpm", "r/rebuilt-1.0-1.el9.x86_64.rpm"];
    for name in names {
        put(&site.server, &format!("all/{FOLDER}/{name}"), &newer(name)).await.has(201);
    }
    let other = if backend == Shared { Some(site.replica().await) } else { None };
    let server = other.as_ref().unwrap_or(&site.server);
    let dnf = Dnf::trusting(&site.run, "both", &url(server), &public);
    dnf.run(&["install", "hello", "big", "rebuilt"]).await.succeeded();
    assert_eq!(dnf.installed("hello").await, "hello-1.0-2.el9.x86_64");
    assert_eq!(dnf.installed("big").await, "big-1.0-1.el9.x86_64");
    let zypper = Zypper::trusting(&site.run, "zypper", &url(server), &public);
    zypper.run(&["install", "hello", "big"]).await.succeeded();
    assert_eq!(zypper.installed("hello").await, "hello-1.0-2.el9.x86_64");
    assert_eq!(zypper.installed("big").await, "big-1.0-1.el9.x86_64");

    // Both have a package of that name and version; it is the earlier member's.
    let rebuilt = format!("{FOLDER}/{}", names[1]);
    server.get(&format!("all/{rebuilt}")).await.is(&newer(names[1]));
    server.get(&format!("rpm/{rebuilt}")).await.is(&fixture(1, &format!("rpm/{rebuilt}")));

    // Without its upstream, the last merged index and what is held of it stand; uploads come and go all the same.
    site.upstream.stop().await;
    let late = Dnf::trusting(&site.run, "late", &url(server), &public);
    late.run(&["install", "hello", "big"]).await.succeeded();
    change(&site.server, "DELETE", &format!("all/{FOLDER}/{}", names[0]), b"").await.has(200);
    change(&site.server, "DELETE", &format!("all/{FOLDER}/{}", names[1]), b"").await.has(200);
    let later = Dnf::trusting(&site.run, "later", &url(server), &public);
    later.run(&["install", "big"]).await.succeeded();
    assert_eq!(later.run(&["repoquery", "--qf", "%{release}\n", "hello"]).await.output.trim(), "1.el9");
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_both_are_installed_on_a_laptop() {
    packages_of_both_are_installed(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_both_are_installed_over_shared_stores() {
    packages_of_both_are_installed(Shared).await;
}

/// The number of snapshots that `all` has.
async fn snapshots(site: &Site) -> usize {
    let reply = site.server.ask(&Request::get("/snapshots/all/el9/x86_64")).await;
    json(&reply)["snapshots"].as_array().expect("snapshots").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_merged_when_a_member_changes_and_only_then() {
    let (site, _) = site(Laptop).await;
    let first = site.server.get(&format!("all/{ENTRY}")).await;
    first.has(200);
    assert!(first.body.windows(10).any(|window| window == b"updateinfo"), "carried from the remote");
    site.server.get(&format!("all/{ENTRY}.asc")).await.has(200);
    for _ in 0..3 {
        site.server.get(&format!("all/{ENTRY}")).await.is(&first.body);
    }
    assert_eq!(snapshots(&site).await, 1);
    let hello = format!("{FOLDER}/h/hello-1.0-1.el9.x86_64.rpm");
    site.server.get(&format!("all/{hello}")).await.is(&fixture(1, &format!("rpm/{hello}")));
    site.server.holds(&format!("rpm/{hello}")).await;

    site.switch_to(2);
    crate::support::until("the next index", || async {
        (site.server.get(&format!("all/{ENTRY}")).await.body != first.body).then_some(())
    })
    .await;
    assert_eq!(snapshots(&site).await, 2);
    let name = "h/hello-1.0-2.el9.x86_64.rpm";
    site.server.get(&format!("all/{FOLDER}/{name}")).await.is(&newer(name));

    // What the first index named is still there for whoever was given it.
    site.server.get(&format!("all/{hello}")).await.is(&fixture(1, &format!("rpm/{hello}")));
}

const OWN_GROUPS: &str = "<?xml version=\"1.0\"?><comps>\
    <group><id>greeters</id><name>Our greeters</name><uservisible>true</uservisible>\
    <packagelist><packagereq type=\"mandatory\">rebuilt</packagereq></packagelist></group>\
    <group><id>ours</id><name>Ours</name><uservisible>true</uservisible>\
    <packagelist><packagereq type=\"mandatory\">big</packagereq></packagelist></group></comps>";

const OWN_ADVISORIES: &str = "<?xml version=\"1.0\"?><updates><update from=\"us\" status=\"stable\" type=\"bugfix\" version=\"1\">\
    <id>OUR-1</id><title>big</title><issued date=\"2025-01-01\"/><description/><pkglist><collection><name>x</name>\
    <package name=\"big\" version=\"1.0\" release=\"1.el9\" epoch=\"0\" arch=\"x86_64\"><filename>big-1.0-1.el9.x86_64.rpm</filename>\
    </package></collection></pkglist></update></updates>";

/// Groups, advisories and modules of both are there, and of two of one name it is the earlier member's.
#[tokio::test(flavor = "multi_thread")]
async fn what_members_carry_is_joined() {
    let (site, public) = site(Laptop).await;
    site.server.get(&format!("all/{ENTRY}")).await.has(200);
    put(&site.server, "own/el9/x86_64/repodata/comps.xml", OWN_GROUPS.as_bytes()).await.has(201);
    put(&site.server, "own/el9/x86_64/repodata/updateinfo.xml", OWN_ADVISORIES.as_bytes()).await.has(201);
    let modules =
        b"---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: fixture\n  stream: \"stable\"\n...\n";
    put(&site.server, "own/el9/x86_64/repodata/modules.yaml", modules).await.has(201);

    let entry = String::from_utf8(site.server.get(&format!("all/{ENTRY}")).await.body).expect("text");
    for kind in ["group", "updateinfo", "modules"] {
        assert_eq!(entry.matches(&format!("<data type=\"{kind}\">")).count(), 1, "{entry}");
    }
    assert!(!entry.contains("group_gz"), "nothing of one member alone is left: {entry}");

    let url = format!("http://{}/api/all/el9/x86_64", site.server.address());
    let dnf = Dnf::trusting(&site.run, "dnf", &url, &public);
    let groups = dnf.run(&["group", "list", "-v"]).await.succeeded();
    for name in ["Our greeters (greeters)", "Ours (ours)"] {
        assert!(groups.contains(name), "{groups}");
    }
    dnf.run(&["group", "install", "ours"]).await.succeeded();
    dnf.run(&["install", "hello"]).await.succeeded();
    assert_eq!(dnf.installed("big").await, "big-1.0-1.el9.x86_64");
    let advisories = dnf.run(&["updateinfo", "list", "--all"]).await.succeeded();
    assert!(advisories.contains("OUR-1") && advisories.contains("FIX-2025:1"), "{advisories}");
    let listed = dnf.run(&["module", "list"]).await.succeeded();
    let fixture = listed.lines().find(|line| line.starts_with("fixture")).unwrap_or_default();
    assert!(fixture.contains("stable [d]"), "the stream is theirs, that it is the default is ours: {listed}");
}
