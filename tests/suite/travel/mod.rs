//! Time travel: an upstream goes through twenty generations and deletes what it replaces; then it is gone, and everything that
//! it ever published can still be had as it was.
//!
//! - Each generation's files are upstream's, byte for byte, by number, tag and time; nothing of them was signed again.
//! - Real dnf and real apk, checking every signature, install the old releases, and the build that a name stood for then.
//! - What the server says differs between any two generations is what a comparison of upstream's raw indexes says. That
//!   comparison shares no code with the server.
//! - A generation that there is not is a 404 that says which there are.

mod raw;

use std::path::PathBuf;

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use self::raw::{Listing, apk_packages, differences, file, rpm_packages};
use crate::support::clients::{Apk, Dnf};
use crate::support::history::{APK, RPM, ages, builds};
use crate::support::http::Request;
use crate::support::made;
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::{generation, keys};
use crate::support::until;

const AGES: u32 = 20;

/// A format's part of the scenario.
struct Kind {
    /// The repository and its root below it.
    repository: &'static str,
    root: &'static str,
    /// What a generation consists of beside packages, the entry first.
    files: &'static [&'static str],
    packages: fn(&[PathBuf], u32) -> Listing,
}

const KINDS: [Kind; 2] = [
    Kind {
        repository: "rpm",
        root: RPM,
        files: &[
            "repodata/repomd.xml",
            "repodata/repomd.xml.asc",
            "repodata/primary.xml.gz",
            "repodata/filelists.xml.gz",
            "repodata/other.xml.gz",
        ],
        packages: rpm_packages,
    },
    Kind { repository: "alpine", root: APK, files: &["APKINDEX.tar.gz"], packages: apk_packages },
];

/// A site whose server holds every generation, all of them with all of their packages, and whose upstream is gone.
struct Past {
    site: Site,
    ages: Vec<PathBuf>,
}

/// One generation as the server lists it.
struct Snapshot {
    id: i64,
    published_at: Timestamp,
}

impl Past {
    async fn new() -> Self {
        let setup = Setup::new(Laptop).await.set("cache.index_ttl", 0).set("cache.negative_ttl", 0);
        let ages = ages(&setup.run, AGES).await;
        let key = |name: &str| json!([keys().join(name)]);
        let trusting = |name: &str, keys: Value| {
            let remote = Remote::new(name, name, setup.upstream.url(&format!("/{name}")));
            remote.set("cache.index_ttl", 0).set("trusted_keys", keys)
        };
        let apk_key = json!([generation(1).join("alpine/keys/fixtures@example.org-67241a00.rsa.pub")]);
        let (rpm, alpine) = (trusting("rpm", key("RPM-GPG-KEY-fixtures")), trusting("alpine", apk_key));
        let site = setup.remote(rpm).remote(alpine).start().await;
        for (age, folder) in (1..).zip(&ages) {
            site.upstream.switch_to(folder);
            for kind in &KINDS {
                let entry = format!("{}/{}", kind.root, kind.files[0]);
                let expected = file(&ages, age, &entry);
                until(format!("generation {age} of {entry}"), || async {
                    (site.server.get(&entry).await.body == expected).then_some(())
                })
                .await;
                for path in (kind.packages)(&ages, age).keys() {
                    let path = format!("{}/{path}", kind.repository);
                    site.server.get(&path).await.is(&file(&ages, age, &path));
                    site.server.holds(&path).await;
                }
            }
        }
        site.upstream.stop().await;
        Self { site, ages }
    }

    async fn json(&self, target: &str) -> Value {
        let reply = self.site.server.ask(&Request::get(target)).await;
        serde_json::from_slice(&reply.has(200).body).expect("JSON")
    }

    /// The snapshots of a root, oldest first: one for each generation.
    async fn snapshots(&self, kind: &Kind) -> Vec<Snapshot> {
        let listed = self.json(&format!("/snapshots/{}?limit=100", kind.root)).await;
        let mut snapshots: Vec<_> = listed["snapshots"].as_array().expect("snapshots").iter().collect();
        snapshots.reverse();
        assert_eq!(snapshots.len(), AGES as usize, "{listed}");
        for (age, snapshot) in (1..).zip(&snapshots) {
            assert_eq!(snapshot["packages"], (kind.packages)(&self.ages, age).len(), "generation {age}: {snapshot}");
        }
        let snapshot = |row: &&Value| Snapshot {
            id: row["id"].as_i64().expect("a number"),
            published_at: row["published_at"].as_str().expect("a time").parse().expect("RFC 3339"),
        };
        snapshots.iter().map(snapshot).collect()
    }

    /// Gives a generation a name.
    async fn tag(&self, kind: &Kind, name: &str, id: i64) {
        let tag = Request::new("PUT", format!("/snapshots/{}?tag={name}&snapshot={id}", kind.root));
        self.site.server.ask(&tag.by_administrator()).await.has(200);
    }

    /// The files of a generation are what upstream had then.
    async fn is_as_it_was(&self, kind: &Kind, when: &str, age: u32) {
        let packages = (kind.packages)(&self.ages, age);
        let below = kind.root.split_once('/').expect("a repository").1;
        let files = kind.files.iter().map(|name| format!("{below}/{name}"));
        for path in files.chain(packages.into_keys()) {
            let reply = self.site.server.get(&format!("{}@{when}/{path}", kind.repository)).await;
            reply.is(&file(&self.ages, age, &format!("{}/{path}", kind.repository)));
        }
    }
}

/// Every generation is what it was, however it is named.
async fn is_told_by_number_tag_and_time(past: &Past, kind: &Kind, snapshots: &[Snapshot]) {
    for (age, Snapshot { id, published_at }) in (1..).zip(snapshots) {
        past.tag(kind, &format!("age-{age}"), *id).await;
        for when in [id.to_string(), format!("age-{age}"), published_at.to_string()] {
            past.is_as_it_was(kind, &when, age).await;
        }
        // Until a moment before that it was the one before.
        if age > 1 {
            past.is_as_it_was(kind, &moment_before(published_at), age - 1).await;
        }
    }
    // A date stands for the end of its day.
    let day = |snapshot: &Snapshot| snapshot.published_at.to_string()[..10].to_owned();
    for (age, snapshot) in (1..).zip(snapshots) {
        if snapshots.get(age as usize).is_none_or(|next| day(next) != day(snapshot)) {
            past.is_as_it_was(kind, &day(snapshot), age).await;
        }
    }
}

fn moment_before(moment: &Timestamp) -> String {
    moment.checked_sub(1.millisecond()).expect("a time").to_string()
}

/// What there never was, or not yet, is absent, and the answer says what there is.
async fn says_what_there_is(past: &Past, kind: &Kind, snapshots: &[Snapshot]) {
    let (oldest, newest) = (&snapshots[0], &snapshots[snapshots.len() - 1]);
    let below = kind.root.split_once('/').expect("a repository").1;
    let never = ["2001-01-01".to_owned(), moment_before(&oldest.published_at), "never".to_owned(), "999999".to_owned()];
    for when in never {
        let asked = [
            format!("/api/{}@{when}/{below}/{}", kind.repository, kind.files[0]),
            format!("/snapshots/{}?from={when}", kind.root),
        ];
        for target in asked {
            let problem = past.site.server.ask(&Request::get(&target)).await.problem(404);
            let range = format!(
                "there are snapshots from {:.3} (number {}) to {:.3} (number {})",
                oldest.published_at, oldest.id, newest.published_at, newest.id
            );
            assert!(problem.detail.contains(&range), "{target}: {problem:?} does not say {range:?}");
        }
    }
}

/// Any two generations differ as their raw indexes do; the command line says the same.
async fn differs_as_the_indexes_do(past: &Past, kind: &Kind, snapshots: &[Snapshot]) {
    let listings: Vec<Listing> = (1..=AGES).map(|age| (kind.packages)(&past.ages, age)).collect();
    let mut told = 0;
    for (from, to) in (0..snapshots.len()).flat_map(|from| (0..snapshots.len()).map(move |to| (from, to))) {
        let (changes, lines) = differences(&listings[from], &listings[to]);
        let (first, last) = (snapshots[from].id, snapshots[to].id);
        let mut diff = past.json(&format!("/snapshots/{}?from={first}&to={last}", kind.root)).await;
        for change in diff["changes"].as_array_mut().expect("changes") {
            for side in ["from", "to"] {
                change[side].as_object_mut().and_then(|described| described.remove("size"));
            }
        }
        assert_eq!(diff["changes"], json!(changes), "{} from generation {} to {}", kind.root, from + 1, to + 1);
        told += changes.len();
        // The command is a process each time: forwards and backwards over every distance, once.
        if from + to == snapshots.len() - 1 {
            let below = kind.root.split_once('/').expect("a repository").1;
            let (from, to) = (first.to_string(), last.to_string());
            let said = past.site.server.plan.run(&["snapshot", "diff", kind.repository, below, &from, &to]).await;
            let said = said.succeeded();
            assert_eq!(said.lines().collect::<Vec<_>>(), lines, "{} from {from} to {to}", kind.root);
        }
    }
    assert!(told > 1_000, "only {told} differences: the generations are too much alike");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_generations_are_what_they_were() {
    let past = Past::new().await;
    for kind in &KINDS {
        let snapshots = past.snapshots(kind).await;
        is_told_by_number_tag_and_time(&past, kind, &snapshots).await;
        says_what_there_is(&past, kind, &snapshots).await;
        differs_as_the_indexes_do(&past, kind, &snapshots).await;
    }
}

/// How clients name a generation, and which it is.
fn named(snapshots: &[Snapshot]) -> [(String, u32); 4] {
    let newest = &snapshots[snapshots.len() - 1].published_at;
    [
        (snapshots[2].id.to_string(), 3),
        ("age-8".to_owned(), 8),
        (snapshots[12].published_at.to_string(), 13),
        (newest.to_string()[..10].to_owned(), AGES),
    ]
}

/// What the file of `steady` was made from in a generation: the name says nothing of it.
fn steady(age: u32) -> u32 {
    builds(age).iter().find(|build| build.name == "steady").expect("it is in each").content
}

#[tokio::test(flavor = "multi_thread")]
async fn dnf_and_apk_install_what_was_there_then() {
    let past = Past::new().await;
    for kind in &KINDS {
        let snapshots = past.snapshots(kind).await;
        past.tag(kind, "age-8", snapshots[7].id).await;
        for (when, age) in named(&snapshots) {
            let url = format!("http://{}/api/{}@{when}/ages", past.site.server.address(), kind.repository);
            let name = format!("{}-{age}", kind.repository);
            if kind.repository == "rpm" {
                let dnf = Dnf::new(&past.site.run, &name, &url);
                dnf.run(&["install", "travel", "steady"]).await.succeeded();
                assert_eq!(dnf.installed("travel").await, format!("travel-1.0-{age}.x86_64"), "{when}");
                assert_eq!(dnf.file("usr/share/steady"), format!("{}\n", steady(age)).into_bytes(), "{when}");
            } else {
                let keys = generation(1).join("alpine/keys");
                let mut apk = Apk::with(&past.site.run, &name, &[url], keys);
                apk.run(&["add", "travel", "steady"]).await.succeeded();
                assert_eq!(apk.installed("travel"), Some(format!("1.0-r{age}")), "{when}");
                assert_eq!(apk.file("usr/share/steady"), made::content(steady(age)), "{when}");
            }
        }
    }
}
