-- +goose Up
-- What programs carry in place of a person's session.
CREATE TABLE access_tokens (
    id        TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    selector  TEXT NOT NULL UNIQUE,
    hash      TEXT NOT NULL,
    groups    TEXT NOT NULL,
    scope     BLOB NOT NULL,
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    revoked   INTEGER NOT NULL,
    suspended INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX access_tokens_named ON access_tokens (name) WHERE revoked = 0;
CREATE INDEX access_tokens_aging ON access_tokens (expires);
