// Package store is the gateway's database: SQLite in one file, opened by one
// process at a time.
//
// It knows transactions, durability and versions, and nothing of what is kept:
// packages auth and queue write their own SQL and run it inside Read and Write.
// The files in migrations/ are the whole schema, in the order of their numbers;
// a file that was released is never changed, only followed by another.
//
// Write is a group commit. Any number of callers share one transaction and one
// fsync, and each has a savepoint of its own, so that the fault of one is not
// the fault of the others.
package store
