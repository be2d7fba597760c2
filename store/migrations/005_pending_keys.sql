-- +goose Up

-- A key that its account brought by itself, and that has not logged in yet.
ALTER TABLE account_keys ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
