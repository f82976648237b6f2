//! What only keys and history can tell: an upstream that is wrong although everything it sends is well-formed.
//!
//! A signature by another key under the trusted one's name, a right signature of another index, a flipped bit that no digest
//! covers, an index or a build from before: for each place where that can be, with a mirror and without one, with nothing held and
//! with an older generation held. Nothing of it is shown or kept, the mirror is used, it is counted, and when upstream is well
//! again so is the answer. Each cell has a server of its own, so that what is counted is its own.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::snapshots::snapshots;
use crate::support::http::Request;
use crate::support::made;
use crate::support::metrics::metric;
use crate::support::services::Backend::Laptop;
use crate::support::signing::{ApkKey, Gpg};
use crate::support::testbed::generation;
use crate::support::until;
use crate::trust::key;

/// The rpm root, whose files have the same names in both generations, and the apk root.
const RPM: &str = "rpm/plain-names";
const APK: &str = "alpine/v3.22/main/x86_64";

/// A file that is wrong, and how.
#[derive(Debug, Clone, Copy)]
struct Case {
    root: &'static str,
    /// Below the root.
    file: &'static str,
    wrong: Wrong,
}

#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// A bit of this byte is flipped.
    Bit(usize),
    /// Signed by another key that calls itself as the trusted one does.
    Impostor,
    /// As it was a generation before.
    Old,
    /// As it was a generation before, and so is everything else there.
    AllOld,
}

const fn case(root: &'static str, file: &'static str, wrong: Wrong) -> Case {
    Case { root, file, wrong }
}

const ENTRY: &str = "repodata/repomd.xml";
const SIGNATURE: &str = "repodata/repomd.xml.asc";
const APK_ENTRY: &str = "APKINDEX.tar.gz";

/// Signatures that are not what they must be. The old signature is right, but of another index.
const SIGNATURES: [Case; 7] = [
    case(RPM, ENTRY, Wrong::Bit(700)),
    case(RPM, SIGNATURE, Wrong::Bit(200)),
    case(RPM, SIGNATURE, Wrong::Impostor),
    case(RPM, SIGNATURE, Wrong::Old),
    case(APK, APK_ENTRY, Wrong::Bit(60)),
    case(APK, APK_ENTRY, Wrong::Impostor),
    case(APK, APK_ENTRY, Wrong::Old),
];

/// What an index names, from before.
const BUILDS: [Case; 5] = [
    case(RPM, "repodata/primary.xml.gz", Wrong::Old),
    case(RPM, "repodata/filelists.xml.gz", Wrong::Old),
    case(RPM, "repodata/updateinfo.xml.gz", Wrong::Old),
    case(RPM, "Packages/r/rebuilt-1.0-1.el9.x86_64.rpm", Wrong::Old),
    case(APK, "rebuilt-1.0-r0.apk", Wrong::Old),
];

/// Indexes from before, when a newer one was seen already.
const REPLAYS: [Case; 2] = [case(RPM, ENTRY, Wrong::AllOld), case(APK, APK_ENTRY, Wrong::AllOld)];

impl Case {
    fn path(&self) -> String {
        format!("{}/{}", self.root, self.file)
    }

    fn entry(&self) -> String {
        format!("{}/{}", self.root, if self.root == RPM { ENTRY } else { APK_ENTRY })
    }

    /// Whether it is a package or a member: of those the index says what they are.
    fn is_named(&self) -> bool {
        ![ENTRY, SIGNATURE, APK_ENTRY].contains(&self.file)
    }

    /// What the upstream sends in place of the second generation's file.
    async fn content(&self, run: &crate::support::run::Run) -> Vec<u8> {
        let (path, mut right) = (self.path(), fixture(2, &self.path()));
        match self.wrong {
            Wrong::Bit(at) => {
                right[at] ^= 1;
                right
            }
            Wrong::Impostor if self.root == RPM => Gpg::impostor(run).await.signature(&fixture(2, &self.entry())).await,
            Wrong::Impostor => made::sign(&ApkKey::impostor(run), made::unsigned(&right), None).await,
            // The signature of the one before, and what it does not sign.
            Wrong::Old if self.file == APK_ENTRY => {
                let old = fixture(1, &path);
                let signature = old.len() - made::unsigned(&old).len();
                [&old[..signature], made::unsigned(&right)].concat()
            }
            Wrong::Old | Wrong::AllOld => fixture(1, &path),
        }
    }
}

/// What is held before upstream goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Generation(u32),
}

/// A case in its surroundings: upstream has the second generation, wrong in one place, and perhaps a mirror has it right.
struct Scene {
    case: Case,
    before: Before,
    mirror: Option<Upstream>,
    site: Site,
}

impl Scene {
    async fn new(case: Case, before: Before, has_mirror: bool) -> Self {
        let setup = Setup::new(Laptop).await;
        let first = if let Before::Generation(number) = before { number } else { 2 };
        setup.upstream.switch_to(&generation(first));
        let format = case.root.split('/').next().expect("a format");
        let key = if format == "rpm" { key("KEY-fixtures", "fixtures") } else { key("fixtures", ".rsa.pub") };
        let mut remote = Remote::new(format, format, setup.upstream.url(&format!("/{format}")))
            .set("trusted_keys", json!([key]))
            .set("cache.index_ttl", 0)
            .set("cache.negative_ttl", 0);
        let mut mirror = None;
        if has_mirror {
            let other = Upstream::serving(&generation(first)).await;
            remote = remote.set("mirrors", json!([other.url(&format!("/{format}"))]));
            mirror = Some(other);
        }
        let site = setup.remote(remote).start().await;
        if let Before::Generation(number) = before {
            let entry = case.entry();
            site.server.get(&entry).await.is(&fixture(number, &entry));
            snapshots(&site.server, case.root, 1).await;
        }
        let wrong = case.content(&site.run).await;
        site.upstream.put(&format!("/{}", case.path()), wrong);
        let shown = if matches!(case.wrong, Wrong::AllOld) { 1 } else { 2 };
        site.upstream.switch_to(&generation(shown));
        if let Some(mirror) = &mirror {
            mirror.switch_to(&generation(2));
        }
        Self { case, before, mirror, site }
    }

    fn what(&self) -> String {
        let mirror = if self.mirror.is_some() { "with" } else { "without" };
        format!("{}, {:?}, {:?} held, {mirror} a mirror", self.case.path(), self.case.wrong, self.before)
    }

    /// How often something from upstream was refused.
    async fn refusals(&self) -> u64 {
        let mut sum = 0;
        for name in ["upstream_unfit_total", "indexes_untrusted_total", "indexes_older_refused_total"] {
            sum += metric(&self.site.server, name).await;
        }
        sum
    }

    /// Asks for a file, and answers which generation's it is; `None` for an honest error, or a body that is cut.
    async fn shown(&self, path: &str) -> Option<u32> {
        let reply = self.site.server.get(path).await;
        if reply.status != 200 {
            reply.problem(502);
            return None;
        }
        let generation = (1..=2).find(|number| reply.body == fixture(*number, path));
        let is_honest = reply.end == End::Cut || generation.is_some();
        assert!(is_honest, "{}: neither generation's {path}: {reply:?}", self.what());
        generation.filter(|_| reply.end == End::Whole)
    }

    /// The digest of what the server holds at a path.
    async fn held(&self, path: &str) -> Option<String> {
        let (repository, below) = path.split_once('/').expect("a repository");
        let target = format!("/artifacts/{repository}?limit=1000&prefix={below}");
        let reply = self.site.server.ask(&Request::get(target)).await;
        let listed: Value = serde_json::from_slice(&reply.has(200).body).expect("JSON");
        let rows = listed["artifacts"].as_array().expect("artifacts");
        let row = rows.iter().find(|row| row["path"] == below)?;
        Some(row["sha256"].as_str().expect("a digest").trim_start_matches("sha256:").to_owned())
    }

    /// What is shown while upstream is wrong and no mirror helps.
    fn stays(&self) -> Option<u32> {
        match self.before {
            Before::Generation(number) => Some(number),
            Before::Nothing => None,
        }
    }

    async fn is_as_it_must_be(&self) {
        let (path, entry, before) = (self.case.path(), self.case.entry(), self.refusals().await);
        // Whoever asks for what an index names has been given the index.
        if self.case.is_named() {
            assert_eq!(self.shown(&entry).await, Some(2), "{}", self.what());
        }
        let asked = if self.case.is_named() { &path } else { &entry };
        if let Some(mirror) = &self.mirror {
            until(format!("the right one: {}", self.what()), || async {
                let shown = self.shown(asked).await;
                (shown == Some(2)).then_some(())
            })
            .await;
            assert_eq!(self.shown(&path).await, Some(2), "{}", self.what());
            mirror.log().reaches(&format!("/{asked}"), 1).await;
        } else {
            assert_eq!(self.shown(asked).await, self.stays(), "{}", self.what());
            if self.before != Before::Nothing {
                assert_eq!(self.shown(&path).await, self.stays(), "{}", self.what());
            }
        }
        until(format!("it to be counted: {}", self.what()), || async {
            (self.refusals().await > before).then_some(())
        })
        .await;
        let wrong = crate::support::bodies::sha256(&self.case.content(&self.site.run).await);
        let held = self.held(&path).await;
        // What was right a generation before is held rightly where that generation is.
        let is_kept = held.as_ref() == Some(&wrong) && self.before != Before::Generation(1);
        assert!(!is_kept, "{}: it was kept", self.what());
        assert!(held.is_some() || self.before == Before::Nothing, "{}: what was held is gone", self.what());

        // Upstream is well again: with nothing held the very next request is answered; what is held is asked for again soon.
        self.site.upstream.switch_to(&generation(2));
        self.site.upstream.put(&format!("/{path}"), fixture(2, &path));
        if self.before == Before::Nothing {
            assert_eq!(self.shown(asked).await, Some(2), "{}, upstream healthy again", self.what());
        }
        until(format!("{}, upstream healthy again", self.what()), || async {
            (self.shown(asked).await == Some(2)).then_some(())
        })
        .await;
        assert_eq!(self.shown(&path).await, Some(2), "{}, upstream healthy again", self.what());
    }
}

async fn each(cases: &[Case], before: Before) {
    let scenes = cases.iter().flat_map(|case| [(case, true), (case, false)]);
    join_all(scenes.map(|(case, has_mirror)| async move {
        Scene::new(*case, before, has_mirror).await.is_as_it_must_be().await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_with_nothing_held() {
    each(&SIGNATURES, Before::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_of_the_next_generation() {
    each(&SIGNATURES, Before::Generation(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_index_names_as_it_was_before() {
    each(&BUILDS, Before::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_replayed() {
    each(&REPLAYS, Before::Generation(2)).await;
}
