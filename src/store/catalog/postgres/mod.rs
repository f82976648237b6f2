//! The catalog of several replicas: PostgreSQL.
//!
//! Each operation is one statement and one round trip on a prepared statement; publication is a function in the database
//! (`migrations/postgres/0003_snapshots.sql`). It promises that no call takes longer than [`CALL_TIMEOUT`], whatever
//! the database does, and that while the database is away all calls but one a second fail at once. Constructing it needs
//! no database: connections and migrations happen when they are first needed, and again when they are needed again.
//!
//! It never tries a call again on its own: the caller knows whether that makes sense. It keeps no state about artifacts.

mod database;
mod fragments;
mod migrate;
mod snapshot_statements;
mod snapshots;
mod statements;
mod switch;
mod tokens;

use std::time::{Duration, SystemTime};

use artifactapi_formats::Identity;
use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, query, query_as, query_scalar};

pub use self::database::CALL_TIMEOUT;
use self::database::Database;
use self::statements::{GARBAGE_DELETED, PUBLISH, RECORD_USES, REMOVE, TAKE_GARBAGE};
use super::row::{ArtifactRow, PageRange, query_key, read_keys, rested_since, span_in_millis, to_i64, to_millis};
use super::{
    Artifact, CLOCKS_APART, Catalog, CatalogError, ListQuery, Published, Revision, Totals, Use, Validators, sql,
};
use crate::store::key::{BlobKey, RepositoryName, Target};

/// When PostgreSQL itself gives a statement up. Less than [`CALL_TIMEOUT`], so that it works for nobody who has left.
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(2500);

/// How many connections a replica opens at most, unless told otherwise.
pub const DEFAULT_CONNECTIONS: usize = 16;

/// What `publish_artifact` raises when another replica took the blob at the very same moment.
const BLOB_LEAVING: &str = "AA001";

/// Where the database is and who we are there. Has no `Debug`, because of the password.
pub struct PostgresSettings<'a> {
    /// Host name, address, or the folder of a Unix socket.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// User.
    pub user: &'a str,
    /// Password; empty for none.
    pub password: &'a str,
    /// Database.
    pub database: &'a str,
    /// How many connections at most: [`DEFAULT_CONNECTIONS`].
    pub connections: usize,
}

/// A catalog in PostgreSQL, 12 or later. The module's text is the contract.
pub struct PostgresCatalog {
    database: Database,
}

impl PostgresCatalog {
    /// A catalog in the database of these settings. Connects to nothing yet.
    #[must_use]
    pub fn connect(settings: &PostgresSettings<'_>) -> Self {
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(settings.host)
            .port(settings.port)
            .username(settings.user)
            .database(settings.database)
            .application_name("artifactapi")
            .options([("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string())])
            .disable_statement_logging();
        if !settings.password.is_empty() {
            options = options.password(settings.password);
        }
        Self { database: Database::new(options, settings.connections.max(1)) }
    }

    /// Brings the database up to date. Replicas that start together wait for each other. Every call does this first if
    /// it has not happened yet; calling it at start tells an operator early what is wrong.
    ///
    /// # Errors
    /// [`CatalogError`]: try again for [`CatalogErrorKind::Unavailable`](super::CatalogErrorKind::Unavailable); a migration that takes long goes on meanwhile.
    pub async fn migrate(&self) -> Result<(), CatalogError> {
        self.database.insist("bringing the database up to date", async |_| Ok(())).await
    }
}

#[async_trait]
impl Catalog for PostgresCatalog {
    async fn lookup(&self, target: &Target) -> Result<Option<Artifact>, CatalogError> {
        let during = "looking up a record";
        let found = self
            .database
            .call(during, async |db| {
                query_as::<_, ArtifactRow>(sql::LOOKUP)
                    .bind(target.repository.as_str())
                    .bind(target.path.as_str())
                    .bind(query_key(&target.query))
                    .fetch_optional(db)
                    .await
            })
            .await?;
        found.map(|row| row.read(during)).transpose()
    }

    async fn publish(&self, artifact: &Artifact, replaces: Option<Revision>) -> Result<Published, CatalogError> {
        let during = "publishing a record";
        let answer = self
            .database
            .call(during, async |db| {
                let answer = query_scalar(PUBLISH)
                    .bind(artifact.target.repository.as_str())
                    .bind(artifact.target.path.as_str())
                    .bind(&*artifact.target.query)
                    .bind(query_key(&artifact.target.query))
                    .bind(replaces.map(|revision| revision.0))
                    .bind(artifact.blob.as_str())
                    .bind(to_i64(artifact.size))
                    .bind(&artifact.sha256.as_bytes()[..])
                    .bind(&artifact.content_type)
                    .bind(&artifact.validators.etag)
                    .bind(&artifact.validators.last_modified)
                    .bind(to_millis(artifact.last_modified))
                    .bind(to_millis(artifact.stored_at))
                    .bind(to_millis(artifact.checked_at))
                    .bind(rested_since(SystemTime::now()))
                    .bind(artifact.identity.as_ref().map(Identity::to_string))
                    .fetch_one(db)
                    .await;
                match answer {
                    Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == BLOB_LEAVING) => {
                        Ok(-1)
                    }
                    other => other,
                }
            })
            .await?;
        match answer {
            -1 => Ok(Published::BlobLeaving),
            0 => Ok(Published::Lost(self.lookup(&artifact.target).await?.map(Box::new))),
            revision => Ok(Published::Won(Revision(revision))),
        }
    }

    async fn touch(
        &self,
        target: &Target,
        revision: Revision,
        checked_at: SystemTime,
        validators: &Validators,
    ) -> Result<bool, CatalogError> {
        self.database
            .call("noting a revalidation", async |db| {
                let touched = query(sql::TOUCH)
                    .bind(target.repository.as_str())
                    .bind(target.path.as_str())
                    .bind(query_key(&target.query))
                    .bind(revision.0)
                    .bind(to_millis(checked_at))
                    .bind(&validators.etag)
                    .bind(&validators.last_modified)
                    .bind(span_in_millis(CLOCKS_APART))
                    .execute(db)
                    .await?;
                Ok(touched.rows_affected() > 0)
            })
            .await
    }

    async fn remove(&self, target: &Target, revision: Revision, now: SystemTime) -> Result<bool, CatalogError> {
        self.database
            .call("removing a record", async |db| {
                query_scalar(REMOVE)
                    .bind(target.repository.as_str())
                    .bind(target.path.as_str())
                    .bind(query_key(&target.query))
                    .bind(revision.0)
                    .bind(to_millis(now))
                    .fetch_one(db)
                    .await
            })
            .await
    }

    async fn list(&self, repository: &RepositoryName, page: &ListQuery) -> Result<Vec<Artifact>, CatalogError> {
        let during = "listing a repository";
        let Some(PageRange { from, to }) = PageRange::of(repository, page) else {
            return Ok(Vec::new());
        };
        let rows: Vec<ArtifactRow> = self
            .database
            .call(during, async |db| {
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
            .database
            .call("adding up a repository", async |db| {
                query_as(sql::TOTALS).bind(repository.as_str()).fetch_one(db).await
            })
            .await?;
        Ok(Totals { artifacts: artifacts.unsigned_abs(), bytes: bytes.unsigned_abs() })
    }

    async fn repositories(&self) -> Result<Vec<RepositoryName>, CatalogError> {
        let during = "listing repositories";
        let names = self.database.call(during, async |db| query_scalar(sql::REPOSITORIES).fetch_all(db).await).await?;
        read_keys(names, during)
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), CatalogError> {
        let repositories: Vec<&str> = uses.iter().map(|told| told.target.repository.as_str()).collect();
        let paths: Vec<&str> = uses.iter().map(|told| told.target.path.as_str()).collect();
        let queries: Vec<String> = uses.iter().map(|told| query_key(&told.target.query).into_owned()).collect();
        let counts: Vec<i64> = uses.iter().map(|told| to_i64(told.count)).collect();
        let last: Vec<i64> = uses.iter().map(|told| to_millis(told.last)).collect();
        self.database
            .call("counting uses", async |db| {
                let recorded = query(RECORD_USES).bind(repositories).bind(paths).bind(queries).bind(counts).bind(last);
                recorded.execute(db).await.map(drop)
            })
            .await
    }

    async fn take_garbage(&self, before: SystemTime, limit: u32) -> Result<Vec<BlobKey>, CatalogError> {
        let during = "taking garbage";
        let now = SystemTime::now();
        let taken: Vec<String> = self
            .database
            .call(during, async |db| {
                query(sql::FORGET_RESTED).bind(rested_since(now)).execute(&mut *db).await?;
                query_scalar(TAKE_GARBAGE)
                    .bind(to_millis(before))
                    .bind(i64::from(limit))
                    .bind(to_millis(now))
                    .fetch_all(db)
                    .await
            })
            .await?;
        read_keys(taken, during)
    }

    async fn is_garbage(&self, blob: &BlobKey) -> Result<bool, CatalogError> {
        self.database
            .call("looking for a blob among the garbage", async |db| {
                query_scalar(sql::IS_GARBAGE).bind(blob.as_str()).fetch_one(db).await
            })
            .await
    }

    async fn garbage_deleted(&self, blobs: &[BlobKey]) -> Result<(), CatalogError> {
        let blobs: Vec<&str> = blobs.iter().map(BlobKey::as_str).collect();
        self.database
            .call("noting deleted blobs", async |db| {
                query(GARBAGE_DELETED).bind(blobs).bind(to_millis(SystemTime::now())).execute(db).await.map(drop)
            })
            .await
    }

    async fn ping(&self) -> Result<(), CatalogError> {
        // Past the circuit: this is how an operator's probe learns that the database is back.
        self.database.insist("asking whether the database answers", async |db| db.ping().await).await
    }
}
