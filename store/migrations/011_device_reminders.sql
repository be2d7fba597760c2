-- +goose Up

-- What the owners of devices were told: so many days before a device ends. Times are
-- seconds of Unix. Rows go some time after the end.
CREATE TABLE device_reminders (
    device  TEXT    NOT NULL,
    expires INTEGER NOT NULL,
    days    INTEGER NOT NULL,
    sent    INTEGER NOT NULL,
    PRIMARY KEY (device, expires, days)
) STRICT, WITHOUT ROWID;
