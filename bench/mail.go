//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/smtp"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	mailClients    = 32
	sessionClients = 16
	mailSize       = 4 << 10
	largeMail      = 64 << 10
	recipient      = "x@example.net"
	// drainTimeout is how long the delivery of a round may take.
	drainTimeout = 5 * time.Minute
)

// mailTarget is a mail server with its listeners. It hands everything on to a sink.
type mailTarget struct {
	server
	plain    string // takes mail from loopback without a login
	starttls string
	implicit string
	login    bool // with TLS it wants one
	sink     *sink
}

// mailTargets are the gateway and, where it runs, Postfix.
func (b *bench) mailTargets() []mailTarget {
	g := b.gateway
	targets := []mailTarget{{g, g.addrs["relay"], g.addrs["submission"], g.addrs["submissions"], true, g.sink}}
	if p := b.postfix; p != nil {
		targets = append(targets, mailTarget{p, p.plain, p.plain, p.addr, false, p.sink})
	}
	return targets
}

// smtpMail measures how mail is accepted while it cannot go on, and how it goes on
// then. An answer of 250 means that the message is on stable storage.
func smtpMail(ctx context.Context, b *bench) error {
	source, err := findProgram("smtp-source")
	if err != nil || b.gateway.sink == nil {
		b.table.notes = append(b.table.notes, "mail: left out: smtp-source and smtp-sink (Debian package postfix) are not here")
		return nil
	}
	n := b.options.messages
	rows := []struct {
		what   string
		atOnce int
		n      int
		run    func(t mailTarget, n int) (job, error)
	}{
		{"accepted, a connection each", mailClients, n, func(t mailTarget, n int) (job, error) { return t.accept(ctx, source, mailSize, n) }},
		{"accepted, kept connections", mailClients, n, func(t mailTarget, n int) (job, error) { return t.accept(ctx, source, mailSize, n, "-d") }},
		{"accepted, 64 KiB, kept", mailClients, max(n/4, 1), func(t mailTarget, n int) (job, error) { return t.accept(ctx, source, largeMail, n, "-d") }},
		{"STARTTLS, AUTH, one, QUIT", sessionClients, max(n/8, 1), func(t mailTarget, n int) (job, error) { return t.sessions(ctx, n) }},
		{"relayed", 1, 2 * n, func(t mailTarget, n int) (job, error) { return t.relay(ctx, source, n) }},
	}
	for _, r := range rows {
		var trials []trial
		var syncs []float64
		for _, t := range b.mailTargets() {
			trials = append(trials, trial{t.server, func() (job, error) { return r.run(t, r.n) }})
		}
		trials[0] = b.gateway.countSyncs(ctx, trials[0], r.n, &syncs)
		if err := b.compare(ctx, r.what, r.atOnce, float64(r.n), trials...); err != nil {
			return err
		}
		b.table.notes = append(b.table.notes, fmt.Sprintf("%s: the gateway's queue had the disk sync %.3f times a message", r.what, middle(syncs)))
	}
	return nil
}

// submit has Postfix's smtp-source send n messages in clear, as fast as it can.
func (t mailTarget) submit(ctx context.Context, source string, size, n int, more ...string) error {
	args := append([]string{"-s", strconv.Itoa(mailClients), "-m", strconv.Itoa(n), "-l", strconv.Itoa(size),
		"-M", "localhost", "-f", benchAddress, "-t", recipient}, more...)
	out, err := exec.CommandContext(ctx, source, append(args, t.plain)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "fatal") {
		return fmt.Errorf("smtp-source: %w\n%s", err, out)
	}
	return nil
}

// held stops the sink while mail is accepted; afterwards it takes all of it.
func (t mailTarget) held(ctx context.Context, n int, work func() error) (job, error) {
	before := t.sink.count()
	if err := t.sink.stop(); err != nil {
		return job{}, err
	}
	return job{work: work, cleanup: func() {
		_ = t.sink.resume()
		_ = t.sink.wait(ctx, before+n)
	}}, nil
}

func (t mailTarget) accept(ctx context.Context, source string, size, n int, more ...string) (job, error) {
	return t.held(ctx, n, func() error { return t.submit(ctx, source, size, n, more...) })
}

// relay fills the queue, and measures how it empties.
func (t mailTarget) relay(ctx context.Context, source string, n int) (job, error) {
	before := t.sink.count()
	err := t.sink.stop()
	if err == nil {
		err = t.submit(ctx, source, mailSize, n, "-d")
	}
	return job{
		work:    func() error { return errors.Join(t.sink.resume(), t.sink.wait(ctx, before+n)) },
		cleanup: func() { _ = t.sink.resume() },
	}, err
}

// sessions are those of programs that send one message each. The password has been
// verified lately, as that of a program that sends often is.
func (t mailTarget) sessions(ctx context.Context, n int) (job, error) {
	message := "From: <" + benchAddress + ">\r\nTo: <" + recipient + ">\r\nSubject: bench\r\n\r\n"
	message += strings.Repeat(strings.Repeat("x", 62)+"\r\n", (mailSize-len(message))/64)
	first, err := t.open(ctx)
	if err != nil {
		return job{}, err
	}
	_ = first.Quit()
	var begun atomic.Int64
	return t.held(ctx, n, func() error {
		return parallel(sessionClients, func(int) error {
			for begun.Add(1) <= int64(n) {
				if err := t.session(ctx, message); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (t mailTarget) session(ctx context.Context, message string) error {
	raw, err := dial(ctx, t.starttls)
	if err != nil {
		return err
	}
	defer raw.Close()
	c, err := smtp.NewClient(raw, "localhost")
	if err == nil {
		err = c.Hello("localhost")
	}
	if err == nil {
		err = c.StartTLS(&tls.Config{InsecureSkipVerify: true}) // it is ours, on loopback
	}
	if err == nil {
		err = t.authenticate(c)
	}
	if err == nil {
		err = sendMail(c, message)
	}
	if err != nil {
		return err
	}
	return c.Quit()
}

func (t mailTarget) authenticate(c *smtp.Client) error {
	if !t.login {
		return nil
	}
	return c.Auth(smtp.PlainAuth("", benchUser, benchPassword, "localhost"))
}

// open opens a session over implicit TLS, logged in.
func (t mailTarget) open(ctx context.Context) (*smtp.Client, error) {
	raw, err := dial(ctx, t.implicit)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) // it is ours, on loopback
	c, err := smtp.NewClient(conn, "localhost")
	if err == nil {
		err = c.Hello("localhost")
	}
	if err == nil {
		err = t.authenticate(c)
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// openPlain opens a session in clear.
func (t mailTarget) openPlain(ctx context.Context) (*smtp.Client, error) {
	raw, err := dial(ctx, t.plain)
	if err != nil {
		return nil, err
	}
	c, err := smtp.NewClient(raw, "localhost")
	if err == nil {
		err = c.Hello("localhost")
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
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
	if _, err := w.Write([]byte(message)); err != nil {
		return err
	}
	return w.Close()
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
