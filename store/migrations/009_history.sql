-- +goose Up

-- What logins of an account showed: on how many days, of UTC, it logged in at a level,
-- by client, and with client and network empty, by any. day is the last one counted,
-- in days since 1970. quiet and since are for any client only: the longest time in
-- days without a login below the level, and since when there has been none; 0 is that
-- the level was never reached. A client that never reached a level has one row with
-- days 0.
CREATE TABLE account_floors (
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    client  TEXT    NOT NULL,
    network TEXT    NOT NULL,
    level   TEXT    NOT NULL CHECK (level IN ('encrypted', 'code', 'key')),
    days    INTEGER NOT NULL,
    day     INTEGER NOT NULL,
    quiet   INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (account, client, network, level)
) STRICT, WITHOUT ROWID;

-- Passwords that crossed in clear. Another password ends it.
CREATE TABLE account_exposures (
    password INTEGER PRIMARY KEY NOT NULL REFERENCES account_passwords (id) ON DELETE CASCADE,
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    source   TEXT    NOT NULL
) STRICT;
