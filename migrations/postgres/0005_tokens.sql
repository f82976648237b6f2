-- Tokens that clients present. Only their digests are kept: whoever reads this table can present none of them.
CREATE TABLE access_token (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never given twice: lines of the log name it
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    sha256 BYTEA NOT NULL UNIQUE,
    grants TEXT NOT NULL,                   -- as people write them: local-rpm=read,write *=read
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used BIGINT                        -- to the hour
);
