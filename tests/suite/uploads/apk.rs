//! Packages for apk: uploaded, and installable by the next client.

use std::path::PathBuf;

use serde_json::json;

use super::{ask, asked, delete, json, put};
use crate::support::clients::Apk;
use crate::support::keys;
use crate::support::remotes::Remote;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, generation};

const FOLDER: &str = "own/v3.22/main/x86_64";

/// A site with a local repository `own` that is signed by a key which was just made, and the folder with its public half.
pub(super) async fn site(backend: Backend) -> (Site, PathBuf) {
    let setup = Setup::new(backend).await;
    let (secret, public_half) = keys::for_apk(&setup).await;
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&secret).expect("a key").permissions());
    assert_eq!(mode & 0o777, 0o600);
    // What clients trust is a folder of public keys; ours gets the public half, and those of the packages.
    let trusted = setup.run.folder("trusted");
    for entry in std::fs::read_dir(generation(1).join("alpine/keys")).expect("keys") {
        let entry = entry.expect("a key");
        std::fs::copy(entry.path(), trusted.join(entry.file_name())).expect("copied");
    }
    let own = Remote::local("own", "alpine").set("signing_keys", json!([secret]));
    let site = setup.remote(own).start().await;
    let public = site.server.get("own/ci@example.org.rsa.pub").await;
    public.is(&std::fs::read(public_half).expect("a key"));
    std::fs::write(trusted.join("ci@example.org.rsa.pub"), &public.body).expect("written");
    (site, trusted)
}

/// A package of the fixtures.
fn package(name: &str) -> Vec<u8> {
    fixture(1, &format!("alpine/v3.22/main/x86_64/{name}"))
}

async fn what_was_uploaded_is_installed(backend: Backend) {
    let (mut site, trusted) = site(backend).await;
    let reply = put(&site.server, &format!("{FOLDER}/hello-1.0-r0.apk"), &package("hello-1.0-r0.apk")).await;
    reply.has(201);
    assert!(json(&reply)["snapshot"].as_i64().is_some(), "{}", json(&reply));
    put(&site.server, &format!("{FOLDER}/big-1.0-r0.apk"), &package("big-1.0-r0.apk")).await.has(201);

    let other = if backend == Shared { Some(site.replica().await) } else { None };
    let server = other.as_ref().unwrap_or(&site.server);
    let lines = [format!("http://{}/api/own/v3.22/main", server.address())];
    let mut apk = Apk::with(&site.run, "root", &lines, trusted.clone());
    apk.run(&["add", "big"]).await.succeeded();
    assert_eq!(apk.installed("big").as_deref(), Some("1.0-r0"));

    // What is deleted is in the index no more, and nobody can have it; who was given the index before, still can.
    delete(&site.server, &format!("{FOLDER}/big-1.0-r0.apk")).await.has(200);
    server.get(&format!("{FOLDER}/big-1.0-r0.apk")).await.problem(404);
    let mut late = Apk::with(&site.run, "late", &lines, trusted);
    let refused = late.run(&["add", "big"]).await;
    assert!(!refused.status.success(), "{}", refused.output);
    let past = json(&server.ask(&crate::support::http::Request::get("/snapshots/own/v3.22/main/x86_64")).await);
    let snapshots = past["snapshots"].as_array().expect("snapshots").clone();
    assert_eq!(snapshots.len(), 3, "{past}");
    let before = format!("own@{}/v3.22/main/x86_64/big-1.0-r0.apk", snapshots[1]["id"]);
    server.get(&before).await.is(&package("big-1.0-r0.apk"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_is_installed_on_a_laptop() {
    what_was_uploaded_is_installed(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_is_installed_over_shared_stores() {
    what_was_uploaded_is_installed(Shared).await;
}

/// What clients trust is what the configuration names, whoever may write and whatever was put there before it was named.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_that_clients_fetch_cannot_be_replaced() {
    let (mut site, trusted) = site(Laptop).await;
    let key = std::fs::read(trusted.join("ci@example.org.rsa.pub")).expect("a key");
    for _ in 0..2 {
        let problem = put(&site.server, "own/ci@example.org.rsa.pub", b"another").await.problem(409);
        assert!(problem.detail.contains("signing_keys"), "{problem:?}");
        delete(&site.server, "own/ci@example.org.rsa.pub").await.problem(409);
        let part = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"ci@example.org.rsa.pub\"\r\n\r\nanother\r\n--b--\r\n";
        let form = asked("POST", "own/").with("Content-Type", "multipart/form-data; boundary=b").body(part);
        ask(&site.server, &form).await.problem(409);
        site.server.get("own/ci@example.org.rsa.pub").await.is(&key);
    }

    // It was put there when the repository had no such key: it is not what clients are given from then on.
    let signed = std::fs::read_to_string(site.server.plan.config()).expect("a configuration");
    site.server.stop().await;
    site.server.plan.configure(&crate::support::remotes::yaml(&[Remote::local("own", "alpine")]));
    site.server.start_again().await;
    put(&site.server, "own/ci@example.org.rsa.pub", b"another").await.has(201);
    site.server.get("own/ci@example.org.rsa.pub").await.is(b"another");
    site.server.stop().await;
    site.server.plan.configure(&signed);
    site.server.start_again().await;
    site.server.get("own/ci@example.org.rsa.pub").await.is(&key);
    site.server.get("own/ci@example.org.rsa.pub.sha256").await.problem(404);
}

/// Who checks an index of before fetches its key from where it was.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_before_stays_where_it_was() {
    let setup = Setup::new(Laptop).await;
    let (secret, public) = keys::for_apk(&setup).await;
    let old = setup.run.path("old@example.org.rsa");
    std::fs::rename(&secret, &old).expect("renamed");
    let old_public = setup.run.path("old@example.org.rsa.pub");
    std::fs::rename(&public, &old_public).expect("renamed");
    let (new, _) = keys::for_apk(&setup).await;
    let own = Remote::local("own", "alpine");
    let both = own.clone().set("signing_keys", json!([old, new]));
    let mut site = setup.remote(both).start().await;
    let kept = std::fs::read(&old_public).expect("a key");
    let urls = ["own/old@example.org.rsa.pub", "own/ci@example.org.rsa.pub"];
    for url in urls {
        site.server.get(url).await.has(200);
    }
    site.server.stop().await;
    let rotated = own.set("signing_keys", json!([new])).set("retired_keys", json!([old_public]));
    site.server.plan.configure(&crate::support::remotes::yaml(&[rotated]));
    site.server.start_again().await;
    for url in urls {
        site.server.get(url).await.has(200);
    }
    site.server.get(urls[0]).await.is(&kept);
    put(&site.server, urls[0], b"another").await.problem(409);
    put(&site.server, "own/v3.22/main/x86_64/hello-1.0-r0.apk", &package("hello-1.0-r0.apk")).await.has(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_package_is_refused() {
    let (site, _) = site(Laptop).await;
    let right = package("hello-1.0-r0.apk");
    let (half, mut damaged) = (right[..right.len() / 2].to_vec(), right.clone());
    let middle = damaged.len() - 40;
    damaged[middle] ^= 1;
    let refused: [(&str, &[u8], u16); 6] = [
        ("v3.22/main/x86_64/hello-1.0-r0.apk", &half, 422),
        ("v3.22/main/x86_64/hello-1.0-r0.apk", &damaged, 422),
        ("v3.22/main/x86_64/hello-1.0-r0.apk", b"<html>", 422),
        ("v3.22/main/x86_64/other-1.0-r0.apk", &right, 422),
        ("v3.22/main/aarch64/hello-1.0-r0.apk", &right, 422),
        ("v3.22/main/x86_64/APKINDEX.tar.gz", &right, 400),
    ];
    for (path, body, status) in refused {
        let problem = put(&site.server, &format!("own/{path}"), body).await.problem(status);
        assert!(!problem.detail.is_empty(), "{problem:?}");
        site.server.get(&format!("own/{path}")).await.problem(404);
    }
}
