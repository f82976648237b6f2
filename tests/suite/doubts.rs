//! An index and a file that contradict each other: the file is not given out, and the index is asked about at once, however
//! long it was to stay fresh.

use crate::snapshots::snapshots;
use crate::support::http::End;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::Site;
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
