//! A remote member whose upstream is down for longer than its index stays fresh: the last merged index and what is held of it go on
//! being served, every such answer says that it is stale, and the mark goes when upstream is back (DESIGN 4.6).

use std::path::{Path, PathBuf};

use serde_json::json;

use super::put;
use crate::support::clients::{Apk, Dnf};
use crate::support::http::{Reply, Request};
use crate::support::keys;
use crate::support::made::{apk, listed};
use crate::support::remotes::Remote;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;

/// An index of a virtual repository, and a package of it that only the remote member has, by its path there.
struct Kind {
    entry: &'static str,
    member: &'static str,
    package: &'static str,
}

const RPM: Kind = Kind {
    entry: "el9/x86_64/repodata/repomd.xml",
    member: "rpm",
    package: "el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm",
};
const APK: Kind = Kind {
    entry: "v3.22/main/x86_64/APKINDEX.tar.gz",
    member: "alpine",
    package: "v3.22/main/x86_64/hello-1.0-r0.apk",
};

/// Every index is fresh for a second: long enough to be seen without the mark, short enough to be outlived.
const FRESH: &str = "1s";

/// For each format `all-{format}` is made of the local `own-{format}` and a remote, and `outer-{format}` of `all-{format}`.
async fn site(backend: Backend) -> (Site, PathBuf) {
    let setup = Setup::new(backend).await.set("cache.index_ttl", FRESH);
    let (secret, public) = keys::for_rpm(&setup).await;
    let site = [RPM, APK].into_iter().fold(setup, |setup, kind| {
        let named = |what: &str| format!("{what}-{}", kind.member);
        let [own, all, outer] = ["own", "all", "outer"].map(named);
        let locals = Remote::local(&own, kind.member);
        let signed = |remote: Remote| match kind.member {
            "rpm" => remote.set("signing_keys", json!([secret])),
            _ => remote,
        };
        let over = |name: &str, members: &[&str]| {
            signed(Remote::virtual_of(name, kind.member, members)).set("cache.index_ttl", FRESH)
        };
        setup.remote(locals).remote(over(&all, &[&own, kind.member])).remote(over(&outer, &[&all]))
    });
    (site.start().await, public)
}

fn is_marked(reply: &Reply) -> bool {
    let status = reply.must("cache-status");
    assert_eq!(status.contains("ttl=-1"), status.contains("stale, upstream not asked in time"), "{status}");
    status.contains("ttl=-1")
}

/// Clients that begin now install what the remote has.
async fn install(site: &Site, public: &Path, name: &str) {
    let url = format!("http://{}/api/outer-rpm/el9/x86_64", site.server.address());
    let dnf = Dnf::trusting(&site.run, &format!("dnf-{name}"), &url, public);
    dnf.run(&["install", "hello"]).await.succeeded();
    assert_eq!(dnf.installed("hello").await, "hello-1.0-1.el9.x86_64");
    let lines = [format!("http://{}/api/outer-alpine/v3.22/main", site.server.address())];
    let mut client = Apk::with(&site.run, &format!("apk-{name}"), &lines, site.run.folder("no-keys"));
    client.run(&["add", "--allow-untrusted", "hello"]).await.succeeded();
    assert_eq!(client.installed("hello").as_deref(), Some("1.0-r0"));
}

async fn marked_until_upstream_is_back(backend: Backend) {
    let (site, public) = site(backend).await;
    let server = &site.server;
    let entries = [RPM, APK].map(|kind| ["all", "outer"].map(|name| format!("{name}-{}/{}", kind.member, kind.entry)));
    let mut merged = Vec::new();
    for entry in entries.as_flattened() {
        let reply = server.get(entry).await;
        assert!(!is_marked(reply.has(200)), "{entry}: {reply:?}");
        merged.push((entry, reply.body));
    }
    for kind in [RPM, APK] {
        let path = format!("all-{}/{}", kind.member, kind.package);
        server.get(&path).await.is(&fixture(1, &format!("{}/{}", kind.member, kind.package)));
        server.holds(&format!("{}/{}", kind.member, kind.package)).await;
    }

    install(&site, &public, "before").await;

    site.upstream.stop().await;
    for (entry, body) in &merged {
        until(format!("{entry} to be marked stale"), || async {
            let reply = server.get(entry).await;
            reply.is(body);
            is_marked(&reply).then_some(())
        })
        .await;
        // Whoever asks for the head alone, or has the bytes already, is told so, too.
        let target = format!("/api/{entry}");
        assert!(is_marked(server.ask(&Request::head(&target)).await.has(200)), "{entry}");
        let tag = server.get(entry).await.must("etag").to_owned();
        assert!(is_marked(server.ask(&Request::get(&target).with("If-None-Match", tag)).await.has(304)), "{entry}");
    }
    // What is held of it still comes, and is not marked itself: a package is what its index says.
    for kind in [RPM, APK] {
        for name in ["all", "outer"] {
            let reply = server.get(&format!("{name}-{}/{}", kind.member, kind.package)).await;
            reply.is(&fixture(1, &format!("{}/{}", kind.member, kind.package)));
            assert!(!is_marked(&reply), "{reply:?}");
        }
    }
    install(&site, &public, "away").await;

    // An upload is in the next index, which is still half of it old.
    put(server, "own-alpine/v3.22/main/x86_64/ours-1.apk", &apk("ours", "1", 1)).await.has(201);
    for name in ["all-alpine", "outer-alpine"] {
        let reply = server.get(&format!("{name}/{}", APK.entry)).await;
        let names = listed(&reply.has(200).body);
        assert!(
            names.contains(&"ours-1.apk".to_owned()) && names.contains(&"hello-1.0-r0.apk".to_owned()),
            "{names:?}"
        );
        assert!(is_marked(&reply), "{reply:?}");
    }

    site.upstream.start().await;
    for entry in entries.as_flattened() {
        until(format!("{entry} without the mark"), || async { (!is_marked(&server.get(entry).await)).then_some(()) })
            .await;
    }
    // Nothing of all that was a change of what upstream has.
    for (entry, body) in merged.iter().filter(|(entry, _)| entry.contains("rpm")) {
        server.get(entry).await.is(body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_index_is_marked_until_upstream_is_back_on_a_laptop() {
    marked_until_upstream_is_back(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_index_is_marked_until_upstream_is_back_over_shared_stores() {
    marked_until_upstream_is_back(Shared).await;
}
