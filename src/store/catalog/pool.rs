//! A bounded set of database connections.
//!
//! sqlx has a pool of its own. This one exists because of what it does not do: it never asks the database whether a
//! connection that was just used still works (a second round trip for each call), never tries again on its own when the
//! database refuses (the caller is told at once), and never puts back a connection whose call was cut short: who takes a
//! connection gives it back by [`Taken::keep`] after a call that ended well, and otherwise it is closed.
//!
//! A connection that lay idle for [`PROBE_AFTER`] is asked before it is used, so that a restart of the database is not
//! noticed by the first caller after it. Nothing here has a time-out; the caller's covers waiting, connecting and the call.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A connection that was not used for so long is asked whether it still works.
const PROBE_AFTER: Duration = Duration::from_secs(1);

/// A connection that was not used for so long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// Connections of one kind to one database.
pub(super) struct Pool<C: Connection> {
    options: C::Options,
    permits: Semaphore,
    idle: Mutex<Vec<Idle<C>>>,
}

struct Idle<C> {
    connection: C,
    since: Instant,
}

/// A connection in use. Closed when dropped.
pub(super) struct Taken<'a, C: Connection> {
    connection: C,
    pool: &'a Pool<C>,
    // After `connection`: when another caller is let in, this one's connection is closed.
    _permit: SemaphorePermit<'a>,
}

impl<C: Connection> Pool<C> {
    /// At most `size` connections, opened when they are needed.
    pub(super) fn new(options: C::Options, size: usize) -> Self {
        Self { options, permits: Semaphore::new(size), idle: Mutex::default() }
    }

    /// How to connect.
    pub(super) fn options(&self) -> &C::Options {
        &self.options
    }

    /// Waits for its turn, then hands out a connection that works.
    pub(super) async fn take(&self) -> Result<Taken<'_, C>, sqlx::Error> {
        let permit = self.permits.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        loop {
            // The one used last: the others may then grow old and be closed.
            let newest = self.idle.lock().pop();
            let connection = match newest {
                None => self.options.connect().await?,
                Some(Idle { mut connection, since }) => {
                    if since.elapsed() > PROBE_AFTER && connection.ping().await.is_err() {
                        continue;
                    }
                    connection
                }
            };
            return Ok(Taken { connection, pool: self, _permit: permit });
        }
    }
}

impl<C: Connection> Taken<'_, C> {
    /// Gives the connection back for the next caller.
    pub(super) fn keep(self) {
        let now = Instant::now();
        let mut idle = self.pool.idle.lock();
        idle.push(Idle { connection: self.connection, since: now });
        // The oldest is at the bottom; one at a time is enough, as each was kept by a call.
        let outlived = idle.first().is_some_and(|oldest| now.duration_since(oldest.since) > IDLE_LIMIT);
        let old = outlived.then(|| idle.remove(0));
        drop(idle);
        drop(old); // closed outside the lock
    }
}

impl<C: Connection> Deref for Taken<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C: Connection> DerefMut for Taken<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}
