-- +goose Up

-- Mail that was accepted and not yet handed on to all its recipients.
CREATE TABLE messages (
    id           TEXT    PRIMARY KEY NOT NULL,
    sender       TEXT    NOT NULL,                                       -- '' is the null reverse-path
    account      TEXT    NOT NULL,
    conn         TEXT    NOT NULL,
    session      TEXT    NOT NULL,
    message_id   TEXT    NOT NULL,
    route        TEXT    NOT NULL,                                       -- '' is the default route
    smtputf8     INTEGER NOT NULL CHECK (smtputf8 IN (0, 1)),
    eight_bit    INTEGER NOT NULL CHECK (eight_bit IN (0, 1)),
    size         INTEGER NOT NULL,
    in_file      INTEGER NOT NULL CHECK (in_file IN (0, 1)),             -- the content is a file named id
    accepted     INTEGER NOT NULL,
    held         INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),
    attempts     INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL
) STRICT;

CREATE INDEX messages_due ON messages (next_attempt) WHERE held = 0;
CREATE INDEX messages_due_by_route ON messages (route, next_attempt) WHERE held = 0;

-- Apart from messages, so that an attempt does not write the content again.
CREATE TABLE message_contents (
    message TEXT PRIMARY KEY NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    content BLOB NOT NULL
) STRICT;

CREATE TABLE message_recipients (
    message     TEXT    NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    address     TEXT    NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed', 'expired')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    attempted   INTEGER NOT NULL DEFAULT 0,                              -- 0 is never
    reply       TEXT    NOT NULL DEFAULT '',
    remote_host TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;
