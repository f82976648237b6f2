//! Records come back whole, and what is noted about them adds up.

use std::time::Duration;

use artifactapi_formats::RepoPath;

use super::{Subject, artifact, at, target};
use crate::store::catalog::{CLOCKS_APART, Totals, Use, Validators};
use crate::store::key::Target;

pub(super) async fn records_come_back_as_they_were(subject: Subject) {
    let catalog = &subject.catalog;
    let mut written = artifact("weird/%41 ü/a'b\"c;--.apk", b"content");
    written.target = Target::with_query(written.target.repository, written.target.path, "a=%20&b='");
    written.validators = Validators { etag: Some("W/\"é\"".into()), last_modified: Some("Tue, 01 Jul 2025".into()) };
    written.size = i64::MAX as u64;
    written.last_modified = at(1) + Duration::from_millis(123);
    written.checked_at = at(2);
    assert_eq!(catalog.lookup(&written.target).await.expect("an answer"), None);
    written.revision = subject.put(&written).await;
    assert_eq!(catalog.lookup(&written.target).await.expect("an answer"), Some(written.clone()));

    let without_query = Target::new(written.target.repository.clone(), written.target.path.clone());
    assert_eq!(catalog.lookup(&without_query).await.expect("an answer"), None, "the query is part of the key");
    catalog.ping().await.expect("it is there");
}

pub(super) async fn touch_never_moves_backwards(subject: Subject) {
    let catalog = &subject.catalog;
    let first = artifact("APKINDEX.tar.gz", b"1");
    let revision = subject.put(&first).await;
    let validators = |etag: &str| Validators { etag: Some(etag.to_owned()), last_modified: None };
    let check = async |checked_at, etag: &str| {
        let record = catalog.lookup(&first.target).await.expect("an answer").expect("a record");
        assert_eq!((record.checked_at, record.validators), (checked_at, validators(etag)));
    };

    assert!(catalog.touch(&first.target, revision, at(20), &validators("b")).await.expect("an answer"));
    check(at(20), "b").await;
    assert!(
        catalog.touch(&first.target, revision, at(10), &validators("a")).await.expect("an answer"),
        "still current"
    );
    check(at(20), "b").await;

    // A clock was a month ahead, and is not any more.
    let month = 30 * 24 * 3600;
    assert!(catalog.touch(&first.target, revision, at(month), &validators("ahead")).await.expect("an answer"));
    check(at(month), "ahead").await;
    let apart = CLOCKS_APART.as_secs();
    assert!(catalog.touch(&first.target, revision, at(month - apart), &validators("late")).await.expect("an answer"));
    check(at(month), "ahead").await;
    assert!(catalog.touch(&first.target, revision, at(30), &validators("d")).await.expect("an answer"));
    check(at(30), "d").await;

    subject.put(&artifact("APKINDEX.tar.gz", b"2")).await;
    assert!(!catalog.touch(&first.target, revision, at(30), &validators("c")).await.expect("an answer"), "replaced");
    check(at(0), "\"x\"").await;
    assert!(!catalog.touch(&target("absent"), revision, at(30), &validators("c")).await.expect("an answer"));
}

pub(super) async fn uses_add_up(subject: Subject) {
    let catalog = &subject.catalog;
    let revision = subject.put(&artifact("a.apk", b"a")).await;
    subject.put(&artifact("b.apk", b"b")).await;
    let told = |path: &str, count, second| Use { target: target(path), count, last: at(second) };
    // The same target twice in one report, targets without a record, and an older time after a younger one.
    let first = [told("a.apk", 2, 50), told("absent.apk", 1, 1), told("b.apk", 1, 7), told("a.apk", 3, 40)];
    catalog.record_uses(&first).await.expect("counted");
    catalog.record_uses(&[told("a.apk", 10, 30)]).await.expect("counted");
    catalog.record_uses(&[]).await.expect("nothing to count");
    assert_eq!(subject.number("SELECT CAST(SUM(uses) AS BIGINT) FROM artifact_use").await, 16);
    assert_eq!(subject.number("SELECT MAX(uses) FROM artifact_use").await, 15);
    assert_eq!(subject.number("SELECT MAX(last_used) FROM artifact_use").await, 1_735_689_650_000);
    assert_eq!(subject.number("SELECT MIN(last_used) FROM artifact_use").await, 1_735_689_607_000);

    // Two replicas report the same in opposite order, while one of the records goes.
    let mut there: Vec<Use> = ["a.apk", "b.apk"].map(|path| told(path, 1, 60)).to_vec();
    let back: Vec<Use> = there.iter().rev().cloned().collect();
    there.extend(first);
    let (one, other, removed) = tokio::join!(
        catalog.record_uses(&there),
        catalog.record_uses(&back),
        catalog.remove(&there[0].target, revision, at(61)),
    );
    one.expect("counted");
    other.expect("counted");
    assert!(removed.expect("an answer"));
    assert_eq!(subject.number("SELECT COUNT(*) FROM artifact_use").await, 1, "uses go with their record");
}

pub(super) async fn totals_follow(subject: Subject) {
    let catalog = &subject.catalog;
    let repository = &target("a").repository;
    let totals = async |artifacts, bytes| {
        assert_eq!(catalog.totals(repository).await.expect("totals"), Totals { artifacts, bytes });
    };
    totals(0, 0).await;
    let first = subject.put(&artifact("a", b"1234")).await;
    subject.put(&artifact("b", b"12")).await;
    totals(2, 6).await;
    subject.put(&artifact("b", b"123456789")).await;
    totals(2, 13).await;
    catalog.publish(&artifact("b", b"lost"), None).await.expect("an answer");
    catalog.touch(&target("a"), first, at(5), &Validators::default()).await.expect("an answer");
    totals(2, 13).await;
    assert_eq!(catalog.repositories().await.expect("an answer"), std::slice::from_ref(repository));
    assert!(catalog.remove(&target("a"), first, at(1)).await.expect("an answer"));
    totals(1, 9).await;
    assert_eq!(catalog.totals(&"other".parse().expect("a name")).await.expect("totals"), Totals::default());

    let mut others = Vec::new();
    for name in ["zeta", "Zeta", "b-1"] {
        let mut other = artifact("b", b"12");
        other.target.repository = name.parse().expect("a name");
        other.blob = other.target.first_blob_key();
        others.push((other.target.clone(), subject.put(&other).await));
    }
    let names = async || {
        let names = catalog.repositories().await.expect("an answer");
        names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["Zeta", repository.as_str(), "b-1", "zeta"]);
    for (target, revision) in others {
        assert!(catalog.remove(&target, revision, at(1)).await.expect("an answer"));
    }
    assert_eq!(names().await, [repository.as_str()], "those that hold nothing are none");
}

pub(super) async fn a_query_may_be_longer_than_an_index_entry(subject: Subject) {
    let catalog = &subject.catalog;
    // Digests do not compress: PostgreSQL really gets an index entry of the full length.
    let noise: String = (0..200_u32).map(|n| artifactapi_formats::Sha256::of(&n.to_be_bytes()).hex()).collect();
    let path = RepoPath::new(&noise[..RepoPath::MAX_BYTES]).expect("a path");
    let repository = "a".repeat(64).parse().expect("a name");
    for query in [&noise[..], &noise[..noise.len() - 1], &noise[..1024], &noise[..1025]] {
        let mut long = artifact("x", query.as_bytes());
        long.target = Target::with_query(Clone::clone(&repository), path.clone(), query);
        long.revision = subject.put(&long).await;
        assert_eq!(catalog.lookup(&long.target).await.expect("an answer"), Some(long));
    }
}
