-- +goose Up
-- Whose app password a token is, who answers for one of a service, the hash that it
-- had before it was renewed, and its use. Older programs would take an app password
-- for the token of a service.
ALTER TABLE access_tokens ADD COLUMN user_id TEXT REFERENCES users (id);
ALTER TABLE access_tokens ADD COLUMN owner_id TEXT NOT NULL DEFAULT '';
ALTER TABLE access_tokens ADD COLUMN unowned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE access_tokens ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE access_tokens ADD COLUMN former_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE access_tokens ADD COLUMN former_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE access_tokens ADD COLUMN last_used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE access_tokens ADD COLUMN networks TEXT NOT NULL DEFAULT '';
DROP INDEX access_tokens_named;
CREATE UNIQUE INDEX access_tokens_named ON access_tokens (coalesce(user_id, ''), name) WHERE revoked = 0;
CREATE INDEX access_tokens_of ON access_tokens (user_id) WHERE user_id IS NOT NULL;
UPDATE meta SET value = '12' WHERE key = 'oldest_program';
