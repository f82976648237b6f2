//! PostgreSQL, Redis and S3, each a real server of this test's own: to be stopped, killed, frozen and started again.

mod postgres;
mod redis;
mod weed;

pub(crate) use postgres::Postgres;
pub(crate) use redis::Redis;
pub(crate) use weed::Weed;

use super::run::Run;

/// Where a server keeps things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Files and SQLite below its data folder.
    Laptop,
    /// S3, PostgreSQL and Redis.
    Shared,
}

/// One of each.
pub(crate) struct Services {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) weed: Weed,
}

impl Services {
    /// Starts all three at once.
    pub(crate) async fn start(run: &Run) -> Self {
        let (postgres, redis, weed) = tokio::join!(Postgres::start(run), Redis::start(run), Weed::start(run));
        Self { postgres, redis, weed }
    }

    /// The environment that makes a server use them.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        [self.postgres.environment(), self.redis.environment(), self.weed.environment()].concat()
    }
}
