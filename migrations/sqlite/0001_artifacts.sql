-- Records of artifacts. Times are milliseconds since 1970. Text compares byte by byte (BINARY), as in PostgreSQL's "C".
-- A migration only adds, so that a server of the version before still works on the result.

-- The next revision: one count for all targets, so that no value comes twice, not even after a removal.
CREATE TABLE artifact_revision (
    last INTEGER NOT NULL
) STRICT;
INSERT INTO artifact_revision (last) VALUES (0);

CREATE TABLE artifact (
    id INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,
    path TEXT NOT NULL,
    query TEXT NOT NULL,
    query_key TEXT NOT NULL,    -- the query, a long one cut short and ended with its digest: what fits into an index
    revision INTEGER NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    content_type TEXT NOT NULL,
    etag TEXT,                  -- as upstream sent it
    upstream_last_modified TEXT,
    last_modified INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    checked_at INTEGER NOT NULL,
    UNIQUE (repository, path, query_key)
) STRICT;

CREATE INDEX artifact_blob ON artifact (blob);

-- Apart from the records, so that counting does not rewrite them.
CREATE TABLE artifact_use (
    artifact INTEGER PRIMARY KEY REFERENCES artifact (id) ON DELETE CASCADE,
    uses INTEGER NOT NULL,
    last_used INTEGER NOT NULL
) STRICT;

-- Blobs that lost their record.
CREATE TABLE garbage (
    blob TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    taken_at INTEGER,           -- being deleted from the store since then
    deleted_at INTEGER          -- deleted; the key rests until nobody can be about to name it
) STRICT, WITHOUT ROWID;

CREATE INDEX garbage_since ON garbage (since) WHERE deleted_at IS NULL;
CREATE INDEX garbage_deleted_at ON garbage (deleted_at) WHERE deleted_at IS NOT NULL;

-- Totals, kept by triggers so that no way to change a record can forget them.
CREATE TABLE repository_total (
    repository TEXT PRIMARY KEY,
    artifacts INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER artifact_inserted AFTER INSERT ON artifact BEGIN
    INSERT INTO repository_total (repository, artifacts, bytes) VALUES (new.repository, 1, new.size)
    ON CONFLICT (repository) DO UPDATE SET artifacts = artifacts + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER artifact_resized AFTER UPDATE OF size ON artifact WHEN old.size <> new.size BEGIN
    UPDATE repository_total SET bytes = bytes + new.size - old.size WHERE repository = new.repository;
END;

CREATE TRIGGER artifact_deleted AFTER DELETE ON artifact BEGIN
    UPDATE repository_total SET artifacts = artifacts - 1, bytes = bytes - old.size WHERE repository = old.repository;
END;
