package ftp_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gateway/ftp"
)

// aborts are the ways in which clients say ABOR; NOOP before it changes nothing.
func aborts() map[string]string {
	return map[string]string{
		"plain": "ABOR\r\n", "lower case": "abor\r\n", "telnet": "\xff\xf4\xff\xf2ABOR\r\n", "urgent byte lost": "\xff\xf4\xf2ABOR\r\n",
		"behind a NOOP": "NOOP\r\nABOR\r\n", "behind what waits": "PWD\r\nABOR\r\n", "twice": "ABOR\r\nABOR\r\n",
		"behind AUTH": "AUTH TLS\r\nABOR\r\n", "behind CCC": "CCC\r\nABOR\r\n",
	}
}

// D17: while the data connection is awaited. Its time is an hour here, so only
// ABOR can have ended the transfer.
func TestD17AbortWhileWaiting(t *testing.T) {
	t.Parallel()
	for _, private := range []bool{false, true} {
		f := start(t, nil, ftp.Config{TLS: serverTLS(t), DataTimeout: time.Hour, TransferStall: time.Hour})
		f.tree.put(t, "f", "content")
		for name, abort := range aborts() {
			c := f.dial(t)
			if private {
				c.secure().login().private()
			} else {
				c.login()
			}
			for _, command := range []string{"RETR f", "STOR g", "APPE f", "STOU", "LIST", "NLST -R", "MLSD"} {
				c.epsv()
				c.send(command + "\r\n" + abort)
				if name == "behind a NOOP" {
					c.expect("200 *")
				}
				c.expect("426 *")
				c.expect("226 ABOR*")
				switch name {
				case "twice":
					c.expect("226 *")
				case "behind what waits":
					c.expect("257 *")
				case "behind AUTH", "behind CCC":
					c.expect("503 *")
				}
			}
			c.do("NOOP", "200 *")
		}
		if f.tree.has("g") || f.tree.get(t, "f") != "content" {
			t.Error("an aborted upload is visible")
		}
	}
}

// D17: while bytes could move and none do, and in half a handshake.
func TestD17AbortWhileCopying(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t), DataTimeout: time.Hour, TransferStall: time.Hour})
	f.tree.put(t, "big", strings.Repeat("x", 30<<20))
	for _, stage := range []string{"plain", "handshake", "TLS"} {
		c := f.dial(t)
		if stage == "plain" {
			c.login()
		} else {
			c.secure().login().private()
		}
		c.do("TYPE I", "200 *")
		for name, abort := range aborts() {
			for _, command := range []string{"RETR big", "STOR g"} {
				d := c.data()
				c.do(command, "150 *")
				if stage == "TLS" {
					if err := tls.Client(d, c.tls).Handshake(); err != nil {
						t.Fatal(err)
					}
				}
				c.send(abort)
				if name == "behind a NOOP" {
					c.expect("200 *")
				}
				c.expect("426 *")
				c.expect("226 ABOR*")
				switch name {
				case "twice":
					c.expect("226 *")
				case "behind what waits":
					c.expect("257 *")
				case "behind AUTH", "behind CCC":
					c.expect("503 *")
				}
				_ = d.Close()
			}
		}
	}
	if f.tree.has("g") {
		t.Error("an aborted upload is visible")
	}
}

// D17: going on with a large file copies it first, which may take long. The
// connection answers meanwhile, and ABOR ends it.
func TestD17AbortWhileTheFileIsCopied(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "f", "content")
	var large atomic.Bool
	f.tree.create = func(ctx context.Context) error {
		if !large.Load() {
			return nil
		}
		select { // the end of the test is for a server that waits here
		case <-ctx.Done():
		case <-t.Context().Done():
		}
		return context.Canceled
	}
	c := f.dial(t).login()
	c.do("TYPE I", "200 *")
	for _, command := range []string{"APPE f", "STOR f"} {
		at := c.epsv()
		if command == "STOR f" {
			c.do("REST 3", "350 *")
		}
		large.Store(true)
		c.send(command + "\r\nNOOP\r\nSTAT\r\n")
		c.expect("200 *")
		c.expect("211-*" + command[:4] + " in progress*")
		c.do("ABOR", "426 *")
		c.expect("226 *")
		large.Store(false)
		// No data connection was used up by that.
		d, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		c.do("APPE f", "150 *")
		_, _ = io.WriteString(d, "!")
		_ = d.Close()
		c.expect("226 *")
	}
	if got := f.tree.get(t, "f"); got != "content!!" {
		t.Errorf("got %q", got)
	}
}

// D17: a client that says ABOR when there is nothing to abort, and again.
func TestD17AbortOfNothing(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	c := f.dial(t)
	c.do("ABOR", "530 *")
	c.login()
	c.do("ABOR", "226 *")
	at := c.epsv()
	c.do("ABOR", "226 *")
	d, err := net.Dial("tcp", at) // the port is still good
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c.do("NLST", "150 *")
	c.expect("226 *")
}
