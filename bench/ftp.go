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
)

// ftpClient is the least that moves a file.
type ftpClient struct {
	conn    net.Conn
	text    *textproto.Reader
	host    string
	session *tls.Config // for data connections; nil in clear
}

// passiveReply finds the port in 229 Entering Extended Passive Mode (|||port|).
var passiveReply = regexp.MustCompile(`\|\|\|(\d+)\|`)

// dialFTP logs in, over implicit TLS or in clear.
func dialFTP(g *gateway, secure bool) (*ftpClient, error) {
	var config *tls.Config
	var conn net.Conn
	var err error
	addr := g.addrs["ftp"]
	if secure {
		addr = g.addrs["ftps"]
		config = &tls.Config{
			InsecureSkipVerify: true, // it is ours, on loopback
			ServerName:         "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(8),
		}
		conn, err = tls.Dial("tcp", addr, config)
	} else {
		conn, err = net.Dial("tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	c := &ftpClient{conn: conn, text: textproto.NewReader(bufio.NewReader(conn)), host: host, session: config}
	if _, _, err := c.text.ReadResponse(220); err != nil {
		return nil, err
	}
	type step struct {
		line string
		want int
	}
	steps := []step{{"USER " + benchUser, 331}, {"PASS " + benchPassword, 230}, {"TYPE I", 200}}
	if secure {
		steps = append(steps, step{"PBSZ 0", 200}, step{"PROT P", 200})
	}
	for _, step := range steps {
		if _, err := c.do(step.want, step.line); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return c, nil
}

func (c *ftpClient) do(want int, line string) (string, error) {
	if _, err := fmt.Fprintf(c.conn, "%s\r\n", line); err != nil {
		return "", err
	}
	_, text, err := c.text.ReadResponse(want)
	if err != nil {
		verb := line
		if len(verb) > 4 {
			verb = verb[:4]
		}
		return "", fmt.Errorf("%s: %w", verb, err)
	}
	return text, nil
}

// move transfers size bytes.
func (c *ftpClient) move(verb, name string, size int64) error {
	text, err := c.do(229, "EPSV")
	if err != nil {
		return err
	}
	port := passiveReply.FindStringSubmatch(text)
	if port == nil {
		return errors.New("no port in " + text)
	}
	raw, err := net.Dial("tcp", net.JoinHostPort(c.host, port[1]))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.conn, "%s %s\r\n", verb, name); err != nil {
		return err
	}
	if _, _, err := c.text.ReadResponse(150); err != nil {
		return err
	}
	data := raw
	if c.session != nil {
		data = tls.Client(raw, c.session)
	}
	n, err := int64(0), error(nil)
	buf := make([]byte, 256<<10)
	if verb == "RETR" {
		n, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, data, buf)
	} else {
		n, err = io.CopyBuffer(data, &zeros{left: size}, buf)
	}
	err = errors.Join(err, data.Close())
	if err == nil && n != size {
		err = fmt.Errorf("%s moved %d bytes, want %d", verb, n, size)
	}
	if err != nil {
		return err
	}
	_, _, err = c.text.ReadResponse(226)
	return err
}

// measureFTP stores and retrieves by 1, 4 and 16 sessions at once, in clear and
// over TLS.
func measureFTP(ctx context.Context, g *gateway, o options, out io.Writer) error {
	for _, secure := range []bool{false, true} {
		for _, n := range []int{1, 4, 16} {
			if err := measureFTPSessions(g, secure, n, o.size/int64(n), out); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

func measureFTPSessions(g *gateway, secure bool, n int, each int64, out io.Writer) error {
	name := "FTP "
	if secure {
		name = "FTPS "
	}
	clients := make([]*ftpClient, n)
	for i := range clients {
		c, err := dialFTP(g, secure)
		if err != nil {
			return err
		}
		defer c.conn.Close()
		clients[i] = c
	}
	for _, verb := range []string{"STOR", "RETR"} {
		took, cpu, err := g.measure(func() error {
			return parallel(n, func(i int) error { return clients[i].move(verb, fmt.Sprint("ftp", i), each) })
		})
		if err != nil {
			return err
		}
		transferRow(out, name+verb, n, each*int64(n), took, cpu)
	}
	return nil
}
