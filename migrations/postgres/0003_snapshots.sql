-- Snapshots of index roots. See src/store/catalog/snapshots.rs, and for the tables migrations/sqlite/0002_snapshots.sql, which
-- has the same.

ALTER TABLE artifact ADD COLUMN identity TEXT COLLATE "C";

CREATE TABLE index_root (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    current BIGINT,             -- its current snapshot
    UNIQUE (repository, path)
);

-- A snapshot, or as long as it has no `published_at` the draft of one.
CREATE TABLE snapshot (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    root BIGINT NOT NULL REFERENCES index_root (id),
    follows BIGINT,             -- the root's current snapshot when the draft began
    begun_at BIGINT NOT NULL,
    abandoned INT NOT NULL DEFAULT 0, -- a draft that is being deleted, which may take a while
    published_at BIGINT,
    followed_at BIGINT,         -- when the next one was published
    made_at BIGINT,
    source TEXT NOT NULL DEFAULT '',
    packages BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX snapshot_root ON snapshot (root, id);
CREATE INDEX snapshot_published_at ON snapshot (root, published_at);

CREATE TABLE snapshot_tag (
    root BIGINT NOT NULL REFERENCES index_root (id),
    tag TEXT COLLATE "C" NOT NULL,
    snapshot BIGINT NOT NULL REFERENCES snapshot (id),
    PRIMARY KEY (root, tag)
);

CREATE INDEX snapshot_tag_snapshot ON snapshot_tag (snapshot);

-- The files of a snapshot as they were when it was published: rows of `artifact`, kept when that moves on.
CREATE TABLE snapshot_file (
    snapshot BIGINT NOT NULL REFERENCES snapshot (id),
    position BIGINT NOT NULL,   -- the entry is first
    repository TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    query TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    blob TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    sha256 BYTEA NOT NULL,
    content_type TEXT NOT NULL,
    etag TEXT,
    upstream_last_modified TEXT,
    last_modified BIGINT NOT NULL,
    stored_at BIGINT NOT NULL,
    checked_at BIGINT NOT NULL,
    identity TEXT COLLATE "C",
    PRIMARY KEY (snapshot, position)
);

CREATE INDEX snapshot_file_blob ON snapshot_file USING hash (blob);

-- A package that successive snapshots of a root name without a change: from `first` to `last`, which is NULL while the
-- current one does.
CREATE TABLE package (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository TEXT COLLATE "C" NOT NULL, -- the root's; here for the indexes
    root BIGINT NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    arch TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    identity TEXT COLLATE "C" NOT NULL,
    mark BYTEA NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT
) WITH (fillfactor = 95);

CREATE INDEX package_path ON package (repository, path);
-- A name may be longer than an index entry.
CREATE INDEX package_name ON package (repository, substr(name, 1, 255), id);
CREATE INDEX package_repository ON package (repository, id);
CREATE INDEX package_first ON package (root, first, id);
CREATE INDEX package_last ON package (root, last);

-- Which packages of the snapshot it follows a draft does not name.
CREATE TABLE package_gone (
    draft BIGINT NOT NULL,
    package BIGINT NOT NULL,
    PRIMARY KEY (draft, package)
);

-- Records of packages whose path stands for other content now: rows of `artifact`, taken out of the way.
CREATE TABLE past_package (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    query TEXT COLLATE "C" NOT NULL,
    query_key TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    blob TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    sha256 BYTEA NOT NULL,
    content_type TEXT NOT NULL,
    etag TEXT,
    upstream_last_modified TEXT,
    last_modified BIGINT NOT NULL,
    stored_at BIGINT NOT NULL,
    checked_at BIGINT NOT NULL,
    identity TEXT COLLATE "C",
    superseded_at BIGINT NOT NULL
);

CREATE INDEX past_package_path ON past_package (repository, path, query_key);
CREATE INDEX past_package_superseded_at ON past_package (repository, superseded_at);
CREATE INDEX past_package_blob ON past_package USING hash (blob);

-- What a snapshot or a past package names is no garbage, whoever leaves it behind, and nobody takes it, not even a replica of
-- the version before: triggers, so that no way to discard or take a blob can forget it. When its last name goes, it is
-- discarded again.
CREATE FUNCTION pass_over_named() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM snapshot_file WHERE blob = NEW.blob)
            OR EXISTS (SELECT 1 FROM past_package WHERE blob = NEW.blob) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER named_is_no_garbage BEFORE INSERT ON garbage
    FOR EACH ROW EXECUTE FUNCTION pass_over_named();
CREATE TRIGGER named_is_not_taken BEFORE UPDATE OF taken_at ON garbage
    FOR EACH ROW WHEN (NEW.taken_at IS NOT NULL) EXECUTE FUNCTION pass_over_named();

-- As migration 0002 has it, with an identity.
CREATE FUNCTION publish_artifact(
    new_repository TEXT, new_path TEXT, new_query TEXT, new_query_key TEXT, replaces BIGINT, new_blob TEXT, new_size BIGINT,
    new_sha256 BYTEA, new_content_type TEXT, new_etag TEXT, new_upstream_last_modified TEXT, new_last_modified BIGINT,
    new_stored_at BIGINT, new_checked_at BIGINT, rested BIGINT, new_identity TEXT
) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    won BIGINT;
    old_blob TEXT;
    freed garbage%ROWTYPE;
BEGIN
    -- A blob that is being deleted, or was a moment ago, may not be named. Its bytes, just written again, are garbage since it was
    -- taken: word that it is deleted may still come, and is not about them.
    UPDATE garbage SET deleted_at = NULL, since = GREATEST(since, taken_at + 1)
        WHERE blob = new_blob AND taken_at IS NOT NULL AND (deleted_at IS NULL OR deleted_at > rested);
    IF FOUND THEN
        RETURN -1;
    END IF;

    IF replaces IS NULL THEN
        INSERT INTO artifact (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
                upstream_last_modified, last_modified, stored_at, checked_at, identity)
            VALUES (new_repository, new_path, new_query, new_query_key, nextval('artifact_revision'), new_blob, new_size,
                new_sha256, new_content_type, new_etag, new_upstream_last_modified, new_last_modified, new_stored_at,
                new_checked_at, new_identity)
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
                    stored_at = new_stored_at, checked_at = new_checked_at, identity = new_identity
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

-- What replicas of the version before call: a record that they write has no identity, rather than the one before's.
CREATE OR REPLACE FUNCTION publish_artifact(
    new_repository TEXT, new_path TEXT, new_query TEXT, new_query_key TEXT, replaces BIGINT, new_blob TEXT, new_size BIGINT,
    new_sha256 BYTEA, new_content_type TEXT, new_etag TEXT, new_upstream_last_modified TEXT, new_last_modified BIGINT,
    new_stored_at BIGINT, new_checked_at BIGINT, rested BIGINT
) RETURNS BIGINT LANGUAGE plpgsql AS $$
BEGIN
    RETURN publish_artifact(new_repository, new_path, new_query, new_query_key, replaces, new_blob, new_size, new_sha256,
        new_content_type, new_etag, new_upstream_last_modified, new_last_modified, new_stored_at, new_checked_at, rested,
        NULL);
END $$;

-- Begins a draft. Its number is drawn while the root is held, so that drafts of a root are there in the order of their
-- numbers: a publication sees all that began before the one it publishes.
CREATE FUNCTION begin_snapshot(root_repository TEXT, root_path TEXT, at BIGINT, OUT draft BIGINT, OUT followed BIGINT)
LANGUAGE plpgsql AS $$
DECLARE
    held index_root%ROWTYPE;
BEGIN
    INSERT INTO index_root (repository, path) VALUES (root_repository, root_path) ON CONFLICT (repository, path) DO NOTHING;
    SELECT * INTO held FROM index_root WHERE repository = root_repository AND path = root_path FOR NO KEY UPDATE;
    followed := held.current;
    INSERT INTO snapshot (root, follows, begun_at) VALUES (held.id, followed, at) RETURNING id INTO draft;
END $$;
