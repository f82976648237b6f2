//! What is superseded stays for its time, what is not used makes room, and nobody who reads notices.

mod load;

use bytes::Bytes;

use crate::snapshots::{publish_at, shows, snapshots};
use crate::support::bodies::{assert_same, noise};
use crate::support::http::{Connection, End, Request};
use crate::support::metrics::metric;
use crate::support::remotes::{Remote, yaml};
use crate::support::server::Server;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;

const MIB: usize = 1 << 20;

/// What the server may hold.
const BUDGET: usize = 12 * MIB;

/// Larger than what fits between the server and a client that does not read.
const SLOW: usize = 8 * MIB;

/// Files of a MiB that are asked for at once: three times the budget.
const FILES: usize = 36;

/// Asks for files that nobody asked for before.
async fn some_files(site: &Site, seed: u64) -> Vec<(String, Bytes)> {
    let file = |number| (format!("files/one-{number}"), noise(100 + number, MIB));
    let files: Vec<_> = (seed..seed + FILES as u64).map(file).collect();
    for (path, body) in &files {
        site.upstream.put(&path.replacen("files", "/generic", 1), body.clone());
        site.server.get(path).await.is(body);
    }
    files
}

/// The paths that a repository holds.
async fn held(server: &Server, repository: &str) -> String {
    let reply = server.ask(&Request::get(format!("/artifacts/{repository}?limit=1000"))).await;
    String::from_utf8(reply.has(200).body.clone()).expect("text")
}

/// What the repository holds, file by file: the gauge of the same is remembered for a moment, and may be older than what a test just did.
async fn held_bytes(server: &Server) -> u64 {
    let listed: serde_json::Value = serde_json::from_str(&held(server, "files").await).expect("JSON");
    let artifacts = listed["artifacts"].as_array().expect("a page");
    artifacts.iter().map(|artifact| artifact["size"].as_u64().expect("a size")).sum()
}

async fn a_budget_holds(backend: Backend) {
    let site = Setup::new(backend).await.set("cache.max_bytes", "12MiB").start().await;
    let slow = noise(1, SLOW);
    site.upstream.put("/generic/slow", slow.clone());
    site.server.get("files/slow").await.is(&slow);
    site.server.holds("files/slow").await;
    let request = Request::get("/api/files/slow");
    let mut reader = Connection::open_narrow(site.server.address()).await;
    reader.send(&request).await;
    assert_eq!(reader.head(&request).await.status, 200);
    let mut got = reader.bytes(1_000).await;

    let budget_holds = || async { (held_bytes(&site.server).await <= BUDGET as u64).then_some(()) };
    // When the first ones go, the slow reader's use is on record; what comes after that is younger.
    let first = some_files(&site, 0).await;
    until("the first evictions", || async {
        budget_holds().await?;
        (metric(&site.server, "evicted_files_total").await > 0).then_some(())
    })
    .await;
    let files = some_files(&site, first.len() as u64).await;
    // The last ones are kept a moment after their clients have them, and then others have to go.
    until("the budget to hold and the slow reader's file to be evicted", || async {
        let bytes = metric(&site.server, "evicted_bytes_total").await;
        (bytes >= (SLOW + 2 * FILES * MIB - BUDGET) as u64).then_some(())?;
        budget_holds().await?;
        (!held(&site.server, "files").await.contains("\"slow\"")).then_some(())
    })
    .await;

    // Who reads it goes on, and whoever asks gets it: from upstream, once more.
    site.server.get("files/slow").await.is(&slow);
    let (rest, end) = reader.rest().await;
    got.extend(rest);
    assert_eq!(end, End::Whole);
    assert_same(&got, &slow, "what the slow reader got");
    assert_eq!(site.upstream.log().of("/generic/slow").len(), 2);
    for (path, body) in &files {
        site.server.get(path).await.is(body);
    }
}

/// Whoever has the index of before is given what it names, when budgets and upstream have it no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_an_earlier_snapshot_outlives_its_record() {
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).set("cache.max_bytes", "1KiB").start().await;
    let root = "rpm/el9/x86_64";
    let entry = format!("{root}/repodata/repomd.xml");
    let index = String::from_utf8(site.server.get(&entry).await.has(200).body.clone()).expect("text");
    snapshots(&site.server, root, 1).await;
    let list = index.split('"').find(|part| part.ends_with("-primary.xml.gz")).expect("a list");
    site.switch_to(2);
    shows(&site.server, &entry, 2).await;
    until("its eviction", || async { (!held(&site.server, "rpm").await.contains(list)).then_some(()) }).await;
    site.upstream.log().clear();
    let path = format!("{root}/{list}");
    site.server.get(&path).await.is(&fixture(1, &path));
    assert!(site.upstream.log().of(&format!("/{path}")).is_empty(), "upstream has it no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_holds_while_files_are_read_on_a_laptop() {
    a_budget_holds(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_holds_while_files_are_read_over_shared_stores() {
    a_budget_holds(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_beside_a_server_and_without_one() {
    let mut site = Setup::new(Laptop).await.start().await;
    for number in 0..6 {
        let body = noise(number, MIB);
        site.upstream.put(&format!("/generic/{number}"), body.clone());
        site.server.get(&format!("files/{number}")).await.is(&body);
        until("it to be kept", || async {
            held(&site.server, "files").await.contains(&format!("\"{number}\"")).then_some(())
        })
        .await;
    }
    let mut plan = site.server.plan.clone();
    plan.set("ARTIFACTAPI_MAX_BYTES", "3MiB");
    let shown = plan.run(&["gc", "--dry-run"]).await.succeeded();
    assert!(shown.contains("files: would expire 0 snapshots, would evict 4 files (4.0 MiB)"), "{shown}");
    assert!(held(&site.server, "files").await.contains("\"0\""), "nothing happened");
    let done = plan.run(&["gc"]).await.succeeded();
    assert!(done.contains("evicted 4 files (4.0 MiB)") && done.contains("a server uses the data folder"), "{done}");
    let left = held(&site.server, "files").await;
    assert!(!left.contains("\"3\"") && left.contains("\"4\"") && left.contains("\"5\""), "{left}");
    site.server.get("files/0").await.is(&noise(0, MIB));
    // It may not know yet that this one was evicted, and then has it from memory.
    let files = held_bytes(&site.server).await / MIB as u64;
    site.server.stop().await;
    let again = plan.run(&["gc"]).await.succeeded();
    assert!(again.contains("0 blobs deleted"), "{again}");
    // Out of the file is not out of the store.
    plan.run(&["gc", "--purge", "files"]).await.failed_with("files is in the configuration");
    plan.run(&["gc", "--purge", "nosuch"]).await.failed_with("nothing is held under the name nosuch");
    plan.configure(&yaml(&[Remote::local("own", "generic")]));
    let left = plan.run(&["gc"]).await.succeeded();
    assert!(left.contains(&format!("files is not configured and still holds {files} files ({files}.0 MiB)")), "{left}");
    let shown = plan.run(&["gc", "--dry-run", "--purge", "files"]).await.succeeded();
    let would = format!("files, which is not configured: would expire 0 snapshots, would evict {files} files");
    assert!(shown.contains(&would), "{shown}");
    let purged = plan.run(&["gc", "--purge", "files"]).await.succeeded();
    assert!(purged.contains(&format!("evicted {files} files ({files}.0 MiB)")), "{purged}");
    assert!(!purged.contains("still holds"), "{purged}");
    plan.set("ARTIFACTAPI_MAX_BYTES", "0");
    plan.run(&["gc"]).await.failed_with("ARTIFACTAPI_MAX_BYTES");
}

#[tokio::test(flavor = "multi_thread")]
async fn superseded_packages_stay_for_their_time() {
    let setup = Setup::new(Laptop).await;
    let remote = Remote::new("made", "rpm", setup.upstream.url("/@made/rpm")).set("cache.index_ttl", 0);
    let site = setup.remote(remote.clone()).start().await;
    let builds = ["hello-1.0-1.el9.x86_64.rpm", "hello-doc-1.0-1.el9.noarch.rpm", "hello-libs-1.0-1.el9.x86_64.rpm"]
        .map(|name| fixture(1, &format!("rpm/plain-names/Packages/h/{name}")));
    let (path, mut ids) = ("made/made/made-1-1.x86_64.rpm", Vec::new());
    for (build, made_at) in builds.iter().zip([100, 200, 300]) {
        publish_at(&site.upstream, "/rpm/made", made_at, build);
        until("the next index", || async {
            site.server.get("made/made/repodata/repomd.xml").await.has(200);
            let body = site.server.get("made/made/repodata/repomd.xml").await.body;
            String::from_utf8_lossy(&body).contains(&format!("<revision>{made_at}<")).then_some(())
        })
        .await;
        ids = snapshots(&site.server, "made/made", ids.len() + 1).await;
        until("this build", || async { (site.server.get(path).await.body == *build).then_some(()) }).await;
        site.server.holds(path).await;
    }
    let tag = Request::new("PUT", format!("/snapshots/made/made?tag=first&snapshot={}", ids[2])).by_administrator();
    site.server.ask(&tag).await.has(200);
    let then = |when: &str| path.replacen("made", &format!("made@{when}"), 1);
    let shown = site.server.plan.run(&["gc", "--dry-run"]).await.succeeded();
    assert!(shown.contains("in all: would expire 0 snapshots"), "{shown}");
    site.server.plan.run(&["gc"]).await.succeeded();
    site.upstream.stop().await;
    for (id, build) in ids.iter().zip(builds.iter().rev()) {
        site.server.get(&then(&id.to_string())).await.is(build);
    }

    site.server.plan.configure(&yaml(&[remote.set("cache.snapshot_keep", "1s")]));
    until("the second snapshot to be gone", || async {
        site.server.plan.run(&["gc"]).await.succeeded();
        let kept = site.server.get(&then(&ids[1].to_string())).await;
        (kept.status == 404).then_some(())
    })
    .await;
    site.server.get(&then("first")).await.is(&builds[0]);
    site.server.get(&then(&ids[0].to_string())).await.is(&builds[2]);
    site.server.get(path).await.is(&builds[2]);
}
