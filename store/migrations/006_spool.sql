-- +goose Up

-- Mail lies in a log of its own from now on (package queue/spool). What is still in the
-- old tables must not be lost: the name of the check is what the operator reads.
CREATE TABLE mail_left (
    messages INTEGER NOT NULL
        CONSTRAINT "mail is left in the old queue: run the gateway before this version until 'gateway queue list' is empty, or remove it there" CHECK (messages = 0)
) STRICT;
INSERT INTO mail_left SELECT count(*) FROM messages;
DROP TABLE mail_left;

DROP TABLE message_recipients;
DROP TABLE message_contents;
DROP TABLE messages;
