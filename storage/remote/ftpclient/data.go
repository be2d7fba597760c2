package ftpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"gateway/session"
)

// passive asks for a port and connects to it, at the address of the control connection.
func (c *Conn) passive(ctx context.Context) (net.Conn, error) {
	port, err := c.port()
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(c.bare.RemoteAddr().String())
	if err != nil {
		return nil, err
	}
	data, err := c.cfg.dial(ctx, net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, c.fail("data connection", err)
	}
	return data, nil
}

func (c *Conn) port() (int, error) {
	if !c.oldPasv {
		r, err := c.ask(2, "EPSV", "")
		if err == nil {
			return c.told("EPSV", r, extendedPort)
		}
		if _, no := Code(err); !no {
			return 0, err
		}
		c.oldPasv = true
	}
	r, err := c.ask(2, "PASV", "")
	if err != nil {
		return 0, err
	}
	return c.told("PASV", r, passivePort)
}

// told is the port in a reply. A server that names none leaves the connection in a state
// that nobody knows.
func (c *Conn) told(verb string, r reply, parse func(string) (int, bool)) (int, error) {
	port, ok := parse(r.text())
	if !ok {
		return 0, c.fail(verb, fmt.Errorf("it names no port in %q", clip(r.text())))
	}
	return port, nil
}

// extendedPort reads "Entering Extended Passive Mode (|||6446|)" (RFC 2428, section 3).
func extendedPort(text string) (int, bool) {
	_, rest, found := strings.Cut(text, "(")
	if inside, _, closed := strings.Cut(rest, ")"); found && closed && len(inside) > 4 {
		if mark := inside[:1]; inside[:3] == strings.Repeat(mark, 3) && strings.HasSuffix(inside, mark) {
			return portNumber(inside[3 : len(inside)-1])
		}
	}
	return 0, false
}

// passivePort reads "Entering Passive Mode (h1,h2,h3,h4,p1,p2)" (RFC 959, section 4.1.2),
// with brackets or without. The address is not looked at.
func passivePort(text string) (int, bool) {
	start := strings.IndexAny(text, "0123456789")
	if start < 0 {
		return 0, false
	}
	end := start
	for end < len(text) && (text[end] == ',' || '0' <= text[end] && text[end] <= '9') {
		end++
	}
	numbers := strings.Split(text[start:end], ",")
	if len(numbers) != 6 {
		return 0, false
	}
	high, err1 := strconv.ParseUint(numbers[4], 10, 8)
	low, err2 := strconv.ParseUint(numbers[5], 10, 8)
	port := int(high<<8 | low)
	return port, err1 == nil && err2 == nil && port > 0
}

func portNumber(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && n > 0
}

// A Transfer is content on its way over a data connection. It ends by Finish or Abort;
// until then its Conn does nothing else.
type Transfer struct {
	conn *Conn
	verb string
	bare net.Conn
	wire net.Conn // bare, or TLS over it
	up   bool
	over bool // it has ended
}

// transfer opens a data connection for a command. An offset other than zero is said by REST.
func (c *Conn) transfer(ctx context.Context, verb, arg string, offset int64) (_ *Transfer, err error) {
	defer context.AfterFunc(ctx, c.abandon)()
	data, err := c.passive(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = data.Close()
		}
	}()
	if offset > 0 {
		if _, err := c.ask(3, "REST", strconv.FormatInt(offset, 10)); err != nil {
			return nil, err
		}
	}
	r, err := c.command(verb, arg)
	switch {
	case err != nil:
		return nil, err
	case r.code/100 == 2: // to what question?
		return nil, c.fail(verb, errNoFTP)
	case r.code/100 != 1:
		return nil, &Error{verb, r.code, r.text()}
	}
	t := &Transfer{conn: c, verb: verb, bare: data, wire: data}
	if c.tls == nil {
		return t, nil
	}
	// The handshake comes after the reply, at which a server begins it.
	t.step()
	over := tls.Client(data, c.tls)
	if err := over.HandshakeContext(ctx); err != nil {
		return nil, c.fail("data connection", err)
	}
	t.wire = over
	return t, nil
}

// Retrieve begins to read a file from offset on.
func (c *Conn) Retrieve(ctx context.Context, path string, offset int64) (*Transfer, error) {
	return c.transfer(ctx, "RETR", path, offset)
}

// Store begins to write a file anew.
func (c *Conn) Store(ctx context.Context, path string) (*Transfer, error) {
	return c.upload(ctx, "STOR", path)
}

// Append begins to write behind the end of a file.
func (c *Conn) Append(ctx context.Context, path string) (*Transfer, error) {
	return c.upload(ctx, "APPE", path)
}

func (c *Conn) upload(ctx context.Context, verb, path string) (*Transfer, error) {
	t, err := c.transfer(ctx, verb, path, 0)
	if err == nil {
		t.up = true
	}
	return t, err
}

// step gives the next step its time.
func (t *Transfer) step() { _ = t.bare.SetDeadline(time.Now().Add(t.conn.cfg.Timeout)) }

// Read reads content. io.EOF may come of a connection that broke: Finish says whether the
// server has sent all.
func (t *Transfer) Read(p []byte) (int, error) {
	t.step()
	n, err := t.wire.Read(p)
	if err != nil && err != io.EOF {
		err = t.broke(err)
	}
	return n, err
}

func (t *Transfer) Write(p []byte) (int, error) {
	t.step()
	n, err := t.wire.Write(p)
	if err != nil {
		err = t.broke(err)
	}
	return n, err
}

func (t *Transfer) broke(err error) error {
	return fmt.Errorf("data connection of %s: %w: %w", t.verb, session.ErrUnavailable, err)
}

// Finish ends the transfer and returns nil if the server says that it is complete: what was
// read was all up to the end of the file; what was written has arrived.
func (t *Transfer) Finish() error {
	t.over = true
	var err error
	if t.up {
		err = t.finishUpload()
	}
	_ = t.wire.Close()
	if err != nil {
		return errors.Join(t.broke(err), t.settle())
	}
	r, err := t.conn.answer(t.verb)
	if err == nil && r.code/100 != 2 {
		err = &Error{t.verb, r.code, r.text()}
	}
	return err
}

// finishUpload says that this was all, and reads what a server sends on a connection that it
// only receives by: tickets to resume the session with, and the end.
func (t *Transfer) finishUpload() error {
	over, protected := t.wire.(*tls.Conn)
	if !protected {
		return nil
	}
	t.step()
	if err := over.CloseWrite(); err != nil {
		return err
	}
	if half, ok := t.bare.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = t.bare.SetReadDeadline(time.Now().Add(min(t.conn.cfg.Timeout, settleTime)))
	_, _ = io.Copy(io.Discard, io.LimitReader(over, maxReply))
	return nil
}

// settleTime is how long a server has to come to rest after a transfer that was ended early.
const settleTime = 5 * time.Second

// Abort ends the transfer early, if it has not ended. The connection can be used for others
// then, or is broken.
func (t *Transfer) Abort() {
	if t.over {
		return
	}
	t.over = true
	_ = t.bare.Close() // without the end that TLS has, so that it does not look complete
	_ = t.settle()
}

// settle reads what the server says to the end of the data connection.
func (t *Transfer) settle() error {
	if t.conn.Broken() {
		return nil
	}
	_ = t.conn.bare.SetDeadline(time.Now().Add(min(t.conn.cfg.Timeout, settleTime)))
	if _, err := readReply(t.conn.in); err != nil {
		return t.conn.fail(t.verb, err)
	}
	return nil
}

// Interrupt makes a Read or Write that is under way fail. It may be called at any time.
func (t *Transfer) Interrupt() { _ = t.bare.Close() }
