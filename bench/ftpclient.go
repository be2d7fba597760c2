//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"time"
)

const (
	ftpBuffer = 256 << 10
	// endTimeout is how long the server may take to end a data connection.
	endTimeout = 10 * time.Second
)

// ftpTarget is where sessions are opened.
type ftpTarget struct {
	server
	addr, user, password string
	folder               string // that can be written to; empty, or ends in a slash
	secure               bool   // AUTH TLS, and data by TLS too
}

// ftpClient is the least that moves a file.
type ftpClient struct {
	conn    net.Conn
	text    *textproto.Reader
	ctx     context.Context // of the whole run
	host    string
	config  *tls.Config // for data connections; nil in clear
	scratch []byte      // zeros, or what was received last
}

// passiveReply finds the port in 229 Entering Extended Passive Mode (|||port|)
// (RFC 2428, section 3).
var passiveReply = regexp.MustCompile(`\|\|\|(\d+)\|`)

// open logs in.
func (t ftpTarget) open(ctx context.Context) (_ *ftpClient, err error) {
	host, _, err := net.SplitHostPort(t.addr)
	if err != nil {
		return nil, err
	}
	raw, err := dial(ctx, t.addr)
	if err != nil {
		return nil, err
	}
	c := &ftpClient{conn: raw, text: textproto.NewReader(bufio.NewReaderSize(raw, 1<<10)), ctx: ctx, host: host}
	defer func() {
		if err != nil {
			_ = raw.Close()
		}
	}()
	if _, _, err := c.text.ReadResponse(220); err != nil {
		return nil, err
	}
	if t.secure {
		if _, err := c.do(234, "AUTH", "TLS"); err != nil {
			return nil, err
		}
		c.config = &tls.Config{
			InsecureSkipVerify: true, // it is ours, on loopback
			ServerName:         "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4),
		}
		c.conn = tls.Client(raw, c.config)
		c.text = textproto.NewReader(bufio.NewReaderSize(c.conn, 1<<10))
	}
	for _, step := range []struct {
		want       int
		verb, args string
	}{{331, "USER", t.user}, {230, "PASS", t.password}, {200, "TYPE", "I"}, {200, "PBSZ", "0"}, {200, "PROT", "P"}} {
		if !t.secure && step.verb == "PBSZ" {
			break
		}
		if _, err := c.do(step.want, step.verb, step.args); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *ftpClient) do(want int, verb, args string) (string, error) {
	line := verb
	if args != "" {
		line += " " + args
	}
	if _, err := fmt.Fprintf(c.conn, "%s\r\n", line); err != nil {
		return "", err
	}
	_, text, err := c.text.ReadResponse(want)
	if err != nil {
		return "", fmt.Errorf("%s: %w", verb, err)
	}
	return text, nil
}

// move transfers size bytes by RETR or STOR.
func (c *ftpClient) move(verb, name string, size int64) error {
	text, err := c.do(229, "EPSV", "")
	if err != nil {
		return err
	}
	port := passiveReply.FindStringSubmatch(text)
	if port == nil {
		return fmt.Errorf("EPSV: no port in %q", text)
	}
	raw, err := dial(c.ctx, net.JoinHostPort(c.host, port[1]))
	if err != nil {
		return err
	}
	defer raw.Close()
	if _, err := c.do(150, verb, name); err != nil {
		return err
	}
	var data net.Conn = raw
	if c.config != nil {
		data = tls.Client(raw, c.config)
	}
	if c.scratch == nil {
		c.scratch = make([]byte, ftpBuffer)
	}
	var n int64
	if verb == "RETR" {
		n, err = receive(data, c.scratch)
	} else {
		n, err = send(data, raw, size, c.scratch)
	}
	if err == nil && n != size {
		err = fmt.Errorf("moved %d bytes of %d", n, size)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	_, _, err = c.text.ReadResponse(226)
	return err
}

// receive reads to the end.
func receive(data net.Conn, buf []byte) (n int64, err error) {
	for {
		m, err := data.Read(buf)
		n += int64(m)
		if err == io.EOF {
			return n, data.Close()
		}
		if err != nil {
			return n, err
		}
	}
}

// send writes size bytes of whatever is in buf. A close while session tickets
// are unread would be a reset, and lose the tail; so the server closes first.
func send(data net.Conn, raw *net.TCPConn, size int64, buf []byte) (n int64, err error) {
	for n < size {
		m, err := data.Write(buf[:min(int64(len(buf)), size-n)])
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	if t, ok := data.(*tls.Conn); ok {
		err = t.CloseWrite()
	}
	err = errors.Join(err, raw.CloseWrite(), raw.SetReadDeadline(time.Now().Add(endTimeout)))
	if err != nil {
		return n, err
	}
	_, err = io.Copy(io.Discard, data)
	if errors.Is(err, io.ErrUnexpectedEOF) { // it ended without a close_notify, which is no loss here
		err = nil
	}
	return n, err
}

func (c *ftpClient) Close() error { return c.conn.Close() }
