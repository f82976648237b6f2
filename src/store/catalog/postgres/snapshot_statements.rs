//! The statements about snapshots that only PostgreSQL understands.

/// That a path ends in a file name.
pub(super) const FILE_IS: &str = "(p.path = # OR right(p.path, length(#) + 1) = '/' || #)";

/// Lists blobs as garbage before they are written. One that was listed before gets as long as the others. One that is being
/// deleted, or was a moment ago, has to be deleted again; one whose key has rested is like new.
pub(super) const STAGE: &str = "
    WITH staged AS (
        INSERT INTO garbage (blob, since) SELECT DISTINCT blob, $2::BIGINT FROM UNNEST($1::TEXT[]) AS t (blob) ORDER BY blob
        ON CONFLICT (blob) DO UPDATE SET
            since = CASE WHEN garbage.taken_at IS NULL OR garbage.deleted_at <= $3
                THEN GREATEST(garbage.since, excluded.since) ELSE garbage.since END,
            taken_at = CASE WHEN garbage.deleted_at <= $3 THEN NULL ELSE garbage.taken_at END,
            deleted_at = CASE WHEN garbage.deleted_at <= $3 THEN NULL ELSE garbage.deleted_at END
        RETURNING blob, taken_at
    )
    SELECT blob FROM staged WHERE taken_at IS NOT NULL";

/// Begins a draft: see `migrations/postgres/0003_snapshots.sql`.
pub(super) const BEGIN: &str = "SELECT draft, followed FROM begin_snapshot($1, $2, $3)";

/// Adds packages to a draft, which is held meanwhile, so that a publication that sweeps it away sees them all. A call that is
/// made again adds nothing. `OFFSET 0` keeps the planner from reading the whole table to learn that.
pub(super) const ADD_PACKAGES: &str = "
    WITH draft AS (
        SELECT s.id, s.root, r.repository FROM snapshot s JOIN index_root r ON r.id = s.root
        WHERE s.id = $1 AND s.published_at IS NULL AND s.abandoned = 0 FOR NO KEY UPDATE OF s
    )
    INSERT INTO package (repository, root, path, name, version, arch, size, identity, mark, first)
    SELECT draft.repository, draft.root, new.path, new.name, new.version, new.arch, new.size, new.identity, new.mark, draft.id
    FROM draft CROSS JOIN UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::BIGINT[], $7::TEXT[], $8::BYTEA[])
        AS new (path, name, version, arch, size, identity, mark)
    WHERE NOT EXISTS (
        SELECT 1 FROM package o
        WHERE o.repository = draft.repository AND o.path = new.path AND o.first = draft.id AND o.mark = new.mark OFFSET 0)";

/// Says what a draft does not name.
pub(super) const DROP_PACKAGES: &str = "
    WITH draft AS (
        SELECT id FROM snapshot WHERE id = $1 AND published_at IS NULL AND abandoned = 0 FOR NO KEY UPDATE
    )
    INSERT INTO package_gone (draft, package)
    SELECT draft.id, gone.package FROM draft CROSS JOIN UNNEST($2::BIGINT[]) AS gone (package)
    ON CONFLICT (draft, package) DO NOTHING";

/// Publishes by compare-and-set: see `migrations/postgres/0004_publish_snapshot.sql`.
pub(super) const PUBLISH_SNAPSHOT: &str = "
    SELECT outcome, number, leaving, replaced FROM publish_snapshot(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)";

/// What leaves many records as past contents of their paths, statement by statement: (repositories, paths, query keys, at). As for
/// one in `fragment_sql`.
pub(super) const PAST_OF_MANY: [&str; 2] = [
    "UPDATE past_package q SET superseded_at = $4
     FROM UNNEST($1::TEXT[], $2::TEXT[], $3::TEXT[]) AS told (repository, path, query_key)
        JOIN artifact a USING (repository, path, query_key)
     WHERE q.repository = a.repository AND q.path = a.path AND q.query_key = a.query_key AND q.blob = a.blob
        AND q.superseded_at < $4",
    "INSERT INTO past_package (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
        upstream_last_modified, last_modified, stored_at, checked_at, identity, superseded_at)
     SELECT DISTINCT ON (a.id) a.repository, a.path, a.query, a.query_key, a.revision, a.blob, a.size, a.sha256,
        a.content_type, a.etag, a.upstream_last_modified, a.last_modified, a.stored_at, a.checked_at, a.identity, $4::BIGINT
     FROM UNNEST($1::TEXT[], $2::TEXT[], $3::TEXT[]) AS told (repository, path, query_key)
        JOIN artifact a USING (repository, path, query_key)
     WHERE NOT EXISTS (
        SELECT 1 FROM past_package q
        WHERE q.repository = a.repository AND q.path = a.path AND q.query_key = a.query_key AND q.blob = a.blob)",
];

/// Removes the records of what are past contents by now: (repositories, paths, query keys, revisions). They are locked in the order
/// in which everybody locks several, so that two cannot wait for each other.
pub(super) const RETIRE_MANY: &str = "
    WITH held AS MATERIALIZED (
        SELECT a.id FROM UNNEST($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::BIGINT[]) AS told (repository, path, query_key, revision)
            JOIN artifact a USING (repository, path, query_key)
        WHERE a.revision = told.revision ORDER BY a.id FOR UPDATE OF a
    )
    DELETE FROM artifact USING held WHERE artifact.id = held.id";

/// Gives a snapshot a tag. It is held meanwhile, so that it cannot expire at the same moment.
pub(super) const TAG: &str = "
    WITH held AS (SELECT id, root FROM snapshot WHERE id = $1 AND published_at IS NOT NULL FOR KEY SHARE)
    INSERT INTO snapshot_tag (root, tag, snapshot) SELECT root, $2, id FROM held
    ON CONFLICT (root, tag) DO UPDATE SET snapshot = excluded.snapshot";

/// Removes a part of what nobody needs any more: see `migrations/postgres/0004_publish_snapshot.sql`.
pub(super) const EXPIRE: &str = "SELECT snapshots, packages, past FROM expire_snapshots($1, $2, $3, $4, $5)";
