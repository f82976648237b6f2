//! The statements that both databases understand word for word.

/// The current record of (repository, path, query key).
pub(super) const LOOKUP: &str = "
    SELECT repository, path, query, revision, blob, size, sha256, content_type, etag, upstream_last_modified,
        last_modified, stored_at, checked_at, identity
    FROM artifact WHERE repository = $1 AND path = $2 AND query_key = $3";

/// A page: from (repository, path, query key) to (repository, path), at most so many.
pub(super) const LIST: &str = "
    SELECT repository, path, query, revision, blob, size, sha256, content_type, etag, upstream_last_modified,
        last_modified, stored_at, checked_at, identity
    FROM artifact
    WHERE (repository, path, query_key) >= ($1, $2, $3) AND (repository, path) < ($4, $5)
    ORDER BY repository, path, query_key LIMIT $6";

/// Notes a revalidation. An older one than what is known changes nothing, but finds its row. One that is older by more than `$8` is
/// the newer one: what is known is from a clock that was ahead.
pub(super) const TOUCH: &str = "
    UPDATE artifact SET
        etag = CASE WHEN $5 >= checked_at OR checked_at > $5 + $8 THEN $6 ELSE etag END,
        upstream_last_modified = CASE WHEN $5 >= checked_at OR checked_at > $5 + $8 THEN $7 ELSE upstream_last_modified END,
        checked_at = CASE WHEN $5 >= checked_at OR checked_at > $5 + $8 THEN $5 ELSE checked_at END
    WHERE repository = $1 AND path = $2 AND query_key = $3 AND revision = $4";

/// Artifacts and bytes of a repository.
pub(super) const TOTALS: &str = "
    SELECT CAST(COALESCE(SUM(artifacts), 0) AS BIGINT), CAST(COALESCE(SUM(bytes), 0) AS BIGINT)
    FROM repository_total WHERE repository = $1";

/// The repositories that hold anything.
pub(super) const REPOSITORIES: &str = "
    SELECT repository FROM repository_total GROUP BY repository HAVING SUM(artifacts) > 0 ORDER BY repository";

/// Whether a blob is garbage that was not deleted yet.
pub(super) const IS_GARBAGE: &str = "SELECT EXISTS (SELECT 1 FROM garbage WHERE blob = $1 AND deleted_at IS NULL)";

/// Lets keys go that have rested long enough.
pub(super) const FORGET_RESTED: &str = "DELETE FROM garbage WHERE deleted_at <= $1";
