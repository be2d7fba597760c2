-- +goose Up

-- source is the directory or hook that the account comes from, '' for one of this store;
-- barred says that the source has it no more, or has disabled it. disabled is what was
-- said here.
ALTER TABLE accounts ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN barred INTEGER NOT NULL DEFAULT FALSE;
