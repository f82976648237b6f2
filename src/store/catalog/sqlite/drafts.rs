//! Changes to drafts and tags, one type per operation.

use std::time::SystemTime;

use artifactapi_formats::PackageEntry;
use async_trait::async_trait;
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{QueryBuilder, query, query_as, query_scalar};

use super::writer::Change;
use crate::store::catalog::row::{rested_since, to_millis};
use crate::store::catalog::snapshot_rows::{NewPackage, new_packages};
use crate::store::catalog::snapshot_sql::{DELETE_DRAFT, DELETE_GONE, EMPTY_DRAFT, GIVE_UP, UNTAG};
use crate::store::catalog::snapshots::{Draft, PackageRowId, ROWS, SnapshotId, Tag};
use crate::store::key::{BlobKey, Target};

/// Numbers as one parameter.
pub(super) fn as_json(numbers: impl Iterator<Item = i64>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

/// Lists blobs as garbage before they are written.
pub(super) struct Stage {
    pub(super) blobs: Vec<BlobKey>,
    pub(super) at: SystemTime,
}

#[async_trait]
impl Change for Stage {
    type Outcome = Vec<BlobKey>;

    const DURING: &'static str = "staging blobs";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Vec<BlobKey>, sqlx::Error> {
        let mut leaving = Vec::new();
        for blob in &self.blobs {
            // One that was listed before gets as long as the others; one whose key has rested is like new. One that is named is passed
            // over, and there is no row of it.
            let taken_at: Option<Option<i64>> = query_scalar(
                "INSERT INTO garbage (blob, since) VALUES ($1, $2)
                 ON CONFLICT (blob) DO UPDATE SET
                     since = CASE WHEN taken_at IS NULL OR deleted_at <= $3 THEN MAX(since, excluded.since) ELSE since END,
                     taken_at = CASE WHEN deleted_at <= $3 THEN NULL ELSE taken_at END,
                     deleted_at = CASE WHEN deleted_at <= $3 THEN NULL ELSE deleted_at END
                 RETURNING taken_at",
            )
            .bind(blob.as_str())
            .bind(to_millis(self.at))
            .bind(rested_since(SystemTime::now()))
            .fetch_optional(&mut *db)
            .await?;
            leaving.extend(taken_at.flatten().map(|_| blob.clone()));
        }
        Ok(leaving)
    }
}

/// Begins a draft.
pub(super) struct Begin {
    pub(super) root: Target,
    pub(super) at: SystemTime,
}

#[async_trait]
impl Change for Begin {
    type Outcome = Draft;

    const DURING: &'static str = "beginning a snapshot";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Draft, sqlx::Error> {
        query("INSERT INTO index_root (repository, path) VALUES ($1, $2) ON CONFLICT (repository, path) DO NOTHING")
            .bind(self.root.repository.as_str())
            .bind(self.root.path.as_str())
            .execute(&mut *db)
            .await?;
        let (id, follows): (i64, Option<i64>) = query_as(
            "INSERT INTO snapshot (root, follows, begun_at)
             SELECT id, current, $3 FROM index_root WHERE repository = $1 AND path = $2 RETURNING id, follows",
        )
        .bind(self.root.repository.as_str())
        .bind(self.root.path.as_str())
        .bind(to_millis(self.at))
        .fetch_one(db)
        .await?;
        Ok(Draft { id: SnapshotId(id), follows: follows.map(SnapshotId) })
    }
}

/// Adds packages to a draft.
pub(super) struct AddPackages {
    draft: SnapshotId,
    packages: Vec<NewPackage>,
}

impl AddPackages {
    pub(super) fn new(draft: SnapshotId, packages: &[PackageEntry]) -> Self {
        Self { draft, packages: new_packages(packages) }
    }
}

#[async_trait]
impl Change for AddPackages {
    type Outcome = ();

    const DURING: &'static str = "adding packages to a snapshot";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for packages in self.packages.chunks(ROWS as usize) {
            let mut sql =
                QueryBuilder::<Sqlite>::new("WITH new (path, name, version, arch, size, identity, mark) AS (");
            sql.push_values(packages, |mut row, package| {
                row.push_bind(&*package.path)
                    .push_bind(&*package.name)
                    .push_bind(&*package.version)
                    .push_bind(&*package.arch)
                    .push_bind(package.size)
                    .push_bind(&*package.identity)
                    .push_bind(&package.mark.0[..]);
            });
            // A call that is made again adds nothing.
            sql.push(
                ") INSERT INTO package (repository, root, path, name, version, arch, size, identity, mark, first)
                SELECT r.repository, r.id, new.path, new.name, new.version, new.arch, new.size, new.identity, new.mark, s.id
                FROM snapshot s CROSS JOIN index_root r CROSS JOIN new
                WHERE s.published_at IS NULL AND s.abandoned = 0 AND r.id = s.root AND NOT EXISTS (
                    SELECT 1 FROM package o
                    WHERE o.repository = r.repository AND o.path = new.path AND o.first = s.id AND o.mark = new.mark)
                AND s.id = ",
            );
            sql.push_bind(self.draft.0);
            sql.build().execute(&mut *db).await?;
        }
        Ok(())
    }
}

/// Says what a draft does not name.
pub(super) struct DropPackages {
    pub(super) draft: SnapshotId,
    pub(super) rows: Vec<PackageRowId>,
}

#[async_trait]
impl Change for DropPackages {
    type Outcome = ();

    const DURING: &'static str = "dropping packages from a snapshot";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        query(
            "INSERT OR IGNORE INTO package_gone (draft, package)
             SELECT s.id, gone.value FROM snapshot s CROSS JOIN json_each($2) gone
             WHERE s.id = $1 AND s.published_at IS NULL AND s.abandoned = 0",
        )
        .bind(self.draft.0)
        .bind(as_json(self.rows.iter().map(|row| row.0)))
        .execute(db)
        .await
        .map(drop)
    }
}

/// Gives a draft up. Deletes a part of it; whether there may be more.
pub(super) struct Abandon {
    pub(super) draft: SnapshotId,
}

#[async_trait]
impl Change for Abandon {
    type Outcome = bool;

    const DURING: &'static str = "giving up a snapshot";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let root: Option<i64> = query_scalar(GIVE_UP).bind(self.draft.0).fetch_optional(&mut *db).await?;
        let Some(root) = root else {
            return Ok(false);
        };
        Ok(empty_draft(db, root, self.draft.0).await? == u64::from(ROWS))
    }
}

/// Deletes packages of a draft that was given up, and the draft with the last of them. How many packages it deleted.
pub(super) async fn empty_draft(db: &mut SqliteConnection, root: i64, draft: i64) -> Result<u64, sqlx::Error> {
    let deleted = query(EMPTY_DRAFT).bind(root).bind(draft).bind(i64::from(ROWS)).execute(&mut *db).await?;
    if deleted.rows_affected() < u64::from(ROWS) {
        query(DELETE_GONE).bind(draft).execute(&mut *db).await?;
        query(DELETE_DRAFT).bind(draft).execute(&mut *db).await?;
    }
    Ok(deleted.rows_affected())
}

/// Gives a snapshot a tag.
pub(super) struct GiveTag {
    pub(super) id: SnapshotId,
    pub(super) tag: Tag,
}

#[async_trait]
impl Change for GiveTag {
    type Outcome = bool;

    const DURING: &'static str = "tagging a snapshot";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let tagged = query(
            "INSERT INTO snapshot_tag (root, tag, snapshot)
             SELECT root, $2, id FROM snapshot WHERE id = $1 AND published_at IS NOT NULL
             ON CONFLICT (root, tag) DO UPDATE SET snapshot = excluded.snapshot",
        );
        Ok(tagged.bind(self.id.0).bind(self.tag.as_str()).execute(db).await?.rows_affected() > 0)
    }
}

/// Takes a tag away.
pub(super) struct TakeTag {
    pub(super) root: Target,
    pub(super) tag: Tag,
}

#[async_trait]
impl Change for TakeTag {
    type Outcome = bool;

    const DURING: &'static str = "taking a tag away";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let taken = query(UNTAG)
            .bind(self.root.repository.as_str())
            .bind(self.root.path.as_str())
            .bind(self.tag.as_str())
            .execute(db)
            .await?;
        Ok(taken.rows_affected() > 0)
    }
}
