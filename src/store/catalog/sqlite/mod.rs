//! The catalog of one server on one machine: an SQLite file.
//!
//! Reads go to a few connections of their own and wait for nobody. All changes go through one writer ([`writer`]), which
//! puts those that arrive together into one transaction: a change is answered after it is on the disk (`synchronous=FULL`),
//! and a hundred changes at once cost a few flushes instead of a hundred.
//!
//! Opening looks at the schema and at nothing else, whatever the size. Another process, such as a subcommand, may use the
//! file at the same time: every change is a transaction that begins as a writer. sqlx runs SQLite on threads of its own, so
//! nothing here blocks an async thread.

mod changes;
mod drafts;
mod expire;
mod fragments;
#[cfg(test)]
mod plans;
mod snapshots;
mod switch;
mod tokens;
mod writer;

use std::path::Path;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::query::QueryAs;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, FromRow, Sqlite, query_as, query_scalar};

use self::changes::{GarbageDeleted, Publish, RecordUses, Remove, TakeGarbage, Touch};
use self::writer::Writer;
use super::error::kind_of_migration;
use super::pool::Pool;
use super::row::{ArtifactRow, PageRange, read_keys};
use super::{Artifact, Catalog, CatalogError, ListQuery, Published, Revision, Totals, Use, Validators, sql};
use crate::store::key::{BlobKey, RepositoryName, Target};

/// How long a change waits for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections for reading.
const READERS: usize = 4;

/// Pages a connection remembers, in KiB.
const PAGE_CACHE_KIB: u32 = 4 << 10;

/// What the write-ahead log is cut back to once it was longer, in bytes.
const LOG_LIMIT: u32 = 64 << 20;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// A catalog in an SQLite file. The module's text is the contract.
pub struct SqliteCatalog {
    readers: Pool<SqliteConnection>,
    writer: Writer,
}

impl SqliteCatalog {
    /// Opens the file, makes it if need be, and brings it up to date. Its folder must exist.
    ///
    /// # Errors
    /// [`CatalogError`] when the file cannot be opened or is no catalog.
    pub async fn open(path: &Path) -> Result<Self, CatalogError> {
        let during = "opening the catalog file";
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .pragma("cache_size", format!("-{PAGE_CACHE_KIB}"))
            .pragma("journal_size_limit", LOG_LIMIT.to_string())
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(|error| CatalogError::from_sqlx(during, error))?;
        migrate(&mut connection).await?;
        let readers = Pool::new(options.clone().pragma("query_only", "ON"), READERS);
        Ok(Self { readers, writer: Writer::start(options, connection) })
    }

    async fn read<T>(
        &self,
        during: &'static str,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, CatalogError> {
        let read = async {
            let mut connection = self.readers.take().await?;
            let result = work(&mut connection).await?;
            connection.keep();
            Ok(result)
        };
        read.await.map_err(|error| CatalogError::from_sqlx(during, error))
    }

    /// All rows of one statement.
    async fn rows<T>(
        &self,
        during: &'static str,
        query: QueryAs<'_, Sqlite, T, SqliteArguments>,
    ) -> Result<Vec<T>, CatalogError>
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        self.read(during, async |db| query.fetch_all(db).await).await
    }
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), CatalogError> {
    let mut migrations = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrations.set_ignore_missing(true);
    let mut ran = migrations.run_direct(None, connection, false).await;
    // SQLite has no lock for this: another process may just have taken the same step. Then that one is done, and the next may be
    // lost to it as well, but no more of them than there are.
    for _ in MIGRATIONS.iter() {
        if ran.is_ok() {
            break;
        }
        ran = migrations.run_direct(None, connection, false).await;
    }
    ran.map_err(|error| CatalogError {
        kind: kind_of_migration(&error),
        during: "bringing the catalog file up to date",
        source: Some(Box::new(error)),
    })
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn lookup(&self, target: &Target) -> Result<Option<Artifact>, CatalogError> {
        let during = "looking up a record";
        let found = self.read(during, async |db| changes::lookup(db, target).await).await?;
        found.map(|row| row.read(during)).transpose()
    }

    async fn publish(&self, artifact: &Artifact, replaces: Option<Revision>) -> Result<Published, CatalogError> {
        self.writer.change(Publish { artifact: artifact.clone(), replaces }).await?
    }

    async fn touch(
        &self,
        target: &Target,
        revision: Revision,
        checked_at: SystemTime,
        validators: &Validators,
    ) -> Result<bool, CatalogError> {
        self.writer.change(Touch { target: target.clone(), revision, checked_at, validators: validators.clone() }).await
    }

    async fn remove(&self, target: &Target, revision: Revision, now: SystemTime) -> Result<bool, CatalogError> {
        self.writer.change(Remove { target: target.clone(), revision, now }).await
    }

    async fn list(&self, repository: &RepositoryName, page: &ListQuery) -> Result<Vec<Artifact>, CatalogError> {
        let during = "listing a repository";
        let Some(PageRange { from, to }) = PageRange::of(repository, page) else {
            return Ok(Vec::new());
        };
        let rows: Vec<ArtifactRow> = self
            .read(during, async |db| {
                query_as(sql::LIST)
                    .bind(repository.as_str())
                    .bind(from.0)
                    .bind(from.1)
                    .bind(to.0)
                    .bind(to.1)
                    .bind(i64::from(page.limit))
                    .fetch_all(db)
                    .await
            })
            .await?;
        rows.into_iter().map(|row| row.read(during)).collect()
    }

    async fn totals(&self, repository: &RepositoryName) -> Result<Totals, CatalogError> {
        let (artifacts, bytes): (i64, i64) = self
            .read("adding up a repository", async |db| {
                query_as(sql::TOTALS).bind(repository.as_str()).fetch_one(db).await
            })
            .await?;
        Ok(Totals { artifacts: artifacts.unsigned_abs(), bytes: bytes.unsigned_abs() })
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, CatalogError> {
        let during = "listing repositories";
        let names = self.read(during, async |db| query_scalar(sql::REPOSITORIES).fetch_all(db).await).await?;
        read_keys(names, during)
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), CatalogError> {
        self.writer.change(RecordUses { uses: uses.to_vec() }).await
    }

    async fn take_garbage(&self, before: SystemTime, limit: u32) -> Result<Vec<BlobKey>, CatalogError> {
        self.writer.change(TakeGarbage { before, limit }).await?
    }

    async fn is_garbage(&self, blob: &BlobKey) -> Result<bool, CatalogError> {
        self.read("looking for a blob among the garbage", async |db| {
            query_scalar(sql::IS_GARBAGE).bind(blob.as_str()).fetch_one(db).await
        })
        .await
    }

    async fn garbage_deleted(&self, blobs: &[BlobKey]) -> Result<(), CatalogError> {
        self.writer.change(GarbageDeleted { blobs: blobs.to_vec() }).await
    }

    async fn ping(&self) -> Result<(), CatalogError> {
        self.read("asking whether the database answers", async |db| db.ping().await).await
    }
}
