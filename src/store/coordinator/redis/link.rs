//! One connection to Redis, watched and renewed.
//!
//! Commands and subscriptions share a single RESP3 connection, so what tells that commands are not answered also tells that
//! events do not arrive. The link is up or down. While it is up it is asked every [`HEARTBEAT`]; the first command that is
//! not answered within [`ANSWER_TIMEOUT`] takes it down for everybody, and from then on nobody waits for Redis: only the
//! link itself tries to connect, every [`RECONNECT_AFTER`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value};
use tokio::sync::watch;

use crate::store::coordinator::CoordinatorError;

/// How long a command or a connection attempt takes at most. This is what a hanging Redis costs, once.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// How often Redis is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long after a failed attempt the next one follows.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// A connection that works, as far as is known.
#[derive(Clone)]
pub(super) struct Line {
    number: u64,
    pub(super) connection: MultiplexedConnection,
}

/// What the link hears.
pub(super) enum Heard<'a> {
    /// A message on a channel.
    Message { channel: &'a [u8], payload: &'a [u8] },
    /// It is up again; what was said meanwhile is lost.
    Again,
}

type Listener = dyn Fn(Heard<'_>) + Send + Sync;

/// The connection, or the lack of one.
pub(super) struct Link {
    client: Client,
    channels: &'static [&'static str],
    listener: Arc<Listener>,
    line: watch::Sender<Option<Line>>,
    lines: AtomicU64,
    refusals: AtomicU64,
}

impl Link {
    /// A link that is down. `listener` is told what is said on `channels`; it must not wait for anything.
    pub(super) fn new(
        client: Client,
        channels: &'static [&'static str],
        listener: impl Fn(Heard<'_>) + Send + Sync + 'static,
    ) -> Self {
        let listener = Arc::new(listener);
        let line = watch::Sender::new(None);
        Self { client, channels, listener, line, lines: AtomicU64::new(0), refusals: AtomicU64::new(0) }
    }

    /// The connection, while the link is up.
    pub(super) fn line(&self) -> Option<Line> {
        self.line.borrow().clone()
    }

    /// Changes when the link goes up or down.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Line>> {
        self.line.subscribe()
    }

    /// Where Redis is, without credentials.
    pub(super) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// A command on `line` failed. Takes the link down if that means that Redis is away, and not merely unwilling.
    pub(super) fn failed(&self, line: &Line, error: &RedisError) {
        let demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
        if error.is_timeout() || error.is_io_error() || error.is_unrecoverable_error() || demoted {
            if take_down(&self.line, line.number) {
                tracing::warn!(redis = self.address(), %error, "Redis is away: fills may be done once per replica");
            }
        } else {
            // It may refuse them all, one for each request: the log hears of the 1st, 2nd, 4th, 8th …
            let refusals = self.refusals.fetch_add(1, Ordering::Relaxed) + 1;
            if refusals.is_power_of_two() {
                tracing::warn!(redis = self.address(), %error, refusals, "Redis refuses a command");
            }
        }
    }

    /// Connects and subscribes.
    pub(super) async fn establish(&self) -> Result<(), RedisError> {
        let number = self.lines.fetch_add(1, Ordering::Relaxed);
        let (line, listener) = (self.line.clone(), Arc::clone(&self.listener));
        let hear = move |push: PushInfo| {
            match (push.kind, push.data.as_slice()) {
                (PushKind::Message, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                    listener(Heard::Message { channel, payload });
                }
                (PushKind::Disconnection, _) => drop(take_down(&line, number)),
                _ => {}
            }
            Ok::<(), ()>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT))
            .set_push_sender(hear);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(self.channels).await?;
        self.line.send_replace(Some(Line { number, connection }));
        Ok(())
    }

    /// Asks Redis whether it is there: one round trip.
    pub(super) async fn ping(&self) -> Result<(), CoordinatorError> {
        let unreachable = |source: Option<RedisError>| CoordinatorError {
            what: format!("Redis at {} does not answer; check that it runs and REDIS_URL", self.address()),
            source: source.map(Into::into),
        };
        let mut line = self.line().ok_or_else(|| unreachable(None))?;
        let answer: Result<(), RedisError> = redis::cmd("PING").query_async(&mut line.connection).await;
        answer.map_err(|error| {
            self.failed(&line, &error);
            unreachable(Some(error))
        })
    }

    /// Keeps the link up, for ever.
    pub(super) async fn watch_over(&self) {
        let mut changes = self.line.subscribe();
        let mut said = false;
        loop {
            if self.line().is_some() {
                said = false;
                // When it goes down, this ends early.
                if tokio::time::timeout(HEARTBEAT, changes.changed()).await.is_err() {
                    let _ = self.ping().await; // a failure has taken the link down
                }
                continue;
            }
            match self.establish().await {
                Ok(()) => {
                    tracing::info!(redis = self.address(), "Redis is there");
                    (self.listener)(Heard::Again);
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(redis = self.address(), %error, "Redis cannot be reached; trying on");
                    }
                    tokio::time::sleep(RECONNECT_AFTER).await;
                }
            }
        }
    }
}

/// Takes the link down if this is still its line.
fn take_down(line: &watch::Sender<Option<Line>>, number: u64) -> bool {
    line.send_if_modified(|line| {
        let ours = line.as_ref().is_some_and(|line| line.number == number);
        if ours {
            *line = None;
        }
        ours
    })
}
