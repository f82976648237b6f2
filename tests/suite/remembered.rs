//! What was found out a moment ago is forgotten as soon as what it was found out under is over: with the times to live that everybody
//! has who sets none.

use crate::snapshots::snapshots;
use crate::support::process::Signal;
use crate::support::remotes::{Remote, yaml};
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;

const ENTRY: &str = "rpm/el9/x86_64/repodata/repomd.xml";
const NEW: &str = "rpm/el9/x86_64/Packages/h/hello-1.0-2.el9.x86_64.rpm";

/// Puts another configuration in force: the second of a server, as a rule.
async fn configure(site: &Site, remotes: &[Remote], generation: u32) {
    site.server.plan.configure(&yaml(remotes));
    site.server.signal(Signal::HUP);
    let generation = format!("\"generation\":{generation}");
    site.server.says(&["configuration in force", &generation]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_url_is_asked_at_once() {
    let setup = Setup::new(Laptop).await;
    let wrong = Remote::new("moved", "generic", setup.upstream.url("/gone"));
    let right = Remote::new("moved", "generic", setup.upstream.url("/generic"));
    let all = Remote::virtual_of("all", "generic", &["moved"]);
    let site = setup.remote(wrong).remote(all.clone()).start().await;
    for name in ["moved", "all", "moved"] {
        site.server.get(&format!("{name}/10k.bin")).await.problem(404);
    }
    assert_eq!(site.upstream.log().of("/gone/10k.bin").len(), 1, "it is remembered, whoever asks");
    configure(&site, &[right, all], 2).await;
    site.server.get("all/10k.bin").await.is(&fixture(1, "generic/10k.bin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_a_newer_index_names_is_asked_for() {
    let site = Setup::new(Laptop).await.set("cache.index_ttl", 0).start().await;
    site.server.get(ENTRY).await.is(&fixture(1, ENTRY));
    snapshots(&site.server, "rpm/el9/x86_64", 1).await;
    site.server.get(NEW).await.problem(404);
    site.server.get(NEW).await.problem(404);
    assert_eq!(site.upstream.log().of(&format!("/{NEW}")).len(), 1, "it is remembered");
    site.switch_to(2);
    let new = fixture(2, ENTRY);
    until("the newer index", || async { (site.server.get(ENTRY).await.body == new).then_some(()) }).await;
    site.server.get(NEW).await.is(&fixture(2, NEW));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_added_is_asked_at_once() {
    let setup = Setup::new(Laptop).await;
    let remote = Remote::new("rpm", "rpm", setup.upstream.url("/rpm"));
    let own = Remote::local("own", "rpm").set("root_depth", 2);
    let all = |members: &[&str]| Remote::virtual_of("all", "rpm", members).set("cache.index_ttl", "1d");
    let site = setup.remote(own.clone()).remote(all(&["own"])).start().await;
    let entry = "all/el9/x86_64/repodata/repomd.xml";
    site.server.get(entry).await.problem(404);
    configure(&site, &[remote, own, all(&["own", "rpm"])], 2).await;
    site.server.get(entry).await.has(200);
}
