-- +goose Up

-- home is where the files of the account are, if that is not the folder of its name;
-- expires is the first moment at which it is over, 0 for never.
ALTER TABLE accounts ADD COLUMN home TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN expires INTEGER NOT NULL DEFAULT 0;

-- What was imported: keyed hashes of what the source said of the account, and of its
-- password there, so that a second import changes only what changed in the source.
CREATE TABLE account_imports (
    account  INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    format   TEXT    NOT NULL,
    source   BLOB    NOT NULL,
    password BLOB    NOT NULL,
    imported INTEGER NOT NULL,
    PRIMARY KEY (account, format)
) STRICT, WITHOUT ROWID;
