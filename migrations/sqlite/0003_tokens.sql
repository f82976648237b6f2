-- Tokens that clients present. Only their digests are kept: whoever reads this table can present none of them.
CREATE TABLE access_token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given twice: lines of the log name it
    name TEXT NOT NULL UNIQUE,
    sha256 BLOB NOT NULL UNIQUE,
    grants TEXT NOT NULL,                   -- as people write them: local-rpm=read,write *=read
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used INTEGER                       -- to the hour
) STRICT;
