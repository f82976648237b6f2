//! What can be changed, one type per operation. Each runs inside the writer's transaction, so what it reads stays true until
//! it is committed.

use std::time::SystemTime;

use artifactapi_formats::Identity;
use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as, query_scalar};

use super::writer::Change;
use crate::store::catalog::row::{ArtifactRow, query_key, read_keys, rested_since, span_in_millis, to_i64, to_millis};
use crate::store::catalog::{Artifact, CLOCKS_APART, CatalogError, Published, Revision, Use, Validators, sql};
use crate::store::key::{BlobKey, Target};

/// The row of a target.
pub(super) async fn lookup(db: &mut SqliteConnection, target: &Target) -> Result<Option<ArtifactRow>, sqlx::Error> {
    query_as(sql::LOOKUP)
        .bind(target.repository.as_str())
        .bind(target.path.as_str())
        .bind(query_key(&target.query).into_owned())
        .fetch_optional(db)
        .await
}

/// A blob that is being deleted, or was a moment ago, may not be named. Its bytes, just written again, are garbage since it was
/// taken: word that it is deleted may still come, and is not about them.
const STILL_LEAVING: &str = "
    UPDATE garbage SET deleted_at = NULL, since = MAX(since, taken_at + 1)
    WHERE blob = $1 AND taken_at IS NOT NULL AND (deleted_at IS NULL OR deleted_at > $2)";

const NEXT_REVISION: &str = "UPDATE artifact_revision SET last = last + 1 RETURNING last";

const PUT: &str = "
    INSERT INTO artifact (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
        upstream_last_modified, last_modified, stored_at, checked_at, identity)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
    ON CONFLICT (repository, path, query_key) DO UPDATE
    SET revision = excluded.revision, blob = excluded.blob, size = excluded.size, sha256 = excluded.sha256,
        content_type = excluded.content_type, etag = excluded.etag,
        upstream_last_modified = excluded.upstream_last_modified, last_modified = excluded.last_modified,
        stored_at = excluded.stored_at, checked_at = excluded.checked_at, identity = excluded.identity";

const DISCARD: &str = "INSERT INTO garbage (blob, since) VALUES ($1, $2) ON CONFLICT (blob) DO NOTHING";

pub(super) const DISCARD_UNLESS_NAMED: &str = "
    INSERT INTO garbage (blob, since) SELECT $1, $2 WHERE NOT EXISTS (SELECT 1 FROM artifact WHERE blob = $1)
    ON CONFLICT (blob) DO NOTHING";

/// Whether a blob may not be named. From here on it is garbage to be deleted once more.
pub(super) async fn is_leaving(db: &mut SqliteConnection, blob: &BlobKey) -> Result<bool, sqlx::Error> {
    let leaving = query(STILL_LEAVING).bind(blob.as_str()).bind(rested_since(SystemTime::now()));
    Ok(leaving.execute(db).await?.rows_affected() > 0)
}

/// Lists a blob as garbage, unless a record names it.
pub(super) async fn discard_unless_named(
    db: &mut SqliteConnection,
    blob: &BlobKey,
    since: SystemTime,
) -> Result<(), sqlx::Error> {
    query(DISCARD_UNLESS_NAMED).bind(blob.as_str()).bind(to_millis(since)).execute(db).await.map(drop)
}

/// Makes an artifact the record of its target. Its blob is no garbage any more; `old`, if another, is.
pub(super) async fn put(
    db: &mut SqliteConnection,
    artifact: &Artifact,
    old: Option<&BlobKey>,
) -> Result<Revision, sqlx::Error> {
    let Artifact { target, blob, validators, .. } = artifact;
    let revision: i64 = query_scalar(NEXT_REVISION).fetch_one(&mut *db).await?;
    query(PUT)
        .bind(target.repository.as_str())
        .bind(target.path.as_str())
        .bind(&*target.query)
        .bind(query_key(&target.query).into_owned())
        .bind(revision)
        .bind(blob.as_str())
        .bind(to_i64(artifact.size))
        .bind(&artifact.sha256.as_bytes()[..])
        .bind(&artifact.content_type)
        .bind(&validators.etag)
        .bind(&validators.last_modified)
        .bind(to_millis(artifact.last_modified))
        .bind(to_millis(artifact.stored_at))
        .bind(to_millis(artifact.checked_at))
        .bind(artifact.identity.as_ref().map(Identity::to_string))
        .execute(&mut *db)
        .await?;
    query("DELETE FROM garbage WHERE blob = $1").bind(blob.as_str()).execute(&mut *db).await?;
    if let Some(old) = old.filter(|old| *old != blob) {
        query(DISCARD).bind(old.as_str()).bind(to_millis(artifact.stored_at)).execute(db).await?;
    }
    Ok(Revision(revision))
}

/// Publishes by compare-and-set.
pub(super) struct Publish {
    pub(super) artifact: Artifact,
    pub(super) replaces: Option<Revision>,
}

#[async_trait]
impl Change for Publish {
    type Outcome = Result<Published, CatalogError>;

    const DURING: &'static str = "publishing a record";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Self::Outcome, sqlx::Error> {
        let Artifact { target, blob, .. } = &self.artifact;
        if is_leaving(db, blob).await? {
            return Ok(Ok(Published::BlobLeaving));
        }
        let current = match lookup(db, target).await?.map(|row| row.read(Self::DURING)).transpose() {
            Ok(current) => current,
            Err(damaged) => return Ok(Err(damaged)),
        };
        if current.as_ref().map(|current| current.revision) != self.replaces {
            // The loser's bytes are in the store. Unless the winner wrote the same key, nobody else will ever name them.
            discard_unless_named(db, blob, self.artifact.stored_at).await?;
            return Ok(Ok(Published::Lost(current.map(Box::new))));
        }
        let revision = put(db, &self.artifact, current.as_ref().map(|current| &current.blob)).await?;
        Ok(Ok(Published::Won(revision)))
    }
}

/// Notes a revalidation.
pub(super) struct Touch {
    pub(super) target: Target,
    pub(super) revision: Revision,
    pub(super) checked_at: SystemTime,
    pub(super) validators: Validators,
}

#[async_trait]
impl Change for Touch {
    type Outcome = bool;

    const DURING: &'static str = "noting a revalidation";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let touched = query(sql::TOUCH)
            .bind(self.target.repository.as_str())
            .bind(self.target.path.as_str())
            .bind(query_key(&self.target.query).into_owned())
            .bind(self.revision.0)
            .bind(to_millis(self.checked_at))
            .bind(&self.validators.etag)
            .bind(&self.validators.last_modified)
            .bind(span_in_millis(CLOCKS_APART))
            .execute(db)
            .await?;
        Ok(touched.rows_affected() > 0)
    }
}

/// Removes a record.
pub(super) struct Remove {
    pub(super) target: Target,
    pub(super) revision: Revision,
    pub(super) now: SystemTime,
}

#[async_trait]
impl Change for Remove {
    type Outcome = bool;

    const DURING: &'static str = "removing a record";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let removed: Option<String> = query_scalar(
            "DELETE FROM artifact WHERE repository = $1 AND path = $2 AND query_key = $3 AND revision = $4 RETURNING blob",
        )
        .bind(self.target.repository.as_str())
        .bind(self.target.path.as_str())
        .bind(query_key(&self.target.query).into_owned())
        .bind(self.revision.0)
        .fetch_optional(&mut *db)
        .await?;
        let Some(blob) = removed else {
            return Ok(false);
        };
        query(DISCARD).bind(blob).bind(to_millis(self.now)).execute(db).await?;
        Ok(true)
    }
}

/// Adds up uses of what has a record.
pub(super) struct RecordUses {
    pub(super) uses: Vec<Use>,
}

#[async_trait]
impl Change for RecordUses {
    type Outcome = ();

    const DURING: &'static str = "counting uses";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for told in &self.uses {
            query(
                "INSERT INTO artifact_use (artifact, uses, last_used)
                 SELECT id, $4, $5 FROM artifact WHERE repository = $1 AND path = $2 AND query_key = $3
                 ON CONFLICT (artifact) DO UPDATE
                 SET uses = uses + excluded.uses, last_used = MAX(last_used, excluded.last_used)",
            )
            .bind(told.target.repository.as_str())
            .bind(told.target.path.as_str())
            .bind(query_key(&told.target.query).into_owned())
            .bind(to_i64(told.count))
            .bind(to_millis(told.last))
            .execute(&mut *db)
            .await?;
        }
        Ok(())
    }
}

/// What is due for deletion.
const DUE: &str = "
    SELECT blob FROM garbage
    WHERE since < $1 AND deleted_at IS NULL AND (taken_at IS NULL OR taken_at < $1) ORDER BY since LIMIT $2";

/// Whether a record, a snapshot's file or a past package names a blob.
const NAMED: &str = "
    SELECT EXISTS (SELECT 1 FROM artifact WHERE blob = $1) OR EXISTS (SELECT 1 FROM snapshot_file WHERE blob = $1)
        OR EXISTS (SELECT 1 FROM past_package WHERE blob = $1)";

/// Takes what is due, and forgets what has a record again.
pub(super) struct TakeGarbage {
    pub(super) before: SystemTime,
    pub(super) limit: u32,
}

#[async_trait]
impl Change for TakeGarbage {
    type Outcome = Result<Vec<BlobKey>, CatalogError>;

    const DURING: &'static str = "taking garbage";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Self::Outcome, sqlx::Error> {
        let now = SystemTime::now();
        query(sql::FORGET_RESTED).bind(rested_since(now)).execute(&mut *db).await?;
        let due: Vec<String> =
            query_scalar(DUE).bind(to_millis(self.before)).bind(i64::from(self.limit)).fetch_all(&mut *db).await?;
        let mut taken = Vec::with_capacity(due.len());
        for blob in due {
            let named: bool = query_scalar(NAMED).bind(&blob).fetch_one(&mut *db).await?;
            if named {
                query("DELETE FROM garbage WHERE blob = $1").bind(&blob).execute(&mut *db).await?;
            } else {
                let take = query("UPDATE garbage SET taken_at = $2 WHERE blob = $1").bind(&blob).bind(to_millis(now));
                take.execute(&mut *db).await?;
                taken.push(blob);
            }
        }
        Ok(read_keys(taken, Self::DURING))
    }
}

/// Notes that blobs are gone; their keys rest. What became garbage since it was taken may have been written after it was deleted.
pub(super) struct GarbageDeleted {
    pub(super) blobs: Vec<BlobKey>,
}

#[async_trait]
impl Change for GarbageDeleted {
    type Outcome = ();

    const DURING: &'static str = "noting deleted blobs";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for blob in &self.blobs {
            query("UPDATE garbage SET deleted_at = $2 WHERE blob = $1 AND since <= taken_at")
                .bind(blob.as_str())
                .bind(to_millis(SystemTime::now()))
                .execute(&mut *db)
                .await?;
        }
        Ok(())
    }
}
