package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gateway/session"
)

// Config of a Spool. Zero fields stand for the defaults named.
type Config struct {
	// Dir holds the log and the large contents, and nothing else. It is made if
	// missing. Required.
	Dir string
	// MinFree is how many bytes of the file system are left free: with less, Room and
	// File.Write return session.ErrNoSpace. Zero means 64 MiB.
	MinFree int64
	// SegmentSize is the length of a segment of the log. Zero means 32 MiB.
	SegmentSize int64
	// Log may be nil for slog.Default.
	Log *slog.Logger
}

const (
	defaultMinFree     = 64 << 20
	defaultSegmentSize = 32 << 20
	// MinSegmentSize is the least SegmentSize.
	MinSegmentSize = 64 << 10
	// reserve is how much of a segment is for removals and states only, so that mail
	// can leave a full disk.
	reserve = 1 << 20
)

// ErrDamaged is a part of a message that is not what was written.
var ErrDamaged = errors.New("damaged on disk")

// Spool is the messages of one folder. Its methods may be called from any
// goroutine.
type Spool[T any] struct {
	cfg Config

	mu       sync.RWMutex // over what follows, and the places in messages
	index    index[T]
	segments map[uint32]*segment
	// unfinished is a segment of whose messages some were copied, to copiesFrom or later
	// segments, and that still exists; zero if there is none. No such later segment may
	// go before it: the removal of a copied message names the segment of the copy.
	unfinished, copiesFrom uint32
	damaged                bool // Open met damage

	writer   writer
	requests chan *request[T]
	closing  chan struct{} // closed by Close: no new changes
	stopped  chan struct{} // closed when the writer has ended
	done     sync.WaitGroup
	clean    chan struct{} // buffered by one: a segment may be in the way
	closed   sync.Once
	closeErr error

	syncs atomic.Int64
}

// Open reads the log in cfg.Dir. No other Spool may have the same folder open. Its
// messages have the zero Value.
func Open[T any](ctx context.Context, cfg Config) (*Spool[T], error) {
	if cfg.MinFree == 0 {
		cfg.MinFree = defaultMinFree
	}
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = defaultSegmentSize
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Dir == "" || cfg.MinFree < 0 || cfg.SegmentSize < MinSegmentSize || cfg.SegmentSize > maxPart {
		return nil, errors.New("spool: Dir is not set, or MinFree or SegmentSize is out of range")
	}
	s := &Spool[T]{
		cfg: cfg, segments: make(map[uint32]*segment), requests: make(chan *request[T], maxGroup),
		closing: make(chan struct{}), stopped: make(chan struct{}), clean: make(chan struct{}, 1),
	}
	if err := s.open(ctx); err != nil {
		for _, seg := range s.segments {
			_ = seg.file.Close()
		}
		return nil, fmt.Errorf("open spool %s: %w", cfg.Dir, err)
	}
	s.done.Go(s.write)
	s.done.Go(s.cleanUp)
	s.wakeCleaner()
	return s, nil
}

func (s *Spool[T]) open(ctx context.Context) error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(s.cfg.Dir)); err != nil {
		return err
	}
	if err := s.replay(ctx); err != nil {
		return err
	}
	return s.sweep()
}

// Close waits for the changes that were accepted. Later ones are
// session.ErrClosed.
func (s *Spool[T]) Close() error {
	s.closed.Do(func() {
		close(s.closing)
		s.done.Wait()
		if active := s.writer.active; active != nil {
			s.closeErr = active.cut() // gives back what was taken in advance
		}
		for _, seg := range s.segments {
			s.closeErr = errors.Join(s.closeErr, seg.file.Close())
		}
	})
	return s.closeErr
}

// Len is how many messages there are.
func (s *Spool[T]) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.len()
}

// Syncs is how often this Spool had something put on stable storage, by any kind
// of sync.
func (s *Spool[T]) Syncs() int64 { return s.syncs.Load() }

// Get returns the message of that id, nil if there is none.
func (s *Spool[T]) Get(id ID) *Message[T] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if m := s.index.get(id); m != nil && m.flags&pending == 0 {
		return m
	}
	return nil
}

// After returns the first messages whose ids come after id, at most limit. The zero
// ID comes before all.
func (s *Spool[T]) After(id ID, limit int) []*Message[T] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, found := s.index.search(id)
	if found {
		i++
	}
	list := make([]*Message[T], 0, min(limit, len(s.index.list)-i))
	for _, m := range s.index.list[i:] {
		if len(list) == limit {
			break
		}
		if m.flags&(gone|pending) == 0 {
			list = append(list, m)
		}
	}
	return list
}

// Envelope reads the envelope of m. Errors: ErrDamaged, session.ErrNotExist if m is
// gone, or what the disk says.
func (s *Spool[T]) Envelope(m *Message[T]) ([]byte, error) {
	return s.part(m, func() (place, bool) { return m.at, false })
}

// State reads the state of m, nil if it has none. Errors as for Envelope.
func (s *Spool[T]) State(m *Message[T]) ([]byte, error) {
	return s.part(m, func() (place, bool) { return m.state, false })
}

// content reads what of the content is in the log.
func (s *Spool[T]) content(m *Message[T]) ([]byte, error) {
	return s.part(m, func() (place, bool) { return m.at, true })
}

// part reads one part of a record. The record may be copied elsewhere meanwhile.
func (s *Spool[T]) part(m *Message[T], where func() (p place, content bool)) ([]byte, error) {
	for {
		s.mu.RLock()
		p, content := where()
		seg, is := s.segments[p.segment], m.flags&gone == 0
		s.mu.RUnlock()
		switch {
		case !is:
			return nil, fmt.Errorf("message %s: %w", m.id, session.ErrNotExist)
		case p.segment == 0:
			return nil, nil
		case seg == nil:
			return nil, fmt.Errorf("message %s: segment %d: %w", m.id, p.segment, session.ErrClosed)
		}
		b, err := seg.part(m.id, p, content)
		if errors.Is(err, os.ErrClosed) {
			if s.isClosing() {
				return nil, fmt.Errorf("message %s: %w", m.id, session.ErrClosed)
			}
			continue // it was in the way, and is elsewhere by now
		}
		return b, err
	}
}

// part reads and checks one part of the record at p.
func (s *segment) part(id ID, p place, content bool) ([]byte, error) {
	n := headSize + int64(p.envelope)
	if content {
		n += int64(p.content)
	}
	b, err := s.read(int64(p.offset), n)
	if err != nil {
		return nil, err
	}
	h, ok := parseHead(b, s.salt)
	part, want := b[headSize:], h.sums[0]
	if content {
		part, want = part[p.envelope:], h.sums[1]
	}
	if !ok || h.id != id || h.envelope != p.envelope || h.content != p.content || sum(part) != want {
		return nil, fmt.Errorf("message %s, segment %s at %d: %w", id, segmentName(s.number), p.offset, ErrDamaged)
	}
	return part, nil
}

func (s *Spool[T]) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// Room returns session.ErrNoSpace when the disk is so full that nothing new should
// be accepted.
func (s *Spool[T]) Room() error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.cfg.Dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", s.cfg.Dir, err)
	}
	if free := uint64(st.Bavail) * uint64(st.Bsize); free < uint64(s.cfg.MinFree) {
		return fmt.Errorf("%w: %d bytes free, %d are kept free", session.ErrNoSpace, free, s.cfg.MinFree)
	}
	return nil
}

// numbers are those of the segments, in order. The caller holds the lock.
func (s *Spool[T]) numbers() []uint32 {
	numbers := make([]uint32, 0, len(s.segments))
	for n := range s.segments {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}
