//! A Redis that is away, hangs, dies and comes back empty.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{LONG, lead, next, published, replica, target, until};
use crate::store::coordinator::redis::RedisCoordinator;
use crate::store::coordinator::{Coordinator, Entered, Event};
use crate::store::services::Service;

/// What a hanging Redis may cost the first who meets it, with some room for a busy machine.
const FIRST: Duration = Duration::from_millis(1000);

/// What it may cost everybody after that.
const AFTERWARDS: Duration = Duration::from_millis(100);

async fn leads_within(limit: Duration, coordinator: &dyn Coordinator, path: &str) {
    let start = Instant::now();
    let _lease = lead(coordinator, &target(path)).await;
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}

async fn missed(events: &mut broadcast::Receiver<Event>) {
    while timeout(LONG, events.recv()).await.expect("an event in time").expect("an event") != Event::Missed {}
}

async fn answers_again(coordinator: &RedisCoordinator) {
    until("Redis is found again", async || coordinator.ping().await.is_ok()).await;
}

/// The two replicas see each other's leases.
async fn leases_work(one: &RedisCoordinator, other: &RedisCoordinator) {
    let lease = lead(one, &target("both.apk")).await;
    let entered = other.enter(&target("both.apk"), Duration::from_millis(100)).await;
    assert!(matches!(entered, Entered::OutOfPatience), "{entered:?}");
    drop(lease);
    until("it is released", async || matches!(other.enter(&target("both.apk"), LONG).await, Entered::Lead(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_is_made_while_redis_is_away() {
    let mut service = Service::redis();
    service.kill();
    let (one, other) = (replica(&service).await, replica(&service).await);
    let mut events = one.events();
    leads_within(AFTERWARDS, &*one, "a.apk").await;
    let lease = lead(&*one, &target("b.apk")).await;
    let entered = one.enter(&target("b.apk"), Duration::from_millis(50)).await;
    assert!(matches!(entered, Entered::OutOfPatience), "in one process there is still one lead: {entered:?}");
    drop(lease);
    one.announce(published(target("a.apk"))).await;
    assert_eq!(next(&mut events).await, published(target("a.apk")), "one's own events need no Redis");
    one.ping().await.expect_err("it is away");

    service.restart();
    missed(&mut events).await;
    answers_again(&one).await;
    answers_again(&other).await;
    leases_work(&one, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_delays_nobody_and_comes_back() {
    let mut service = Service::redis();
    let (one, other) = (replica(&service).await, replica(&service).await);
    leases_work(&one, &other).await;
    let held = lead(&*one, &target("held.apk")).await;
    let follower = tokio::spawn({
        let other = Arc::clone(&other);
        async move { other.enter(&target("held.apk"), LONG).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (mut here, mut there) = (one.events(), other.events());
    service.kill();
    let entered = timeout(FIRST, follower).await.expect("nobody hangs").expect("no panic");
    assert!(matches!(entered, Entered::Lead(_)), "a follower goes on alone: {entered:?}");
    drop(entered);
    leads_within(FIRST, &*one, "a.apk").await;
    for n in 0..20 {
        leads_within(AFTERWARDS, &*one, &format!("{n}.apk")).await;
    }
    let start = Instant::now();
    for n in 0..10_000 {
        one.announce(published(target(&format!("{n}.apk")))).await;
    }
    here = here.resubscribe();
    assert!(start.elapsed() < Duration::from_secs(2), "announcing waits for nothing");

    service.restart();
    missed(&mut here).await;
    missed(&mut there).await;
    answers_again(&one).await;
    answers_again(&other).await;
    // The lease that was held all the time is taken again in the Redis that has forgotten it.
    until("the lease is renewed", async || {
        matches!(other.enter(&target("held.apk"), Duration::ZERO).await, Entered::OutOfPatience)
    })
    .await;
    drop(held);
    leases_work(&one, &other).await;
    let mut here = one.events();
    other.announce(Event::Removed(target("x.apk"))).await;
    assert_eq!(next(&mut here).await, Event::Removed(target("x.apk")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_redis_costs_one_short_wait() {
    let service = Service::redis();
    let (one, other) = (replica(&service).await, replica(&service).await);
    let lease = lead(&*one, &target("held.apk")).await;
    let mut there = other.events();
    service.hang();
    // Many at once: they all meet the same hanging Redis, and none of them waits twice.
    let all: Vec<_> = (0..50)
        .map(|n| {
            let one = Arc::clone(&one);
            tokio::spawn(async move { leads_within(FIRST, &*one, &format!("{n}.apk")).await })
        })
        .collect();
    for one in all {
        one.await.expect("leads in time");
    }
    leads_within(AFTERWARDS, &*one, "a.apk").await;
    let start = Instant::now();
    one.announce(published(target("a.apk"))).await;
    drop(lease);
    assert!(start.elapsed() < AFTERWARDS);
    until("the other one notices without being asked", async || {
        let start = Instant::now();
        let _ = other.ping().await;
        start.elapsed() < AFTERWARDS
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    service.go_on();
    missed(&mut there).await;
    answers_again(&one).await;
    answers_again(&other).await;
    leases_work(&one, &other).await;
}

/// Only one of two replicas is cut off: what it announced meanwhile is lost to the other, who is told so.
#[tokio::test(flavor = "multi_thread")]
async fn the_others_are_told_of_what_could_not_be_said() {
    let service = Service::redis();
    let mut road = Road::to(service.port).await;
    let cut_off = RedisCoordinator::connect(&format!("redis://127.0.0.1:{}", road.port)).await.expect("a URL");
    let other = replica(&service).await;
    cut_off.ping().await.expect("it is there");
    let mut events = other.events();
    road.close();
    until("it is cut off", async || cut_off.ping().await.is_err()).await;
    cut_off.announce(published(target("a.apk"))).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    while events.try_recv().is_ok() {}

    road.open().await;
    let told = timeout(LONG, events.recv()).await.expect("in time").expect("an event");
    assert_eq!(told, Event::Missed);
}

/// A way to a service that can be closed while the service runs.
struct Road {
    port: u16,
    to: u16,
    traffic: JoinSet<()>,
}

impl Road {
    async fn to(service: u16) -> Self {
        let mut road = Self { port: 0, to: service, traffic: JoinSet::new() };
        road.open().await;
        road
    }

    async fn open(&mut self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.expect("a port");
        self.port = listener.local_addr().expect("an address").port();
        let to = self.to;
        self.traffic.spawn(async move {
            let mut cars = JoinSet::new();
            loop {
                let (mut here, _) = listener.accept().await.expect("a connection");
                cars.spawn(async move {
                    let mut there = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.expect("the service");
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
    }

    fn close(&mut self) {
        self.traffic.abort_all();
    }
}
