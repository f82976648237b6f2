//! Leases among replicas.
//!
//! A lease is the key `artifactapi:lease:{blob key}` with a value that only its holder knows. It lives for [`TTL`] and is
//! renewed at a third of that, so the lease of a killed holder ends within [`TTL`]. Who finds one held waits for the message
//! of its release, and asks again every [`POLL`] in case there will never be one.
//!
//! Only one task per target and process comes here: the table of the process has sorted out the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{Cmd, RedisError};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::link::{Line, Link};
use super::outgoing::Outgoing;
use crate::store::coordinator::table::Seat;
use crate::store::key::Target;

/// How long a lease outlives its holder.
pub const TTL: Duration = Duration::from_secs(6);

/// How often a follower asks whether a lease has ended without a word.
const POLL: Duration = Duration::from_secs(1);

/// What releases are said on; the payload is the key.
pub(super) const RELEASES: &str = "artifactapi:released";

/// Lengthens the lease; takes it again if Redis has forgotten it. 0 when somebody else has it.
const RENEW: &str = "
    local holder = redis.call('GET', KEYS[1])
    if holder == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
    if holder then return 0 end
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 1";

/// Ends the lease and says so, unless somebody else has it.
const RELEASE: &str = "
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    redis.call('DEL', KEYS[1])
    redis.call('PUBLISH', ARGV[2], KEYS[1])
    return 1";

/// A lease of this replica.
#[derive(Debug, Clone)]
pub(super) struct Held {
    key: String,
    token: String,
}

/// How a contest for a lease ended.
pub(super) enum Contest {
    /// This replica has it.
    Won(Held),
    /// Another had it and let go.
    Settled,
    /// Another has it.
    OutOfPatience,
    /// Redis is away.
    Away,
}

/// The followers of other replicas' leases: one per key.
#[derive(Default)]
pub(super) struct Followers {
    waiting: Mutex<HashMap<String, Arc<Notify>>>,
}

struct Follower<'a> {
    followers: &'a Followers,
    key: &'a str,
    released: Arc<Notify>,
}

impl Followers {
    /// A lease was released.
    pub(super) fn wake(&self, key: &[u8]) {
        let Ok(key) = std::str::from_utf8(key) else {
            return;
        };
        if let Some(released) = self.waiting.lock().get(key) {
            released.notify_one();
        }
    }

    fn follow<'a>(&'a self, key: &'a str) -> Follower<'a> {
        let released = Arc::new(Notify::new());
        self.waiting.lock().insert(key.to_owned(), Arc::clone(&released));
        Follower { followers: self, key, released }
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        self.followers.waiting.lock().remove(self.key);
    }
}

/// The leases of this replica.
pub(super) struct Leases {
    pub(super) link: Arc<Link>,
    pub(super) followers: Arc<Followers>,
    pub(super) instance: String,
    pub(super) count: AtomicU64,
}

impl Leases {
    /// Contends for the lease of `target` until the deadline.
    pub(super) async fn contend(&self, target: &Target, deadline: Instant) -> Contest {
        let held = Held {
            key: format!("artifactapi:lease:{}", target.first_blob_key()),
            token: format!("{}:{}", self.instance, self.count.fetch_add(1, Ordering::Relaxed)),
        };
        // Before the first attempt, so that no release is missed after it.
        let follower = self.followers.follow(&held.key);
        let mut changes = self.link.watch();
        loop {
            let Some(mut line) = self.link.line() else {
                return Contest::Away;
            };
            match held.acquire(&mut line).await {
                Ok(true) => {
                    drop(follower);
                    return Contest::Won(held);
                }
                Ok(false) => {}
                Err(error) => {
                    self.link.failed(&line, &error);
                    return Contest::Away;
                }
            }
            let next = Instant::now() + POLL;
            tokio::select! {
                () = follower.released.notified() => return Contest::Settled,
                () = sleep_until(next.min(deadline)) => if next >= deadline { return Contest::OutOfPatience },
                _ = changes.changed() => {}
            }
        }
    }
}

impl Held {
    async fn acquire(&self, line: &mut Line) -> Result<bool, RedisError> {
        let mut set = redis::cmd("SET");
        set.arg(&self.key).arg(&self.token).arg("NX").arg("PX").arg(millis(TTL));
        let answer: Option<String> = set.query_async(&mut line.connection).await?;
        Ok(answer.is_some())
    }

    async fn renew(&self, line: &mut Line) -> Result<bool, RedisError> {
        let mut renew = redis::cmd("EVAL");
        renew.arg(RENEW).arg(1).arg(&self.key).arg(&self.token).arg(millis(TTL));
        renew.query_async(&mut line.connection).await
    }

    /// The command that ends the lease.
    pub(super) fn release(&self) -> Cmd {
        let mut release = redis::cmd("EVAL");
        release.arg(RELEASE).arg(1).arg(&self.key).arg(&self.token).arg(RELEASES);
        release
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Holds a lease until it is let go: renews it, then wakes the followers of this process and of others.
pub(super) async fn hold(
    held: Held,
    link: Arc<Link>,
    seat: Seat,
    mut let_go: oneshot::Receiver<()>,
    outgoing: mpsc::Sender<Outgoing>,
) {
    let mut ticks = interval_at(Instant::now() + TTL / 3, TTL / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let renewed = async {
            ticks.tick().await;
            // While Redis is away nobody else can take the lease either.
            let Some(mut line) = link.line() else {
                return true;
            };
            held.renew(&mut line).await.unwrap_or_else(|error| {
                link.failed(&line, &error);
                true
            })
        };
        tokio::select! {
            // An error means the same: nobody holds it any more.
            _ = &mut let_go => break,
            still_ours = renewed => if !still_ours {
                // Another replica leads as well. The work goes on: it is doubled, not wrong.
                let _ = (&mut let_go).await;
                seat.settle();
                return;
            }
        }
    }
    seat.settle();
    // Behind the events announced before, so that who is woken has heard them. Nobody left to say it: the lease runs out.
    let _ = outgoing.send(Outgoing::Release(held)).await;
}
