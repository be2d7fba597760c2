-- +goose Up

-- The keys of SCRAM-SHA-256 (RFC 5802, section 3), made when a password is set. They
-- die with it.
CREATE TABLE account_scram (
    password   INTEGER PRIMARY KEY NOT NULL REFERENCES account_passwords (id) ON DELETE CASCADE,
    iterations INTEGER NOT NULL,
    salt       BLOB    NOT NULL,
    stored_key BLOB    NOT NULL,
    server_key BLOB    NOT NULL
) STRICT;

-- Tokens that are sent in the place of a password. hash is keyed. protocols, senders
-- and networks are lists divided by spaces; no senders or networks means all of them.
-- Times are 0 for never.
CREATE TABLE account_tokens (
    id        TEXT    PRIMARY KEY NOT NULL,
    account   INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    hash      BLOB    NOT NULL,
    label     TEXT    NOT NULL,
    protocols TEXT    NOT NULL,
    senders   TEXT    NOT NULL,
    networks  TEXT    NOT NULL,
    expires   INTEGER NOT NULL,
    added     INTEGER NOT NULL,
    used      INTEGER NOT NULL DEFAULT 0,
    used_from TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX account_tokens_account ON account_tokens (account);
