-- Publication and expiry of snapshots, each in one round trip. Functions and not statements, because each of their statements
-- sees what was committed just before it. The planner is told to follow the indexes: what was just written is in no statistics.

-- Makes a draft the current snapshot of its root if that still follows `followed`. `outcome` is 1 when it is, 0 when the race
-- is lost or the draft is gone (`number` is the current snapshot), -1 when the blob `leaving` is being deleted. `replaced` are
-- the paths of packages whose records were taken out of the way.
CREATE FUNCTION publish_snapshot(
    root_repository TEXT, root_path TEXT, draft BIGINT, followed BIGINT, at BIGINT, new_made_at BIGINT, new_source TEXT,
    new_packages BIGINT, repositories TEXT[], paths TEXT[], queries TEXT[], query_keys TEXT[], blobs TEXT[], sizes BIGINT[],
    sha256s BYTEA[], content_types TEXT[], etags TEXT[], upstream_last_modifieds TEXT[], last_modifieds BIGINT[],
    stored_ats BIGINT[], checked_ats BIGINT[], identities TEXT[], rested BIGINT,
    OUT outcome INT, OUT number BIGINT, OUT leaving TEXT, OUT replaced TEXT[]
) LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    held index_root%ROWTYPE;
    old artifact%ROWTYPE;
    freed garbage%ROWTYPE;
    earlier BIGINT[];
    moved BIGINT[];
    n INT;
BEGIN
    SELECT * INTO held FROM index_root WHERE repository = root_repository AND path = root_path FOR UPDATE;
    number := held.current;
    PERFORM 1 FROM snapshot
        WHERE id = draft AND root = held.id AND follows IS NOT DISTINCT FROM followed AND published_at IS NULL
            AND abandoned = 0
        FOR UPDATE;
    IF NOT FOUND OR held.current IS DISTINCT FROM followed THEN
        -- The loser's bytes are in the store. Unless a record names them, nobody else ever will.
        INSERT INTO garbage (blob, since)
            SELECT DISTINCT ON (file.blob) file.blob, file.since FROM UNNEST(blobs, stored_ats) AS file (blob, since)
            WHERE NOT EXISTS (SELECT 1 FROM artifact WHERE artifact.blob = file.blob)
            ON CONFLICT (blob) DO NOTHING;
        outcome := 0;
        RETURN;
    END IF;

    -- Nothing may be undone for what can be known beforehand: the bytes of a blob that is leaving are garbage once more.
    FOR n IN 1 .. COALESCE(array_length(blobs, 1), 0) LOOP
        PERFORM 1 FROM artifact
            WHERE repository = repositories[n] AND path = paths[n] AND query_key = query_keys[n] AND sha256 = sha256s[n];
        IF NOT FOUND THEN
            UPDATE garbage SET deleted_at = NULL, since = GREATEST(since, taken_at + 1)
                WHERE blob = blobs[n] AND taken_at IS NOT NULL AND (deleted_at IS NULL OR deleted_at > rested);
            IF FOUND THEN
                outcome := -1;
                leaving := blobs[n];
                RETURN;
            END IF;
        END IF;
    END LOOP;

    -- In an order that is the same in every replica, so that two publications cannot wait for each other.
    FOR n IN SELECT file.n FROM UNNEST(repositories, paths, query_keys) WITH ORDINALITY AS file (r, p, q, n)
            ORDER BY file.r COLLATE "C", file.p COLLATE "C", file.q COLLATE "C", file.n LOOP
        SELECT * INTO old FROM artifact
            WHERE repository = repositories[n] AND path = paths[n] AND query_key = query_keys[n] FOR NO KEY UPDATE;
        IF FOUND AND old.sha256 = sha256s[n] THEN
            UPDATE artifact SET checked_at = GREATEST(checked_at, checked_ats[n]), identity = COALESCE(identity, identities[n])
                WHERE id = old.id;
            INSERT INTO garbage (blob, since) SELECT blobs[n], stored_ats[n]
                WHERE NOT EXISTS (SELECT 1 FROM artifact WHERE blob = blobs[n])
                ON CONFLICT (blob) DO NOTHING;
        ELSE
            INSERT INTO artifact (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
                    upstream_last_modified, last_modified, stored_at, checked_at, identity)
                VALUES (repositories[n], paths[n], queries[n], query_keys[n], nextval('artifact_revision'), blobs[n], sizes[n],
                    sha256s[n], content_types[n], etags[n], upstream_last_modifieds[n], last_modifieds[n], stored_ats[n],
                    checked_ats[n], identities[n])
                ON CONFLICT (repository, path, query_key) DO UPDATE
                SET revision = excluded.revision, blob = excluded.blob, size = excluded.size, sha256 = excluded.sha256,
                    content_type = excluded.content_type, etag = excluded.etag,
                    upstream_last_modified = excluded.upstream_last_modified, last_modified = excluded.last_modified,
                    stored_at = excluded.stored_at, checked_at = excluded.checked_at, identity = excluded.identity;
            -- Waits for another replica that is just taking this blob. If it did, all that was done is undone.
            freed := NULL;
            DELETE FROM garbage WHERE blob = blobs[n] RETURNING * INTO freed;
            IF freed.taken_at IS NOT NULL AND (freed.deleted_at IS NULL OR freed.deleted_at > rested) THEN
                RAISE EXCEPTION 'the blob is being deleted' USING ERRCODE = 'AA001', DETAIL = blobs[n];
            END IF;
            IF old.blob <> blobs[n] THEN
                INSERT INTO garbage (blob, since) VALUES (old.blob, stored_ats[n]) ON CONFLICT (blob) DO NOTHING;
            END IF;
        END IF;
        INSERT INTO snapshot_file (snapshot, position, repository, path, query, revision, blob, size, sha256, content_type,
                etag, upstream_last_modified, last_modified, stored_at, checked_at, identity)
            SELECT draft, n, repository, path, query, revision, blob, size, sha256, content_type, etag,
                upstream_last_modified, last_modified, stored_at, checked_at, identity
            FROM artifact WHERE repository = repositories[n] AND path = paths[n] AND query_key = query_keys[n];
    END LOOP;

    -- Waits for whoever is just adding packages to an earlier draft.
    earlier := ARRAY(
        SELECT id FROM snapshot WHERE root = held.id AND published_at IS NULL AND id < draft ORDER BY id FOR UPDATE);
    DELETE FROM package WHERE root = held.id AND first = ANY (earlier);
    DELETE FROM package_gone WHERE package_gone.draft = ANY (earlier);
    DELETE FROM snapshot WHERE id = ANY (earlier);

    UPDATE package SET last = followed
        WHERE id IN (SELECT gone.package FROM package_gone gone WHERE gone.draft = publish_snapshot.draft)
            AND +root = held.id AND first <= followed AND last IS NULL;
    DELETE FROM package_gone WHERE package_gone.draft = publish_snapshot.draft;

    -- Strictly later than the one before, whatever the clock did.
    number := GREATEST(at, (SELECT published_at + 1 FROM snapshot WHERE id = followed));
    UPDATE snapshot SET published_at = number, made_at = new_made_at, source = new_source, packages = new_packages
        WHERE id = draft;
    UPDATE snapshot SET followed_at = number WHERE id = followed;
    UPDATE index_root SET current = draft WHERE id = held.id;

    -- A record contradicts by its SHA-256 if the index says that, by its identity if it is one of the same kind (what is
    -- before the hexadecimal digits), and otherwise if the snapshot before said something else of the path. They are locked in the
    -- order in which everybody locks several, so that two cannot wait for each other.
    moved := ARRAY(
        SELECT a.id FROM package p JOIN artifact a
            ON a.repository = p.repository AND a.path = p.path AND a.query_key = ''
        WHERE p.root = held.id AND p.first = draft AND CASE
            WHEN p.identity LIKE 'sha256:%' THEN p.identity <> 'sha256:' || encode(a.sha256, 'hex')
            WHEN rtrim(a.identity, '0123456789abcdef') = rtrim(p.identity, '0123456789abcdef') THEN a.identity <> p.identity
            ELSE EXISTS (
                SELECT 1 FROM package o
                WHERE o.repository = p.repository AND o.path = p.path AND +o.root = p.root AND o.last = followed
                    AND o.identity <> p.identity)
        END
        ORDER BY a.id FOR UPDATE OF a);
    INSERT INTO past_package (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
            upstream_last_modified, last_modified, stored_at, checked_at, identity, superseded_at)
        SELECT a.repository, a.path, a.query, a.query_key, a.revision, a.blob, a.size, a.sha256, a.content_type, a.etag,
            a.upstream_last_modified, a.last_modified, a.stored_at, a.checked_at,
            COALESCE(a.identity, (
                SELECT o.identity FROM package o
                WHERE o.repository = a.repository AND o.path = a.path AND +o.root = held.id AND o.last = followed
                    AND o.identity = 'sha256:' || encode(a.sha256, 'hex') LIMIT 1)), number
        FROM artifact a WHERE a.id = ANY (moved);
    WITH gone AS (DELETE FROM artifact WHERE id = ANY (moved) RETURNING path)
        SELECT COALESCE(ARRAY_AGG(gone.path), '{}') INTO replaced FROM gone;
    outcome := 1;
END $$;

-- Removes a part of what nobody needs any more: snapshots that were followed before a time and have no tag, one abandoned
-- draft, packages that no kept snapshot names, past contents from before the time that no tagged snapshot names.
CREATE FUNCTION expire_snapshots(
    of_repository TEXT, before BIGINT, now BIGINT, most_snapshots BIGINT, most BIGINT,
    OUT snapshots BIGINT, OUT packages BIGINT, OUT past BIGINT
) LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    old BIGINT[];
    given_up snapshot%ROWTYPE;
    file_blobs TEXT[];
    past_blobs TEXT[];
    n BIGINT;
BEGIN
    -- First held, then looked at: who was giving one a tag has done so, or will find it gone.
    old := ARRAY(
        SELECT s.id FROM index_root r JOIN snapshot s ON s.root = r.id
        WHERE r.repository = of_repository AND s.published_at IS NOT NULL AND s.followed_at < before
            AND NOT EXISTS (SELECT 1 FROM snapshot_tag t WHERE t.snapshot = s.id)
        LIMIT most_snapshots FOR UPDATE OF s SKIP LOCKED);
    old := ARRAY(
        SELECT s.id FROM UNNEST(old) AS s (id) WHERE NOT EXISTS (SELECT 1 FROM snapshot_tag t WHERE t.snapshot = s.id));
    WITH gone AS (DELETE FROM snapshot_file WHERE snapshot = ANY (old) RETURNING blob)
        SELECT ARRAY_AGG(gone.blob) INTO file_blobs FROM gone;
    DELETE FROM snapshot WHERE id = ANY (old);
    GET DIAGNOSTICS snapshots = ROW_COUNT;

    packages := 0;
    SELECT s.* INTO given_up FROM index_root r JOIN snapshot s ON s.root = r.id
        WHERE r.repository = of_repository AND s.published_at IS NULL AND (s.begun_at < before OR s.abandoned = 1)
        LIMIT 1 FOR UPDATE OF s SKIP LOCKED;
    IF FOUND THEN
        UPDATE snapshot SET abandoned = 1 WHERE id = given_up.id;
        DELETE FROM package WHERE id IN (
            SELECT p.id FROM package p WHERE p.root = given_up.root AND p.first = given_up.id LIMIT most);
        GET DIAGNOSTICS packages = ROW_COUNT;
        IF packages < most THEN
            DELETE FROM package_gone WHERE draft = given_up.id;
            DELETE FROM snapshot WHERE id = given_up.id;
            snapshots := snapshots + 1;
        END IF;
    END IF;

    DELETE FROM package WHERE id IN (
        SELECT p.id FROM index_root r JOIN package p ON p.root = r.id
        WHERE r.repository = of_repository AND p.last >= 0 AND NOT EXISTS (
            SELECT 1 FROM snapshot s
            WHERE s.root = p.root AND s.id >= p.first AND s.id <= p.last AND s.published_at IS NOT NULL)
        LIMIT most);
    GET DIAGNOSTICS n = ROW_COUNT;
    packages := packages + n;

    WITH gone AS (
        DELETE FROM past_package WHERE id IN (
            SELECT q.id FROM past_package q
            WHERE q.repository = of_repository AND q.superseded_at < before AND NOT EXISTS (
                SELECT 1 FROM package p JOIN snapshot_tag t ON t.root = p.root AND t.snapshot >= p.first
                WHERE p.repository = q.repository AND p.path = q.path AND (p.last IS NULL OR t.snapshot <= p.last)
                    AND CASE
                        WHEN p.identity LIKE 'sha256:%' THEN p.identity = 'sha256:' || encode(q.sha256, 'hex')
                        WHEN rtrim(q.identity, '0123456789abcdef') = rtrim(p.identity, '0123456789abcdef')
                            THEN q.identity = p.identity
                        ELSE TRUE
                    END)
            LIMIT most)
        RETURNING blob)
        SELECT COUNT(*), ARRAY_AGG(gone.blob) INTO past, past_blobs FROM gone;

    -- After the names are gone; the trigger passes over what still has another.
    INSERT INTO garbage (blob, since) SELECT DISTINCT u.blob, now FROM UNNEST(file_blobs || past_blobs) AS u (blob)
        WHERE NOT EXISTS (SELECT 1 FROM artifact WHERE artifact.blob = u.blob)
        ON CONFLICT (blob) DO NOTHING;
END $$;
