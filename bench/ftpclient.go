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

// ftpClient is the least that moves a file, so that the server is the bound.
type ftpClient struct {
	conn    net.Conn
	text    *textproto.Reader
	ctx     context.Context // of the whole run
	source  net.IP          // of all its connections; nil leaves it to the kernel
	host    string
	config  *tls.Config // for data connections; nil in clear
	scratch []byte      // zeros, or what was received last; nil until then
}

// passiveReply finds the port in 229 Entering Extended Passive Mode (|||port|)
// (RFC 2428, section 3).
var passiveReply = regexp.MustCompile(`\|\|\|(\d+)\|`)

// open logs in, and makes ready to move files.
func (t ftpTarget) open(ctx context.Context) (*ftpClient, error) { return t.openFrom(ctx, nil) }

// openFrom does it from an address of loopback.
func (t ftpTarget) openFrom(ctx context.Context, source net.IP) (*ftpClient, error) {
	c, err := t.login(ctx, source)
	if err != nil {
		return nil, err
	}
	_, err = c.do(200, "TYPE", "I")
	if err == nil && t.secure {
		_, err = c.do(200, "PBSZ", "0")
	}
	if err == nil && t.secure {
		_, err = c.do(200, "PROT", "P")
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// login connects and says who it is, and no more.
func (t ftpTarget) login(ctx context.Context, source net.IP) (_ *ftpClient, err error) {
	host, _, err := net.SplitHostPort(t.addr)
	if err != nil {
		return nil, err
	}
	raw, err := dialFrom(ctx, source, t.addr)
	if err != nil {
		return nil, err
	}
	c := &ftpClient{conn: raw, text: textproto.NewReader(bufio.NewReaderSize(raw, 1<<10)), ctx: ctx, source: source, host: host}
	defer func() {
		if err != nil {
			_ = raw.Close()
		}
	}()
	if _, _, err := c.text.ReadResponse(220); err != nil {
		return nil, err
	}
	if t.secure {
		if err := c.encrypt(); err != nil {
			return nil, err
		}
	}
	if _, err := c.do(331, "USER", t.user); err != nil {
		return nil, err
	}
	_, err = c.do(230, "PASS", t.password)
	return c, err
}

// encrypt changes to TLS. Another cipher than AES-128-GCM would not be comparable.
func (c *ftpClient) encrypt() error {
	if _, err := c.do(234, "AUTH", "TLS"); err != nil {
		return err
	}
	c.config = &tls.Config{
		InsecureSkipVerify: true, // it is ours, on loopback
		ServerName:         "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	conn := tls.Client(c.conn, c.config)
	if err := conn.HandshakeContext(c.ctx); err != nil {
		return err
	}
	if suite := conn.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		return fmt.Errorf("the server chose %s: set it to TLS_AES_128_GCM_SHA256", tls.CipherSuiteName(suite))
	}
	c.conn, c.text = conn, textproto.NewReader(bufio.NewReaderSize(conn, 1<<10))
	return nil
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

// dataConn is an open data connection.
type dataConn struct {
	net.Conn              // by TLS, or raw
	raw      *net.TCPConn // below
}

// begin opens a data connection for a command.
func (c *ftpClient) begin(verb, args string) (*dataConn, error) {
	text, err := c.do(229, "EPSV", "")
	if err != nil {
		return nil, err
	}
	port := passiveReply.FindStringSubmatch(text)
	if port == nil {
		return nil, fmt.Errorf("EPSV: no port in %q", text)
	}
	raw, err := dialFrom(c.ctx, c.source, net.JoinHostPort(c.host, port[1]))
	if err != nil {
		return nil, err
	}
	if _, err := c.do(1, verb, args); err != nil { // 125 or 150
		_ = raw.Close()
		return nil, err
	}
	if c.config != nil {
		return &dataConn{tls.Client(raw, c.config), raw}, nil
	}
	return &dataConn{raw, raw}, nil
}

// end reads the reply to the command that a data connection was for.
func (c *ftpClient) end() error {
	_, _, err := c.text.ReadResponse(226)
	return err
}

// get reads a file of size bytes.
func (c *ftpClient) get(name string, size int64) error {
	data, err := c.begin("RETR", name)
	if err != nil {
		return err
	}
	defer data.Close()
	n, err := data.read(io.Discard, c.buffer())
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes of %d", n, size)
	}
	if err != nil {
		return fmt.Errorf("RETR %s: %w", name, err)
	}
	return c.end()
}

// put writes size bytes of whatever is in the buffer to a file.
func (c *ftpClient) put(name string, size int64) error {
	data, err := c.begin("STOR", name)
	if err != nil {
		return err
	}
	defer data.Close()
	if err := errors.Join(data.write(size, c.buffer()), data.finish()); err != nil {
		return fmt.Errorf("STOR %s: %w", name, err)
	}
	return c.end()
}

// list returns how many lines LIST has.
func (c *ftpClient) list(folder string) (int, error) {
	data, err := c.begin("LIST", folder)
	if err != nil {
		return 0, err
	}
	defer data.Close()
	var lines lineCount
	if _, err := data.read(&lines, c.buffer()); err != nil {
		return 0, fmt.Errorf("LIST %s: %w", folder, err)
	}
	return int(lines), c.end()
}

// buffer is the session's own, made when it first moves something.
func (c *ftpClient) buffer() []byte {
	if c.scratch == nil {
		c.scratch = make([]byte, ftpBuffer)
	}
	return c.scratch
}

// read reads to the end.
func (d *dataConn) read(to io.Writer, buf []byte) (n int64, err error) {
	for {
		m, err := d.Read(buf)
		n += int64(m)
		if _, err := to.Write(buf[:m]); err != nil {
			return n, err
		}
		if err == io.EOF {
			return n, d.Close()
		}
		if err != nil {
			return n, err
		}
	}
}

// write sends size bytes of buf, again and again.
func (d *dataConn) write(size int64, buf []byte) error {
	for n := int64(0); n < size; {
		m, err := d.Write(buf[:min(int64(len(buf)), size-n)])
		n += int64(m)
		if err != nil {
			return err
		}
	}
	return nil
}

// finish says that all was sent. A close while session tickets are unread would
// be a reset, and lose the tail; so the server closes first.
func (d *dataConn) finish() (err error) {
	if t, ok := d.Conn.(*tls.Conn); ok {
		err = t.CloseWrite()
	}
	err = errors.Join(err, d.raw.CloseWrite(), d.raw.SetReadDeadline(time.Now().Add(endTimeout)))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, d.Conn)
	if errors.Is(err, io.ErrUnexpectedEOF) { // it ended without a close_notify, which is no loss here
		err = nil
	}
	return err
}

func (c *ftpClient) Close() error { return c.conn.Close() }
