//! Fragments, and past contents that are kept on purpose.

use std::time::{Duration, SystemTime};

use artifactapi_formats::{PackageEntry, Sha256};

use super::generations::{package, root, snapshot};
use super::{Subject, artifact, target};
use crate::store::catalog::fragments::{GROUP_BYTES, groups};
use crate::store::catalog::snapshots::{PackageMark, SnapshotPublished};
use crate::store::catalog::{Artifact, Published};

/// As many as are published together.
const RETIRED: usize = 256;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn fragment(package: &PackageEntry, body: &[u8]) -> (PackageMark, Vec<u8>) {
    (PackageMark::of(package), body.to_vec())
}

pub(super) async fn fragments_come_back_by_their_marks(subject: Subject) {
    let kept = [fragment(&package("a", "1", "x"), b"one\0"), fragment(&package("b", "1", "y"), b"")];
    let other = target("other/repodata/repomd.xml");
    subject.fragments.put_fragments(&root(), &kept, at(10)).await.expect("kept");
    subject.fragments.put_fragments(&root(), &kept[..1], at(20)).await.expect("kept again");
    subject.fragments.put_fragments(&other, &kept[..1], at(20)).await.expect("kept");
    let marks = [kept[1].0, kept[0].0, PackageMark([7; 16])];
    let mut found = subject.fragments.fragments(&root(), &marks).await.expect("fragments");
    found.sort_by_key(|(_, body)| std::cmp::Reverse(body.len()));
    assert_eq!(found, kept);
    let mut lengths = subject.fragments.fragment_lengths(&root(), &marks).await.expect("lengths");
    lengths.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
    assert_eq!(lengths, [(kept[0].0, 4), (kept[1].0, 0)]);
    let elsewhere = subject.fragments.fragments(&target("nowhere"), &marks).await.expect("fragments");
    assert_eq!(elsewhere, []);
    assert_eq!(subject.fragments.fragment_lengths(&target("nowhere"), &marks).await.expect("lengths"), []);
    assert_eq!(subject.fragments.fragment_lengths(&root(), &[]).await.expect("none"), []);
    assert_eq!(subject.fragments.fragments(&root(), &[]).await.expect("none"), []);
}

pub(super) async fn long_fragments_come_back_group_by_group(subject: Subject) {
    let long = usize::try_from(GROUP_BYTES / 3).expect("small");
    let kept: Vec<_> = (0..7_u8)
        .map(|number| fragment(&package(&format!("p{number}"), "1", "x"), &vec![number; long + usize::from(number)]))
        .collect();
    for one in &kept {
        subject.fragments.put_fragments(&root(), std::slice::from_ref(one), at(10)).await.expect("kept");
    }
    let marks: Vec<_> = kept.iter().map(|(mark, _)| *mark).collect();
    let lengths = subject.fragments.fragment_lengths(&root(), &marks).await.expect("lengths");
    let length = |wanted| lengths.iter().find(|(mark, _)| *mark == wanted).expect("measured").1;
    let measured: Vec<_> = marks.iter().map(|mark| (*mark, length(*mark))).collect();
    assert_eq!(groups(&measured).map(<[_]>::len).collect::<Vec<_>>(), [2, 2, 2, 1]);
    let mut found = Vec::new();
    for group in groups(&measured) {
        let marks: Vec<_> = group.iter().map(|(mark, _)| *mark).collect();
        let mut some = subject.fragments.fragments(&root(), &marks).await.expect("fragments");
        assert!(some.iter().map(|(_, body)| body.len() as u64).sum::<u64>() <= GROUP_BYTES);
        some.sort_by_key(|(mark, _)| marks.iter().position(|one| one == mark));
        found.extend(some);
    }
    assert!(found == kept);
}

pub(super) async fn fragments_that_no_package_has_are_swept(subject: Subject) {
    let named = package("a", "1", "x");
    let kept = [fragment(&named, b"named"), fragment(&package("b", "1", "y"), b"not named")];
    subject.fragments.put_fragments(&root(), &kept, at(10)).await.expect("kept");
    subject.next(&root(), std::slice::from_ref(&named), 20).await;
    assert_eq!(subject.fragments.sweep_fragments(at(10)).await.expect("swept"), 0, "within their grace");
    assert_eq!(subject.fragments.sweep_fragments(at(11)).await.expect("swept"), 1);
    let marks = kept.each_ref().map(|(mark, _)| *mark);
    assert_eq!(subject.fragments.fragments(&root(), &marks).await.expect("fragments"), kept[..1]);
}

pub(super) async fn a_record_that_was_kept_as_past_is_found_when_it_is_gone(subject: Subject) {
    let mut record = artifact("main/a.rpm", b"a");
    let identity = artifactapi_formats::Identity::File(Sha256::of(b"a").into());
    record.identity = Some(identity.clone());
    let Published::Won(revision) = subject.catalog.publish(&record, None).await.expect("published") else {
        panic!("it is the first");
    };
    for _ in 0..2 {
        subject.fragments.keep_past(&record.target, at(30)).await.expect("kept");
    }
    assert!(subject.catalog.remove(&record.target, revision, at(40)).await.expect("removed"));
    let found = subject.snapshots.content(&record.target, &identity, None).await.expect("found").expect("a content");
    assert_eq!(found.blob, record.blob);
    subject.fragments.keep_past(&target("main/nothing.rpm"), at(30)).await.expect("nothing to keep");
    let taken = subject.catalog.take_garbage(at(4_000), 10).await.expect("taken");
    assert!(taken.is_empty(), "what is past is not garbage: {taken:?}");
}

pub(super) async fn a_past_content_lasts_from_its_last_use(subject: Subject) {
    let mut record = artifact("main/a.rpm", b"a");
    let identity = artifactapi_formats::Identity::File(Sha256::of(b"a").into());
    record.identity = Some(identity.clone());
    for second in [30, 1_000, 500] {
        let current = subject.catalog.lookup(&record.target).await.expect("an answer");
        let published = subject.catalog.publish(&record, current.map(|current| current.revision)).await;
        assert!(matches!(published.expect("published"), Published::Won(_)));
        subject.fragments.keep_past(&record.target, at(second)).await.expect("kept");
    }
    let current = subject.catalog.lookup(&record.target).await.expect("an answer").expect("a record");
    assert!(subject.catalog.remove(&record.target, current.revision, at(1_000)).await.expect("removed"));
    let repository = &record.target.repository;
    subject.snapshots.expire(repository, at(900), at(2_000)).await.expect("expired");
    assert!(subject.snapshots.content(&record.target, &identity, None).await.expect("found").is_some());
    subject.snapshots.expire(repository, at(1_001), at(2_000)).await.expect("expired");
    assert!(subject.snapshots.content(&record.target, &identity, None).await.expect("found").is_none());
}

pub(super) async fn what_is_retired_goes_with_the_publication_or_not_at_all(subject: Subject) {
    let identity = |content: &[u8]| artifactapi_formats::Identity::File(Sha256::of(content).into());
    let stored = async |path: &str, content: &[u8]| {
        let record = Artifact { identity: Some(identity(content)), ..artifact(path, content) };
        let current = subject.catalog.lookup(&record.target).await.expect("an answer");
        let published = subject.catalog.publish(&record, current.map(|current| current.revision)).await;
        let Published::Won(revision) = published.expect("published") else { panic!("nobody else publishes") };
        Artifact { revision, ..record }
    };
    let (first, gone) =
        (subject.next(&root(), &[package("a", "1", "a")], 10).await.0, stored("main/gone.rpm", b"gone").await);
    let before = stored("main/changed.rpm", b"before").await;
    let after = stored("main/changed.rpm", b"after").await;
    let retired = [gone.clone(), before];

    let draft = subject.draft(&root(), &[], 20).await;
    let entry = vec![artifact("main/APKINDEX.tar.gz", b"index of 20")];
    let next = snapshot(&root(), draft, entry, 0, 20);
    let lost = subject.snapshots.publish_snapshot(&next, None, &retired).await.expect("an answer");
    assert_eq!(lost, SnapshotPublished::Lost(Some(first.id)));
    assert_eq!(subject.catalog.lookup(&gone.target).await.expect("an answer"), Some(gone.clone()));

    let won = subject.snapshots.publish_snapshot(&next, draft.follows, &retired).await.expect("an answer");
    assert!(matches!(won, SnapshotPublished::Won { .. }), "{won:?}");
    assert_eq!(subject.catalog.lookup(&gone.target).await.expect("an answer"), None);
    let past = subject.snapshots.content(&gone.target, &identity(b"gone"), None).await.expect("found");
    assert_eq!(past.expect("earlier snapshots still have it").blob, gone.blob);
    let current = subject.catalog.lookup(&after.target).await.expect("an answer");
    assert_eq!(current, Some(after), "what came since stays");
    let taken = subject.catalog.take_garbage(at(4_000), 10).await.expect("taken");
    assert!(!taken.contains(&gone.blob), "{taken:?}");
}

/// As many deletes as are published together, of a database whose round trips take their time.
pub(super) async fn many_are_retired_at_once(subject: Subject) {
    let identity = |content: &[u8]| artifactapi_formats::Identity::File(Sha256::of(content).into());
    let mut retired = Vec::new();
    for number in 0..RETIRED {
        let content = format!("content of {number}");
        let path = format!("main/{number}.rpm");
        let record = Artifact { identity: Some(identity(content.as_bytes())), ..artifact(&path, content.as_bytes()) };
        let revision = subject.put(&record).await;
        retired.push(Artifact { revision, ..record });
    }
    // One is a past content already, one was replaced since, and one is there twice.
    subject.fragments.keep_past(&retired[0].target, at(5)).await.expect("kept");
    let newer = artifact(retired[1].target.path.as_str(), b"newer");
    subject.put(&newer).await;
    retired.push(retired[2].clone());
    let draft = subject.draft(&root(), &[], 20).await;
    let next = snapshot(&root(), draft, vec![artifact("main/APKINDEX.tar.gz", b"index")], 0, 20);
    let won = subject.snapshots.publish_snapshot(&next, draft.follows, &retired).await.expect("an answer");
    assert!(matches!(won, SnapshotPublished::Won { .. }), "{won:?}");
    let held = subject.number("SELECT COUNT(*) FROM artifact WHERE path LIKE 'main/%.rpm'").await;
    assert_eq!(held, 1, "what came since stays");
    assert_eq!(subject.number("SELECT COUNT(*) FROM past_package").await, 256, "each once, and what came since, too");
    assert_eq!(subject.number("SELECT COUNT(DISTINCT superseded_at) FROM past_package").await, 1);
    for record in [&retired[0], &retired[2], &retired[255]] {
        let past = subject.snapshots.content(&record.target, record.identity.as_ref().expect("it has one"), None).await;
        assert_eq!(past.expect("found").expect("earlier snapshots still have it").blob, record.blob);
    }
}
