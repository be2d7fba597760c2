package milter

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"gateway/session"
	"gateway/smtp"
)

// backend is a milter that notes what it is told.
type backend struct {
	gomilter.NoOpMilter
	body func(m *gomilter.Modifier) (gomilter.Response, error) // at the end of the message
	on   map[string]gomilter.Response                          // answers to other steps

	mu     sync.Mutex
	heard  []string
	macros map[string]string
}

func (b *backend) hear(step, format string, args ...any) (gomilter.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = append(b.heard, step+" "+fmt.Sprintf(format, args...))
	if r := b.on[step]; r != nil {
		return r, nil
	}
	return gomilter.RespContinue, nil
}

func (b *backend) Connect(host, family string, port uint16, addr net.IP, _ *gomilter.Modifier) (gomilter.Response, error) {
	return b.hear("connect", "%s %s %d %s", host, family, port, addr)
}
func (b *backend) Helo(name string, _ *gomilter.Modifier) (gomilter.Response, error) {
	return b.hear("helo", "%s", name)
}
func (b *backend) MailFrom(from string, m *gomilter.Modifier) (gomilter.Response, error) {
	b.mu.Lock()
	b.macros = map[string]string{}
	for k, v := range m.Macros {
		b.macros[k] = v
	}
	b.mu.Unlock()
	return b.hear("mail", "%s", from)
}
func (b *backend) RcptTo(to string, _ *gomilter.Modifier) (gomilter.Response, error) {
	return b.hear("rcpt", "%s", to)
}
func (b *backend) Header(name, value string, _ *gomilter.Modifier) (gomilter.Response, error) {
	return b.hear("header", "%s=%q", name, value)
}
func (b *backend) Headers(textproto.MIMEHeader, *gomilter.Modifier) (gomilter.Response, error) {
	return b.hear("eoh", "")
}
func (b *backend) BodyChunk(chunk []byte, _ *gomilter.Modifier) (gomilter.Response, error) {
	return b.hear("chunk", "%d", len(chunk))
}
func (b *backend) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	if b.body == nil {
		return gomilter.RespAccept, nil
	}
	return b.body(m)
}

// serve runs a milter until the end of the test.
func serve(t *testing.T, b *backend, want gomilter.OptAction) Address {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &gomilter.Server{NewMilter: func() gomilter.Milter { return b }, Actions: want}
	over := make(chan struct{})
	go func() { defer close(over); _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = ln.Close(); <-over })
	return addressOf(t, ln)
}

func addressOf(t *testing.T, ln net.Listener) Address {
	t.Helper()
	a, err := ParseAddress("inet:" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const allActions = gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptChangeBody | gomilter.OptQuarantine

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// message is one with this body.
func message(t *testing.T, body string) *smtp.Message {
	t.Helper()
	m := &smtp.Message{
		ID: "q1", Hostname: "mx.test", User: "alice", Method: session.MethodPassword, Helo: "client.test",
		Peer: session.Peer{Listener: "submission", Remote: netip.MustParseAddrPort("192.0.2.7:4711")},
		TLS:  &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256},
		From: "alice@example.com", To: []string{"bob@remote.test", "carol@remote.test"}, MaxBytes: 128 << 10,
		Header: []smtp.Field{{Name: "From", Value: " alice@example.com"}, {Name: "X-Folded", Value: " a\r\n\tb"}, {Name: "X-Spam", Value: "1"}, {Name: "x-spam", Value: " 2"}},
	}
	if err := m.ReplaceBody(strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWhatTheMilterIsTold(t *testing.T) {
	t.Parallel()
	b := &backend{}
	m := message(t, strings.Repeat("0123456\r\n", 10_000))
	if err := New(Config{Name: "test", Address: serve(t, b, 0)}).Filter(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"connect [192.0.2.7] tcp4 4711 192.0.2.7", "helo client.test", "mail alice@example.com", "rcpt bob@remote.test", "rcpt carol@remote.test",
		`header From="alice@example.com"`, `header X-Folded="a\n\tb"`, `header X-Spam="1"`, `header x-spam="2"`, "eoh ", "chunk 65535", "chunk 24465",
	}
	if !slices.Equal(b.heard, want) {
		t.Errorf("got %q\nwant %q", b.heard, want)
	}
	for name, want := range map[string]string{"i": "q1", "{auth_authen}": "alice", "{auth_type}": "password", "{mail_addr}": "alice@example.com"} {
		if got := b.macros[name]; got != want {
			t.Errorf("macro %s: got %q, want %q", name, got, want)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	b := &backend{body: func(m *gomilter.Modifier) (gomilter.Response, error) {
		return gomilter.RespAccept, errors.Join(
			m.AddHeader("X-Added", "yes\n\tindeed"), m.InsertHeader(0, "X-Zero", "0"), m.InsertHeader(1, "X-One", "1"), m.InsertHeader(99, "X-Far", "f"),
			m.ChangeHeader(2, "X-Spam", "no"), m.ChangeHeader(1, "x-folded", ""), m.ChangeHeader(7, "X-New", "n"), m.ChangeHeader(7, "X-None", ""),
			m.ReplaceBody([]byte("another\r\n")), m.ReplaceBody([]byte("body\n")), m.Quarantine("looks odd"),
		)
	}}
	m := message(t, "hello\r\n")
	if err := New(Config{Name: "test", Address: serve(t, b, allActions)}).Filter(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := []smtp.Field{
		{Name: "X-One", Value: " 1"}, {Name: "X-Zero", Value: " 0"}, {Name: "From", Value: " alice@example.com"}, {Name: "X-Spam", Value: "1"}, {Name: "x-spam", Value: " no"},
		{Name: "X-Added", Value: " yes\r\n\tindeed"}, {Name: "X-Far", Value: " f"}, {Name: "X-New", Value: " n"},
	}
	if !slices.Equal(m.Header, want) {
		t.Errorf("got  %q\nwant %q", m.Header, want)
	}
	if body, err := io.ReadAll(m.Body()); string(body) != "another\r\nbody\r\n" || err != nil {
		t.Errorf("got body %q, %v", body, err)
	}
	if m.Hold != "quarantined by a milter: looks odd" {
		t.Errorf("got hold %q", m.Hold)
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	code := func(text string) gomilter.Response { return gomilter.NewResponseStr('y', text) }
	for name, c := range map[string]struct {
		on   map[string]gomilter.Response
		body gomilter.Response
		want string // CODE ENHANCED TEXT, or empty
		hold bool
	}{
		"accept":              {body: gomilter.RespAccept},
		"continue at the end": {body: gomilter.RespContinue},
		"accept at HELO":      {on: map[string]gomilter.Response{"helo": gomilter.RespAccept}, body: gomilter.RespReject},
		"reject":              {body: gomilter.RespReject, want: "550 5.7.1 Message refused by a content filter"},
		"reject a recipient":  {on: map[string]gomilter.Response{"rcpt": gomilter.RespReject}, want: "550 5.7.1 Message refused by a content filter"},
		"tempfail":            {on: map[string]gomilter.Response{"chunk": gomilter.RespTempFail}, want: "451 4.7.1 Message deferred"},
		"own words":           {body: code("554 5.7.26 Spam message rejected"), want: "554 5.7.26 Spam message rejected"},
		"own words, no code":  {body: code("451 Greylisted, 5.7 minutes"), want: "451  Greylisted, 5.7 minutes"},
		"discard":             {body: gomilter.RespDiscard, hold: true},
		"discard at MAIL":     {on: map[string]gomilter.Response{"mail": gomilter.RespDiscard}, hold: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &backend{on: c.on, body: func(*gomilter.Modifier) (gomilter.Response, error) { return c.body, nil }}
			m := message(t, "hello\r\n")
			err := New(Config{Name: "test", Address: serve(t, b, 0), Log: quiet()}).Filter(t.Context(), m)
			got := ""
			if r, ok := errors.AsType[*smtp.Rejection](err); ok {
				got = fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
				if !strings.HasPrefix(r.Reason, "milter test: ") {
					t.Errorf("reason %q", r.Reason)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if (m.Hold != "") != c.hold {
				t.Errorf("hold: got %q, want %v", m.Hold, c.hold)
			}
		})
	}
}

// packet is one of the protocol.
func packet(code byte, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))) + string(code) + data
}

// agreed is the answer to our offer: version 6, these actions, nothing left out.
func agreed(actions gomilter.OptAction, protocol gomilter.OptProtocol) string {
	data := binary.BigEndian.AppendUint32(nil, 6)
	data = binary.BigEndian.AppendUint32(data, uint32(actions))
	return packet('O', string(binary.BigEndian.AppendUint32(data, uint32(protocol))))
}

// silent is everything that a milter may leave out, so that it answers at the end only.
const silent = protocol &^ gomilter.OptHeaderLeadingSpace

// canned serves one connection that answers with this text, whatever it is told.
func canned(t *testing.T, answer string, end func(net.Conn)) Address {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		go func() { _, _ = io.Copy(io.Discard, c) }()
		_, _ = io.WriteString(c, answer)
		end(c)
	}()
	t.Cleanup(func() { _ = ln.Close(); <-over })
	return addressOf(t, ln)
}

// Whatever a filter gets wrong, the message has the fate that is set, and is as it
// was.
func TestFaults(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := addressOf(t, ln)
	_ = ln.Close()
	hangUp := func(net.Conn) {}
	wait := func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) } // until we give up: the other reader has all bytes
	add := func(name, value string) string { return packet('h', name+"\x00"+value+"\x00") }
	for name, address := range map[string]func(t *testing.T) Address{
		"nobody there":       func(*testing.T) Address { return nobody },
		"no such socket":     func(*testing.T) Address { return Address{"unix", "/nonexistent/milter.sock"} },
		"hangs up":           func(t *testing.T) Address { return canned(t, "", hangUp) },
		"hangs up later":     func(t *testing.T) Address { return canned(t, agreed(0, silent), hangUp) },
		"silence":            func(t *testing.T) Address { return canned(t, "", wait) },
		"silence at the end": func(t *testing.T) Address { return canned(t, agreed(0, silent), wait) },
		"not a milter":       func(t *testing.T) Address { return canned(t, "220 smtp.example.com ESMTP\r\n", hangUp) },
		"old version": func(t *testing.T) Address {
			return canned(t, packet('O', "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"), hangUp)
		},
		"wants recipients": func(t *testing.T) Address {
			return canned(t, agreed(gomilter.OptAddRcpt, silent)+packet('a', ""), hangUp)
		},
		"wants what we lack": func(t *testing.T) Address {
			return canned(t, agreed(0, silent|gomilter.OptSkip)+packet('a', ""), hangUp)
		},
		"adds a recipient": func(t *testing.T) Address {
			return canned(t, agreed(actions, silent)+packet('+', "<eve@evil.test>\x00")+packet('a', ""), hangUp)
		},
		"changes the sender": func(t *testing.T) Address {
			return canned(t, agreed(actions, silent)+packet('e', "<eve@evil.test>\x00")+packet('a', ""), hangUp)
		},
		"empty packet":   func(t *testing.T) Address { return canned(t, agreed(0, silent)+"\x00\x00\x00\x00", hangUp) },
		"huge packet":    func(t *testing.T) Address { return canned(t, agreed(0, silent)+"\xff\xff\xff\xffh", hangUp) },
		"half a packet":  func(t *testing.T) Address { return canned(t, agreed(0, silent)+"\x00\x00\x00\x09hab", hangUp) },
		"unknown answer": func(t *testing.T) Address { return canned(t, agreed(0, silent)+packet('?', ""), hangUp) },
		"reply code 250": func(t *testing.T) Address { return canned(t, agreed(0, silent)+packet('y', "250 fine\x00"), hangUp) },
		"reply code abc": func(t *testing.T) Address { return canned(t, agreed(0, silent)+packet('y', "abc fine\x00"), hangUp) },
		"field without value": func(t *testing.T) Address {
			return canned(t, agreed(actions, silent)+packet('h', "X")+packet('a', ""), hangUp)
		},
		"field without name": func(t *testing.T) Address {
			return canned(t, agreed(actions, silent)+add("", "x")+packet('a', ""), hangUp)
		},
		"name with a colon": func(t *testing.T) Address {
			return canned(t, agreed(actions, silent)+add("X: y\r\nZ", "x")+packet('a', ""), hangUp)
		},
		"value with a field": func(t *testing.T) Address {
			return canned(t, agreed(actions, silent)+add("X", "a\nBcc: eve@evil.test")+packet('a', ""), hangUp)
		},
		"value with an end": func(t *testing.T) Address {
			return canned(t, agreed(actions, silent)+add("X", "a\n\nbody")+packet('a', ""), hangUp)
		},
		"bare CR in a value": func(t *testing.T) Address {
			return canned(t, agreed(actions, silent)+add("X", "a\rb")+packet('a', ""), hangUp)
		},
		"bare CR in the body": func(t *testing.T) Address {
			return canned(t, agreed(actions, silent)+packet('b', "a\rb")+packet('a', ""), hangUp)
		},
		"endless body": func(t *testing.T) Address {
			return canned(t, agreed(actions, silent)+strings.Repeat(packet('b', strings.Repeat("x", 1<<16)), 8), hangUp)
		},
		"endless progress": func(t *testing.T) Address {
			return canned(t, agreed(0, silent)+strings.Repeat(packet('p', ""), 1<<17), hangUp)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for fault, want := range map[Fault]int{"": 451, Defer: 451, Refuse: 550, Accept: 0} {
				m := message(t, "hello\r\n")
				before := slices.Clone(m.Header)
				err := New(Config{Name: "test", Address: address(t), OnFault: fault, Timeout: 100 * time.Millisecond, Log: quiet()}).Filter(t.Context(), m)
				code := 0
				if r, ok := errors.AsType[*smtp.Rejection](err); ok {
					code = r.Code
				} else if err != nil {
					t.Fatal(err)
				}
				if code != want {
					t.Errorf("on fault %q: got %d (%v), want %d", fault, code, err, want)
				}
				if body, _ := io.ReadAll(m.Body()); !slices.Equal(m.Header, before) || string(body) != "hello\r\n" || m.Hold != "" {
					t.Errorf("the message was changed: %q %q %q", m.Header, body, m.Hold)
				}
			}
		})
	}
}

// A session that ends does not wait for the filter.
func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	address := canned(t, agreed(0, silent), func(c net.Conn) { cancel(); _, _ = c.Read(make([]byte, 1)) })
	err := New(Config{Name: "test", Address: address, Log: quiet()}).Filter(ctx, message(t, "hello\r\n"))
	if r, ok := errors.AsType[*smtp.Rejection](err); !ok || r.Code != 451 {
		t.Errorf("got %v, want a deferral", err)
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		"inet:127.0.0.1:11332": true, "inet:[::1]:11332": true, "inet:rspamd:11332": true, "unix:/run/rspamd/milter.sock": true,
		"": false, "inet:127.0.0.1": false, "inet::11332": false, "inet:a:0": false, "inet:a:70000": false, "inet:a b:1": false, "127.0.0.1:11332": false,
		"unix:run/x": false, "unix:": false, "unix:/a/../b": false, "unix:/" + strings.Repeat("x", 200): false, "local:/x": false,
	} {
		a, err := ParseAddress(text)
		if (err == nil) != good || good && a.String() != text {
			t.Errorf("%q: got %q %v, want good %v", text, a, err, good)
		}
	}
}

// Whatever a filter answers, what becomes of the message is one whole message.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(packet('h', "X-A\x00b\x00") + packet('a', "")))
	f.Add([]byte(packet('i', "\x00\x00\x00\x01X-A\x00b\n c\x00") + packet('m', "\x00\x00\x00\x01From\x00\x00") + packet('c', "")))
	f.Add([]byte(packet('b', "new\n") + packet('q', "why\x00") + packet('y', "550 5.7.1 no\x00")))
	f.Fuzz(func(t *testing.T, answer []byte) {
		m := &smtp.Message{MaxBytes: 1 << 20, Header: []smtp.Field{{Name: "From", Value: " alice@example.com"}}, To: []string{"bob@remote.test"}}
		if err := m.ReplaceBody(strings.NewReader("hello\r\n")); err != nil {
			t.Fatal(err)
		}
		conn := &script{r: bytes.NewReader(append([]byte(agreed(actions, silent)), answer...))}
		client := gomilter.NewClientWithOptions("", "", gomilter.ClientOptions{
			Dialer: given{&bounded{Conn: conn, left: 1 << 20}}, ActionMask: actions, ProtocolMask: protocol,
		})
		s, err := client.Session()
		if err != nil {
			return
		}
		if converse(s, m) != nil {
			return
		}
		for _, field := range m.Header {
			if field.Name == "" || strings.ContainsAny(field.Name, ": \r\n") || strings.ContainsAny(strings.ReplaceAll(field.Value, "\r\n", ""), "\r\n\x00") {
				t.Errorf("field %q", field)
			}
			for i, line := range strings.Split(field.Value, "\r\n") {
				if i > 0 && strings.TrimSpace(line) == "" {
					t.Errorf("field %q has an empty line", field)
				}
			}
		}
		if body, _ := io.ReadAll(m.Body()); len(body) > 0 && !bytes.HasSuffix(body, []byte("\r\n")) {
			t.Errorf("body %q", body)
		}
	})
}

// script is a connection that has its answers ready.
type script struct {
	net.Conn
	r io.Reader
}

func (s *script) Read(p []byte) (int, error)       { return s.r.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"inet:127.0.0.1:11332", "unix:/run/x", "inet:[::1]:1", "unix:/../x", "inet:a%b:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := ParseAddress(text); err == nil && a.String() != text {
			t.Errorf("%q became %q", text, a)
		}
	})
}
