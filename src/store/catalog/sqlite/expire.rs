//! The removal of what nobody needs any more, a bounded part at a time.

use std::time::SystemTime;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as, query_scalar};

use super::changes::DISCARD_UNLESS_NAMED;
use super::drafts::{as_json, empty_draft};
use super::writer::Change;
use crate::store::catalog::row::to_millis;
use crate::store::catalog::snapshot_sql::{DELETE_PACKAGES, GIVE_UP, LEAVE_ROOTS, UNTAG_ALL};
use crate::store::catalog::snapshots::{Expired, ROWS};
use crate::store::key::RepositoryName;

/// How many snapshots go at once: with their files about [`ROWS`] rows.
const SNAPSHOTS_AT_ONCE: i64 = 50;

/// Snapshots that were followed before a time and have no tag: (repository, time, limit).
const FOLLOWED: &str = "
    SELECT s.id FROM index_root r CROSS JOIN snapshot s
    WHERE r.repository = $1 AND s.root = r.id AND s.published_at IS NOT NULL AND s.followed_at < $2
        AND NOT EXISTS (SELECT 1 FROM snapshot_tag t WHERE t.snapshot = s.id)
    LIMIT $3";

/// A draft that was given up or began before a time: (repository, time).
const ABANDONED: &str = "
    SELECT r.id, s.id FROM index_root r CROSS JOIN snapshot s
    WHERE r.repository = $1 AND s.root = r.id AND s.published_at IS NULL AND (s.begun_at < $2 OR s.abandoned = 1)
    LIMIT 1";

/// Packages that no kept snapshot names: (repository, limit).
const UNNAMED: &str = "
    SELECT p.id FROM index_root r CROSS JOIN package p
    WHERE r.repository = $1 AND p.root = r.id AND p.last >= 0 AND NOT EXISTS (
        SELECT 1 FROM snapshot s
        WHERE s.root = p.root AND s.id >= p.first AND s.id <= p.last AND s.published_at IS NOT NULL)
    LIMIT $2";

/// Past contents from before a time that no tagged snapshot names, as far as can be told: (repository, time, limit).
const PAST: &str = "
    SELECT q.id FROM past_package q
    WHERE q.repository = $1 AND q.superseded_at < $2 AND NOT EXISTS (
        SELECT 1 FROM package p CROSS JOIN snapshot_tag t
        WHERE p.repository = q.repository AND p.path = q.path AND t.root = p.root AND t.snapshot >= p.first
            AND (p.last IS NULL OR t.snapshot <= p.last)
            AND CASE
                WHEN p.identity LIKE 'sha256:%' THEN p.identity = 'sha256:' || lower(hex(q.sha256))
                WHEN rtrim(q.identity, '0123456789abcdef') = rtrim(p.identity, '0123456789abcdef')
                    THEN q.identity = p.identity
                ELSE TRUE
            END)
    LIMIT $3";

/// The statements that look for what to remove.
#[cfg(test)]
pub(super) const LOOKING: [&str; 4] = [FOLLOWED, ABANDONED, UNNAMED, PAST];

/// Removes a part of what nobody needs any more.
pub(super) struct Expire {
    pub(super) repository: RepositoryName,
    pub(super) before: SystemTime,
    pub(super) now: SystemTime,
}

#[async_trait]
impl Change for Expire {
    type Outcome = Expired;

    const DURING: &'static str = "removing old snapshots";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Expired, sqlx::Error> {
        let (repository, before) = (self.repository.as_str(), to_millis(self.before));
        let followed: Vec<i64> =
            query_scalar(FOLLOWED).bind(repository).bind(before).bind(SNAPSHOTS_AT_ONCE).fetch_all(&mut *db).await?;
        let snapshots = as_json(followed.into_iter());
        let mut blobs: Vec<String> = query_scalar(
            "DELETE FROM snapshot_file WHERE snapshot IN (SELECT value FROM json_each($1)) RETURNING blob",
        )
        .bind(&*snapshots)
        .fetch_all(&mut *db)
        .await?;
        let gone = query("DELETE FROM snapshot WHERE id IN (SELECT value FROM json_each($1))")
            .bind(&*snapshots)
            .execute(&mut *db)
            .await?;
        let mut expired = Expired { snapshots: gone.rows_affected(), ..Expired::default() };

        let draft: Option<(i64, i64)> =
            query_as(ABANDONED).bind(repository).bind(before).fetch_optional(&mut *db).await?;
        if let Some((root, draft)) = draft {
            query(GIVE_UP).bind(draft).execute(&mut *db).await?;
            expired.packages = empty_draft(db, root, draft).await?;
            expired.snapshots += u64::from(expired.packages < u64::from(ROWS));
        }

        let unnamed: Vec<i64> =
            query_scalar(UNNAMED).bind(repository).bind(i64::from(ROWS)).fetch_all(&mut *db).await?;
        let deleted = query("DELETE FROM package WHERE id IN (SELECT value FROM json_each($1))");
        expired.packages += deleted.bind(as_json(unnamed.into_iter())).execute(&mut *db).await?.rows_affected();

        let past: Vec<i64> =
            query_scalar(PAST).bind(repository).bind(before).bind(i64::from(ROWS)).fetch_all(&mut *db).await?;
        let left: Vec<String> =
            query_scalar("DELETE FROM past_package WHERE id IN (SELECT value FROM json_each($1)) RETURNING blob")
                .bind(as_json(past.into_iter()))
                .fetch_all(&mut *db)
                .await?;
        expired.past = u64::try_from(left.len()).unwrap_or(u64::MAX);

        // After the names are gone; the trigger passes over what still has another.
        blobs.extend(left);
        for blob in blobs {
            query(DISCARD_UNLESS_NAMED).bind(blob).bind(to_millis(self.now)).execute(&mut *db).await?;
        }
        Ok(expired)
    }
}

/// Removes a part of all that is known of the indexes of a repository.
pub(super) struct Purge {
    pub(super) repository: RepositoryName,
    pub(super) now: SystemTime,
}

#[async_trait]
impl Change for Purge {
    type Outcome = Expired;

    const DURING: &'static str = "removing the indexes of a repository";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Expired, sqlx::Error> {
        let repository = self.repository.as_str();
        query(UNTAG_ALL).bind(repository).execute(&mut *db).await?;
        let deleted = query(DELETE_PACKAGES).bind(repository).bind(i64::from(ROWS)).execute(&mut *db).await?;
        let packages = deleted.rows_affected();
        // What is left of them must not be without a root: whoever begins again after a crash would not find it.
        if packages == u64::from(ROWS) {
            return Ok(Expired { packages, ..Expired::default() });
        }
        for statement in LEAVE_ROOTS {
            query(statement).bind(repository).execute(&mut *db).await?;
        }
        let expire = Expire { repository: self.repository.clone(), before: self.now, now: self.now };
        let expired = expire.apply(db).await?;
        Ok(Expired { packages: expired.packages + packages, ..expired })
    }
}
