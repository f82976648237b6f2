-- What packages of our own contribute to the lists of their index. See src/store/catalog/fragments.rs.
CREATE TABLE fragment (
    root BIGINT NOT NULL REFERENCES index_root (id),
    mark BYTEA NOT NULL,        -- as in `package`
    added_at BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (root, mark)
);
-- They are compressed already.
ALTER TABLE fragment ALTER COLUMN body SET STORAGE EXTERNAL;

-- Which snapshots have a file.
CREATE INDEX snapshot_file_path ON snapshot_file (repository, path, snapshot);
