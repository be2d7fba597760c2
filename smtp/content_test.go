package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/smtp/dkim"
)

// filterFunc is a Filter.
type filterFunc func(m *Message) error

func (f filterFunc) Filter(_ context.Context, m *Message) error { return f(m) }

// deliver sends a message as alice and returns the reply.
func (f *fixture) deliver(t *testing.T, content string) string {
	t.Helper()
	p := dialPeer(t, f.listen(t), false)
	p.login()
	p.open()
	p.send("DATA\n")
	p.expect("354 ")
	p.send(content + "\n.\n")
	return p.reply()
}

// largeBody is a body that does not stay in memory.
func largeBody() string { return strings.Repeat("line of a large body\n", maxInMemory/20+1) }

// What a filter sees is what will be sent, and what it leaves is what is queued.
func TestFilterChangesTheMessage(t *testing.T) {
	t.Parallel()
	var seen []string
	dir := t.TempDir()
	f := newFixture(t, nil, func(cfg *Config) {
		cfg.SpoolDir = dir
		cfg.Filters = []Filter{
			filterFunc(func(m *Message) error {
				for _, field := range m.Header {
					seen = append(seen, field.Name+":"+field.Value)
				}
				body, err := io.ReadAll(m.Body())
				if err != nil || !bytes.HasSuffix(body, []byte("\r\n\r\n.dot\r\n")) {
					t.Errorf("body: %v, %.100q", err, body)
				}
				if m.ID != "q1" || m.From != "alice@example.com" || !slices.Equal(m.To, []string{"bob@remote.test"}) || m.User != "alice" || m.Helo != "client.test" || m.TLS == nil {
					t.Errorf("got %+v", m)
				}
				m.Header = append([]Field{{"X-First", " 1"}}, m.Header...)
				m.Header[len(m.Header)-1].Value = "\r\n folded"
				return m.ReplaceBody(strings.NewReader("one\ntwo\r\nthree"))
			}),
			filterFunc(func(m *Message) error {
				body, err := io.ReadAll(m.Body())
				if string(body) != "one\r\ntwo\r\nthree\r\n" || err != nil {
					t.Errorf("the second filter sees %q, %v", body, err)
				}
				if m.Header[0] != (Field{"X-First", " 1"}) {
					t.Errorf("the second filter sees %v", m.Header)
				}
				return nil
			}),
		}
	})
	got := f.deliver(t, aliceHeader+"Bcc: eve@remote.test\nX-Last: a\n\tb\n\n"+largeBody()+"\n..dot")
	if !strings.HasPrefix(got, "250 ") {
		t.Fatal(got)
	}
	want := []string{"From: alice@example.com", "To: bob@remote.test", "Subject: t", "Date: Mon, 23 Nov 2026 06:00:00 +0000", "Message-ID: <1@example.com>", "X-Last: a\r\n\tb"}
	if !slices.Equal(seen, want) {
		t.Errorf("header: got %q, want %q", seen, want)
	}
	mail := f.queue.all()[0]
	if !strings.HasPrefix(mail.content, "Received: ") || !strings.Contains(mail.content, "\r\nX-First: 1\r\nFrom: alice@example.com\r\n") ||
		!strings.HasSuffix(mail.content, "\r\nX-Last:\r\n folded\r\n\r\none\r\ntwo\r\nthree\r\n") {
		t.Errorf("queued: %q", mail.content)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v are left of the bodies", entries, err)
	}
}

func TestFilterVerdicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		filter filterFunc
		want   string // how the reply begins
		reason string // of the record
		hold   bool
	}{
		"refuse":            {func(*Message) error { return &Rejection{550, "5.7.0", "Spam", "score 17"} }, "550 5.7.0 Spam", "score 17", false},
		"defer":             {func(*Message) error { return &Rejection{Code: 451, Text: "Later"} }, "451 4.7.1 Later", "", false},
		"wrong class":       {func(*Message) error { return &Rejection{Code: 450, Enhanced: "5.1.1"} }, "450 4.7.1 Message refused", "", false},
		"no refusal at all": {func(*Message) error { return &Rejection{Code: 250, Text: "Fine"} }, "550 5.7.1", "", false},
		"more than a line":  {func(*Message) error { return &Rejection{Code: 550, Text: "a\r\n250 b"} }, "550 5.7.1 a250 b", "", false},
		"fault":             {func(*Message) error { return errors.New("broken") }, "451 4.3.0", "broken", false},
		"hold":              {func(m *Message) error { m.Hold = "looks odd"; return nil }, "250 2.0.0 Queued", "held: looks odd", true},
		"not a field":       {func(m *Message) error { m.Header[0].Name = "a b"; return nil }, "451 4.3.0", "filters left it", false},
		"end of the header": {func(m *Message) error { m.Header[0].Value = " a\r\n"; return nil }, "451 4.3.0", "filters left it", false},
		"field within":      {func(m *Message) error { m.Header[0].Value = " a\r\nBcc: x"; return nil }, "451 4.3.0", "filters left it", false},
		"bare CR":           {func(m *Message) error { m.Header[0].Value = " a\rb"; return nil }, "451 4.3.0", "filters left it", false},
		"bare CR in body":   {func(m *Message) error { return m.ReplaceBody(strings.NewReader("a\rb")) }, "451 4.3.0", "bare CR", false},
		"body too big": {func(m *Message) error { return m.ReplaceBody(io.LimitReader(zeros{}, m.MaxBytes+1)) }, "451 4.3.0",
			"more than", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil, func(cfg *Config) { cfg.Filters, cfg.MaxMessageBytes = []Filter{c.filter}, 1<<20 })
			if got := f.deliver(t, aliceHeader+"\nhello"); !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if n := len(f.queue.all()); n == 1 != strings.HasPrefix(c.want, "250") {
				t.Errorf("%d messages queued", n)
			}
			if c.hold != (len(f.queue.all()) == 1 && f.queue.all()[0].envelope.Hold) {
				t.Errorf("hold: want %v", c.hold)
			}
			if e := f.Record.Events(session.EventMail); len(e) != 1 || !strings.Contains(e[0].Reason, c.reason) {
				t.Errorf("recorded %+v, want reason %q", e, c.reason)
			}
		})
	}
}

// zeros is an endless body of one kind of line.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "0000000\n"[i%8]
	}
	return len(p) &^ 7, nil
}

// What is refused for what it is never reaches a filter.
func TestRefusedBeforeFilters(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, func(cfg *Config) {
		cfg.Filters = []Filter{filterFunc(func(*Message) error { t.Error("the filter is asked"); return nil })}
	})
	addr := f.listen(t)
	for content, want := range map[string]string{
		"From: eve@example.com\n\nhello":          "550 5.7.1",
		aliceHeader + "\nhello \rthere":           "550 5.6.11",
		aliceHeader + "\n" + largeBody() + "\r.x": "550 5.6.11",
	} {
		p := dialPeer(t, addr, false)
		p.login()
		p.open()
		p.send("DATA\n")
		p.expect("354 ")
		p.send(content + "\n.\n")
		p.expect(want)
	}
}

// Mail of a domain with keys is signed, also after a filter changed it; other mail
// is not.
func TestSigned(t *testing.T) {
	t.Parallel()
	keys, err := dkim.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Add("example.com", "", dkim.Algorithms()); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, nil, func(cfg *Config) {
		cfg.DKIM = keys
		cfg.Filters = []Filter{filterFunc(func(m *Message) error {
			if strings.Contains(m.Header[2].Value, "other") {
				m.Header[0].Value = " alice@example.org"
			}
			return nil
		})}
	})
	addr := f.listen(t)
	for subject, signatures := range map[string]int{"t": 2, "other": 0} {
		p := dialPeer(t, addr, false)
		p.login()
		p.open()
		p.send("DATA\n")
		p.expect("354 ")
		p.send(strings.Replace(aliceHeader, "Subject: t", "Subject: "+subject, 1) + "\nhello\n.\n")
		p.expect("250 ")
		mails := f.queue.all()
		if got := strings.Count(mails[len(mails)-1].content, "DKIM-Signature:"); got != signatures {
			t.Errorf("%s: %d signatures, want %d", subject, got, signatures)
		}
	}
}

// memoryJournal is a Journal in memory.
type memoryJournal struct {
	mu     sync.Mutex
	fault  string // begin, write or commit
	copies map[string]string
	open   int
}

func (j *memoryJournal) Begin(_ context.Context, s *session.Session, rule, name string) (Copy, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fault == "begin" {
		return nil, fmt.Errorf("no folder: %w", session.ErrDenied)
	}
	j.open++
	return &memoryCopy{journal: j, name: s.Identity().User + " " + rule + " " + name}, nil
}

type memoryCopy struct {
	bytes.Buffer
	journal *memoryJournal
	name    string
}

func (c *memoryCopy) Write(p []byte) (int, error) {
	if c.journal.fault == "write" {
		return 0, session.ErrQuota
	}
	return c.Buffer.Write(p)
}

func (c *memoryCopy) Commit(context.Context) error {
	if c.journal.fault == "commit" {
		return errors.New("no disk")
	}
	c.journal.mu.Lock()
	defer c.journal.mu.Unlock()
	c.journal.copies[c.name] = c.String()
	return nil
}

func (c *memoryCopy) Close(keep bool) error {
	c.journal.mu.Lock()
	defer c.journal.mu.Unlock()
	c.journal.open--
	if !keep {
		delete(c.journal.copies, c.name)
	}
	return nil
}

// journaled lets everybody in, with a copy of their mail by two rules.
func journaled(session.Request) session.Verdict {
	v := session.Verdict{Allowed: true}
	v.Data.Journal = [session.MaxJournals]string{1: "/mail/{date}", 3: "archive:/{user}"}
	return v
}

func TestJournal(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]string{"": "250 ", "begin": "451 4.3.0", "write": "451 4.3.0", "commit": "451 4.3.0", "queue": "451 4.3.0", "none": "451 4.3.0"} {
		t.Run("fault "+fault, func(t *testing.T) {
			t.Parallel()
			j := &memoryJournal{copies: map[string]string{}, fault: fault}
			f := newFixture(t, sessiontest.Rules(journaled), func(cfg *Config) {
				if fault != "none" {
					cfg.Journal = j
				}
			})
			if fault == "queue" {
				f.queue.fail(errors.New("no queue"))
			}
			if got := f.deliver(t, aliceHeader+"Bcc: eve@remote.test\n\nhello"); !strings.HasPrefix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if j.open != 0 {
				t.Errorf("%d copies are open", j.open)
			}
			if fault != "" {
				if len(j.copies) != 0 || len(f.queue.all()) != 0 {
					t.Errorf("got copies %v and %d messages, want nothing", j.copies, len(f.queue.all()))
				}
				return
			}
			content := f.queue.all()[0].content
			for _, name := range []string{"alice /mail/{date} q1", "alice archive:/{user} q1"} {
				if got, want := j.copies[name], "Return-Path: <alice@example.com>\r\nX-Envelope-To: <bob@remote.test>\r\n"+content; got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
		})
	}
}

// Fields that a filter may have left are a header again, or refused.
func FuzzNewHeader(f *testing.F) {
	f.Add("Subject", " hello", "To", " a\r\n b")
	f.Add("Subject", "", "X", "\r\n\r\n")
	f.Add("a:b", "\n", "", "\r")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		fields := []Field{{name1, value1}, {name2, value2}}
		h, err := newHeader(fields)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := h.write(&out); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if len(h.fields) != len(fields) || strings.Index(text, "\r\n\r\n") != len(text)-4 || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\r") {
			t.Errorf("%q became %q", fields, text)
		}
	})
}
