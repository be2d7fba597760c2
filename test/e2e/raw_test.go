package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
)

// rawFTP is the least FTP client that can say anything: no state but that of its
// connection, so that a test knows what is on the wire.
type rawFTP struct {
	conn net.Conn
	text *textproto.Conn
	tls  *tls.Config // nil without TLS
}

// resuming are TLS settings that check the gateway's certificate, and resume.
func resuming(t *testing.T, g *gatewaytest.Gateway) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(g.CLI("", "cert", "show", "--ca")))
	return &tls.Config{RootCAs: pool, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
}

// dialRaw logs in, by AUTH TLS if settings are given. Everything must be over
// within limit.
func dialRaw(ctx context.Context, addr, user, password string, settings *tls.Config, limit time.Duration) (*rawFTP, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(limit))
	c := &rawFTP{conn: conn, text: textproto.NewConn(conn)}
	if _, _, err := c.text.ReadResponse(220); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	login := []string{"USER " + user, "331", "PASS " + password, "230", "TYPE I", "200"}
	if settings != nil {
		if err := c.expect("AUTH TLS", "234"); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.tls = settings
		c.text = textproto.NewConn(tls.Client(conn, settings))
		login = append(login, "PBSZ 0", "200", "PROT P", "200")
	}
	if err := c.expect(login...); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *rawFTP) Close() error { return c.conn.Close() }

// say sends a command and returns the reply.
func (c *rawFTP) say(command string) (code int, text string, err error) {
	if err := c.text.PrintfLine("%s", command); err != nil {
		return 0, "", err
	}
	return c.text.ReadResponse(0)
}

// expect sends commands, each followed by the code of its reply.
func (c *rawFTP) expect(commands ...string) error {
	for i := 0; i+1 < len(commands); i += 2 {
		code, text, err := c.say(commands[i])
		if err == nil && fmt.Sprint(code) != commands[i+1] {
			err = fmt.Errorf("got %d %s, want %s", code, text, commands[i+1])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", commands[i], err)
		}
	}
	return nil
}

// transfer sends EPSV, then commands, the last of which opens the data
// connection, and lets move use it. It returns the code of the last reply: one
// that refuses the transfer, or the one at its end.
func (c *rawFTP) transfer(move func(net.Conn) error, commands ...string) (code int, err error) {
	code, text, err := c.say("EPSV")
	if err != nil || code != 229 {
		return code, err
	}
	var port int
	if _, err := fmt.Sscanf(text[max(strings.Index(text, "|||"), 0):], "|||%d|", &port); err != nil {
		return 0, fmt.Errorf("EPSV: %q: %w", text, err)
	}
	host, _, err := net.SplitHostPort(c.conn.RemoteAddr().String())
	if err != nil {
		return 0, err
	}
	data, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		return 0, err
	}
	defer data.Close()
	_ = data.SetDeadline(time.Now().Add(clientTimeout))
	for _, command := range commands {
		if code, _, err = c.say(command); err != nil {
			return 0, err
		}
	}
	if code != 150 {
		return code, nil
	}
	if c.tls != nil {
		data = tls.Client(data, c.tls)
	}
	if err := move(data); err != nil {
		return 0, err
	}
	code, _, err = c.text.ReadResponse(0)
	return code, err
}

// send sends content by the last of commands.
func (c *rawFTP) send(content []byte, commands ...string) (code int, err error) {
	return c.transfer(func(data net.Conn) error {
		if secure, ok := data.(*tls.Conn); ok { // also for an empty file
			if err := secure.Handshake(); err != nil {
				return err
			}
		}
		if _, err := data.Write(content); err != nil {
			return err
		}
		return data.Close()
	}, commands...)
}

// fetch returns what the last of commands sends.
func (c *rawFTP) fetch(commands ...string) (content []byte, code int, err error) {
	code, err = c.transfer(func(data net.Conn) (err error) {
		content, err = io.ReadAll(data)
		return errors.Join(err, data.Close()) // before the reply: the gateway waits for it
	}, commands...)
	return content, code, err
}
