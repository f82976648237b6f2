-- Publication by compare-and-set in one round trip. A function and not one statement, because each of its statements sees
-- what was committed just before it: that is what makes the look at `garbage` below reliable.
--
-- Answers the new revision, 0 when the race is lost, -1 when the blob is being deleted.
CREATE FUNCTION publish_artifact(
    new_repository TEXT, new_path TEXT, new_query TEXT, new_query_key TEXT, replaces BIGINT, new_blob TEXT, new_size BIGINT,
    new_sha256 BYTEA, new_content_type TEXT, new_etag TEXT, new_upstream_last_modified TEXT, new_last_modified BIGINT,
    new_stored_at BIGINT, new_checked_at BIGINT, rested BIGINT
) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    won BIGINT;
    old_blob TEXT;
    freed garbage%ROWTYPE;
BEGIN
    -- A blob that is being deleted, or was a moment ago, may not be named. Its bytes, just written again, are garbage.
    UPDATE garbage SET deleted_at = NULL
        WHERE blob = new_blob AND taken_at IS NOT NULL AND (deleted_at IS NULL OR deleted_at > rested);
    IF FOUND THEN
        RETURN -1;
    END IF;

    IF replaces IS NULL THEN
        INSERT INTO artifact (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
                upstream_last_modified, last_modified, stored_at, checked_at)
            VALUES (new_repository, new_path, new_query, new_query_key, nextval('artifact_revision'), new_blob, new_size,
                new_sha256, new_content_type, new_etag, new_upstream_last_modified, new_last_modified, new_stored_at,
                new_checked_at)
            ON CONFLICT (repository, path, query_key) DO NOTHING
            RETURNING revision INTO won;
    ELSE
        SELECT blob INTO old_blob FROM artifact
            WHERE repository = new_repository AND path = new_path AND query_key = new_query_key AND revision = replaces
            FOR NO KEY UPDATE;
        IF FOUND THEN
            UPDATE artifact SET revision = nextval('artifact_revision'), blob = new_blob, size = new_size,
                    sha256 = new_sha256, content_type = new_content_type, etag = new_etag,
                    upstream_last_modified = new_upstream_last_modified, last_modified = new_last_modified,
                    stored_at = new_stored_at, checked_at = new_checked_at
                WHERE repository = new_repository AND path = new_path AND query_key = new_query_key
                RETURNING revision INTO won;
        END IF;
    END IF;

    IF won IS NULL THEN
        -- The loser's bytes are in the store. Unless the winner wrote the same key, nobody else will ever name them.
        INSERT INTO garbage (blob, since) SELECT new_blob, new_stored_at
            WHERE NOT EXISTS (SELECT 1 FROM artifact WHERE blob = new_blob)
            ON CONFLICT (blob) DO NOTHING;
        RETURN 0;
    END IF;

    -- Waits for another replica that is just taking this blob. If it did, what was done above is undone.
    DELETE FROM garbage WHERE blob = new_blob RETURNING * INTO freed;
    IF freed.taken_at IS NOT NULL AND (freed.deleted_at IS NULL OR freed.deleted_at > rested) THEN
        RAISE EXCEPTION 'the blob is being deleted' USING ERRCODE = 'AA001';
    END IF;
    IF old_blob <> new_blob THEN
        INSERT INTO garbage (blob, since) VALUES (old_blob, new_stored_at) ON CONFLICT (blob) DO NOTHING;
    END IF;
    RETURN won;
END $$;
