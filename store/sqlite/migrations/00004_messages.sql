-- +goose Up
-- What waits to be sent to people, and what became of it.
CREATE TABLE messages (
    id       TEXT PRIMARY KEY,
    lane     INTEGER NOT NULL,
    purpose  TEXT NOT NULL,
    ref      TEXT NOT NULL,
    user_id  TEXT REFERENCES users (id),
    data     BLOB NOT NULL,
    queued   INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    expires  INTEGER NOT NULL,
    claimed  INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    state    TEXT NOT NULL,
    failure  TEXT NOT NULL,
    version  INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_waiting ON messages (lane, due, id) WHERE state = 'waiting';
CREATE INDEX messages_about ON messages (purpose, ref, queued);
CREATE INDEX messages_of ON messages (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX messages_aging ON messages (expires);
