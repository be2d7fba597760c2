package ftpfiles

import (
	"io"
	"slices"

	"gateway/session"
)

// maxLate is how many bytes may wait for those before them.
const maxLate = 1 << 20

// inOrder writes to a stream what comes in nearly the order of a file: clients send several
// pieces before they hear of the first.
type inOrder struct {
	to   io.Writer
	next int64 // up to where it was written
	late []piece
	held int
}

type piece struct {
	off     int64
	content []byte
}

// writeAt fails with session.ErrUnsupported for what was written already, or is too far from
// that.
func (o *inOrder) writeAt(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	switch {
	case len(p) == 0:
		return 0, nil
	case off == o.next && len(o.late) > 0 && end > o.late[0].off:
		return 0, session.ErrUnsupported // what overlaps is written twice
	case off == o.next:
		if err := o.write(p); err != nil {
			return 0, err
		}
		return len(p), o.catchUp()
	case off < o.next, o.held+len(p) > maxLate, off-o.next > maxLate:
		return 0, session.ErrUnsupported
	}
	at, taken := slices.BinarySearchFunc(o.late, off, func(q piece, off int64) int { return int(q.off - off) })
	if taken || at > 0 && o.late[at-1].off+int64(len(o.late[at-1].content)) > off ||
		at < len(o.late) && end > o.late[at].off {
		return 0, session.ErrUnsupported
	}
	o.late = slices.Insert(o.late, at, piece{off, slices.Clone(p)})
	o.held += len(p)
	return len(p), nil
}

func (o *inOrder) write(p []byte) error {
	n, err := o.to.Write(p)
	o.next += int64(n)
	return err
}

// catchUp writes what waited for what has come.
func (o *inOrder) catchUp() error {
	for len(o.late) > 0 && o.late[0].off == o.next {
		first := o.late[0]
		o.late = slices.Delete(o.late, 0, 1)
		o.held -= len(first.content)
		if err := o.write(first.content); err != nil {
			return err
		}
	}
	return nil
}

// finish writes what waits, with zeros where nothing came.
func (o *inOrder) finish() error {
	for len(o.late) > 0 {
		if err := o.write(make([]byte, o.late[0].off-o.next)); err != nil {
			return err
		}
		if err := o.catchUp(); err != nil {
			return err
		}
	}
	return nil
}

// size is how long the file is with all that came.
func (o *inOrder) size() int64 {
	if n := len(o.late); n > 0 {
		return o.late[n-1].off + int64(len(o.late[n-1].content))
	}
	return o.next
}
