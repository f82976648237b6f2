//! [`Fragments`] in PostgreSQL.

use std::time::SystemTime;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use sqlx::{query, query_as, query_scalar};

use super::PostgresCatalog;
use crate::store::catalog::CatalogError;
use crate::store::catalog::fragment_sql::{NAMING, PAST};
use crate::store::catalog::fragments::Fragments;
use crate::store::catalog::row::{query_key, to_millis};
use crate::store::catalog::snapshot_rows::read_mark;
use crate::store::catalog::snapshots::{PackageMark, SnapshotId};
use crate::store::key::Target;

const ROOT: &str =
    "INSERT INTO index_root (repository, path) VALUES ($1, $2) ON CONFLICT (repository, path) DO NOTHING";

/// In the order of marks, so that two who put the same do not wait for each other in a circle.
const PUT: &str = "
    INSERT INTO fragment (root, mark, added_at, body)
    SELECT r.id, new.mark, $5, new.body
    FROM index_root r CROSS JOIN UNNEST($3::BYTEA[], $4::BYTEA[]) AS new (mark, body)
    WHERE r.repository = $1 AND r.path = $2 ORDER BY new.mark
    ON CONFLICT (root, mark) DO UPDATE SET added_at = GREATEST(fragment.added_at, excluded.added_at)";

const GET: &str = "
    SELECT f.mark, f.body FROM index_root r JOIN fragment f ON f.root = r.id
    WHERE r.repository = $1 AND r.path = $2 AND f.mark = ANY($3)";

/// Nothing is read of a body for it.
const LENGTHS: &str = "
    SELECT f.mark, OCTET_LENGTH(f.body)::BIGINT FROM index_root r JOIN fragment f ON f.root = r.id
    WHERE r.repository = $1 AND r.path = $2 AND f.mark = ANY($3)";

/// How many fragments one statement of a sweep looks at. Each reads the package rows of the root once: a quarter of a second for as
/// many as the largest repositories have, where a statement may take ten times that.
const SWEPT_AT_ONCE: i64 = 50_000;

/// The next root that has fragments: (after this one).
const SWEPT_NEXT: &str = "SELECT MIN(root) FROM fragment WHERE root > $1";

/// Removes those of the next fragments of a root that no package row has: (root, after this mark, put before, how many at once).
/// How many went, how many were looked at, and the last mark of these.
///
/// No index knows marks, for it would cost every refresh of every index. So the marks are subtracted as sets: that is a hash or a
/// sort whatever the planner believes, where it takes NOT IN, NOT EXISTS or a join for one look at all rows for each fragment as
/// soon as its statistics are old.
const SWEEP: &str = "
    WITH page AS MATERIALIZED (
        SELECT mark FROM fragment WHERE root = $1 AND mark > $2 ORDER BY mark LIMIT $4
    ), last AS MATERIALIZED (
        SELECT mark FROM page ORDER BY mark DESC LIMIT 1
    ), nobodys AS MATERIALIZED (
        SELECT mark FROM page
        EXCEPT SELECT mark FROM package WHERE root = $1 AND mark > $2 AND mark <= (SELECT mark FROM last)
    ), swept AS (
        DELETE FROM fragment WHERE root = $1 AND mark = ANY (ARRAY(SELECT mark FROM nobodys)) AND added_at < $3 RETURNING root
    )
    SELECT (SELECT COUNT(*) FROM swept), (SELECT COUNT(*) FROM page), (SELECT mark FROM last)";

#[async_trait]
impl Fragments for PostgresCatalog {
    async fn put_fragments(
        &self,
        root: &Target,
        fragments: &[(PackageMark, Vec<u8>)],
        at: SystemTime,
    ) -> Result<(), CatalogError> {
        let during = "keeping fragments";
        let (repository, path) = (root.repository.as_str(), root.path.as_str());
        self.database
            .call(during, async |db| query(ROOT).bind(repository).bind(path).execute(db).await.map(drop))
            .await?;
        let marks: Vec<&[u8]> = fragments.iter().map(|(mark, _)| &mark.0[..]).collect();
        let bodies: Vec<&[u8]> = fragments.iter().map(|(_, body)| &body[..]).collect();
        self.database
            .call(during, async |db| {
                let put = query(PUT).bind(repository).bind(path).bind(&marks).bind(&bodies).bind(to_millis(at));
                put.execute(db).await.map(drop)
            })
            .await
    }

    async fn fragment_lengths(
        &self,
        root: &Target,
        marks: &[PackageMark],
    ) -> Result<Vec<(PackageMark, u64)>, CatalogError> {
        let during = "measuring fragments";
        let marks: Vec<&[u8]> = marks.iter().map(|mark| &mark.0[..]).collect();
        let asked = query_as(LENGTHS).bind(root.repository.as_str()).bind(root.path.as_str()).bind(&marks);
        let rows: Vec<(Vec<u8>, i64)> = self.database.rows(during, asked).await?;
        rows.into_iter().map(|(mark, length)| Ok((read_mark(&mark, during)?, length.unsigned_abs()))).collect()
    }

    async fn fragments(
        &self,
        root: &Target,
        marks: &[PackageMark],
    ) -> Result<Vec<(PackageMark, Vec<u8>)>, CatalogError> {
        let during = "reading fragments";
        let marks: Vec<&[u8]> = marks.iter().map(|mark| &mark.0[..]).collect();
        let rows: Vec<(Vec<u8>, Vec<u8>)> = self
            .database
            .call(during, async |db| {
                query_as(GET).bind(root.repository.as_str()).bind(root.path.as_str()).bind(&marks).fetch_all(db).await
            })
            .await?;
        rows.into_iter().map(|(mark, body)| Ok((read_mark(&mark, during)?, body))).collect()
    }

    async fn sweep_fragments(&self, before: SystemTime) -> Result<u64, CatalogError> {
        let during = "sweeping fragments";
        let (mut swept, mut root) = (0_u64, i64::MIN);
        loop {
            let next = async |db: &mut PgConnection| query_scalar(SWEPT_NEXT).bind(root).fetch_one(db).await;
            let next: Option<i64> = self.database.call(during, next).await?;
            let Some(next) = next else { return Ok(swept) };
            root = next;
            let mut last = Vec::new();
            loop {
                let page = query_as(SWEEP).bind(root).bind(&last).bind(to_millis(before)).bind(SWEPT_AT_ONCE);
                let page = async |db: &mut PgConnection| page.fetch_one(db).await;
                let (gone, looked_at, end): (i64, i64, Option<Vec<u8>>) = self.database.call(during, page).await?;
                swept += u64::try_from(gone).unwrap_or_default();
                match end {
                    Some(end) if looked_at == SWEPT_AT_ONCE => last = end,
                    _ => break,
                }
            }
        }
    }

    async fn naming(&self, file: &Target) -> Result<Option<SnapshotId>, CatalogError> {
        let found: Option<i64> = self
            .database
            .call("looking for the snapshot of a file", async |db| {
                query_scalar(NAMING).bind(file.repository.as_str()).bind(file.path.as_str()).fetch_one(db).await
            })
            .await?;
        Ok(found.map(SnapshotId))
    }

    async fn keep_past(&self, package: &Target, at: SystemTime) -> Result<(), CatalogError> {
        self.database
            .call("keeping a past package", async |db| {
                for statement in PAST {
                    let past = query(statement).bind(package.repository.as_str()).bind(package.path.as_str());
                    past.bind(&*query_key(&package.query)).bind(to_millis(at)).execute(&mut *db).await?;
                }
                Ok(())
            })
            .await
    }
}
