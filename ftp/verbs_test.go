package ftp_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session/sessiontest"
)

// answered fails unless got is a reply.
func answered(t *testing.T, what, got string) {
	t.Helper()
	if len(got) < 4 || got[0] < '1' || got[0] > '5' || got[3] != ' ' && got[3] != '-' {
		t.Errorf("%s: got %q, want a reply", what, got)
	}
}

// D21, and the black-box class of missing arguments: each verb of the table
// answers in each state whatever stands behind it, the longest line and one that is
// too long included, and the server lives on.
func TestEveryVerbAnswers(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t), DataTimeout: 10 * time.Millisecond})
	f.tree.put(t, "hello.txt", "hello\n")
	refusing := start(t, sessiontest.Encrypted, ftp.Config{TLS: serverTLS(t)})
	states := map[string]func(t *testing.T) *client{
		"fresh":   func(t *testing.T) *client { return f.dial(t) },
		"named":   func(t *testing.T) *client { c := f.dial(t); c.do("USER alice", "331 *"); return c },
		"refused": func(t *testing.T) *client { c := refusing.dial(t); c.do("USER alice", "530 *"); return c },
		"ready":   func(t *testing.T) *client { return f.dial(t).login() },
		"port":    func(t *testing.T) *client { c := f.dial(t).login(); c.epsv(); return c },
		"offset":  func(t *testing.T) *client { c := f.dial(t).login(); c.do("RANG 1 2", "350 *"); return c },
		"rename": func(t *testing.T) *client {
			f.tree.put(t, "hello.txt", "hello\n") // the one before has another name now
			c := f.dial(t).login()
			c.do("RNFR hello.txt", "350 *")
			return c
		},
	}
	verbs := append(ftp.Verbs(), "XYZZY", "")
	for state, enter := range states {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			for _, verb := range verbs {
				longest := strings.Repeat("y", 4096-len(verb)-len(" \r"))
				for _, arg := range []string{"", " ", " x", " " + longest, " %s%n", " -l \x00", " |||||", " ,,,,,", ` "`, " \x01\xfe\xf0"} {
					if verb+arg == "" {
						continue // an empty line is none
					}
					c := enter(t)
					c.send(verb + arg + "\r\n")
					what := state + ": " + verb + arg[:min(len(arg), 12)]
					got := c.reply()
					answered(t, what, got)
					if state != "port" && strings.HasPrefix(got, "1") {
						t.Errorf("%s: got %q without a data port", what, got)
					}
					_ = c.conn.Close()
				}
				c := enter(t)
				c.send(verb + " " + strings.Repeat("y", 4096) + "\r\n")
				c.expect("500 Line too long.")
				_ = c.conn.Close()
			}
		})
	}
}

// What stands behind a transfer is answered in turn, after it.
func TestEveryVerbAnswersDuringATransfer(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t), DataTimeout: 10 * time.Second})
	for _, verb := range ftp.Verbs() {
		for _, arg := range []string{"", " x", " " + strings.Repeat("y", 4000)} {
			c := f.dial(t).login()
			d := c.data()
			c.do("STOR up", "150 *")
			c.send(verb + arg + "\r\n")
			if verb != "ABOR" {
				_, _ = io.WriteString(d, "content")
				_ = d.Close()
			}
			for range 2 { // its own and that of STOR
				answered(t, verb+arg[:min(len(arg), 12)], c.reply())
			}
			_ = c.conn.Close()
		}
	}
}

// Every verb under TLS too: the state is the same, the channel is not.
func TestEveryVerbAnswersUnderTLS(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t)})
	for _, verb := range ftp.Verbs() {
		c := f.dial(t).secure().login().private()
		for _, arg := range []string{"", " x", " " + strings.Repeat("y", 4000)} {
			c.send(verb + arg + "\r\n")
			got := c.reply()
			answered(t, verb+arg[:min(len(arg), 12)], got)
			if strings.HasPrefix(got, "221") || strings.HasPrefix(got, "421") {
				break
			}
		}
		_ = c.conn.Close()
	}
}
