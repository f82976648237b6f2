//! Mirrors are tried in turn: what one does not give, or gives wrongly, another does.

use futures_util::future::join_all;
use serde_json::json;

use super::*;
use crate::support::services::Backend::Laptop;
use crate::support::upstream::Validators;

/// Every fault on the first source; the second is well.
async fn a_mirror_helps(role: Role) {
    let mut setup = Setup::new(Laptop).await;
    setup.upstream.validators(Validators::None);
    let right = fixture(1, role.path);
    let (folder, below) = role.path.split_once('/').expect("a folder");
    let mut cells = Vec::new();
    for (number, fault) in faults(right.len() as u64, role.path, &setup.upstream).into_iter().enumerate() {
        let Some(outcome) = outcome(&fault, role.known) else { continue };
        if outcome == Outcome::Passed {
            continue;
        }
        let name = format!("cell-{number}");
        let source = |which| setup.upstream.url(&format!("/@{which}-{name}/{folder}"));
        let mut remote = Remote::new(&name, role.package, source("base")).set("mirrors", json!([source("mirror")]));
        if fault.is_silence() {
            remote = impatient(remote);
        }
        let (spoiled, path) = (format!("/@base-{name}/{}", role.path), format!("{name}/{below}"));
        setup.upstream.spoil(&spoiled, fault.clone());
        setup = setup.remote(remote);
        let index = role.index.map(|index| format!("{name}/{}", index.split_once('/').expect("a folder").1));
        cells.push(Cell { fault, outcome, spoiled, path, index });
    }
    let site = setup.start().await;
    let ask = async |cell: &Cell| {
        cell.prepare(&site).await;
        // Who has bytes of one source cannot go on with another: that answer is cut, and the next comes from the mirror.
        let reply = site.server.get(&cell.path).await;
        let right = reply.status == 200 && (reply.end == End::Cut || reply.body == right);
        assert!(right, "{}: {:?} {}", cell.what(), reply.head, String::from_utf8_lossy(&reply.body));
    };
    let (counted, others): (Vec<_>, Vec<_>) = cells.iter().partition(|cell| cell.is_counted());
    join_all(others.into_iter().map(&ask)).await;
    for cell in counted {
        cell.counts(&site, ask(cell)).await;
    }
    join_all(cells.iter().map(|cell| cell.is_right(&site, &right, "with a mirror"))).await;
    join_all(cells.iter().map(|cell| site.server.holds(&cell.path))).await;
    site.upstream.stop().await;
    join_all(cells.iter().map(|cell| cell.is_right(&site, &right, "upstream gone"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_helps_with_an_apk_index() {
    a_mirror_helps(APK_INDEX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_helps_with_an_rpm_index() {
    a_mirror_helps(RPM_INDEX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_helps_with_a_companion() {
    a_mirror_helps(COMPANION).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_helps_with_a_member_with_a_plain_name() {
    a_mirror_helps(PLAIN_MEMBER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_helps_with_an_apk_package() {
    a_mirror_helps(APK_PACKAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_helps_with_a_member_with_a_digest_in_its_name() {
    a_mirror_helps(HASH_NAMED_MEMBER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_helps_with_an_rpm_package() {
    a_mirror_helps(RPM_PACKAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_helps_with_a_file() {
    a_mirror_helps(FILE).await;
}

/// Nobody listens at the first, the second has nothing, the third answers; then none does.
#[tokio::test(flavor = "multi_thread")]
async fn sources_are_asked_in_their_order() {
    let setup = Setup::new(Laptop).await;
    let nobody = Upstream::serving(&setup.run.folder("nothing")).await;
    nobody.stop().await;
    let remote = Remote::new("some", "generic", nobody.url("/a"))
        .set("mirrors", json!([setup.upstream.url("/@empty/nothing"), setup.upstream.url("/@third/generic")]))
        .set("cache.negative_ttl", 0);
    let site = setup.remote(remote).start().await;
    let right = fixture(1, "generic/10k.bin");
    site.server.get("some/10k.bin").await.is(&right);
    assert_eq!(site.upstream.log().lines(), ["GET /@empty/nothing/10k.bin 404", "GET /@third/generic/10k.bin 200"]);
    // One that cannot be reached may have it: that is no 404.
    let problem = site.server.get("some/nothing.bin").await.problem(502);
    assert!(problem.detail.contains(&nobody.address().to_string()), "{problem:?}");
    nobody.start().await;
    site.server.get("some/nothing.bin").await.problem(404);
}

/// A source that sent something wrong is not asked first the next time.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_wrong_is_asked_last() {
    let setup = Setup::new(Laptop).await;
    setup.upstream.validators(Validators::None);
    let remote = Remote::new("some", "rpm", setup.upstream.url("/@base/rpm"))
        .set("mirrors", json!([setup.upstream.url("/@mirror/rpm")]));
    setup.upstream.spoil(&format!("/@base/{}", RPM_PACKAGE.path), Fault::Corrupt(1_000_000));
    let site = setup.remote(remote).start().await;
    let (right, path) = (fixture(1, RPM_PACKAGE.path), RPM_PACKAGE.path.replacen("rpm", "some", 1));
    let first = site.server.get(&path).await;
    assert_eq!((first.status, first.end), (200, End::Cut), "a package that is damaged in its middle");
    site.server.get(&path).await.is(&right);
    assert_eq!(site.upstream.log().lines().len(), 2, "{:?}", site.upstream.log().lines());
}
