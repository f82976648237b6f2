//! An index and a file that contradict each other: the file is not given out, and the index is asked about at once, however
//! long it was to stay fresh.

use crate::support::http::End;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::Site;
use crate::support::testbed::fixture;
use crate::support::upstream::fault::Fault;

const FOLDER: &str = "rpm/el9/x86_64";

async fn a_contradicted_index_is_asked_about(backend: Backend) {
    let site = Site::on(backend).await;
    let index = format!("{FOLDER}/repodata/repomd.xml");
    let content = fixture(1, &index);
    site.server.get(&index).await.is(&content);
    site.server.holds(&index).await;
    site.server.get(&index).await.is(&content);
    assert_eq!(site.upstream.log().of(&format!("/{index}")).len(), 1, "it is fresh");

    let text = String::from_utf8(content.clone()).expect("text");
    let (_, rest) = text.split_once("<data type=\"primary\">").expect("primary");
    let member = rest.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("where it is");
    let member = format!("{FOLDER}/{member}");
    site.upstream.spoil(&format!("/{member}"), Fault::Corrupt(100));
    let damaged = site.server.get(&member).await;
    assert!(damaged.status == 502 || damaged.end == End::Cut, "{:?}", damaged.head);

    site.server.get(&index).await.is(&content);
    let asked = site.upstream.log().of(&format!("/{index}"));
    assert_eq!(asked.iter().map(|seen| seen.status).collect::<Vec<_>>(), [200, 304]);
    // It was right; the next request for the file finds it mended.
    site.server.get(&index).await.is(&content);
    assert_eq!(site.upstream.log().of(&format!("/{index}")).len(), 2, "it is fresh again");
    site.upstream.heal();
    site.server.get(&member).await.is(&fixture(1, &member));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradicted_index_is_asked_about_at_once() {
    a_contradicted_index_is_asked_about(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradicted_index_is_asked_about_at_once_over_shared_stores() {
    a_contradicted_index_is_asked_about(Shared).await;
}
