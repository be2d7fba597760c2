package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// transaction is one Deliver. One goroutine uses it.
type transaction struct {
	client   *Client
	endpoint Endpoint
	message  Message
	timeouts Timeouts
	result   Result
	open     map[int]bool // recipients without an answer

	conn       net.Conn // the TLS connection once there is one
	reader     *bufio.Reader
	writer     *bufio.Writer
	extensions map[string]string // by upper-case keyword
}

// failRest answers for everybody who has no answer yet.
func (t *transaction) failRest(err error) {
	s := Status{Enhanced: "4.4.2", Text: clean(err.Error())}
	if f, ok := errors.AsType[*fault](err); ok {
		s = f.status
	} else if errors.Is(err, errReply) {
		s.Enhanced = "4.5.0"
	}
	for i := range t.open {
		t.result.Statuses[i] = s
	}
	clear(t.open)
}

func (t *transaction) answer(i int, s Status) {
	t.result.Statuses[i] = s
	delete(t.open, i)
}

func (t *transaction) converse(ctx context.Context, raw net.Conn) error {
	t.use(raw)
	if t.endpoint.ImplicitTLS {
		if err := t.handshake(ctx, raw, true); err != nil {
			return err
		}
	}
	greeting, err := t.reply(t.timeouts.Greeting)
	switch {
	case err != nil:
		return fmt.Errorf("greeting: %w", err)
	case greeting.code != 220:
		t.quit()
		return greeting.deferred("greeting")
	}
	if err := t.hello(); err != nil {
		return err
	}
	if _, offered := t.extensions["STARTTLS"]; offered && !t.endpoint.ImplicitTLS {
		if err := t.startTLS(ctx, raw); err != nil {
			return err
		}
	}
	err = t.send()
	if _, refused := errors.AsType[*fault](err); err == nil || refused {
		t.quit() // the connection is still in step
	}
	return err
}

// use makes c the connection and forgets whatever was read from the last one.
func (t *transaction) use(c net.Conn) {
	t.conn = c
	t.reader = bufio.NewReaderSize(c, maxReplyLine+1)
	t.writer = bufio.NewWriterSize(blockWriter{c, t.timeouts.Block}, 64<<10)
}

// blockWriter gives each write its own deadline.
type blockWriter struct {
	conn    net.Conn
	timeout time.Duration
}

func (w blockWriter) Write(p []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return 0, err
	}
	return w.conn.Write(p)
}

// reply reads one reply within timeout, which is for all its lines.
func (t *transaction) reply(timeout time.Duration) (reply, error) {
	if err := t.conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return reply{}, err
	}
	r, err := readReply(t.reader)
	if errors.Is(err, io.EOF) {
		return r, errors.New("connection closed by the peer")
	}
	return r, err
}

// put queues a command; it leaves with the next flush.
func (t *transaction) put(format string, args ...any) error {
	_, err := fmt.Fprintf(t.writer, format+"\r\n", args...)
	return err
}

func (t *transaction) command(timeout time.Duration, format string, args ...any) (reply, error) {
	line := fmt.Sprintf(format, args...)
	verb, _, _ := strings.Cut(line, " ")
	err := t.put("%s", line)
	if err == nil {
		err = t.writer.Flush()
	}
	if err == nil {
		var r reply
		if r, err = t.reply(timeout); err == nil {
			return r, nil
		}
	}
	return reply{}, fmt.Errorf("%s: %w", verb, err)
}

// hello introduces us and learns the extensions. A server that does not know
// EHLO is asked with HELO, and has none (RFC 5321, section 3.2).
func (t *transaction) hello() error {
	verb := "EHLO"
	if t.endpoint.LMTP {
		verb = "LHLO"
	}
	t.extensions = nil
	r, err := t.command(t.timeouts.Command, verb+" %s", t.client.Hostname)
	if err != nil {
		return err
	}
	if r.code/100 == 5 && !t.endpoint.LMTP {
		if r, err = t.command(t.timeouts.Command, "HELO %s", t.client.Hostname); err != nil {
			return err
		}
		if r.code == 250 {
			return nil
		}
	}
	if r.code != 250 {
		t.quit()
		return r.deferred(verb)
	}
	t.extensions = make(map[string]string)
	for _, line := range r.lines[1:] {
		keyword, value, _ := strings.Cut(line, " ")
		t.extensions[strings.ToUpper(keyword)] = value
	}
	return nil
}

func (t *transaction) startTLS(ctx context.Context, raw net.Conn) error {
	r, err := t.command(t.timeouts.Command, "STARTTLS")
	if err != nil {
		return err
	}
	if r.code != 220 {
		t.quit()
		return r.deferred("STARTTLS")
	}
	// Whoever writes behind the 220 wants it to be read as if it had come by TLS.
	if t.reader.Buffered() > 0 {
		return fmt.Errorf("%w: data between STARTTLS and the handshake", errReply)
	}
	if err := t.handshake(ctx, raw, false); err != nil {
		return err
	}
	return t.hello()
}

// handshake puts TLS over raw. If verify is false an invalid certificate is
// noted in the result and no obstacle.
func (t *transaction) handshake(ctx context.Context, raw net.Conn, verify bool) error {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.client.TLS != nil {
		cfg = t.client.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = t.endpoint.ServerName
	}
	roots, name := cfg.RootCAs, cfg.ServerName
	verified := verify
	if !verify {
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			verified = certificateValid(state, roots, name)
			return nil
		}
	}
	conn := tls.Client(raw, cfg)
	ctx, cancel := context.WithTimeout(ctx, t.timeouts.Connect)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return &fault{status: Status{Enhanced: "4.7.5", Text: "TLS handshake: " + clean(err.Error())}}
	}
	t.use(conn)
	t.result.TLS = tls.VersionName(conn.ConnectionState().Version) + " unverified"
	if verified {
		t.result.TLS = tls.VersionName(conn.ConnectionState().Version) + " verified"
	}
	return nil
}

func certificateValid(state tls.ConnectionState, roots *x509.CertPool, name string) bool {
	if len(state.PeerCertificates) == 0 || name == "" {
		return false
	}
	opts := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(opts)
	return err == nil
}

// send is MAIL, RCPT and DATA.
func (t *transaction) send() error {
	mail, err := t.mailCommand()
	if err != nil {
		return err
	}
	accepted, err := t.envelope(mail)
	if err != nil || len(accepted) == 0 {
		return err
	}
	r, err := t.command(t.timeouts.DataInit, "DATA")
	switch {
	case err != nil:
		return err
	case r.code/100 == 3:
	case r.code/100 == 2:
		return fmt.Errorf("%w: DATA answered with %d", errReply, r.code)
	default:
		return &fault{status: r.status()}
	}
	if err := t.content(); err != nil {
		return err
	}
	if !t.endpoint.LMTP {
		return t.finalReply(accepted)
	}
	for _, i := range accepted {
		if err := t.finalReply([]int{i}); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) mailCommand() (string, error) {
	m := t.message
	line := "MAIL FROM:<" + m.From + ">"
	if limit, offered := t.extensions["SIZE"]; offered {
		if n, err := strconv.ParseInt(limit, 10, 64); err == nil && n > 0 && m.Size > n {
			return "", &fault{status: Status{Outcome: Failed, Enhanced: "5.3.4",
				Text: fmt.Sprintf("message of %d bytes is larger than the %d that the host accepts", m.Size, n)}}
		}
		line += " SIZE=" + strconv.FormatInt(m.Size, 10)
	}
	if _, offered := t.extensions["8BITMIME"]; offered && m.EightBit {
		line += " BODY=8BITMIME"
	}
	if m.SMTPUTF8 {
		if _, offered := t.extensions["SMTPUTF8"]; !offered {
			return "", &fault{status: Status{Outcome: Failed, Enhanced: "5.6.7",
				Text: "the host does not support internationalised mail (SMTPUTF8)"}}
		}
		line += " SMTPUTF8"
	}
	return line, nil
}

// envelope sends MAIL and RCPT and returns the recipients that were accepted.
// With PIPELINING all commands leave together; MaxRecipients keeps their replies
// small enough for the buffers on the way, so that neither side waits for the
// other to read.
func (t *transaction) envelope(mail string) (accepted []int, err error) {
	_, pipelining := t.extensions["PIPELINING"]
	commands := []string{mail}
	for _, to := range t.message.To {
		commands = append(commands, "RCPT TO:<"+to.Address+">")
	}
	if pipelining {
		for _, c := range commands {
			if err := t.put("%s", c); err != nil {
				return nil, fmt.Errorf("MAIL: %w", err)
			}
		}
		if err := t.writer.Flush(); err != nil {
			return nil, fmt.Errorf("MAIL: %w", err)
		}
	}
	var refused error // of MAIL
	for i, c := range commands {
		var r reply
		if pipelining {
			if r, err = t.reply(t.timeouts.Command); err != nil {
				err = fmt.Errorf("%s: %w", c[:4], err)
			}
		} else {
			r, err = t.command(t.timeouts.Command, "%s", c)
		}
		switch {
		case err != nil:
			return nil, err
		case r.code == 421: // closing, whatever it was asked (RFC 5321, section 3.8)
			return nil, r.deferred(c[:4])
		case r.code/100 == 3:
			return nil, fmt.Errorf("%w: %s answered with %d", errReply, c[:4], r.code)
		case i == 0 && r.code/100 != 2:
			if refused = mailRefusal(r); !pipelining {
				return nil, refused
			}
		case i > 0 && refused == nil:
			if r.code/100 == 2 {
				accepted = append(accepted, i-1)
			} else {
				t.answer(i-1, recipientStatus(r))
			}
		}
	}
	return accepted, refused
}

// mailRefusal is what a refused MAIL means for all recipients.
func mailRefusal(r reply) error {
	if r.code == 530 { // a login or TLS is wanted: the route is at fault, not the mail
		return r.deferred("MAIL")
	}
	return &fault{status: r.status()}
}

// recipientStatus reads a refused RCPT. 552 was once the code for too many
// recipients and is to be treated as 452 (RFC 5321, section 4.5.3.1.10).
func recipientStatus(r reply) Status {
	s := r.status()
	if r.code == 530 || r.code == 552 && (r.enhanced == "" || strings.HasSuffix(r.enhanced, ".5.3")) {
		s.Outcome = Deferred
		s.Enhanced = "4" + s.Enhanced[1:]
	}
	return s
}

// content sends the body and the final dot.
func (t *transaction) content() error {
	w := newContentWriter(t.writer, !t.endpoint.LMTP)
	if _, err := io.Copy(w, t.message.Body); err != nil {
		return fmt.Errorf("content: %w", err)
	}
	if err := w.finish(); err != nil {
		return fmt.Errorf("content: %w", err)
	}
	if err := t.writer.Flush(); err != nil {
		return fmt.Errorf("content: %w", err)
	}
	return nil
}

// finalReply reads a reply to the final dot and answers for who with it.
func (t *transaction) finalReply(who []int) error {
	r, err := t.reply(t.timeouts.DataDone)
	if err != nil {
		return fmt.Errorf("no reply to the final dot: %w", err)
	}
	if r.code/100 == 3 {
		return fmt.Errorf("%w: the final dot answered with %d", errReply, r.code)
	}
	for _, i := range who {
		t.answer(i, r.status())
	}
	return nil
}

// quit says goodbye; nothing depends on the answer.
func (t *transaction) quit() {
	_ = t.conn.SetDeadline(time.Now().Add(quitTimeout))
	if _, err := io.WriteString(t.conn, "QUIT\r\n"); err == nil {
		_, _ = readReply(t.reader)
	}
}
