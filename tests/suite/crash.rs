//! Killed without warning while it fills, fifty times over one data folder: after each start the spool is empty, and
//! whatever the server gives out is what upstream has.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::snapshots::snapshots;
use crate::support::bodies::{assert_same, noise};
use crate::support::http::{self, End, Request};
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;

/// Sizes of the files of one round: some are whole at once, some are still growing when the server dies.
const SIZES: [usize; 8] = [0, 1, 2_000, 70_000, 300_000, 700_000, 1_500_000, 4_000_000];

/// An index that is asked for on every request and changes from round to round.
const INDEX: &str = "rpm/el9/x86_64/repodata/repomd.xml";

/// What clients of a site may be given, by path below `/api`.
struct World {
    site: Site,
    random: SmallRng,
    files: BTreeMap<String, Bytes>,
    /// Either generation of the index.
    indexes: [Vec<u8>; 2],
}

impl World {
    async fn new(backend: Backend, seed: u64) -> Self {
        let setup = Setup::new(backend).await.set("cache.index_ttl", 0).set("allow_rollback", true);
        let site = setup.start().await;
        let random = SmallRng::seed_from_u64(seed);
        Self { site, random, files: BTreeMap::new(), indexes: [1, 2].map(|number| fixture(number, INDEX)) }
    }

    /// Fills, a kill in the middle of them, and a start.
    async fn round(&mut self, number: u32) {
        let address = self.site.server.address();
        self.site.switch_to(1 + number % 2);
        let mut fresh = Vec::new();
        for (index, size) in SIZES.into_iter().enumerate() {
            let body = noise(u64::from(number) * 100 + index as u64, size);
            self.site.upstream.put(&format!("/generic/{number}/{index}"), body.clone());
            fresh.push((format!("files/{number}/{index}"), body));
        }
        self.site.upstream.log().clear();
        let mut clients = Vec::new();
        for path in fresh.iter().map(|(path, _)| path.clone()).chain([INDEX.to_owned()]) {
            for _ in 0..self.random.random_range(1..=2) {
                let request = Request::get(format!("/api/{path}"));
                let path = path.clone();
                clients.push(tokio::spawn(async move { (path, http::try_ask(address, &request).await) }));
            }
        }
        self.files.extend(fresh);
        // The moment is counted from the first sign of work, because a busy machine may take its time to begin.
        self.site.upstream.log().begins().await;
        tokio::time::sleep(Duration::from_micros(self.random.random_range(0..120_000))).await;
        self.site.server.kill().await;
        for client in clients {
            if let (path, Some(reply)) = client.await.expect("a client") {
                self.check(&path, &reply);
            }
        }
        self.site.server.start_again().await;
        assert_eq!(self.site.spooled(), [] as [std::path::PathBuf; 0], "round {number}: the spool is not empty");
    }

    /// Fails if an answer holds a byte that is not what upstream has there.
    #[track_caller]
    fn check(&self, path: &str, reply: &http::Reply) {
        reply.has(200);
        if path == INDEX {
            let is_one = self.indexes.iter().any(|index| match reply.end {
                End::Whole => *index == reply.body,
                End::Cut => index.starts_with(&reply.body),
            });
            assert!(is_one, "an index that upstream never had");
            return;
        }
        let expected = &self.files[path];
        match reply.end {
            End::Whole => assert_same(&reply.body, expected, path),
            End::Cut => assert!(expected.starts_with(&reply.body), "{path}: wrong bytes before the cut"),
        }
    }

    /// Asks for these without upstream: what is given is right and whole, what is not is an honest error.
    async fn ask_without_upstream(&self, paths: &[String]) -> usize {
        let mut held = 0;
        self.site.upstream.stop().await;
        for path in paths {
            let reply = self.site.server.get(path).await;
            if reply.status == 200 {
                assert_eq!(reply.end, End::Whole, "{path}");
                self.check(path, &reply);
                held += 1;
            } else {
                reply.problem(502);
            }
        }
        self.site.upstream.start().await;
        held
    }

    /// Waits until the index is this one. What the dead server's lease still keeps from being refreshed says so.
    async fn index_becomes(&self, generation: usize) {
        until("the index to be refreshed", || async {
            let reply = self.site.server.get(INDEX).await;
            self.check(INDEX, &reply);
            let is_current = reply.body == self.indexes[generation];
            assert!(is_current || reply.must("cache-status").contains("stale"), "{:?}", reply.head);
            is_current.then_some(())
        })
        .await;
    }

    /// Asks for these with upstream there: all are given.
    async fn ask(&self, paths: &[String]) {
        for path in paths {
            let reply = self.site.server.get(path).await;
            assert_eq!(reply.end, End::Whole, "{path}");
            self.check(path, &reply);
        }
    }
}

/// `rounds` kills, each at a moment of its own.
async fn killed(backend: Backend, rounds: u32, seed: u64) {
    let mut world = World::new(backend, seed).await;
    let mut survived = 0;
    for number in 0..rounds {
        world.round(number).await;
        let paths: Vec<_> = (0..SIZES.len()).map(|index| format!("files/{number}/{index}")).collect();
        // An index that could not be compared with upstream's rests for a while, so it is one or the other.
        if world.random.random_bool(0.5) {
            world.index_becomes((number % 2) as usize).await;
            survived += world.ask_without_upstream(&paths).await;
        } else {
            survived += world.ask_without_upstream(&[&paths[..], &[INDEX.to_owned()]].concat()).await;
        }
        world.ask(&paths).await;
        for path in &paths {
            world.site.server.holds(path).await;
        }
    }
    // If every kill came before anything was kept, or after everything was, these moments prove nothing.
    let most = rounds as usize * (SIZES.len() + 1);
    assert!(survived > 0 && survived < most, "{survived} of {most} files survived");
    let all: Vec<_> = world.files.keys().cloned().collect();
    assert_eq!(world.ask_without_upstream(&all).await, all.len(), "what was kept once is held for good");
    world.site.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_fifty_times_while_it_fills() {
    killed(Laptop, 50, 20_260_101).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_fills_shared_stores() {
    killed(Shared, 6, 20_260_102).await;
}

/// The metadata of a root whose files have the same names in every generation.
const ROOT: &str = "rpm/plain-names/repodata";
const ROOT_FILES: [&str; 4] = ["repomd.xml", "repomd.xml.asc", "primary.xml.gz", "filelists.xml.gz"];

/// Killed in the middle of a switch, again and again: the root is always served wholly from one generation.
#[tokio::test(flavor = "multi_thread")]
async fn killed_fifty_times_while_it_switches() {
    let setup = Setup::new(Laptop).await.set("cache.index_ttl", 0).set("allow_rollback", true);
    let mut site = setup.start().await;
    let path = |name: &str| format!("{ROOT}/{name}");
    site.server.get(&path("repomd.xml")).await.is(&fixture(1, &path("repomd.xml")));
    snapshots(&site.server, "rpm/plain-names", 1).await;
    let mut random = SmallRng::seed_from_u64(20_260_103);
    let mut switches = [0; 2];
    for number in 0..50 {
        site.switch_to(1 + (number + 1) % 2);
        site.upstream.log().clear();
        let (address, request) = (site.server.address(), Request::get(format!("/api/{}", path("repomd.xml"))));
        let asking = tokio::spawn(async move { http::try_ask(address, &request).await });
        site.upstream.log().begins().await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
        site.server.kill_and_start_again().await;
        let _ = asking.await;
        site.upstream.stop().await;
        let entry = site.server.get(&path("repomd.xml")).await;
        let generation = (1..=2).find(|number| entry.body == fixture(*number, &path("repomd.xml")));
        let generation = generation.unwrap_or_else(|| panic!("neither generation: {entry:?}"));
        for name in ROOT_FILES {
            site.server.get(&path(name)).await.is(&fixture(generation, &path(name)));
        }
        assert!(site.spooled().is_empty(), "{:?}", site.spooled());
        switches[usize::from(generation == 1 + (number + 1) % 2)] += 1;
        site.upstream.start().await;
        // A fresh process asks upstream at once; this one rests after it could not.
        site.server.kill_and_start_again().await;
    }
    // If every kill came before the switch, or after it, these moments prove nothing.
    assert!(switches.iter().all(|count| *count > 0), "{switches:?}");
}
