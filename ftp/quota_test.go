package ftp_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/ftp"
	"gateway/session"
	"gateway/storage"
	"gateway/storage/local"
	"gateway/transfer"
)

// An upload that fits to the byte arrives; one byte more is 552 and leaves
// nothing, whoever moves the bytes: the kernel, TLS, or the conversion of line
// ends.
func TestQuotaToTheByte(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ascii, private bool
		fits           string
	}{
		"kernel": {fits: strings.Repeat("x", 3<<20)},
		"TLS":    {private: true, fits: strings.Repeat("x", 3<<20)},
		"ASCII":  {ascii: true, fits: strings.Repeat("line\r\n", 100_000)},
		"CR":     {ascii: true, fits: strings.Repeat("x", 1000) + "\r"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trees := local.Tree{Base: t.TempDir()}
			shares := transfer.NewShares(transfer.SharesConfig{Open: func(o transfer.Owner, l storage.Ledger) (storage.FS, error) {
				return trees.Open(o.User, l)
			}})
			f := start(t, nil, ftp.Config{
				TLS: serverTLS(t), ConvertASCII: true,
				Files: func(ctx context.Context, s *session.Session) (*transfer.Files, error) {
					return shares.Open(ctx, s, transfer.Limits{})
				},
			})
			size := int64(len(strings.ReplaceAll(c.fits, "\r\n", "\n")))
			access := session.FullAccess()
			access.Quota.Bytes = size
			f.core.Accounts.Allow("alice", access)
			cl := f.dial(t)
			if c.private {
				cl.secure()
			}
			cl.login()
			if c.private {
				cl.private()
			}
			stor := func(command, content, pattern string) {
				t.Helper()
				d := cl.data()
				cl.do(command, "150 *")
				if c.private {
					d = tls.Client(d, cl.tls)
				}
				_, _ = io.WriteString(d, content)
				_ = d.Close()
				cl.expect(pattern)
			}
			cl.do("TYPE I", "200 *")
			if c.ascii {
				cl.do("TYPE A", "200 *")
			}
			stor("STOR more", c.fits+"\r", "552 *")
			cl.do("SIZE more", "550 *")
			stor("STOR f", c.fits, "226 *")
			stor("STOR f", c.fits, "226 *")
			stor("STOR other", "x", "552 *")
			stor("APPE f", "x", "552 *")
			tree, err := trees.Open("alice", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			if u, err := tree.Usage(t.Context()); err != nil || u != (storage.Usage{Bytes: size, Files: 1}) {
				t.Errorf("left %+v, %v; want %d bytes", u, err, size)
			}
		})
	}
}

// ABOR ends a transfer that waits for bandwidth at once.
func TestAbortWhileWaitingForBandwidth(t *testing.T) {
	t.Parallel()
	trees := local.Tree{Base: t.TempDir()}
	limits := transfer.Limits{Bandwidth: transfer.NewBandwidth(1)}
	f := start(t, nil, ftp.Config{Files: func(_ context.Context, s *session.Session) (*transfer.Files, error) {
		tree, err := trees.Open(s.Identity().User, nil)
		return transfer.New(s, tree, limits), err
	}})
	c := f.dial(t).login()
	d := c.data()
	c.do("STOR f", "150 *")
	go func() { _, _ = d.Write(make([]byte, 64<<10)) }()
	waitFor(t, func() bool { // until what may move at once has moved; the rest would take a day
		c.send("STAT\r\n")
		return !strings.Contains(c.reply(), ", 0 bytes moved")
	})
	c.send("ABOR\r\n")
	c.expect("426 *")
	c.expect("226 *")
}

// What came before the connection was lost is kept, unseen, and both ways to go
// on with it do.
func TestResumeAfterLostConnection(t *testing.T) {
	t.Parallel()
	trees := local.Tree{Base: t.TempDir()}
	f := start(t, nil, ftp.Config{Files: func(_ context.Context, s *session.Session) (*transfer.Files, error) {
		tree, err := trees.Open(s.Identity().User, nil)
		return transfer.New(s, tree, transfer.Limits{}), err
	}})
	for _, goOn := range []string{"STOR", "APPE"} {
		c := f.dial(t).login()
		d := c.data()
		c.do("STOR f", "150 *")
		_, _ = io.WriteString(d, "hello ")
		waitFor(t, func() bool { // until it has arrived in the hidden file
			parts, _ := filepath.Glob(filepath.Join(trees.Base, "alice", ".gateway-part-*"))
			for _, part := range parts {
				if info, err := os.Stat(part); err == nil && info.Size() == 6 {
					return true
				}
			}
			return false
		})
		_ = d.(*net.TCPConn).SetLinger(0) // no orderly end, which would be that of the file
		_ = d.Close()
		c.expect("426 *")
		_ = c.conn.Close()
		c = f.dial(t).login()
		waitFor(t, func() bool {
			c.send("SIZE f\r\n")
			return c.reply() == "213 6"
		})
		if got := c.retr("NLST"); got != "" {
			t.Errorf("listed %q", got)
		}
		c.do("TYPE I", "200 *")
		if goOn == "STOR" {
			c.do("REST 6", "350 *")
		}
		c.stor(goOn+" f", "world", "226 *")
		if got := c.retr("RETR f"); got != "hello world" {
			t.Errorf("%s: got %q", goOn, got)
		}
		c.do("DELE f", "250 *")
	}
}
