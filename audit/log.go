package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"gateway/session"
)

// ErrLocked says that another process writes the record.
var ErrLocked = errors.New("the audit record is written by another process")

// Config says where the record is and how it is written.
type Config struct {
	// Dir is the folder of the record. It is made, for its owner only, if it does
	// not exist. Required.
	Dir string
	// Node names this gateway in every line. Empty means the host's name.
	Node string
	// Log gets what the operator should see. Nil means slog.Default.
	Log *slog.Logger
	// SegmentSize is the length in bytes at which a segment is followed by the
	// next. Zero means 64 MiB. That much space, and a reserve of 1 MiB or a quarter
	// of it, whichever is less, is taken in advance where the file system can.
	SegmentSize int64
	// CheckpointInterval is how often the state of the proof is written while there
	// is something new. Zero means 1m.
	CheckpointInterval time.Duration
	// QueueBytes is how much may wait for the disk, in bytes. Beyond it Append
	// waits, and after a second refuses. Zero means 16 MiB.
	QueueBytes int64
}

const (
	defaultSegmentSize        = 64 << 20
	defaultCheckpointInterval = time.Minute
	defaultQueueBytes         = 16 << 20
	// maxReserve is what Commit may still use when no new segment can be had.
	maxReserve = 1 << 20
	// flushInterval is how long an appended event waits for company. With the sync
	// after it, it stays well within the second that session.Recorder promises.
	flushInterval = 500 * time.Millisecond
	// maxWait is how long Append and Commit wait for room in the queue.
	maxWait = time.Second
	// maxBatch bounds what is written and synced at once.
	maxBatch = 1 << 20
	// eventOverhead is what an event in the queue costs beside its bytes.
	eventOverhead = 128
)

// A Log writes the record. It implements session.Recorder. All methods may be
// called from any goroutine.
type Log struct {
	cfg  Config
	lock *os.File
	w    writer

	wake chan struct{} // tells the writer that something is to be done
	done chan struct{} // closed when the writer has ended

	mu       sync.Mutex
	queue    []entry
	queued   int64         // bytes in the queue and with the writer
	room     chan struct{} // closed and replaced when bytes become free
	armed    bool          // the flush timer runs
	state    state
	closing  bool
	err      error // of the last attempt to write, nil when it worked
	durable  int64 // the last seq on stable storage
	advanced chan struct{}
	flush    *time.Timer
}

var _ session.Recorder = (*Log)(nil)

// entry is an event that waits for the disk.
type entry struct {
	body []byte // as encodeBody makes it; nil for a wait without an event
	at   time.Time
	done chan error // nil if nobody waits
	// late asks for an event whose body is known only in its place: Checkpoint, or
	// Start, which quotes the last one.
	late session.Verb
	// own marks what the log adds itself: it holds no room of the queue.
	own bool
}

func (e entry) cost() int64 { return int64(len(e.body)) + eventOverhead }

// state is how well the record can be written.
type state int

const (
	good    state = iota
	reserve       // no space for a new segment: only commits are taken
	failing       // the last write failed
)

// Open takes the record in cfg.Dir, cuts off a line that a crash left
// unfinished, and writes that the gateway started. It returns ErrLocked if
// another process has the record. It reads the last segment only, unless what
// lies beside it cannot be believed; ctx bounds that work. The caller must
// Close the Log.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	return openOn(ctx, cfg, folder(cfg.Dir))
}

func openOn(ctx context.Context, cfg Config, d disk) (_ *Log, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if err := makeFolder(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open audit record: %w", err)
	}
	l := &Log{
		cfg: cfg, w: newWriter(cfg, d),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		room: make(chan struct{}), advanced: make(chan struct{}),
	}
	if l.lock, err = lock(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open audit record: %w", err)
	}
	defer func() {
		if err != nil {
			l.w.close()
			_ = unlock(l.lock)
		}
	}()
	if err := l.resume(ctx); err != nil {
		return nil, fmt.Errorf("open audit record in %s: %w", cfg.Dir, err)
	}
	l.durable = l.w.next - 1
	l.flush = time.AfterFunc(time.Hour, l.kick)
	l.flush.Stop()
	go l.run()
	return l, nil
}

// complete checks the configuration and fills in the defaults.
func (c *Config) complete() error {
	if c.Dir == "" {
		return errors.New("audit: no folder for the record")
	}
	if c.SegmentSize < 0 || c.CheckpointInterval < 0 || c.QueueBytes < 0 {
		return errors.New("audit: negative limit")
	}
	if c.Node == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("audit: no name for this node: %w", err)
		}
		c.Node = name
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.SegmentSize == 0 {
		c.SegmentSize = defaultSegmentSize
	}
	if c.CheckpointInterval == 0 {
		c.CheckpointInterval = defaultCheckpointInterval
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = defaultQueueBytes
	}
	return nil
}

// Commit returns nil once e is on stable storage. Its errors are those of
// session.ErrUnavailable when the disk or the queue is full, failing or closed,
// ctx's when that ended first (e may then still be recorded), and others for an
// event that cannot be written at all.
func (l *Log) Commit(ctx context.Context, e session.Event) error {
	e.Node = l.cfg.Node
	b, err := encodeBody(e)
	if err != nil {
		return err
	}
	return l.wait(ctx, b)
}

// Sync returns nil once everything that was appended before is on stable
// storage, and otherwise the errors of Commit.
func (l *Log) Sync(ctx context.Context) error { return l.wait(ctx, nil) }

func (l *Log) wait(ctx context.Context, b []byte) error {
	done := make(chan error, 1)
	if err := l.enqueue(ctx, entry{body: b, done: done}, false); err != nil {
		return err
	}
	l.kick()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("write audit record: %w", context.Cause(ctx))
	}
}

// Append takes e to be on stable storage within a second. When the queue is
// full it waits for up to a second, and then returns a session.ErrUnavailable.
// While the record cannot be written, events of what has happened are still
// taken as far as the queue is long; those of what is about to be changed are
// not.
func (l *Log) Append(e session.Event) error {
	e.Node = l.cfg.Node
	b, err := encodeBody(e)
	if err != nil {
		return err
	}
	return l.enqueue(context.Background(), entry{body: b}, e.Outcome == session.OutcomeBegun)
}

// enqueue hands x to the writer. A change is refused while the record cannot be
// written.
func (l *Log) enqueue(ctx context.Context, x entry, change bool) error {
	limit := l.cfg.QueueBytes
	if x.done != nil {
		limit += limit / 4 // appended events alone must not shut out a commit
	}
	var timeout <-chan time.Time
	l.mu.Lock()
	for l.queued+x.cost() > limit && l.queued > 0 && !l.closing {
		room, cause := l.room, l.err
		l.mu.Unlock()
		l.kick()
		if cause != nil {
			return unavailable(cause) // waiting would not help
		}
		if timeout == nil {
			timer := time.NewTimer(maxWait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-room:
		case <-timeout:
			return unavailable(errors.New("too many events wait for the disk"))
		case <-ctx.Done():
			return fmt.Errorf("write audit record: %w", context.Cause(ctx))
		}
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	if l.closing {
		return unavailable(session.ErrClosed)
	}
	if change && l.state != good {
		return unavailable(l.err)
	}
	x.at = time.Now()
	l.queue = append(l.queue, x)
	l.queued += x.cost()
	if x.done == nil && !l.armed {
		l.armed = true
		l.flush.Reset(flushInterval)
	}
	if l.queued > maxBatch {
		l.kick()
	}
	return nil
}

// unavailable is session.ErrUnavailable with its cause.
func unavailable(cause error) error {
	return fmt.Errorf("write audit record: %w: %w", session.ErrUnavailable, cause)
}

// kick makes the writer look at the queue.
func (l *Log) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Durable returns the seq of the last line on stable storage.
func (l *Log) Durable() int64 {
	seq, _ := l.progress()
	return seq
}

// progress returns the last durable seq, and a channel that is closed when
// there is a later one or the log is closed.
func (l *Log) progress() (int64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable, l.advanced
}

// Close writes what waits, the stop and a last checkpoint, and gives the record
// free. It returns an error if some of it could not be written. Later calls wait
// for the first and return nil.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		<-l.done
		return nil
	}
	l.closing = true
	l.mu.Unlock()
	l.flush.Stop()
	l.kick()
	<-l.done
	l.mu.Lock()
	close(l.advanced) // those who follow read the rest and end
	l.advanced = make(chan struct{})
	l.mu.Unlock()
	l.w.close()
	return errors.Join(l.finalError(), unlock(l.lock))
}

func (l *Log) finalError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		return nil
	}
	return fmt.Errorf("close audit record: %d events lost: %w", len(l.queue), l.err)
}
