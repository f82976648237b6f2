//! The statements that only PostgreSQL understands.

/// Publishes by compare-and-set: see `migrations/postgres/0003_snapshots.sql`.
pub(super) const PUBLISH: &str =
    "SELECT publish_artifact($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

/// Removes a record of a known revision; whether there was one.
pub(super) const REMOVE: &str = "
    WITH gone AS (
        DELETE FROM artifact WHERE repository = $1 AND path = $2 AND query_key = $3 AND revision = $4 RETURNING blob
    ), left_behind AS (
        INSERT INTO garbage (blob, since) SELECT blob, $5 FROM gone ON CONFLICT (blob) DO NOTHING
    )
    SELECT EXISTS (SELECT 1 FROM gone)";

/// Adds up uses of what has a record. The records are held while their counts are written, in an order that is the same
/// in every replica: nobody can remove one in between, and two replicas cannot wait for each other.
pub(super) const RECORD_USES: &str = "
    WITH told AS (
        SELECT repository, path, query_key, SUM(uses)::BIGINT AS uses, MAX(last_used) AS last_used
        FROM UNNEST($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[])
            AS t (repository, path, query_key, uses, last_used)
        GROUP BY repository, path, query_key
    ), held AS (
        SELECT artifact.id, told.uses, told.last_used
        FROM told JOIN artifact USING (repository, path, query_key)
        ORDER BY artifact.id FOR KEY SHARE OF artifact
    )
    INSERT INTO artifact_use AS counted (artifact, uses, last_used)
    SELECT id, uses, last_used FROM held ORDER BY id
    ON CONFLICT (artifact) DO UPDATE
    SET uses = counted.uses + excluded.uses, last_used = GREATEST(counted.last_used, excluded.last_used)";

/// Takes what is due. Passes over what another replica is just taking or publishing, and forgets what is named again: by a
/// record, a snapshot's file or a past package.
pub(super) const TAKE_GARBAGE: &str = "
    WITH due AS (
        SELECT blob FROM garbage
        WHERE since < $1 AND deleted_at IS NULL AND (taken_at IS NULL OR taken_at < $1)
        ORDER BY since LIMIT $2 FOR UPDATE SKIP LOCKED
    ), told AS MATERIALIZED (
        SELECT blob, EXISTS (SELECT 1 FROM artifact WHERE artifact.blob = due.blob)
            OR EXISTS (SELECT 1 FROM snapshot_file WHERE snapshot_file.blob = due.blob)
            OR EXISTS (SELECT 1 FROM past_package WHERE past_package.blob = due.blob) AS named
        FROM due
    ), forgotten AS (
        DELETE FROM garbage USING told WHERE garbage.blob = told.blob AND told.named
    )
    UPDATE garbage SET taken_at = $3 FROM told WHERE garbage.blob = told.blob AND NOT told.named
    RETURNING garbage.blob";

/// The blobs are gone; their keys rest. What became garbage since it was taken may have been written after it was deleted.
pub(super) const GARBAGE_DELETED: &str =
    "UPDATE garbage SET deleted_at = $2 WHERE blob = ANY($1) AND since <= taken_at";
