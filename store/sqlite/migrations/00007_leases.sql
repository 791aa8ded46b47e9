-- +goose Up
-- Work that one node does, which one does it, and until when.
CREATE TABLE leases (
    work   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
