//! The contract of [`Coordinator`], as one suite that runs in process and on a real Redis.

mod contract;
mod faults;
mod replicas;

use std::sync::Arc;
use std::time::{Duration, Instant};

use artifactapi_formats::RepoPath;
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::in_process::InProcessCoordinator;
use super::redis::RedisCoordinator;
use super::{Coordinator, Entered, Event, Lease};
use crate::store::catalog::Revision;
use crate::store::key::Target;
use crate::store::services::Service;

/// Long enough for anything that is going to happen.
const LONG: Duration = Duration::from_secs(20);

/// Makes each test of the suite a test of both coordinators.
macro_rules! suite {
    ($($test:ident)*) => {
        mod in_process {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::contract::$test(std::sync::Arc::new(super::InProcessCoordinator::new())).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let service = super::Service::redis();
                super::contract::$test(super::replica(&service).await).await;
            })*
        }
    };
}

suite! {
    one_of_fifty_leads_and_the_others_are_told patience_ends a_target_is_free_again_after_its_lease
        targets_do_not_wait_for_each_other events_reach_all_receivers a_receiver_that_lags_is_told
        who_gives_up_waiting_leaves_nothing_behind a_coordinator_answers
}

/// A coordinator on this Redis.
async fn replica(service: &Service) -> Arc<RedisCoordinator> {
    let url = format!("redis://127.0.0.1:{}", service.port);
    Arc::new(RedisCoordinator::connect(&url).await.expect("a URL"))
}

fn target(path: &str) -> Target {
    Target::new("alpine".parse().expect("a name"), RepoPath::new(path).expect("a path"))
}

/// Something to announce.
fn published(target: Target) -> Event {
    Event::Published(target, Revision(7))
}

/// Enters and leads.
async fn lead(coordinator: &dyn Coordinator, target: &Target) -> Lease {
    match coordinator.enter(target, LONG).await {
        Entered::Lead(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// The next event that is not [`Event::Missed`], which a replica that starts says to all.
async fn next(events: &mut broadcast::Receiver<Event>) -> Event {
    loop {
        let event = timeout(LONG, events.recv()).await.expect("an event in time").expect("an event");
        if event != Event::Missed {
            return event;
        }
    }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < LONG, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
