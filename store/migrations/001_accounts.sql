-- +goose Up

-- Marks the file as the gateway's ("GWay"); store.Open refuses any other.
PRAGMA application_id = 0x47576179;

-- Values that belong to the installation, such as keys made once.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;

-- Times are microseconds since 1970, UTC, everywhere.
CREATE TABLE accounts (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT    NOT NULL UNIQUE,
    disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    route    TEXT    NOT NULL DEFAULT '',
    created  INTEGER NOT NULL,
    changed  INTEGER NOT NULL
) STRICT;

CREATE TABLE account_groups (
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name    TEXT    NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_addresses (
    address TEXT    PRIMARY KEY NOT NULL,
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX account_addresses_account ON account_addresses (account);

-- One password an account. The id is never used again: whatever was remembered
-- about a password dies with it when another takes its place.
CREATE TABLE account_passwords (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL UNIQUE REFERENCES accounts (id) ON DELETE CASCADE,
    hash    TEXT    NOT NULL,
    changed INTEGER NOT NULL
) STRICT;

-- blob is the wire encoding of RFC 4253, section 6.6.
CREATE TABLE account_keys (
    account     INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    fingerprint TEXT    NOT NULL,
    algorithm   TEXT    NOT NULL,
    blob        BLOB    NOT NULL,
    comment     TEXT    NOT NULL DEFAULT '',
    added       INTEGER NOT NULL,
    PRIMARY KEY (account, fingerprint)
) STRICT, WITHOUT ROWID;
