-- +goose Up

-- How much mail accounts may send and to whom, as JSON of session.MailLimits; empty
-- is no limit. That of a group is each member's who has none of its own.
ALTER TABLE accounts ADD COLUMN mail TEXT NOT NULL DEFAULT '';
ALTER TABLE groups ADD COLUMN mail TEXT NOT NULL DEFAULT '';

-- What accounts sent in the hour and the day that began at began. Old rows are
-- removed when new ones are written.
CREATE TABLE mail_counts (
    account    TEXT    NOT NULL,
    span       TEXT    NOT NULL CHECK (span IN ('hour', 'day')),
    began      INTEGER NOT NULL,
    messages   INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    fresh      INTEGER NOT NULL,
    PRIMARY KEY (account, span)
) STRICT, WITHOUT ROWID;

-- To whom an account with a limit on new recipients has written: 64 bits of a keyed
-- hash of the address.
CREATE TABLE mail_recipients (
    account   TEXT    NOT NULL,
    recipient INTEGER NOT NULL,
    PRIMARY KEY (account, recipient)
) STRICT, WITHOUT ROWID;
