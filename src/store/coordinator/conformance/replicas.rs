//! Several coordinators on one Redis, as replicas are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{LONG, lead, next, published, replica, target, until};
use crate::store::coordinator::redis::{LEASE_TTL, RedisCoordinator, tell};
use crate::store::coordinator::{Coordinator, Entered, Event};
use crate::store::services::Service;

#[tokio::test(flavor = "multi_thread")]
async fn one_of_fifty_in_two_replicas_leads() {
    let service = Service::redis();
    let replicas = [replica(&service).await, replica(&service).await];
    let start = Instant::now();
    let all: Vec<_> = (0..50)
        .map(|n| {
            let replica = Arc::clone(&replicas[n % 2]);
            tokio::spawn(async move {
                match replica.enter(&target("a.apk"), LONG).await {
                    Entered::Lead(lease) => {
                        tokio::time::sleep(Duration::from_millis(1500)).await;
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
    assert!(start.elapsed() < Duration::from_millis(2400), "woken by the release, not by the lease's end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_renewed_while_it_is_held() {
    let service = Service::redis();
    let (one, other) = (replica(&service).await, replica(&service).await);
    let lease = lead(&*one, &target("a.apk")).await;
    let entered = other.enter(&target("a.apk"), LEASE_TTL + Duration::from_secs(2)).await;
    assert!(matches!(entered, Entered::OutOfPatience), "{entered:?}");
    drop(lease);
    until("the lease ends", async || matches!(other.enter(&target("a.apk"), LONG).await, Entered::Lead(_))).await;
}

#[test]
fn the_lease_of_a_killed_replica_ends() {
    let service = Service::redis();
    let url = format!("redis://127.0.0.1:{}", service.port);
    // A replica with a runtime of its own, which is then no more: no task of it runs on, nothing is released.
    let doomed = tokio::runtime::Runtime::new().expect("a runtime");
    let lease = doomed.block_on(async {
        let coordinator = RedisCoordinator::connect(&url).await.expect("a URL");
        let lease = lead(&coordinator, &target("a.apk")).await;
        std::mem::forget(coordinator);
        lease
    });
    std::mem::forget(lease);
    doomed.shutdown_background();
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let survivor = RedisCoordinator::connect(&url).await.expect("a URL");
        let start = Instant::now();
        let _lease = lead(&survivor, &target("a.apk")).await;
        let took = start.elapsed();
        assert!(took > LEASE_TTL / 3 && took < LEASE_TTL + Duration::from_secs(2), "{took:?}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_out_of_patience_passes_the_lead_on() {
    let service = Service::redis();
    let (one, other) = (replica(&service).await, replica(&service).await);
    let lease = lead(&*one, &target("a.apk")).await;
    // The first of the other replica watches the lease for all of them. When it leaves, another one does.
    let hasty = tokio::spawn({
        let other = Arc::clone(&other);
        async move { other.enter(&target("a.apk"), Duration::from_millis(300)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let patient = tokio::spawn({
        let other = Arc::clone(&other);
        async move { other.enter(&target("a.apk"), LONG).await }
    });
    assert!(matches!(hasty.await.expect("no panic"), Entered::OutOfPatience));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!patient.is_finished(), "the lease is still held");
    drop(lease);
    assert!(matches!(patient.await.expect("no panic"), Entered::Settled));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_the_other_replica_once() {
    let service = Service::redis();
    let (one, other) = (replica(&service).await, replica(&service).await);
    let (mut here, mut there) = (one.events(), other.events());
    for n in 0..500 {
        one.announce(published(target(&format!("{n}.apk")))).await;
    }
    for receiver in [&mut here, &mut there] {
        for n in 0..500 {
            assert_eq!(next(receiver).await, published(target(&format!("{n}.apk"))));
        }
    }
    other.announce(Event::Purged("alpine".parse().expect("a name"))).await;
    assert_eq!(next(&mut here).await, Event::Purged("alpine".parse().expect("a name")), "nothing came twice");
    assert_eq!(next(&mut there).await, Event::Purged("alpine".parse().expect("a name")));
}

/// What a follower looks at after it was woken has been announced before.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_has_heard_what_its_leader_announced() {
    let service = Service::redis();
    let (one, other) = (replica(&service).await, replica(&service).await);
    for n in 0..50 {
        let work = target(&format!("{n}.apk"));
        let lease = lead(&*one, &work).await;
        let mut events = other.events();
        let follower = tokio::spawn({
            let (other, work) = (Arc::clone(&other), work.clone());
            async move { other.enter(&work, LONG).await }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        one.announce(published(work.clone())).await;
        drop(lease);
        if matches!(follower.await.expect("no panic"), Entered::Settled) {
            let mut heard = Vec::new();
            while let Ok(event) = events.try_recv() {
                heard.push(event);
            }
            assert!(heard.contains(&published(work)), "{heard:?}");
        }
    }
}

#[tokio::test]
async fn a_url_is_never_repeated() {
    for url in
        ["redis://user:swordfish@host:nonsense/0", "http://:swordfish@host", "swordfish", "redis://:swordfish@/x"]
    {
        let error = RedisCoordinator::connect(url).await.err().expect("no URL");
        assert!(!format!("{error} {error:?}").contains("swordfish"), "{error:?}");
    }
    let away = RedisCoordinator::connect("redis://user:swordfish@127.0.0.1:1/0").await.expect("a URL");
    let error = away.ping().await.expect_err("nobody is there");
    assert!(!format!("{error} {error:?}").contains("swordfish"), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_beside_the_replicas_tells_them_one_thing_and_nothing_else() {
    let service = Service::redis();
    let replicas = [replica(&service).await, replica(&service).await];
    let mut heard = replicas.each_ref().map(|replica| replica.events());
    replicas[0].announce(published(target("first"))).await;
    for events in &mut heard {
        while next(events).await != published(target("first")) {}
    }
    tell(&format!("redis://127.0.0.1:{}", service.port), &Event::TokensChanged).await.expect("told");
    for events in &mut heard {
        assert_eq!(next(events).await, Event::TokensChanged);
    }
    let nobody = tell("redis://127.0.0.1:1", &Event::TokensChanged).await.expect_err("nobody is there");
    assert!(nobody.to_string().contains("does not take an announcement"), "{nobody}");
}
