//! The statements about fragments that both databases understand word for word.

/// The newest snapshot that has a file: (repository, path).
pub(super) const NAMING: &str = "
    SELECT MAX(f.snapshot) FROM snapshot_file f JOIN snapshot s ON s.id = f.snapshot
    WHERE f.repository = $1 AND f.path = $2 AND s.published_at IS NOT NULL";

/// Notes a record as a past content: (repository, path, query key, at).
pub(super) const KEEP_PAST: &str = "
    INSERT INTO past_package (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
        upstream_last_modified, last_modified, stored_at, checked_at, identity, superseded_at)
    SELECT a.repository, a.path, a.query, a.query_key, a.revision, a.blob, a.size, a.sha256, a.content_type, a.etag,
        a.upstream_last_modified, a.last_modified, a.stored_at, a.checked_at, a.identity, $4
    FROM artifact a
    WHERE a.repository = $1 AND a.path = $2 AND a.query_key = $3 AND NOT EXISTS (
        SELECT 1 FROM past_package q
        WHERE q.repository = a.repository AND q.path = a.path AND q.query_key = a.query_key AND q.blob = a.blob)";

/// Notes that a record which is a past content already is one until later: (repository, path, query key, at).
pub(super) const RENEW_PAST: &str = "
    UPDATE past_package SET superseded_at = $4
    WHERE repository = $1 AND path = $2 AND query_key = $3 AND superseded_at < $4 AND blob = (
        SELECT a.blob FROM artifact a WHERE a.repository = $1 AND a.path = $2 AND a.query_key = $3)";

/// What leaves a record as a past content of its path, statement by statement.
pub(super) const PAST: [&str; 2] = [RENEW_PAST, KEEP_PAST];
