//! Records that were noted while a clock was ahead.

use std::time::{Duration, SystemTime};

use artifactapi_formats::RepoPath;

use super::Server;
use crate::store::key::Target;

/// An index is not fresh for a month because one confirmation of it was noted by a clock that was a month ahead.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_does_not_freeze_an_index() {
    let server = Server::start().await;
    let path = "v3.22/main/x86_64/APKINDEX.tar.gz";
    server.upstream.put_fixture(&format!("alpine/{path}"), "alpine/APKINDEX.tar.gz");
    let target = Target::new("apks".parse().expect("a name"), RepoPath::new(path).expect("a path"));
    assert_eq!(server.get(&format!("/api/apks/{path}")).await.status, 200);
    // Its first snapshot is completed in the background, and confirms it once more.
    let snapshots = "/snapshots/apks/v3.22/main/x86_64";
    while server.get(snapshots).await.json()["snapshots"].as_array().is_none_or(Vec::is_empty) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let record = server.catalog.lookup(&target).await.expect("an answer").expect("a record");
    let ahead = SystemTime::now() + Duration::from_secs(30 * 24 * 3600);
    let touched = server.catalog.touch(&target, record.revision, ahead, &record.validators).await;
    assert!(touched.expect("an answer"));
    server.shelf.forget(&target);
    server.upstream.asked();

    assert_eq!(server.get(&format!("/api/apks/{path}")).await.status, 200);
    let asks = || server.upstream.asked().iter().filter(|asked| asked.ends_with(path)).count();
    assert_eq!(asks(), 1);
    let now = server.catalog.lookup(&target).await.expect("an answer").expect("a record");
    assert!(now.checked_at <= SystemTime::now(), "the confirmation from the future is still there");
    // It is fresh again.
    assert_eq!(server.get(&format!("/api/apks/{path}")).await.status, 200);
    assert_eq!(asks(), 0);
}
