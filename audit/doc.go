// Package audit keeps the record of what happened: who connected, who logged
// in, what they did, and what was changed. It is the authority; reports and
// indexes are made from it and can be made again.
//
// The record is a folder of segments, files of JSON lines that only grow. Each
// line is a session.Event, its keys always in the order of that type. Each
// segment is named after the sequence number of its first line, and sequence
// numbers have no gaps. A Log writes the record, a Reader follows and searches
// it, and Verify proves that it is whole. Readers need no lock and may belong
// to another process.
//
// # Durability
//
// Commit returns once its event is on stable storage. One goroutine writes:
// it takes everything that waits, writes it at once, syncs once and wakes all
// who waited, so that the number of syncs does not grow with the number of
// logins. Append does not wait; its event is synced with the next Commit, and
// within a second at the latest.
//
// When a write or a sync fails the segment is cut back to what is known to be
// on stable storage before anything else is written to it. Commits fail with
// session.ErrUnavailable; appended events are kept, as far as the queue is
// long. Each later event tries again, so that the record goes on by itself when
// there is space again. Space for each segment is allocated in advance, with a
// reserve at its end that only Commit may use.
//
// # Proof
//
// The lines are the leaves of a Merkle tree (RFC 6962, section 2.1, by
// golang.org/x/mod/sumdb/tlog): each leaf is the hash of one line without its
// newline. An event of kind audit with the verb checkpoint holds, in its key
// hash, the number of lines before it and the root of the tree over them, as
//
//	<size>:<root in standard base64>
//
// One is written each minute if there was anything to prove, as the first line
// of each segment but the first, and as the last line of an orderly stop. The
// verb start quotes the last checkpoint found. Whoever keeps a checkpoint
// elsewhere can later prove that nothing before it was changed or removed;
// without that, somebody who may write the files may also write new
// checkpoints, or cut the end off.
//
// Beside each segment lies a .tree file with the right edge of the tree at the
// segment's start, so that a start reads only the last segment. It is believed
// only if it gives the root that the segment's first line states; otherwise the
// tree is made again from the lines before.
package audit
