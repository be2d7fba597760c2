package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	netmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/session"
)

// peer is an SMTP server that answers as it is told.
type peer struct {
	addr string
	mu   sync.Mutex
	// answer gives the reply to a command, or to "." with the content; "" is the
	// usual one, "drop" closes.
	answer func(command, content string) string
	got    []received
	open   int
	most   int // connections at once
}

type received struct {
	from    string
	to      []string
	content string
}

func newPeer(t *testing.T, answer func(command, content string) string) *peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return servePeer(t, ln, answer)
}

func servePeer(t *testing.T, ln net.Listener, answer func(command, content string) string) *peer {
	p := &peer{addr: ln.Addr().String(), answer: answer}
	var wg sync.WaitGroup
	var conns sync.Map
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Store(c, true)
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return p
}

func (p *peer) route() string { return "smtp://" + p.addr }

func (p *peer) set(answer func(command, content string) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *peer) messages() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

func (p *peer) count(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open += n
	p.most = max(p.most, p.open)
}

func (p *peer) serve(c net.Conn) {
	defer c.Close()
	p.count(1)
	defer p.count(-1)
	r := bufio.NewReader(c)
	var m received
	command, content := "greeting", ""
	for {
		p.mu.Lock()
		answer := p.answer
		p.mu.Unlock()
		reply := ""
		if answer != nil {
			reply = answer(command, content)
		}
		verb, arg, _ := strings.Cut(command, ":")
		if reply == "" {
			reply = map[string]string{"greeting": "220 hi", "DATA": "354 go", "QUIT": "221 bye"}[verb]
			if strings.HasPrefix(verb, "EHLO") {
				reply = "250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE"
			}
		}
		if reply == "" {
			reply = "250 2.0.0 ok"
		}
		if reply == "drop" {
			return
		}
		ok := reply[0] == '2'
		if ok && verb == "." { // before the answer: whoever has that may look
			m.content = content
			p.mu.Lock()
			p.got = append(p.got, m)
			p.mu.Unlock()
		}
		if _, err := io.WriteString(c, reply+"\r\n"); err != nil || verb == "QUIT" {
			return
		}
		path, _, _ := strings.Cut(strings.TrimPrefix(arg, "<"), ">")
		switch {
		case ok && verb == "MAIL FROM":
			m = received{from: path}
		case ok && verb == "RCPT TO":
			m.to = append(m.to, path)
		case reply[0] == '3':
			var b strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(line, "."))
			}
			command, content = ".", b.String()
			continue
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		command = strings.TrimRight(line, "\r\n")
	}
}

// refuse answers commands with a prefix.
func refuse(prefix, reply string) func(string, string) string {
	return func(command, _ string) string {
		if strings.HasPrefix(command, prefix) {
			return reply
		}
		return ""
	}
}

func verbs(events []session.Event) (list []string) {
	for _, e := range events {
		list = append(list, string(e.Verb)+" "+e.Outcome)
	}
	return list
}

func TestDeliverBySMTP(t *testing.T) {
	t.Parallel()
	p := newPeer(t, nil)
	f := newQueue(t, p.route(), nil)
	id := put(t, f.Queue, mail, sends("b@example.net", `"c d"@example.net`))
	f.run(t)
	e := f.wait(t, 1)[0]
	if e.Verb != session.Deliver || e.Outcome != session.OutcomeDone || e.RemoteHost != p.addr || e.QueueID != id ||
		e.Reason != "250 2.0.0 ok" || e.MessageID != "<1@example.com>" || e.Conn != "c1" || e.Session != "s1" {
		t.Errorf("got %+v", e)
	}
	f.waitList(t, 0)
	got := p.messages()
	if len(got) != 1 || got[0].from != "a@example.com" || got[0].content != mail ||
		!slices.Equal(got[0].to, []string{"b@example.net", `"c d"@example.net`}) {
		t.Errorf("got %+v", got)
	}
}

func TestDeliverByUnixSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "lmtp") // t.TempDir is too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	p := servePeer(t, ln, func(command, _ string) string {
		if strings.HasPrefix(command, "LHLO") {
			return "250 peer"
		}
		return ""
	})
	f := newQueue(t, "lmtp://"+p.addr, nil)
	put(t, f.Queue, mail, sends("b@example.net"))
	f.run(t)
	if e := f.wait(t, 1)[0]; e.Verb != session.Deliver || e.RemoteHost != p.addr {
		t.Errorf("got %+v", e)
	}
	f.waitList(t, 0)
}

func TestAccountRouteGoesBeforeDefault(t *testing.T) {
	t.Parallel()
	p := newPeer(t, nil)
	f := newQueue(t, "maildir://never", nil)
	e := sends("b@example.net")
	e.Route = p.route()
	put(t, f.Queue, mail, e)
	f.run(t)
	if e := f.wait(t, 1)[0]; e.Route != p.route() {
		t.Errorf("got %+v", e)
	}
	f.waitList(t, 0)
	if len(p.messages()) != 1 {
		t.Errorf("got %+v", p.messages())
	}
}

// The waits are those of the schedule, with at most a tenth more, and the last
// attempt is when the message expires.
func TestRetryScheduleAndExpiry(t *testing.T) {
	t.Parallel()
	p := newPeer(t, refuse("RCPT", "451 4.7.1 later"))
	f := newQueue(t, p.route(), func(c *Config) { c.WarnAfter = 100 * time.Hour })
	began := f.time()
	id := put(t, f.Queue, mail, sends("b@example.net"))
	f.run(t)
	schedule := defaultRetry()
	attempts := 0
	for {
		attempts++
		f.wait(t, attempts)
		<-f.settled
		d, err := f.Show(t.Context(), id)
		if errors.Is(err, session.ErrNotExist) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want := schedule[min(attempts-1, len(schedule)-1)]
		wait := d.NextAttempt.Sub(f.time())
		if last := d.NextAttempt.Equal(began.Add(72 * time.Hour)); !last && (wait < want || wait > want+want/10) || d.Attempts != attempts {
			t.Fatalf("attempt %d: next one in %v, want %v; recorded %d attempts", attempts, wait, want, d.Attempts)
		}
		if d.Reply != "451 4.7.1 later" || d.Recipients[0].RemoteHost != p.addr {
			t.Fatalf("got %+v", d)
		}
		if attempts == 3 {
			p.set(func(command, _ string) string {
				if command == "RCPT TO:<b@example.net>" {
					return "451 4.7.1 later"
				}
				return ""
			})
		}
		f.advance(wait)
	}
	if took := f.time().Sub(began); took != 72*time.Hour {
		t.Errorf("expired after %v, want 72h", took)
	}
	f.waitList(t, 0)
	events := f.record.all()
	last := events[attempts-1]
	if last.Verb != session.Expire || last.Outcome != session.OutcomeFailed || events[0].Verb != session.Defer {
		t.Errorf("got %q", verbs(events))
	}
	got := p.messages()
	if len(got) != 1 || got[0].from != "" || got[0].to[0] != "a@example.com" || !strings.Contains(got[0].content, "Status: 4.4.7") {
		t.Errorf("got %+v, want one bounce", got)
	}
}

// One bounce for those that failed; the others are delivered, or tried again.
func TestBounce(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(command, _ string) string {
		switch command {
		case "RCPT TO:<b@example.net>":
			return "550-5.1.1 no such\r\n550 5.1.1 user \x1b[31m"
		case "RCPT TO:<c@example.net>":
			return "450 4.2.1 busy"
		case "RCPT TO:<d@example.net>":
			return "552 5.2.2 full"
		}
		return ""
	})
	f := newQueue(t, p.route(), nil)
	id := put(t, f.Queue, mail, sends("b@example.net", "c@example.net", "d@example.net", "e@example.net"))
	f.run(t)
	events := f.wait(t, 6)
	want := []string{"bounce failed", "defer failed", "bounce failed", "deliver done", "accept done", "deliver done"}
	if got := verbs(events); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if e := events[0]; e.Reason != "550 5.1.1 no such user [31m" || e.QueueID != id || !slices.Equal(e.To, []string{"b@example.net"}) {
		t.Errorf("got %+v", e)
	}
	if a := events[4]; a.QueueID == id || a.QueueID != events[5].QueueID || !strings.HasSuffix(a.Reason, " about "+id) || a.To[0] != "a@example.com" {
		t.Errorf("accepted bounce: got %+v", a)
	}
	if b := events[5]; *b.From != "" || b.To[0] != "a@example.com" || b.User != "alice" {
		t.Errorf("bounce: got %+v", b)
	}
	list := f.waitList(t, 1)
	if list[0].ID != id || list[0].Waiting != 1 {
		t.Errorf("got %+v", list)
	}
	messages := p.messages()
	checkReport(t, messages[len(messages)-1].content)
}

func checkReport(t *testing.T, content string) {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("got %s %v, %v", kind, params, err)
	}
	if m.Header.Get("Auto-Submitted") != "auto-replied" || m.Header.Get("To") != "<a@example.com>" || m.Header.Get("References") != "<1@example.com>" {
		t.Errorf("got %v", m.Header)
	}
	if _, err := m.Header.Date(); err != nil {
		t.Error(err)
	}
	var parts []string
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p.Header.Get("Content-Type")+"\n"+string(text))
	}
	if len(parts) != 3 {
		t.Fatalf("got %d parts, want 3", len(parts))
	}
	for i, wants := range [][]string{
		{"text/plain", "<b@example.net>:\r\n    550 5.1.1 no such user", "<d@example.net>:\r\n    552 5.2.2 full", "2 of its recipients"},
		{"message/delivery-status", "Reporting-MTA: dns; gw.example.com", "Final-Recipient: rfc822; b@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n",
			"Diagnostic-Code: smtp; 552 5.2.2 full"},
		{"text/rfc822-headers", "From: a@example.com\r\nTo: b@example.net\r\nSubject: x\r\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(parts[i], want) {
				t.Errorf("part %d: got %q, want %q in it", i, parts[i], want)
			}
		}
	}
	if strings.Contains(content, "Hello.") || strings.Contains(content, "c@example.net") || strings.ContainsAny(content, "\x1b") {
		t.Errorf("got %q: the body, another recipient or a control character is in it", content)
	}
}

// A bounce that cannot be delivered is dropped and recorded, and never bounced.
func TestBounceIsNeverBounced(t *testing.T) {
	t.Parallel()
	p := newPeer(t, refuse("RCPT", "550 5.1.1 nobody"))
	f := newQueue(t, p.route(), nil)
	put(t, f.Queue, mail, sends("b@example.net"))
	f.run(t)
	events := f.wait(t, 3)
	f.waitList(t, 0)
	if len(f.record.all()) != 3 || *events[2].From != "" || events[2].Verb != session.Bounce || !strings.Contains(events[2].Reason, "dropped") {
		t.Errorf("got %+v", events)
	}
}

// A bounce for addresses beyond ASCII is one of RFC 6533.
func TestInternationalBounce(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", nil)
	e := Envelope{From: "ä@example.com", To: recipients("bü@example.net"), SMTPUTF8: true, Route: newPeer(t, nil).route()}
	id := put(t, f.Queue, mail, e)
	m := f.loadID(t, id)
	f.run(t)
	f.wait(t, 3) // the peer has no SMTPUTF8, neither for the message nor for its bounce
	f.waitList(t, 0)
	n, err := f.notify(m, notifyFailure, []notice{{about: notifyFailure}}, f.time())
	if err != nil {
		t.Fatal(err)
	}
	defer n.draft.Discard()
	for _, want := range []string{"message/global-delivery-status", "Final-Recipient: utf-8; bü@example.net", "message/global-headers", "To: <ä@example.com>"} {
		if !strings.Contains(string(*n.draft.buffer), want) {
			t.Errorf("got %s, want %q in it", *n.draft.buffer, want)
		}
	}
}

func TestManyRecipientsGoInPortions(t *testing.T) {
	t.Parallel()
	p := newPeer(t, nil)
	f := newQueue(t, p.route(), nil)
	var to []string
	for i := range 250 {
		to = append(to, fmt.Sprintf("u%d@example.net", i))
	}
	put(t, f.Queue, mail, sends(to...))
	f.run(t)
	f.waitList(t, 0)
	var sizes []int
	for _, m := range p.messages() {
		sizes = append(sizes, len(m.to))
	}
	if !slices.Equal(sizes, []int{100, 100, 50}) {
		t.Errorf("got portions of %v", sizes)
	}
}

func TestUnreachableHostIsAskedOnce(t *testing.T) {
	t.Parallel()
	p := newPeer(t, refuse("greeting", "drop"))
	f := newQueue(t, p.route(), nil)
	var to []string
	for i := range 250 {
		to = append(to, fmt.Sprintf("u%d@example.net", i))
	}
	id := put(t, f.Queue, mail, sends(to...))
	f.run(t)
	f.wait(t, 3)
	<-f.settled
	d, err := f.Show(t.Context(), id)
	if err != nil || d.Waiting != 250 || d.Attempts != 1 {
		t.Errorf("got %+v, %v", d.Item, err)
	}
	for _, r := range d.Recipients {
		if r.Attempts != 1 || r.Reply == "" {
			t.Fatalf("got %+v", r)
		}
	}
}

func TestLoopIsBroken(t *testing.T) {
	t.Parallel()
	p := newPeer(t, nil)
	f := newQueue(t, p.route(), nil)
	put(t, f.Queue, strings.Repeat("Received: from x\r\n\tby y\r\n", maxReceived+1)+mail, sends("b@example.net"))
	f.run(t)
	if e := f.wait(t, 2)[0]; e.Verb != session.Bounce || !strings.Contains(e.Reason, "mail loop") {
		t.Errorf("got %+v", e)
	}
	f.waitList(t, 0)
	if got := p.messages(); len(got) != 1 || got[0].from != "" {
		t.Errorf("got %+v, want the bounce only", got)
	}
}

// A content that is gone is never delivered as something else: the message is
// held for somebody to look at.
func TestDamagedContentIsHeld(t *testing.T) {
	t.Parallel()
	p := newPeer(t, nil)
	f := newQueue(t, p.route(), nil)
	id := put(t, f.Queue, strings.Repeat(mail, 3000), sends("b@example.net"))
	if err := os.Truncate(filepath.Join(f.dir, "mail", id), 5); err != nil {
		t.Fatal(err)
	}
	f.run(t)
	if e := f.wait(t, 1)[0]; e.Verb != session.Defer || !strings.Contains(e.Reason, "damaged") {
		t.Errorf("got %+v", e)
	}
	<-f.settled
	if d, err := f.Show(t.Context(), id); err != nil || !d.Held || d.Header != "" || !strings.Contains(d.Reply, "damaged") {
		t.Errorf("got %+v, %v", d, err)
	}
	if len(p.messages()) != 0 {
		t.Errorf("got %+v", p.messages())
	}
}

func TestHoldReleaseRetryRemove(t *testing.T) {
	t.Parallel()
	p := newPeer(t, refuse("MAIL", "451 4.3.0 later"))
	f := newQueue(t, p.route(), nil)
	held := put(t, f.Queue, mail, sends("held@example.net"))
	if err := f.Hold(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	other := put(t, f.Queue, mail, sends("other@example.net"))
	if n := f.Len(); n != 2 {
		t.Errorf("the queue has %d messages, want 2", n)
	}
	f.run(t)
	if e := f.wait(t, 1)[0]; e.QueueID != other {
		t.Errorf("got %+v", e)
	}
	<-f.settled
	if err := f.Retry(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if e := f.wait(t, 2)[1]; e.QueueID != other {
		t.Errorf("got %+v", e)
	}
	<-f.settled
	d, err := f.Show(t.Context(), held)
	if err != nil || !d.Held || d.Attempts != 0 || d.From != "a@example.com" || d.User != "alice" || d.Route != p.route() ||
		!strings.HasPrefix(d.Header, "From: a@example.com\r\n") || strings.Contains(d.Header, "Hello") || d.Recipients[0].State != "waiting" {
		t.Errorf("got %+v, %v", d, err)
	}
	p.set(nil)
	if err := f.Release(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	if list := f.waitList(t, 1); list[0].ID != other {
		t.Errorf("got %+v", list)
	}
	if err := f.Remove(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	f.waitList(t, 0)
	for name, err := range map[string]error{
		"Hold": f.Hold(t.Context(), other), "Release": f.Release(t.Context(), other), "Retry": f.Retry(t.Context(), "../x"),
		"Remove": f.Remove(t.Context(), "../x"),
	} {
		if !errors.Is(err, session.ErrNotExist) {
			t.Errorf("%s: got %v, want %v", name, err, session.ErrNotExist)
		}
	}
	if _, err := f.Show(t.Context(), other); !errors.Is(err, session.ErrNotExist) {
		t.Errorf("Show: got %v", err)
	}
}

// One slow destination has its share of the attempts, and its backlog does not
// hide the mail of others.
func TestDestinationsShare(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	slow := newPeer(t, func(command, _ string) string {
		if command == "DATA" {
			<-block
		}
		return ""
	})
	quick := newPeer(t, nil)
	f := newQueue(t, slow.route(), func(c *Config) { c.Concurrency, c.PerDestination = 4, 2 })
	for range 30 {
		put(t, f.Queue, mail, sends("b@example.net"))
	}
	e := sends("c@example.net")
	e.Route = quick.route()
	for range 5 {
		put(t, f.Queue, mail, e)
	}
	f.run(t)
	for _, e := range f.wait(t, 5) {
		if e.Route != quick.route() {
			t.Errorf("got %+v first", e)
		}
	}
	close(block)
	f.waitList(t, 0)
	slow.mu.Lock()
	defer slow.mu.Unlock()
	if slow.most > 2 || len(slow.got) != 30 {
		t.Errorf("got %d connections at once, %d messages; want 2, 30", slow.most, len(slow.got))
	}
}

// At the end of Run an attempt has the grace time and is then cut; the message
// stays.
func TestRunStops(t *testing.T) {
	t.Parallel()
	block, reached := make(chan struct{}), make(chan struct{}, 1)
	p := newPeer(t, func(command, _ string) string {
		if command == "." {
			reached <- struct{}{}
			<-block
		}
		return ""
	})
	defer close(block)
	f := newQueue(t, p.route(), func(c *Config) { c.Grace = 20 * time.Millisecond })
	id := put(t, f.Queue, mail, sends("b@example.net"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	<-reached
	if err := f.Run(t.Context()); !errors.Is(err, errRunning) {
		t.Errorf("second Run: got %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	d, err := f.Show(t.Context(), id)
	if err != nil || d.Waiting != 1 || d.Attempts != 1 || !strings.Contains(d.Reply, "shutting down") {
		t.Errorf("got %+v, %v", d, err)
	}
}
