//! Everything is held and nothing is fresh: whatever upstream does, clients get what is held (DESIGN 4.6).

use futures_util::future::join_all;

use super::*;
use crate::snapshots::snapshots;
use crate::support::services::Backend::Laptop;
use crate::support::upstream::Validators;

async fn what_is_held_is_served(role: Role) {
    let (site, cells, right) = cells(Laptop, role, &[("cache.index_ttl", "0s"), ("cache.file_ttl", "1ms")]).await;
    join_all(cells.iter().map(|cell| cell.is_right(&site, &right, "upstream healthy"))).await;
    join_all(cells.iter().map(|cell| site.server.holds(&cell.path))).await;
    // From now on it does not know what we have, so that each question is answered with a body, and that is spoiled.
    site.upstream.validators(Validators::None);
    cells.iter().for_each(|cell| cell.spoil(&site));
    join_all(cells.iter().map(|cell| async {
        // A file that changed is streamed as it comes: a client may see it break, never end wrongly. It tries again, and
        // is given what is held.
        let streams = matches!(cell.path.rsplit_once('.'), Some((_, "apk" | "rpm" | "bin")));
        for _ in 0..2 {
            let reply = site.server.get(&cell.path).await;
            if !(streams && reply.end == End::Cut) {
                assert!(reply.status == 200 && reply.body == right, "{}: {reply:?}", cell.what());
            } else {
                cell.is_right(&site, &right, "after a break").await;
            }
        }
    }))
    .await;
    site.upstream.stop().await;
    join_all(cells.iter().map(|cell| cell.is_right(&site, &right, "upstream gone"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apk_index_that_is_held_is_served() {
    what_is_held_is_served(APK_INDEX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adb_index_that_is_held_is_served() {
    what_is_held_is_served(ADB_INDEX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpm_index_that_is_held_is_served() {
    what_is_held_is_served(RPM_INDEX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apk_package_that_is_held_is_served() {
    what_is_held_is_served(APK_PACKAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpm_package_that_is_held_is_served() {
    what_is_held_is_served(RPM_PACKAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_held_is_served() {
    what_is_held_is_served(FILE).await;
}

/// A slow upstream costs a client `refresh_wait` and no more; what it was given is marked, and the news come later.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_refresh_is_not_waited_for() {
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).set("cache.refresh_wait", "100ms").start().await;
    let (path, index) = ("alpine/v3.22/main/x86_64/APKINDEX.tar.gz", "/alpine/v3.22/main/x86_64/APKINDEX.tar.gz");
    let [old, new] = [1, 2].map(|number| fixture(number, path));
    site.server.get(path).await.is(&old);
    site.server.holds(path).await;
    site.switch_to(2);
    let gate = site.upstream.gate(index, 100);
    for _ in 0..3 {
        let reply = site.server.get(path).await;
        reply.is(&old);
        assert!(reply.must("cache-status").contains("ttl=-1"), "{:?}", reply.head);
        assert_eq!(reply.must("x-artifact-source"), "cache");
    }
    gate.reached().await;
    gate.open();
    let has_the_news = || async { (site.server.get(path).await.body == new).then_some(()) };
    until("the new index", has_the_news).await;
    site.server.get(path).await.is(&new);
}

/// After a failure upstream is left alone for a while, then asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_index_recovers() {
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).start().await;
    let path = "rpm/el9/x86_64/repodata/repomd.xml";
    site.server.get(path).await.is(&fixture(1, path));
    site.server.holds(path).await;
    snapshots(&site.server, "rpm/el9/x86_64", 1).await;
    site.upstream.spoil("*", Fault::Status(503));
    site.upstream.log().clear();
    for _ in 0..20 {
        site.server.get(path).await.is(&fixture(1, path));
    }
    let asked = site.upstream.log().all().len();
    assert!(asked <= 2, "an upstream in trouble was asked {asked} times for 20 requests");
    site.upstream.heal();
    site.switch_to(2);
    let new = fixture(2, path);
    let has_the_news = || async { (site.server.get(path).await.body == new).then_some(()) };
    until("the new index", has_the_news).await;
}

/// A companion or member with a plain name is right for one index only: while it cannot be had, the index stays what it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_index_is_not_served() {
    const SIGNATURE: &str = "repomd.xml.asc";
    const MEMBER: &str = "primary.xml.gz";
    let cases: [(Fault, &[&str]); 5] = [
        (Fault::Status(503), &[SIGNATURE, MEMBER]),
        (Fault::Reset(10), &[SIGNATURE, MEMBER]),
        (Fault::Page, &[SIGNATURE, MEMBER]),
        (Fault::Silent, &[SIGNATURE, MEMBER]),
        // Of a member the index says what it is; upstream cannot say that it is still the old one.
        (Fault::NotModified, &[MEMBER]),
    ];
    for (fault, members) in cases {
        let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).set("idle_timeout", "2s").start().await;
        let path = |name: &str| format!("rpm/plain-names/repodata/{name}");
        for name in [&["repomd.xml"], members].concat() {
            site.server.get(&path(name)).await.is(&fixture(1, &path(name)));
            site.server.holds(&path(name)).await;
        }
        site.switch_to(2);
        for name in members {
            site.upstream.spoil(&format!("/{}", path(name)), fault.clone());
        }
        // A body that breaks off is resumed, so that fault is overcome; with the others nothing of the new index is shown.
        let entry = site.server.get(&path("repomd.xml")).await;
        let shown =
            if matches!(fault, Fault::Reset(_)) && entry.body == fixture(2, &path("repomd.xml")) { 2 } else { 1 };
        for name in [&["repomd.xml"], members].concat() {
            site.server.get(&path(name)).await.is(&fixture(shown, &path(name)));
        }
        site.upstream.heal();
        let switched = || async {
            let entry = site.server.get(&path("repomd.xml")).await;
            (entry.body == fixture(2, &path("repomd.xml"))).then_some(())
        };
        until(format!("the new index, with {fault:?} over"), switched).await;
        for name in members {
            site.server.get(&path(name)).await.is(&fixture(2, &path(name)));
        }
    }
}
