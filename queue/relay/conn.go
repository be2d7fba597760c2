package relay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// conn is one connection to a peer. One goroutine uses it at a time; only abort
// may be called from any.
type conn struct {
	raw     net.Conn
	net     net.Conn // the TLS connection once there is one
	buffers *buffers
	reader  *bufio.Reader // nil while nothing moves
	writer  *bufio.Writer
	block   time.Duration // for one write
	text    []byte        // of the last reply

	lmtp bool
	ext  extensions

	host, remote string // name and address of the peer
	tls          string // as in Result
	verified     bool   // by its certificate
	trusted      bool   // REQUIRETLS may be said: all that it takes is there

	opened   time.Time
	messages int         // transactions so far
	dirty    bool        // a transaction was begun and not finished
	timer    *time.Timer // of the pool
}

// extensions of a peer (RFC 5321, section 4.1.1.1).
type extensions struct {
	startTLS, pipelining, eightBit, utf8, dsn, requireTLS, size bool

	limit int64    // of SIZE; 0 for none
	auth  []string // mechanisms, in upper case
}

// connect makes a connection that fulfils the demands, and logs in.
func (c *Client) connect(ctx context.Context, d *delivery, h host, network, address string) (*conn, error) {
	raw, err := c.dial(ctx, d.timeouts.Connect, network, address)
	if err != nil {
		return nil, another(err)
	}
	cn := &conn{
		raw: raw, net: raw, buffers: &c.idle.buffers, lmtp: d.target.Domain == "" && d.target.Endpoint.LMTP,
		host: h.name, remote: address, opened: time.Now(),
	}
	if network != "unix" {
		cn.remote = raw.RemoteAddr().String()
	}
	d.result.RemoteHost = cn.remote
	stop := context.AfterFunc(ctx, cn.abort)
	cn.begin(d.timeouts.Block)
	defer cn.end()
	err = cn.open(ctx, c, d, h)
	switch {
	case !stop() && err == nil:
		err = context.Cause(ctx)
	case err == nil && cn.reader.Buffered() > 0:
		err = fmt.Errorf("%w: it speaks without being asked", errReply)
	}
	d.result.TLS = cn.tls
	if err == nil {
		return cn, nil
	}
	if f, ok := errors.AsType[*fault](err); ok && !f.broken && ctx.Err() == nil {
		cn.quit()
	}
	cn.abort()
	return nil, another(err)
}

// another makes an error a fault after which another host may be tried.
func another(err error) *fault {
	f := &fault{status: brokenStatus(err), broken: true}
	if g, ok := errors.AsType[*fault](err); ok {
		*f = *g
	}
	f.next = true
	return f
}

// open is everything before the first MAIL.
func (c *conn) open(ctx context.Context, client *Client, d *delivery, h host) error {
	implicit := d.target.Domain == "" && d.target.Endpoint.ImplicitTLS
	if implicit {
		if err := c.handshake(ctx, client, d, h); err != nil {
			return err
		}
	}
	greeting, err := c.reply(d.timeouts.Greeting)
	switch {
	case err != nil:
		return fmt.Errorf("greeting: %w", err)
	case greeting.code != 220:
		return greeting.deferred("greeting")
	case h.mx && client.ours(firstWord(greeting.text)):
		return deferred("4.4.6", "the host greets with our own name: mail for it would loop")
	}
	if err := c.hello(d.timeouts.Command, client.Hostname); err != nil {
		return err
	}
	encrypted := implicit
	if c.ext.startTLS && !implicit && c.raw.RemoteAddr().Network() != "unix" {
		if err := c.startTLS(ctx, client, d, h); err != nil {
			return err
		}
		encrypted = true
	}
	if !encrypted {
		client.countChannel(h.demand, h.name, false, nil)
	}
	if err := c.fulfils(h.demand, encrypted); err != nil {
		return err
	}
	if !d.target.Auth.IsZero() {
		return c.login(ctx, d.timeouts.Command, d.target.Auth)
	}
	return nil
}

// fulfils checks what is left of the demands after the handshake.
func (c *conn) fulfils(d demand, encrypted bool) error {
	c.trusted = d.requireTLS && c.verified && c.ext.requireTLS
	switch {
	case d.requireTLS && !encrypted:
		return failed("5.7.10", "REQUIRETLS: the host does not offer TLS")
	case (d.encrypt || d.authenticate) && !encrypted:
		return deferred("4.7.4", "TLS is required and the host does not offer it")
	case d.requireTLS && !c.ext.requireTLS:
		return failed("5.7.30", "REQUIRETLS: the host does not support it")
	}
	return nil
}

func firstWord(text []byte) string {
	word, _, _ := bytes.Cut(text, []byte(" "))
	return string(word)
}

// begin lends the connection its buffers.
func (c *conn) begin(block time.Duration) {
	c.block = block
	c.reader, c.writer = c.buffers.reader(c.net), c.buffers.writer(c)
}

// end takes them back.
func (c *conn) end() {
	c.buffers.release(c.reader, c.writer)
	c.reader, c.writer = nil, nil
	if cap(c.text) > maxReplyLine {
		c.text = nil
	}
}

// Write gives each write its own deadline.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.net.SetWriteDeadline(time.Now().Add(c.block)); err != nil {
		return 0, err
	}
	return c.net.Write(p)
}

// abort cuts the connection.
func (c *conn) abort() { _ = c.raw.Close() }

// quit says goodbye; nothing depends on the answer.
func (c *conn) quit() {
	_ = c.net.SetDeadline(time.Now().Add(wireTimeout))
	if _, err := io.WriteString(c.net, "QUIT\r\n"); err == nil {
		_, _ = readReply(c.reader, c.text)
	}
}

// farewell ends a connection that is not in use.
func (c *conn) farewell() {
	c.begin(wireTimeout)
	c.quit()
	c.end()
	_ = c.net.Close()
	c.abort()
}

// reply reads one reply within timeout, which is for all its lines.
func (c *conn) reply(timeout time.Duration) (reply, error) {
	if err := c.net.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return reply{}, err
	}
	r, err := readReply(c.reader, c.text)
	if errors.Is(err, io.EOF) {
		return r, errors.New("connection closed by the peer")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return r, op.Err // without addresses
	}
	c.text = r.text
	return r, err
}

// command sends one line and reads its reply. Errors name the verb only: a line
// may hold a secret.
func (c *conn) command(timeout time.Duration, verb, rest string) (reply, error) {
	c.writer.WriteString(verb)
	c.writer.WriteString(rest)
	c.writer.WriteString("\r\n")
	err := c.writer.Flush()
	if err == nil {
		var r reply
		if r, err = c.reply(timeout); err == nil {
			return r, nil
		}
	}
	return reply{}, fmt.Errorf("%s: %w", verb, err)
}

// hello introduces us and learns the extensions. A server that does not know
// EHLO is asked with HELO, and has none (RFC 5321, section 3.2).
func (c *conn) hello(timeout time.Duration, hostname string) error {
	verb := "EHLO"
	if c.lmtp {
		verb = "LHLO"
	}
	c.ext = extensions{}
	r, err := c.command(timeout, verb, " "+hostname)
	if err != nil {
		return err
	}
	if r.code/100 == 5 && !c.lmtp {
		if r, err = c.command(timeout, "HELO", " "+hostname); err != nil {
			return err
		}
		if r.code == 250 {
			return nil
		}
	}
	if r.code != 250 {
		return r.deferred(verb)
	}
	c.ext = parseExtensions(r.text)
	return nil
}

func parseExtensions(text []byte) extensions {
	var e extensions
	_, lines, _ := strings.Cut(string(text), "\n") // the first is a greeting
	for line := range strings.SplitSeq(lines, "\n") {
		keyword, value, _ := strings.Cut(line, " ")
		switch strings.ToUpper(keyword) {
		case "STARTTLS":
			e.startTLS = true
		case "PIPELINING":
			e.pipelining = true
		case "8BITMIME":
			e.eightBit = true
		case "SMTPUTF8":
			e.utf8 = true
		case "DSN":
			e.dsn = true
		case "REQUIRETLS":
			e.requireTLS = true
		case "SIZE":
			e.size = true
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 {
				e.limit = n
			}
		case "AUTH":
			e.auth = append(e.auth, strings.Fields(strings.ToUpper(value))...)
		}
	}
	return e
}

func (c *conn) startTLS(ctx context.Context, client *Client, d *delivery, h host) error {
	r, err := c.command(d.timeouts.Command, "STARTTLS", "")
	if err != nil {
		return err
	}
	if r.code != 220 {
		client.count(h.demand, h.name, resultNoStartTLS)
		return r.deferred("STARTTLS")
	}
	// Whoever writes behind the 220 wants it to be read as if it had come by TLS.
	if c.reader.Buffered() > 0 {
		return fmt.Errorf("%w: data between STARTTLS and the handshake", errReply)
	}
	if err := c.handshake(ctx, client, d, h); err != nil {
		return err
	}
	return c.hello(d.timeouts.Command, client.Hostname)
}

// handshake puts TLS over the connection and forgets what was read before. A
// certificate that is not valid is no obstacle unless the demand says so.
func (c *conn) handshake(ctx context.Context, client *Client, d *delivery, h host) error {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if client.TLS != nil {
		cfg = client.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = h.name
	}
	var invalid error
	refused := false
	// Verified by us, so that DANE can take the place of the roots, and so that a
	// fault of the certificate is told from one of the channel.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		invalid = h.demand.verify(state, cfg.RootCAs, cfg.ServerName)
		if invalid != nil && h.demand.authenticate {
			refused = true
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: invalid}
		}
		return nil
	}
	secured := tls.Client(c.raw, cfg)
	ctx, cancel := context.WithTimeout(ctx, d.timeouts.Connect)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		return client.handshakeFault(h, err, invalid, refused)
	}
	client.countChannel(h.demand, h.name, true, invalid)
	c.net = secured
	c.reader.Reset(secured)
	c.writer.Reset(c)
	c.verified = invalid == nil
	c.tls = tls.VersionName(secured.ConnectionState().Version) + channelQuality(h.demand, invalid)
	return nil
}

func channelQuality(d demand, invalid error) string {
	switch {
	case invalid != nil:
		return " unverified"
	case len(d.tlsa) > 0:
		return " verified by DANE"
	default:
		return " verified"
	}
}

func (c *Client) handshakeFault(h host, err, invalid error, refused bool) error {
	if !refused {
		c.count(h.demand, h.name, resultFailed)
		f := deferred("4.7.5", "TLS handshake: %s", dialReason(err))
		f.broken = true
		return f
	}
	c.count(h.demand, h.name, certificateResult(invalid))
	f := deferred("4.7.5", "TLS handshake: the certificate is not valid: %s", invalid)
	if h.demand.requireTLS {
		f = failed("5.7.10", "REQUIRETLS: the certificate is not valid: %s", invalid)
	}
	f.broken = true
	return f
}
