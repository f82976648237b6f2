//! Packages for apk, from a local and a remote member under one name.

use std::path::PathBuf;

use serde_json::json;

use super::{change, put};
use crate::support::clients::Apk;
use crate::support::http::{Connection, Request};
use crate::support::keys;
use crate::support::made::{self, apk_v3};
use crate::support::remotes::Remote;
use crate::support::server::Server;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, generation};

const FOLDER: &str = "v3.22/main/x86_64";

/// `all` is made of the local `own` and the remote `alpine`, and signed by a key which was just made; a folder with the keys that
/// clients trust: that one, and those of nobody else.
async fn site(backend: Backend) -> (Site, PathBuf) {
    let setup = Setup::new(backend).await;
    let (secret, public_half) = keys::for_apk(&setup).await;
    let all = Remote::virtual_of("all", "alpine", &["own", "alpine"])
        .set("deploy_to", "own")
        .set("signing_keys", json!([secret]));
    let site = setup.remote(Remote::local("own", "alpine")).remote(all).start().await;
    let public = site.server.get("all/ci@example.org.rsa.pub").await;
    public.is(&std::fs::read(public_half).expect("a key"));
    let trusted = site.run.folder("trusted");
    for entry in std::fs::read_dir(generation(1).join("alpine/keys")).expect("keys") {
        let entry = entry.expect("a key");
        std::fs::copy(entry.path(), trusted.join(entry.file_name())).expect("copied");
    }
    std::fs::write(trusted.join("ci@example.org.rsa.pub"), &public.body).expect("written");
    (site, trusted)
}

/// A package of the fixtures' second generation, which the remote does not have yet.
fn newer(name: &str) -> Vec<u8> {
    fixture(2, &format!("alpine/{FOLDER}/{name}"))
}

async fn packages_of_both_are_installed(backend: Backend) {
    let (mut site, trusted) = site(backend).await;
    let lines = |server: &Server| [format!("http://{}/api/all/v3.22/main", server.address())];
    let mut apk = Apk::with(&site.run, "first", &lines(&site.server), trusted.clone());
    apk.run(&["add", "hello"]).await.succeeded();
    assert_eq!(apk.installed("hello").as_deref(), Some("1.0-r0"));

    for name in ["hello-1.0-r1.apk", "rebuilt-1.0-r0.apk"] {
        put(&site.server, &format!("all/{FOLDER}/{name}"), &newer(name)).await.has(201);
    }
    let other = if backend == Shared { Some(site.replica().await) } else { None };
    let server = other.as_ref().unwrap_or(&site.server);
    let mut apk = Apk::with(&site.run, "both", &lines(server), trusted.clone());
    apk.run(&["add", "hello", "big", "rebuilt"]).await.succeeded();
    assert_eq!(apk.installed("hello").as_deref(), Some("1.0-r1"));
    assert_eq!(apk.installed("big").as_deref(), Some("1.0-r0"));
    server.get(&format!("all/{FOLDER}/rebuilt-1.0-r0.apk")).await.is(&newer("rebuilt-1.0-r0.apk"));

    site.upstream.stop().await;
    change(&site.server, "DELETE", &format!("all/{FOLDER}/hello-1.0-r1.apk"), b"").await.has(200);
    let mut late = Apk::with(&site.run, "late", &lines(server), trusted);
    late.run(&["add", "hello", "big"]).await.succeeded();
    assert_eq!(late.installed("hello").as_deref(), Some("1.0-r0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_both_are_installed_on_a_laptop() {
    packages_of_both_are_installed(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_both_are_installed_over_shared_stores() {
    packages_of_both_are_installed(Shared).await;
}

/// Two local members with packages of version 3, under one name: the earlier one's win, and of one path there is one package.
async fn packages_of_version_3_are_merged(backend: Backend) {
    let setup = Setup::new(backend).await;
    let (secret, public_half) = keys::for_apk(&setup).await;
    let all = Remote::virtual_of("all", "alpine", &["first", "second"]).set("signing_keys", json!([secret]));
    let locals = ["first", "second"].map(|name| Remote::local(name, "alpine"));
    let setup = locals.into_iter().fold(setup, Setup::remote);
    let mut site = setup.remote(all).start().await;
    let trusted = site.run.folder("trusted");
    std::fs::copy(public_half, trusted.join("ci@example.org.rsa.pub")).expect("copied");
    let of = async |name: &str, more: &str| {
        apk_v3(&site.run, &[&format!("name:{name}"), "version:1", "arch:x86_64", more]).await
    };
    let ours = of("app", "description:ours").await;
    let theirs = of("app", "description:theirs").await;
    let lib = of("lib", "provides:so:lib.so.1=1").await;
    let tool = of("tool", "depends:so:lib.so.1 app").await;
    for (member, name, body) in
        [("second", "app", &theirs), ("first", "app", &ours), ("second", "lib", &lib), ("first", "tool", &tool)]
    {
        put(&site.server, &format!("{member}/{FOLDER}/{name}-1.apk"), body).await.has(201);
    }
    let other = if backend == Shared { Some(site.replica().await) } else { None };
    let server = other.as_ref().unwrap_or(&site.server);
    let lines = [format!("v3 http://{}/api/all/v3.22/main", server.address())];
    let mut apk = Apk::with(&site.run, "merged", &lines, trusted.clone());
    apk.run(&["add", "tool"]).await.succeeded();
    for name in ["tool", "lib", "app"] {
        assert_eq!(apk.installed(name).as_deref(), Some("1"), "{name}");
    }
    server.get(&format!("all/{FOLDER}/app-1.apk")).await.is(&ours);
    server.get(&format!("all/{FOLDER}/APKINDEX.tar.gz")).await.problem(404);
    change(&site.server, "DELETE", &format!("first/{FOLDER}/app-1.apk"), b"").await.has(200);
    let mut late = Apk::with(&site.run, "late", &lines, trusted);
    late.run(&["add", "app"]).await.succeeded();
    server.get(&format!("all/{FOLDER}/app-1.apk")).await.is(&theirs);

    // Of another version under the same path, in another index: nobody knows which one somebody means who was given neither.
    put(&site.server, &format!("first/{FOLDER}/app-1.apk"), &made::apk("app", "1", 1)).await.has(201);
    let mut client = Connection::open(server.address()).await;
    client.exchange(&Request::get(format!("/api/all/{FOLDER}/APKINDEX.tar.gz"))).await.has(200);
    client.exchange(&Request::get(format!("/api/all/{FOLDER}/app-1.apk"))).await.is(&made::apk("app", "1", 1));
    let mut client = Connection::open(server.address()).await;
    let newer = |request: Request| request.with("User-Agent", "of version 3");
    client.exchange(&newer(Request::get(format!("/api/all/{FOLDER}/Packages.adb")))).await.has(200);
    client.exchange(&newer(Request::get(format!("/api/all/{FOLDER}/app-1.apk")))).await.is(&theirs);
    let mut client = Connection::open(server.address()).await;
    let stranger = Request::get(format!("/api/all/{FOLDER}/app-1.apk")).with("User-Agent", "a stranger");
    let problem = client.exchange(&stranger).await.problem(404);
    assert!(problem.detail.contains("mean different packages"), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_version_3_are_merged_on_a_laptop() {
    packages_of_version_3_are_merged(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_version_3_are_merged_over_shared_stores() {
    packages_of_version_3_are_merged(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_member_there_is_no_first_index() {
    let (site, _) = site(Laptop).await;
    site.upstream.stop().await;
    put(&site.server, &format!("all/{FOLDER}/hello-1.0-r1.apk"), &newer("hello-1.0-r1.apk")).await.has(201);
    let index = format!("all/{FOLDER}/APKINDEX.tar.gz");
    let problem = site.server.get(&index).await;
    assert!(problem.status >= 500, "{}", problem.status);
    site.upstream.start().await;
    crate::support::until("the merged index", || async { (site.server.get(&index).await.status == 200).then_some(()) })
        .await;
    // Another index by the same name in another folder is none of theirs.
    site.server.get("all/v3.22/other/x86_64/APKINDEX.tar.gz").await.problem(404);
}
