-- +goose Up
-- The oldest program that can use the store, by the latest schema that it knows.
-- Migrations that take away what older programs use, or ask for more than they
-- write, raise it to their own number.
INSERT INTO meta (key, value) VALUES ('oldest_program', '6');
