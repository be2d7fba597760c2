//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

const (
	mailClients = 32
	mailSize    = 4096
	recipient   = "x@example.net"
	// drainTimeout is how long the delivery of a round may take.
	drainTimeout = 5 * time.Minute
)

// mailTarget is where messages are sent to, over implicit TLS.
type mailTarget struct {
	server
	addr    string
	login   bool
	maildir string // where they end
}

// mailTargets are the gateway and, where it runs, Postfix.
func (b *bench) mailTargets() []mailTarget {
	targets := []mailTarget{{b.gateway, b.gateway.addrs["submissions"], true, filepath.Join(b.gateway.dir, "mail")}}
	if b.postfix != nil {
		targets = append(targets, mailTarget{b.postfix, b.postfix.addr, false, b.postfix.maildir})
	}
	return targets
}

func (t mailTarget) open(ctx context.Context) (*smtp.Client, error) {
	raw, err := dial(ctx, t.addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}) // it is ours, on loopback
	c, err := smtp.NewClient(conn, "localhost")
	if err == nil {
		err = c.Hello("localhost")
	}
	if err == nil && t.login {
		err = c.Auth(smtp.PlainAuth("", benchUser, benchPassword, "localhost"))
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// smtpMail sends messages by clients that keep their connections. An answer
// of 250 means that the message is on stable storage. Meanwhile, both servers
// deliver to a maildir; the processor time counts until the last one is there.
func smtpMail(ctx context.Context, b *bench) error {
	head := "From: <" + benchAddress + ">\r\nTo: <" + recipient + ">\r\nSubject: bench\r\nDate: " +
		time.Now().Format(time.RFC1123Z) + "\r\nMessage-Id: <bench@example.com>\r\n\r\n"
	message := head + strings.Repeat(strings.Repeat("x", 62)+"\r\n", (mailSize-len(head))/64)
	var trials []trial
	for _, t := range b.mailTargets() {
		trials = append(trials, trial{t.server, func() (job, error) { return mailJob(ctx, t, b.options.messages, message) }})
	}
	return b.compare(ctx, "accepted durably", mailClients, float64(b.options.messages), trials...)
}

func mailJob(ctx context.Context, t mailTarget, n int, message string) (job, error) {
	clients := make([]*smtp.Client, 0, mailClients)
	j := job{cleanup: func() {
		for _, c := range clients {
			_ = c.Close()
		}
		_ = emptyFolder(filepath.Join(t.maildir, "new"))
	}}
	for range mailClients {
		c, err := t.open(ctx)
		if err != nil {
			return j, err
		}
		clients = append(clients, c)
	}
	var sent atomic.Int64
	j.work = func() error {
		return parallel(mailClients, func(i int) error {
			for sent.Add(1) <= int64(n) {
				if err := sendMail(clients[i], message); err != nil {
					return err
				}
			}
			return nil
		})
	}
	j.settle = func() error { return drained(ctx, filepath.Join(t.maildir, "new"), n) }
	return j, nil
}

func sendMail(c *smtp.Client, message string) error {
	if err := c.Mail(benchAddress); err != nil {
		return err
	}
	if err := c.Rcpt(recipient); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, message); err != nil {
		return err
	}
	return w.Close()
}

// drained waits until folder holds n messages.
func drained(ctx context.Context, folder string, n int) error {
	deadline := time.Now().Add(drainTimeout)
	for {
		names, err := readNames(folder)
		if err != nil || len(names) >= n {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d messages of %d are delivered after %v", len(names), n, drainTimeout)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func readNames(folder string) ([]string, error) {
	f, err := os.Open(folder)
	if errors.Is(err, os.ErrNotExist) { // nothing has come yet
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func emptyFolder(folder string) error {
	names, err := readNames(folder)
	for _, name := range names {
		err = errors.Join(err, os.Remove(filepath.Join(folder, name)))
	}
	return err
}
