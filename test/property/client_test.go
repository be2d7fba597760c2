package property

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"gateway/session"
)

// A client speaks one connection line by line, and compares what it hears with what
// it must hear.
type client struct {
	conn  net.Conn
	r     *bufio.Reader
	cache tls.ClientSessionCache
	// dialogue is what was said and heard.
	dialogue strings.Builder
	// answers are what was heard before the credential, by name.
	answers map[string]string
}

// over is how a client ends its part: at the first fault, or when the connection is.
type over struct{ fault string }

func newClient(conn net.Conn, cache tls.ClientSessionCache) *client {
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{conn: conn, r: bufio.NewReader(conn), cache: cache, answers: make(map[string]string)}
}

// patience is how long a client waits at most.
const patience = time.Minute

// fault ends the client's part.
func (c *client) fault(format string, args ...any) { panic(over{fmt.Sprintf(format, args...)}) }

// play lets a client speak, and returns what was not as it must be.
func (c *client) play(l *login, speak func(*client, *login)) (fault string) {
	defer func() {
		_ = c.conn.Close()
		if v := recover(); v != nil {
			end, mine := v.(over)
			if !mine {
				panic(v)
			}
			fault = end.fault
		}
	}()
	speak(c, l)
	return ""
}

// reply reads a whole reply, its lines divided by "\n"; "" at the end.
func (c *client) reply() string {
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			if err != io.EOF || line != "" {
				c.fault("waiting for a reply: %q, %v", line, err)
			}
			return strings.Join(lines, "\n")
		}
		line = strings.TrimRight(line, "\r\n")
		c.dialogue.WriteString("S: " + line + "\n")
		if lines = append(lines, line); len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

// ask says a line and compares the reply; an empty want is any.
func (c *client) ask(line, want string) string {
	c.dialogue.WriteString("C: " + line + "\n")
	if _, err := io.WriteString(c.conn, line+"\r\n"); err != nil {
		c.fault("say %q: %v", line, err)
	}
	got := c.reply()
	if want != "" && got != want {
		c.fault("to %q heard %q, want %q", line, got, want)
	}
	return got
}

// greeted connects as far as the greeting. Who is refused by where they are is told so,
// and their connection is over.
func (c *client) greeted(l *login, greeting string, refused func(session.Verdict) string) {
	r := l.peer(l.At)
	v := l.policy.Decide(r)
	if l.implicit() && v.Allowed {
		c.secure(l)
	}
	want := greeting
	switch {
	case !v.Allowed && l.implicit():
		want = "" // nothing can be said there
	case !v.Allowed:
		want = refused(v)
	}
	if got := c.reply(); got != want {
		c.fault("greeted with %q, want %q", got, want)
	}
	if !v.Allowed {
		c.ended()
	}
}

// secure puts TLS on the connection.
func (c *client) secure(l *login) {
	cfg := &tls.Config{
		InsecureSkipVerify: true, ServerName: hostname, MinVersion: l.TLS.Version, MaxVersion: l.TLS.Version,
		CurvePreferences: []tls.CurveID{l.TLS.Group, tls.X25519}, ClientSessionCache: c.cache,
	}
	if l.TLS.Certificate != "" {
		cfg.Certificates = []tls.Certificate{certificates()[l.TLS.Certificate]}
	}
	secured := tls.Client(c.conn, cfg)
	if err := secured.Handshake(); err != nil {
		c.fault("handshake: %v", err)
	}
	c.conn, c.r = secured, bufio.NewReader(secured)
	l.secured(secured.ConnectionState())
	c.dialogue.WriteString("C: (TLS)\n")
}

// before notes what a name heard before its credential.
func (c *client) before(user, answer string) { c.answers[user] = answer }

// ended reads the end of the connection, which must be over, and ends the client's part.
func (c *client) ended() {
	if got := c.reply(); got != "" {
		c.fault("the connection goes on with %q", got)
	}
	panic(over{})
}

// quit says goodbye.
func (c *client) quit(goodbye string) {
	c.ask("QUIT", goodbye)
	c.ended()
}
