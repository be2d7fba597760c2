package sftp

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// flushTimeout is how long the peer may take for what is written at once, at most
	// blockSize: one that takes longer, and less than leastProgress of it, does not
	// read.
	flushTimeout = 2 * time.Minute
	// leastProgress is the least number of bytes that a peer must take in each
	// flushTimeout, about 64 a second.
	leastProgress = 8 << 10
	// closeTimeout is how long Close waits for the peer to take what was written.
	closeTimeout = time.Second
	// shortWrite is the longest write that its caller sends itself. The library's parts
	// of a long packet are longer, but for its end.
	shortWrite = 1 << 10
)

// protocolVersion is how a client must begin (RFC 4253, section 4.2). The library
// would wait for it behind any number of other lines, and SSH 1 for ever.
const protocolVersion = "SSH-2.0-"

// errNotSSH is a peer that speaks something else.
var errNotSSH = errors.New("peer does not speak SSH 2.0")

// wire is the connection under SSH. The library writes each packet by several
// small writes; wire takes them into a buffer, and a goroutine that runs only
// while there is something to write sends whatever has come together, so that
// encryption and the kernel's copy overlap and no byte waits for others. At most
// two blocks are held; a Write that finds no room waits.
//
// It remembers when the peer was last heard and whether the network ended it.
// RemoteAddr stays a *net.TCPAddr, which the library asks for where an address
// restricts a key.
type wire struct {
	net.Conn
	pool *buffers

	heard   atomic.Int64 // when bytes last came, in Unix nanoseconds; 0 before the first
	lost    atomic.Bool  // reading or writing failed, or the peer hung up
	stalled atomic.Bool  // the peer did not read for flushTimeout
	greeted int          // bytes of protocolVersion that have come; for Read only
	ahead   ahead        // for Read only

	mu       sync.Mutex
	changed  sync.Cond // there is room, or the flusher ended
	waiting  outgoing  // written by the library, not yet being sent
	flushing bool      // the flusher runs
	closed   bool
	err      error // writing failed for good
}

func newWire(c net.Conn, pool *buffers) *wire {
	w := &wire{Conn: c, pool: pool}
	w.changed.L = &w.mu
	return w
}

// Read is called by one goroutine at a time.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.ahead.read(w.pool, w.receive, p)
	if w.greeted < len(protocolVersion) && !w.greet(p[:n]) {
		return 0, errNotSSH
	}
	return n, err
}

// receive reads from the network.
func (w *wire) receive(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
	}
	if err != nil {
		w.lost.Store(true)
	}
	return n, err
}

// greet compares what came with how a client must begin.
func (w *wire) greet(p []byte) bool {
	want := protocolVersion[w.greeted:]
	p = p[:min(len(p), len(want))]
	w.greeted += len(p)
	return string(p) == want[:len(p)]
}

// Write takes p to be sent. An error of sending is that of all writes that come
// later.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(p) <= shortWrite && !w.flushing && w.err == nil && !w.closed {
		return w.writeShort(p)
	}
	taken := 0
	for taken < len(p) {
		switch {
		case w.err != nil:
			return taken, w.err
		case w.closed:
			return taken, net.ErrClosed
		}
		n := w.waiting.add(w.pool, p[taken:])
		if n == 0 {
			w.changed.Wait()
			continue
		}
		taken += n
		if !w.flushing {
			w.flushing = true
			go w.flush()
		}
	}
	return taken, nil
}

// writeShort sends p itself, since nothing else is being sent: another goroutine
// would only come later. It is called with the lock held.
func (w *wire) writeShort(p []byte) (int, error) {
	w.flushing = true
	w.sent(w.send(p))
	if w.err == nil && w.waiting.len() > 0 {
		go w.flush()
	} else {
		w.idle()
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// flush sends until there is nothing to send.
func (w *wire) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && w.waiting.len() > 0 {
		out := w.waiting
		w.waiting = outgoing{}
		w.changed.Broadcast()
		err := w.send(out.bytes())
		out.release(w.pool)
		w.sent(err)
	}
	w.idle()
}

// sent notes how sending ended. It is called with the lock held.
func (w *wire) sent(err error) {
	if err != nil {
		w.lost.Store(true)
		w.stalled.Store(!w.closed && errors.Is(err, os.ErrDeadlineExceeded))
		w.err = err
		_ = w.Conn.Close() // so that reading ends, too
	}
}

// idle notes that nobody sends any more. It is called with the lock held.
func (w *wire) idle() {
	w.waiting.release(w.pool)
	w.flushing = false
	w.changed.Broadcast()
}

// send writes p as long as the peer takes enough of it. It is called with the lock
// held, and gives it away while it writes.
func (w *wire) send(p []byte) error {
	for {
		if !w.closed {
			_ = w.Conn.SetWriteDeadline(time.Now().Add(flushTimeout))
		}
		w.mu.Unlock()
		n, err := w.Conn.Write(p)
		w.mu.Lock()
		if w.closed || n < leastProgress || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		p = p[n:]
	}
}

// Close sends what was written, if the peer takes it within closeTimeout, and
// closes the connection. It may be called more than once, by any goroutine; each
// returns when nothing is left running.
func (w *wire) Close() error { return w.close(closeTimeout) }

// cut is Close for a peer to whom nothing is left to say.
func (w *wire) cut() { _ = w.close(0) }

func (w *wire) close(within time.Duration) error {
	w.mu.Lock()
	if !w.closed || within == 0 {
		w.closed = true
		_ = w.Conn.SetWriteDeadline(time.Now().Add(within))
	}
	w.changed.Broadcast()
	for w.flushing {
		w.changed.Wait()
	}
	w.mu.Unlock()
	if err := w.Conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// lastHeard is when bytes last came; the zero time before the first.
func (w *wire) lastHeard() time.Time {
	if heard := w.heard.Load(); heard != 0 {
		return time.Unix(0, heard)
	}
	return time.Time{}
}

// ahead is what was read from the network before it was asked for. The library asks
// for its packets in small parts; while a peer sends much, larger ones are read. The
// zero value is ready for use and holds no buffer.
type ahead struct {
	held *block
	r, w int  // held[r:w] is not yet read
	much bool // the last read took all that was asked for: there is probably more
}

// read reads into p what is here, or what receive gets.
func (a *ahead) read(pool *buffers, receive func([]byte) (int, error), p []byte) (n int, err error) {
	if a.r == a.w && (!a.much || len(p) >= blockSize) {
		n, err = receive(p)
		a.much = n == len(p) && n >= smallSize
		return n, err
	}
	if a.r == a.w {
		a.held = pool.block()
		a.r = 0
		a.w, err = receive(a.held[:])
		a.much = a.w >= smallSize
	}
	n = copy(p, a.held[a.r:a.w])
	if a.r += n; a.r == a.w {
		pool.giveBlock(a.held)
		a.held = nil
	}
	return n, err
}

// outgoing is what waits to be sent: in a small buffer as long as it fits, for
// most of what is said outside of transfers is short.
type outgoing struct {
	n     int
	small *smallBlock
	large *block
}

func (o *outgoing) len() int { return o.n }

func (o *outgoing) bytes() []byte {
	if o.large != nil {
		return o.large[:o.n]
	}
	return o.small[:o.n]
}

// add takes as much of p as there is room for.
func (o *outgoing) add(pool *buffers, p []byte) int {
	switch {
	case o.large == nil && o.n+len(p) > smallSize:
		o.large = pool.block()
		if o.small != nil {
			copy(o.large[:], o.small[:o.n])
			pool.giveSmall(o.small)
			o.small = nil
		}
	case o.large == nil && o.small == nil:
		o.small = pool.small()
	}
	var n int
	if o.large != nil {
		n = copy(o.large[o.n:], p)
	} else {
		n = copy(o.small[o.n:], p)
	}
	o.n += n
	return n
}

func (o *outgoing) release(pool *buffers) {
	if o.large != nil {
		pool.giveBlock(o.large)
	}
	if o.small != nil {
		pool.giveSmall(o.small)
	}
	*o = outgoing{}
}
