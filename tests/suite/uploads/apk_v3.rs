//! Packages of version 3 for apk: uploaded, and installable by the next client; beside those of version 2, and in their place.

use std::path::PathBuf;

use serde_json::json;

use super::{apk, delete, json, put};
use crate::support::clients::Apk;
use crate::support::http::{Reply, Request};
use crate::support::keys;
use crate::support::made::{self, apk_v3, listed};
use crate::support::process::{clean, run};
use crate::support::remotes::Remote;
use crate::support::run::Run;
use crate::support::server::{ADMINISTRATOR, Server};
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::Setup;
use crate::support::testbed::tool;
use crate::support::until;

const FOLDER: &str = "own/v3.22/main/x86_64";

/// A client that looks for indexes of both versions.
fn client(of: &Run, name: &str, server: &Server, trusted: PathBuf) -> Apk {
    let url = format!("http://{}/api/own/v3.22/main", server.address());
    Apk::with(of, name, &[format!("v3 {url}"), url], trusted)
}

/// The names and versions that an index of version 3 lists, as apk reads it.
async fn listed_v3(of: &Run, index: &[u8]) -> Vec<String> {
    let file = of.path("listed.adb");
    std::fs::write(&file, index).expect("written");
    let mut command = clean(tool("APK"));
    command.arg("adbdump").arg(file);
    let dump = run(command).await.succeeded();
    let value = |line: &str, key: &str| {
        line.trim_start().trim_start_matches("- ").strip_prefix(key).map(|value| value.trim_matches('\'').to_owned())
    };
    let names = dump.lines().filter_map(|line| value(line, "name: "));
    let versions = dump.lines().filter_map(|line| value(line, "version: "));
    names.zip(versions).map(|(name, version)| format!("{name}-{version}")).collect()
}

async fn what_was_uploaded_is_installed(backend: Backend) {
    let (mut site, trusted) = apk::site(backend).await;
    let app = apk_v3(&site.run, &["name:app", "version:2.0-r0", "arch:x86_64", "depends:data>=1"]).await;
    let data = apk_v3(&site.run, &["name:data", "version:1-r0", "arch:noarch"]).await;
    let reply = put(&site.server, &format!("{FOLDER}/app-2.0-r0.apk"), &app).await;
    reply.has(201);
    assert!(json(&reply)["snapshot"].as_i64().is_some(), "{}", json(&reply));
    put(&site.server, &format!("{FOLDER}/data-1-r0.apk"), &data).await.has(201);
    put(&site.server, &format!("{FOLDER}/data-1-r0.apk"), &data).await.has(200);
    site.server.get(&format!("{FOLDER}/APKINDEX.tar.gz")).await.problem(404);

    let other = if backend == Shared { Some(site.replica().await) } else { None };
    let server = other.as_ref().unwrap_or(&site.server);
    let only_v3 = [format!("v3 http://{}/api/own/v3.22/main", server.address())];
    let mut first = Apk::with(&site.run, "first", &only_v3, trusted.clone());
    first.run(&["add", "app"]).await.succeeded();
    assert_eq!(first.installed("app").as_deref(), Some("2.0-r0"));
    assert_eq!(first.installed("data").as_deref(), Some("1-r0"));
    let stranger = site.run.folder("nobody");
    let mut distrustful = Apk::with(&site.run, "distrustful", &only_v3, stranger);
    assert!(
        !distrustful.run(&["add", "app"]).await.status.success(),
        "the index is signed by a key that it does not know"
    );

    // Packages of both versions lie in one folder, each in its index.
    let old = made::apk("old", "1.0-r0", 1);
    put(&site.server, &format!("{FOLDER}/old-1.0-r0.apk"), &old).await.has(201);
    assert_eq!(listed(&server.get(&format!("{FOLDER}/APKINDEX.tar.gz")).await.body), ["old-1.0-r0.apk"]);
    let index = server.get(&format!("{FOLDER}/Packages.adb")).await;
    assert_eq!(listed_v3(&site.run, &index.body).await, ["app-2.0-r0", "data-1-r0"]);
    let mut both = client(&site.run, "both", server, trusted.clone());
    both.run(&["--allow-untrusted", "add", "app", "old"]).await.succeeded();
    assert_eq!(both.installed("old").as_deref(), Some("1.0-r0"));

    // What is deleted is in the index no more, and nobody can have it; who names the snapshot before still can.
    delete(&site.server, &format!("{FOLDER}/app-2.0-r0.apk")).await.has(200);
    let stranger = Request::get(format!("/api/{FOLDER}/app-2.0-r0.apk")).with("User-Agent", "was not given an index");
    // Another replica hears of it a moment later.
    until("the package to be gone", || async { (server.ask(&stranger).await.status == 404).then_some(()) }).await;
    let mut late = client(&site.run, "late", server, trusted.clone());
    let refused = late.run(&["add", "app"]).await;
    assert!(!refused.status.success(), "{}", refused.output);
    let mut data_only = client(&site.run, "data", server, trusted.clone());
    data_only.run(&["add", "data"]).await.succeeded();
    let past = json(&server.ask(&Request::get(format!("/snapshots/{FOLDER}/Packages.adb"))).await);
    let snapshots = past["snapshots"].as_array().expect("snapshots").clone();
    assert_eq!(snapshots.len(), 3, "{past}");
    let then = format!("own@{}/v3.22/main/x86_64", snapshots[1]["id"]);
    server.get(&format!("{then}/app-2.0-r0.apk")).await.is(&app);
    server.get(&format!("{then}/Packages.adb")).await.is(&index.body);
    let url = format!("http://{}/api/own@{}/v3.22/main", server.address(), snapshots[1]["id"]);
    let mut earlier = Apk::with(&site.run, "earlier", &[format!("v3 {url}")], trusted);
    earlier.run(&["add", "app"]).await.succeeded();
    // An index of nothing is one all the same.
    delete(&site.server, &format!("{FOLDER}/data-1-r0.apk")).await.has(200);
    let index = server.get(&format!("{FOLDER}/Packages.adb")).await;
    assert_eq!(listed_v3(&site.run, &index.body).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_is_installed_on_a_laptop() {
    what_was_uploaded_is_installed(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_is_installed_over_shared_stores() {
    what_was_uploaded_is_installed(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_package_is_refused() {
    let (site, _) = apk::site(Laptop).await;
    let right = apk_v3(&site.run, &["name:app", "version:1", "arch:x86_64"]).await;
    let lines = apk_v3(&site.run, &["name:app", "version:1", "arch:x86_64", "description:one\nP:two"]).await;
    let (half, mut damaged) = (right[..right.len() / 2].to_vec(), right.clone());
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let refused: [(&str, &[u8], u16); 6] = [
        ("app-1.apk", &half, 422),
        ("app-1.apk", &damaged, 422),
        ("app-1.apk", &lines, 422),
        ("other-1.apk", &right, 422),
        ("Packages.adb", &right, 400),
        ("own.adb", &right, 400),
    ];
    for (name, body, status) in refused {
        let problem = put(&site.server, &format!("{FOLDER}/{name}"), body).await.problem(status);
        assert!(!problem.detail.is_empty(), "{problem:?}");
        site.server.get(&format!("{FOLDER}/{name}")).await.problem(404);
    }
    put(&site.server, "own/v3.22/main/aarch64/app-1.apk", &right).await.problem(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_path_is_one_package() {
    let (site, _) = apk::site(Laptop).await;
    let path = format!("{FOLDER}/app-1.0-r0.apk");
    let newer = apk_v3(&site.run, &["name:app", "version:1.0-r0", "arch:x86_64"]).await;
    let older = made::apk("app", "1.0-r0", 1);
    put(&site.server, &path, &older).await.has(201);
    put(&site.server, &path, &newer).await.problem(409);
    site.server.get(&path).await.is(&older);
    site.server.get(&format!("{FOLDER}/Packages.adb")).await.problem(404);
    delete(&site.server, &path).await.has(200);
    put(&site.server, &path, &newer).await.has(201);
    put(&site.server, &path, &older).await.problem(409);
    site.server.get(&path).await.is(&newer);
}

#[track_caller]
fn is_replaced(reply: &Reply) {
    reply.has(201);
    assert_eq!(json(reply)["result"], "replaced");
}

async fn one_takes_the_place_of_the_other(backend: Backend) {
    let setup = Setup::new(backend).await;
    let (secret, _) = keys::for_apk(&setup).await;
    let own = Remote::local("own", "alpine").set("signing_keys", json!([secret])).set("overwrite", true);
    let mut site = setup.remote(own).start().await;
    let other = if backend == Shared { Some(site.replica().await) } else { None };
    let server = other.as_ref().unwrap_or(&site.server);
    let path = format!("{FOLDER}/app-1.0-r0.apk");
    let newer = apk_v3(&site.run, &["name:app", "version:1.0-r0", "arch:x86_64"]).await;
    let older = made::apk("app", "1.0-r0", 1);
    let indexes = async || {
        let v2 = server.get(&format!("{FOLDER}/APKINDEX.tar.gz")).await;
        let v3 = server.get(&format!("{FOLDER}/Packages.adb")).await;
        let v3 = if v3.status == 200 { listed_v3(&site.run, &v3.body).await } else { Vec::new() };
        (listed(&v2.body), v3)
    };
    put(&site.server, &path, &older).await.has(201);
    server.get(&path).await.is(&older);
    for _ in 0..2 {
        is_replaced(&put(&site.server, &path, &newer).await);
        assert_eq!(indexes().await, (vec![], vec!["app-1.0-r0".to_owned()]));
        server.get(&path).await.is(&newer);
        is_replaced(&put(&site.server, &path, &older).await);
        assert_eq!(indexes().await, (vec!["app-1.0-r0.apk".to_owned()], vec![]));
        server.get(&path).await.is(&older);
    }
    is_replaced(&put(&site.server, &path, &newer).await);
    delete(&site.server, &path).await.has(200);
    assert_eq!(indexes().await, (vec![], vec![]));
    server.ask(&Request::get(format!("/api/{path}")).with("User-Agent", "was not given an index")).await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_takes_the_place_of_the_other_on_a_laptop() {
    one_takes_the_place_of_the_other(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_takes_the_place_of_the_other_over_shared_stores() {
    one_takes_the_place_of_the_other(Shared).await;
}

/// Many at once, of both versions: whatever is acknowledged is listed where it belongs, and a path never twice.
#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_uploaded_together() {
    let (site, _) = apk::site(Laptop).await;
    let mut bodies = Vec::new();
    for number in 0..12_u32 {
        let (name, version) = (format!("p{number}"), "1.0-r0");
        let newer = apk_v3(&site.run, &[&format!("name:{name}"), &format!("version:{version}"), "arch:x86_64"]).await;
        let path = format!("{FOLDER}/{name}-{version}.apk");
        bodies.push((path.clone(), made::apk(&name, version, number)));
        bodies.push((path, newer));
    }
    let server = &site.server;
    let sending = bodies.iter().map(|(path, body)| async move { (put(server, path, body).await.status, path, body) });
    let mut taken = Vec::new();
    for (status, path, body) in futures_util::future::join_all(sending).await {
        assert!(status == 201 || status == 409, "{status}");
        if status == 201 {
            site.server.get(path).await.is(body);
            taken.push((path.rsplit_once('/').expect("a folder").1.to_owned(), body.starts_with(b"ADB")));
        }
    }
    assert_eq!(taken.len(), 12, "one of each two: {taken:?}");
    let of = |version: bool| {
        let mut names: Vec<_> =
            taken.iter().filter(|(_, newer)| *newer == version).map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    let mut v2 = match site.server.get(&format!("{FOLDER}/APKINDEX.tar.gz")).await {
        reply if reply.status == 200 => listed(&reply.body),
        _ => Vec::new(),
    };
    v2.sort();
    let mut v3: Vec<_> = match site.server.get(&format!("{FOLDER}/Packages.adb")).await {
        reply if reply.status == 200 => listed_v3(&site.run, &reply.body).await,
        _ => Vec::new(),
    };
    v3.iter_mut().for_each(|name| name.push_str(".apk"));
    v3.sort();
    assert_eq!((v2, v3), (of(false), of(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_both_versions_moves_here() {
    let (site, trusted) = apk::site(Laptop).await;
    let folder = site.run.folder("packages");
    let newer = apk_v3(&site.run, &["name:app", "version:1", "arch:noarch"]).await;
    std::fs::write(folder.join("app-1.apk"), newer).expect("written");
    std::fs::write(folder.join("old-1.0-r0.apk"), made::apk("old", "1.0-r0", 1)).expect("written");
    std::fs::write(folder.join("Packages.adb"), b"ADB.indx").expect("written");
    let folder = folder.display().to_string();
    let arguments = ["import", "own", &folder, "--to", "v3.22/main/x86_64"];
    let said = run(site.server.plan.command(&arguments)).await.succeeded();
    assert!(!said.contains(ADMINISTRATOR) && said.contains("2 files: 2 created"), "{said}");
    let mut both = client(&site.run, "both", &site.server, trusted);
    both.run(&["--allow-untrusted", "add", "app", "old"]).await.succeeded();
}
