-- What packages of our own contribute to the lists of their index. See src/store/catalog/fragments.rs.
CREATE TABLE fragment (
    root INTEGER NOT NULL REFERENCES index_root (id),
    mark BLOB NOT NULL,         -- as in `package`
    added_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (root, mark)
) STRICT, WITHOUT ROWID;

-- Which snapshots have a file.
CREATE INDEX snapshot_file_path ON snapshot_file (repository, path, snapshot);
