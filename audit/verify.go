package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gateway/session"
)

// Report is what Verify found.
type Report struct {
	Segments    int   `json:"segments"`
	Records     int64 `json:"records"`
	Checkpoints int   `json:"checkpoints"`
	// Gaps counts the cuts and breaks that the record itself tells of: an end that
	// a crash left unfinished is one. They are no faults.
	Gaps int `json:"gaps"`
	// First and Last are sequence numbers, Since and Until their times.
	First int64     `json:"first"`
	Last  int64     `json:"last"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Root is the whole record as a checkpoint would state it: size:root. Compare
	// it with one kept elsewhere.
	Root string `json:"root"`
	// Proven is the last checkpoint in the record that the lines before it match.
	Proven string `json:"proven,omitempty"`
	// Faults are what should not be, the first maxFaults of FaultCount.
	Faults     []Fault `json:"faults,omitempty"`
	FaultCount int     `json:"fault_count"`
	// Notes are remarks that are no faults.
	Notes []string `json:"notes,omitempty"`
}

// maxFaults bounds the list of a report; the count goes on.
const maxFaults = 100

// OK reports whether the record is whole.
func (r Report) OK() bool { return r.FaultCount == 0 }

// Fault is one thing that is wrong with the record.
type Fault struct {
	Segment string `json:"segment"`
	Line    int    `json:"line,omitempty"` // counted from 1; zero if it is about the segment
	Seq     int64  `json:"seq,omitempty"`  // the one expected there
	What    string `json:"what"`
}

func (f Fault) String() string {
	return fmt.Sprintf("%s:%d: seq %d: %s", f.Segment, f.Line, f.Seq, f.What)
}

// Verify reads the whole record in dir and proves it: every line is an event in
// the one form that the gateway writes, sequence numbers have no gap within and
// between segments, and each checkpoint states the root of the lines before it.
// What is wrong is in the report; the error is only for a record that cannot be
// read. It may run while the gateway does, and then proves what was there when it
// began; and after a crash before the next start: an unfinished last line is then
// a note.
//
// It cannot know of lines that were cut off the end together with every
// checkpoint over them: for that, compare with a checkpoint kept elsewhere.
func Verify(ctx context.Context, dir string) (Report, error) {
	v := verifier{next: 1}
	v.c = cursor{dir: dir, torn: v.torn}
	defer v.c.close()
	if err := v.c.stopHere(); err != nil {
		return v.r, err
	}
	for {
		line, err := v.c.next(ctx)
		v.enter()
		switch {
		case errors.Is(err, io.EOF):
			return v.end()
		case errors.Is(err, errLongLine):
			v.tree.add(nil)
			v.fault(err.Error())
			v.next++
		case err != nil:
			return v.r, fmt.Errorf("verify audit record: %w", err)
		default:
			v.line(line)
		}
	}
}

type verifier struct {
	c       cursor
	r       Report
	tree    tree
	next    int64
	segment int64  // the one that was entered
	stated  string // the last checkpoint, right or wrong
	since   int64  // the seq of the last checkpoint that matched
	lost    bool   // a checkpoint did not match; later ones cannot
}

// enter notices a new segment and checks its name.
func (v *verifier) enter() {
	if v.c.first == v.segment {
		return
	}
	v.segment = v.c.first
	v.r.Segments++
	if v.segment != v.next {
		v.faultAt(Fault{Segment: v.c.segment(), Seq: v.next,
			What: fmt.Sprintf("segment begins with seq %d instead of %d: something before it is missing", v.segment, v.next)})
		v.next = v.segment
	}
}

func (v *verifier) line(line []byte) {
	e, err := decode(line)
	if err != nil {
		v.fault(err.Error())
		v.tree.add(line)
		v.next++
		return
	}
	if e.Seq != v.next {
		v.fault(fmt.Sprintf("seq is %d", e.Seq))
	} else if !canonical(line, e) {
		v.fault("not in the form in which the gateway writes")
	}
	v.next = e.Seq + 1
	if e.Event == session.EventAudit {
		v.about(e)
	}
	v.tree.add(line)
	if v.r.Records == 0 {
		v.r.First, v.r.Since = e.Seq, e.Time
	}
	v.r.Records++
	v.r.Last, v.r.Until = e.Seq, e.Time
}

// about checks what the record says about itself.
func (v *verifier) about(e session.Event) {
	switch e.Verb {
	case session.Gap:
		v.r.Gaps++
	case session.Start:
		if e.Hash != v.stated {
			v.fault(fmt.Sprintf("start quotes checkpoint %q, but the last one before it is %q", e.Hash, v.stated))
		}
	case session.Checkpoint:
		v.r.Checkpoints++
		v.stated = e.Hash
		switch {
		case e.Hash == v.tree.checkpoint():
			v.since, v.r.Proven = e.Seq, e.Hash
		case !v.lost:
			v.lost = true
			v.fault(fmt.Sprintf("checkpoint does not match: of seq %d to %d something was changed, added or removed (later checkpoints prove nothing)",
				v.since+1, e.Seq-1))
		}
	}
}

func (v *verifier) fault(what string) {
	v.faultAt(Fault{Segment: v.c.segment(), Line: v.c.number, Seq: v.next, What: what})
}

func (v *verifier) faultAt(f Fault) {
	v.r.FaultCount++
	if len(v.r.Faults) < maxFaults {
		v.r.Faults = append(v.r.Faults, f)
	}
}

func (v *verifier) torn(segment string, bytes int64) {
	v.faultAt(Fault{Segment: segment, Seq: v.next, What: fmt.Sprintf("unfinished line of %d bytes, and another segment follows", bytes)})
}

// end completes the report.
func (v *verifier) end() (Report, error) {
	if v.c.f == nil {
		firsts, err := listSegments(v.c.dir)
		if err != nil {
			return v.r, fmt.Errorf("verify audit record: %w", err)
		}
		if len(firsts) == 0 {
			return v.r, fmt.Errorf("verify audit record: no segments in %s", v.c.dir)
		}
		v.r.Notes = append(v.r.Notes, "the record is empty: it was stopped before its first line")
		v.r.Root = v.tree.checkpoint()
		return v.r, nil
	}
	if left := v.c.end.offset - v.c.offset; v.c.first == v.c.end.first && left > 0 {
		v.r.Notes = append(v.r.Notes, fmt.Sprintf(
			"%s ends with %d bytes of an unfinished line: it is being written, or the next start will cut it off", v.c.segment(), left))
	}
	v.r.Root = v.tree.checkpoint()
	return v.r, nil
}
