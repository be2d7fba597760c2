-- +goose Up

-- The day of the last login of an account, of UTC, in days since 1970.
CREATE TABLE account_last_logins (
    account INTEGER PRIMARY KEY NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    day     INTEGER NOT NULL
) STRICT;

-- What is known of accounts from before: the last day on which a level was counted, or
-- something below it.
INSERT INTO account_last_logins (account, day)
    SELECT account, MAX(MAX(day, since)) FROM account_floors WHERE client = '' GROUP BY account HAVING MAX(MAX(day, since)) > 0;
