//! [`Snapshots`] in PostgreSQL: one statement and one round trip for each operation but a publication, which reads what it
//! published, and the giving up of a draft, which is done in parts.

use std::time::SystemTime;

use artifactapi_formats::{Identity, PackageEntry, RepoPath, Sha256};
use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, Postgres, query, query_as, query_scalar};

use super::PostgresCatalog;
use super::snapshot_statements::{ADD_PACKAGES, BEGIN, DROP_PACKAGES, EXPIRE, FILE_IS, STAGE, TAG};
use crate::store::catalog::row::{ArtifactRow, limited, query_key, read_keys, rested_since, to_millis};
use crate::store::catalog::snapshot_rows::{
    ColdestRow, NewPackage, PackageRow, SnapshotRow, colder_than, new_packages, read_changes, read_marks,
    read_packages, read_root, read_snapshot, read_snapshots,
};
use crate::store::catalog::snapshot_sql::{self as sql, Bound};
use crate::store::catalog::snapshots::{
    Coldest, Draft, Expired, Generation, NamedPackage, PackageChange, PackageMark, PackageQuery, PackageRowId, ROWS,
    Snapshot, SnapshotId, SnapshotPublished, Snapshots, Tag,
};
use crate::store::catalog::{Artifact, CatalogError};
use crate::store::key::{BlobKey, RepositoryName, Target};

/// How many snapshots expire at once: with their files about [`ROWS`] rows.
const SNAPSHOTS_AT_ONCE: i64 = 50;

/// A statement about one root, which its first two values name.
fn of_root<'q, T>(sql: &'static str, root: &'q Target) -> QueryAs<'q, Postgres, T, PgArguments>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    query_as(sql).bind(root.repository.as_str()).bind(root.path.as_str())
}

#[async_trait]
impl Snapshots for PostgresCatalog {
    async fn current(&self, root: &Target) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up the current snapshot";
        let rows: Vec<SnapshotRow> = self.database.rows(during, of_root(sql::CURRENT, root)).await?;
        read_snapshot(rows, during)
    }

    async fn stage(&self, blobs: &[BlobKey], at: SystemTime) -> Result<Vec<BlobKey>, CatalogError> {
        let during = "staging blobs";
        let blobs: Vec<&str> = blobs.iter().map(BlobKey::as_str).collect();
        let leaving = self.database.call(during, async |db| {
            let stage = query_scalar(STAGE).bind(blobs).bind(to_millis(at)).bind(rested_since(SystemTime::now()));
            stage.fetch_all(db).await
        });
        read_keys(leaving.await?, during)
    }

    async fn begin(&self, root: &Target, at: SystemTime) -> Result<Draft, CatalogError> {
        let (id, follows): (i64, Option<i64>) = self
            .database
            .call("beginning a snapshot", async |db| {
                query_as(BEGIN)
                    .bind(root.repository.as_str())
                    .bind(root.path.as_str())
                    .bind(to_millis(at))
                    .fetch_one(db)
                    .await
            })
            .await?;
        Ok(Draft { id: SnapshotId(id), follows: follows.map(SnapshotId) })
    }

    async fn marks(&self, root: &Target) -> Result<Vec<(PackageMark, PackageRowId)>, CatalogError> {
        let during = "reading the marks of packages";
        let rows: Vec<(Vec<u8>, i64)> = self.database.rows(during, of_root(sql::MARKS, root)).await?;
        read_marks(rows, during)
    }

    async fn add_packages(&self, draft: SnapshotId, packages: &[PackageEntry]) -> Result<(), CatalogError> {
        for packages in new_packages(packages).chunks(ROWS as usize) {
            let column = |text: fn(&NewPackage) -> &String| packages.iter().map(text).collect::<Vec<_>>();
            self.database
                .call("adding packages to a snapshot", async |db| {
                    query(ADD_PACKAGES)
                        .bind(draft.0)
                        .bind(column(|package| &package.path))
                        .bind(column(|package| &package.name))
                        .bind(column(|package| &package.version))
                        .bind(column(|package| &package.arch))
                        .bind(packages.iter().map(|package| package.size).collect::<Vec<_>>())
                        .bind(column(|package| &package.identity))
                        .bind(packages.iter().map(|package| package.mark.0.to_vec()).collect::<Vec<_>>())
                        .execute(db)
                        .await
                        .map(drop)
                })
                .await?;
        }
        Ok(())
    }

    async fn drop_packages(&self, draft: SnapshotId, rows: &[PackageRowId]) -> Result<(), CatalogError> {
        let rows: Vec<i64> = rows.iter().map(|row| row.0).collect();
        self.database
            .call("dropping packages from a snapshot", async |db| {
                query(DROP_PACKAGES).bind(draft.0).bind(rows).execute(db).await.map(drop)
            })
            .await
    }

    async fn publish_snapshot(
        &self,
        snapshot: &Snapshot,
        follows: Option<SnapshotId>,
        retired: &[Artifact],
    ) -> Result<SnapshotPublished, CatalogError> {
        self.switch(snapshot, follows, retired).await
    }

    async fn abandon(&self, draft: SnapshotId) -> Result<(), CatalogError> {
        let during = "giving up a snapshot";
        // In parts, so that none takes long.
        loop {
            let deleted = self
                .database
                .call(during, async |db| {
                    let root: Option<i64> = query_scalar(sql::GIVE_UP).bind(draft.0).fetch_optional(&mut *db).await?;
                    let Some(root) = root else { return Ok(0) };
                    let emptied = query(sql::EMPTY_DRAFT).bind(root).bind(draft.0).bind(i64::from(ROWS));
                    let deleted = emptied.execute(&mut *db).await?.rows_affected();
                    if deleted < u64::from(ROWS) {
                        query(sql::DELETE_GONE).bind(draft.0).execute(&mut *db).await?;
                        query(sql::DELETE_DRAFT).bind(draft.0).execute(db).await?;
                    }
                    Ok(deleted)
                })
                .await?;
            if deleted < u64::from(ROWS) {
                return Ok(());
            }
        }
    }

    async fn snapshot(&self, id: SnapshotId) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up a snapshot";
        let rows: Vec<SnapshotRow> = self.database.rows(during, query_as(sql::BY_ID).bind(id.0)).await?;
        read_snapshot(rows, during)
    }

    async fn snapshot_at(&self, root: &Target, at: SystemTime) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up the snapshot of a time";
        let rows: Vec<SnapshotRow> =
            self.database.rows(during, of_root(sql::PUBLISHED_UNTIL, root).bind(to_millis(at))).await?;
        read_snapshot(rows, during)
    }

    async fn with_entry(&self, root: &Target, entry: &Sha256) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up the snapshot of an entry";
        let rows: Vec<SnapshotRow> =
            self.database.rows(during, of_root(sql::WITH_ENTRY, root).bind(&entry.as_bytes()[..])).await?;
        read_snapshot(rows, during)
    }

    async fn with_file(&self, root: &Target, path: &RepoPath) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up the snapshot of a file";
        let rows: Vec<SnapshotRow> =
            self.database.rows(during, of_root(sql::WITH_FILE, root).bind(path.as_str())).await?;
        read_snapshot(rows, during)
    }

    async fn oldest(&self, root: &Target) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up the oldest snapshot";
        let rows: Vec<SnapshotRow> = self.database.rows(during, of_root(sql::OLDEST, root)).await?;
        Ok(read_snapshots(rows, during)?.pop())
    }

    async fn tagged(&self, root: &Target, tag: &Tag) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up a tagged snapshot";
        let rows: Vec<SnapshotRow> = self.database.rows(during, of_root(sql::TAGGED, root).bind(tag.as_str())).await?;
        read_snapshot(rows, during)
    }

    async fn snapshots(
        &self,
        root: &Target,
        before: Option<SnapshotId>,
        limit: u32,
    ) -> Result<Vec<Snapshot>, CatalogError> {
        let during = "listing snapshots";
        let rows: Vec<SnapshotRow> = self
            .database
            .rows(
                during,
                of_root(sql::SNAPSHOTS, root).bind(before.map_or(i64::MAX, |before| before.0)).bind(limited(limit)),
            )
            .await?;
        read_snapshots(rows, during)
    }

    async fn roots(
        &self,
        repository: &RepositoryName,
        after: Option<&RepoPath>,
        limit: u32,
    ) -> Result<Vec<Target>, CatalogError> {
        let during = "listing index roots";
        let paths: Vec<String> = self
            .database
            .call(during, async |db| {
                query_scalar(sql::ROOTS)
                    .bind(repository.as_str())
                    .bind(after.map_or("", RepoPath::as_str))
                    .bind(limited(limit))
                    .fetch_all(db)
                    .await
            })
            .await?;
        paths.iter().map(|path| read_root(repository.as_str(), path, during)).collect()
    }

    async fn tag(&self, id: SnapshotId, tag: &Tag) -> Result<bool, CatalogError> {
        self.database
            .call("tagging a snapshot", async |db| {
                Ok(query(TAG).bind(id.0).bind(tag.as_str()).execute(db).await?.rows_affected() > 0)
            })
            .await
    }

    async fn untag(&self, root: &Target, tag: &Tag) -> Result<bool, CatalogError> {
        self.database
            .call("taking a tag away", async |db| {
                let taken = query(sql::UNTAG)
                    .bind(root.repository.as_str())
                    .bind(root.path.as_str())
                    .bind(tag.as_str())
                    .execute(db)
                    .await?;
                Ok(taken.rows_affected() > 0)
            })
            .await
    }

    async fn named(
        &self,
        repository: &RepositoryName,
        path: &RepoPath,
        generation: Generation,
    ) -> Result<Vec<NamedPackage>, CatalogError> {
        let during = "looking up what an index says";
        let rows: Vec<PackageRow> = self
            .database
            .call(during, async |db| {
                let named = query_as(sql::named(generation)).bind(repository.as_str()).bind(path.as_str());
                let named = named.bind(i64::from(ROWS));
                match generation {
                    Generation::Current | Generation::Any => named.fetch_all(db).await,
                    Generation::Of(snapshot) => named.bind(snapshot.0).fetch_all(db).await,
                }
            })
            .await?;
        read_packages(rows, during)
    }

    async fn search(
        &self,
        repository: &RepositoryName,
        query: &PackageQuery,
    ) -> Result<Vec<NamedPackage>, CatalogError> {
        let during = "searching for packages";
        let Some((text, bound)) = sql::search(repository, query, FILE_IS) else {
            return Ok(Vec::new());
        };
        let rows: Vec<PackageRow> = self
            .database
            .call(during, async |db| {
                let search = bound.into_iter().fold(query_as(AssertSqlSafe(text)), |search, bound| match bound {
                    Bound::Text(text) => search.bind(text),
                    Bound::Number(number) => search.bind(number),
                });
                search.fetch_all(db).await
            })
            .await?;
        read_packages(rows, during)
    }

    async fn diff(
        &self,
        from: SnapshotId,
        to: SnapshotId,
        after: Option<&RepoPath>,
        limit: u32,
    ) -> Result<Vec<PackageChange>, CatalogError> {
        let during = "comparing two snapshots";
        let (earlier, later) = (from.min(to), from.max(to));
        let rows: Vec<PackageRow> = self
            .database
            .rows(
                during,
                query_as(sql::DIFF)
                    .bind(earlier.0)
                    .bind(later.0)
                    .bind(after.map_or("", RepoPath::as_str))
                    .bind(limited(limit)),
            )
            .await?;
        read_changes(rows, from, to, during)
    }

    async fn added(
        &self,
        snapshot: SnapshotId,
        after: Option<PackageRowId>,
        limit: u32,
    ) -> Result<Vec<NamedPackage>, CatalogError> {
        let during = "looking for new packages";
        let rows: Vec<PackageRow> = self
            .database
            .rows(
                during,
                query_as(sql::ADDED).bind(snapshot.0).bind(after.map_or(0, |after| after.0)).bind(limited(limit)),
            )
            .await?;
        read_packages(rows, during)
    }

    async fn renewals(
        &self,
        snapshot: SnapshotId,
        after: Option<PackageRowId>,
        limit: u32,
    ) -> Result<Vec<NamedPackage>, CatalogError> {
        let during = "looking for newer builds";
        let rows: Vec<PackageRow> = self
            .database
            .rows(
                during,
                query_as(sql::RENEWALS).bind(snapshot.0).bind(after.map_or(0, |after| after.0)).bind(limited(limit)),
            )
            .await?;
        read_packages(rows, during)
    }

    async fn content(
        &self,
        target: &Target,
        identity: &Identity,
        sha256: Option<&Sha256>,
    ) -> Result<Option<Artifact>, CatalogError> {
        let during = "looking for a content";
        let found: Option<ArtifactRow> = self
            .database
            .call(during, async |db| {
                query_as(sql::CONTENT)
                    .bind(target.repository.as_str())
                    .bind(target.path.as_str())
                    .bind(query_key(&target.query).into_owned())
                    .bind(identity.to_string())
                    .bind(sha256.map(|sha256| sha256.as_bytes().to_vec()))
                    .bind(identity.sha256().map(|sha256| sha256.as_bytes().to_vec()))
                    .fetch_optional(db)
                    .await
            })
            .await?;
        found.map(|row| row.read(during)).transpose()
    }

    async fn expire(
        &self,
        repository: &RepositoryName,
        before: SystemTime,
        now: SystemTime,
    ) -> Result<Expired, CatalogError> {
        let (snapshots, packages, past): (i64, i64, i64) = self
            .database
            .call("removing old snapshots", async |db| {
                query_as(EXPIRE)
                    .bind(repository.as_str())
                    .bind(to_millis(before))
                    .bind(to_millis(now))
                    .bind(SNAPSHOTS_AT_ONCE)
                    .bind(i64::from(ROWS))
                    .fetch_one(db)
                    .await
            })
            .await?;
        Ok(Expired {
            snapshots: snapshots.unsigned_abs(),
            packages: packages.unsigned_abs(),
            past: past.unsigned_abs(),
        })
    }

    async fn purge(&self, repository: &RepositoryName, now: SystemTime) -> Result<Expired, CatalogError> {
        let packages = self
            .database
            .call("removing the indexes of a repository", async |db| {
                let mut transaction = db.begin().await?;
                query(sql::UNTAG_ALL).bind(repository.as_str()).execute(&mut *transaction).await?;
                let deleted = query(sql::DELETE_PACKAGES).bind(repository.as_str()).bind(i64::from(ROWS));
                let packages = deleted.execute(&mut *transaction).await?.rows_affected();
                // What is left of them must not be without a root: whoever begins again after a crash would not find it.
                if packages < u64::from(ROWS) {
                    for statement in sql::LEAVE_ROOTS {
                        query(statement).bind(repository.as_str()).execute(&mut *transaction).await?;
                    }
                }
                transaction.commit().await?;
                Ok(packages)
            })
            .await?;
        if packages == u64::from(ROWS) {
            return Ok(Expired { packages, ..Expired::default() });
        }
        let expired = self.expire(repository, now, now).await?;
        Ok(Expired { packages: expired.packages + packages, ..expired })
    }

    async fn coldest(
        &self,
        repository: Option<&RepositoryName>,
        after: Option<&Coldest>,
        limit: u32,
    ) -> Result<Vec<Coldest>, CatalogError> {
        let during = "looking for what was not used for long";
        let (used, revision) = colder_than(after);
        let rows: Vec<ColdestRow> = self
            .database
            .call(during, async |db| {
                let coldest = query_as(if repository.is_some() { sql::COLDEST_OF } else { sql::COLDEST });
                let coldest = coldest.bind(limited(limit)).bind(used).bind(revision);
                match repository {
                    None => coldest.fetch_all(db).await,
                    Some(one) => coldest.bind(one.as_str()).fetch_all(db).await,
                }
            })
            .await?;
        rows.into_iter().map(|row| row.read(during)).collect()
    }
}
