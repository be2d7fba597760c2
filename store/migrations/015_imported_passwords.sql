-- +goose Up

-- Of a password whose hash came from another program: the scheme of that hash, and the
-- first good login since, from which on the hash is one of ours; '' and 0 are none.
ALTER TABLE account_passwords ADD COLUMN imported TEXT NOT NULL DEFAULT '';
ALTER TABLE account_passwords ADD COLUMN proven INTEGER NOT NULL DEFAULT 0;

-- 'latin-1' if its hash was of the bytes of Latin-1 and is now of those of UTF-8.
ALTER TABLE account_passwords ADD COLUMN was_in TEXT NOT NULL DEFAULT '';
