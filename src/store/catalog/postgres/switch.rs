//! The publication of a snapshot, in one transaction: the function of `migrations/postgres/0004_publish_snapshot.sql`, and after it
//! the records that it retires. What became of it is read back, as others will read it.

use std::time::SystemTime;

use sqlx::postgres::{PgConnection, PgDatabaseError};
use sqlx::{Connection as _, query, query_as};

use super::snapshot_statements::{PAST_OF_MANY, PUBLISH_SNAPSHOT, RETIRE_MANY};
use super::{BLOB_LEAVING, PostgresCatalog};
use crate::store::catalog::row::{query_key, read_keys, rested_since, to_i64, to_millis};
use crate::store::catalog::snapshot_rows::{Files, SnapshotRow, read_root, read_snapshot};
use crate::store::catalog::snapshot_sql::BY_ID;
use crate::store::catalog::snapshots::{Snapshot, SnapshotId, SnapshotPublished};
use crate::store::catalog::{Artifact, CatalogError, CatalogErrorKind};

const DURING: &str = "publishing a snapshot";

/// What the function says.
#[derive(sqlx::FromRow)]
struct Answer {
    /// 1 when it is published, 0 when another was first, -1 when a blob is leaving.
    outcome: i32,
    /// When it was published; or the snapshot that was first.
    number: Option<i64>,
    leaving: Option<String>,
    replaced: Option<Vec<String>>,
}

enum Switched {
    Won { rows: Vec<SnapshotRow>, replaced: Vec<String> },
    Lost(Option<i64>),
    Leaving(Option<String>),
}

impl PostgresCatalog {
    /// Publishes a snapshot by compare-and-set.
    pub(super) async fn switch(
        &self,
        snapshot: &Snapshot,
        follows: Option<SnapshotId>,
        retired: &[Artifact],
    ) -> Result<SnapshotPublished, CatalogError> {
        let publishing = self.database.call(DURING, async |db| publish(db, snapshot, follows, retired).await);
        match publishing.await? {
            Switched::Won { rows, replaced } => {
                let replaced = replaced.iter().map(|path| read_root(snapshot.root.repository.as_str(), path, DURING));
                let published = read_snapshot(rows, DURING)?;
                Ok(SnapshotPublished::Won {
                    snapshot: Box::new(published.ok_or_else(|| damaged("the snapshot just published is not there"))?),
                    replaced: replaced.collect::<Result<_, _>>()?,
                })
            }
            Switched::Leaving(leaving) => {
                let leaving = read_keys(leaving.into_iter().collect(), DURING)?.pop();
                Ok(SnapshotPublished::BlobLeaving(leaving.ok_or_else(|| damaged("no blob is named"))?))
            }
            Switched::Lost(current) => Ok(SnapshotPublished::Lost(current.map(SnapshotId))),
        }
    }
}

fn damaged(why: &str) -> CatalogError {
    CatalogError { kind: CatalogErrorKind::Damaged, during: DURING, source: Some(why.into()) }
}

async fn publish(
    db: &mut PgConnection,
    snapshot: &Snapshot,
    follows: Option<SnapshotId>,
    retired: &[Artifact],
) -> Result<Switched, sqlx::Error> {
    let files = Files::of(&snapshot.files);
    let mut transaction = db.begin().await?;
    let answer = query_as(PUBLISH_SNAPSHOT)
        .bind(snapshot.root.repository.as_str())
        .bind(snapshot.root.path.as_str())
        .bind(snapshot.id.0)
        .bind(follows.map(|follows| follows.0))
        .bind(to_millis(snapshot.published_at))
        .bind(snapshot.made_at.map(to_millis))
        .bind(&snapshot.source)
        .bind(to_i64(snapshot.packages))
        .bind(files.repositories)
        .bind(files.paths)
        .bind(files.queries)
        .bind(files.query_keys)
        .bind(files.blobs)
        .bind(files.sizes)
        .bind(files.sha256s)
        .bind(files.content_types)
        .bind(files.etags)
        .bind(files.upstream_last_modifieds)
        .bind(files.last_modifieds)
        .bind(files.stored_ats)
        .bind(files.checked_ats)
        .bind(files.identities)
        .bind(rested_since(SystemTime::now()))
        .fetch_one(&mut *transaction)
        .await;
    let answer: Answer = match answer {
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == BLOB_LEAVING) => {
            let leaving = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::detail);
            transaction.rollback().await?;
            return Ok(Switched::Leaving(leaving.map(str::to_owned)));
        }
        answer => answer?,
    };
    let switched = match answer.outcome {
        1 => {
            retire(&mut transaction, retired, answer.number.unwrap_or_default()).await?;
            let rows = query_as(BY_ID).bind(snapshot.id.0).fetch_all(&mut *transaction).await?;
            Switched::Won { rows, replaced: answer.replaced.unwrap_or_default() }
        }
        -1 => Switched::Leaving(answer.leaving),
        _ => Switched::Lost(answer.number),
    };
    // Whatever the function noted of blobs that are leaving is to stay.
    transaction.commit().await?;
    Ok(switched)
}

/// Takes the records of what is not named any more out of the way: as many round trips for many as for one.
async fn retire(db: &mut PgConnection, retired: &[Artifact], at: i64) -> Result<(), sqlx::Error> {
    if retired.is_empty() {
        return Ok(());
    }
    let repositories: Vec<&str> = retired.iter().map(|record| record.target.repository.as_str()).collect();
    let paths: Vec<&str> = retired.iter().map(|record| record.target.path.as_str()).collect();
    let query_keys: Vec<_> = retired.iter().map(|record| query_key(&record.target.query)).collect();
    let query_keys: Vec<&str> = query_keys.iter().map(|key| &**key).collect();
    let revisions: Vec<i64> = retired.iter().map(|record| record.revision.0).collect();
    for statement in PAST_OF_MANY {
        let past = query(statement).bind(&repositories).bind(&paths).bind(&query_keys).bind(at);
        past.execute(&mut *db).await?;
    }
    let retire = query(RETIRE_MANY).bind(&repositories).bind(&paths).bind(&query_keys).bind(&revisions);
    retire.execute(&mut *db).await.map(drop)
}
