//! Packages are there before anybody asks for them: newer builds of what was used, and everything that a pattern matches.

use serde_json::json;
use sqlx::Connection as _;

use crate::snapshots::snapshots;
use crate::support::http::Request;
use crate::support::remotes::Remote;
use crate::support::server::Server;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;

const ENTRY: &str = "plain-names/repodata/repomd.xml";
const OLD: &str = "plain-names/Packages/h/hello-1.0-1.el9.x86_64.rpm";
const NEW: &str = "plain-names/Packages/h/hello-1.0-2.el9.x86_64.rpm";
const REBUILT: &str = "plain-names/Packages/r/rebuilt-1.0-1.el9.x86_64.rpm";

/// A site with a repository `ahead` of a format that asks upstream on every request for an index.
async fn site(format: &str, prefetch: serde_json::Value) -> Site {
    let setup = Setup::new(Laptop).await;
    let folder = if format == "alpine" { "alpine" } else { "rpm" };
    let remote = Remote::new("ahead", format, setup.upstream.url(&format!("/@ahead/{folder}")));
    setup.remote(remote.set("cache.index_ttl", 0).set("prefetch", prefetch)).start().await
}

/// Has a client use a package of the first generation.
async fn used(site: &Site, packages: &[&str]) {
    site.server.get(&format!("ahead/{ENTRY}")).await.is(&fixture(1, &format!("rpm/{ENTRY}")));
    snapshots(&site.server, "ahead/plain-names", 1).await;
    for package in packages {
        site.server.get(&format!("ahead/{package}")).await.is(&fixture(1, &format!("rpm/{package}")));
        site.server.holds(&format!("ahead/{package}")).await;
    }
}

/// Asks for the entry until the server shows the second generation.
async fn switched(server: &Server, entry: &str, fixture_of: &str) {
    let expected = fixture(2, fixture_of);
    until("the second generation", || async { (server.get(entry).await.body == expected).then_some(()) }).await;
}

/// What was fetched from upstream, by the names of the files.
fn fetched(site: &Site, ending: &str) -> Vec<String> {
    let gets = site.upstream.log().all().into_iter().filter(|seen| seen.method == "GET" && seen.path.ends_with(ending));
    let name = |path: String| path.rsplit('/').next().map(str::to_owned);
    let mut names: Vec<String> = gets.filter_map(|seen| name(seen.path)).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_builds_of_what_was_used() {
    let site = site("rpm", json!({ "used": true })).await;
    used(&site, &[OLD, REBUILT]).await;
    site.upstream.log().clear();
    site.switch_to(2);
    switched(&site.server, &format!("ahead/{ENTRY}"), &format!("rpm/{ENTRY}")).await;
    let counted = || async {
        let metrics = String::from_utf8(site.server.ask(&Request::get("/metrics")).await.body).ok()?;
        metrics.lines().any(|line| line == "artifactapi_prefetched_files_total 2").then_some(())
    };
    until("both to be fetched", counted).await;
    // What nobody used is left where it is, although the index is the first to name some of it.
    assert_eq!(fetched(&site, ".rpm"), ["hello-1.0-2.el9.x86_64.rpm", "rebuilt-1.0-1.el9.x86_64.rpm"]);
    site.upstream.stop().await;
    for package in [NEW, REBUILT] {
        site.server.get(&format!("ahead/{package}")).await.is(&fixture(2, &format!("rpm/{package}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_what_a_pattern_matches() {
    let site = site("alpine", json!({ "include": ["v3.22/main/x86_64/(hello|scripted)-1"], "parallel": 1 })).await;
    let folder = "v3.22/main/x86_64";
    let entry = format!("ahead/{folder}/APKINDEX.tar.gz");
    site.server.get(&entry).await.is(&fixture(1, &format!("alpine/{folder}/APKINDEX.tar.gz")));
    let holds = |name: &'static str| {
        let (site, path) = (&site, format!("ahead/{folder}/{name}"));
        async move { site.server.holds(&path).await }
    };
    holds("hello-1.0-r0.apk").await;
    holds("scripted-1.0-r0.apk").await;
    site.switch_to(2);
    switched(&site.server, &entry, &format!("alpine/{folder}/APKINDEX.tar.gz")).await;
    holds("hello-1.0-r1.apk").await;
    assert_eq!(fetched(&site, ".apk"), ["hello-1.0-r0.apk", "hello-1.0-r1.apk", "scripted-1.0-r0.apk"]);
    site.upstream.stop().await;
    let package = format!("{folder}/hello-1.0-r1.apk");
    site.server.get(&format!("ahead/{package}")).await.is(&fixture(2, &format!("alpine/{package}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_index_is_shown_when_what_it_brings_is_there() {
    let site = site("rpm", json!({ "used": true, "before_switch": true })).await;
    used(&site, &[OLD, REBUILT]).await;
    let (old_entry, entry) = (fixture(1, &format!("rpm/{ENTRY}")), format!("ahead/{ENTRY}"));
    let upstream_path = format!("/@ahead/rpm/{NEW}");
    let gate = site.upstream.gate(&upstream_path, 0);
    site.upstream.log().clear();
    site.switch_to(2);
    site.server.get(&entry).await.is(&old_entry);
    site.upstream.log().reaches(&upstream_path, 1).await;
    for _ in 0..3 {
        let began = std::time::Instant::now();
        site.server.get(&entry).await.is(&old_entry);
        assert!(began.elapsed() < std::time::Duration::from_secs(2), "nobody is made to wait for it");
    }
    // A package that was built again under its name belongs to the old index until the switch.
    site.server.get(&format!("ahead/{REBUILT}")).await.is(&fixture(1, &format!("rpm/{REBUILT}")));
    assert_eq!(fetched(&site, ".rpm"), ["hello-1.0-2.el9.x86_64.rpm"]);
    gate.open();
    switched(&site.server, &entry, &format!("rpm/{ENTRY}")).await;
    assert!(fetched(&site, ".rpm").iter().filter(|name| name.starts_with("hello")).count() == 1);
    site.server.holds(&format!("ahead/{REBUILT}")).await;
    site.upstream.stop().await;
    for package in [NEW, REBUILT] {
        site.server.get(&format!("ahead/{package}")).await.is(&fixture(2, &format!("rpm/{package}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_swept_while_packages_come_is_not_fetched_again() {
    let site = site("rpm", json!({ "used": true, "before_switch": true })).await;
    used(&site, &[OLD]).await;
    let (entry, upstream_path) = (format!("ahead/{ENTRY}"), format!("/@ahead/rpm/{NEW}"));
    let gate = site.upstream.gate(&upstream_path, 0);
    site.upstream.log().clear();
    site.switch_to(2);
    site.server.get(&entry).await.is(&fixture(1, &format!("rpm/{ENTRY}")));
    site.upstream.log().reaches(&upstream_path, 1).await;
    // As if it had taken longer than the store's grace: what was put aside was deleted a moment ago.
    let file = format!("sqlite://{}", site.server.plan.data().join("catalog.sqlite").display());
    let mut database = sqlx::SqliteConnection::connect(&file).await.expect("a database");
    let swept = sqlx::raw_sql("UPDATE garbage SET taken_at = since + 1, deleted_at = unixepoch() * 1000");
    let swept = swept.execute(&mut database).await.expect("swept").rows_affected();
    assert!(swept > 3, "only {swept} files");
    gate.open();
    switched(&site.server, &entry, &format!("rpm/{ENTRY}")).await;
    let lists = fetched(&site, ".xml.gz");
    let mut once = lists.clone();
    once.dedup();
    assert_eq!(lists, once);
    assert!(!lists.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand() {
    let mut site = Setup::new(Laptop).await.start().await;
    let said = site.server.plan.run(&["prefetch", "rpm", "--root", "plain-names", "--include", ".*/hello-1"]).await;
    let said = said.succeeded();
    assert!(said.contains(&format!("cached {OLD}")) && said.contains("1 files: 1 fetched"), "{said}");
    snapshots(&site.server, "rpm/plain-names", 1).await;
    // By the rows of the snapshot now; the list of packages is not read again.
    let said = site.server.plan.run(&["prefetch", "rpm", "--include", ".*/hello-"]).await.succeeded();
    assert!(said.contains("3 files: 2 fetched") && said.contains("1 were held"), "{said}");
    site.upstream.stop().await;
    site.server.get(&format!("rpm/{OLD}")).await.is(&fixture(1, &format!("rpm/{OLD}")));
    site.server.plan.run(&["prefetch", "nothing"]).await.failed_with("the server refuses");
    site.server.plan.run(&["prefetch", "rpm", "--include", "("]).await.failed_with("include_pattern");
    site.server.stop().await;
    site.server.plan.run(&["prefetch", "rpm"]).await.failed_with("no server answers");
}
