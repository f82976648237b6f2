//! What goes, what stays, and what becomes of the blobs.
#![allow(clippy::cloned_ref_to_slice_refs, reason = "what is compared with are owned lists")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::generations::{package, root, snapshot};
use super::{Subject, artifact, at, target};
use crate::store::catalog::snapshots::{Expired, SnapshotPublished};
use crate::store::catalog::{Artifact, Published, Use};
use crate::store::key::{BlobKey, Target};

impl Subject {
    async fn taken(&self, before: SystemTime) -> Vec<BlobKey> {
        let mut taken = self.catalog.take_garbage(before, 100).await.expect("garbage");
        taken.sort_unstable();
        taken
    }

    /// Removes all that was superseded before a time.
    async fn expired(&self, before: u64) -> Expired {
        let mut all = Expired::default();
        loop {
            let expired = self.snapshots.expire(&root().repository, at(before), at(100)).await.expect("an answer");
            if expired == Expired::default() {
                return all;
            }
            all.snapshots += expired.snapshots;
            all.packages += expired.packages;
            all.past += expired.past;
        }
    }
}

fn blob(content: &str) -> BlobKey {
    artifact("main/APKINDEX.tar.gz", content.as_bytes()).blob
}

fn sorted<const N: usize>(mut blobs: [BlobKey; N]) -> [BlobKey; N] {
    blobs.sort_unstable();
    blobs
}

pub(super) async fn old_snapshots_expire(subject: Subject) {
    let rebuilt = |content| package("a", "1", content);
    subject.next(&root(), &[rebuilt("old"), package("b", "1", "b")], 10).await;
    let old = artifact("main/a-1.apk", b"old");
    subject.put(&old).await;
    subject.next(&root(), &[rebuilt("new"), package("b", "1", "b")], 20).await;
    let (third, _) = subject.next(&root(), &[rebuilt("new"), package("c", "1", "c")], 30).await;
    assert_eq!(subject.taken(at(1000)).await, [], "snapshots and past packages name them");
    assert_eq!(subject.expired(20).await, Expired::default(), "the first was followed at 20, not before");
    assert_eq!(subject.expired(21).await, Expired { snapshots: 1, packages: 1, past: 1 });
    assert_eq!(subject.taken(at(100)).await, [], "garbage since 100");
    assert_eq!(subject.taken(at(101)).await, sorted([old.blob, blob("index of 10")]));
    assert_eq!(subject.expired(1000).await, Expired { snapshots: 1, packages: 1, past: 0 });
    assert_eq!(subject.taken(at(101)).await, [blob("index of 20")]);
    assert_eq!(subject.current(&root()).await, Some(third), "the current one never goes");
    assert_eq!(subject.names().await, ["a 1", "c 1"]);
    assert_eq!(subject.number("SELECT COUNT(*) FROM package").await, 2);
    let elsewhere = subject.snapshots.expire(&"other".parse().expect("a name"), at(2000), at(2000)).await;
    assert_eq!(elsewhere.expect("an answer"), Expired::default());
}

pub(super) async fn what_is_purged_is_like_new(subject: Subject) {
    let many: Vec<_> = (0..1_500).map(|number| package(&format!("p{number}"), "1", "p")).collect();
    let elsewhere = Target::new("other".parse().expect("a name"), root().path);
    let (tagged, _) = subject.next(&root(), &many, 10).await;
    subject.next(&root(), &many[1..], 20).await;
    subject.next(&target("community/APKINDEX.tar.gz"), &many[..2], 20).await;
    let (other, _) = subject.next(&elsewhere, &many[..2], 20).await;
    assert!(subject.snapshots.tag(tagged.id, &"stable".parse().expect("a tag")).await.expect("an answer"));
    subject.draft(&root(), &[], 30).await;

    let (mut packages, mut snapshots, mut parts) = (0, 0, 0);
    loop {
        let gone = subject.snapshots.purge(&root().repository, at(100)).await.expect("an answer");
        if gone == Expired::default() {
            break;
        }
        (packages, snapshots, parts) = (packages + gone.packages, snapshots + gone.snapshots, parts + 1);
    }
    assert_eq!((packages, snapshots), (1_502, 4), "with the draft");
    assert!(parts > 1, "in parts");
    assert_eq!((subject.current(&root()).await, subject.names().await.len()), (None, 0));
    assert_eq!(subject.snapshots.roots(&root().repository, None, 9).await.expect("roots"), []);
    for (left, sql) in [
        (2, "SELECT COUNT(*) FROM package"),
        (1, "SELECT COUNT(*) FROM snapshot"),
        (1, "SELECT COUNT(*) FROM snapshot_file"),
        (0, "SELECT COUNT(*) FROM snapshot_tag"),
    ] {
        assert_eq!(subject.number(sql).await, left, "{sql}");
    }
    assert_eq!(subject.current(&elsewhere).await, Some(other));

    let (first, _) = subject.next(&root(), &[package("new", "1", "n")], 200).await;
    assert_eq!((first.packages, subject.names().await), (1, vec!["new 1".to_owned()]));
}

pub(super) async fn what_is_tagged_stays(subject: Subject) {
    let rebuilt = |content| package("a", "1", content);
    let tag = "stable".parse().expect("a tag");
    let mut all = Vec::new();
    for (second, content) in [(10, "1"), (20, "2"), (30, "3")] {
        all.push(subject.next(&root(), &[rebuilt(content), package("b", content, "b")], second).await.0);
        subject.put(&artifact("main/a-1.apk", content.as_bytes())).await;
    }
    assert!(subject.snapshots.tag(all[0].id, &tag).await.expect("an answer"));
    assert_eq!(subject.expired(1000).await, Expired { snapshots: 1, packages: 2, past: 1 });
    let past = |content: &'static str| artifact("main/a-1.apk", content.as_bytes());
    assert_eq!(subject.taken(at(1000)).await, sorted([past("2").blob, blob("index of 20")]));
    let tagged = subject.snapshots.tagged(&root(), &tag).await.expect("an answer").expect("a snapshot");
    assert_eq!(tagged.files, all[0].files);
    let kept = subject.snapshots.content(&target("main/a-1.apk"), &rebuilt("1").identity, None).await;
    assert_eq!(kept.expect("an answer").map(|kept| kept.blob), Some(past("1").blob));
    assert_eq!(subject.snapshots.diff(all[0].id, all[2].id, None, 9).await.expect("changes").len(), 3);

    assert!(subject.snapshots.untag(&root(), &tag).await.expect("an answer"));
    assert_eq!(subject.expired(1000).await, Expired { snapshots: 1, packages: 2, past: 1 });
    assert_eq!(subject.taken(at(1000)).await, sorted([past("1").blob, blob("index of 10")]));
}

pub(super) async fn staged_blobs_are_garbage_unless_published(subject: Subject) {
    let (kept, left) = (artifact("main/APKINDEX.tar.gz", b"kept"), artifact("main/APKINDEX.tar.gz", b"left"));
    subject.snapshots.stage(&[kept.blob.clone(), left.blob.clone()], at(10)).await.expect("staged");
    subject.snapshots.stage(&[kept.blob.clone(), left.blob.clone()], at(20)).await.expect("staged");
    subject.snapshots.stage(&[], at(20)).await.expect("nothing to stage");
    assert_eq!(subject.taken(at(20)).await, [], "staged again, it gets its time again");
    let draft = subject.draft(&root(), &[], 20).await;
    let next = snapshot(&root(), draft, vec![kept.clone()], 0, 20);
    let won = subject.snapshots.publish_snapshot(&next, None, &[]).await.expect("an answer");
    assert!(matches!(won, SnapshotPublished::Won { .. }));
    subject.snapshots.stage(&[kept.blob], at(20)).await.expect("passed over");
    assert_eq!(subject.taken(at(1000)).await, [left.blob.clone()]);
    // Just being deleted, or deleted a moment ago: it must not be written, and whoever does it all the same does it in vain.
    let others = [artifact("main/another", b"x").blob, left.blob.clone()];
    let leaving = subject.snapshots.stage(&others, at(30)).await.expect("staged");
    assert_eq!(leaving, [left.blob.clone()]);
    subject.catalog.garbage_deleted(std::slice::from_ref(&left.blob)).await.expect("noted");
    let leaving = subject.snapshots.stage(std::slice::from_ref(&left.blob), at(30)).await.expect("staged");
    assert_eq!(leaving, [left.blob.clone()]);
    assert_eq!(subject.taken(at(1000)).await, others[..1], "asking has not made it garbage once more");
    subject.catalog.garbage_deleted(&others[..1]).await.expect("noted");
    assert_eq!(subject.catalog.publish(&left, None).await.expect("an answer"), Published::BlobLeaving);
    let later = SystemTime::now() + Duration::from_secs(3600);
    assert_eq!(subject.taken(later).await, [left.blob.clone()]);
    // A key that has rested is like new.
    subject.catalog.garbage_deleted(std::slice::from_ref(&left.blob)).await.expect("noted");
    subject.execute("UPDATE garbage SET deleted_at = deleted_at - 600001").await;
    assert_eq!(subject.snapshots.stage(std::slice::from_ref(&left.blob), at(30)).await.expect("staged"), []);
    let elsewhere = Artifact { target: target("elsewhere"), ..left };
    assert!(matches!(subject.catalog.publish(&elsewhere, None).await.expect("an answer"), Published::Won(_)));
}

const BOTH: &str = "
    SELECT COUNT(*) FROM garbage WHERE taken_at IS NOT NULL AND (
        EXISTS (SELECT 1 FROM snapshot_file f WHERE f.blob = garbage.blob)
        OR EXISTS (SELECT 1 FROM past_package q WHERE q.blob = garbage.blob)
        OR EXISTS (SELECT 1 FROM artifact a WHERE a.blob = garbage.blob))";

pub(super) async fn a_named_blob_is_never_taken(subject: Subject) {
    let subject = Arc::new(subject);
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let subject = Arc::clone(&subject);
            tokio::spawn(async move {
                for _ in 0..40 {
                    let (now, later) = (SystemTime::now(), SystemTime::now() + Duration::from_secs(3600));
                    // What has just become garbage may be named by a transaction that began before: hence the grace, which
                    // need only be longer than a transaction.
                    subject.catalog.take_garbage(now - Duration::from_secs(1), 10).await.expect("garbage");
                    subject.snapshots.expire(&root().repository, later, now).await.expect("expired");
                    assert_eq!(subject.number(BOTH).await, 0, "a taken blob is named");
                }
            })
        })
        .collect();
    let (mut won, mut leaving) = (0, 0);
    for round in 0..60_u64 {
        let content = format!("{}", round % 3);
        let entry = artifact("main/APKINDEX.tar.gz", content.as_bytes());
        let held = artifact("main/a-1.apk", content.as_bytes());
        let draft = subject.draft(&root(), &[package("a", "1", &content)], 1_000_000_000).await;
        subject.snapshots.stage(std::slice::from_ref(&entry.blob), at(0)).await.expect("staged");
        let next = snapshot(&root(), draft, vec![entry], 1, round);
        match subject.snapshots.publish_snapshot(&next, draft.follows, &[]).await.expect("an answer") {
            SnapshotPublished::Won { .. } => won += 1,
            SnapshotPublished::BlobLeaving(_) | SnapshotPublished::Lost(_) => leaving += 1,
        }
        let current = subject.catalog.lookup(&held.target).await.expect("an answer").map(|held| held.revision);
        subject.catalog.publish(&held, current).await.expect("an answer");
        if round % 10 == 9 {
            subject.execute("DELETE FROM garbage WHERE taken_at IS NOT NULL").await;
        }
    }
    for taker in takers {
        taker.await.expect("no panic");
    }
    assert!(won > 0, "{won} won, {leaving} did not");
}

pub(super) async fn the_coldest_go_first(subject: Subject) {
    let (first, _) = subject.next(&root(), &[], 10).await;
    for (path, second) in [("main/new.apk", 50), ("main/old.apk", 5), ("main/used.apk", 5), ("main/late.apk", 60)] {
        let mut held = artifact(path, path.as_bytes());
        held.stored_at = at(second);
        subject.put(&held).await;
    }
    let used = Use { target: target("main/used.apk"), count: 1, last: at(55) };
    let stale = Use { target: target("main/late.apk"), count: 1, last: at(7) };
    subject.catalog.record_uses(&[used, stale]).await.expect("counted");
    let mut member = artifact("main/hashed-member", b"m");
    member.stored_at = at(1);
    let draft = subject.draft(&root(), &[], 20).await;
    let files = vec![artifact("main/APKINDEX.tar.gz", b"with a member"), member.clone()];
    let won = subject.snapshots.publish_snapshot(&snapshot(&root(), draft, files, 0, 20), draft.follows, &[]).await;
    assert!(matches!(won, Ok(SnapshotPublished::Won { .. })));

    let coldest = async |limit| {
        let coldest = subject.snapshots.coldest(Some(&root().repository), None, limit).await.expect("files");
        let read =
            |cold: &crate::store::catalog::snapshots::Coldest| (cold.artifact.target.path.to_string(), cold.last_used);
        coldest.iter().map(read).collect::<Vec<_>>()
    };
    let expected = [("main/old.apk", 5), ("main/new.apk", 50), ("main/used.apk", 55), ("main/late.apk", 60)]
        .map(|(path, second)| (path.to_owned(), at(second)));
    assert_eq!(coldest(9).await, expected, "no file of the current snapshot");
    assert_eq!(coldest(2).await, expected[..2]);
    let all = subject.snapshots.coldest(None, None, 9).await.expect("files");
    assert_eq!(all.len(), 4);
    for repository in [None, Some(&root().repository)] {
        let mut pages = Vec::new();
        while let Some(one) = subject.snapshots.coldest(repository, pages.last(), 1).await.expect("files").pop() {
            pages.push(one);
        }
        assert_eq!(pages, all, "one at a time");
    }
    let elsewhere = subject.snapshots.coldest(Some(&"other".parse().expect("a name")), None, 9).await;
    assert_eq!(elsewhere.expect("files"), []);

    // A member of the snapshot before may go, unless that is tagged.
    let tag = "keep".parse().expect("a tag");
    assert!(subject.snapshots.tag(draft.id, &tag).await.expect("an answer"));
    subject.next(&root(), &[], 30).await;
    assert_eq!(coldest(9).await, expected);
    assert!(subject.snapshots.untag(&root(), &tag).await.expect("an answer"));
    assert_eq!(coldest(1).await, [("main/hashed-member".to_owned(), at(1))]);
    assert!(first.id < draft.id);
}
