-- +goose Up
-- Sign-in names and e-mail addresses that users gave up.
CREATE TABLE former_names (
    name     TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    given_up INTEGER NOT NULL,
    PRIMARY KEY (name, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX former_names_aging ON former_names (given_up);
