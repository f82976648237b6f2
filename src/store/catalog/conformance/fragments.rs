//! Fragments, and past contents that are kept on purpose.

use std::time::{Duration, SystemTime};

use artifactapi_formats::{PackageEntry, Sha256};

use super::generations::{package, root};
use super::{Subject, artifact, target};
use crate::store::catalog::Published;
use crate::store::catalog::snapshots::PackageMark;

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
    let elsewhere = subject.fragments.fragments(&target("nowhere"), &marks).await.expect("fragments");
    assert_eq!(elsewhere, []);
    assert_eq!(subject.fragments.fragments(&root(), &[]).await.expect("none"), []);
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
