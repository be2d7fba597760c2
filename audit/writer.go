package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"syscall"
	"time"

	"gateway/session"
)

// writer puts lines at the end of the record. One goroutine uses it.
type writer struct {
	disk        disk
	log         *slog.Logger
	node        string
	segmentSize int64

	next   int64  // seq of the next line
	tree   tree   // over all lines that are on stable storage
	proven int64  // size of the tree after the last checkpoint
	stated string // the last checkpoint

	f     file
	first int64 // seq that the segment is named after
	size  int64 // length of the segment that is on stable storage
	limit int64 // length at which the next segment follows
	end   int64 // length up to which space is ours, limit included

	broken   bool  // what follows size is not known
	distrust bool  // a sync failed: go on in another segment
	full     bool  // the next line wants another segment
	noRoom   error // why there is none; then the reserve is used

	buf []byte
}

func newWriter(cfg Config, d disk) writer {
	return writer{disk: d, log: cfg.Log, node: cfg.Node, segmentSize: cfg.SegmentSize, next: 1}
}

func (w *writer) close() {
	if w.f == nil {
		return
	}
	_ = w.f.Truncate(w.size) // gives back what was taken in advance
	_ = w.f.Close()
	w.f = nil
}

// ready makes sure that there is a segment whose end is known. It returns
// whether only commits may be written, to the reserve.
func (w *writer) ready() (reserved bool, err error) {
	if w.broken {
		if err := w.repair(); err != nil {
			return false, err
		}
	}
	if w.f != nil && !w.full {
		return false, nil
	}
	err = w.roll()
	switch {
	case err == nil:
		w.noRoom = nil
		return false, nil
	case w.f != nil && isFull(err) && w.size < w.end:
		w.noRoom = err
		return true, nil
	default:
		return false, err
	}
}

// isFull reports whether err is for want of space, and so may pass.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// repair brings the segment back to what is known to be on stable storage.
// After a failed sync the kernel may believe pages to be written that are not
// (it reports the error once and drops them), so nothing of them is kept and
// what follows goes to another file.
func (w *writer) repair() error {
	_ = w.f.Close()
	f, err := w.disk.open(segmentName(w.first))
	if err != nil {
		return err // w.f is closed; every use of it fails until this succeeds
	}
	w.f = f
	size, err := f.size()
	if err != nil {
		return err
	}
	if size < w.size {
		return fmt.Errorf("%s was cut from outside: %d bytes of %d are left", segmentName(w.first), size, w.size)
	}
	if err := f.Truncate(w.size); err != nil {
		return err
	}
	if err := f.datasync(); err != nil {
		return err
	}
	if err := f.allocate(w.end); err != nil {
		w.end = w.limit
	}
	w.broken = false
	if w.distrust && w.size > 0 {
		w.full = true
	}
	w.distrust = false
	return nil
}

// roll begins the next segment.
func (w *writer) roll() error {
	name := segmentName(w.next)
	f, err := w.disk.create(name)
	if errors.Is(err, fs.ErrExist) {
		f, err = w.reuse(name)
	}
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	limit, end, err := allocate(f, w.segmentSize)
	if err == nil {
		err = w.disk.sync()
	}
	if err != nil {
		_ = f.Close()
		_ = w.disk.remove(name)
		return fmt.Errorf("begin segment %s: %w", name, err)
	}
	// Only there to be quick at the next start, which can do without.
	if err := w.disk.replace(edgeName(w.next), w.tree.marshal()); err != nil {
		w.log.Debug("audit tree edge not written", "err", err)
	}
	w.close()
	w.f, w.first, w.size, w.limit, w.end = f, w.next, 0, limit, end
	w.full, w.broken, w.distrust = false, false, false
	return nil
}

// reuse opens the segment that a stop at the wrong moment left empty.
func (w *writer) reuse(name string) (file, error) {
	f, err := w.disk.open(name)
	if err != nil {
		return nil, err
	}
	size, err := f.size()
	if err == nil && size > 0 {
		err = fmt.Errorf("%s exists already and is not empty", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// minAllocation is the least space with which a segment is begun.
const minAllocation = 64 << 10

// allocate takes the space of a segment in advance: all of it, or what there
// is. It returns the length at which the segment is full, and the end of the
// reserve behind that.
func allocate(f file, size int64) (limit, end int64, err error) {
	spare := min(maxReserve, size/4)
	least := min(minAllocation, size+spare)
	for want := size + spare; want >= least; want /= 2 {
		err = f.allocate(want)
		if err == nil {
			spare = min(spare, want/4)
			return want - spare, want, nil
		}
		if errors.Is(err, errors.ErrUnsupported) {
			return size, size, nil
		}
		if !isFull(err) {
			return 0, 0, err
		}
	}
	return 0, 0, err
}

// write puts the first n entries of batch on stable storage; n is less than
// their number when the segment or the batch is full. After an error none of
// them is recorded, and the writer is to be made ready again.
func (w *writer) write(batch []entry) (n int, err error) {
	bound := w.limit
	if w.noRoom != nil {
		bound = w.end
	}
	buf, t, seq := w.buf[:0], w.tree.clone(), w.next
	stated, proven := w.stated, w.proven
	put := func(at time.Time, body []byte) bool {
		mark := len(buf)
		buf = appendLine(buf, seq, at, body)
		if mark+int(w.size) > 0 && w.size+int64(len(buf)) > bound || mark > 0 && len(buf) > maxBatch {
			buf = buf[:mark]
			return false
		}
		t.add(buf[mark : len(buf)-1])
		seq++
		return true
	}
	prove := func(at time.Time) bool {
		hash := t.checkpoint()
		if !put(at, w.body(session.Checkpoint, hash)) {
			return false
		}
		stated, proven = hash, t.size
		return true
	}
	if w.size == 0 && seq > 1 && len(batch) > 0 {
		prove(batch[0].at) // the first line of a segment speaks for all before it
	}
	for _, e := range batch {
		ok := true
		switch {
		case e.late == session.Checkpoint:
			ok = proven == t.size || prove(e.at)
		case e.late == session.Start:
			ok = put(e.at, w.body(session.Start, stated))
		case e.body != nil:
			ok = put(e.at, e.body)
		}
		if !ok {
			break
		}
		n++
	}
	if n == 0 && len(batch) > 0 {
		if w.noRoom != nil {
			return 0, w.noRoom
		}
		w.full = true
		return 0, nil
	}
	if err := w.flush(buf); err != nil {
		return 0, err
	}
	if cap(buf) <= 2*maxBatch {
		w.buf = buf
	}
	w.tree, w.next, w.stated, w.proven = t, seq, stated, proven
	w.size += int64(len(buf))
	return n, nil
}

// flush puts b behind what is on stable storage.
func (w *writer) flush(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	w.broken = true
	if _, err := w.f.WriteAt(b, w.size); err != nil {
		return err
	}
	w.distrust = true
	if err := w.f.datasync(); err != nil {
		return fmt.Errorf("sync %s: %w", segmentName(w.first), err)
	}
	w.broken, w.distrust = false, false
	return nil
}

// event is an event of the record about itself.
func (w *writer) event(verb session.Verb, hash string) session.Event {
	return session.Event{Node: w.node, Event: session.EventAudit, Verb: verb, Hash: hash}
}

// body encodes such an event. It has nothing that does not encode.
func (w *writer) body(verb session.Verb, hash string) []byte {
	b, err := encodeBody(w.event(verb, hash))
	if err != nil {
		panic(err)
	}
	return b
}

func isCheckpoint(e session.Event) bool {
	return e.Event == session.EventAudit && e.Verb == session.Checkpoint
}
