//! Packages for apk, from a local and a remote member under one name.

use std::path::PathBuf;

use serde_json::json;

use super::{change, put};
use crate::support::clients::Apk;
use crate::support::keys;
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
