-- +goose Up
-- A device has several certificates, and may be nobody's yet. Older programs would
-- take a pending or suspended device for an active one.
CREATE TABLE new_devices (
    id            TEXT PRIMARY KEY,
    user_id       TEXT REFERENCES users (id),
    name          TEXT NOT NULL,
    state         TEXT NOT NULL,
    machine       TEXT NOT NULL,
    system        TEXT NOT NULL,
    agent         TEXT NOT NULL,
    protection    TEXT NOT NULL,
    via           TEXT NOT NULL,
    replaces      TEXT NOT NULL,
    -- Of the certificate that was issued last.
    certificate   TEXT NOT NULL UNIQUE,
    issued        INTEGER NOT NULL,
    expires       INTEGER NOT NULL,
    revoked       INTEGER NOT NULL,
    revoke_reason TEXT NOT NULL,
    last_seen     INTEGER NOT NULL,
    version       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE device_certificates (
    certificate TEXT PRIMARY KEY,
    device_id   TEXT NOT NULL REFERENCES new_devices (id) ON DELETE CASCADE,
    key         TEXT NOT NULL,
    der         BLOB NOT NULL,
    previous    TEXT NOT NULL,
    serial      TEXT NOT NULL,
    issuer      TEXT NOT NULL,
    issued      INTEGER NOT NULL,
    expires     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO new_devices
    SELECT id, user_id, name, 'active', '', '', '', '', '', '', certificate, issued, expires, revoked, revoke_reason, last_seen, version
    FROM devices;
INSERT INTO device_certificates
    SELECT certificate, id, '', x'', '', serial, issuer, issued, expires FROM devices;
DROP TABLE devices;
ALTER TABLE new_devices RENAME TO devices;

CREATE INDEX devices_of ON devices (user_id, issued) WHERE user_id IS NOT NULL;
CREATE INDEX devices_expiring ON devices (expires);
CREATE INDEX devices_newest ON devices (issued, id);
CREATE INDEX devices_pending ON devices (issued) WHERE state = 'pending';
CREATE INDEX devices_revoked ON devices (revoked);
CREATE INDEX device_certificates_of ON device_certificates (device_id, issued);
CREATE INDEX device_certificates_expiring ON device_certificates (expires);
CREATE UNIQUE INDEX device_certificates_keys ON device_certificates (key) WHERE issuer = '' AND key <> '';
UPDATE meta SET value = '13' WHERE key = 'oldest_program';
