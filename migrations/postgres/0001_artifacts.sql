-- Records of artifacts. Times are milliseconds since 1970. Text compares byte by byte (COLLATE "C"), as in SQLite.
-- A migration only adds, so that replicas of the version before still work on the result while an upgrade rolls.

-- One sequence for all targets, so that no value comes twice, not even after a removal.
CREATE SEQUENCE artifact_revision;

CREATE TABLE artifact (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    query TEXT COLLATE "C" NOT NULL,
    query_key TEXT COLLATE "C" NOT NULL,    -- the query, a long one cut short and ended with its digest: what fits into an index
    revision BIGINT NOT NULL,
    blob TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    sha256 BYTEA NOT NULL,
    content_type TEXT NOT NULL,
    etag TEXT,                              -- as upstream sent it
    upstream_last_modified TEXT,
    last_modified BIGINT NOT NULL,
    stored_at BIGINT NOT NULL,
    checked_at BIGINT NOT NULL,
    UNIQUE (repository, path, query_key)
) WITH (fillfactor = 85);                   -- room to note a revalidation without touching an index

CREATE INDEX artifact_blob ON artifact USING hash (blob);

-- Apart from the records, so that counting does not rewrite them.
CREATE TABLE artifact_use (
    artifact BIGINT PRIMARY KEY REFERENCES artifact (id) ON DELETE CASCADE,
    uses BIGINT NOT NULL,
    last_used BIGINT NOT NULL
) WITH (fillfactor = 85);

-- Blobs that lost their record.
CREATE TABLE garbage (
    blob TEXT COLLATE "C" PRIMARY KEY,
    since BIGINT NOT NULL,
    taken_at BIGINT,                        -- being deleted from the store since then
    deleted_at BIGINT                       -- deleted; the key rests until nobody can be about to name it
);

CREATE INDEX garbage_since ON garbage (since) WHERE deleted_at IS NULL;
CREATE INDEX garbage_deleted_at ON garbage (deleted_at) WHERE deleted_at IS NOT NULL;

-- Totals, kept by triggers so that no way to change a record can forget them. Each repository has a few rows, of which a
-- connection changes one: writers of one repository rarely wait for each other.
CREATE TABLE repository_total (
    repository TEXT COLLATE "C" NOT NULL,
    stripe INT NOT NULL,
    artifacts BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (repository, stripe)
) WITH (fillfactor = 50);

CREATE FUNCTION count_artifacts() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    sign INT := CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END;
BEGIN
    INSERT INTO repository_total AS total (repository, stripe, artifacts, bytes)
        SELECT repository, pg_backend_pid() % 16, sign * COUNT(*), sign * SUM(size)::BIGINT
        FROM changed GROUP BY repository ORDER BY repository
        ON CONFLICT (repository, stripe) DO UPDATE
        SET artifacts = total.artifacts + excluded.artifacts, bytes = total.bytes + excluded.bytes;
    RETURN NULL;
END $$;

CREATE TRIGGER artifact_inserted AFTER INSERT ON artifact
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_artifacts();
CREATE TRIGGER artifact_deleted AFTER DELETE ON artifact
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_artifacts();

CREATE FUNCTION count_resized_artifact() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO repository_total AS total (repository, stripe, artifacts, bytes)
        VALUES (NEW.repository, pg_backend_pid() % 16, 0, NEW.size - OLD.size)
        ON CONFLICT (repository, stripe) DO UPDATE SET bytes = total.bytes + excluded.bytes;
    RETURN NULL;
END $$;

CREATE TRIGGER artifact_resized AFTER UPDATE OF size ON artifact
    FOR EACH ROW WHEN (OLD.size <> NEW.size) EXECUTE FUNCTION count_resized_artifact();
