//! Nothing is held: each fault, then a healthy upstream, then none.

use futures_util::future::join_all;

use super::*;
use crate::support::services::Backend::{Laptop, Shared};
use crate::support::upstream::Validators;

async fn nothing_wrong_is_kept(backend: Backend, role: Role) {
    let (site, cells, right) = cells(backend, role, &[]).await;
    // Without validators a broken body cannot be resumed: `fills` is about those that can.
    site.upstream.validators(Validators::None);
    // Before the index: once that is held, what it names is fetched in the background.
    cells.iter().for_each(|cell| cell.spoil(&site));
    join_all(cells.iter().map(|cell| cell.prepare(&site))).await;
    join_all(cells.iter().map(|cell| cell.is_answered(&site, &right))).await;
    let loud = || cells.iter().filter(|cell| !cell.fault.is_silence());
    join_all(loud().map(|cell| cell.is_answered(&site, &right))).await;
    for cell in loud().filter(|cell| !matches!(cell.outcome, Outcome::Right)) {
        assert!(site.upstream.log().of(&cell.spoiled).len() > 1, "{}: the failure was kept", cell.what());
    }
    for cell in cells.iter().filter(|cell| cell.is_counted()) {
        cell.counts(&site, cell.is_answered(&site, &right)).await;
    }
    site.upstream.heal();
    join_all(cells.iter().map(|cell| cell.is_right(&site, &right, "upstream healthy again"))).await;
    join_all(cells.iter().map(|cell| site.server.holds(&cell.path))).await;
    site.upstream.stop().await;
    join_all(cells.iter().map(|cell| cell.is_right(&site, &right, "upstream gone"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept_of_an_apk_index() {
    nothing_wrong_is_kept(Laptop, APK_INDEX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept_of_an_adb_index() {
    nothing_wrong_is_kept(Laptop, ADB_INDEX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept_of_an_rpm_index() {
    nothing_wrong_is_kept(Laptop, RPM_INDEX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept_of_a_companion() {
    nothing_wrong_is_kept(Laptop, COMPANION).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept_of_a_member_with_a_digest_in_its_name() {
    nothing_wrong_is_kept(Laptop, HASH_NAMED_MEMBER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept_of_a_member_with_a_plain_name() {
    nothing_wrong_is_kept(Laptop, PLAIN_MEMBER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept_of_an_apk_package() {
    nothing_wrong_is_kept(Laptop, APK_PACKAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept_of_an_rpm_package() {
    nothing_wrong_is_kept(Laptop, RPM_PACKAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept_of_a_file() {
    nothing_wrong_is_kept(Laptop, FILE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept_over_shared_stores() {
    nothing_wrong_is_kept(Shared, RPM_PACKAGE).await;
}
