-- Snapshots of index roots. See src/store/catalog/snapshots.rs.

-- What the content was checked against, in the text form of an identity; NULL when that is not known.
ALTER TABLE artifact ADD COLUMN identity TEXT;

-- An index root, named by its entry file. A publication takes this row first.
CREATE TABLE index_root (
    id INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,
    path TEXT NOT NULL,
    current INTEGER,            -- its current snapshot
    UNIQUE (repository, path)
) STRICT;

-- A snapshot, or as long as it has no `published_at` the draft of one. AUTOINCREMENT: no number comes twice.
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    root INTEGER NOT NULL REFERENCES index_root (id),
    follows INTEGER,            -- the root's current snapshot when the draft began
    begun_at INTEGER NOT NULL,
    abandoned INTEGER NOT NULL DEFAULT 0, -- a draft that is being deleted, which may take a while
    published_at INTEGER,
    followed_at INTEGER,        -- when the next one was published
    made_at INTEGER,
    source TEXT NOT NULL DEFAULT '',
    packages INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX snapshot_root ON snapshot (root);
CREATE INDEX snapshot_published_at ON snapshot (root, published_at);

CREATE TABLE snapshot_tag (
    root INTEGER NOT NULL REFERENCES index_root (id),
    tag TEXT NOT NULL,
    snapshot INTEGER NOT NULL REFERENCES snapshot (id),
    PRIMARY KEY (root, tag)
) STRICT, WITHOUT ROWID;

CREATE INDEX snapshot_tag_snapshot ON snapshot_tag (snapshot);

-- The files of a snapshot as they were when it was published: rows of `artifact`, kept when that moves on.
CREATE TABLE snapshot_file (
    snapshot INTEGER NOT NULL REFERENCES snapshot (id),
    position INTEGER NOT NULL,  -- the entry is first
    repository TEXT NOT NULL,
    path TEXT NOT NULL,
    query TEXT NOT NULL,
    revision INTEGER NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    content_type TEXT NOT NULL,
    etag TEXT,
    upstream_last_modified TEXT,
    last_modified INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    checked_at INTEGER NOT NULL,
    identity TEXT,
    PRIMARY KEY (snapshot, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX snapshot_file_blob ON snapshot_file (blob);

-- A package that successive snapshots of a root name without a change: from `first` to `last`, which is NULL while the
-- current one does. Rows of a draft have a `first` greater than the current snapshot. When a draft is published, rows of
-- drafts that began earlier go away, so whoever names a row from `first` to `last` named it.
CREATE TABLE package (
    id INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,   -- the root's; here for the indexes
    root INTEGER NOT NULL,
    path TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    arch TEXT NOT NULL,
    size INTEGER NOT NULL,
    identity TEXT NOT NULL,
    mark BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER
) STRICT;

-- Each index also orders by the row's number.
CREATE INDEX package_path ON package (repository, path);
CREATE INDEX package_name ON package (repository, name);
CREATE INDEX package_repository ON package (repository);
CREATE INDEX package_first ON package (root, first);
CREATE INDEX package_last ON package (root, last);

-- Which packages of the snapshot it follows a draft does not name.
CREATE TABLE package_gone (
    draft INTEGER NOT NULL,
    package INTEGER NOT NULL,
    PRIMARY KEY (draft, package)
) STRICT, WITHOUT ROWID;

-- Records of packages whose path stands for other content now: rows of `artifact`, taken out of the way.
CREATE TABLE past_package (
    id INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,
    path TEXT NOT NULL,
    query TEXT NOT NULL,
    query_key TEXT NOT NULL,
    revision INTEGER NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    content_type TEXT NOT NULL,
    etag TEXT,
    upstream_last_modified TEXT,
    last_modified INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    checked_at INTEGER NOT NULL,
    identity TEXT,
    superseded_at INTEGER NOT NULL
) STRICT;

CREATE INDEX past_package_path ON past_package (repository, path, query_key);
CREATE INDEX past_package_superseded_at ON past_package (repository, superseded_at);
CREATE INDEX past_package_blob ON past_package (blob);

-- What a snapshot or a past package names is no garbage, whoever leaves it behind: a trigger, so that no way to discard a
-- blob can forget it. When its last name goes, it is discarded again.
CREATE TRIGGER named_is_no_garbage BEFORE INSERT ON garbage
    WHEN EXISTS (SELECT 1 FROM snapshot_file WHERE blob = new.blob)
        OR EXISTS (SELECT 1 FROM past_package WHERE blob = new.blob)
BEGIN
    SELECT RAISE(IGNORE);
END;
