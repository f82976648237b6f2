//! Compare and set.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Subject, artifact, at, target};
use crate::store::catalog::Published;

pub(super) async fn only_the_first_publication_of_a_target_wins(subject: Subject) {
    let catalog = &subject.catalog;
    let mut first = artifact("a", b"1");
    first.revision = subject.put(&first).await;
    let lost = catalog.publish(&artifact("a", b"2"), None).await.expect("an answer");
    assert_eq!(lost, Published::Lost(Some(Box::new(first.clone()))), "there is one");
    assert_eq!(catalog.lookup(&first.target).await.expect("an answer"), Some(first));
}

pub(super) async fn a_publication_replaces_what_it_says(subject: Subject) {
    let catalog = &subject.catalog;
    let first = subject.put(&artifact("a", b"1")).await;
    let mut second = artifact("a", b"2");
    let Published::Won(revision) = catalog.publish(&second, Some(first)).await.expect("an answer") else {
        panic!("it is current")
    };
    assert!(revision > first);
    second.revision = revision;
    let late = catalog.publish(&artifact("a", b"3"), Some(first)).await.expect("an answer");
    assert_eq!(late, Published::Lost(Some(Box::new(second.clone()))), "it is not current any more");
    assert!(!catalog.remove(&second.target, first, at(0)).await.expect("an answer"));
    assert!(catalog.remove(&second.target, revision, at(0)).await.expect("an answer"));
    let gone = catalog.publish(&artifact("a", b"3"), Some(revision)).await.expect("an answer");
    assert_eq!(gone, Published::Lost(None), "there is none any more");
}

pub(super) async fn one_of_sixteen_wins_each_revision(subject: Subject) {
    let subject = Arc::new(subject);
    let mut current = None;
    for round in 0..12_u8 {
        let contest: Vec<_> = (0..16_u8)
            .map(|contestant| {
                let catalog = Arc::clone(&subject.catalog);
                let artifact = artifact("repomd.xml", &[round, contestant]);
                tokio::spawn(async move { (catalog.publish(&artifact, current).await, artifact) })
            })
            .collect();
        let mut winners = Vec::new();
        let mut seen_by_losers = Vec::new();
        for contestant in contest {
            match contestant.await.expect("no panic") {
                (Ok(Published::Won(revision)), mut artifact) => {
                    artifact.revision = revision;
                    winners.push(artifact);
                }
                (Ok(Published::Lost(winner)), _) => seen_by_losers.push(*winner.expect("a winner")),
                (other, _) => panic!("{other:?}"),
            }
        }
        assert_eq!((winners.len(), seen_by_losers.len()), (1, 15), "round {round}");
        assert!(seen_by_losers.iter().all(|seen| *seen == winners[0]), "all are shown the winner");
        let now = subject.catalog.lookup(&target("repomd.xml")).await.expect("an answer").expect("a record");
        assert_eq!(now, winners[0]);
        current = Some(now.revision);
    }
}

pub(super) async fn a_removed_record_leaves_no_trace_to_be_confused_with(subject: Subject) {
    let mut revisions = BTreeSet::new();
    for content in [b"1", b"2", b"1"] {
        let revision = subject.put(&artifact("a", content)).await;
        assert!(revisions.last().is_none_or(|last| *last < revision), "no revision comes twice");
        assert!(subject.catalog.remove(&target("a"), revision, at(0)).await.expect("an answer"));
        revisions.insert(revision);
    }
}
