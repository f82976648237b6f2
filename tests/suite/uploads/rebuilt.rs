//! The catalog is lost, and what was uploaded can be installed again.

use super::{apk, delete, json, put, rpm};
use crate::support::clients::{Apk, Dnf};
use crate::support::http::Request;
use crate::support::made::apk_v3;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::Site;
use crate::support::testbed::fixture;

const RPMS: &str = "own/el9/x86_64/Packages";
const APKS: &str = "own/v3.22/main/x86_64";
const COMPS: &[u8] = b"<?xml version=\"1.0\"?>\n<comps/>\n";

/// Ends the server, takes its catalog away, and has it made anew of the store. What the command said.
async fn lose_the_catalog(site: &mut Site) -> String {
    site.server.stop().await;
    let data = site.server.plan.data();
    match &site.services {
        None => {
            for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
                let _ = std::fs::remove_file(data.join(name));
            }
        }
        Some(services) => {
            let name =
                services.postgres.environment().into_iter().find(|(name, _)| *name == "DBNAME").expect("a name").1;
            services.postgres.sql(&name, "drop schema public cascade; create schema public").await;
        }
    }
    // The pieces of indexes were on this machine only.
    std::fs::remove_dir_all(data.join("publish")).expect("the folder of pieces");
    let said = site.server.plan.run(&["rebuild-catalog"]).await.succeeded();
    let left = std::fs::read_dir(&data).expect("the data folder").map(|entry| entry.expect("an entry").file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("rebuild-")), "its folder is gone");
    said
}

async fn rpms_come_back(backend: Backend) {
    let (mut site, public) = rpm::site(backend).await;
    for name in ["h/hello-1.0-1.el9.x86_64.rpm", "h/hello-libs-1.0-1.el9.x86_64.rpm", "b/big-1.0-1.el9.x86_64.rpm"] {
        put(&site.server, &format!("{RPMS}/{name}"), &fixture(1, &format!("rpm/el9/x86_64/Packages/{name}")))
            .await
            .has(201);
    }
    put(&site.server, "own/el9/x86_64/repodata/comps.xml", COMPS).await.has(201);
    let said = lose_the_catalog(&mut site).await;
    assert!(said.contains("4 uploaded packages are listed again, 0 cannot be"), "{said}");

    site.server.start_again().await;
    site.server.get("own/el9/x86_64/repodata/comps.xml").await.is(COMPS);
    let repomd = site.server.get("own/el9/x86_64/repodata/repomd.xml").await;
    assert!(String::from_utf8_lossy(&repomd.body).contains("type=\"group\""), "{repomd:?}");
    let url = format!("http://{}/api/own/el9/x86_64", site.server.address());
    let dnf = Dnf::trusting(&site.run, "dnf", &url, &public);
    dnf.run(&["install", "hello", "big"]).await.succeeded();
    assert_eq!(dnf.installed("hello").await, "hello-1.0-1.el9.x86_64");
    assert_eq!(dnf.installed("big").await, "big-1.0-1.el9.x86_64");
    // It goes on from there.
    delete(&site.server, &format!("{RPMS}/b/big-1.0-1.el9.x86_64.rpm")).await.has(200);
    gone(&site, "one who was not given the index before").await;

    // With nothing lost nothing comes back that was removed, and no new index is published.
    let before = site.server.get("own/el9/x86_64/repodata/repomd.xml").await.body;
    site.server.stop().await;
    let said = site.server.plan.run(&["rebuild-catalog"]).await.succeeded();
    assert!(said.contains("0 uploaded packages are listed again, 0 cannot be"), "{said}");
    site.server.start_again().await;
    site.server.get("own/el9/x86_64/repodata/repomd.xml").await.is(&before);
    gone(&site, "another one").await;
}

/// The package that was deleted is not to be had by a client of that name.
async fn gone(site: &Site, client: &str) {
    let request = Request::get(format!("/api/{RPMS}/b/big-1.0-1.el9.x86_64.rpm")).with("User-Agent", client);
    site.server.ask(&request).await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn rpms_come_back_on_a_laptop() {
    rpms_come_back(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rpms_come_back_over_shared_stores() {
    rpms_come_back(Shared).await;
}

async fn apks_come_back(backend: Backend) {
    let (mut site, trusted) = apk::site(backend).await;
    for name in ["hello-1.0-r0.apk", "hello-libs-1.0-r0.apk", "big-1.0-r0.apk"] {
        put(&site.server, &format!("{APKS}/{name}"), &fixture(1, &format!("alpine/v3.22/main/x86_64/{name}")))
            .await
            .has(201);
    }
    // Those of version 3 lie between the others, and are listed in an index of their own.
    for name in ["app", "data", "zeta"] {
        let package = apk_v3(&site.run, &[&format!("name:{name}"), "version:1", "arch:x86_64"]).await;
        put(&site.server, &format!("{APKS}/{name}-1.apk"), &package).await.has(201);
    }
    let said = lose_the_catalog(&mut site).await;
    assert!(said.contains("6 uploaded packages are listed again, 0 cannot be"), "{said}");
    site.server.start_again().await;
    for index in ["APKINDEX.tar.gz", "Packages.adb"] {
        let past = json(&site.server.ask(&Request::get(format!("/snapshots/{APKS}/{index}"))).await);
        assert_eq!(past["snapshots"].as_array().map(Vec::len), Some(1), "published together: {past}");
    }
    let url = format!("http://{}/api/own/v3.22/main", site.server.address());
    let lines = [format!("v3 {url}"), url];
    let mut apk = Apk::with(&site.run, "root", &lines, trusted);
    apk.run(&["add", "hello", "big", "app", "zeta"]).await.succeeded();
    assert_eq!(apk.installed("app").as_deref(), Some("1"));
    assert_eq!(apk.installed("zeta").as_deref(), Some("1"));
    assert_eq!(apk.installed("big").as_deref(), Some("1.0-r0"));
    assert_eq!(apk.installed("hello").as_deref(), Some("1.0-r0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn apks_come_back_on_a_laptop() {
    apks_come_back(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apks_come_back_over_shared_stores() {
    apks_come_back(Shared).await;
}
