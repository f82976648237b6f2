//! Virtual repositories of virtual repositories: what the innermost has, real clients install through the outermost, and whatever
//! changes in there is in its next answer.
//!
//! `outer` is made of the local `top` and of `middle`, that of `inner`, and that of the local `own` and a remote.

use std::path::PathBuf;

use serde_json::json;

use super::{change, json, put};
use crate::support::clients::{Apk, Dnf, Zypper};
use crate::support::http::Request;
use crate::support::keys;
use crate::support::made::{apk, listed};
use crate::support::remotes::Remote;
use crate::support::server::Server;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, generation};
use crate::support::upstream::fault::Fault;

/// A format: its remote is called as it is itself.
#[derive(Clone, Copy)]
struct Kind {
    format: &'static str,
    /// Below each repository.
    root: &'static str,
    /// Below the root.
    entry: &'static str,
    folder: &'static str,
    /// A later version of a package that the remote has.
    newer: &'static str,
    versions: [&'static str; 2],
    /// A package that the remote has by this name with other bytes.
    rebuilt: &'static str,
}

const RPM: Kind = Kind {
    format: "rpm",
    root: "el9/x86_64",
    entry: "repodata/repomd.xml",
    folder: "el9/x86_64/Packages",
    newer: "h/hello-1.0-2.el9.x86_64.rpm",
    versions: ["hello-1.0-1.el9.x86_64", "hello-1.0-2.el9.x86_64"],
    rebuilt: "r/rebuilt-1.0-1.el9.x86_64.rpm",
};

const APK: Kind = Kind {
    format: "alpine",
    root: "v3.22/main/x86_64",
    entry: "APKINDEX.tar.gz",
    folder: "v3.22/main/x86_64",
    newer: "hello-1.0-r1.apk",
    versions: ["1.0-r0", "1.0-r1"],
    rebuilt: "rebuilt-1.0-r0.apk",
};

struct Nested {
    kind: Kind,
    site: Site,
    /// What clients trust: the public half of the key of `outer`, or a folder with it.
    trusted: PathBuf,
}

impl Nested {
    /// Only `outer` has a key: nobody checks the indexes in between.
    async fn new(kind: Kind, backend: Backend) -> Self {
        let setup = Setup::new(backend).await.only(kind.format);
        let (secret, public) =
            if kind.format == "rpm" { keys::for_rpm(&setup).await } else { keys::for_apk(&setup).await };
        let mut trusted = public.clone();
        if kind.format == "alpine" {
            trusted = setup.run.folder("trusted");
            std::fs::copy(&public, trusted.join("ci@example.org.rsa.pub")).expect("copied");
            for key in std::fs::read_dir(generation(1).join("alpine/keys")).expect("keys") {
                let key = key.expect("a key");
                std::fs::copy(key.path(), trusted.join(key.file_name())).expect("copied");
            }
        }
        let local = |name: &str| match kind.format {
            "rpm" => Remote::local(name, "rpm").set("root_depth", 2),
            _ => Remote::local(name, kind.format),
        };
        let over = |name: &str, members: &[&str]| Remote::virtual_of(name, kind.format, members);
        let site = setup
            .remote(local("own"))
            .remote(local("top"))
            .remote(over("inner", &["own", kind.format]))
            .remote(over("middle", &["inner"]))
            .remote(over("outer", &["top", "middle"]).set("signing_keys", json!([secret])))
            .start()
            .await;
        Self { kind, site, trusted }
    }

    /// Bytes of a package in a generation.
    fn package(&self, number: u32, name: &str) -> Vec<u8> {
        fixture(number, &format!("{}/{}/{name}", self.kind.format, self.kind.folder))
    }

    async fn put(&self, to: &str, name: &str, body: &[u8]) {
        put(&self.site.server, &format!("{to}/{}/{name}", self.kind.folder), body).await.has(201);
    }

    async fn delete(&self, from: &str, name: &str) {
        change(&self.site.server, "DELETE", &format!("{from}/{}/{name}", self.kind.folder), b"").await.has(200);
    }

    /// Which version of `hello` clients that begin now install through `outer`, beside a package that nobody replaces.
    async fn installs(&self, server: &Server, name: &str) -> String {
        let (run, address) = (&self.site.run, server.address());
        if self.kind.format == "alpine" {
            let lines = [format!("http://{address}/api/outer/v3.22/main")];
            let mut apk = Apk::with(run, name, &lines, self.trusted.clone());
            apk.run(&["add", "hello", "big"]).await.succeeded();
            assert_eq!(apk.installed("big").as_deref(), Some("1.0-r0"));
            return apk.installed("hello").unwrap_or_default();
        }
        let url = format!("http://{address}/api/outer/el9/x86_64");
        let dnf = Dnf::trusting(run, &format!("{name}-dnf"), &url, &self.trusted);
        dnf.run(&["install", "hello", "big"]).await.succeeded();
        let zypper = Zypper::trusting(run, &format!("{name}-zypper"), &url, &self.trusted);
        zypper.run(&["install", "hello", "big"]).await.succeeded();
        assert_eq!(zypper.installed("big").await, "big-1.0-1.el9.x86_64");
        assert_eq!(zypper.installed("hello").await, dnf.installed("hello").await);
        dnf.installed("hello").await
    }

    /// Whoever is given the index of a repository now is given these bytes for the package that several have.
    async fn gives(&self, server: &Server, repository: &str, body: &[u8]) {
        server.get(&format!("{repository}/{}/{}", self.kind.root, self.kind.entry)).await.has(200);
        server.get(&format!("{repository}/{}/{}", self.kind.folder, self.kind.rebuilt)).await.is(body);
    }

    /// How many packages each snapshot of a repository lists, the latest first.
    async fn counts(&self, repository: &str) -> Vec<u64> {
        let reply = self.site.server.ask(&Request::get(format!("/snapshots/{repository}/{}", self.kind.root))).await;
        let snapshots = json(reply.has(200))["snapshots"].as_array().expect("snapshots").clone();
        snapshots.iter().map(|snapshot| snapshot["packages"].as_u64().expect("a count")).collect()
    }
}

async fn the_innermost_is_there_at_once(kind: Kind, backend: Backend) {
    let mut nested = Nested::new(kind, backend).await;
    let other = if backend == Shared { Some(nested.site.replica().await) } else { None };
    let server = other.as_ref().unwrap_or(&nested.site.server);
    assert_eq!(nested.installs(server, "remote").await, kind.versions[0]);
    let upstream = nested.counts(kind.format).await[0];
    assert_eq!(nested.counts("outer").await, [upstream]);

    // One more innermost, and one in place of the remote's: the next client has both, whichever replica it asks.
    nested.put("own", kind.newer, &nested.package(2, kind.newer)).await;
    assert_eq!(nested.installs(server, "newer").await, kind.versions[1]);
    assert_eq!(nested.counts("outer").await, [upstream + 1, upstream]);
    let [of_remote, of_own] = [1, 2].map(|number| nested.package(number, kind.rebuilt));
    nested.gives(server, "outer", &of_remote).await;
    nested.put("own", kind.rebuilt, &of_own).await;
    nested.gives(server, "outer", &of_own).await;

    // The earlier member of the outermost wins over all that lies within the later one, and over nothing else.
    nested.put("top", kind.rebuilt, &of_remote).await;
    nested.gives(server, "outer", &of_remote).await;
    for within in ["inner", "middle"] {
        nested.gives(server, within, &of_own).await;
    }
    nested.delete("top", kind.rebuilt).await;
    nested.gives(server, "outer", &of_own).await;

    nested.delete("own", kind.newer).await;
    assert_eq!(nested.installs(server, "older").await, kind.versions[0]);
    nested.delete("own", kind.rebuilt).await;
    nested.gives(server, "outer", &of_remote).await;
    assert_eq!(nested.counts("outer").await[0], upstream);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_innermost_rpm_is_there_at_once_on_a_laptop() {
    the_innermost_is_there_at_once(RPM, Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_innermost_rpm_is_there_at_once_over_shared_stores() {
    the_innermost_is_there_at_once(RPM, Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_innermost_apk_is_there_at_once_on_a_laptop() {
    the_innermost_is_there_at_once(APK, Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_innermost_apk_is_there_at_once_over_shared_stores() {
    the_innermost_is_there_at_once(APK, Shared).await;
}

/// An upstream that says nothing is waited for no longer than ever, and keeps no upload from the outermost index.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_there_whatever_is_waited_for() {
    let setup = Setup::new(Laptop).await.only("alpine").set("cache.index_ttl", 0);
    let over = |name: &str, members: &[&str]| {
        let all = Remote::virtual_of(name, "alpine", members);
        all.set("cache.index_ttl", 0).set("cache.refresh_wait", "200ms")
    };
    let setup = setup.remote(Remote::local("own", "alpine")).remote(over("inner", &["own", "alpine"]));
    let site = setup.remote(over("outer", &["inner"])).start().await;
    let index = format!("outer/{}/APKINDEX.tar.gz", APK.root);
    let before = listed(&site.server.get(&index).await.has(200).body);

    site.upstream.spoil("/alpine/*", Fault::Silent);
    for name in ["one", "two"] {
        put(&site.server, &format!("own/{}/{name}-1.apk", APK.folder), &apk(name, "1", 1)).await.has(201);
        let now = listed(&site.server.get(&index).await.has(200).body);
        assert!(now.contains(&format!("{name}-1.apk")), "{now:?}");
    }
    assert_eq!(listed(&site.server.get(&index).await.body).len(), before.len() + 2);
}
