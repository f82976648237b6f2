//! The publication of a snapshot, inside the writer's transaction. Whatever can keep it from being published is looked at
//! before the first row is written, since nothing happens between two statements of the writer.

use artifactapi_formats::Identity;
use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as, query_scalar};

use super::changes::{discard_unless_named, is_leaving, lookup, put};
use super::drafts::as_json;
use super::writer::Change;
use crate::store::catalog::fragment_sql::PAST;
use crate::store::catalog::row::{query_key, to_i64, to_millis};
use crate::store::catalog::snapshot_rows::{SnapshotRow, read_root, read_snapshot};
use crate::store::catalog::snapshot_sql::{BY_ID, record};
use crate::store::catalog::snapshots::{Snapshot, SnapshotId, SnapshotPublished};
use crate::store::catalog::{Artifact, CatalogError, CatalogErrorKind};

/// Whether a package's record contradicts what the snapshot says: by its SHA-256 if that is said, by its identity if it is one
/// of the same kind, and otherwise if the snapshot before said something else of the path. A kind is what is before the
/// hexadecimal digits.
macro_rules! contradicts {
    () => {
        "CASE
            WHEN p.identity LIKE 'sha256:%' THEN p.identity <> 'sha256:' || lower(hex(a.sha256))
            WHEN rtrim(a.identity, '0123456789abcdef') = rtrim(p.identity, '0123456789abcdef') THEN a.identity <> p.identity
            ELSE EXISTS (
                SELECT 1 FROM package o
                WHERE o.repository = p.repository AND o.path = p.path AND +o.root = p.root AND o.last = $3
                    AND o.identity <> p.identity)
        END"
    };
}

/// Removes the record of what is a past content by now: (repository, path, query key, revision).
pub(super) const RETIRE: &str =
    "DELETE FROM artifact WHERE repository = $1 AND path = $2 AND query_key = $3 AND revision = $4";

/// The records that contradict what is new in a snapshot: (root, snapshot, snapshot before).
pub(super) const CONTRADICTED: &str = concat!(
    "SELECT DISTINCT a.id FROM package p CROSS JOIN artifact a
    WHERE p.root = $1 AND p.first = $2 AND a.repository = p.repository AND a.path = p.path AND a.query_key = '' AND ",
    contradicts!()
);

/// Keeps records as past contents: (records, root, snapshot before, at). What one was checked against is what the index said
/// of its path until now, if that was the SHA-256 it has.
pub(super) const KEEP_AS_PAST: &str = "
    INSERT INTO past_package (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
        upstream_last_modified, last_modified, stored_at, checked_at, identity, superseded_at)
    SELECT a.repository, a.path, a.query, a.query_key, a.revision, a.blob, a.size, a.sha256, a.content_type, a.etag,
        a.upstream_last_modified, a.last_modified, a.stored_at, a.checked_at,
        COALESCE(a.identity, (
            SELECT o.identity FROM package o
            WHERE o.repository = a.repository AND o.path = a.path AND +o.root = $2 AND o.last = $3
                AND o.identity = 'sha256:' || lower(hex(a.sha256)))), $4
    FROM json_each($1) moved CROSS JOIN artifact a WHERE a.id = moved.value";

/// Notes what a draft does not name: (draft, root, snapshot before).
pub(super) const END_PACKAGES: &str = "
    UPDATE package SET last = $3
    WHERE id IN (SELECT package FROM package_gone WHERE draft = $1) AND +root = $2 AND first <= $3 AND last IS NULL";

/// The drafts of a root that began before another.
pub(super) const EARLIER_DRAFTS: &str = "SELECT id FROM snapshot WHERE root = $1 AND published_at IS NULL AND id < $2";

/// Notes a file of a snapshot as its record is now: (snapshot, position, repository, path, query key).
const KEEP_FILE: &str = concat!(
    "INSERT INTO snapshot_file (snapshot, position, ",
    record!(),
    ") SELECT $1, $2, ",
    record!(),
    " FROM artifact WHERE repository = $3 AND path = $4 AND query_key = $5"
);

/// Publishes a snapshot by compare-and-set.
pub(super) struct PublishSnapshot {
    pub(super) snapshot: Snapshot,
    pub(super) follows: Option<SnapshotId>,
    pub(super) retired: Vec<Artifact>,
}

#[async_trait]
impl Change for PublishSnapshot {
    type Outcome = Result<SnapshotPublished, CatalogError>;

    const DURING: &'static str = "publishing a snapshot";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Self::Outcome, sqlx::Error> {
        let Snapshot { root, files, published_at, .. } = &self.snapshot;
        let at: Option<(i64, Option<i64>)> =
            query_as("SELECT id, current FROM index_root WHERE repository = $1 AND path = $2")
                .bind(root.repository.as_str())
                .bind(root.path.as_str())
                .fetch_optional(&mut *db)
                .await?;
        let current = at.and_then(|(_, current)| current);
        let follows = self.follows.map(|follows| follows.0);
        let Some(root) = self.may_publish(db, at, follows).await? else {
            for file in files {
                discard_unless_named(db, &file.blob, file.stored_at).await?;
            }
            return Ok(Ok(SnapshotPublished::Lost(current.map(SnapshotId))));
        };
        let mut records = Vec::with_capacity(files.len());
        for file in files {
            let record = match lookup(db, &file.target).await?.map(|row| row.read(Self::DURING)).transpose() {
                Ok(record) => record,
                Err(damaged) => return Ok(Err(damaged)),
            };
            let stays = record.as_ref().is_some_and(|record| record.sha256 == file.sha256);
            if !stays && is_leaving(db, &file.blob).await? {
                return Ok(Ok(SnapshotPublished::BlobLeaving(file.blob.clone())));
            }
            records.push(record);
        }

        for (position, (file, record)) in (0_i64..).zip(files.iter().zip(&records)) {
            self.make_current(db, position, file, record.as_ref()).await?;
        }
        self.sweep_earlier_drafts(db, root).await?;
        query(END_PACKAGES).bind(self.snapshot.id.0).bind(root).bind(follows).execute(&mut *db).await?;
        query("DELETE FROM package_gone WHERE draft = $1").bind(self.snapshot.id.0).execute(&mut *db).await?;
        let published_at = self.mark_published(db, root, follows, to_millis(*published_at)).await?;
        let replaced = self.supersede(db, root, follows, published_at).await?;
        self.retire(db, published_at).await?;

        let rows: Vec<SnapshotRow> = query_as(BY_ID).bind(self.snapshot.id.0).fetch_all(db).await?;
        let absent = || CatalogError { kind: CatalogErrorKind::Damaged, during: Self::DURING, source: None };
        let published = read_snapshot(rows, Self::DURING).and_then(|snapshot| {
            let replaced = replaced.iter().map(|(repository, path)| read_root(repository, path, Self::DURING));
            let snapshot = Box::new(snapshot.ok_or_else(absent)?);
            Ok(SnapshotPublished::Won { snapshot, replaced: replaced.collect::<Result<_, _>>()? })
        });
        Ok(published)
    }
}

impl PublishSnapshot {
    /// The root's number, if the draft is there and still follows the root's current snapshot.
    async fn may_publish(
        &self,
        db: &mut SqliteConnection,
        at: Option<(i64, Option<i64>)>,
        follows: Option<i64>,
    ) -> Result<Option<i64>, sqlx::Error> {
        let Some((root, current)) = at.filter(|(_, current)| *current == follows) else {
            return Ok(None);
        };
        query_scalar(
            "SELECT root FROM snapshot
             WHERE id = $1 AND root = $2 AND follows IS $3 AND published_at IS NULL AND abandoned = 0",
        )
        .bind(self.snapshot.id.0)
        .bind(root)
        .bind(current)
        .fetch_optional(db)
        .await
    }

    /// Makes a file the current record of its target, or keeps the record if that has the same bytes.
    async fn make_current(
        &self,
        db: &mut SqliteConnection,
        position: i64,
        file: &Artifact,
        record: Option<&Artifact>,
    ) -> Result<(), sqlx::Error> {
        let key = query_key(&file.target.query).into_owned();
        match record {
            Some(record) if record.sha256 == file.sha256 => {
                query(
                    "UPDATE artifact SET checked_at = MAX(checked_at, $4), identity = COALESCE(identity, $5)
                     WHERE repository = $1 AND path = $2 AND query_key = $3",
                )
                .bind(file.target.repository.as_str())
                .bind(file.target.path.as_str())
                .bind(&*key)
                .bind(to_millis(file.checked_at))
                .bind(file.identity.as_ref().map(Identity::to_string))
                .execute(&mut *db)
                .await?;
                discard_unless_named(db, &file.blob, file.stored_at).await?;
            }
            other => {
                put(db, file, other.map(|record| &record.blob)).await?;
            }
        }
        query(KEEP_FILE)
            .bind(self.snapshot.id.0)
            .bind(position)
            .bind(file.target.repository.as_str())
            .bind(file.target.path.as_str())
            .bind(&*key)
            .execute(db)
            .await
            .map(drop)
    }

    async fn sweep_earlier_drafts(&self, db: &mut SqliteConnection, root: i64) -> Result<(), sqlx::Error> {
        let drafts: Vec<i64> =
            query_scalar(EARLIER_DRAFTS).bind(root).bind(self.snapshot.id.0).fetch_all(&mut *db).await?;
        for draft in drafts {
            query("DELETE FROM package WHERE root = $1 AND first = $2")
                .bind(root)
                .bind(draft)
                .execute(&mut *db)
                .await?;
            query("DELETE FROM package_gone WHERE draft = $1").bind(draft).execute(&mut *db).await?;
            query("DELETE FROM snapshot WHERE id = $1").bind(draft).execute(&mut *db).await?;
        }
        Ok(())
    }

    /// Makes the draft the current snapshot; when.
    async fn mark_published(
        &self,
        db: &mut SqliteConnection,
        root: i64,
        follows: Option<i64>,
        at: i64,
    ) -> Result<i64, sqlx::Error> {
        // Strictly later than the one before, whatever the clock did.
        let published_at: i64 = query_scalar(
            "UPDATE snapshot SET made_at = $3, source = $4, packages = $5,
                 published_at = MAX($6, COALESCE((SELECT published_at FROM snapshot WHERE id = $2) + 1, $6))
             WHERE id = $1 RETURNING published_at",
        )
        .bind(self.snapshot.id.0)
        .bind(follows)
        .bind(self.snapshot.made_at.map(to_millis))
        .bind(&self.snapshot.source)
        .bind(to_i64(self.snapshot.packages))
        .bind(at)
        .fetch_one(&mut *db)
        .await?;
        query("UPDATE snapshot SET followed_at = $2 WHERE id = $1")
            .bind(follows)
            .bind(published_at)
            .execute(&mut *db)
            .await?;
        query("UPDATE index_root SET current = $2 WHERE id = $1")
            .bind(root)
            .bind(self.snapshot.id.0)
            .execute(db)
            .await?;
        Ok(published_at)
    }

    /// Takes the records of packages that became others out of the way; which they were.
    async fn supersede(
        &self,
        db: &mut SqliteConnection,
        root: i64,
        follows: Option<i64>,
        at: i64,
    ) -> Result<Vec<(String, String)>, sqlx::Error> {
        let moved: Vec<i64> =
            query_scalar(CONTRADICTED).bind(root).bind(self.snapshot.id.0).bind(follows).fetch_all(&mut *db).await?;
        if moved.is_empty() {
            return Ok(Vec::new());
        }
        let moved = as_json(moved.into_iter());
        query(KEEP_AS_PAST).bind(&*moved).bind(root).bind(follows).bind(at).execute(&mut *db).await?;
        query_as("DELETE FROM artifact WHERE id IN (SELECT value FROM json_each($1)) RETURNING repository, path")
            .bind(&*moved)
            .fetch_all(db)
            .await
    }

    /// Takes the records of what is not named any more out of the way.
    async fn retire(&self, db: &mut SqliteConnection, at: i64) -> Result<(), sqlx::Error> {
        for Artifact { target, revision, .. } in &self.retired {
            let key = query_key(&target.query);
            for statement in PAST {
                let past = query(statement).bind(target.repository.as_str()).bind(target.path.as_str());
                past.bind(&*key).bind(at).execute(&mut *db).await?;
            }
            let retire = query(RETIRE).bind(target.repository.as_str()).bind(target.path.as_str());
            retire.bind(&*key).bind(revision.0).execute(&mut *db).await?;
        }
        Ok(())
    }
}
