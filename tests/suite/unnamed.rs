//! Packages that were fetched by their path before any index was known that names them.
//!
//! Their records do not say what they are. When an index comes, their bytes are compared with what it says: what was built again
//! meanwhile is fetched anew, and what is the same is not.

use crate::snapshots::snapshots;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;
use crate::trust::key;

/// `folder` has a package of that name in both generations, another in each, and others that are the same.
async fn what_was_fetched_before_its_index(backend: Backend, folder: &str, index: &str, rebuilt: &str, same: &[&str]) {
    let mut site = Site::on(backend).await;
    let of = |name: &str| format!("{folder}/{name}");
    for name in [&[rebuilt], same].concat() {
        site.server.get(&of(name)).await.is(&fixture(1, &of(name)));
        site.server.holds(&of(name)).await;
    }
    site.switch_to(2);
    let entry = of(index);
    site.server.get(&entry).await.is(&fixture(2, &entry));
    snapshots(&site.server, &entry, 1).await;
    site.upstream.log().clear();
    let asked = |site: &Site, name: &str| site.upstream.log().of(&format!("/{}", of(name))).len();
    // The snapshot is there a moment before this server has taken notice of it.
    until("the package as it is now", || async {
        (site.server.get(&of(rebuilt)).await.body == fixture(2, &of(rebuilt))).then_some(())
    })
    .await;
    site.server.get(&of(rebuilt)).await.is(&fixture(2, &of(rebuilt)));
    for name in same {
        site.server.get(&of(name)).await.is(&fixture(1, &of(name)));
    }
    // What was found out stays known: another server over the same stores, or the same one later, asks nobody.
    let again = match backend {
        Laptop => {
            site.server.stop().await;
            site.server.start_again().await;
            None
        }
        Shared => Some(site.replica().await),
    };
    let server = again.as_ref().unwrap_or(&site.server);
    server.get(&of(rebuilt)).await.is(&fixture(2, &of(rebuilt)));
    for name in same {
        server.get(&of(name)).await.is(&fixture(1, &of(name)));
        assert_eq!(asked(&site, name), 0, "{name} did not change");
    }
    assert_eq!(asked(&site, rebuilt), 1, "{:#?}", site.upstream.log().lines());
}

const MAIN: &str = "alpine/v3.22/main/x86_64";
const SAME: [&str; 3] = ["hello-libs-1.0-r0.apk", "unsigned-1.0-r0.apk", "big-1.0-r0.apk"];

#[tokio::test(flavor = "multi_thread")]
async fn an_apk_package_is_compared_when_its_index_comes() {
    what_was_fetched_before_its_index(Laptop, MAIN, "APKINDEX.tar.gz", "rebuilt-1.0-r0.apk", &SAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apk_package_in_shared_stores_is_compared_when_its_index_comes() {
    what_was_fetched_before_its_index(Shared, MAIN, "APKINDEX.tar.gz", "rebuilt-1.0-r0.apk", &SAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v3_package_is_compared_when_its_index_comes() {
    what_was_fetched_before_its_index(Laptop, "alpine/feed/x86_64", "packages.adb", "rebuilt-1.0-r0.apk", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpm_package_is_compared_when_its_index_comes() {
    let same = ["Packages/h/hello-libs-1.0-1.el9.x86_64.rpm"];
    let rebuilt = "Packages/r/rebuilt-1.0-1.el9.x86_64.rpm";
    what_was_fetched_before_its_index(Laptop, "rpm/el9/x86_64", "repodata/repomd.xml", rebuilt, &same).await;
}

/// With keys configured nobody is given the old one beside the new index, not even for a moment: it waits until it is known what
/// the index says.
#[tokio::test(flavor = "multi_thread")]
async fn with_keys_the_old_package_is_not_given_beside_the_new_index() {
    let setup = Setup::new(Laptop).await.set("trusted_keys", serde_json::json!([key("fixtures", ".rsa.pub")]));
    let site = setup.only("alpine").start().await;
    let (entry, rebuilt) = (format!("{MAIN}/APKINDEX.tar.gz"), format!("{MAIN}/rebuilt-1.0-r0.apk"));
    // Often enough that it is answered in the shortest way there is.
    for _ in 0..10 {
        site.server.get(&rebuilt).await.is(&fixture(1, &rebuilt));
    }
    site.switch_to(2);
    site.server.get(&entry).await.is(&fixture(2, &entry));
    site.server.get(&rebuilt).await.is(&fixture(2, &rebuilt));
}
