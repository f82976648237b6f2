//! Each thing the server stands on is stopped under a light load and started again; every byte served is compared.
//!
//! At least one test for each row of the design's table of what still works while something is away (DESIGN 7); a full
//! disk is in `disk`.

mod disk;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::snapshots::{shows, snapshots};
use crate::support::bodies::noise;
use crate::support::http::Request;
use crate::support::load::Load;
use crate::support::proxy::{Mode, Proxy};
use crate::support::server::Server;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::services::Services;
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;

const MIB: usize = 1 << 20;
const INDEX: &str = "rpm/el9/x86_64/repodata/repomd.xml";
const PACKAGE: &str = "rpm/el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm";

/// How many right answers make a stage of a test.
const STAGE: u64 = 60;

/// A site under load, and what its clients ask for: files of memory's size and larger, an index and a package.
struct Loaded {
    site: Site,
    load: Load,
    held: BTreeMap<String, Bytes>,
    fresh: u64,
}

impl Loaded {
    async fn begin(site: Site) -> Self {
        let mut held = BTreeMap::new();
        for (number, size) in [(1, 3_000), (2, 300_000), (3, 2 * MIB)] {
            held.insert(format!("files/held/{number}"), put(&site, &format!("held/{number}"), number, size));
        }
        for path in [INDEX, PACKAGE] {
            held.insert(path.to_owned(), fixture(1, path).into());
        }
        for (path, body) in &held {
            site.server.get(path).await.is(body);
            site.server.holds(path).await;
        }
        let load = Load::on(site.server.address(), &held);
        load.goes_on(STAGE).await;
        Self { site, load, held, fresh: 0 }
    }

    fn services(&mut self) -> &mut Services {
        self.site.services.as_mut().expect("services")
    }

    /// A file that nobody has asked for yet.
    fn unheld(&mut self, size: usize) -> (String, Bytes) {
        self.fresh += 1;
        let name = format!("fresh/{}", self.fresh);
        let body = put(&self.site, &name, 1_000 + self.fresh, size);
        (format!("files/{name}"), body)
    }

    /// What is not held comes from upstream, whatever else is away: twice, because the second time is another way.
    async fn misses_stream_through(&mut self) -> Vec<(String, Bytes)> {
        let mut missed = Vec::new();
        for size in [2_000, 400_000, 3 * MIB] {
            let (path, body) = self.unheld(size);
            for _ in 0..2 {
                self.site.server.get(&path).await.is(&body);
            }
            missed.push((path, body));
        }
        missed
    }

    /// Everything is well, what is fetched now is kept, and the clients never noticed anything.
    async fn recovers(mut self) {
        until("all parts to be well", || async {
            let ready = self.site.server.ask(&Request::get("/ready")).await;
            String::from_utf8_lossy(&ready.body).contains("\"status\":\"ready\"").then_some(())
        })
        .await;
        let (path, body) = self.unheld(500_000);
        self.site.server.get(&path).await.is(&body);
        self.site.server.holds(&path).await;
        self.load.goes_on(STAGE).await;
        self.site.upstream.stop().await;
        self.site.server.get(&path).await.is(&body);
        self.load.goes_on(STAGE).await;
        self.load.end().await;
    }
}

fn put(site: &Site, name: &str, seed: u64, size: usize) -> Bytes {
    let body = noise(seed, size);
    site.upstream.put(&format!("/generic/{name}"), body.clone());
    body
}

async fn without_upstream(backend: Backend) {
    let site = Setup::new(backend).await.set("cache.index_ttl", 0).start().await;
    let mut loaded = Loaded::begin(site).await;
    let (path, body) = loaded.unheld(10_000);
    loaded.site.upstream.stop().await;
    loaded.load.goes_on(STAGE).await;
    let index = loaded.site.server.get(INDEX).await;
    index.is(&loaded.held[INDEX]);
    assert!(index.must("cache-status").contains("stale"), "{}", index.must("cache-status"));
    let problem = loaded.site.server.get(&path).await.problem(502);
    assert!(problem.detail.contains("127.0.0.1"), "{problem:?}");

    loaded.site.upstream.start().await;
    loaded.site.server.get(&path).await.is(&body);
    loaded.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_upstream_what_is_held_is_served() {
    without_upstream(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_upstream_what_is_held_is_served_from_shared_stores() {
    without_upstream(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_everything_goes_on() {
    for frozen in [false, true] {
        let mut loaded = Loaded::begin(Site::on(Shared).await).await;
        let other = loaded.site.replica().await;
        if frozen {
            loaded.services().redis.freeze();
        } else {
            loaded.services().redis.kill().await;
        }
        loaded.load.goes_on(STAGE).await;
        for (path, _) in loaded.misses_stream_through().await {
            loaded.site.server.holds(&path).await;
        }
        // At worst each replica fetches for itself, and its own clients still share that.
        let (path, body) = loaded.unheld(3 * MIB);
        let both = [&loaded.site.server, &other].map(|server| (0..5).map(|_| server.get(&path)));
        for reply in futures_util::future::join_all(both.into_iter().flatten()).await {
            reply.is(&body);
        }
        let asked = loaded.site.upstream.log().of(&path.replacen("files", "/generic", 1)).len();
        assert!((1..=2).contains(&asked), "{asked} transfers");

        if frozen {
            loaded.services().redis.thaw();
        } else {
            loaded.services().redis.start_again().await;
        }
        loaded.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgresql_hits_go_on_and_misses_stream_through() {
    let mut loaded = Loaded::begin(Site::on(Shared).await).await;
    let other = loaded.site.replica().await;
    loaded.services().postgres.kill().await;
    loaded.load.goes_on(STAGE).await;
    // The other replica has none of it in memory: files that never change are found by their keys alone.
    loaded.site.upstream.log().clear();
    for (path, body) in &loaded.held {
        other.get(path).await.is(body);
    }
    let asked = loaded.site.upstream.log().lines();
    assert!(
        !asked.iter().any(|line| line.contains("/generic/held/")),
        "upstream was asked for what is in the bucket: {asked:?}"
    );
    let missed = loaded.misses_stream_through().await;
    for (path, body) in &missed {
        other.get(path).await.is(body);
    }
    loaded.load.goes_on(STAGE).await;

    loaded.services().postgres.start_again().await;
    for (path, body) in &missed {
        is_kept_in_time(&loaded.site.server, path, body).await;
    }
    loaded.recovers().await;
}

/// A package that was built again under its name: another replica knows the index that names the new one, and nothing but the catalog
/// says which of the two in the bucket that is.
#[tokio::test(flavor = "multi_thread")]
async fn without_postgresql_no_earlier_build_of_a_package_is_given() {
    const REBUILT: &str = "rpm/el9/x86_64/Packages/r/rebuilt-1.0-1.el9.x86_64.rpm";
    let [old, new] = [1, 2].map(|number| fixture(number, REBUILT));
    let mut site = Setup::new(Shared).await.set("cache.index_ttl", 0).start().await;
    site.server.get(INDEX).await.is(&fixture(1, INDEX));
    snapshots(&site.server, INDEX, 1).await;
    site.server.get(REBUILT).await.is(&old);
    site.server.holds(REBUILT).await;
    site.switch_to(2);
    shows(&site.server, INDEX, 2).await;
    let other = site.replica().await;
    other.get(INDEX).await.is(&fixture(2, INDEX));
    site.server.get(REBUILT).await.is(&new);
    site.server.holds(REBUILT).await;

    site.services.as_mut().expect("services").postgres.kill().await;
    other.get(REBUILT).await.is(&new);
    site.upstream.stop().await;
    let reply = other.get(REBUILT).await;
    assert!(reply.status >= 500, "{reply:?}");
}

async fn without_s3(frozen: bool) {
    let mut loaded = Loaded::begin(Site::on(Shared).await).await;
    let other = loaded.site.replica().await;
    if frozen {
        loaded.services().weed.freeze();
    } else {
        loaded.services().weed.kill().await;
    }
    loaded.site.upstream.log().clear();
    loaded.load.goes_on(STAGE).await;
    assert_eq!(loaded.site.upstream.log().lines(), [] as [String; 0], "the hot tier has it");
    // The other replica has no copy of its own.
    for (path, body) in &loaded.held {
        other.get(path).await.is(body);
    }
    let missed = loaded.misses_stream_through().await;
    loaded.load.goes_on(STAGE).await;

    if frozen {
        loaded.services().weed.thaw();
    } else {
        loaded.services().weed.start_again().await;
    }
    for (path, body) in &missed {
        is_kept_in_time(&loaded.site.server, path, body).await;
    }
    loaded.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_s3_the_hot_tier_goes_on_and_the_rest_streams_through() {
    without_s3(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_s3_hangs_the_hot_tier_goes_on_and_the_rest_streams_through() {
    without_s3(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_or_resets_is_as_good_as_no_postgresql() {
    let setup = Setup::new(Shared).await;
    let proxy = Proxy::to(setup.services.as_ref().expect("services").postgres.address()).await;
    let site = setup.environment("DBPORT", proxy.address().port().to_string()).start().await;
    let mut loaded = Loaded::begin(site).await;
    for mode in [Mode::Freeze, Mode::Reset] {
        proxy.set(mode);
        let missed = loaded.misses_stream_through().await;
        loaded.load.goes_on(STAGE).await;
        proxy.set(Mode::Pass);
        for (path, body) in &missed {
            is_kept_in_time(&loaded.site.server, path, body).await;
        }
    }
    loaded.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hot_tier_outlives_a_restart_without_s3() {
    let Loaded { mut site, load, held, .. } = Loaded::begin(Site::on(Shared).await).await;
    load.end().await;
    site.services.as_mut().expect("services").weed.kill().await;
    site.server.kill_and_start_again().await;
    site.upstream.stop().await;
    for (path, body) in &held {
        site.server.get(path).await.is(body);
    }
}

/// Asks until it is kept: each store is tried again in its own time. Every answer on the way is right.
async fn is_kept_in_time(server: &Server, path: &str, body: &[u8]) {
    until(format!("{path} to be kept"), || async {
        let reply = server.get(path).await;
        reply.is(body);
        (reply.header("x-artifact-source") == Some("cache")).then_some(())
    })
    .await;
}
