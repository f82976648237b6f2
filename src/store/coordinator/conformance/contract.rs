//! What any coordinator does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::RecvError;

use super::{LONG, lead, next, published, target};
use crate::store::coordinator::{Coordinator, EVENTS_KEPT, Entered, Event};

pub(super) async fn one_of_fifty_leads_and_the_others_are_told(coordinator: Arc<dyn Coordinator>) {
    let leading = Arc::new(AtomicUsize::new(0));
    let all: Vec<_> = (0..50)
        .map(|_| {
            let (coordinator, leading) = (Arc::clone(&coordinator), Arc::clone(&leading));
            tokio::spawn(async move {
                match coordinator.enter(&target("a.apk"), LONG).await {
                    Entered::Lead(lease) => {
                        assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                        // Until all the others are waiting.
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        leading.fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                        true
                    }
                    Entered::Settled => false,
                    Entered::OutOfPatience => panic!("there was patience"),
                }
            })
        })
        .collect();
    let mut leads = 0;
    for one in all {
        leads += usize::from(one.await.expect("no panic"));
    }
    assert_eq!(leads, 1);
}

pub(super) async fn patience_ends(coordinator: Arc<dyn Coordinator>) {
    let lease = lead(&*coordinator, &target("a.apk")).await;
    for patience in [Duration::ZERO, Duration::from_millis(300)] {
        let start = Instant::now();
        let entered = coordinator.enter(&target("a.apk"), patience).await;
        assert!(matches!(entered, Entered::OutOfPatience), "{entered:?}");
        assert!(start.elapsed() >= patience && start.elapsed() < patience + Duration::from_millis(400));
    }
    drop(lease);
    let _no_overflow = coordinator.enter(&target("a.apk"), Duration::MAX).await;
}

pub(super) async fn a_target_is_free_again_after_its_lease(coordinator: Arc<dyn Coordinator>) {
    for _ in 0..50 {
        // The end of a lease is told, not waited for: somebody who comes at once may still be sent to look again.
        while !matches!(coordinator.enter(&target("a.apk"), LONG).await, Entered::Lead(_)) {}
    }
    // A holder that panics lets go as well.
    let panicking = Arc::clone(&coordinator);
    let holder = tokio::spawn(async move {
        let _lease = panicking.enter(&target("b.apk"), LONG).await;
        panic!("as this test wants");
    });
    assert!(holder.await.is_err());
    while !matches!(coordinator.enter(&target("b.apk"), LONG).await, Entered::Lead(_)) {}
}

pub(super) async fn targets_do_not_wait_for_each_other(coordinator: Arc<dyn Coordinator>) {
    let mut leases = Vec::new();
    for n in 0..100 {
        leases.push(lead(&*coordinator, &target(&format!("{n}.apk"))).await);
    }
    let mut other = target("1.apk");
    other.repository = "other".parse().expect("a name");
    leases.push(lead(&*coordinator, &other).await);
    other.query = "q".into();
    leases.push(lead(&*coordinator, &other).await);
}

pub(super) async fn events_reach_all_receivers(coordinator: Arc<dyn Coordinator>) {
    let mut receivers = [coordinator.events(), coordinator.events()];
    let said = [
        published(target("a.apk")),
        Event::Removed(target("b.apk")),
        Event::Purged("alpine".parse().expect("a name")),
        published(target("a.apk")),
    ];
    for event in &said {
        coordinator.announce(event.clone()).await;
    }
    for receiver in &mut receivers {
        for event in &said {
            assert_eq!(next(receiver).await, *event, "in order, and once");
        }
    }
}

pub(super) async fn a_receiver_that_lags_is_told(coordinator: Arc<dyn Coordinator>) {
    let mut asleep = coordinator.events();
    for n in 0..EVENTS_KEPT + 100 {
        coordinator.announce(published(target(&format!("{n}.apk")))).await;
    }
    assert!(matches!(asleep.recv().await, Err(RecvError::Lagged(_))));
}

pub(super) async fn who_gives_up_waiting_leaves_nothing_behind(coordinator: Arc<dyn Coordinator>) {
    let lease = lead(&*coordinator, &target("a.apk")).await;
    let held = target("a.apk");
    for _ in 0..20 {
        let waiting = coordinator.enter(&held, LONG);
        assert!(tokio::time::timeout(Duration::from_millis(5), waiting).await.is_err(), "cut short");
    }
    let follower = Arc::clone(&coordinator);
    let follower = tokio::spawn(async move { follower.enter(&target("a.apk"), LONG).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(lease);
    let start = Instant::now();
    assert!(matches!(follower.await.expect("no panic"), Entered::Settled));
    assert!(start.elapsed() < Duration::from_millis(500), "woken, not found out");
}

pub(super) async fn a_coordinator_answers(coordinator: Arc<dyn Coordinator>) {
    coordinator.ping().await.expect("it is there");
}
