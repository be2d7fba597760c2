-- +goose Up

-- What limits a key: options of authorized_keys, one a line. A key whose options
-- cannot be read opens nothing.
ALTER TABLE account_keys ADD COLUMN options TEXT NOT NULL DEFAULT '';

-- The secret of an account's one-time codes. used_step is the last step whose code
-- was taken; no code of it or of one before it is taken again.
CREATE TABLE account_totp (
    account   INTEGER PRIMARY KEY NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    secret    BLOB    NOT NULL,
    used_step INTEGER NOT NULL,
    added     INTEGER NOT NULL
) STRICT;
