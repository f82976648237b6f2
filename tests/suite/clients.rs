//! Package managers install through the server: cold, warm, and with upstream stopped; then they upgrade.
//!
//! A client of each kind gets a root of its own for each phase, so that nothing is cached on its side. What it sends is
//! recorded on its way to the server, and what the server asks for is in the upstream's log.

use std::collections::BTreeSet;

use crate::support::clients::{Apk, Dnf, Zypper, curl, zckdl};
use crate::support::proxy::Proxy;
use crate::support::run::Run;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, generation};
use crate::support::upstream::Seen;

/// A client, the repository it uses, and what it is known to ask for.
struct Case {
    client: Client,
    /// Below `/api/` on the server, and below `/` on the upstream.
    repository: &'static str,
    /// What is installed.
    packages: &'static [&'static str],
    /// Requests that must be among those the client sends, in its own spelling, below the repository.
    sends: &'static [&'static str],
    /// Installed before and after the upgrade.
    versions: [&'static str; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Apk,
    ApkFeed,
    Dnf,
    Zypper,
}

const APK: Case = Case {
    client: Client::Apk,
    repository: "alpine",
    packages: &["extra", "big", "hello-doc", "x", "libplus++", "unsigned"],
    sends: &[
        "GET /v3.22/main/x86_64/APKINDEX.tar.gz",
        "GET /v3.22/community/x86_64/APKINDEX.tar.gz",
        "GET /v3.22/main/x86_64/x-1.0_git2020%7eabc-r1.apk",
        "GET /v3.22/main/x86_64/libplus++-2.0.1a_rc3-r12.apk",
        "GET /v3.22/main/noarch/hello-doc-1.0-r0.apk",
        "GET /v3.22/community/x86_64/extra-1.0-r0.apk",
        "GET /v3.22/main/x86_64/big-1.0-r0.apk",
    ],
    versions: ["1.0-r0", "1.0-r1"],
};

const APK_FEED: Case = Case {
    client: Client::ApkFeed,
    repository: "alpine",
    packages: &["hello"],
    sends: &["GET /feed/x86_64/packages.adb", "GET /feed/x86_64/hello-1.0-r0.apk"],
    versions: ["1.0-r0", "1.0-r1"],
};

const RPM_VERSIONS: [&str; 2] = ["hello-1.0-1.el9.x86_64", "hello-1.0-2.el9.x86_64"];

const fn dnf(repository: &'static str) -> Case {
    Case {
        client: Client::Dnf,
        repository,
        packages: &["hello", "hello-doc", "libplus++"],
        sends: &[
            "GET /repodata/repomd.xml",
            "GET /repodata/repomd.xml.asc",
            "GET /Packages/l/libplus%2b%2b-1.0~rc1%5egit20200101-1.el9.x86_64.rpm",
            "GET /Packages/h/hello-1.0-1.el9.x86_64.rpm",
        ],
        versions: RPM_VERSIONS,
    }
}

const ZYPPER: Case = Case {
    client: Client::Zypper,
    repository: "rpm/suse-like",
    packages: &["hello", "libplus++"],
    sends: &[
        "HEAD /repodata/repomd.xml",
        "GET /media.1/media",
        "GET /repodata/repomd.xml.asc",
        "GET /repodata/repomd.xml.key",
        "GET /repodata/repomd.xml",
        "GET /Packages/l/libplus++-1.0~rc1%5Egit20200101-1.el9.x86_64.rpm",
    ],
    versions: RPM_VERSIONS,
};

/// Every kind of client once.
const EACH: &[Case] = &[APK, APK_FEED, dnf("rpm/el9/x86_64"), ZYPPER];

/// A client with a root of its own.
enum Root {
    Apk(Apk),
    Dnf(Dnf),
    Zypper(Zypper),
}

impl Case {
    fn root(&self, run: &Run, name: &str, server: std::net::SocketAddr) -> Root {
        let name = &format!("{name}-{}", self.repository.replace('/', "-"));
        let url = format!("http://{server}/api/{}", self.repository);
        match self.client {
            Client::Apk => Root::Apk(Apk::new(run, name, &url)),
            Client::ApkFeed => {
                Root::Apk(Apk::feed(run, &format!("{name}-feed"), format!("{url}/feed/x86_64/packages.adb")))
            }
            Client::Dnf => Root::Dnf(Dnf::new(run, name, &url)),
            Client::Zypper => Root::Zypper(Zypper::new(run, name, &url)),
        }
    }

    /// Installs into a new root, and looks whether it is there.
    async fn installs(&self, run: &Run, name: &str, server: std::net::SocketAddr) -> Root {
        let mut root = self.root(run, name, server);
        root.install(self.packages).await;
        assert_eq!(root.version_of_hello().await, self.versions[0], "{name} {}", self.repository);
        root
    }

    fn is_of_repository(&self, seen: &Seen) -> bool {
        let feed = seen.path.contains("/feed/") == (self.client == Client::ApkFeed);
        seen.path.trim_start_matches("/api").starts_with(&format!("/{}/", self.repository)) && feed
    }

    fn asked_upstream(&self, site: &Site) -> Vec<Seen> {
        site.upstream.log().all().into_iter().filter(|seen| self.is_of_repository(seen)).collect()
    }
}

impl Root {
    async fn install(&mut self, packages: &[&str]) {
        match self {
            Self::Apk(apk) => apk.run(&[&["add"], packages].concat()).await.succeeded(),
            Self::Dnf(dnf) => dnf.run(&[&["install"], packages].concat()).await.succeeded(),
            Self::Zypper(zypper) => {
                zypper.run(&["refresh"]).await.succeeded();
                zypper.run(&[&["install", "--no-recommends"], packages].concat()).await.succeeded()
            }
        };
    }

    /// Takes in what is new and installs it.
    async fn upgrade(&mut self) {
        match self {
            Self::Apk(apk) => apk.run(&["--force-refresh", "upgrade"]).await.succeeded(),
            Self::Dnf(dnf) => dnf.run(&["upgrade", "--refresh"]).await.succeeded(),
            Self::Zypper(zypper) => {
                zypper.run(&["refresh"]).await.succeeded();
                zypper.run(&["update", "--no-recommends"]).await.succeeded()
            }
        };
    }

    async fn version_of_hello(&self) -> String {
        match self {
            Self::Apk(apk) => apk.installed("hello").unwrap_or_default(),
            Self::Dnf(dnf) => dnf.installed("hello").await,
            Self::Zypper(zypper) => zypper.installed("hello").await,
        }
    }
}

/// Each client installs cold, then warm, then without upstream.
async fn install_in_every_phase(backend: Backend, cases: &[Case]) {
    let site = Site::on(backend).await;
    let recorder = Proxy::to(site.server.address()).await;

    for case in cases {
        recorder.clear();
        case.installs(&site.run, "cold", recorder.address()).await;
        case.sent_what_it_is_known_to_send(&recorder.requests());
        case.cost_one_request_a_path(&site);
    }
    site.upstream.log().clear();
    for case in cases {
        case.installs(&site.run, "warm", recorder.address()).await;
        // dnf says no-cache for repomd.xml each time: after a few seconds that is one conditional request, and no body.
        let asked = case.asked_upstream(&site);
        let asked_again = |seen: &Seen| seen.path.ends_with("/repomd.xml") && seen.status == 304 && seen.sent() == 0;
        assert!(asked.iter().all(asked_again), "a second install asked upstream: {asked:#?}");
    }
    site.upstream.stop().await;
    for case in cases {
        case.installs(&site.run, "without-upstream", recorder.address()).await;
    }
}

impl Case {
    fn sent_what_it_is_known_to_send(&self, sent: &[Seen]) {
        let prefix = format!("/api/{}", self.repository);
        let sent: BTreeSet<_> = sent
            .iter()
            .map(|seen| format!("{} {}", seen.method, seen.target.strip_prefix(&prefix).unwrap_or(&seen.target)))
            .collect();
        for line in self.sends {
            assert!(sent.contains(*line), "{line} is not among {sent:#?}");
        }
    }

    /// However often a client asks for a path, upstream is asked for it once; and told nothing of the client. A signed entry is
    /// looked at a second time, to know that it was still the same when its signature had come.
    fn cost_one_request_a_path(&self, site: &Site) {
        let asked = self.asked_upstream(site);
        let mut paths = BTreeSet::new();
        for seen in &asked {
            let is_signed_entry = seen.path.ends_with("/repomd.xml");
            let times = asked.iter().filter(|other| other.path == seen.path).count();
            assert!(
                paths.insert(seen.path.clone()) || (is_signed_entry && times == 2),
                "{} was asked for twice: {:#?}",
                seen.path,
                site.upstream.log().lines()
            );
            assert_eq!(seen.header("accept-encoding"), Some("identity"));
            assert!(seen.header("user-agent").is_some_and(|agent| agent.starts_with("artifactapi/")), "{seen:?}");
            for forwarded in ["range", "cache-control", "pragma", "cookie", "x-forwarded-for"] {
                assert_eq!(seen.header(forwarded), None, "{forwarded} went upstream");
            }
        }
        assert!(!asked.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apk_installs_from_version_2_and_3() {
    install_in_every_phase(Laptop, &[APK, APK_FEED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dnf_installs_from_digest_names() {
    install_in_every_phase(Laptop, &[dnf("rpm/el9/x86_64")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dnf_installs_from_plain_names() {
    install_in_every_phase(Laptop, &[dnf("rpm/plain-names")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dnf_installs_whatever_the_compression() {
    install_in_every_phase(Laptop, &[dnf("rpm/xz"), dnf("rpm/zst"), dnf("rpm/zck")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zypper_installs() {
    install_in_every_phase(Laptop, &[ZYPPER]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_installs_over_shared_stores() {
    install_in_every_phase(Shared, EACH).await;
}

/// Upstream shows a new generation; a client that asks for news installs the new build.
async fn upgrade_after_a_switch(backend: Backend) {
    let site = Setup::new(backend).await.set("cache.index_ttl", 0).start().await;
    let mut roots = Vec::new();
    for case in EACH {
        roots.push(case.installs(&site.run, "root", site.server.address()).await);
    }
    site.switch_to(2);
    for (case, root) in EACH.iter().zip(&mut roots) {
        root.upgrade().await;
        assert_eq!(root.version_of_hello().await, case.versions[1], "{}", case.repository);
    }
    // What did not change was not fetched again.
    let unchanged = "/alpine/v3.22/main/x86_64/big-1.0-r0.apk";
    assert_eq!(site.upstream.log().of(unchanged).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_upgrades_after_a_switch() {
    upgrade_after_a_switch(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_upgrades_after_a_switch_over_shared_stores() {
    upgrade_after_a_switch(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apk_keeps_its_connection() {
    let site = Site::on(Laptop).await;
    let recorder = Proxy::to(site.server.address()).await;
    APK.installs(&site.run, "root", recorder.address()).await;
    let connections = recorder.connections();
    assert!(connections <= 2, "{connections} connections for {} requests", recorder.requests().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_refuse_what_is_not_signed() {
    let site = Site::on(Laptop).await;
    let dnf = Dnf::new(&site.run, "dnf", &format!("http://{}/api/rpm/el9/x86_64", site.server.address()));
    dnf.run(&["install", "unsigned"]).await.failed_with("is not signed");
}

/// Cold, warm, and without upstream: curl gets the bytes of the fixture.
async fn curl_fetches(backend: Backend) {
    let site = Site::on(backend).await;
    let files = ["0.bin", "1.bin", "10k.bin", "5m.bin", "tool/v1.0/tool-1.0-linux-amd64.tar.gz", "page.html"];
    for phase in ["cold", "warm", "without upstream"] {
        if phase == "without upstream" {
            site.upstream.stop().await;
        }
        for file in files {
            let got = site.run.path("got");
            curl(&format!("http://{}/api/files/{file}", site.server.address()), &got, &[]).await.succeeded();
            let expected = fixture(1, &format!("generic/{file}"));
            assert!(std::fs::read(&got).expect("a file") == expected, "{phase}: {file} differs");
        }
        for file in files {
            assert_eq!(site.upstream.log().of(&format!("/generic/{file}")).len(), 1, "{phase}: {file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_fetches_from_files() {
    curl_fetches(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_fetches_over_shared_stores() {
    curl_fetches(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_resumes_a_download() {
    let site = Site::on(Laptop).await;
    let (got, expected) = (site.run.path("got"), fixture(1, "generic/5m.bin"));
    std::fs::write(&got, &expected[..1_000_000]).expect("the first part");
    let url = format!("http://{}/api/files/5m.bin", site.server.address());
    curl(&url, &got, &["-C", "-"]).await.succeeded();
    assert!(std::fs::read(&got).expect("a file") == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn zckdl_fetches_changed_chunks_only() {
    let site = Site::on(Laptop).await;
    site.switch_to(2);
    let recorder = Proxy::to(site.server.address()).await;
    let url = format!("http://{}/api/rpm/zck/blocks.zck", recorder.address());
    let earlier = generation(1).join("rpm/zck/blocks.zck");
    // Cold, the ranges are cut out of a body that is still on its way; warm, out of a file.
    for phase in ["cold", "warm"] {
        recorder.clear();
        zckdl(&url, &earlier, &site.run.folder(phase)).await.succeeded();
        let got = std::fs::read(site.run.path(phase).join("blocks.zck")).expect("the file");
        assert!(got == fixture(2, "rpm/zck/blocks.zck"), "{phase}");
        let many = recorder.requests().iter().any(|seen| seen.header("range").is_some_and(|range| range.contains(',')));
        assert!(many, "{phase}: zckdl asked for no more than one range at once");
    }
    assert_eq!(site.upstream.log().of("/rpm/zck/blocks.zck").len(), 1);
}
