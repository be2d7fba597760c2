// Package spool keeps messages on disk in an append-only log with group commit.
//
// A message is an envelope, a content and a state. Envelope and content never
// change; the state is replaced as a whole, until the message is removed. What
// they mean is the caller's. Commit returns nil once a change is on stable
// storage. One goroutine writes: it takes all changes that wait, puts them at the
// end of the log in one write, and syncs once for all of them.
//
// The log is a row of segments. A segment begins with a magic and a salt, and holds
// records: a message, a state, or a removal. Each part of a record has a checksum
// (CRC-32C), and that of its head is salted, so that no content can be taken for
// records. Each record also says where the write that it was part of began:
// everything before was on stable storage by then. So a tail that a crash tore can
// be told from damage. The torn tail was never acknowledged and is cut off. Around
// damage the rest of the log is read, the segment is kept under another name, and
// the log tells it as an error.
//
// A content that is too large for the log is a file of its own (File), written and
// synced before the record that names it.
//
// A segment goes when nothing in it is in use any more. One in which little is in
// use is copied to the end of the log before. In memory a message is a few numbers:
// where its records are.
package spool
