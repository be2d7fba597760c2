package main

import (
	"database/sql"

	_ "modernc.org/sqlite" // the driver
)

// openRaw opens a store without looking at its version.
func openRaw(path string) (*sql.DB, error) { return sql.Open("sqlite", path) }
