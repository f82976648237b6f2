//! The coordinator of several replicas: Redis.
//!
//! Leases are keys that expire ([`lease`]), events are messages ([`outgoing`], [`message`]), and both use one connection
//! that is watched ([`link`]). Tasks of this process sort themselves out first, without Redis.
//!
//! It promises that a Redis that is refused, hangs or comes back empty delays nobody by more than [`link::ANSWER_TIMEOUT`],
//! and that only once per outage: while the link is down `enter` leads at once. What was announced meanwhile is replaced by
//! [`Event::Missed`], here and in the other replicas. Needs Redis 6 or later, or anything else that speaks RESP3.

mod lease;
mod link;
mod message;
mod outgoing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo as _, ProtocolVersion, RedisError};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

pub use self::lease::TTL as LEASE_TTL;
use self::lease::{Contest, Followers, Leases, RELEASES};
use self::link::{Heard, Link};
use self::outgoing::{EVENTS, Outgoing};
use super::table::{Place, Table, deadline};
use super::{Coordinator, CoordinatorError, EVENTS_KEPT, Entered, Event, Lease};
use crate::store::key::Target;

/// Leases and events in Redis. The module's text is the contract.
pub struct RedisCoordinator {
    table: Arc<Table>,
    leases: Leases,
    events: broadcast::Sender<Event>,
    outgoing: mpsc::Sender<Outgoing>,
    unsaid: Arc<AtomicBool>,
    _watch: JoinSet<()>,
}

impl RedisCoordinator {
    /// A coordinator on the Redis of this URL. Waits [`link::ANSWER_TIMEOUT`] for it at most, and works without it until it
    /// is there.
    ///
    /// # Errors
    /// [`CoordinatorError`] when the URL is none. The error does not repeat it.
    pub async fn connect(url: &str) -> Result<Self, CoordinatorError> {
        let invalid = |error: RedisError| CoordinatorError {
            what: "REDIS_URL is not a Redis URL; it looks like redis://user:password@host:6379/0".to_owned(),
            source: Some(error.into()),
        };
        let info = url.into_connection_info().map_err(invalid)?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        // Commands are small and one at a time: they must not wait to be sent together.
        let wire = TcpSettings::default().set_nodelay(true);
        let client = Client::open(info.set_redis_settings(settings).set_tcp_settings(wire)).map_err(invalid)?;
        let instance = instance()?;

        let events = broadcast::channel(EVENTS_KEPT).0;
        let followers = Arc::<Followers>::default();
        let listener = listener(instance.clone(), events.clone(), Arc::clone(&followers));
        let link = Arc::new(Link::new(client, &[EVENTS, RELEASES], listener));
        // Subscribed before the first record can be remembered: nothing is missed. An error is the watch's to report.
        let _ = link.establish().await;

        let mut watch = JoinSet::new();
        let watched = Arc::clone(&link);
        watch.spawn(async move { watched.watch_over().await });
        let unsaid = Arc::new(AtomicBool::new(true));
        let (outgoing, queue) = mpsc::channel(outgoing::QUEUE);
        tokio::spawn(outgoing::speak(Arc::clone(&link), instance.clone(), queue, Arc::clone(&unsaid)));
        let leases = Leases { link, followers, instance, count: AtomicU64::new(0) };
        Ok(Self { table: Arc::default(), leases, events, outgoing, unsaid, _watch: watch })
    }
}

/// Tells every replica something from beside them, as a subcommand must: without taking part, and without making them doubt
/// what they know, as one that joins does.
///
/// # Errors
/// [`CoordinatorError`] when nobody was told.
pub async fn tell(url: &str, event: &Event) -> Result<(), CoordinatorError> {
    let failed = |error: RedisError| CoordinatorError {
        what: "Redis does not take an announcement".to_owned(),
        source: Some(error.into()),
    };
    let message = message::write(&instance()?, event).map_err(|error| CoordinatorError {
        what: "an announcement cannot be written".to_owned(),
        source: Some(error.into()),
    })?;
    let settings = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(link::ANSWER_TIMEOUT))
        .set_response_timeout(Some(link::ANSWER_TIMEOUT));
    let client = Client::open(url).map_err(failed)?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await.map_err(failed)?;
    redis::cmd("PUBLISH").arg(EVENTS).arg(message).query_async(&mut connection).await.map_err(failed)
}

/// A name that no other replica has.
fn instance() -> Result<String, CoordinatorError> {
    let mut name = [0; 16];
    getrandom::fill(&mut name).map_err(|error| CoordinatorError {
        what: "the system has no random numbers".to_owned(),
        source: Some(error.into()),
    })?;
    Ok(format!("{:032x}", u128::from_ne_bytes(name)))
}

fn listener(
    instance: String,
    events: broadcast::Sender<Event>,
    followers: Arc<Followers>,
) -> impl Fn(Heard<'_>) + Send + Sync + 'static {
    move |heard| {
        let event = match heard {
            Heard::Again => Some(Event::Missed),
            Heard::Message { channel, payload } if channel == EVENTS.as_bytes() => message::read(&instance, payload),
            Heard::Message { payload, .. } => {
                followers.wake(payload);
                None
            }
        };
        if let Some(event) = event {
            // Nobody listening is nobody to tell.
            let _ = events.send(event);
        }
    }
}

#[async_trait]
impl Coordinator for RedisCoordinator {
    async fn enter(&self, target: &Target, patience: Duration) -> Entered {
        let deadline = deadline(patience);
        let seat = match self.table.enter(target, deadline).await {
            Place::Lead(seat) => seat,
            Place::Settled => return Entered::Settled,
            Place::OutOfPatience => return Entered::OutOfPatience,
        };
        let (release, let_go) = oneshot::channel();
        match self.leases.contend(target, deadline).await {
            Contest::Won(held) => {
                tokio::spawn(lease::hold(held, Arc::clone(&self.leases.link), seat, let_go, self.outgoing.clone()));
            }
            Contest::Away => {
                // Alone among replicas; the others of this process still follow.
                tokio::spawn(async move {
                    let _ = let_go.await;
                    seat.settle();
                });
            }
            Contest::Settled => {
                seat.settle();
                return Entered::Settled;
            }
            // The seat is dropped: a follower who has more patience contends now.
            Contest::OutOfPatience => return Entered::OutOfPatience,
        }
        Entered::Lead(Lease::new(release))
    }

    async fn announce(&self, event: Event) {
        let _ = self.events.send(event.clone());
        if self.outgoing.try_send(Outgoing::Event(event)).is_err() {
            self.unsaid.store(true, Ordering::Relaxed);
        }
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn ping(&self) -> Result<(), CoordinatorError> {
        self.leases.link.ping().await
    }
}
