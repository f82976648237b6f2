-- Which packages have a fragment.
CREATE INDEX package_mark ON package (root, mark);

-- Takes away the records of what a snapshot, published in this transaction, has no more, and keeps them as past contents. A
-- record that the current snapshot of another root names stays. `gone` are the paths of those that went.
CREATE FUNCTION retire_removed(of_repository TEXT, removed TEXT[], at BIGINT, OUT gone TEXT[])
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    going BIGINT[];
    blobs TEXT[];
BEGIN
    -- In the order in which publications take records.
    going := ARRAY(
        SELECT a.id FROM artifact a
        WHERE a.repository = of_repository AND a.path = ANY (removed) AND a.query_key = '' AND NOT EXISTS (
            SELECT 1 FROM package p JOIN index_root r ON r.id = p.root
            WHERE p.repository = a.repository AND p.path = a.path AND p.last IS NULL AND p.first <= r.current)
        ORDER BY a.path FOR UPDATE OF a);
    UPDATE past_package q SET superseded_at = GREATEST(q.superseded_at, at) FROM artifact a
        WHERE a.id = ANY (going) AND q.repository = a.repository AND q.path = a.path AND q.query_key = a.query_key
            AND q.blob = a.blob;
    INSERT INTO past_package (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
            upstream_last_modified, last_modified, stored_at, checked_at, identity, superseded_at)
        SELECT a.repository, a.path, a.query, a.query_key, a.revision, a.blob, a.size, a.sha256, a.content_type, a.etag,
            a.upstream_last_modified, a.last_modified, a.stored_at, a.checked_at, a.identity, at
        FROM artifact a
        WHERE a.id = ANY (going) AND NOT EXISTS (
            SELECT 1 FROM past_package q
            WHERE q.repository = a.repository AND q.path = a.path AND q.query_key = a.query_key AND q.blob = a.blob);
    WITH deleted AS (DELETE FROM artifact WHERE id = ANY (going) RETURNING path, blob)
        SELECT COALESCE(ARRAY_AGG(deleted.path), '{}'), ARRAY_AGG(deleted.blob) INTO gone, blobs FROM deleted;
    -- The trigger passes over what is named.
    INSERT INTO garbage (blob, since) SELECT DISTINCT u.blob, at FROM UNNEST(blobs) AS u (blob)
        WHERE NOT EXISTS (SELECT 1 FROM artifact WHERE artifact.blob = u.blob)
        ON CONFLICT (blob) DO NOTHING;
END $$;
