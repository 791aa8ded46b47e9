-- +goose Up
-- The incarnations that the store had before renewals.
CREATE TABLE former_lives (
    incarnation TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
