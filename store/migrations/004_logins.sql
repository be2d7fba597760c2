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

-- Whose certificates let the members of a group in; options as those of
-- account_keys. A group need not have a row in groups.
CREATE TABLE group_authorities (
    group_name  TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    algorithm   TEXT    NOT NULL,
    blob        BLOB    NOT NULL,
    comment     TEXT    NOT NULL DEFAULT '',
    added       INTEGER NOT NULL,
    options     TEXT    NOT NULL,
    PRIMARY KEY (group_name, fingerprint)
) STRICT, WITHOUT ROWID;

-- A revocation list of OpenSSH (PROTOCOL.krl) for the members of a group.
CREATE TABLE group_revocations (
    group_name TEXT    PRIMARY KEY NOT NULL,
    list       BLOB    NOT NULL,
    added      INTEGER NOT NULL
) STRICT;
