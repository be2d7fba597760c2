-- +goose Up

-- What an account may keep, and how fast it may move it. 0 is no limit; bandwidth
-- is in bytes a second, in each direction.
ALTER TABLE accounts ADD COLUMN quota_bytes INTEGER NOT NULL DEFAULT 0 CHECK (quota_bytes >= 0);
ALTER TABLE accounts ADD COLUMN quota_files INTEGER NOT NULL DEFAULT 0 CHECK (quota_files >= 0);
ALTER TABLE accounts ADD COLUMN bandwidth   INTEGER NOT NULL DEFAULT 0 CHECK (bandwidth >= 0);

-- may is the words of session.Permissions. An account without a row has the rules
-- of its groups.
CREATE TABLE account_permissions (
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    path    TEXT    NOT NULL,
    may     TEXT    NOT NULL,
    PRIMARY KEY (account, path)
) STRICT, WITHOUT ROWID;

-- The groups about which something was said. An account may be in a group that
-- has no row, and a group with a row need not have members.
CREATE TABLE groups (
    name        TEXT    PRIMARY KEY NOT NULL,
    quota_bytes INTEGER NOT NULL DEFAULT 0 CHECK (quota_bytes >= 0),
    quota_files INTEGER NOT NULL DEFAULT 0 CHECK (quota_files >= 0),
    bandwidth   INTEGER NOT NULL DEFAULT 0 CHECK (bandwidth >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_permissions (
    group_name TEXT NOT NULL REFERENCES groups (name) ON DELETE CASCADE,
    path       TEXT NOT NULL,
    may        TEXT NOT NULL,
    PRIMARY KEY (group_name, path)
) STRICT, WITHOUT ROWID;
