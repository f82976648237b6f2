//! Bytes that rot on the disk are found, and come back whole.

use std::path::{Path, PathBuf};

use crate::support::http::Request;
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;

const PACKAGE: &str = "rpm/plain-names/Packages/h/hello-1.0-1.el9.x86_64.rpm";
const OTHER: &str = "alpine/v3.22/main/x86_64/hello-1.0-r0.apk";

/// The files below a folder whose names end so.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rots_is_found_and_comes_back() {
    let mut site = Site::on(Laptop).await;
    for path in [PACKAGE, OTHER] {
        site.server.get(path).await.is(&fixture(1, path));
        site.server.holds(path).await;
    }
    site.server.plan.run(&["scrub"]).await.failed_with("another artifactapi uses the data folder");
    site.server.stop().await;
    let clean = site.server.plan.run(&["scrub"]).await.succeeded();
    assert!(clean.contains("2 files") && clean.contains("0 bad"), "{clean}");

    let mut blobs = Vec::new();
    files(&site.server.plan.data().join("blobs"), "hello-1.0-1.el9.x86_64.rpm", &mut blobs);
    assert_eq!(blobs.len(), 1, "{blobs:?}");
    let mut bytes = std::fs::read(&blobs[0]).expect("the blob");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blobs[0], bytes).expect("written");
    site.server.plan.run(&["scrub"]).await.failed_with(&format!("{PACKAGE}: its SHA-256 is"));
    let other = site.server.plan.run(&["scrub", "alpine"]).await.succeeded();
    assert!(other.contains("1 files"), "{other}");
    let mended = site.server.plan.run(&["scrub", "rpm", "--repair"]).await.succeeded();
    assert!(mended.contains("1 bad, 1 of them repaired"), "{mended}");
    let clean = site.server.plan.run(&["scrub"]).await.succeeded();
    assert!(clean.contains("1 files") && clean.contains("0 bad"), "{clean}");
    site.server.plan.run(&["scrub", "nothing"]).await.failed_with("there is no repository");

    site.server.start_again().await;
    site.upstream.log().clear();
    site.server.get(PACKAGE).await.is(&fixture(1, PACKAGE));
    site.server.holds(PACKAGE).await;
    let asked = site.upstream.log().of(&format!("/{PACKAGE}"));
    assert_eq!(asked.iter().filter(|seen| seen.method == "GET").count(), 1);
    site.upstream.stop().await;
    site.server.get(PACKAGE).await.is(&fixture(1, PACKAGE));
}

/// The lists of an index of ours are written when somebody asks for them, so a repository that nobody asked is whole.
#[tokio::test(flavor = "multi_thread")]
async fn lists_that_nobody_asked_for_are_not_missing() {
    let own = Remote::local("own", "rpm").set("root_depth", 2);
    let mut site = Setup::new(Laptop).await.remote(own).start().await;
    let package = "own/el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm";
    let bytes = fixture(1, "rpm/el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm");
    let upload = Request::new("PUT", format!("/api/{package}")).body(bytes.clone()).by_administrator();
    site.server.ask(&upload).await.has(201);
    site.server.stop().await;
    for repair in [&["scrub"][..], &["scrub", "--repair"]] {
        let said = site.server.plan.run(repair).await.succeeded();
        assert!(said.contains("0 bad") && !said.contains("missing"), "{said}");
    }
    // Afterwards they are as they were promised.
    site.server.start_again().await;
    let index = String::from_utf8(site.server.get("own/el9/x86_64/repodata/repomd.xml").await.body).expect("text");
    let list = index.split('"').find(|part| part.ends_with("-primary.xml.gz")).expect("a list");
    site.server.get(&format!("own/el9/x86_64/{list}")).await.has(200);

    // A package of which nothing is left is still what it is.
    site.server.stop().await;
    let mut blobs = Vec::new();
    files(&site.server.plan.data().join("blobs"), "hello-1.0-1.el9.x86_64.rpm", &mut blobs);
    std::fs::remove_file(&blobs[0]).expect("the blob");
    site.server.plan.run(&["scrub"]).await.failed_with(&format!("{package}: its blob is missing"));
}
