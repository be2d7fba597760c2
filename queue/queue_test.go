package queue

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/queue/relay"
	"gateway/queue/spool"
	"gateway/session"
)

// record is a session.Recorder in memory.
type record struct {
	mu     sync.Mutex
	events []session.Event
	grown  chan struct{}
}

func newRecord() *record { return &record{grown: make(chan struct{}, 10000)} }

func (r *record) Commit(_ context.Context, e session.Event) error { return r.Append(e) }

func (r *record) Append(e session.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	r.grown <- struct{}{}
	return nil
}

func (r *record) all() []session.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]session.Event(nil), r.events...)
}

// fixture is a queue with a clock of its own.
type fixture struct {
	*Queue
	record  *record
	dir     string
	settled chan struct{} // one for each attempt that ended
	mu      sync.Mutex
	clock   time.Time
}

func (f *fixture) advance(d time.Duration) {
	f.mu.Lock()
	f.clock = f.clock.Add(d)
	f.mu.Unlock()
	f.rouse()
}

func (f *fixture) time() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock
}

func newQueue(tb testing.TB, route string, change func(*Config)) *fixture {
	tb.Helper()
	dir := tb.TempDir()
	f := &fixture{record: newRecord(), dir: dir, settled: make(chan struct{}, 10000), clock: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	cfg := Config{
		Dir: filepath.Join(dir, "mail"), Hostname: "gw.example.com", MaildirDir: filepath.Join(dir, "maildirs"),
		Recorder: f.record, MinFree: 1,
	}
	var err error
	if route != "" {
		if cfg.DefaultRoute, err = ParseRoute(route); err != nil {
			tb.Fatal(err)
		}
	}
	if change != nil {
		change(&cfg)
	}
	if f.Queue, err = Open(tb.Context(), cfg); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	f.now = f.time
	f.attempted = func() { f.settled <- struct{}{} }
	return f
}

// run runs the queue until the test ends.
func (f *fixture) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// wait waits for n events in all and for what follows from them to be written.
func (f *fixture) wait(t *testing.T, n int) []session.Event {
	t.Helper()
	for len(f.record.all()) < n {
		select {
		case <-f.record.grown:
		case <-time.After(patience):
			t.Fatalf("only %d events: %+v", len(f.record.all()), f.record.all())
		}
	}
	return f.record.all()
}

// waitIdle waits until nothing is due and nothing under way.
func (f *fixture) waitIdle(t *testing.T) {
	t.Helper()
	for {
		f.mu.Lock()
		now := micros(f.clock)
		f.mu.Unlock()
		f.Queue.mu.Lock()
		at, ok := f.schedule.nextDue()
		idle := len(f.schedule.ready) == 0 && (!ok || at > now)
		for _, d := range f.schedule.all {
			idle = idle && d.running == 0
		}
		f.Queue.mu.Unlock()
		if idle {
			return
		}
		select {
		case <-f.settled:
		case <-time.After(patience):
			t.Fatalf("still busy: %+v", f.list(t))
		}
	}
}

// next is when the next attempt is due.
func (f *fixture) next(t *testing.T) time.Time {
	t.Helper()
	f.Queue.mu.Lock()
	defer f.Queue.mu.Unlock()
	at, ok := f.schedule.nextDue()
	if !ok {
		t.Fatal("nothing is due")
	}
	return fromMicros(at)
}

// list is what is in the queue.
func (f *fixture) list(t *testing.T) (list []Item) {
	t.Helper()
	for after := ""; ; {
		page, err := f.List(t.Context(), Filter{}, after)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, page.Items...)
		if after = page.Next; after == "" {
			return list
		}
	}
}

// loadID reads a message.
func (f *fixture) loadID(t *testing.T, id string) *message {
	t.Helper()
	e, err := f.find(id)
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.load(e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// files are the names in the queue's folder, without the log.
func (f *fixture) files(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(f.cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".spool" {
			names = append(names, e.Name())
		}
	}
	return names
}

// waitList waits until n messages are left in the queue.
func (f *fixture) waitList(t *testing.T, n int) []Item {
	t.Helper()
	for {
		list := f.list(t)
		// The list leaves out a message that went while it was made, and does not have yet
		// the notification in whose favour it did; the spool has one or the other.
		if len(list) == n && len(f.spool.After(spool.ID{}, maxPage)) == n {
			return list
		}
		select {
		case <-f.settled:
		case <-time.After(patience):
			t.Fatalf("got %d messages in the queue, want %d: %+v", len(list), n, list)
		}
	}
}

// patience is how long a test waits on a busy machine for what comes at once.
const patience = time.Minute

const mail = "From: a@example.com\r\nTo: b@example.net\r\nSubject: x\r\nMessage-ID: <1@example.com>\r\n\r\nHello.\r\n.dot\r\n"

func put(tb testing.TB, q *Queue, content string, e Envelope) string {
	tb.Helper()
	d := q.Draft()
	defer d.Discard()
	if _, err := io.WriteString(d, content); err != nil {
		tb.Fatal(err)
	}
	id, err := d.Commit(tb.Context(), e)
	if err != nil {
		tb.Fatal(err)
	}
	if id != d.ID() {
		tb.Errorf("got id %s, want %s", id, d.ID())
	}
	return id
}

func sends(to ...string) Envelope {
	return Envelope{From: "a@example.com", To: recipients(to...), User: "alice", Conn: "c1", Session: "s1", MessageID: "<1@example.com>"}
}

func recipients(addresses ...string) (list []EnvelopeRecipient) {
	for _, a := range addresses {
		list = append(list, EnvelopeRecipient{Address: a})
	}
	return list
}

func TestMaildirDelivery(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox/all", nil)
	id := put(t, f.Queue, mail, sends("b@example.net", "c@example.net"))
	f.run(t)
	e := f.wait(t, 1)[0]
	if e.Verb != session.Deliver || e.Outcome != session.OutcomeDone || e.QueueID != id || e.Route != "maildir://inbox/all" ||
		*e.From != "a@example.com" || len(e.To) != 2 || e.User != "alice" || e.Size != int64(len(mail)) {
		t.Errorf("got event %+v", e)
	}
	f.waitList(t, 0)
	folder := filepath.Join(f.dir, "maildirs", "inbox", "all")
	entries, err := os.ReadDir(filepath.Join(folder, "new"))
	if err != nil || len(entries) != 2 {
		t.Fatalf("got %v, %v; want two files", entries, err)
	}
	got, err := os.ReadFile(filepath.Join(folder, "new", entries[0].Name()))
	want := "Return-Path: <a@example.com>\nDelivered-To: b@example.net\n" + strings.ReplaceAll(mail, "\r\n", "\n")
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	for _, sub := range []string{"tmp", "cur"} {
		if entries, err := os.ReadDir(filepath.Join(folder, sub)); err != nil || len(entries) != 0 {
			t.Errorf("%s: got %v, %v; want an empty folder", sub, entries, err)
		}
	}
}

func TestCommitRefuses(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", func(c *Config) { c.MaxRecipients = 2 })
	for name, c := range map[string]struct {
		e    Envelope
		want error
	}{
		"no recipient":      {sends(), ErrEnvelope},
		"three recipients":  {sends("b@x", "c@x", "d@x"), ErrEnvelope},
		"bad recipient":     {sends("b"), ErrEnvelope},
		"bad sender":        {Envelope{From: "a", To: recipients("b@x")}, ErrEnvelope},
		"utf8 unasked":      {sends("bü@x"), ErrEnvelope},
		"control in a note": {Envelope{To: recipients("b@x"), MessageID: "<1\r\n>"}, ErrEnvelope},
		"bad route":         {Envelope{To: recipients("b@x"), Route: "http://x"}, ErrRoute},
		"unknown route":     {Envelope{To: recipients("b@x"), Route: "partner"}, ErrNoRoute},
		"bad RET":           {Envelope{To: recipients("b@x"), Ret: "ALL"}, ErrEnvelope},
		"bad ENVID":         {Envelope{To: recipients("b@x"), EnvID: "x\r\n"}, ErrEnvelope},
		"bad NOTIFY":        {Envelope{To: []EnvelopeRecipient{{Address: "b@x", Notify: "NEVER,DELAY"}}}, ErrEnvelope},
		"bad ORCPT":         {Envelope{To: []EnvelopeRecipient{{Address: "b@x", ORcpt: "b@x"}}}, ErrEnvelope},
		"half a field":      {Envelope{To: recipients("b@x"), Header: "X: y"}, ErrEnvelope},
		"empty line":        {Envelope{To: recipients("b@x"), Header: "X: y\r\n\r\n"}, ErrEnvelope},
		"bare LF":           {Envelope{To: recipients("b@x"), Header: "X: y\n"}, ErrEnvelope},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := f.Draft()
			if _, err := d.Commit(t.Context(), c.e); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if _, err := d.Write([]byte("x")); !errors.Is(err, session.ErrClosed) {
				t.Errorf("Write after Commit: got %v", err)
			}
			if _, err := d.Commit(t.Context(), sends("b@x")); !errors.Is(err, session.ErrClosed) {
				t.Errorf("second Commit: got %v", err)
			}
		})
	}
}

func TestNoRoute(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "", nil)
	d := f.Draft()
	if _, err := d.Commit(t.Context(), sends("b@x")); !errors.Is(err, ErrNoRoute) {
		t.Errorf("got %v, want %v", err, ErrNoRoute)
	}
}

func TestNoSpace(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", func(c *Config) { c.MinFree = 1 << 60 })
	d := f.Draft()
	if _, err := d.Commit(t.Context(), sends("b@x")); !errors.Is(err, session.ErrNoSpace) {
		t.Errorf("small: got %v, want %v", err, session.ErrNoSpace)
	}
	d = f.Draft()
	_, err := d.Write(make([]byte, maxInline+1))
	if !errors.Is(err, session.ErrNoSpace) {
		t.Errorf("large: got %v, want %v", err, session.ErrNoSpace)
	}
	if _, err := d.Commit(t.Context(), sends("b@x")); !errors.Is(err, session.ErrNoSpace) {
		t.Errorf("commit after it: got %v, want %v", err, session.ErrNoSpace)
	}
	if left := f.files(t); len(left) != 0 {
		t.Errorf("got %v; want nothing left", left)
	}
}

func TestLargeContent(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", nil)
	content := mail + strings.Repeat("0123456789abcdef\r\n", 20000)
	id := put(t, f.Queue, content, sends("b@x", "c@x"))
	got, err := os.ReadFile(filepath.Join(f.dir, "mail", id))
	if err != nil || string(got) != content {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	f.run(t)
	f.waitList(t, 0)
	if list := f.wait(t, 1); list[0].Verb != session.Deliver {
		t.Errorf("got %+v", list)
	}
	entries, _ := os.ReadDir(filepath.Join(f.dir, "maildirs", "inbox", "new"))
	if len(entries) != 2 {
		t.Fatalf("got %d files, want 2", len(entries))
	}
	for _, e := range entries {
		got, err := os.ReadFile(filepath.Join(f.dir, "maildirs", "inbox", "new", e.Name()))
		if err != nil || !strings.HasSuffix(string(got), strings.ReplaceAll(content, "\r\n", "\n")) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	}
}

// An attempt that was cut between the rename and our own commit is made again,
// and leaves one file.
func TestMaildirHasNoSecondCopy(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", func(c *Config) { c.Hostname = "2001:db8::1" })
	m := f.loadID(t, put(t, f.Queue, mail, sends("b@x")))
	for range 2 {
		got := f.handMaildir(t.Context(), f.cfg.DefaultRoute, m, []int{0})
		if s := got.Statuses[0]; s.Outcome != relay.Delivered {
			t.Errorf("got %+v", s)
		}
	}
	entries, err := os.ReadDir(filepath.Join(f.dir, "maildirs", "inbox", "new"))
	if err != nil || len(entries) != 1 || strings.Contains(entries[0].Name(), ":") {
		t.Errorf("got %v, %v; want one file without a colon", entries, err)
	}
}

// A link in the place of a maildir does not lead out of the folder of maildirs.
func TestMaildirStaysInside(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", nil)
	outside := t.TempDir()
	if err := os.MkdirAll(filepath.Join(f.dir, "maildirs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(f.dir, "maildirs", "inbox")); err != nil {
		t.Fatal(err)
	}
	put(t, f.Queue, mail, sends("b@x"))
	f.run(t)
	e := f.wait(t, 1)[0]
	if e.Verb != session.Defer || strings.Contains(e.Reason, f.dir) {
		t.Errorf("got %+v, want a defer without the path", e)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v outside", entries, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	err := Config{Retry: []time.Duration{1}, Expire: -1, DefaultRoute: Route{scheme: schemeMaildir, path: "x"}}.Validate()
	if err == nil {
		t.Fatal("got nil")
	}
	for _, want := range []string{"Dir is", "Recorder", "Hostname", "MaildirDir", "Retry", "Expire"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
	for _, host := range []string{"gw.example.com", "localhost", "192.0.2.1", "2001:db8::1"} {
		if err := (Config{Dir: "x", Recorder: newRecord(), Hostname: host}).Validate(); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}
