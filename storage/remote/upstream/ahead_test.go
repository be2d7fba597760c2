package upstream

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

// source is a file that is sent from some offset to its end.
type source struct {
	content []byte
	short   int64 // where it breaks off; zero for the end

	mu     sync.Mutex
	opened int
	open   int
	read   int64
}

// state is how often it was opened, is open now, and how much of it was read.
func (s *source) state() (opened, open int, read int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened, s.open, s.read
}

// flow is one sending of it.
type flow struct {
	*source
	at   int64
	stop chan struct{}
	once sync.Once
}

func (s *source) from(off int64) (Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	s.open++
	return &flow{source: s, at: off, stop: make(chan struct{})}, nil
}

func (f *flow) Read(p []byte) (int, error) {
	select {
	case <-f.stop:
		return 0, io.ErrClosedPipe
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	end := int64(len(f.content))
	if f.short > 0 {
		end = f.short
	}
	if f.at >= end {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 10_007)], f.content[f.at:end])
	f.at += int64(n)
	f.read += int64(n)
	return n, nil
}

func (f *flow) Interrupt() { f.once.Do(func() { close(f.stop) }) }

func (f *flow) End(all bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	if all && f.at < int64(len(f.content)) {
		return errors.New("cut")
	}
	return nil
}

func random(n int) []byte {
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func TestAheadSequence(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 10_000, window - 1, window, window + 1, 3*window + 17} {
		synctest.Test(t, func(t *testing.T) {
			s := &source{content: random(size)}
			a := NewAhead(int64(size), time.Minute, s.from)
			got, err := io.ReadAll(io.NewSectionReader(a, 0, int64(size)))
			if opened, _, _ := s.state(); err != nil || !bytes.Equal(got, s.content) || opened > 1 {
				t.Errorf("size %d: got %d bytes, %v, of %d streams", size, len(got), err, opened)
			}
			if n, err := a.ReadAt(make([]byte, 1), int64(size)); n != 0 || err != io.EOF {
				t.Errorf("at the end: %d, %v", n, err)
			}
			synctest.Wait()
			if _, open, _ := s.state(); open != 0 {
				t.Errorf("size %d: the stream is still open at the end", size)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Requests in another order, as clients have them under way, need no second stream.
func TestAheadShuffled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const piece, among = 32 << 10, 4
		s := &source{content: random(2 * window)}
		a := NewAhead(int64(len(s.content)), time.Minute, s.from)
		defer a.Close()
		first := make([]byte, piece)
		if _, err := a.ReadAt(first, 0); err != nil {
			t.Fatal(err)
		}
		for base := int64(piece); base < int64(len(s.content)); base += among * piece {
			for i := int64(among - 1); i >= 0; i-- {
				off := base + i*piece
				if off >= int64(len(s.content)) {
					continue
				}
				p := make([]byte, min(piece, int64(len(s.content))-off))
				if _, err := a.ReadAt(p, off); err != nil || !bytes.Equal(p, s.content[off:off+int64(len(p))]) {
					t.Fatalf("at %d: %v", off, err)
				}
			}
		}
		if opened, _, _ := s.state(); opened != 1 {
			t.Errorf("%d streams", opened)
		}
	})
}

// Readers at the same time, anywhere, get what is there.
func TestAheadAnywhere(t *testing.T) {
	t.Parallel()
	s := &source{content: random(3 * window)}
	a := NewAhead(int64(len(s.content)), time.Minute, s.from)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(3, uint64(i)))
			for range 50 {
				off := r.Int64N(int64(len(s.content)))
				p := make([]byte, r.IntN(300_000)+1)
				n, err := a.ReadAt(p, off)
				if want := s.content[off:min(off+int64(len(p)), int64(len(s.content)))]; !bytes.Equal(p[:n], want) || err != nil && (err != io.EOF || n == len(p)) {
					t.Errorf("at %d: %d bytes of %d, %v", off, n, len(want), err)
				}
			}
		})
	}
	wg.Wait()
	err := a.Close()
	if _, open, _ := s.state(); err != nil || open != 0 {
		t.Errorf("Close: %v, %d streams open", err, open)
	}
	if _, err := a.ReadAt(make([]byte, 1), 0); !errors.Is(err, session.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := a.Close(); !errors.Is(err, session.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// It reads ahead no further than the window, and rests when nobody goes on.
func TestAheadIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{content: random(4 * window)}
		a := NewAhead(int64(len(s.content)), time.Minute, s.from)
		defer a.Close()
		p := make([]byte, 100)
		if _, err := a.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, open, read := s.state(); read > window || open != 1 {
			t.Errorf("read %d bytes ahead, %d open", read, open)
		}
		time.Sleep(2 * time.Minute)
		_, open, before := s.state()
		if open != 0 {
			t.Error("nobody reads, and it is still open")
		}
		_, err := a.ReadAt(p, 200)
		if _, _, read := s.state(); err != nil || read != before {
			t.Errorf("what is at hand was read again: %v", err)
		}
		_, err = a.ReadAt(p, before)
		if opened, _, _ := s.state(); err != nil || !bytes.Equal(p, s.content[before:before+100]) || opened != 2 {
			t.Errorf("read on: %v", err)
		}
		if _, err := a.ReadAt(p, -1); !errors.Is(err, session.ErrRange) {
			t.Errorf("got %v", err)
		}
	})
}

// A stream that breaks off gives what came, then says so, and is begun anew when asked again.
func TestAheadBreaksOff(t *testing.T) {
	t.Parallel()
	s := &source{content: random(100_000), short: 50_000}
	a := NewAhead(int64(len(s.content)), time.Minute, s.from)
	defer a.Close()
	p := make([]byte, len(s.content))
	if n, err := a.ReadAt(p, 0); n != 50_000 || err == nil || err == io.EOF {
		t.Fatalf("got %d, %v", n, err)
	}
	s.mu.Lock()
	s.short = 0
	s.mu.Unlock()
	if n, err := a.ReadAt(p[50_000:], 50_000); n != 50_000 || err != nil || !bytes.Equal(p, s.content) {
		t.Errorf("got %d, %v", n, err)
	}
	// A file that is shorter than it was said to be.
	short := NewAhead(200_000, time.Minute, s.from)
	defer short.Close()
	if n, err := short.ReadAt(make([]byte, 200_000), 0); n != 100_000 || !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("got %d, %v", n, err)
	}
}
