//! An index and a file that contradict each other: the file is not given out, and the index is asked about at once, however
//! long it was to stay fresh. A file that the index names, however, is what clients are given, whatever upstream has by now.

use crate::snapshots::snapshots;
use crate::support::http::End;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;
use crate::support::upstream::fault::Fault;

const FOLDER: &str = "rpm/el9/x86_64";

async fn a_contradicted_index_is_asked_about(backend: Backend) {
    let site = Site::on(backend).await;
    let index = format!("{FOLDER}/repodata/repomd.xml");
    let content = fixture(1, &index);
    site.server.get(&index).await.is(&content);
    snapshots(&site.server, FOLDER, 1).await;
    site.upstream.log().clear();
    site.server.get(&index).await.is(&content);
    assert!(site.upstream.log().all().is_empty(), "it is fresh");

    let package = format!("{FOLDER}/Packages/h/hello-1.0-1.el9.x86_64.rpm");
    site.upstream.spoil(&format!("/{package}"), Fault::Corrupt(1_000));
    let damaged = site.server.get(&package).await;
    assert!(damaged.status == 502 || damaged.end == End::Cut, "{:?}", damaged.head);

    let asked = || site.upstream.log().of(&format!("/{index}")).iter().map(|seen| seen.status).collect::<Vec<_>>();
    until("the index to be asked about", || async { (asked() == [304]).then_some(()) }).await;
    // It was right; the next request for the file finds it mended.
    site.server.get(&index).await.is(&content);
    assert_eq!(asked(), [304], "it is fresh again");
    site.upstream.heal();
    site.server.get(&package).await.is(&fixture(1, &package));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradicted_index_is_asked_about_at_once() {
    a_contradicted_index_is_asked_about(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradicted_index_is_asked_about_at_once_over_shared_stores() {
    a_contradicted_index_is_asked_about(Shared).await;
}

/// The package's time is over and its index's is not; upstream has built it again meanwhile.
async fn what_the_held_index_names_stays(backend: Backend, index: &str, package: &str) {
    let mut site = Setup::new(backend).await.set("cache.file_ttl", "1ms").start().await;
    let [old, new] = [1, 2].map(|number| fixture(number, package));
    assert_ne!(old, new);
    site.server.get(index).await.is(&fixture(1, index));
    snapshots(&site.server, index, 1).await;
    site.server.get(package).await.is(&old);
    site.server.holds(package).await;
    site.upstream.put(&format!("/{package}"), new);
    site.upstream.log().clear();
    for _ in 0..5 {
        let reply = site.server.get(package).await;
        reply.is(&old);
        assert_eq!(reply.must("x-artifact-source"), "cache");
    }
    assert_eq!(site.upstream.log().lines(), [] as [String; 0], "the index says what it is");
    // Its record is what it was.
    site.upstream.stop().await;
    site.server.stop().await;
    site.server.start_again().await;
    site.server.get(package).await.is(&old);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpm_package_stays_what_its_held_index_names() {
    let package = format!("{FOLDER}/Packages/r/rebuilt-1.0-1.el9.x86_64.rpm");
    what_the_held_index_names_stays(Laptop, &format!("{FOLDER}/repodata/repomd.xml"), &package).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apk_package_stays_what_its_held_index_names_over_shared_stores() {
    const MAIN: &str = "alpine/v3.22/main/x86_64";
    let package = format!("{MAIN}/rebuilt-1.0-r0.apk");
    what_the_held_index_names_stays(Shared, &format!("{MAIN}/APKINDEX.tar.gz"), &package).await;
}
