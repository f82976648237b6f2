//! [`Fragments`] in the SQLite file.

use std::time::SystemTime;

use async_trait::async_trait;
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{QueryBuilder, query, query_scalar};

use super::SqliteCatalog;
use super::writer::Change;
use crate::store::catalog::CatalogError;
use crate::store::catalog::fragment_sql::{NAMING, PAST};
use crate::store::catalog::fragments::Fragments;
use crate::store::catalog::row::{query_key, to_millis};
use crate::store::catalog::snapshot_rows::read_mark;
use crate::store::catalog::snapshots::{PackageMark, SnapshotId};
use crate::store::key::Target;

/// Removes fragments that no package row has: (put before). No index knows marks, for it would cost every refresh of every
/// index; so the marks of the roots that have fragments are gathered once for all of them.
pub(super) const SWEEP: &str = "
    DELETE FROM fragment WHERE added_at < $1 AND (root, mark) NOT IN (
        SELECT p.root, p.mark FROM package p WHERE p.root IN (SELECT f.root FROM fragment f))";

#[async_trait]
impl Fragments for SqliteCatalog {
    async fn put_fragments(
        &self,
        root: &Target,
        fragments: &[(PackageMark, Vec<u8>)],
        at: SystemTime,
    ) -> Result<(), CatalogError> {
        self.writer.change(Put { root: root.clone(), fragments: fragments.to_vec(), at }).await
    }

    async fn fragment_lengths(
        &self,
        root: &Target,
        marks: &[PackageMark],
    ) -> Result<Vec<(PackageMark, u64)>, CatalogError> {
        let during = "measuring fragments";
        let mut wanted = of_these("SELECT f.mark, LENGTH(f.body)", root, marks);
        let rows: Vec<(Vec<u8>, i64)> = self.rows(during, wanted.build_query_as()).await?;
        rows.into_iter().map(|(mark, length)| Ok((read_mark(&mark, during)?, length.unsigned_abs()))).collect()
    }

    async fn fragments(
        &self,
        root: &Target,
        marks: &[PackageMark],
    ) -> Result<Vec<(PackageMark, Vec<u8>)>, CatalogError> {
        let during = "reading fragments";
        let mut wanted = of_these("SELECT f.mark, f.body", root, marks);
        let rows: Vec<(Vec<u8>, Vec<u8>)> = self.rows(during, wanted.build_query_as()).await?;
        rows.into_iter().map(|(mark, body)| Ok((read_mark(&mark, during)?, body))).collect()
    }

    async fn sweep_fragments(&self, before: SystemTime) -> Result<u64, CatalogError> {
        self.writer.change(Sweep { before }).await
    }

    async fn naming(&self, file: &Target) -> Result<Option<SnapshotId>, CatalogError> {
        let found: Option<i64> = self
            .read("looking for the snapshot of a file", async |db| {
                query_scalar(NAMING).bind(file.repository.as_str()).bind(file.path.as_str()).fetch_one(db).await
            })
            .await?;
        Ok(found.map(SnapshotId))
    }

    async fn keep_past(&self, package: &Target, at: SystemTime) -> Result<(), CatalogError> {
        self.writer.change(KeepPast { package: package.clone(), at }).await
    }
}

/// What is asked of the fragments of a root with these marks.
fn of_these(asked: &'static str, root: &Target, marks: &[PackageMark]) -> QueryBuilder<Sqlite> {
    let mut wanted = QueryBuilder::new(asked);
    wanted.push(" FROM index_root r JOIN fragment f ON f.root = r.id WHERE r.repository = ");
    wanted.push_bind(root.repository.as_str()).push(" AND r.path = ").push_bind(root.path.as_str());
    wanted.push(" AND f.mark IN (");
    let mut list = wanted.separated(", ");
    for mark in marks {
        list.push_bind(mark.0.to_vec());
    }
    wanted.push(")");
    wanted
}

struct Put {
    root: Target,
    fragments: Vec<(PackageMark, Vec<u8>)>,
    at: SystemTime,
}

#[async_trait]
impl Change for Put {
    type Outcome = ();

    const DURING: &'static str = "keeping fragments";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        query("INSERT INTO index_root (repository, path) VALUES ($1, $2) ON CONFLICT (repository, path) DO NOTHING")
            .bind(self.root.repository.as_str())
            .bind(self.root.path.as_str())
            .execute(&mut *db)
            .await?;
        for (mark, body) in &self.fragments {
            query(
                "INSERT INTO fragment (root, mark, added_at, body)
                 SELECT id, $3, $4, $5 FROM index_root WHERE repository = $1 AND path = $2
                 ON CONFLICT (root, mark) DO UPDATE SET added_at = MAX(added_at, excluded.added_at)",
            )
            .bind(self.root.repository.as_str())
            .bind(self.root.path.as_str())
            .bind(&mark.0[..])
            .bind(to_millis(self.at))
            .bind(&body[..])
            .execute(&mut *db)
            .await?;
        }
        Ok(())
    }
}

struct Sweep {
    before: SystemTime,
}

#[async_trait]
impl Change for Sweep {
    type Outcome = u64;

    const DURING: &'static str = "sweeping fragments";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        Ok(query(SWEEP).bind(to_millis(self.before)).execute(db).await?.rows_affected())
    }
}

struct KeepPast {
    package: Target,
    at: SystemTime,
}

#[async_trait]
impl Change for KeepPast {
    type Outcome = ();

    const DURING: &'static str = "keeping a past package";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for statement in PAST {
            let past = query(statement).bind(self.package.repository.as_str()).bind(self.package.path.as_str());
            past.bind(&*query_key(&self.package.query)).bind(to_millis(self.at)).execute(&mut *db).await?;
        }
        Ok(())
    }
}
