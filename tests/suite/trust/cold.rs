//! A root that was never held, with keys configured: its signature is looked at and nothing else, then its entry is shown.

use serde_json::json;

use super::{APK, RPM, key, mend_the_signature, remote, spoil_the_signature};
use crate::snapshots::snapshots;
use crate::support::http::Request;
use crate::support::services::Backend::Laptop;
use crate::support::site::Setup;
use crate::support::testbed::{fixture, generation};
use crate::support::until;
use crate::support::upstream::Upstream;
use crate::support::upstream::fault::Fault;

/// Asked for at the upstream of `it`, so often.
fn asked(upstream: &Upstream, path: &str) -> usize {
    upstream.log().of(&format!("/@it/{path}")).len()
}

/// The entry is answered, and so is its signature, while members are still held back; the snapshot follows when they come.
#[tokio::test(flavor = "multi_thread")]
async fn the_entry_does_not_wait_for_its_members() {
    let setup = Setup::new(Laptop).await;
    let it = remote(&setup, "it", "rpm", &key("KEY-fixtures", "fixtures")).set("cache.index_ttl", "1d");
    let site = setup.remote(it).start().await;
    let member = "rpm/plain-names/repodata/primary.xml.gz";
    let gate = site.upstream.gate(&format!("/@it/{member}"), 0);
    let of = |path: &str| path.replacen("rpm", "it", 1);
    let signature = format!("{RPM}.asc");
    site.server.get(&of(RPM)).await.is(&fixture(1, RPM));
    site.server.get(&of(&signature)).await.is(&fixture(1, &signature));
    gate.reached().await;
    // A client that asks for the member follows the transfer that is under way.
    let (_, reply) = futures_util::future::join(async { gate.open() }, site.server.get(&of(member))).await;
    reply.is(&fixture(1, member));
    snapshots(&site.server, "it/plain-names", 1).await;
    assert_eq!(asked(&site.upstream, &signature), 1, "{:#?}", site.upstream.log().lines());
    assert_eq!(asked(&site.upstream, member), 1, "{:#?}", site.upstream.log().lines());
}

/// A list that is not there when the entry is shown is asked for again when upstream next says that the entry is still the one.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_could_not_be_recorded_is_recorded_later() {
    let setup = Setup::new(Laptop).await;
    let it = remote(&setup, "it", "rpm", &key("KEY-fixtures", "fixtures"));
    let site = setup.remote(it).start().await;
    let member = "rpm/plain-names/repodata/primary.xml.gz";
    site.upstream.spoil(&format!("/@it/{member}"), Fault::Status(404));
    let path = RPM.replacen("rpm", "it", 1);
    site.server.get(&path).await.is(&fixture(1, RPM));
    site.upstream.log().reaches(&format!("/@it/{member}"), 1).await;
    site.upstream.heal();
    until("the snapshot", || async {
        site.server.get(&path).await.is(&fixture(1, RPM));
        let listed = site.server.ask(&Request::get("/snapshots/it")).await;
        String::from_utf8_lossy(&listed.body).contains("repomd.xml").then_some(())
    })
    .await;
}

/// A signature that is wrong is asked for once more, and that is all.
async fn a_wrong_signature_is_refused_promptly(format: &str, index: &str, signature: &str, trusted: &str) {
    let setup = Setup::new(Laptop).await;
    let it = remote(&setup, "it", format, trusted);
    let site = setup.remote(it).start().await;
    let path = index.replacen(format, "it", 1);
    spoil_the_signature(&site, format, index, 1).await;
    let problem = site.server.get(&path).await.problem(502);
    assert!(problem.detail.contains("not trusted"), "{problem:?}");
    assert_eq!((asked(&site.upstream, index), asked(&site.upstream, signature)), (2, 2));
    let others: Vec<_> = site.upstream.log().all().into_iter().map(|seen| seen.path).collect();
    let is_expected = |path: &String| path.ends_with(index) || path.ends_with(signature);
    assert!(others.iter().all(is_expected), "nothing else is asked for: {others:?}");

    mend_the_signature(&site, index, 1);
    site.server.get(&path).await.is(&fixture(1, index));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_rpm_signature_is_refused_promptly() {
    let trusted = key("KEY-fixtures", "fixtures");
    a_wrong_signature_is_refused_promptly("rpm", RPM, &format!("{RPM}.asc"), &trusted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_apk_signature_is_refused_promptly() {
    a_wrong_signature_is_refused_promptly("alpine", APK, APK, &key("fixtures", ".rsa.pub")).await;
}

/// One that is right the second time is taken: upstream was replacing it.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_comes_a_moment_later_is_taken() {
    let setup = Setup::new(Laptop).await;
    let it = remote(&setup, "it", "rpm", &key("KEY-fixtures", "fixtures")).set("cache.index_ttl", "1d");
    let site = setup.remote(it).start().await;
    let signature = format!("{RPM}.asc");
    site.upstream.spoil_times(&format!("/@it/{signature}"), 1, Fault::Corrupt(200));
    site.server.get(&RPM.replacen("rpm", "it", 1)).await.is(&fixture(1, RPM));
    snapshots(&site.server, "it/plain-names", 1).await;
    assert_eq!(asked(&site.upstream, &signature), 2);
}

/// With a mirror nobody waits: it is asked next, and gives both.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_mirror_is_asked_at_once() {
    let setup = Setup::new(Laptop).await;
    let mirror = Upstream::serving(&generation(1)).await;
    let it = remote(&setup, "it", "rpm", &key("KEY-fixtures", "fixtures"))
        .set("mirrors", json!([mirror.url("/@it/rpm")]))
        .set("cache.index_ttl", "1d");
    let site = setup.remote(it).start().await;
    let signature = format!("{RPM}.asc");
    site.upstream.spoil(&format!("/@it/{signature}"), Fault::Corrupt(200));
    site.server.get(&RPM.replacen("rpm", "it", 1)).await.is(&fixture(1, RPM));
    snapshots(&site.server, "it/plain-names", 1).await;
    assert_eq!((asked(&site.upstream, RPM), asked(&site.upstream, &signature)), (1, 1), "once, and not again");
    assert_eq!(asked(&mirror, &signature), 1);
}

/// Where a redirect leads to a folder, what comes is taken for a page and passed on elsewhere; not in place of what must be signed.
#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_page_is_not_passed_on_in_its_place() {
    let setup = Setup::new(Laptop).await;
    let it = remote(&setup, "it", "rpm", &key("KEY-untrusted", "untrusted"));
    let site = setup.remote(it).start().await;
    site.upstream.put("/folder/", fixture(1, RPM));
    let to = site.upstream.url("/@it/folder/");
    site.upstream.spoil(&format!("/@it/{RPM}"), Fault::Redirect(302, to));
    site.server.get(&RPM.replacen("rpm", "it", 1)).await.problem(502);
    assert_eq!(site.upstream.log().of("/@it/folder/").first().map(|seen| seen.status), Some(200));
}
