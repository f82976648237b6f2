//! Records of packages whose path stands for other content now.

use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::{Algorithm, Digest, Identity, PackageEntry, RepoPath};
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::generations::{package, root, snapshot};
use super::{Raw, Subject, artifact, target, url};
use crate::store::catalog::Artifact;
use crate::store::catalog::snapshots::SnapshotPublished;

const PATH: &str = "main/a.apk";

fn part(byte: u8) -> Identity {
    Identity::Part(Digest::from_bytes(Algorithm::Sha1, &[byte; 20]).expect("a digest"))
}

/// The package at one path that this content is.
fn build(identity: Identity) -> PackageEntry {
    PackageEntry { path: RepoPath::new(PATH).expect("a path"), identity, ..package("a", "1", "") }
}

fn whole(content: &[u8]) -> Identity {
    Identity::File(Digest::from(artifactapi_formats::Sha256::of(content)))
}

impl Subject {
    async fn held(&self) -> Option<Artifact> {
        self.catalog.lookup(&target(PATH)).await.expect("an answer")
    }

    async fn content(&self, identity: &Identity) -> Option<Artifact> {
        self.snapshots.content(&target(PATH), identity, None).await.expect("an answer")
    }
}

pub(super) async fn records_of_replaced_packages_are_past(subject: Subject) {
    let mut old = artifact(PATH, b"old");
    old.identity = Some(part(1));
    subject.next(&root(), &[build(part(1))], 10).await;
    old.revision = subject.put(&old).await;
    assert_eq!(subject.held().await, Some(old.clone()), "the identity is kept with the record");
    let (_, replaced) = subject.next(&root(), &[build(part(1)), package("b", "1", "b")], 20).await;
    assert_eq!(replaced, [], "it is what it was");
    assert_eq!(subject.content(&part(1)).await, Some(old.clone()), "a current one");

    let (_, replaced) = subject.next(&root(), &[build(part(2))], 30).await;
    assert_eq!(replaced, [target(PATH)]);
    assert_eq!(subject.held().await, None);
    assert_eq!(subject.content(&part(1)).await, Some(old.clone()), "a past one");
    assert_eq!(subject.content(&part(2)).await, None);
    assert_eq!(subject.content(&whole(b"old")).await, Some(old.clone()), "by its SHA-256");
    let by_sha256 = subject.snapshots.content(&target(PATH), &part(9), Some(&old.sha256)).await.expect("an answer");
    assert_eq!(by_sha256, Some(old.clone()));
    assert_eq!(subject.snapshots.content(&target("main/b.apk"), &part(1), None).await.expect("an answer"), None);
    let totals = subject.catalog.totals(&root().repository).await.expect("totals");
    assert_eq!(totals.artifacts, 1, "the entry");

    // The new build is fetched, and then the old one comes back.
    let mut new = artifact(PATH, b"new");
    new.identity = Some(part(2));
    subject.put(&new).await;
    let (_, replaced) = subject.next(&root(), &[build(part(1))], 40).await;
    assert_eq!(replaced, [target(PATH)]);
    assert_eq!(subject.content(&part(2)).await.map(|found| found.sha256), Some(new.sha256));
    subject.put(&old).await;
    assert_eq!(subject.content(&part(1)).await.map(|found| found.blob), Some(old.blob));
}

pub(super) async fn a_record_without_identity_is_told_by_its_path(subject: Subject) {
    // Told by the SHA-256 that the index says: the identity it had is known for certain.
    subject.next(&root(), &[build(whole(b"old"))], 10).await;
    subject.put(&artifact(PATH, b"old")).await;
    let (_, replaced) = subject.next(&root(), &[build(whole(b"new"))], 20).await;
    assert_eq!(replaced, [target(PATH)]);
    let past = subject.content(&whole(b"old")).await.expect("a past content");
    assert_eq!(past.identity, Some(whole(b"old")));

    // Told by what the snapshot before said of the path, which may or may not be what it was checked against.
    subject.next(&root(), &[build(part(1))], 30).await;
    subject.put(&artifact(PATH, b"unknown")).await;
    let (_, replaced) = subject.next(&root(), &[build(part(2))], 40).await;
    assert_eq!(replaced, [target(PATH)]);
    assert_eq!(subject.content(&part(1)).await, None);
    assert_eq!(subject.content(&whole(b"unknown")).await.expect("a past content").identity, None);
}

pub(super) async fn what_is_not_told_apart_stays(subject: Subject) {
    let mut held = artifact(PATH, b"held");
    held.identity = Some(part(1));
    subject.put(&held).await;
    // Another description of the same content; the same in another kind; from another root.
    let renamed = PackageEntry { name: "z".to_owned(), ..build(part(1)) };
    for (second, root, package) in [
        (10, root(), build(part(1))),
        (20, root(), renamed),
        (30, target("other/APKINDEX.tar.gz"), build(whole(b"held"))),
        (40, target("third/APKINDEX.tar.gz"), build(Identity::File(part(7).digest().clone()))),
    ] {
        let (_, replaced) = subject.next(&root, &[package], second).await;
        assert_eq!(replaced, [], "at {second}");
    }
    assert!(subject.held().await.is_some());
    // The same path with a query is another target.
    let mut other = held;
    other.target.query = "x=1".into();
    subject.put(&other).await;
    let (_, replaced) = subject.next(&root(), &[build(part(2))], 50).await;
    assert_eq!(replaced, [target(PATH)]);
    assert!(subject.catalog.lookup(&other.target).await.expect("an answer").is_some());
}

/// PostgreSQL only: SQLite has one writer.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_locked_in_one_order() {
    let subject = Subject::postgres().await;
    let Raw::Postgres(service) = &subject.raw else { panic!() };
    let paths = ["main/b.apk", "main/a.apk"];
    for path in paths {
        subject.put(&artifact(path, b"old")).await;
    }
    // The index says something else of both, in the other order.
    let new = |path: &str| PackageEntry {
        path: RepoPath::new(path).expect("a path"),
        identity: whole(b"new"),
        ..package("a", "2", "")
    };
    let draft = subject.draft(&root(), &[new(paths[1]), new(paths[0])], 10).await;
    let mut counting = PgConnection::connect(&url(service)).await.expect("a database");
    counting.execute("BEGIN").await.expect("begun");
    let lock = async |counting: &mut PgConnection, path: &str| {
        let lock = "SELECT id FROM artifact WHERE path = $1 FOR KEY SHARE NOWAIT";
        sqlx::query(lock).bind(path.to_owned()).execute(counting).await
    };
    lock(&mut counting, paths[0]).await.expect("locked");
    let publication = tokio::spawn({
        let snapshots = Arc::clone(&subject.snapshots);
        async move { snapshots.publish_snapshot(&snapshot(&root(), draft, Vec::new(), 2, 10), None, &[]).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!publication.is_finished(), "it waits for the first");
    lock(&mut counting, paths[1]).await.expect("and has not locked the second");
    counting.execute("COMMIT").await.expect("done");
    let published = publication.await.expect("no panic").expect("an answer");
    assert!(matches!(published, SnapshotPublished::Won { .. }), "{published:?}");
}
