package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A dialogue is a file: "! name: value" sets up the message, "S:" is what the
// scripted server says, "C:" what it has to hear, "S:" with a quoted Go string
// says exactly that, "TLS" is its handshake, "DROP" closes, "EOF" waits for the
// client to close. "= outcome enhanced text" is the result for each recipient in
// turn, "= tls: ..." that of the channel.
type dialogue struct {
	message  Message
	endpoint Endpoint
	steps    []string
	want     []string
	wantTLS  string
	trusted  bool
	tls      TLSPolicy
	wantDSN  bool
}

func to(addresses ...string) []Recipient {
	list := make([]Recipient, len(addresses))
	for i, a := range addresses {
		list[i].Address = a
	}
	return list
}

func readDialogue(t *testing.T, name string) dialogue {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := dialogue{message: Message{From: "a@x.test", To: to("b@y.test")}}
	body := "Subject: hi\r\n\r\nHello.\r\n"
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		key, value, _ := strings.Cut(strings.TrimPrefix(line, "! "), ": ")
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "= tls: "):
			d.wantTLS = strings.TrimPrefix(line, "= tls: ")
		case line == "= dsn: yes":
			d.wantDSN = true
		case strings.HasPrefix(line, "= "):
			d.want = append(d.want, line[2:])
		case !strings.HasPrefix(line, "! "):
			d.steps = append(d.steps, line)
		case key == "to":
			d.message.To = to(strings.Fields(value)...)
		case key == "from":
			d.message.From = strings.Trim(value, "<>")
		case key == "body":
			if body, err = strconv.Unquote(value); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		case key == "lmtp":
			d.endpoint.LMTP = true
		case key == "implicit":
			d.endpoint.ImplicitTLS = true
		case key == "trusted":
			d.trusted = true
		case key == "required":
			d.tls = Required
		case key == "require tls":
			d.message.RequireTLS = true
		case key == "envelope":
			d.message.Ret, d.message.EnvID, _ = strings.Cut(value, " ")
		case key == "notify":
			for i := range d.message.To {
				d.message.To[i].Notify, d.message.To[i].ORcpt, _ = strings.Cut(value, " ")
			}
		case key == "8bit":
			d.message.EightBit = true
		case key == "utf8":
			d.message.SMTPUTF8 = true
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	d.message.Body, d.message.Size = strings.NewReader(body), int64(len(body))
	return d
}

// certificate is one for example.com that verifies against pool.
func certificate(t *testing.T) (cfg *tls.Config, pool *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	s.Close()
	pool = x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, pool
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// script plays the server's part on one connection.
func script(ln net.Listener, cfg *tls.Config, steps []string) error {
	raw, err := ln.Accept()
	if err != nil {
		return err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(time.Minute))
	conn, r := raw, bufio.NewReader(raw)
	for i, step := range steps {
		what, text, _ := strings.Cut(step, ": ")
		switch what {
		case "S":
			out := text + "\r\n"
			if strings.HasPrefix(text, `"`) {
				if out, err = strconv.Unquote(text); err != nil {
					return err
				}
			}
			if _, err := io.WriteString(conn, out); err != nil {
				return fmt.Errorf("step %d %q: %w", i, step, err)
			}
		case "C":
			got, err := r.ReadString('\n')
			want := text
			if strings.HasPrefix(text, `"`) {
				if want, err = strconv.Unquote(text); err != nil {
					return err
				}
			}
			if err != nil || got != want+"\r\n" {
				return fmt.Errorf("step %d: got %q, %v; want %q", i, got, err, want)
			}
		case "TLS":
			c := tls.Server(raw, cfg)
			if err := c.Handshake(); err != nil {
				return fmt.Errorf("step %d: %w", i, err)
			}
			conn, r = c, bufio.NewReader(c)
		case "DROP":
			return nil
		case "EOF":
			if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
				return fmt.Errorf("step %d: got %q, %v; want the end", i, rest, err)
			}
		default:
			return fmt.Errorf("unknown step %q", step)
		}
	}
	return nil
}

func TestDialogues(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/dialogue/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	cfg, pool := certificate(t)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			t.Parallel()
			d := readDialogue(t, name)
			ln := listen(t)
			played := make(chan error, 1)
			go func() { played <- script(ln, cfg, d.steps) }()
			e := d.endpoint
			e.Network, e.Address, e.ServerName = "tcp", ln.Addr().String(), "example.com"
			c := &Client{Hostname: "gw.example.com"}
			if d.trusted {
				c.TLS = &tls.Config{RootCAs: pool}
			}
			got := c.Deliver(t.Context(), Target{Endpoint: e, TLS: d.tls}, d.message)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if err := <-played; err != nil && !strings.Contains(err.Error(), "bad certificate") {
				t.Errorf("server: %v", err)
			}
			compare(t, got, d)
		})
	}
}

func compare(t *testing.T, got Result, d dialogue) {
	t.Helper()
	if got.TLS != d.wantTLS {
		t.Errorf("got TLS %q, want %q", got.TLS, d.wantTLS)
	}
	if len(got.Statuses) != len(d.want) {
		t.Fatalf("got %d statuses, want %d: %+v", len(got.Statuses), len(d.want), got.Statuses)
	}
	names := map[Outcome]string{Deferred: "deferred", Delivered: "delivered", Failed: "failed"}
	for i, s := range got.Statuses {
		outcome, rest, _ := strings.Cut(d.want[i], " ")
		enhanced, text, _ := strings.Cut(rest, " ")
		if s.DSN != d.wantDSN {
			t.Errorf("recipient %d: got DSN %t, want %t", i, s.DSN, d.wantDSN)
		}
		if names[s.Outcome] != outcome || s.Enhanced != enhanced || !strings.Contains(s.Text, text) {
			t.Errorf("recipient %d: got %s %s %q, want %s", i, names[s.Outcome], s.Enhanced, s.Text, d.want[i])
		}
	}
}

// The peer may stop at any step: nobody is lost, and nobody is called delivered
// before the peer said so.
func TestDropAtEachStep(t *testing.T) {
	t.Parallel()
	steps := []string{
		"S: 220 hi", "C: EHLO gw.example.com", `S: "250-y\r\n250 SIZE 1000\r\n"`, "C: MAIL FROM:<a@x.test> SIZE=3", "S: 250 ok",
		"C: RCPT TO:<b@y.test>", "S: 250 ok", "C: RCPT TO:<c@y.test>", "S: 250 ok", "C: DATA", "S: 354 go", "C: x", "C: .", "S: 250 mine",
	}
	for n := range len(steps) + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			ln := listen(t)
			played := make(chan error, 1)
			go func() { played <- script(ln, nil, steps[:n]) }()
			m := Message{From: "a@x.test", To: to("b@y.test", "c@y.test"), Size: 3, Body: strings.NewReader("x\r\n")}
			got := (&Client{Hostname: "gw.example.com"}).Deliver(t.Context(), Target{Endpoint: Endpoint{Network: "tcp", Address: ln.Addr().String()}}, m)
			if err := <-played; err != nil {
				t.Errorf("server: %v", err)
			}
			want := Deferred
			if n == len(steps) {
				want = Delivered
			}
			for i, s := range got.Statuses {
				if s.Outcome != want || s.Text == "" {
					t.Errorf("recipient %d: got %+v, want outcome %d", i, s, want)
				}
			}
		})
	}
}

// Every reply has bounds.
func TestEndlessReplies(t *testing.T) {
	t.Parallel()
	for name, piece := range map[string]string{
		"lines": "220-more\r\n", "line": strings.Repeat("2", 4096), "continued": "220-" + strings.Repeat("x", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln := listen(t)
			wrote := make(chan int, 1)
			go func() {
				total := 0
				defer func() { wrote <- total }()
				c, err := ln.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				for {
					n, err := io.WriteString(c, piece)
					total += n
					if err != nil {
						return
					}
				}
			}()
			got := (&Client{Hostname: "gw"}).Deliver(t.Context(), Target{Endpoint: Endpoint{Network: "tcp", Address: ln.Addr().String()}},
				Message{To: to("b@y.test"), Body: strings.NewReader("")})
			if s := got.Statuses[0]; s.Outcome != Deferred || s.Enhanced != "4.5.0" {
				t.Errorf("got %+v", s)
			}
			<-wrote
		})
	}
}

// A silent peer is left when the step's time is over, and any when ctx is.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	for name, timeouts := range map[string]Timeouts{"greeting": {Greeting: 30 * time.Millisecond}, "context": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln := listen(t)
			ended := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				c, err := ln.Accept()
				if err == nil {
					if name == "context" {
						cancel()
					}
					_, err = io.Copy(io.Discard, c)
					_ = c.Close()
				}
				ended <- err
			}()
			c := &Client{Hostname: "gw", Timeouts: timeouts}
			got := c.Deliver(ctx, Target{Endpoint: Endpoint{Network: "tcp", Address: ln.Addr().String()}}, Message{To: to("b@y.test"), Body: strings.NewReader("")})
			if s := got.Statuses[0]; s.Outcome != Deferred || s.Code != 0 || s.Text == "" {
				t.Errorf("got %+v", s)
			}
			if err := <-ended; err != nil {
				t.Errorf("server: %v", err)
			}
		})
	}
}

func TestUnsafeAddressNeverLeaves(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"b@y.test>\r\nDATA", "b\x00@y", "x> ORCPT=y", "<b@y"} {
		m := Message{To: to(bad), Body: strings.NewReader("")}
		got := (&Client{}).Deliver(t.Context(), Target{Endpoint: Endpoint{Network: "tcp", Address: "127.0.0.1:1"}}, m)
		if s := got.Statuses[0]; s.Outcome != Failed || s.Enhanced != "5.1.3" {
			t.Errorf("%q: got %+v", bad, s)
		}
	}
}

func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	address := ln.Addr().String()
	_ = ln.Close()
	got := (&Client{}).Deliver(t.Context(), Target{Endpoint: Endpoint{Network: "tcp", Address: address}}, Message{To: to("b@y"), Body: strings.NewReader("")})
	if s := got.Statuses[0]; s.Outcome != Deferred || s.Enhanced != "4.4.1" || got.RemoteHost != address {
		t.Errorf("got %+v", got)
	}
}
