//! An index and everything it names is one generation: switched whole, kept, named, found again.

use serde_json::Value;

use crate::support::bodies::sha256;
use crate::support::http::{Connection, Request};
use crate::support::remotes::Remote;
use crate::support::server::Server;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;
use crate::support::upstream::Upstream;

/// A repository whose metadata has the same names in every generation.
pub(crate) const PLAIN: &str = "rpm/plain-names/repodata";
pub(crate) const PLAIN_FILES: [&str; 4] = ["repomd.xml", "repomd.xml.asc", "primary.xml.gz", "filelists.xml.gz"];

async fn json(server: &Server, target: &str) -> Value {
    let reply = server.ask(&Request::get(target)).await;
    reply.has(200);
    serde_json::from_slice(&reply.body).expect("JSON")
}

/// The numbers of a root's snapshots, newest first, once there are `count` of them.
pub(crate) async fn snapshots(server: &Server, root: &str, count: usize) -> Vec<i64> {
    until(format!("{count} snapshots of {root}"), || async {
        let reply = server.ask(&Request::get(format!("/snapshots/{root}"))).await;
        // A root that has none yet is not there.
        let listed: Value =
            if reply.status == 404 { Value::Null } else { serde_json::from_slice(&reply.has(200).body).expect("JSON") };
        let rows = listed["snapshots"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ids: Vec<i64> = rows.iter().filter_map(|row| row["id"].as_i64()).collect();
        (ids.len() == count).then_some(ids)
    })
    .await
}

/// A site whose `rpm` repository is complete in its first generation and asks upstream on every request for an index.
pub(crate) async fn complete(backend: Backend) -> Site {
    let site = Setup::new(backend).await.set("cache.index_ttl", 0).start().await;
    site.server.get(&format!("{PLAIN}/repomd.xml")).await.is(&fixture(1, &format!("{PLAIN}/repomd.xml")));
    snapshots(&site.server, "rpm/plain-names", 1).await;
    site
}

/// Asks for the entry until the server shows that of a generation.
pub(crate) async fn shows(server: &Server, path: &str, generation: u32) {
    let expected = fixture(generation, path);
    until(format!("generation {generation} of {path}"), || async {
        (server.get(path).await.body == expected).then_some(())
    })
    .await;
}

async fn a_switch_is_whole(backend: Backend) {
    let site = complete(backend).await;
    let entry = Request::get(format!("/api/{PLAIN}/repomd.xml"));
    let mut early = Connection::open(site.server.address()).await;
    early.exchange(&entry).await.is(&fixture(1, &format!("{PLAIN}/repomd.xml")));
    site.switch_to(2);
    shows(&site.server, &format!("{PLAIN}/repomd.xml"), 2).await;
    site.upstream.log().clear();
    let mut late = Connection::open(site.server.address()).await;
    late.exchange(&entry).await.is(&fixture(2, &format!("{PLAIN}/repomd.xml")));
    for file in PLAIN_FILES.iter().skip(1) {
        let path = format!("{PLAIN}/{file}");
        let ask = Request::get(format!("/api/{path}"));
        // Who was given the entry before the switch gets what belongs to it, who was given the new one what belongs to that.
        early.exchange(&ask).await.is(&fixture(1, &path));
        late.exchange(&ask).await.is(&fixture(2, &path));
    }
    // All of it was there before the switch was seen.
    let asked: Vec<_> =
        site.upstream.log().all().into_iter().filter(|seen| !seen.path.ends_with("repomd.xml")).collect();
    assert!(asked.is_empty(), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_whole_on_a_laptop() {
    a_switch_is_whole(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_whole_over_shared_stores() {
    a_switch_is_whole(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_in_the_middle_of_an_update_is_waited_out() {
    let site = complete(Laptop).await;
    // The entry is new; what it names is not there yet.
    site.upstream.put(&format!("/{PLAIN}/repomd.xml"), fixture(2, &format!("{PLAIN}/repomd.xml")));
    let reply = site.server.get(&format!("{PLAIN}/repomd.xml")).await;
    reply.is(&fixture(1, &format!("{PLAIN}/repomd.xml")));
    for file in PLAIN_FILES {
        site.server.get(&format!("{PLAIN}/{file}")).await.is(&fixture(1, &format!("{PLAIN}/{file}")));
    }
    site.switch_to(2);
    shows(&site.server, &format!("{PLAIN}/repomd.xml"), 2).await;
    for file in PLAIN_FILES {
        site.server.get(&format!("{PLAIN}/{file}")).await.is(&fixture(2, &format!("{PLAIN}/{file}")));
    }
}

/// Upstreams replace the signature before the index, too, and then it is new but signs what is not there yet. That shows without
/// any key.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_came_before_its_index_is_not_shown_with_the_old_one() {
    let signature = format!("{PLAIN}/repomd.xml.asc");
    // Nothing is held but the entry.
    let setup = Setup::new(Laptop).await.set("cache.negative_ttl", 0).set("cache.index_ttl", 0);
    setup.upstream.put(&format!("/{signature}"), fixture(2, &signature));
    let site = setup.start().await;
    site.server.get(&format!("{PLAIN}/repomd.xml")).await.is(&fixture(1, &format!("{PLAIN}/repomd.xml")));
    let problem = site.server.get(&signature).await.problem(502);
    assert!(problem.detail.contains("a signature of another index"), "{problem:?}");
    site.switch_to(2);
    shows(&site.server, &format!("{PLAIN}/repomd.xml"), 2).await;
    site.server.get(&signature).await.is(&fixture(2, &signature));

    // A generation is held, and the next one is there but for its signature.
    let site = complete(Laptop).await;
    site.switch_to(2);
    let another = fixture(2, "rpm/el9/x86_64/repodata/repomd.xml.asc");
    site.upstream.put(&format!("/{signature}"), another);
    for file in PLAIN_FILES {
        site.server.get(&format!("{PLAIN}/{file}")).await.is(&fixture(1, &format!("{PLAIN}/{file}")));
    }
    site.upstream.put(&format!("/{signature}"), fixture(2, &signature));
    shows(&site.server, &format!("{PLAIN}/repomd.xml"), 2).await;
    for file in PLAIN_FILES {
        site.server.get(&format!("{PLAIN}/{file}")).await.is(&fixture(2, &format!("{PLAIN}/{file}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_index_is_refused_unless_it_is_allowed() {
    let setup = Setup::new(Laptop).await.set("cache.index_ttl", 0);
    let lax = Remote::new("lax", "rpm", setup.upstream.url("/@lax/rpm"))
        .set("cache.index_ttl", 0)
        .set("allow_rollback", true);
    let site = setup.remote(lax).start().await;
    site.switch_to(2);
    let lax = PLAIN.replacen("rpm", "lax", 1);
    for (repository, below) in [("rpm", PLAIN), ("lax", &*lax)] {
        let newer = fixture(2, &format!("{PLAIN}/repomd.xml"));
        site.server.get(&format!("{below}/repomd.xml")).await.is(&newer);
        snapshots(&site.server, &format!("{repository}/plain-names"), 1).await;
    }
    site.switch_to(1);
    let older = fixture(1, &format!("{PLAIN}/repomd.xml"));
    until("the older one where that is allowed", || async {
        (site.server.get(&format!("{lax}/repomd.xml")).await.body == older).then_some(())
    })
    .await;
    for _ in 0..3 {
        site.server.get(&format!("{PLAIN}/repomd.xml")).await.is(&fixture(2, &format!("{PLAIN}/repomd.xml")));
    }
    until("the refusal to be counted", || async {
        let metrics = site.server.ask(&Request::get("/metrics")).await;
        let text = String::from_utf8(metrics.body).ok()?;
        let line = text.lines().find(|line| line.starts_with("artifactapi_indexes_older_refused"))?;
        (!line.ends_with(" 0")).then_some(())
    })
    .await;
}

async fn the_past_is_served(backend: Backend) {
    let site = complete(backend).await;
    let apk = "alpine/v3.22/main/x86_64";
    site.server.get(&format!("{apk}/APKINDEX.tar.gz")).await.is(&fixture(1, &format!("{apk}/APKINDEX.tar.gz")));
    snapshots(&site.server, apk, 1).await;
    let packages =
        ["rpm/plain-names/Packages/h/hello-1.0-1.el9.x86_64.rpm", "alpine/v3.22/main/x86_64/hello-1.0-r0.apk"];
    for package in packages {
        site.server.get(package).await.is(&fixture(1, package));
    }
    site.switch_to(2);
    shows(&site.server, &format!("{PLAIN}/repomd.xml"), 2).await;
    shows(&site.server, &format!("{apk}/APKINDEX.tar.gz"), 2).await;
    site.upstream.stop().await;

    for (root, files) in [
        ("rpm/plain-names", PLAIN_FILES.map(|file| format!("{PLAIN}/{file}")).to_vec()),
        (apk, vec![format!("{apk}/APKINDEX.tar.gz")]),
    ] {
        let ids = snapshots(&site.server, root, 2).await;
        let (repository, _) = root.split_once('/').expect("a repository");
        let tag = Request::new("PUT", format!("/snapshots/{root}?tag=first&snapshot={}", ids[1])).by_administrator();
        site.server.ask(&tag).await.has(200);
        for (when, generation) in [(ids[0].to_string(), 2), (ids[1].to_string(), 1), ("first".to_owned(), 1)] {
            for file in &files {
                let at = file.replacen(repository, &format!("{repository}@{when}"), 1);
                site.server.get(&at).await.is(&fixture(generation, file));
            }
        }
        let never = files[0].replacen(repository, &format!("{repository}@2001-01-01"), 1);
        let problem = site.server.get(&never).await.problem(404);
        assert!(problem.detail.contains("there are snapshots from"), "{problem:?}");
        let odd = files[0].replacen(repository, &format!("{repository}@no%20tag"), 1);
        site.server.get(&odd).await.problem(400);
        // A package as it was then.
        let package = packages.iter().find(|package| package.starts_with(repository)).expect("a package");
        let at = package.replacen(repository, &format!("{repository}@first"), 1);
        site.server.get(&at).await.is(&fixture(1, package));
        // What differs between the two.
        let diff = json(&site.server, &format!("/snapshots/{root}?from=first&to={}", ids[0])).await;
        let changes: Vec<(&str, &str)> = diff["changes"]
            .as_array()
            .expect("changes")
            .iter()
            .map(|change| (change["change"].as_str().expect("a change"), change["path"].as_str().expect("a path")))
            .collect();
        assert!(changes.contains(&("removed", package.split_once('/').expect("a path").1)), "{changes:?}");
        assert!(changes.iter().any(|(change, path)| *change == "added" && path.contains("hello-1.0-")), "{changes:?}");
        let untag = Request::new("DELETE", format!("/snapshots/{root}?tag=first")).by_administrator();
        site.server.ask(&untag).await.has(204);
        site.server.ask(&untag).await.problem(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_served_on_a_laptop() {
    the_past_is_served(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_served_over_shared_stores() {
    the_past_is_served(Shared).await;
}

/// What has no indexes has no past: today's bytes are no answer to a question about another day.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_snapshots_has_no_past() {
    let setup = Setup::new(Laptop).await;
    let base = Remote::new("plain", "generic", setup.upstream.url("/generic"));
    let site = setup.remote(base).remote(Remote::virtual_of("all", "generic", &["plain"])).start().await;
    for name in ["plain", "all"] {
        site.server.get(&format!("{name}/10k.bin")).await.is(&fixture(1, "generic/10k.bin"));
        for when in ["2020-01-01", "1", "golden"] {
            let problem = site.server.get(&format!("{name}@{when}/10k.bin")).await.problem(404);
            let said = if name == "all" { "no member has it" } else { "no snapshots" };
            assert!(problem.detail.contains(said), "{problem:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_found() {
    let site = complete(Laptop).await;
    let found = json(&site.server, "/packages/rpm?name=hello&arch=x86_64").await;
    let found = found["packages"].as_array().expect("packages");
    assert_eq!(found.len(), 1, "{found:?}");
    let package = "rpm/plain-names/Packages/h/hello-1.0-1.el9.x86_64.rpm";
    assert_eq!(found[0]["identity"], format!("sha256:{}", sha256(&fixture(1, package))));
    assert_eq!(found[0]["path"], package.split_once('/').expect("a path").1);
    assert_eq!(found[0]["version"], "1.0-1.el9");
    let by_file = json(&site.server, "/packages/rpm?file=hello-1.0-1.el9.x86_64.rpm").await;
    assert_eq!(by_file["packages"].as_array().map(Vec::len), Some(1));
    let (mut pages, mut after, mut names) = (0, String::new(), Vec::new());
    loop {
        let page = json(&site.server, &format!("/packages/rpm?limit=2&after={after}")).await;
        names.extend(page["packages"].as_array().expect("packages").iter().map(|row| row["path"].clone()));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    let (all, distinct) = (names.len(), names.iter().map(Value::to_string).collect::<std::collections::BTreeSet<_>>());
    assert!(pages > 1 && distinct.len() == all, "{names:?}");
    for (target, word) in [
        ("/packages/rpm?limit=0", "limit"),
        ("/packages/rpm?colour=red", "colour"),
        ("/snapshots/rpm/plain-names?from=a%20b", "from"),
        ("/snapshots/rpm/plain-names?to=7", "from"),
    ] {
        let problem = site.server.ask(&Request::get(target)).await.problem(422);
        assert!(problem.detail.contains(word), "{problem:?}");
    }
    site.server.ask(&Request::get("/packages/nothing")).await.problem(404);
    site.server.ask(&Request::get("/snapshots/files/x")).await.problem(404);
}

/// An index made by hand that names one package, as upstream has it below `/rpm/made`.
fn publish(upstream: &Upstream, made_at: u32, package: &[u8]) {
    publish_at(upstream, "/rpm/made", made_at, package);
}

pub(crate) fn publish_at(upstream: &Upstream, folder: &str, made_at: u32, package: &[u8]) {
    let primary = format!(
        r#"<?xml version="1.0"?><metadata xmlns="http://linux.duke.edu/metadata/common" packages="1"><package type="rpm">
        <name>made</name><arch>x86_64</arch><version epoch="0" ver="1" rel="1"/>
        <checksum type="sha256" pkgid="YES">{}</checksum><size package="{}" installed="1" archive="1"/>
        <location href="made-1-1.x86_64.rpm"/></package></metadata>"#,
        sha256(package),
        package.len()
    );
    let repomd = format!(
        r#"<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>{made_at}</revision>
        <data type="primary"><checksum type="sha256">{}</checksum><location href="repodata/primary.xml"/>
        <timestamp>{made_at}</timestamp><size>{}</size></data></repomd>"#,
        sha256(primary.as_bytes()),
        primary.len()
    );
    upstream.put(&format!("{folder}/repodata/primary.xml"), primary.into_bytes());
    upstream.put(&format!("{folder}/repodata/repomd.xml"), repomd.into_bytes());
    upstream.put(&format!("{folder}/made-1-1.x86_64.rpm"), package.to_vec());
}

const MADE: &str = "rpm/made/made-1-1.x86_64.rpm";

fn builds() -> [Vec<u8>; 2] {
    ["hello-1.0-1.el9.x86_64.rpm", "hello-doc-1.0-1.el9.noarch.rpm"]
        .map(|name| fixture(1, &format!("rpm/plain-names/Packages/h/{name}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_was_built_again_under_its_name() {
    let [first, second] = builds();
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).start().await;
    publish(&site.upstream, 100, &first);
    let entry = Request::get("/api/rpm/made/repodata/repomd.xml");
    let ask = Request::get(format!("/api/{MADE}"));
    let mut early = Connection::open(site.server.address()).await;
    let old_entry = early.exchange(&entry).await.body;
    snapshots(&site.server, "rpm/made", 1).await;
    early.exchange(&ask).await.is(&first);
    publish(&site.upstream, 200, &second);
    until("the new index", || async { (site.server.ask(&entry).await.body != old_entry).then_some(()) }).await;
    let mut late = Connection::open(site.server.address()).await;
    assert_ne!(late.exchange(&entry).await.body, old_entry);
    for _ in 0..3 {
        late.exchange(&ask).await.is(&second);
        early.exchange(&ask).await.is(&first);
    }
    let ids = snapshots(&site.server, "rpm/made", 2).await;
    for (id, build) in ids.iter().zip([&second, &first]) {
        site.server.get(&MADE.replacen("rpm", &format!("rpm@{id}"), 1)).await.is(build);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_not_what_the_index_says() {
    let [named, other] = builds();
    for (verify, is_passed_on) in [("strict", false), ("warn", true), ("off", true)] {
        let setup = Setup::new(Laptop).await;
        let mirror = setup.upstream.url("/@mirror/rpm");
        let base = Remote::new("made", "rpm", setup.upstream.url("/@base/rpm")).set("verify", verify);
        let base = if is_passed_on { base } else { base.set("mirrors", serde_json::json!([mirror])) };
        let site = setup.remote(base).start().await;
        publish(&site.upstream, 100, &named);
        site.server.get("made/made/repodata/repomd.xml").await.has(200);
        snapshots(&site.server, "made/made", 1).await;
        site.upstream.put("/rpm/made/made-1-1.x86_64.rpm", other.clone());
        let path = "made/made/made-1-1.x86_64.rpm";
        let asked = || site.upstream.log().all().iter().filter(|seen| seen.path.ends_with(".rpm")).count();
        let reply = site.server.get(path).await;
        if is_passed_on {
            reply.is(&other);
            let before = asked();
            site.server.get(path).await.is(&other);
            assert_eq!(asked() > before, verify == "warn", "{verify}: what contradicts the index is kept or not");
        } else {
            // Both sources have the wrong one: nothing ends as if it were whole, and nothing is kept.
            assert!(reply.status == 502 || reply.end == crate::support::http::End::Cut, "{reply:?}");
            let before = asked();
            site.upstream.put("/rpm/made/made-1-1.x86_64.rpm", named.clone());
            until("the right one", || async {
                let reply = site.server.get(path).await;
                (reply.status == 200 && reply.body == named).then_some(())
            })
            .await;
            assert!(asked() > before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_upstream_deleted_has_the_index_asked_for_again() {
    let [first, second] = builds();
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 3600).start().await;
    publish(&site.upstream, 100, &first);
    let old_entry = site.server.get("rpm/made/repodata/repomd.xml").await.body;
    snapshots(&site.server, "rpm/made", 1).await;
    // A newer index names another build under another folder; the old file is gone.
    publish(&site.upstream, 200, &second);
    site.upstream.spoil("/rpm/made/made-1-1.x86_64.rpm", crate::support::upstream::fault::Fault::Status(404));
    let problem = site.server.get(MADE).await.problem(404);
    assert!(problem.detail.contains("index"), "{problem:?}");
    until("the new index although the old one is fresh", || async {
        (site.server.get("rpm/made/repodata/repomd.xml").await.body != old_entry).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_repository_serves_what_is_old_enough() {
    let setup = Setup::new(Laptop).await;
    let remote = |name: &str, hold: &str| {
        Remote::new(name, "rpm", setup.upstream.url(&format!("/@{name}/rpm")))
            .set("hold", hold)
            .set("cache.index_ttl", 0)
    };
    let (week, century) = (remote("week", "7d"), remote("century", "36500d"));
    let site = setup.remote(week).remote(century).start().await;
    let [first, second] = builds();
    // Made in 1970: old enough for a week, though we have it only now; never for a century.
    publish(&site.upstream, 100, &first);
    site.server.get("century/made/repodata/repomd.xml").await.problem(404);
    let held = until("the held one", || async {
        let reply = site.server.get("week/made/repodata/repomd.xml").await;
        (reply.status == 200).then_some(reply.body)
    })
    .await;
    site.server.get("week/made/made-1-1.x86_64.rpm").await.is(&first);
    publish(&site.upstream, 2_000_000_000, &second);
    site.server.get("week/made/repodata/repomd.xml").await.is(&held);
    let ids = snapshots(&site.server, "week/made", 2).await;
    site.server.get("week/made/repodata/repomd.xml").await.is(&held);
    let newest = site.server.get(&format!("week@{}/made/repodata/repomd.xml", ids[0])).await;
    assert!(newest.has(200).body != held, "the newest is collected meanwhile");
}
