//! Bringing the database up to date: at the first call, by one replica at a time, and not cut short by a caller who leaves.
//!
//! The migrations are embedded in the binary. An attempt runs in a task of its own on a connection of its own, under an
//! advisory lock of the database, so replicas that start together wait for each other. A migration that this binary does not
//! know was made by a newer one during an upgrade; since migrations only add, it is passed over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use sqlx::ConnectOptions as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::database::CALL_TIMEOUT;
use crate::store::catalog::CatalogError;
use crate::store::catalog::error::kind_of;
use crate::store::catalog::pool::Pool;

/// How long the migrations may take, waiting for another replica's included, before the attempt counts as failed.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

type Attempt = Shared<BoxFuture<'static, Result<(), Arc<sqlx::Error>>>>;

/// Whether the database is up to date, and the attempt to bring it there.
pub(super) struct Migration {
    pool: Arc<Pool<PgConnection>>,
    done: AtomicBool,
    attempt: Mutex<Option<Attempt>>,
}

impl Migration {
    pub(super) fn new(pool: &Arc<Pool<PgConnection>>) -> Self {
        Self { pool: Arc::clone(pool), done: AtomicBool::new(false), attempt: Mutex::default() }
    }

    /// Returns when the database is up to date. Callers share one attempt; it goes on when they leave.
    pub(super) async fn run(&self) -> Result<(), CatalogError> {
        if self.done.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.attempt().await {
            Ok(()) => {
                self.done.store(true, Ordering::Release);
                Ok(())
            }
            Err(error) => Err(CatalogError {
                kind: kind_of(&error),
                during: "bringing the database up to date",
                source: Some(Box::new(error)),
            }),
        }
    }

    /// The attempt that is under way or went well, or else a new one.
    fn attempt(&self) -> Attempt {
        let mut current = self.attempt.lock();
        match &*current {
            Some(attempt) if !matches!(attempt.peek(), Some(Err(_))) => attempt.clone(),
            _ => {
                let task = tokio::spawn(migrate(self.pool.options().clone()));
                let outcome = task.map(|ended| match ended {
                    Ok(result) => result.map_err(Arc::new),
                    Err(_) => Err(Arc::new(sqlx::Error::WorkerCrashed)),
                });
                current.insert(outcome.boxed().shared()).clone()
            }
        }
    }
}

async fn migrate(options: PgConnectOptions) -> Result<(), sqlx::Error> {
    // A statement of a migration may take longer than a caller's.
    let options = options.options([("statement_timeout", "0")]);
    let in_time = |_| sqlx::Error::PoolTimedOut;
    let mut connection = tokio::time::timeout(CALL_TIMEOUT, options.connect()).await.map_err(in_time)??;
    let mut migrations = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrations.set_ignore_missing(true);
    let ran = tokio::time::timeout(MIGRATION_TIMEOUT, migrations.run_direct(None, &mut connection, false)).await;
    ran.map_err(in_time)?.map_err(|error| sqlx::Error::Migrate(Box::new(error)))
}
