-- +goose Up
-- The CA's certificates from which devices were issued, in DER.
CREATE TABLE issuers (
    fingerprint TEXT PRIMARY KEY,
    certificate BLOB NOT NULL,
    expires     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX issuers_expiring ON issuers (expires);
