-- +goose Up
-- Times are microseconds since 1970 in UTC, 0 where there is none; durations
-- are microseconds too.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How many transactions have changed sign-ons, users, credentials or devices.
CREATE TABLE position (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO position (only, value) VALUES (1, 0);

CREATE TABLE users (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    email        TEXT NOT NULL,
    groups       TEXT NOT NULL,
    status       TEXT NOT NULL,
    new_password INTEGER NOT NULL,
    created      INTEGER NOT NULL,
    version      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX users_email ON users (email) WHERE email <> '';

CREATE TABLE credentials (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES users (id),
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    secret       BLOB NOT NULL,
    state        TEXT NOT NULL,
    created      INTEGER NOT NULL,
    last_used    INTEGER NOT NULL,
    last_used_on TEXT NOT NULL,
    held_until   INTEGER NOT NULL,
    realm        TEXT NOT NULL,
    version      INTEGER NOT NULL
) STRICT;
CREATE INDEX credentials_of ON credentials (user_id, created, id);

CREATE TABLE sign_ons (
    id             TEXT PRIMARY KEY,
    user_id        TEXT NOT NULL REFERENCES users (id),
    started        INTEGER NOT NULL,
    expires        INTEGER NOT NULL,
    idle           INTEGER NOT NULL,
    last_seen      INTEGER NOT NULL,
    ended          INTEGER NOT NULL,
    end_reason     TEXT NOT NULL,
    proofs         TEXT NOT NULL,
    portal_session TEXT NOT NULL,
    address        TEXT NOT NULL,
    user_agent     TEXT NOT NULL,
    shared         INTEGER NOT NULL,
    version        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_ons_of ON sign_ons (user_id, started);
CREATE INDEX sign_ons_expiring ON sign_ons (expires);
CREATE INDEX sign_ons_over ON sign_ons (expires) WHERE ended = 0;
CREATE INDEX sign_ons_ended ON sign_ons (ended) WHERE ended <> 0;

CREATE TABLE records (
    namespace TEXT NOT NULL,
    key       TEXT NOT NULL,
    owner     TEXT NOT NULL,
    value     BLOB NOT NULL,
    expires   INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    PRIMARY KEY (namespace, key)
) STRICT;
CREATE INDEX records_expiring ON records (expires);
CREATE INDEX records_of ON records (owner, namespace) WHERE owner <> '';

CREATE TABLE attempts (
    scope    TEXT NOT NULL,
    key      TEXT NOT NULL,
    failures INTEGER NOT NULL,
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_newest ON attempts (scope, last DESC, key);
CREATE INDEX attempts_aging ON attempts (last);

CREATE TABLE browsers (
    id             TEXT PRIMARY KEY,
    user_id        TEXT NOT NULL REFERENCES users (id),
    token_hash     TEXT NOT NULL,
    user_agent     TEXT NOT NULL,
    created        INTEGER NOT NULL,
    last_seen      INTEGER NOT NULL,
    remembered     INTEGER NOT NULL,
    remembered_for TEXT NOT NULL,
    UNIQUE (user_id, token_hash)
) STRICT;
CREATE INDEX browsers_aging ON browsers (last_seen);

CREATE TABLE devices (
    id            TEXT PRIMARY KEY,
    user_id       TEXT NOT NULL REFERENCES users (id),
    name          TEXT NOT NULL,
    certificate   TEXT NOT NULL UNIQUE,
    serial        TEXT NOT NULL,
    issuer        TEXT NOT NULL,
    issued        INTEGER NOT NULL,
    expires       INTEGER NOT NULL,
    revoked       INTEGER NOT NULL,
    revoke_reason TEXT NOT NULL,
    last_seen     INTEGER NOT NULL,
    version       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX devices_of ON devices (user_id, issued);
CREATE INDEX devices_expiring ON devices (expires);

CREATE TABLE barred_certificates (
    certificate TEXT PRIMARY KEY,
    expires     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX barred_certificates_expiring ON barred_certificates (expires);

-- AUTOINCREMENT, so that the id of a swept event never comes back.
CREATE TABLE events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    name    TEXT NOT NULL,
    user_id TEXT NOT NULL,
    fields  TEXT NOT NULL
) STRICT;
CREATE INDEX events_aging ON events (at);
CREATE INDEX events_of ON events (user_id);
CREATE INDEX events_named ON events (name);
