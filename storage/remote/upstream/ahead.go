package upstream

import (
	"fmt"
	"io"
	"sync"
	"time"

	"gateway/session"
)

const (
	// window is how much of a file is kept while it is read: what was read last, for
	// requests that come in another order, and what is read ahead.
	window = 2 << 20
	// behind is how much of it is behind what was asked for last.
	behind = 256 << 10
	// readSize is how much is read at once.
	readSize = 510 << 10
	// ahead is how much is read ahead.
	ahead = window - behind - readSize
)

// A Stream is the content of a file from some offset on.
type Stream interface {
	io.Reader
	// Interrupt makes a Read that is under way fail. It may be called at any time.
	Interrupt()
	// End gives back what the stream takes. If all was read up to io.EOF, it returns nil
	// only if that was the end of the file, and not of the connection.
	End(all bool) error
}

// Ahead makes a file that can be read at any offset of a server that sends files from some
// offset to their end. It reads ahead, and begins anew where it is asked for what is far
// from that. Its methods may be called at the same time from any goroutine.
type Ahead struct {
	size int64
	open func(off int64) (Stream, error)
	idle time.Duration

	mu      sync.Mutex
	changed *sync.Cond // readers wait for it
	closed  bool
	opening bool
	front   int64 // where it was asked for last, furthest
	run     *run  // the stream under way or last; nil for none
}

// run is one stream, read by a goroutine of its own into a ring.
type run struct {
	stream     Stream
	ring       []byte // holds start to end, each byte at its offset modulo len(ring)
	start, end int64
	over       bool // nothing more comes
	err        error
	asked      chan struct{} // somebody asked for something
	stop       chan struct{}
	done       chan struct{} // closed when the goroutine ends
}

// NewAhead reads a file of that size by open. A stream that nobody reads on for so long as
// idle is ended, and begun anew when it is wanted.
func NewAhead(size int64, idle time.Duration, open func(off int64) (Stream, error)) *Ahead {
	a := &Ahead{size: size, open: open, idle: idle}
	a.changed = sync.NewCond(&a.mu)
	return a
}

// ReadAt implements io.ReaderAt.
func (a *Ahead) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, session.ErrRange
	}
	if off >= a.size && len(p) > 0 {
		return 0, io.EOF
	}
	short := int64(len(p)) > a.size-off
	if short {
		p = p[:a.size-off]
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for n < len(p) {
		got, err := a.some(p[n:], off+int64(n))
		if n += got; err != nil {
			return n, err
		}
	}
	if short {
		err = io.EOF
	}
	return n, err
}

// some reads what is at hand at off, or waits until something changed.
func (a *Ahead) some(p []byte, off int64) (int, error) {
	r := a.run
	switch {
	case a.closed:
		return 0, session.ErrClosed
	case a.opening:
		a.changed.Wait()
	case r != nil && r.start <= off && off < r.end:
		n := r.copyTo(p, off)
		a.ask(off + int64(n))
		return n, nil
	case r != nil && !r.over && r.end <= off && off-r.end <= ahead && a.front-off <= behind:
		a.ask(off)
		a.changed.Wait()
	case r != nil && r.over && r.err != nil && r.end == off:
		a.run = nil // who asks again has another go
		return 0, r.err
	default:
		return 0, a.begin(off)
	}
	return 0, nil
}

// ask tells the goroutine how far it was read.
func (a *Ahead) ask(off int64) {
	a.front = max(a.front, off)
	select {
	case a.run.asked <- struct{}{}:
	default:
	}
}

// begin begins a stream at off, in place of the one there was.
func (a *Ahead) begin(off int64) error {
	a.opening = true
	a.mu.Unlock()
	a.endRun()
	stream, err := a.open(off)
	a.mu.Lock()
	a.opening = false
	a.changed.Broadcast()
	if err == nil && a.closed {
		stream.Interrupt()
		_ = stream.End(false)
		err = session.ErrClosed
	}
	if err != nil {
		return err
	}
	a.front = off
	a.run = &run{
		stream: stream, ring: make([]byte, min(window, a.size)), start: off, end: off,
		asked: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go a.fill(a.run)
	return nil
}

// endRun ends the stream there is, and waits for that.
func (a *Ahead) endRun() {
	a.mu.Lock()
	r := a.run
	a.run = nil
	a.mu.Unlock()
	if r == nil {
		return
	}
	close(r.stop)
	r.stream.Interrupt()
	<-r.done
}

// fill reads the stream into the ring, as far ahead as there is room.
func (a *Ahead) fill(r *run) {
	defer close(r.done)
	all, err := a.pump(r)
	if ended := r.stream.End(all); err == nil {
		err = ended
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.end < a.size && err == nil && all {
		err = fmt.Errorf("it ends after %d bytes of %d: %w", r.end, a.size, session.ErrUnavailable)
	}
	r.over, r.err = true, err
	a.changed.Broadcast()
}

// pump reads up to the end of the file or of what is wanted; all says which.
func (a *Ahead) pump(r *run) (all bool, err error) {
	for {
		room, wanted := a.room(r)
		if !wanted {
			return false, nil
		}
		if len(room) == 0 { // the end of the file, as far as it was there when it was opened
			var one [1]byte
			n, err := r.stream.Read(one[:])
			return n == 0 && err == io.EOF, nil
		}
		n, err := r.stream.Read(room)
		a.mu.Lock()
		r.end += int64(n)
		a.changed.Broadcast()
		a.mu.Unlock()
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// room waits until there is room in the ring, and returns it; nothing at the end of the
// file. It is not wanted any more after having waited for idle, or when it is stopped.
func (a *Ahead) room(r *run) (room []byte, wanted bool) {
	timer := time.NewTimer(a.idle)
	defer timer.Stop()
	for {
		a.mu.Lock()
		n := min(readSize, a.front+ahead-r.end, a.size-r.end)
		if n > 0 {
			r.start = max(r.start, r.end+n-int64(len(r.ring)))
			at := int(r.end % int64(len(r.ring)))
			room = r.ring[at:min(at+int(n), len(r.ring))]
		}
		ended := r.end >= a.size
		a.mu.Unlock()
		if n > 0 || ended {
			return room, true
		}
		select {
		case <-r.asked:
		case <-r.stop:
			return nil, false
		case <-timer.C:
			return nil, false
		}
	}
}

// copyTo copies what there is from off on.
func (r *run) copyTo(p []byte, off int64) int {
	n := 0
	for n < len(p) && off < r.end {
		at := int(off % int64(len(r.ring)))
		until := min(len(r.ring), at+int(r.end-off))
		m := copy(p[n:], r.ring[at:until])
		n, off = n+m, off+int64(m)
	}
	return n
}

// Close ends the stream. A ReadAt that is under way fails.
func (a *Ahead) Close() error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return session.ErrClosed
	}
	a.closed = true
	a.changed.Broadcast()
	for a.opening {
		a.changed.Wait()
	}
	a.mu.Unlock()
	a.endRun()
	return nil
}
