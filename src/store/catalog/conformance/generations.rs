//! Drafts and their publication.
#![allow(clippy::cloned_ref_to_slice_refs, reason = "what is compared with are owned lists")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifactapi_formats::{Digest, Identity, PackageEntry, RepoPath, Sha256};

use super::{Subject, artifact, at, target};
use crate::store::catalog::snapshots::{
    Draft, Generation, PackageMark, PackageQuery, PackageRowId, Snapshot, SnapshotId, SnapshotPublished,
};
use crate::store::catalog::{Artifact, Published};
use crate::store::key::Target;

pub(super) fn root() -> Target {
    target("main/APKINDEX.tar.gz")
}

/// A package whose whole file is this.
pub(super) fn package(name: &str, version: &str, content: &str) -> PackageEntry {
    PackageEntry {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "x86_64".to_owned(),
        path: RepoPath::new(&format!("main/{name}-{version}.apk")).expect("a path"),
        size: content.len() as u64,
        identity: Identity::File(Digest::from(Sha256::of(content.as_bytes()))),
    }
}

/// A snapshot that is to be published.
pub(super) fn snapshot(root: &Target, draft: Draft, files: Vec<Artifact>, packages: u64, second: u64) -> Snapshot {
    Snapshot {
        id: draft.id,
        root: root.clone(),
        published_at: at(second),
        made_at: Some(at(second) - Duration::from_secs(7)),
        source: "mirror.example".to_owned(),
        packages,
        tags: Vec::new(),
        files,
    }
}

impl Subject {
    /// A draft of these packages, as a refresh writes it.
    pub(super) async fn draft(&self, root: &Target, packages: &[PackageEntry], second: u64) -> Draft {
        let draft = self.snapshots.begin(root, at(second)).await.expect("a draft");
        let marks = self.snapshots.marks(root).await.expect("marks");
        let mut left: HashMap<PackageMark, PackageRowId> = marks.into_iter().collect();
        let is_new = |package: &&PackageEntry| left.remove(&PackageMark::of(package)).is_none();
        let added: Vec<PackageEntry> = packages.iter().filter(is_new).cloned().collect();
        for part in added.chunks(1000) {
            self.snapshots.add_packages(draft.id, part).await.expect("added");
        }
        for part in left.into_values().collect::<Vec<_>>().chunks(1000) {
            self.snapshots.drop_packages(draft.id, part).await.expect("dropped");
        }
        draft
    }

    /// The next snapshot of a root, with an entry file of its own; and which packages were replaced.
    pub(super) async fn next(&self, root: &Target, packages: &[PackageEntry], second: u64) -> (Snapshot, Vec<Target>) {
        let draft = self.draft(root, packages, second).await;
        let mut entry = artifact(root.path.as_str(), format!("index of {second}").as_bytes());
        entry.target = root.clone();
        entry.stored_at = at(second);
        let published = snapshot(root, draft, vec![entry], packages.len() as u64, second);
        match self.snapshots.publish_snapshot(&published, draft.follows, &[]).await.expect("an answer") {
            SnapshotPublished::Won { snapshot, replaced } => (*snapshot, replaced),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn current(&self, root: &Target) -> Option<Snapshot> {
        self.snapshots.current(root).await.expect("an answer")
    }

    /// Names and versions of all packages of the current snapshots.
    pub(super) async fn names(&self) -> Vec<String> {
        let all = PackageQuery { limit: 1000, ..PackageQuery::default() };
        let found = self.snapshots.search(&root().repository, &all).await.expect("packages");
        found.iter().map(|named| format!("{} {}", named.package.name, named.package.version)).collect()
    }
}

pub(super) async fn a_snapshot_comes_back_as_it_was_published(subject: Subject) {
    assert_eq!(subject.current(&root()).await, None);
    let draft = subject.draft(&root(), &[package("a", "1", "a")], 10).await;
    assert_eq!(draft.follows, None);
    let mut files = vec![artifact("main/APKINDEX.tar.gz", b"1"), artifact("main/APKINDEX.tar.gz.asc", b"2")];
    files[0].identity = Some(Identity::File(Digest::from(Sha256::of(b"1"))));
    let written = snapshot(&root(), draft, files, 1, 10);
    let published = subject.snapshots.publish_snapshot(&written, None, &[]).await.expect("an answer");
    let SnapshotPublished::Won { snapshot, replaced } = published else { panic!("{published:?}") };
    assert!(replaced.is_empty());
    let mut expected = written.clone();
    for (file, expected) in snapshot.files.iter().zip(&mut expected.files) {
        assert!(file.revision > expected.revision);
        expected.revision = file.revision;
        assert_eq!(subject.catalog.lookup(&file.target).await.expect("an answer").as_ref(), Some(file));
    }
    assert_eq!(*snapshot, expected);
    assert_eq!(subject.current(&root()).await, Some(expected.clone()));
    assert_eq!(subject.snapshots.snapshot(draft.id).await.expect("an answer"), Some(expected));
    // The same once more, as after an answer that was lost.
    let again = subject.snapshots.publish_snapshot(&written, None, &[]).await.expect("an answer");
    assert_eq!(again, SnapshotPublished::Lost(Some(draft.id)));
    assert_eq!(subject.snapshots.roots(&root().repository, None, 9).await.expect("roots"), [root()]);
    assert_eq!(subject.snapshots.roots(&root().repository, Some(&root().path), 9).await.expect("roots"), []);
}

pub(super) async fn a_draft_is_invisible(subject: Subject) {
    let (first, _) = subject.next(&root(), &[package("a", "1", "a"), package("b", "1", "b")], 10).await;
    let draft = subject.draft(&root(), &[package("a", "2", "A"), package("b", "1", "b")], 20).await;
    assert_eq!(draft.follows, Some(first.id));
    assert_eq!(subject.names().await, ["a 1", "b 1"]);
    assert_eq!(subject.current(&root()).await, Some(first.clone()));
    assert_eq!(subject.snapshots.snapshot(draft.id).await.expect("an answer"), None);
    assert!(!subject.snapshots.tag(draft.id, &"t".parse().expect("a tag")).await.expect("an answer"));
    let path = package("a", "2", "A").path;
    for generation in [Generation::Current, Generation::Of(draft.id), Generation::Of(first.id)] {
        let named = subject.snapshots.named(&root().repository, &path, generation).await.expect("packages");
        assert_eq!(named, [], "{generation:?}");
    }
    assert_eq!(subject.snapshots.renewals(draft.id, None, 9).await.expect("packages"), []);
    assert_eq!(subject.snapshots.diff(first.id, draft.id, None, 9).await.expect("changes"), []);
    assert_eq!(subject.snapshots.snapshots(&root(), None, 9).await.expect("snapshots").len(), 1);
    assert_eq!(subject.snapshots.marks(&root()).await.expect("marks").len(), 2);
}

pub(super) async fn only_differences_are_written(subject: Subject) {
    let mut packages: Vec<_> = (0..100).map(|n| package(&format!("p{n}"), "1", "x")).collect();
    subject.next(&root(), &packages, 10).await;
    assert_eq!(subject.number("SELECT COUNT(*) FROM package").await, 100);
    packages[7] = package("p7", "2", "y");
    packages.pop();
    let (second, _) = subject.next(&root(), &packages, 20).await;
    assert_eq!(subject.number("SELECT COUNT(*) FROM package").await, 101);
    assert_eq!(subject.number("SELECT COUNT(*) FROM package WHERE last IS NOT NULL").await, 2);
    assert_eq!(subject.number("SELECT COUNT(*) FROM package_gone").await, 0);
    assert_eq!(subject.names().await.len(), 99);
    // Said twice, written once.
    let draft = subject.draft(&root(), &[], 30).await;
    let twice = [package("q", "1", "q"), package("q", "1", "q")];
    subject.snapshots.add_packages(draft.id, &twice).await.expect("added");
    subject.snapshots.add_packages(draft.id, &twice).await.expect("added");
    assert_eq!(subject.number("SELECT COUNT(*) FROM package").await, 102);
    assert_eq!(draft.follows, Some(second.id));
}

pub(super) async fn files_become_current_together(subject: Subject) {
    let member = artifact("main/member", b"same");
    let revision = subject.put(&member).await;
    subject.put(&artifact("main/APKINDEX.tar.gz", b"old")).await;
    let draft = subject.draft(&root(), &[], 10).await;
    let mut checked = member.clone();
    checked.checked_at = at(50);
    let absent = artifact("main/new", b"new");
    let files = vec![artifact("main/APKINDEX.tar.gz", b"entry"), checked, absent.clone()];
    let written = snapshot(&root(), draft, files, 0, 10);
    assert_eq!(subject.catalog.lookup(&absent.target).await.expect("an answer"), None);
    let won = subject.snapshots.publish_snapshot(&written, None, &[]).await.expect("an answer");
    let SnapshotPublished::Won { snapshot, .. } = won else { panic!("{won:?}") };
    for file in &snapshot.files {
        assert_eq!(subject.catalog.lookup(&file.target).await.expect("an answer").as_ref(), Some(file));
    }
    assert_eq!(snapshot.files[1].revision, revision, "the record is kept");
    assert_eq!(snapshot.files[1].checked_at, at(50));
    assert_eq!(snapshot.file(&absent.target.path).map(|file| file.sha256), Some(absent.sha256));
    // Never backwards, and what becomes current later does not change the snapshot.
    let draft = subject.draft(&root(), &[], 20).await;
    let written = self::snapshot(&root(), draft, vec![artifact("main/APKINDEX.tar.gz", b"2"), member], 0, 20);
    let won = subject.snapshots.publish_snapshot(&written, draft.follows, &[]).await.expect("an answer");
    let SnapshotPublished::Won { snapshot: second, .. } = won else { panic!("{won:?}") };
    assert_eq!(second.files[1].checked_at, at(50));
    assert_eq!(subject.snapshots.snapshot(snapshot.id).await.expect("an answer"), Some(*snapshot));
    assert!(second.published_at > at(10));
}

pub(super) async fn a_snapshot_that_follows_another_is_lost(subject: Subject) {
    let one = subject.draft(&root(), &[package("a", "1", "a")], 10).await;
    let other = subject.draft(&root(), &[package("b", "1", "b")], 10).await;
    let loser = artifact("main/APKINDEX.tar.gz", b"loser");
    let winning = snapshot(&root(), other, vec![artifact("main/APKINDEX.tar.gz", b"winner")], 1, 10);
    let losing = snapshot(&root(), one, vec![loser.clone()], 1, 10);
    let won = subject.snapshots.publish_snapshot(&winning, None, &[]).await.expect("an answer");
    assert!(matches!(won, SnapshotPublished::Won { .. }));
    let lost = subject.snapshots.publish_snapshot(&losing, None, &[]).await.expect("an answer");
    assert_eq!(lost, SnapshotPublished::Lost(Some(other.id)));
    assert_eq!(subject.names().await, ["b 1"]);
    let lost = subject.snapshots.publish_snapshot(&losing, Some(other.id), &[]).await.expect("an answer");
    assert_eq!(lost, SnapshotPublished::Lost(Some(other.id)), "it was not built to follow that");
    subject.snapshots.add_packages(one.id, &[package("c", "1", "c")]).await.expect("no error");
    subject.snapshots.drop_packages(one.id, &[PackageRowId(1)]).await.expect("no error");
    assert_eq!(subject.number("SELECT COUNT(*) FROM package").await, 1);
    let taken = subject.catalog.take_garbage(at(100), 9).await.expect("garbage");
    assert_eq!(taken, [loser.blob], "nobody names it");
    // Strictly later, whatever the clock says.
    let (third, _) = subject.next(&root(), &[], 3).await;
    assert_eq!(third.published_at, at(10) + Duration::from_millis(1));
}

pub(super) async fn two_publishers_lose_nothing(subject: Subject) {
    let subject = Arc::new(subject);
    let publishers: Vec<_> = (0..2_u64)
        .map(|publisher| {
            let subject = Arc::clone(&subject);
            tokio::spawn(async move {
                let mut won = Vec::new();
                for round in 0..10_u64 {
                    loop {
                        let mine = package(&format!("{publisher}-{round}"), "1", "x");
                        let draft = subject.snapshots.begin(&root(), at(round)).await.expect("a draft");
                        subject.snapshots.add_packages(draft.id, &[mine]).await.expect("added");
                        let entry = artifact("main/APKINDEX.tar.gz", format!("{publisher} {round}").as_bytes());
                        let next = snapshot(&root(), draft, vec![entry], 1, round);
                        match subject.snapshots.publish_snapshot(&next, draft.follows, &[]).await.expect("an answer") {
                            SnapshotPublished::Won { .. } => break won.push((draft.id, draft.follows)),
                            SnapshotPublished::Lost(_) => subject.snapshots.abandon(draft.id).await.expect("gone"),
                            other => panic!("{other:?}"),
                        }
                    }
                }
                won
            })
        })
        .collect();
    let mut won: Vec<(SnapshotId, Option<SnapshotId>)> = Vec::new();
    for publisher in publishers {
        won.extend(publisher.await.expect("no panic"));
    }
    won.sort_unstable();
    assert_eq!(subject.names().await.len(), 20);
    assert!(won.windows(2).all(|pair| pair[1].1 == Some(pair[0].0)), "each follows the one before: {won:?}");
    assert_eq!(subject.number("SELECT COUNT(*) FROM snapshot").await, 20, "no draft is left");
}

pub(super) async fn an_abandoned_draft_goes_away(subject: Subject) {
    let (first, _) = subject.next(&root(), &[package("a", "1", "a")], 10).await;
    // Its owner died. The next publication sweeps it.
    let dead = subject.draft(&root(), &[package("b", "1", "b")], 11).await;
    let given_up = subject.draft(&root(), &[package("c", "1", "c")], 12).await;
    subject.snapshots.abandon(given_up.id).await.expect("gone");
    subject.snapshots.abandon(given_up.id).await.expect("nothing left to do");
    subject.snapshots.abandon(first.id).await.expect("no draft, no change");
    assert_eq!(subject.number("SELECT COUNT(*) FROM package").await, 2);
    subject.next(&root(), &[package("a", "1", "a"), package("d", "1", "d")], 20).await;
    assert_eq!(subject.names().await, ["a 1", "d 1"]);
    assert_eq!(subject.number("SELECT COUNT(*) FROM package").await, 2);
    let late = snapshot(&root(), dead, vec![artifact("main/APKINDEX.tar.gz", b"dead")], 1, 30);
    let lost = subject.snapshots.publish_snapshot(&late, dead.follows, &[]).await.expect("an answer");
    assert!(matches!(lost, SnapshotPublished::Lost(Some(_))));
    // Nobody publishes again: expiry sweeps it.
    let dead = subject.draft(&root(), &[], 40).await;
    let many: Vec<_> = (0..1500).map(|n| package(&format!("p{n}"), "1", "x")).collect();
    for part in many.chunks(1000) {
        subject.snapshots.add_packages(dead.id, part).await.expect("added");
    }
    let repository = &root().repository;
    let expired = subject.snapshots.expire(repository, at(40), at(50)).await.expect("an answer");
    assert_eq!(expired.packages, 0, "it is not that old");
    let mut packages = 0;
    loop {
        let expired = subject.snapshots.expire(repository, at(41), at(50)).await.expect("an answer");
        assert!(expired.packages <= 2000, "{expired:?}");
        packages += expired.packages;
        if expired == Default::default() {
            break;
        }
    }
    assert_eq!(packages, 1500);
    assert_eq!(subject.number("SELECT COUNT(*) FROM package").await, 2);
    assert_eq!(subject.number("SELECT COUNT(*) FROM snapshot WHERE published_at IS NULL").await, 0);
}

pub(super) async fn snapshots_are_found_by_time_and_tag(subject: Subject) {
    let mut all = Vec::new();
    for second in [10, 20, 30] {
        all.push(subject.next(&root(), &[], second).await.0);
    }
    let found = async |time: SystemTime| {
        let found = subject.snapshots.snapshot_at(&root(), time).await.expect("an answer");
        found.map(|snapshot| snapshot.id)
    };
    assert_eq!(found(at(9)).await, None);
    assert_eq!(found(at(10)).await, Some(all[0].id));
    assert_eq!(found(at(29)).await, Some(all[1].id));
    assert_eq!(found(at(1000)).await, Some(all[2].id));

    let with_entry = async |entry: &Sha256| {
        let found = subject.snapshots.with_entry(&root(), entry).await.expect("an answer");
        found.map(|snapshot| (snapshot.id, snapshot.files))
    };
    for snapshot in &all {
        let found = with_entry(&snapshot.files[0].sha256).await;
        assert_eq!(found, Some((snapshot.id, snapshot.files.clone())));
    }
    assert_eq!(with_entry(&Sha256::of(b"another")).await, None);

    let with_file = async |path: &RepoPath| {
        let found = subject.snapshots.with_file(&root(), path).await.expect("an answer");
        found.map(|snapshot| (snapshot.id, snapshot.files))
    };
    for (number, snapshot) in all.iter().enumerate() {
        for file in &snapshot.files {
            let has_it = |snapshot: &&Snapshot| snapshot.file(&file.target.path).is_some();
            let newest = all[number..].iter().rfind(has_it).expect("this one");
            assert_eq!(with_file(&file.target.path).await, Some((newest.id, newest.files.clone())));
        }
    }
    assert_eq!(with_file(&RepoPath::new("main/no-such-file").expect("a path")).await, None);

    let list = async |before, limit| {
        let page = subject.snapshots.snapshots(&root(), before, limit).await.expect("snapshots");
        assert!(page.iter().all(|snapshot| snapshot.files.is_empty()));
        page.iter().map(|snapshot| snapshot.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 2).await, [all[2].id, all[1].id]);
    assert_eq!(list(Some(all[1].id), 2).await, [all[0].id]);

    let (stable, old) = ("stable".parse().expect("a tag"), "old".parse().expect("a tag"));
    assert_eq!(subject.snapshots.tagged(&root(), &stable).await.expect("an answer"), None);
    for (tag, snapshot) in [(&stable, &all[0]), (&old, &all[0]), (&stable, &all[1])] {
        assert!(subject.snapshots.tag(snapshot.id, tag).await.expect("an answer"));
    }
    assert!(!subject.snapshots.tag(SnapshotId(9999), &old).await.expect("an answer"));
    let tagged = subject.snapshots.tagged(&root(), &stable).await.expect("an answer").expect("a snapshot");
    assert_eq!((tagged.id, &tagged.tags[..]), (all[1].id, &[stable.clone()][..]), "taken from the other");
    assert_eq!(tagged.files, all[1].files);
    assert!(subject.snapshots.tag(all[1].id, &old).await.expect("an answer"));
    let both = subject.snapshots.snapshot(all[1].id).await.expect("an answer").expect("a snapshot");
    assert_eq!(both.tags, [old.clone(), stable.clone()]);
    assert!(subject.snapshots.untag(&root(), &old).await.expect("an answer"));
    assert!(!subject.snapshots.untag(&root(), &old).await.expect("an answer"));
}

pub(super) async fn a_leaving_blob_keeps_a_snapshot_back(subject: Subject) {
    let entry = artifact("main/APKINDEX.tar.gz", b"1");
    let other = artifact("main/other", b"2");
    subject.snapshots.stage(&[entry.blob.clone(), entry.blob.clone()], at(0)).await.expect("staged");
    assert_eq!(subject.catalog.take_garbage(at(1), 9).await.expect("garbage"), [entry.blob.clone()]);
    let draft = subject.draft(&root(), &[], 10).await;
    let written = snapshot(&root(), draft, vec![other.clone(), entry.clone()], 0, 10);
    let leaving = subject.snapshots.publish_snapshot(&written, None, &[]).await.expect("an answer");
    assert_eq!(leaving, SnapshotPublished::BlobLeaving(entry.blob.clone()));
    assert_eq!(subject.catalog.lookup(&other.target).await.expect("an answer"), None, "all or nothing");
    let again = artifact("main/again", b"1");
    let mut moved = entry;
    moved.blob = again.blob;
    let written = snapshot(&root(), draft, vec![other, moved], 0, 10);
    let won = subject.snapshots.publish_snapshot(&written, None, &[]).await.expect("an answer");
    assert!(matches!(won, SnapshotPublished::Won { .. }), "the draft is still there: {won:?}");
    assert!(matches!(subject.catalog.publish(&artifact("x", b"x"), None).await.expect("an answer"), Published::Won(_)));
}
