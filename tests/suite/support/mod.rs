//! The harness: everything a scenario needs, with real parts only.
//!
//! | module | what it gives |
//! |---|---|
//! | [`testbed`] | the tools and fixtures that `tests/testbed/provide` and `fixtures/build` made |
//! | [`run`] | a short folder of the test's own, and ports that nobody else takes |
//! | [`process`] | a program that runs in the background, its lines, its end |
//! | [`http`] | an HTTP/1 client that sends exact bytes and can tell a whole body from a cut one |
//! | [`upstream`] | the server that we cache: gates, faults, a log of every request |
//! | [`proxy`] | a TCP proxy that refuses, hangs, resets, and records what passes |
//! | [`server`] | the real binary |
//! | [`services`] | PostgreSQL, Redis and S3, to be stopped and started again |
//! | [`site`] | upstream, services and server put together |
//! | [`clients`] | apk, dnf, zypper, curl, zckdl as users run them |
//! | [`load`] | clients that ask again and again and compare every byte |
//! | [`bodies`] | content from a seed, and digests |
//! | [`made`] | packages for apk, and their indexes |
//! | [`rpms`] | many packages for rpm, and what an index lists |
//! | [`signing`] | signatures by the fixtures' keys and by others |
//! | [`history`] | repositories that went through many generations |
//! | [`metrics`] | what the server counted |
//!
//! Nothing here sleeps in the hope that something has happened by then: it awaits the event, and [`within`] turns an
//! event that never comes into a failure with a name.

pub(crate) mod bodies;
pub(crate) mod clients;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod keys;
pub(crate) mod load;
pub(crate) mod made;
pub(crate) mod metrics;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod remotes;
pub(crate) mod rpms;
pub(crate) mod run;
pub(crate) mod server;
pub(crate) mod services;
pub(crate) mod signing;
pub(crate) mod site;
pub(crate) mod testbed;
pub(crate) mod upstream;

use std::time::Duration;

/// The longest any single event is awaited. Far above what a loaded machine takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Awaits `event`, or fails the test saying which event never came.
#[track_caller]
pub(crate) fn within<F: Future>(what: impl Into<String>, event: F) -> impl Future<Output = F::Output> {
    let what = what.into();
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, event).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: waited {PATIENCE:?} in vain for: {what}"),
        }
    }
}

/// Asks `question` until it answers. For what has no event to await: another program's readiness.
#[track_caller]
pub(crate) fn until<T, F: Future<Output = Option<T>>>(
    what: impl Into<String>,
    mut question: impl FnMut() -> F,
) -> impl Future<Output = T> {
    within(what, async move {
        loop {
            if let Some(answer) = question().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}
