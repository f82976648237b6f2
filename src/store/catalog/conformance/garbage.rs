//! The life of a blob that lost its record.
#![allow(clippy::cloned_ref_to_slice_refs, reason = "what is compared with are owned lists")]

use std::slice::from_ref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sqlx::{Connection as _, Executor as _, PgConnection};

use super::generations::{root, snapshot};
use super::{Raw, Subject, artifact, at, target, url};
use crate::store::catalog::snapshots::SnapshotPublished;
use crate::store::catalog::{Artifact, KEY_REST, Published};
use crate::store::key::BlobKey;

/// Later than any taking that this test did.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

async fn take(subject: &Subject, before: SystemTime) -> Vec<String> {
    let taken = subject.catalog.take_garbage(before, 100).await.expect("garbage");
    taken.iter().map(BlobKey::to_string).collect()
}

/// Makes and removes a record, so that its blob is garbage.
async fn leave_behind(subject: &Subject, artifact: &Artifact) {
    let revision = subject.put(artifact).await;
    assert!(subject.catalog.remove(&artifact.target, revision, at(0)).await.expect("an answer"));
}

pub(super) async fn replaced_and_removed_blobs_become_garbage(subject: Subject) {
    let catalog = &subject.catalog;
    let (first, mut second) = (artifact("a", b"1"), artifact("a", b"2"));
    second.stored_at = at(100);
    subject.put(&first).await;
    let revision = subject.put(&second).await;
    assert!(take(&subject, at(100)).await.is_empty(), "not before its time");
    let are_garbage = [catalog.is_garbage(&first.blob).await, catalog.is_garbage(&second.blob).await];
    assert_eq!(are_garbage.map(|is_garbage| is_garbage.expect("an answer")), [true, false]);
    assert_eq!(take(&subject, at(101)).await, [first.blob.as_str()], "as of the publication");
    assert!(take(&subject, at(101)).await.is_empty(), "only once");
    assert!(catalog.is_garbage(&first.blob).await.expect("an answer"), "until it is deleted");
    catalog.garbage_deleted(from_ref(&first.blob)).await.expect("noted");
    assert!(!catalog.is_garbage(&first.blob).await.expect("an answer"));

    assert!(catalog.remove(&second.target, revision, at(200)).await.expect("an answer"));
    assert!(take(&subject, at(200)).await.is_empty());
    assert_eq!(take(&subject, at(201)).await, [second.blob.as_str()]);

    // The same blob again, with other metadata, is no garbage.
    let third = artifact("c", b"3");
    subject.put(&third).await;
    subject.put(&third).await;
    assert!(take(&subject, at(500)).await.is_empty());

    for n in 0..5_u8 {
        leave_behind(&subject, &artifact("many", &[n])).await;
    }
    assert_eq!(catalog.take_garbage(at(1), 3).await.expect("garbage").len(), 3, "at most so many");
    assert_eq!(catalog.take_garbage(at(1), 3).await.expect("garbage").len(), 2);
}

pub(super) async fn a_taken_blob_cannot_be_named(subject: Subject) {
    let catalog = &subject.catalog;
    let old = artifact("a", b"1");
    leave_behind(&subject, &old).await;
    assert_eq!(take(&subject, at(1)).await, [old.blob.as_str()]);
    assert_eq!(catalog.publish(&old, None).await.expect("an answer"), Published::BlobLeaving);
    assert_eq!(catalog.lookup(&old.target).await.expect("an answer"), None, "nothing was published");
    let replacing = subject.put(&artifact("a", b"2")).await;
    assert_eq!(catalog.publish(&old, Some(replacing)).await.expect("an answer"), Published::BlobLeaving);
    let current = catalog.lookup(&old.target).await.expect("an answer").expect("a record");
    assert_eq!(current.revision, replacing);
}

pub(super) async fn a_deleted_key_rests(subject: Subject) {
    let catalog = &subject.catalog;
    let old = artifact("a", b"1");
    leave_behind(&subject, &old).await;
    assert_eq!(take(&subject, at(1)).await, [old.blob.as_str()]);
    catalog.garbage_deleted(&[old.blob.clone(), artifact("x", b"never taken").blob]).await.expect("noted");
    // Somebody may have written the blob just before it was deleted, and not have published it yet.
    assert_eq!(catalog.publish(&old, None).await.expect("an answer"), Published::BlobLeaving);
    // What was written under that key is deleted by a later taker.
    assert!(take(&subject, at(2)).await.is_empty());
    assert_eq!(take(&subject, later()).await, [old.blob.as_str()]);
    catalog.garbage_deleted(from_ref(&old.blob)).await.expect("noted");

    let rest = i64::try_from(KEY_REST.as_millis()).expect("a number");
    assert_eq!(rest, 600_000, "the number in the statement below");
    subject.execute("UPDATE garbage SET deleted_at = deleted_at - 600001").await;
    let Published::Won(revision) = catalog.publish(&old, None).await.expect("an answer") else {
        panic!("the key has rested")
    };
    assert!(catalog.remove(&old.target, revision, at(0)).await.expect("an answer"));
    assert_eq!(take(&subject, at(1)).await, [old.blob.as_str()], "and is garbage like any other");

    catalog.garbage_deleted(from_ref(&old.blob)).await.expect("noted");
    subject.execute("UPDATE garbage SET deleted_at = deleted_at - 600001").await;
    assert!(take(&subject, at(1)).await.is_empty());
    assert_eq!(subject.number("SELECT COUNT(*) FROM garbage").await, 0, "rested keys are forgotten");
}

pub(super) async fn what_is_written_before_word_of_a_deletion_is_deleted_again(subject: Subject) {
    let catalog = &subject.catalog;
    let old = artifact("a", b"1");
    leave_behind(&subject, &old).await;
    assert_eq!(take(&subject, at(1)).await, [old.blob.as_str()]);
    // The taker has deleted it and not said so yet. Somebody writes it again, and then wants to name it.
    assert_eq!(catalog.publish(&old, None).await.expect("an answer"), Published::BlobLeaving);
    catalog.garbage_deleted(from_ref(&old.blob)).await.expect("noted");
    assert_eq!(take(&subject, later()).await, [old.blob.as_str()], "those bytes are still there");
    // The same with a snapshot.
    let entry = Artifact { target: target("main/APKINDEX.tar.gz"), ..old.clone() };
    let draft = subject.draft(&root(), &[], 10).await;
    let written = snapshot(&root(), draft, vec![entry], 0, 10);
    let leaving = subject.snapshots.publish_snapshot(&written, None, &[]).await.expect("an answer");
    assert_eq!(leaving, SnapshotPublished::BlobLeaving(old.blob.clone()));
    catalog.garbage_deleted(from_ref(&old.blob)).await.expect("noted");
    assert_eq!(take(&subject, later()).await, [old.blob.as_str()]);
    // Whoever only asks whether it may be written has not written it.
    let asked = subject.snapshots.stage(from_ref(&old.blob), later()).await.expect("an answer");
    assert_eq!(asked, [old.blob.clone()]);
    catalog.garbage_deleted(from_ref(&old.blob)).await.expect("noted");
    assert!(take(&subject, later() + Duration::from_secs(3600)).await.is_empty(), "now it is gone");
}

pub(super) async fn a_blob_named_again_is_no_garbage(subject: Subject) {
    let catalog = &subject.catalog;
    let old = artifact("a", b"1");
    leave_behind(&subject, &old).await;
    subject.put(&old).await;
    assert!(take(&subject, later()).await.is_empty());

    // Two targets may name one blob: a file that was cached by its absolute URL through two repositories.
    let mut other = old.clone();
    other.target.repository = "other".parse().expect("a name");
    let revision = subject.put(&other).await;
    assert!(catalog.remove(&other.target, revision, at(0)).await.expect("an answer"));
    assert!(take(&subject, later()).await.is_empty(), "the other one still names it");
    let current = catalog.lookup(&old.target).await.expect("an answer").expect("a record");
    assert!(catalog.remove(&old.target, current.revision, at(0)).await.expect("an answer"));
    assert_eq!(take(&subject, at(1)).await, [old.blob.as_str()]);
}

pub(super) async fn a_taker_that_died_is_followed(subject: Subject) {
    let old = artifact("a", b"1");
    leave_behind(&subject, &old).await;
    assert_eq!(take(&subject, at(1)).await, [old.blob.as_str()]);
    assert!(take(&subject, SystemTime::now() - Duration::from_secs(1)).await.is_empty(), "the taker is at it");
    assert_eq!(take(&subject, later()).await, [old.blob.as_str()], "after the same grace");
}

pub(super) async fn the_blob_of_a_lost_publication_is_garbage(subject: Subject) {
    let catalog = &subject.catalog;
    let winner = artifact("a", b"1");
    subject.put(&winner).await;
    let loser = artifact("a", b"2");
    assert!(matches!(catalog.publish(&loser, None).await.expect("an answer"), Published::Lost(Some(_))));
    assert!(matches!(catalog.publish(&winner, None).await.expect("an answer"), Published::Lost(Some(_))));
    assert_eq!(take(&subject, at(1)).await, [loser.blob.as_str()], "but not one that the winner wrote too");
}

const BOTH: &str = "
    SELECT COUNT(*) FROM garbage JOIN artifact ON artifact.blob = garbage.blob WHERE garbage.taken_at IS NOT NULL";

pub(super) async fn no_blob_is_both_taken_and_named(subject: Subject) {
    let subject = Arc::new(subject);
    // One publishes two contents in turn, over and over, so that each is garbage while the other is current; two take
    // whatever they find at once, as if there were no grace.
    let publisher = tokio::spawn({
        let subject = Arc::clone(&subject);
        async move {
            let (mut won, mut leaving) = (0, 0);
            for round in 0..200_u32 {
                let artifact = artifact("a", &(round % 3).to_be_bytes());
                let current = subject.catalog.lookup(&artifact.target).await.expect("an answer");
                let current = current.map(|current| current.revision);
                match subject.catalog.publish(&artifact, current).await.expect("an answer") {
                    Published::Won(_) => won += 1,
                    Published::BlobLeaving => leaving += 1,
                    Published::Lost(_) => panic!("nobody else publishes"),
                }
                if round % 10 == 9 {
                    subject.execute("DELETE FROM garbage WHERE taken_at IS NOT NULL").await;
                }
            }
            (won, leaving)
        }
    });
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let subject = Arc::clone(&subject);
            tokio::spawn(async move {
                for _ in 0..100 {
                    subject.catalog.take_garbage(later(), 10).await.expect("garbage");
                    assert_eq!(subject.number(BOTH).await, 0, "a taken blob has a record");
                }
            })
        })
        .collect();
    for taker in takers {
        taker.await.expect("no panic");
    }
    let (won, leaving) = publisher.await.expect("no panic");
    assert!(won > 0 && leaving > 0, "{won} won, {leaving} leaving: the race did not happen");
}

/// PostgreSQL only: in SQLite nothing happens between two statements of the writer.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_taken_at_the_very_moment_cannot_be_named() {
    let subject = Subject::postgres().await;
    let Raw::Postgres(service) = &subject.raw else { panic!() };
    let old = artifact("a", b"1");
    leave_behind(&subject, &old).await;
    let mut taker = PgConnection::connect(&url(service)).await.expect("a database");
    taker.execute("BEGIN; UPDATE garbage SET taken_at = 1").await.expect("taken, but not yet for others to see");
    let publication = tokio::spawn({
        let (catalog, artifact) = (Arc::clone(&subject.catalog), old.clone());
        async move { catalog.publish(&artifact, None).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!publication.is_finished(), "it waits for the taker");
    taker.execute("COMMIT").await.expect("taken");
    let published = publication.await.expect("no panic").expect("an answer");
    assert_eq!(published, Published::BlobLeaving);
    assert_eq!(subject.catalog.lookup(&old.target).await.expect("an answer"), None, "what it had done is undone");
}
