package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// zeros is a source of n bytes that costs the client nothing.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.left))
	clear(p[:n])
	z.left -= int64(n)
	return n, nil
}

// Size tells pkg/sftp how much comes, so that it sends in parallel.
func (z *zeros) Size() int64 { return z.left }

// dialSSH logs in by key, with the cipher that the figures speak of.
func dialSSH(g *gateway, auth ssh.AuthMethod) (*ssh.Client, error) {
	config := &ssh.ClientConfig{
		User: benchUser, Auth: []ssh.AuthMethod{auth},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // it is ours, on loopback
		Timeout:         startTimeout,
	}
	config.Ciphers = []string{ssh.CipherAES128GCM}
	return ssh.Dial("tcp", g.addrs["sftp"], config)
}

// measureSFTP puts and gets by 1, 4 and 16 sessions at once.
func measureSFTP(ctx context.Context, g *gateway, o options, out io.Writer) error {
	for _, n := range []int{1, 4, 16} {
		each := o.size / int64(n)
		for _, verb := range []string{"put", "get"} {
			clients := make([]*sftp.Client, n)
			for i := range clients {
				conn, err := dialSSH(g, ssh.PublicKeys(g.key))
				if err != nil {
					return err
				}
				defer conn.Close()
				if clients[i], err = sftp.NewClient(conn, sftp.UseConcurrentWrites(true)); err != nil {
					return err
				}
			}
			took, cpu, err := g.measure(func() error {
				return parallel(n, func(i int) error { return moveSFTP(clients[i], verb, fmt.Sprint("sftp", i), each) })
			})
			if err != nil {
				return err
			}
			transferRow(out, "SFTP "+verb, n, each*int64(n), took, cpu)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

func moveSFTP(c *sftp.Client, verb, name string, size int64) error {
	if verb == "get" {
		f, err := c.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		n, err := f.WriteTo(io.Discard)
		if err == nil && n != size {
			err = fmt.Errorf("got %d bytes, want %d", n, size)
		}
		return err
	}
	f, err := c.Create(name)
	if err != nil {
		return err
	}
	if _, err := f.ReadFrom(&zeros{left: size}); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// parallel runs n pieces of work at once and returns the first error.
func parallel(n int, work func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = work(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// transferRow prints one transfer; megabytes are of 10^6 bytes.
func transferRow(out io.Writer, what string, sessions int, bytes int64, took, cpu time.Duration) {
	fmt.Fprintf(out, "%s\t%d\t%.0f\t%.2f\t\n", what, sessions,
		float64(bytes)/1e6/took.Seconds(), cpu.Seconds()*float64(1<<30)/float64(bytes))
}
