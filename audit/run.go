package audit

import (
	"slices"
	"time"

	"gateway/session"
)

// run is the goroutine that writes. No timer stands between a commit and the
// disk: while one batch is synced the next gathers.
func (l *Log) run() {
	defer close(l.done)
	checkpoint := time.NewTicker(l.cfg.CheckpointInterval)
	defer checkpoint.Stop()
	for {
		var last []entry
		select {
		case <-l.wake:
		case at := <-checkpoint.C:
			if l.w.proven < l.w.tree.size {
				last = []entry{{at: at, own: true, late: session.Checkpoint}}
			}
		}
		if l.drain(last) {
			return
		}
	}
}

// drain writes everything that waits, then what is in last, and reports
// whether the log is closed and this was the end of it.
func (l *Log) drain(last []entry) (closed bool) {
	l.mu.Lock()
	work := l.queue
	l.queue = nil
	l.armed = false
	closed = l.closing
	l.mu.Unlock()
	work = append(work, last...)
	if closed {
		work = append(work, l.closingEntries()...)
	}
	for len(work) > 0 {
		reserved, err := l.w.ready()
		if err == nil && reserved {
			work = l.postpone(work)
		}
		if err == nil {
			var n int
			if n, err = l.w.write(work); err == nil {
				l.settle(work[:n])
				work = work[n:]
				continue
			}
		}
		l.fail(work, err)
		break
	}
	return closed
}

// settle wakes those whose entries are on stable storage, when whatever else
// tells of it already does.
func (l *Log) settle(done []entry) {
	var freed int64
	for _, e := range done {
		freed += e.charged()
	}
	state, err := good, error(nil)
	if l.w.noRoom != nil {
		state, err = reserve, l.w.noRoom
	}
	l.become(state, err)
	l.mu.Lock()
	l.free(freed)
	if seq := l.w.next - 1; seq != l.durable {
		l.durable = seq
		close(l.advanced)
		l.advanced = make(chan struct{})
	}
	l.mu.Unlock()
	for _, e := range done {
		if e.done != nil {
			e.done <- nil
		}
	}
}

// fail answers those who wait and keeps what nobody waits for.
func (l *Log) fail(work []entry, err error) {
	l.become(failing, err)
	var freed int64
	kept := slices.DeleteFunc(work, func(e entry) bool {
		if e.done != nil {
			e.done <- unavailable(err)
			freed += e.charged()
		}
		return e.done != nil || e.late != ""
	})
	l.keep(kept)
	l.mu.Lock()
	l.free(freed)
	l.mu.Unlock()
}

// postpone keeps what nobody waits for and returns the rest: all that the
// reserve is for.
func (l *Log) postpone(work []entry) []entry {
	l.become(reserve, l.w.noRoom)
	var kept, commits []entry
	for _, e := range work {
		if e.done != nil && e.body != nil {
			commits = append(commits, e)
		} else if e.done != nil {
			e.done <- unavailable(l.w.noRoom) // Sync: what it waits for is postponed
			l.mu.Lock()
			l.free(e.charged())
			l.mu.Unlock()
		} else if e.late == "" {
			kept = append(kept, e)
		}
	}
	l.keep(kept)
	return commits
}

// keep puts entries back to the head of the queue and has them tried again.
func (l *Log) keep(kept []entry) {
	if len(kept) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(kept, l.queue...)
	if !l.closing {
		l.armed = true
		l.flush.Reset(flushInterval)
	}
}

// free gives back room in the queue. The caller holds mu.
func (l *Log) free(bytes int64) {
	l.queued -= bytes
	if bytes > 0 {
		close(l.room)
		l.room = make(chan struct{})
	}
}

// charged is what the entry holds of the queue: nothing, if the log made it.
func (e entry) charged() int64 {
	if e.own {
		return 0
	}
	return e.cost()
}

// become notes how well the record can be written, and tells the operator when
// that changes.
func (l *Log) become(s state, err error) {
	l.mu.Lock()
	before := l.state
	l.state, l.err = s, err
	if before == good && s != good && !l.closing {
		// Tried until it is written, so it also finds out when the disk is back.
		l.queue = append(l.queue, l.entries(l.gap("the record could not be written: "+err.Error(), 0))...)
		l.armed = true
		l.flush.Reset(flushInterval)
	}
	l.mu.Unlock()
	if s == before {
		return
	}
	switch s {
	case good:
		l.cfg.Log.Info("audit record is written again", "dir", l.cfg.Dir)
	case reserve:
		l.cfg.Log.Error("audit record has no space for a new segment, only its reserve for logins and administration",
			"dir", l.cfg.Dir, "err", err)
	case failing:
		l.cfg.Log.Error("audit record cannot be written, so nobody can log in", "dir", l.cfg.Dir, "err", err)
	}
}

// closingEntries are the last lines: the stop and a checkpoint over everything.
func (l *Log) closingEntries() []entry {
	return append(l.entries(l.w.event(session.Stop, "")), entry{at: time.Now(), own: true, late: session.Checkpoint})
}

// entries encodes events that the log makes itself; they are known to encode.
func (l *Log) entries(events ...session.Event) []entry {
	var es []entry
	for _, e := range events {
		b, err := encodeBody(e)
		if err != nil {
			l.cfg.Log.Error("audit event not encoded", "verb", e.Verb, "err", err)
			continue
		}
		es = append(es, entry{body: b, at: time.Now(), own: true})
	}
	return es
}
