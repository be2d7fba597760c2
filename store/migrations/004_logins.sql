-- +goose Up

-- What limits a key: options of authorized_keys, one a line. A key whose options
-- cannot be read opens nothing.
ALTER TABLE account_keys ADD COLUMN options TEXT NOT NULL DEFAULT '';
