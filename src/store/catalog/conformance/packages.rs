//! What the snapshots name.
#![allow(clippy::cloned_ref_to_slice_refs, reason = "what is compared with are owned lists")]

use artifactapi_formats::{Digest, Identity, PackageEntry, RepoPath, Sha256};

use super::generations::{package, root};
use super::{Subject, artifact, target};
use crate::store::catalog::snapshots::{Generation, NamedPackage, PackageChange, PackageQuery, ROWS};

fn names(found: &[NamedPackage]) -> Vec<String> {
    found.iter().map(|named| format!("{} {}", named.package.name, named.package.version)).collect()
}

pub(super) async fn packages_are_found_page_by_page(subject: Subject) {
    let packages: Vec<_> = (0..25).map(|n| package(&format!("p{n:02}"), "1", "x")).collect();
    subject.next(&root(), &packages, 10).await;
    let other = target("other/APKINDEX.tar.gz");
    subject.next(&other, &[PackageEntry { arch: "noarch".into(), ..package("p03", "2", "y") }], 10).await;
    let search =
        async |query: PackageQuery| subject.snapshots.search(&root().repository, &query).await.expect("packages");
    let mut query = PackageQuery { limit: 10, ..PackageQuery::default() };
    let mut found = Vec::new();
    loop {
        let page = search(query.clone()).await;
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 10);
        query.after = Some(last.row);
        found.extend(names(&page));
    }
    assert_eq!(found.len(), 26);
    assert!(found[..25].is_sorted(), "in the order of their rows");

    let all = PackageQuery { limit: u32::MAX, ..PackageQuery::default() };
    let by_name = search(PackageQuery { name: Some("p03".into()), ..all.clone() }).await;
    assert_eq!(names(&by_name), ["p03 1", "p03 2"]);
    assert_eq!(by_name[1].root, other);
    let by_arch = search(PackageQuery { arch: Some("noarch".into()), ..all.clone() }).await;
    assert_eq!(names(&by_arch), ["p03 2"]);
    let by_version = search(PackageQuery { name: Some("p03".into()), version: Some("1".into()), ..all.clone() }).await;
    assert_eq!(names(&by_version), ["p03 1"]);
    let by_file = search(PackageQuery { file: Some("p03-1.apk".into()), ..all.clone() }).await;
    assert_eq!(names(&by_file), ["p03 1"]);
    let by_part = search(PackageQuery { file: Some("3-1.apk".into()), ..all.clone() }).await;
    assert_eq!(names(&by_part), [""; 0], "the whole file name");
    let by_root = search(PackageQuery { root: Some(other.path), ..all.clone() }).await;
    assert_eq!(names(&by_root), ["p03 2"]);
    for hostile in ["p%", "'; DROP TABLE package; --", "nul\0", "_"] {
        let found =
            search(PackageQuery { name: Some(hostile.into()), file: Some(hostile.into()), ..all.clone() }).await;
        assert_eq!(names(&found), [""; 0]);
    }
    let elsewhere = subject.snapshots.search(&"elsewhere".parse().expect("a name"), &all).await.expect("packages");
    assert_eq!(elsewhere, []);
}

pub(super) async fn a_path_is_named_in_its_generation(subject: Subject) {
    let old = PackageEntry { path: RepoPath::new("main/a.apk").expect("a path"), ..package("a", "1", "old") };
    let new = PackageEntry { path: old.path.clone(), ..package("a", "1", "new") };
    let (first, _) = subject.next(&root(), &[old.clone()], 10).await;
    let (second, _) = subject.next(&root(), &[new.clone()], 20).await;
    let (third, _) = subject.next(&root(), &[], 30).await;
    let (fourth, _) = subject.next(&root(), &[old.clone()], 40).await;
    let named = async |generation| {
        let named = subject.snapshots.named(&root().repository, &old.path, generation).await.expect("packages");
        named.into_iter().map(|named| named.package).collect::<Vec<_>>()
    };
    assert_eq!(named(Generation::Of(first.id)).await, [old.clone()]);
    assert_eq!(named(Generation::Of(second.id)).await, [new]);
    assert_eq!(named(Generation::Of(third.id)).await, []);
    assert_eq!(named(Generation::Of(fourth.id)).await, [old.clone()]);
    assert_eq!(named(Generation::Current).await, [old.clone()]);
    // Another root that shares the file.
    subject.next(&target("other/APKINDEX.tar.gz"), &[old.clone()], 50).await;
    assert_eq!(named(Generation::Current).await, [old.clone(), old.clone()]);
    assert_eq!(named(Generation::Of(fourth.id)).await, [old.clone()]);
    // What was away for a while is no difference.
    assert_eq!(subject.snapshots.diff(first.id, fourth.id, None, 9).await.expect("changes"), []);
}

pub(super) async fn of_many_generations_the_newest_are_told(subject: Subject) {
    let at_one_path = |version: &str| PackageEntry {
        path: RepoPath::new("main/a.apk").expect("a path"),
        ..package("a", version, version)
    };
    let (first, _) = subject.next(&root(), &[at_one_path("1")], 10).await;
    let many = "
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1200)
        INSERT INTO package (repository, root, path, name, version, arch, size, identity, mark, first, last)
        SELECT p.repository, p.root, p.path, p.name, p.version, p.arch, p.size, p.identity, p.mark, p.first, p.first
        FROM package p, number";
    subject.execute(many).await;
    let (second, _) = subject.next(&root(), &[at_one_path("2")], 20).await;
    let named = async |generation| {
        let path = at_one_path("1").path;
        subject.snapshots.named(&root().repository, &path, generation).await.expect("packages")
    };
    let newest = named(Generation::Any).await;
    assert_eq!((newest.len(), newest[0].first, &*newest[0].package.version), (1_000, second.id, "2"));
    assert!(newest.is_sorted_by_key(|row| std::cmp::Reverse(row.row)));
    assert_eq!(named(Generation::Of(second.id)).await, newest[..1]);
    assert!(named(Generation::Of(first.id)).await.iter().all(|row| row.package.version == "1"));
}

pub(super) async fn snapshots_are_compared(subject: Subject) {
    let rebuilt = PackageEntry { path: package("c", "1", "c").path, ..package("c", "1", "rebuilt") };
    let before = [package("a", "1", "a"), package("b", "1", "b"), package("c", "1", "c"), package("é", "1", "e")];
    let after = [package("a", "2", "A"), package("b", "1", "b"), rebuilt.clone(), package("é", "1", "e")];
    let (first, _) = subject.next(&root(), &before, 10).await;
    subject.next(&root(), &[package("b", "1", "b"), package("x", "1", "came and went")], 20).await;
    let (third, _) = subject.next(&root(), &after, 30).await;
    let changes = subject.snapshots.diff(first.id, third.id, None, 9).await.expect("changes");
    let change =
        |from: &PackageEntry, to: &PackageEntry| PackageChange { from: Some(from.clone()), to: Some(to.clone()) };
    let expected = [
        PackageChange { from: Some(before[0].clone()), to: None },
        PackageChange { from: None, to: Some(after[0].clone()) },
        change(&before[2], &rebuilt),
    ];
    assert_eq!(changes, expected);
    let mut after_path = None;
    for expected in &expected {
        let page = subject.snapshots.diff(first.id, third.id, after_path.as_ref(), 1).await.expect("changes");
        assert_eq!(page, [expected.clone()]);
        after_path = expected.from.as_ref().or(expected.to.as_ref()).map(|package| package.path.clone());
    }
    assert_eq!(subject.snapshots.diff(first.id, third.id, after_path.as_ref(), 1).await.expect("changes"), []);
    let back = subject.snapshots.diff(third.id, first.id, None, 9).await.expect("changes");
    assert_eq!(back[2], change(&rebuilt, &before[2]));
    assert_eq!(subject.snapshots.diff(third.id, third.id, None, 9).await.expect("changes"), []);
    let (foreign, _) = subject.next(&target("other/APKINDEX.tar.gz"), &after, 40).await;
    assert_eq!(subject.snapshots.diff(first.id, foreign.id, None, 9).await.expect("changes"), [], "another root's");
}

pub(super) async fn newer_builds_of_what_is_held_are_found(subject: Subject) {
    let arm = |package: PackageEntry| PackageEntry { arch: "arm".into(), ..package };
    let old = [package("held", "1", "h"), package("unheld", "1", "u"), package("moved", "1", "m")];
    subject.next(&root(), &old, 10).await;
    subject.put(&artifact("main/held-1.apk", b"h")).await;
    subject.put(&artifact("main/moved-1.apk", b"m")).await;
    let moved = PackageEntry { path: old[2].path.clone(), ..package("moved", "1", "rebuilt") };
    let new = [package("held", "2", "H"), package("unheld", "2", "U"), moved, arm(package("held", "3", "A"))];
    let draft = subject.draft(&root(), &new, 15).await;
    let ahead = subject.snapshots.renewals(draft.id, None, 9).await.expect("packages");
    assert_eq!(names(&ahead), ["held 2", "moved 1"], "known before they are published");
    let added = subject.snapshots.added(draft.id, None, 9).await.expect("packages");
    assert_eq!(names(&added), ["held 2", "unheld 2", "moved 1", "held 3"]);
    subject.snapshots.abandon(draft.id).await.expect("given up");
    assert_eq!(subject.snapshots.added(draft.id, None, 9).await.expect("packages"), []);
    let (second, replaced) = subject.next(&root(), &new, 20).await;
    let added = subject.snapshots.added(second.id, None, 2).await.expect("packages");
    assert_eq!(names(&added), ["held 2", "unheld 2"]);
    assert_eq!(replaced, [target("main/moved-1.apk")]);
    let found = subject.snapshots.renewals(second.id, None, 9).await.expect("packages");
    assert_eq!(names(&found), ["held 2", "moved 1"]);
    let page = subject.snapshots.renewals(second.id, Some(found[0].row), 9).await.expect("packages");
    assert_eq!(names(&page), ["moved 1"]);
    assert_eq!(subject.snapshots.renewals(second.id, None, 1).await.expect("packages").len(), 1);
}

pub(super) async fn hostile_text_comes_back(subject: Subject) {
    // Digests do not compress: PostgreSQL really gets what is longer than an index entry.
    let noise: String = (0..200_u32).map(|n| Sha256::of(&n.to_be_bytes()).hex()).collect();
    let hostile = ["'; DROP TABLE package; --", "\u{10ffff}\u{1}é%_\\\"", "{1,2,\"NULL\"}", "NULL", "", &noise];
    let mut packages = Vec::new();
    for (n, text) in hostile.iter().enumerate() {
        packages.push(PackageEntry {
            name: (*text).to_owned(),
            version: (*text).to_owned(),
            arch: (*text).to_owned(),
            path: RepoPath::new(&format!("ü/%41'\"{{}};--{n}.apk")).expect("a path"),
            size: i64::MAX as u64,
            identity: Identity::Part(Digest::from(Sha256::of(text.as_bytes()))),
        });
    }
    packages[5].path = RepoPath::new(&noise[..RepoPath::MAX_BYTES]).expect("the longest path");
    let mut long_root = target(&noise[1..=RepoPath::MAX_BYTES]);
    long_root.repository = "a".repeat(64).parse().expect("a name");
    let (first, _) = subject.next(&long_root, &packages, 10).await;
    assert_eq!(subject.current(&long_root).await, Some(first.clone()));
    let all = PackageQuery { limit: ROWS, ..PackageQuery::default() };
    let found = subject.snapshots.search(&long_root.repository, &all).await.expect("packages");
    assert_eq!(found.into_iter().map(|named| named.package).collect::<Vec<_>>(), packages);
    for package in &packages {
        let query = PackageQuery { name: Some(package.name.clone()), ..all.clone() };
        let found = subject.snapshots.search(&long_root.repository, &query).await.expect("packages");
        assert_eq!(found.len(), 1, "{:?}", package.name);
        let path = &package.path;
        let named =
            subject.snapshots.named(&long_root.repository, path, Generation::Of(first.id)).await.expect("named");
        assert_eq!(named.len(), 1);
    }
    let (second, _) = subject.next(&long_root, &[], 20).await;
    assert_eq!(subject.snapshots.diff(first.id, second.id, None, 99).await.expect("changes").len(), packages.len());
}
