//! [`Snapshots`] in the SQLite file: reads on the readers' connections, changes through the writer.

use std::time::SystemTime;

use artifactapi_formats::{Identity, PackageEntry, RepoPath, Sha256};
use async_trait::async_trait;
use sqlx::query::QueryAs;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, FromRow, Sqlite, query_as, query_scalar};

use super::SqliteCatalog;
use super::drafts::{Abandon, AddPackages, Begin, DropPackages, GiveTag, Stage, TakeTag};
use super::expire::{Expire, Purge};
use super::switch::PublishSnapshot;
use crate::store::catalog::row::{ArtifactRow, limited, query_key, to_millis};
use crate::store::catalog::snapshot_rows::{
    ColdestRow, PackageRow, SnapshotRow, colder_than, read_changes, read_marks, read_packages, read_root,
    read_snapshot, read_snapshots,
};
use crate::store::catalog::snapshot_sql::{self as sql, Bound};
use crate::store::catalog::snapshots::{
    Coldest, Draft, Expired, Generation, NamedPackage, PackageChange, PackageMark, PackageQuery, PackageRowId, ROWS,
    Snapshot, SnapshotId, SnapshotPublished, Snapshots, Tag,
};
use crate::store::catalog::{Artifact, CatalogError};
use crate::store::key::{BlobKey, RepositoryName, Target};

/// That a path ends in a file name.
pub(super) const FILE_IS: &str = "(p.path = # OR substr(p.path, -length(#) - 1) = '/' || #)";

/// A statement about one root, which its first two values name.
fn of_root<'q, T>(sql: &'static str, root: &'q Target) -> QueryAs<'q, Sqlite, T, SqliteArguments>
where
    T: for<'r> FromRow<'r, SqliteRow>,
{
    query_as(sql).bind(root.repository.as_str()).bind(root.path.as_str())
}

#[async_trait]
impl Snapshots for SqliteCatalog {
    async fn current(&self, root: &Target) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up the current snapshot";
        let rows: Vec<SnapshotRow> = self.rows(during, of_root(sql::CURRENT, root)).await?;
        read_snapshot(rows, during)
    }

    async fn stage(&self, blobs: &[BlobKey], at: SystemTime) -> Result<Vec<BlobKey>, CatalogError> {
        self.writer.change(Stage { blobs: blobs.to_vec(), at }).await
    }

    async fn begin(&self, root: &Target, at: SystemTime) -> Result<Draft, CatalogError> {
        self.writer.change(Begin { root: root.clone(), at }).await
    }

    async fn marks(&self, root: &Target) -> Result<Vec<(PackageMark, PackageRowId)>, CatalogError> {
        let during = "reading the marks of packages";
        let rows: Vec<(Vec<u8>, i64)> = self.rows(during, of_root(sql::MARKS, root)).await?;
        read_marks(rows, during)
    }

    async fn add_packages(&self, draft: SnapshotId, packages: &[PackageEntry]) -> Result<(), CatalogError> {
        self.writer.change(AddPackages::new(draft, packages)).await
    }

    async fn drop_packages(&self, draft: SnapshotId, rows: &[PackageRowId]) -> Result<(), CatalogError> {
        self.writer.change(DropPackages { draft, rows: rows.to_vec() }).await
    }

    async fn publish_snapshot(
        &self,
        snapshot: &Snapshot,
        follows: Option<SnapshotId>,
        retired: &[Artifact],
    ) -> Result<SnapshotPublished, CatalogError> {
        self.writer.change(PublishSnapshot { snapshot: snapshot.clone(), follows, retired: retired.to_vec() }).await?
    }

    async fn abandon(&self, draft: SnapshotId) -> Result<(), CatalogError> {
        // In parts, so that others may write in between.
        while self.writer.change(Abandon { draft }).await? {}
        Ok(())
    }

    async fn snapshot(&self, id: SnapshotId) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up a snapshot";
        let rows: Vec<SnapshotRow> = self.rows(during, query_as(sql::BY_ID).bind(id.0)).await?;
        read_snapshot(rows, during)
    }

    async fn snapshot_at(&self, root: &Target, at: SystemTime) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up the snapshot of a time";
        let rows: Vec<SnapshotRow> = self.rows(during, of_root(sql::PUBLISHED_UNTIL, root).bind(to_millis(at))).await?;
        read_snapshot(rows, during)
    }

    async fn with_entry(&self, root: &Target, entry: &Sha256) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up the snapshot of an entry";
        let rows: Vec<SnapshotRow> =
            self.rows(during, of_root(sql::WITH_ENTRY, root).bind(&entry.as_bytes()[..])).await?;
        read_snapshot(rows, during)
    }

    async fn with_file(&self, root: &Target, path: &RepoPath) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up the snapshot of a file";
        let rows: Vec<SnapshotRow> = self.rows(during, of_root(sql::WITH_FILE, root).bind(path.as_str())).await?;
        read_snapshot(rows, during)
    }

    async fn oldest(&self, root: &Target) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up the oldest snapshot";
        let rows: Vec<SnapshotRow> = self.rows(during, of_root(sql::OLDEST, root)).await?;
        Ok(read_snapshots(rows, during)?.pop())
    }

    async fn tagged(&self, root: &Target, tag: &Tag) -> Result<Option<Snapshot>, CatalogError> {
        let during = "looking up a tagged snapshot";
        let rows: Vec<SnapshotRow> = self.rows(during, of_root(sql::TAGGED, root).bind(tag.as_str())).await?;
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
            .read(during, async |db| {
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
        self.writer.change(GiveTag { id, tag: tag.clone() }).await
    }

    async fn untag(&self, root: &Target, tag: &Tag) -> Result<bool, CatalogError> {
        self.writer.change(TakeTag { root: root.clone(), tag: tag.clone() }).await
    }

    async fn named(
        &self,
        repository: &RepositoryName,
        path: &RepoPath,
        generation: Generation,
    ) -> Result<Vec<NamedPackage>, CatalogError> {
        let during = "looking up what an index says";
        let rows: Vec<PackageRow> = self
            .read(during, async |db| {
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
            .read(during, async |db| {
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
            .read(during, async |db| {
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
        self.writer.change(Expire { repository: repository.clone(), before, now }).await
    }

    async fn purge(&self, repository: &RepositoryName, now: SystemTime) -> Result<Expired, CatalogError> {
        self.writer.change(Purge { repository: repository.clone(), now }).await
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
            .read(during, async |db| {
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
