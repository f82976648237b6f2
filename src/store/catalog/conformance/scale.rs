//! As many packages as the largest repositories have.
#![allow(clippy::print_stdout, reason = "how long it took is worth knowing")]

use std::time::{Duration, Instant, SystemTime};

use super::generations::{package, root, snapshot};
use super::{Raw, Subject, artifact, target};
use crate::store::catalog::fragments::FRAGMENTS;
use crate::store::catalog::snapshots::{PackageMark, SnapshotPublished};

/// What an unoptimised build on a machine that is busy with other tests may take.
const MANY: Duration = Duration::from_secs(12);
const FEW: Duration = Duration::from_secs(2);

/// Two roots as large as those of a distribution. A database that knows how many rows there are plans otherwise than one that guesses.
pub(super) async fn fragments_of_two_large_roots_are_swept(subject: Subject) {
    for root in ["one/APKINDEX.tar.gz", "two/APKINDEX.tar.gz"] {
        let nobodys = [(PackageMark::of(&package("nobody", "1", "z")), b"fragment".to_vec())];
        subject.fragments.put_fragments(&target(root), &nobodys, super::at(1)).await.expect("kept");
    }
    let packages = match &subject.raw {
        Raw::Sqlite(..) => {
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 80000)
             INSERT INTO package (repository, root, path, name, version, arch, size, identity, mark, first)
             SELECT r.repository, r.id, 'p' || n, 'p' || n, '1', 'x86_64', 1, 'x', randomblob(16), 1 FROM index_root r, number"
        }
        Raw::Postgres(_) => {
            "INSERT INTO package (repository, root, path, name, version, arch, size, identity, mark, first)
             SELECT r.repository, r.id, 'p' || n, 'p' || n, '1', 'x86_64', 1, 'x', decode(md5(r.id || ' ' || n), 'hex'), 1
             FROM index_root r, generate_series(1, 80000) AS n"
        }
    };
    subject.execute(packages).await;
    subject.execute("INSERT INTO fragment (root, mark, added_at, body) SELECT root, mark, 1, mark FROM package").await;
    subject.execute("DELETE FROM package WHERE name IN ('p7', 'p80000')").await;
    subject.execute("ANALYZE").await;
    let start = Instant::now();
    // Those of packages that are gone were put before 1970 had a second; those of nobody are too young.
    assert_eq!(
        subject.fragments.sweep_fragments(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).await.expect("swept"),
        4
    );
    let swept = start.elapsed();
    assert_eq!(subject.number("SELECT COUNT(*) FROM fragment").await, 160_000 - 4 + 2);
    println!("fragments of two roots with 80,000 packages each: swept in {swept:?}");
    // A statement that takes too long is an error long before.
    assert!(swept < MANY, "{swept:?}");
}

pub(super) async fn sixty_thousand_packages(subject: Subject) {
    let mut packages: Vec<_> = (0..60_000).map(|n| package(&format!("package-{n:05}"), "1.2.3-r0", "x")).collect();
    let draft = subject.snapshots.begin(&root(), super::at(10)).await.expect("a draft");
    let start = Instant::now();
    for part in packages.chunks(1000) {
        subject.snapshots.add_packages(draft.id, part).await.expect("added");
    }
    let added = start.elapsed();
    let entry = |content: &[u8]| vec![artifact("main/APKINDEX.tar.gz", content)];
    let start = Instant::now();
    let next = snapshot(&root(), draft, entry(b"1"), 60_000, 10);
    let won = subject.snapshots.publish_snapshot(&next, None, &[]).await.expect("an answer");
    assert!(matches!(won, SnapshotPublished::Won { .. }));
    let published = start.elapsed();

    for package in &mut packages[..50] {
        *package = super::generations::package(&package.name, "1.2.4-r0", "y");
    }
    let start = Instant::now();
    let draft = subject.draft(&root(), &packages, 20).await;
    let drafted = start.elapsed();
    let start = Instant::now();
    let next = snapshot(&root(), draft, entry(b"2"), 60_000, 20);
    let won = subject.snapshots.publish_snapshot(&next, draft.follows, &[]).await.expect("an answer");
    let SnapshotPublished::Won { snapshot, .. } = won else { panic!("{won:?}") };
    let refreshed = start.elapsed();
    assert_eq!(subject.number("SELECT COUNT(*) FROM package").await, 60_050);

    let start = Instant::now();
    assert_eq!(subject.snapshots.renewals(snapshot.id, None, 1000).await.expect("packages"), []);
    let follows = draft.follows.expect("it follows one");
    assert_eq!(subject.snapshots.diff(follows, draft.id, None, 1000).await.expect("changes").len(), 100);
    let compared = start.elapsed();
    let kept: Vec<_> = packages.iter().map(|package| (PackageMark::of(package), b"fragment".to_vec())).collect();
    for part in kept.chunks(FRAGMENTS) {
        subject.fragments.put_fragments(&root(), part, super::at(1)).await.expect("kept");
    }
    let nobodys = [(PackageMark::of(&package("nobody", "1", "z")), b"fragment".to_vec())];
    subject.fragments.put_fragments(&root(), &nobodys, super::at(1)).await.expect("kept");
    let start = Instant::now();
    assert_eq!(subject.fragments.sweep_fragments(super::at(2)).await.expect("swept"), 1);
    let swept = start.elapsed();
    let abandoned = subject.snapshots.begin(&root(), super::at(30)).await.expect("a draft");
    let start = Instant::now();
    for part in packages.chunks(1000) {
        subject.snapshots.add_packages(abandoned.id, part).await.expect("added");
    }
    subject.snapshots.abandon(abandoned.id).await.expect("gone");
    let given_up = start.elapsed();
    println!(
        "60,000 packages: added in {added:?}, published in {published:?}; 50 of them: marks and rows in {drafted:?}, \
         published in {refreshed:?}; compared in {compared:?}; fragments swept in {swept:?}; added again and given up in {given_up:?}"
    );
    assert!(added < MANY && published < FEW && drafted < FEW && refreshed < FEW && compared < FEW && swept < FEW);
}
