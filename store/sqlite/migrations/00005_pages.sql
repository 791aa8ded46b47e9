-- +goose Up
-- Everybody's are listed page by page, newest first.
CREATE INDEX sign_ons_newest ON sign_ons (started, id) WHERE ended = 0;
CREATE INDEX devices_newest ON devices (issued, id);
