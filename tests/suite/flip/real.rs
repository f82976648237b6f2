//! Real dnf and real apk in the loop: each time a new root, that takes the index and what it needs of it, then downloads packages.
//!
//! They check what they are given themselves: signatures of indexes and packages, digests of members and packages. So what
//! they refuse is a contradiction, unless the server refused it first and said so: with an HTTP error, or by cutting the
//! connection. A failure that says neither counts as a contradiction.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::Seen;
use super::upstream::{APK_PACKAGES, PACKAGES};
use crate::support::clients::{Apk, Dnf};
use crate::support::process::Finished;
use crate::support::run::Run;
use crate::support::testbed::generation;

/// What dnf says of an HTTP error and of a connection that was cut.
const DNF_WAS_REFUSED: [&str; 4] = ["Status code: 4", "Status code: 5", "Curl error (18)", "Curl error (56)"];

/// What dnf says of bytes that are not what they must be, perhaps beside other things.
const DNF_SAW: [&str; 4] =
    ["checksum doesn't match", "GPG signature verification error", "GPG check FAILED", "is not signed"];

/// The same of apk. It calls a body that was cut an unexpected end.
const APK_WAS_REFUSED: [&str; 3] = ["HTTP 4", "HTTP 5", "unexpected end of file"];
const APK_SAW: [&str; 3] = ["UNTRUSTED", "BAD", "integrity"];

/// Notes how a run of a client ended. Whether it succeeded.
fn judge(seen: &Seen, finished: &Finished, log: &str, was_refused: &[&str], saw: &[&str]) -> bool {
    let says = |words: &[&str]| words.iter().any(|word| finished.output.contains(word) || log.contains(word));
    // dnf asks again for what was wrong, and may succeed in the end: it was given it all the same.
    if says(saw) {
        seen.contradiction(format!("{}: {}\n{log}", finished.command, finished.output));
    } else if finished.status.success() {
        seen.right.fetch_add(1, Ordering::Relaxed);
        return true;
    } else if says(was_refused) {
        seen.refused.fetch_add(1, Ordering::Relaxed);
    } else {
        seen.contradiction(format!("{}: {}\n{log}", finished.command, finished.output));
    }
    false
}

/// dnf, again and again until it is stopped.
pub(super) async fn dnf(
    run: Run,
    servers: Vec<SocketAddr>,
    below: &'static str,
    seen: Arc<Seen>,
    stop: CancellationToken,
) {
    let mut random = SmallRng::seed_from_u64(1_001);
    for round in 0.. {
        if stop.is_cancelled() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1_000))).await;
        let server = servers[random.random_range(0..servers.len())];
        let dnf = Dnf::new(&run, &format!("dnf-{round}"), &format!("http://{server}{below}"));
        // What it says itself is only that it failed; why stands in the log of its library.
        let mut read = 0;
        let mut judge = |finished: Finished| {
            let log = dnf.log();
            let news = log[read..].to_owned();
            read = log.len();
            judge(&seen, &finished, &news, &DNF_WAS_REFUSED, &DNF_SAW)
        };
        if judge(dnf.run(&["makecache"]).await) {
            let package = format!("p{}", random.random_range(0..PACKAGES));
            judge(dnf.run(&["install", "--downloadonly", &package]).await);
        }
    }
}

/// apk, again and again until it is stopped.
pub(super) async fn apk(
    run: Run,
    servers: Vec<SocketAddr>,
    below: &'static str,
    seen: Arc<Seen>,
    stop: CancellationToken,
) {
    let mut random = SmallRng::seed_from_u64(1_002);
    let keys = generation(1).join("alpine/keys");
    for round in 0.. {
        if stop.is_cancelled() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1_000))).await;
        let server = servers[random.random_range(0..servers.len())];
        let (name, url) = (format!("apk-{round}"), format!("http://{server}{below}"));
        let mut apk = Apk::with(&run, &name, &[url], keys.clone());
        let judge = |finished: Finished| judge(&seen, &finished, "", &APK_WAS_REFUSED, &APK_SAW);
        if judge(apk.run(&["add"]).await) && judge(apk.run(&["update"]).await) {
            let into = run.folder(&format!("{name}-packages")).display().to_string();
            let package = format!("a{}", random.random_range(0..APK_PACKAGES));
            judge(apk.run(&["fetch", "--output", &into, &package]).await);
        }
    }
}
