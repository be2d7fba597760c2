package audit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gateway/session"
)

// resume finds the end of the record, cuts off what a crash left unfinished,
// and writes what was found and that the gateway started.
func (l *Log) resume(ctx context.Context) error {
	if info, err := os.Stat(l.cfg.Dir); err == nil && info.Mode().Perm()&0o077 != 0 {
		l.cfg.Log.Warn("audit record is open to others than its owner", "dir", l.cfg.Dir, "mode", info.Mode().Perm().String())
	}
	firsts, err := listSegments(l.cfg.Dir)
	if err != nil {
		return err
	}
	var gaps []session.Event
	if reason, err := brokenChain(ctx, l.cfg.Dir, firsts); err != nil {
		return err
	} else if reason != "" {
		gaps = append(gaps, l.gap("segments are missing: "+reason, 0))
	}
	if len(firsts) > 0 {
		gap, err := l.takeLast(ctx, firsts)
		if err != nil {
			return err
		}
		gaps = append(gaps, gap...)
	}
	work := append(l.entries(gaps...), entry{at: time.Now(), own: true, late: session.Start})
	for len(work) > 0 {
		if _, err := l.w.ready(); err != nil {
			return err
		}
		n, err := l.w.write(work)
		if err != nil {
			return err
		}
		work = work[n:]
	}
	return nil
}

// takeLast makes the writer go on behind the last segment.
func (l *Log) takeLast(ctx context.Context, firsts []int64) (gaps []session.Event, err error) {
	last := len(firsts) - 1
	first := firsts[last]
	before, err := resumeTree(ctx, l.cfg.Dir, firsts, last)
	if err != nil {
		return nil, err
	}
	t := before.clone()
	path := filepath.Join(l.cfg.Dir, segmentName(first))
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	found, err := scanSegment(ctx, r, first, t.add)
	_ = r.Close()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	w := &l.w
	w.stated, w.next, w.tree = found.checkpoint, found.next, t
	if w.stated == "" && last > 0 {
		w.stated = lastCheckpoint(l.cfg.Dir, firsts[:last])
	}
	if found.damaged {
		// Not the work of a crash. All of it is left as evidence, for verify to find.
		t = before
		if err := addSegment(ctx, l.cfg.Dir, first, &t); err != nil {
			return nil, err
		}
		w.tree = t
		l.cfg.Log.Error("audit record is damaged", "segment", segmentName(first), "reason", found.reason)
		return []session.Event{l.gap("damaged: "+segmentName(first)+": "+found.reason, 0)}, nil
	}
	f, err := w.disk.open(segmentName(first))
	if err != nil {
		return nil, err
	}
	w.f, w.first, w.size = f, first, found.good
	if found.cut > 0 {
		l.cfg.Log.Warn("audit record had an unfinished end, cut off", "segment", segmentName(first),
			"bytes", found.cut, "reason", found.reason)
		gaps = append(gaps, l.gap(found.reason, found.cut))
	}
	if err := f.Truncate(w.size); err != nil {
		return nil, fmt.Errorf("cut unfinished end of %s: %w", path, err)
	}
	if err := f.datasync(); err != nil {
		return nil, fmt.Errorf("sync %s: %w", path, err)
	}
	w.limit, w.end, err = allocate(f, w.segmentSize)
	if err != nil {
		// Perhaps no more space; what is there can still be tried.
		w.limit, w.end = w.segmentSize, w.segmentSize
	}
	return gaps, nil
}

// lastCheckpoint looks for a checkpoint in the segments before the last, for
// when that one has none yet.
func lastCheckpoint(dir string, firsts []int64) string {
	for i := len(firsts) - 1; i >= 0; i-- {
		f, err := os.Open(filepath.Join(dir, segmentName(firsts[i])))
		if err != nil {
			return ""
		}
		in, found := newLines(f, 0), ""
		for {
			line, err := in.next()
			if err != nil && err != errLongLine {
				break
			}
			if hash, ok := checkpointOf(line); ok {
				found = hash
			}
		}
		_ = f.Close()
		if found != "" {
			return found
		}
	}
	return ""
}

// gap is the record of something that is not there; bytes is how much was cut.
func (l *Log) gap(reason string, bytes int64) session.Event {
	e := l.w.event(session.Gap, "")
	e.Reason, e.Bytes = reason, bytes
	return e
}
