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

-- Keys that clients of an account offered and that it does not have.
CREATE TABLE account_offered_keys (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account     INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    fingerprint TEXT    NOT NULL,
    algorithm   TEXT    NOT NULL,
    blob        BLOB    NOT NULL,
    count       INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    source      TEXT    NOT NULL,
    UNIQUE (account, fingerprint)
) STRICT;

CREATE INDEX account_offered_keys_last ON account_offered_keys (last);
