//! The statements about snapshots that both databases understand word for word.
//!
//! `CROSS JOIN` is a hint to SQLite, which then takes the tables in the order in which they stand; PostgreSQL orders them by
//! its statistics. A `+` before a column keeps SQLite, which knows nothing of how many rows a root has, from an index that would
//! find far too many. `substr(name, 1, 255)` is what PostgreSQL's index has of a name, as an index entry has a greatest length.

use super::snapshots::{Generation, PackageQuery, ROWS};
use crate::store::key::RepositoryName;

/// The columns of an artifact's record, in any table that has them.
macro_rules! record {
    () => {
        "repository, path, query, revision, blob, size, sha256, content_type, etag, upstream_last_modified, last_modified,
        stored_at, checked_at, identity"
    };
}
pub(super) use record;

macro_rules! head {
    () => {
        "SELECT s.id AS snapshot, r.repository AS root_repository, r.path AS root_path, s.published_at, s.made_at, s.source,
            s.packages, (SELECT string_agg(t.tag, ',') FROM snapshot_tag t WHERE t.snapshot = s.id) AS tags, "
    };
}

/// A snapshot with its files, in one statement, so that no expiry comes between them.
macro_rules! snapshot {
    ($which:literal) => {
        concat!(
            head!(),
            "f.position, f.repository, f.path, f.query, f.revision, f.blob, f.size, f.sha256, f.content_type, f.etag,
            f.upstream_last_modified, f.last_modified, f.stored_at, f.checked_at, f.identity
        FROM index_root r JOIN snapshot s ON s.root = r.id LEFT JOIN snapshot_file f ON f.snapshot = s.id
        WHERE s.published_at IS NOT NULL AND ",
            $which,
            " ORDER BY f.position"
        )
    };
}

/// The current snapshot of (repository, path).
pub(super) const CURRENT: &str = snapshot!("r.repository = $1 AND r.path = $2 AND s.id = r.current");

/// A snapshot by its number.
pub(super) const BY_ID: &str = snapshot!("s.id = $1");

/// The newest snapshot of (repository, path) that was published until then.
pub(super) const PUBLISHED_UNTIL: &str = snapshot!(
    "s.id = (
        SELECT n.id FROM index_root m JOIN snapshot n ON n.root = m.id
        WHERE m.repository = $1 AND m.path = $2 AND n.published_at <= $3 ORDER BY n.published_at DESC LIMIT 1)"
);

/// The snapshot of (repository, path) with this tag.
pub(super) const TAGGED: &str = snapshot!(
    "s.id = (
        SELECT t.snapshot FROM index_root m JOIN snapshot_tag t ON t.root = m.id
        WHERE m.repository = $1 AND m.path = $2 AND t.tag = $3)"
);

/// The newest snapshot of (repository, path) whose entry has this digest.
pub(super) const WITH_ENTRY: &str = snapshot!(
    "s.id = (
        SELECT max(n.id) FROM index_root m JOIN snapshot n ON n.root = m.id
            JOIN snapshot_file e ON e.snapshot = n.id AND e.path = m.path
        WHERE m.repository = $1 AND m.path = $2 AND n.published_at IS NOT NULL AND e.sha256 = $3)"
);

/// The newest snapshot of (repository, path) that has a file of this path.
pub(super) const WITH_FILE: &str = snapshot!(
    "s.id = (
        SELECT max(n.id) FROM index_root m JOIN snapshot n ON n.root = m.id
            JOIN snapshot_file e ON e.snapshot = n.id AND e.path = $3
        WHERE m.repository = $1 AND m.path = $2 AND n.published_at IS NOT NULL)"
);

/// Snapshots of (repository, path) before a number, newest first.
pub(super) const SNAPSHOTS: &str = concat!(
    head!(),
    "CAST(NULL AS BIGINT) AS position
    FROM index_root r JOIN snapshot s ON s.root = r.id
    WHERE r.repository = $1 AND r.path = $2 AND s.published_at IS NOT NULL AND s.id < $3 ORDER BY s.id DESC LIMIT $4"
);

/// The oldest snapshot of (repository, path), without its files.
pub(super) const OLDEST: &str = concat!(
    head!(),
    "CAST(NULL AS BIGINT) AS position
    FROM index_root r JOIN snapshot s ON s.root = r.id
    WHERE r.repository = $1 AND r.path = $2 AND s.published_at IS NOT NULL ORDER BY s.id LIMIT 1"
);

/// Entry files of the roots of a repository after a path.
pub(super) const ROOTS: &str = "
    SELECT path FROM index_root WHERE repository = $1 AND path > $2 AND current IS NOT NULL ORDER BY path LIMIT $3";

/// The marks of what the current snapshot of (repository, path) names.
pub(super) const MARKS: &str = "
    SELECT p.mark, p.id FROM index_root r CROSS JOIN package p
    WHERE r.repository = $1 AND r.path = $2 AND p.root = r.id AND p.last IS NULL AND +p.first <= r.current";

macro_rules! packages {
    () => {
        "SELECT p.id, r.repository AS root_repository, r.path AS root_path, p.path, p.name, p.version, p.arch, p.size,
            p.identity, p.first, p.last FROM package p CROSS JOIN index_root r "
    };
}

const NAMED_CURRENT: &str = concat!(
    packages!(),
    "WHERE p.repository = $1 AND p.path = $2 AND r.id = p.root AND p.last IS NULL AND p.first <= r.current
    ORDER BY p.id LIMIT $3"
);

const NAMED_EVER: &str = concat!(
    packages!(),
    "WHERE p.repository = $1 AND p.path = $2 AND r.id = p.root AND p.first <= r.current ORDER BY p.id DESC LIMIT $3"
);

const NAMED_OF: &str = concat!(
    packages!(),
    "CROSS JOIN snapshot s
    WHERE p.repository = $1 AND p.path = $2 AND r.id = p.root AND s.id = $4 AND s.root = p.root
        AND s.published_at IS NOT NULL AND p.first <= s.id AND (p.last IS NULL OR p.last >= s.id)
    ORDER BY p.id LIMIT $3"
);

/// What names a path in a generation: (repository, path, limit), and the snapshot if it is a certain one.
pub(super) const fn named(generation: Generation) -> &'static str {
    match generation {
        Generation::Current => NAMED_CURRENT,
        Generation::Of(_) => NAMED_OF,
        Generation::Any => NAMED_EVER,
    }
}

/// What a snapshot or draft is the first to name: (snapshot, row after, limit).
pub(super) const ADDED: &str = concat!(
    packages!(),
    "WHERE p.root = (SELECT root FROM snapshot WHERE id = $1) AND p.first = $1 AND p.id > $2 AND r.id = p.root
    ORDER BY p.id LIMIT $3"
);

/// What of that is another build of what has or had a record: (snapshot, row after, limit). `OFFSET 0` keeps PostgreSQL from
/// reading all records to ask for a few.
pub(super) const RENEWALS: &str = concat!(
    packages!(),
    "WHERE p.root = (SELECT root FROM snapshot WHERE id = $1) AND p.first = $1 AND p.id > $2 AND r.id = p.root AND EXISTS (
            SELECT 1 FROM package o
            WHERE o.repository = p.repository AND o.name = p.name AND substr(o.name, 1, 255) = substr(p.name, 1, 255)
                AND o.arch = p.arch AND +o.root = p.root AND o.id <> p.id AND (
                    EXISTS (
                        SELECT 1 FROM artifact a
                        WHERE a.repository = o.repository AND a.path = o.path AND a.query_key = '' LIMIT 1 OFFSET 0)
                    OR EXISTS (
                        SELECT 1 FROM past_package q
                        WHERE q.repository = o.repository AND q.path = o.path AND q.query_key = '' LIMIT 1 OFFSET 0)))
    ORDER BY p.id LIMIT $3"
);

/// What differs between two snapshots, the earlier one first: (earlier, later, path after, limit of paths). One row for each
/// side of a path. What was named, was not for a while, and is again, is no difference.
pub(super) const DIFF: &str = "
    WITH pair AS (
        SELECT a.root, a.id AS low, b.id AS high FROM snapshot a JOIN snapshot b ON b.root = a.root
        WHERE a.id = $1 AND b.id = $2 AND a.published_at IS NOT NULL AND b.published_at IS NOT NULL
    ), changed AS (
        SELECT p.path, p.id AS was, CAST(NULL AS BIGINT) AS became FROM pair CROSS JOIN package p
        WHERE p.root = pair.root AND p.last >= pair.low AND p.last < pair.high AND p.first <= pair.low AND p.path > $3
            AND NOT EXISTS (
                SELECT 1 FROM package o
                WHERE o.repository = p.repository AND o.path = p.path AND +o.root = p.root AND o.mark = p.mark
                    AND o.first <= pair.high AND (o.last IS NULL OR o.last >= pair.high))
        UNION ALL
        SELECT p.path, CAST(NULL AS BIGINT), p.id FROM pair CROSS JOIN package p
        WHERE p.root = pair.root AND p.first > pair.low AND p.first <= pair.high
            AND (p.last IS NULL OR p.last >= pair.high) AND p.path > $3
            AND NOT EXISTS (
                SELECT 1 FROM package o
                WHERE o.repository = p.repository AND o.path = p.path AND +o.root = p.root AND o.mark = p.mark
                    AND o.first <= pair.low AND o.last >= pair.low)
    ), page AS (
        SELECT path, MIN(was) AS was, MIN(became) AS became FROM changed GROUP BY path ORDER BY path LIMIT $4
    ), side AS (
        SELECT was AS package FROM page WHERE was IS NOT NULL
        UNION ALL SELECT became FROM page WHERE became IS NOT NULL
    )
    SELECT p.id, r.repository AS root_repository, r.path AS root_path, p.path, p.name, p.version, p.arch, p.size, p.identity,
        p.first, p.last
    FROM side CROSS JOIN package p CROSS JOIN index_root r WHERE p.id = side.package AND r.id = p.root
    ORDER BY p.path, p.first";

/// A content of (repository, path, query key) by its identity or by either of two digests; the current one before past ones.
pub(super) const CONTENT: &str = concat!(
    "SELECT ",
    record!(),
    " FROM (
        SELECT ",
    record!(),
    ", 9223372036854775807 AS superseded_at FROM artifact WHERE repository = $1 AND path = $2 AND query_key = $3
        UNION ALL
        SELECT ",
    record!(),
    ", superseded_at FROM past_package WHERE repository = $1 AND path = $2 AND query_key = $3
    ) held
    WHERE identity = $4 OR sha256 = $5 OR sha256 = $6 ORDER BY superseded_at DESC, revision DESC LIMIT 1"
);

macro_rules! used_at {
    () => {
        "CASE WHEN u.last_used > a.stored_at THEN u.last_used ELSE a.stored_at END"
    };
}

macro_rules! coldest {
    ($which:literal) => {
        concat!(
            "SELECT a.repository, a.path, a.query, a.revision, a.blob, a.size, a.sha256, a.content_type, a.etag,
                a.upstream_last_modified, a.last_modified, a.stored_at, a.checked_at, a.identity, ",
            used_at!(),
            " AS used_at
            FROM artifact a LEFT JOIN artifact_use u ON u.artifact = a.id
            WHERE ",
            $which,
            "(",
            used_at!(),
            ", a.revision) > ($2, $3) AND NOT EXISTS (
                SELECT 1 FROM snapshot_file f JOIN snapshot s ON s.id = f.snapshot JOIN index_root r ON r.id = s.root
                WHERE f.blob = a.blob
                    AND (r.current = s.id OR EXISTS (SELECT 1 FROM snapshot_tag t WHERE t.snapshot = s.id)))
            ORDER BY used_at, a.revision LIMIT $1"
        )
    };
}

/// Held files, least recently used first: (limit, use and revision after).
pub(super) const COLDEST: &str = coldest!("");

/// The same of one repository: (limit, use and revision after, repository).
pub(super) const COLDEST_OF: &str = coldest!("a.repository = $4 AND ");

/// Begins to delete a draft: from here on it takes no packages and cannot be published.
pub(super) const GIVE_UP: &str =
    "UPDATE snapshot SET abandoned = 1 WHERE id = $1 AND published_at IS NULL RETURNING root";

/// Deletes packages of a draft that was given up: (root, draft, limit).
pub(super) const EMPTY_DRAFT: &str = "
    DELETE FROM package WHERE id IN (SELECT id FROM package WHERE root = $1 AND first = $2 LIMIT $3)";

/// Deletes what else there is of a draft.
pub(super) const DELETE_GONE: &str = "DELETE FROM package_gone WHERE draft = $1";

/// Deletes a draft that was given up and emptied.
pub(super) const DELETE_DRAFT: &str = "
    DELETE FROM snapshot WHERE id = $1 AND published_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM package p WHERE p.root = snapshot.root AND p.first = snapshot.id)";

/// Takes all tags of a repository away.
pub(super) const UNTAG_ALL: &str =
    "DELETE FROM snapshot_tag WHERE root IN (SELECT id FROM index_root WHERE repository = $1)";

/// Deletes packages of a repository, whatever names them: (repository, limit).
pub(super) const DELETE_PACKAGES: &str = "
    DELETE FROM package WHERE id IN (SELECT id FROM package WHERE repository = $1 LIMIT $2)";

/// Leaves the roots of a repository without a current snapshot, and then has all their snapshots be followed long ago.
pub(super) const LEAVE_ROOTS: [&str; 2] = [
    "UPDATE index_root SET current = NULL WHERE repository = $1 AND current IS NOT NULL",
    "UPDATE snapshot SET followed_at = 0
    WHERE root IN (SELECT id FROM index_root WHERE repository = $1) AND published_at IS NOT NULL
        AND (followed_at IS NULL OR followed_at > 0)",
];

/// Takes a tag away from (repository, path, tag).
pub(super) const UNTAG: &str = "
    DELETE FROM snapshot_tag
    WHERE root = (SELECT id FROM index_root WHERE repository = $1 AND path = $2) AND tag = $3";

/// What is put for a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// The statement that finds packages of the current snapshots of a repository, made of the parts that the question has, so
/// that each of them can use its index. `file_is` is the condition that a path ends in a file name, with `#` for it.
/// `None` when nothing can be found.
pub(super) fn search(
    repository: &RepositoryName,
    query: &PackageQuery,
    file_is: &'static str,
) -> Option<(String, Vec<Bound>)> {
    let mut sql = packages!().to_owned();
    sql.push_str("WHERE r.id = p.root AND p.last IS NULL AND p.first <= r.current AND p.repository = $1");
    let mut bound = vec![Bound::Text(repository.to_string())];
    let mut narrow = |condition: &str, value: Bound| {
        bound.push(value);
        sql.push_str(" AND ");
        sql.push_str(&condition.replace('#', &format!("${}", bound.len())));
    };
    let texts = [
        ("p.name = # AND substr(p.name, 1, 255) = substr(#, 1, 255)", query.name.as_deref()),
        ("p.version = #", query.version.as_deref()),
        ("p.arch = #", query.arch.as_deref()),
        (file_is, query.file.as_deref()),
        ("r.path = #", query.root.as_ref().map(artifactapi_formats::RepoPath::as_str)),
    ];
    for (condition, text) in texts {
        let Some(text) = text else { continue };
        if text.contains('\0') {
            return None; // no row holds one, and PostgreSQL takes none in a text
        }
        narrow(condition, Bound::Text(text.to_owned()));
    }
    if let Some(after) = query.after {
        narrow("p.id > #", Bound::Number(after.0));
    }
    bound.push(Bound::Number(i64::from(query.limit.min(ROWS))));
    sql.push_str(&format!(" ORDER BY p.id LIMIT ${}", bound.len()));
    Some((sql, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_asks_for_what_it_was_asked() {
        let repository = "alpine".parse().expect("a name");
        let query = PackageQuery { arch: Some("x86_64".into()), limit: 7, ..PackageQuery::default() };
        let (sql, bound) = search(&repository, &query, "").expect("a statement");
        assert!(sql.ends_with("p.repository = $1 AND p.arch = $2 ORDER BY p.id LIMIT $3"), "{sql}");
        assert_eq!(bound, [Bound::Text("alpine".into()), Bound::Text("x86_64".into()), Bound::Number(7)]);
        let hostile = PackageQuery { name: Some("a\0".into()), ..PackageQuery::default() };
        assert_eq!(search(&repository, &hostile, ""), None);
    }
}
