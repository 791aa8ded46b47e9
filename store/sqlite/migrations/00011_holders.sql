-- +goose Up
-- Credentials that are kept in one place, such as a phone, have the same holder.
-- Older programs would remove a phone and leave its one-time codes valid.
ALTER TABLE credentials ADD COLUMN holder TEXT NOT NULL DEFAULT '';
UPDATE meta SET value = '11' WHERE key = 'oldest_program';
