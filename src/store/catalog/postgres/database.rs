//! Calls to the database that end in time.
//!
//! A call is: bring the database up to date if that has not happened, wait for a connection, do the work. Whatever hangs
//! in this, the caller has an answer after [`CALL_TIMEOUT`], and until the database answers again the others do not even
//! wait that long: the circuit turns them away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::QueryAs;
use sqlx::{FromRow, Postgres};
use tokio::time::timeout;

use super::migrate::Migration;
use crate::store::catalog::error::kind_of;
use crate::store::catalog::pool::Pool;
use crate::store::catalog::{CatalogError, CatalogErrorKind};
use crate::store::circuit::Circuit;

/// How long any call takes at most: waiting for a connection, opening one, and the statement. A database that hangs is
/// [`CatalogErrorKind::Unavailable`] after this.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The database, whether or not it is there.
pub(super) struct Database {
    pool: Arc<Pool<PgConnection>>,
    migration: Migration,
    circuit: Circuit,
}

struct Failure {
    error: CatalogError,
    /// The database was not reached; otherwise it answered, if only to refuse.
    away: bool,
}

impl Failure {
    fn of(during: &'static str) -> impl Fn(sqlx::Error) -> Self + Copy {
        move |error| {
            let answered = matches!(error, sqlx::Error::Database(_));
            let away = !answered && kind_of(&error) == CatalogErrorKind::Unavailable;
            Self { error: CatalogError::from_sqlx(during, error), away }
        }
    }
}

impl Database {
    pub(super) fn new(options: PgConnectOptions, connections: usize) -> Self {
        let pool = Arc::new(Pool::new(options, connections));
        Self { migration: Migration::new(&pool), pool, circuit: Circuit::default() }
    }

    /// Does `work` on a connection, unless the database is known to be away.
    pub(super) async fn call<T>(
        &self,
        during: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, CatalogError> {
        if !self.circuit.admits(Instant::now()) {
            return Err(CatalogError::unavailable(during, "the database did not answer a moment ago"));
        }
        self.insist(during, work).await
    }

    /// All rows of one statement.
    pub(super) async fn rows<T>(
        &self,
        during: &'static str,
        query: QueryAs<'_, Postgres, T, PgArguments>,
    ) -> Result<Vec<T>, CatalogError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.call(during, async |db| query.fetch_all(db).await).await
    }

    /// Does `work` on a connection, whatever is known.
    pub(super) async fn insist<T>(
        &self,
        during: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, CatalogError> {
        let late = |_| Failure { error: CatalogError::unavailable(during, "no answer in time"), away: true };
        let result = timeout(CALL_TIMEOUT, self.attempt(during, work)).await.map_err(late).flatten();
        if result.as_ref().is_err_and(|failure| failure.away) {
            self.circuit.failed(Instant::now());
        } else {
            self.circuit.succeeded();
        }
        result.map_err(|failure| failure.error)
    }

    async fn attempt<T>(
        &self,
        during: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Failure> {
        let not_ready = |error: CatalogError| Failure { away: error.kind == CatalogErrorKind::Unavailable, error };
        self.migration.run().await.map_err(not_ready)?;
        let mut connection = self.pool.take().await.map_err(Failure::of(during))?;
        let result = work(&mut connection).await;
        if result.as_ref().err().is_none_or(leaves_the_connection_in_order) {
            connection.keep();
        }
        result.map_err(Failure::of(during))
    }
}

/// An error that PostgreSQL answered with is the statement's, unless it takes leave with it (class 57P: shutdown).
fn leaves_the_connection_in_order(error: &sqlx::Error) -> bool {
    let answer = error.as_database_error().and_then(|error| error.code());
    answer.is_some_and(|code| !code.starts_with("57P"))
}
