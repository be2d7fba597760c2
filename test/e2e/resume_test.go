package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// cut uploads content and then resets the data connection, once the gateway says
// that all of it has arrived.
func (c *rawFTP) cut(t *testing.T, name string, content []byte) {
	t.Helper()
	code, err := c.transfer(func(data net.Conn) error {
		if _, err := data.Write(content); err != nil {
			return err
		}
		eventually(t, "the content has arrived", func() bool {
			_, text, err := c.say("STAT")
			return err == nil && strings.Contains(text, fmt.Sprintf("%d bytes moved", len(content)))
		})
		if secure, ok := data.(*tls.Conn); ok {
			data = secure.NetConn() // no close_notify
		}
		_ = data.(*net.TCPConn).SetLinger(0)
		return data.Close()
	}, "STOR "+name)
	if err != nil || code != 426 {
		t.Fatalf("cut upload: got %d, %v; want 426", code, err)
	}
}

// bytesOf is how many bytes the record says were moved of a file, by the last
// that went to its end.
func bytesOf(t *testing.T, g *gatewaytest.Gateway, name string, verbs ...session.Verb) int64 {
	t.Helper()
	bytes := int64(-1)
	for _, e := range events(t, g, "--event", "file", "--outcome", "done") {
		if slices.Contains(verbs, e.Verb) && e.Path == name {
			bytes = e.Bytes
		}
	}
	return bytes
}

// reget are commands for the clients that read them from a terminal.
func (c cell) reget() string {
	return fmt.Sprintf("user %s %s\nbinary\nreget \"%s/%s\" \"%s\"\nquit\n", c.user, c.password, c.folder, c.down, c.got)
}

// Each client that can finishes a download of which it has the first part, and
// fetches no more than the rest.
func TestInterruptedDownloadResumes(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, ftpSettings{resumption: required}.options())
	authority := ca(t, g)
	inTLS := func(c cell, scheme string) string {
		return strings.Replace(c.url(scheme, c.down), "://", "://"+c.user+":"+c.password+"@", 1)
	}
	for name, resume := range map[string]func(t *testing.T, c cell){
		"curl/explicit": func(t *testing.T, c cell) {
			must(t, "", "curl", "-sS", "--ssl-reqd", "--cacert", c.ca, "-C", "-", "-o", c.got, inTLS(c, "ftp"))
		},
		"curl/implicit": func(t *testing.T, c cell) {
			must(t, "", "curl", "-sS", "--cacert", c.ca, "-C", "-", "-o", c.got, inTLS(c, "ftps"))
		},
		"wget/explicit": func(t *testing.T, c cell) {
			must(t, "", "wget", "-nv", "-t", "1", "--ca-certificate", c.ca, "-c", "-O", c.got, inTLS(c, "ftps"))
		},
		"wget/implicit": func(t *testing.T, c cell) {
			must(t, "", "wget", "-nv", "-t", "1", "--ca-certificate", c.ca, "--ftps-implicit", "-c", "-O", c.got, inTLS(c, "ftps"))
		},
		"lftp/explicit": func(t *testing.T, c cell) {
			must(t, "", "lftp", "-e", lftpSettings(c.ca)+fmt.Sprintf("open -u %s,%s ftp://%s:%s; get -c '%s/%s' -o '%s'; bye",
				c.user, c.password, c.host, c.port, c.folder, c.down, c.got))
		},
		"lftp/implicit": func(t *testing.T, c cell) {
			must(t, "", "lftp", "-e", lftpSettings(c.ca)+fmt.Sprintf("open -u %s,%s ftps://%s:%s; get -c '%s/%s' -o '%s'; bye",
				c.user, c.password, c.host, c.port, c.folder, c.down, c.got))
		},
		"ncftp/plain": func(t *testing.T, c cell) {
			must(t, "", "ncftpget", "-z", "-u", c.user, "-p", c.password, "-P", c.port, c.host, filepath.Dir(c.got), c.folder+"/"+c.down)
		},
		"tnftp/plain": func(t *testing.T, c cell) {
			must(t, c.reget(), "tnftp", "-n", c.host, c.port)
		},
		"inetutils-ftp/plain": func(t *testing.T, c cell) {
			must(t, c.reget(), "inetutils-ftp", "-n", c.host, c.port)
		},
		"ftplib/plain":       func(t *testing.T, c cell) { moveByFtplib(t, c, "resumed") },
		"ftplib/explicit":    func(t *testing.T, c cell) { moveByFtplib(t, c, "resumed") },
		"ftplib/implicit":    func(t *testing.T, c cell) { moveByFtplib(t, c, "resumed") },
		"basic-ftp/explicit": func(t *testing.T, c cell) { basicFTP(t, c, true) },
		"basic-ftp/implicit": func(t *testing.T, c cell) { basicFTP(t, c, true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, channel, _ := strings.Cut(name, "/")
			c := newCell(t, g, channel, authority)
			c.folder, c.down = strings.ReplaceAll(name, "/", " ")+" é", "half fetched ñ.bin"
			path, content := file(t, c.down, 500_000)
			folder := filepath.Join(g.Dir, "files", c.user, c.folder)
			if err := os.MkdirAll(folder, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path, filepath.Join(folder, c.down)); err != nil {
				t.Fatal(err)
			}
			const have = 200_000
			c.got = filepath.Join(t.TempDir(), c.down)
			if err := os.WriteFile(c.got, content[:have], 0o600); err != nil {
				t.Fatal(err)
			}

			resume(t, c)

			same(t, "fetched", read(t, c.got), content)
			if got, want := bytesOf(t, g, "/"+c.folder+"/"+c.down, session.Read), int64(len(content)-have); got != want {
				t.Errorf("%d bytes were fetched, want %d", got, want)
			}
		})
	}
}

// Each client that can finishes an upload that was cut, and sends no more than
// the rest. TestInterruptedUploadResumes has more about what is seen meanwhile.
func TestCutUploadResumes(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, ftpSettings{resumption: required}.options())
	authority := ca(t, g)
	for name, resume := range map[string]func(t *testing.T, c cell){
		"curl/plain": func(t *testing.T, c cell) {
			must(t, "", "curl", "-sS", "--user", c.user+":"+c.password, "-C", "-", "-T", c.local, c.url("ftp", c.up))
		},
		"curl/implicit": func(t *testing.T, c cell) {
			must(t, "", "curl", "-sS", "--user", c.user+":"+c.password, "--cacert", c.ca, "-C", "-", "-T", c.local, c.url("ftps", c.up))
		},
		"lftp/implicit": func(t *testing.T, c cell) {
			must(t, "", "lftp", "-e", lftpSettings(c.ca)+fmt.Sprintf("open -u %s,%s ftps://%s:%s; put -c '%s' -o '%s/%s'; bye",
				c.user, c.password, c.host, c.port, c.local, c.folder, c.up))
		},
		"ncftp/plain": func(t *testing.T, c cell) {
			// With sendfile (without -s) ncftp 3.2.6 says REST and then sends all of it again.
			must(t, "", "ncftpput", "-s", "-z", "-u", c.user, "-p", c.password, "-P", c.port, c.host, c.folder, c.local)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, channel, _ := strings.Cut(name, "/")
			c := newCell(t, g, channel, authority)
			c.folder, c.up = strings.ReplaceAll(name, "/", " ")+" é", "half sent ü.bin"
			var content []byte
			c.local, content = file(t, c.up, 3<<20+17)
			var settings *tls.Config
			if channel != "plain" {
				settings = resuming(t, g)
			}
			raw, err := dialRaw(t.Context(), g.Addr("ftp"), c.user, c.password, settings, clientTimeout)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			if err := raw.expect("MKD /"+c.folder, "257"); err != nil {
				t.Fatal(err)
			}
			const have = 2 << 20 // STAT counts by the piece, 1 MiB at most
			raw.cut(t, "/"+c.folder+"/"+c.up, content[:have])

			resume(t, c)

			same(t, "sent", read(t, filepath.Join(g.Dir, "files", c.user, c.folder, c.up)), content)
			if got, want := bytesOf(t, g, "/"+c.folder+"/"+c.up, session.Write, session.Append), int64(len(content)-have); got != want {
				t.Errorf("%d bytes were sent, want %d", got, want)
			}
		})
	}
}
