package audit

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

func TestLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 7, 14, 2, 0, time.UTC)
	remote := netip.MustParseAddrPort("127.0.0.1:53122")
	from, null := "alice@example.com", ""
	ssh, clear := &session.Channel{Kind: session.SSH}, &session.Channel{}
	for want, e := range map[string]session.Event{
		"07:14:02  login       granted   alice       sftp        ssh    127.0.0.1:53122        publickey": {
			Event: "login", Outcome: "granted", User: "alice", Protocol: "sftp", Channel: ssh, Remote: remote, Method: "publickey"},
		`07:14:02  login       refused   scanner     ftp         plain  127.0.0.1:53122        password  encryption required  by require "encrypted-login" (policy.hcl:12)`: {
			Event: "login", Outcome: "refused", User: "scanner", Protocol: "ftp", Channel: clear, Remote: remote, Method: "password",
			Reason: "encryption required", Rule: `require "encrypted-login" (policy.hcl:12)`},
		"07:14:02  login       granted   scanner     ftp         plain  127.0.0.1:53122        password  password crossed in clear": {
			Event: "login", Outcome: "granted", User: "scanner", Protocol: "ftp", Channel: clear, Remote: remote, Method: "password", Exposed: true},
		"07:14:02  connection  session   -           sftp        ssh    127.0.0.1:53122        1.5s  in 2.0 KiB, out 10 B": {
			Event: "connection", Outcome: "session", Protocol: "sftp", Channel: ssh, Remote: remote, Count: 1, DurationMS: 1500, BytesIn: 2048, BytesOut: 10},
		"07:14:02  connection  banned    -           ftp         plain  127.0.0.1:53122        12 connections  0s  banned": {
			Event: "connection", Outcome: "banned", Protocol: "ftp", Channel: clear, Remote: remote, Count: 12, Reason: "banned"},
		`07:14:02  file        done      alice       sftp        -      127.0.0.1:53122        rename  "/a b.txt"  -> /c.txt`: {
			Event: "file", Outcome: "done", User: "alice", Protocol: "sftp", Remote: remote, Verb: session.Rename, Path: "/a b.txt", Target: "/c.txt"},
		"07:14:02  file        done      alice       ftp         -      127.0.0.1:53122        write  /in/a.bin  1.0 GiB": {
			Event: "file", Outcome: "done", User: "alice", Protocol: "ftp", Remote: remote, Verb: session.Write, Path: "/in/a.bin", Bytes: 1 << 30},
		"07:14:02  mail        done      alice       submission  -      127.0.0.1:53122        accept  <alice@example.com> -> <b@example.org> and 1 more  1.2 KiB  queue q1": {
			Event: "mail", Outcome: "done", User: "alice", Protocol: "submission", Remote: remote, Verb: session.Accept, From: &from,
			To: []string{"b@example.org", "c@example.org"}, Size: 1234, QueueID: "q1"},
		"07:14:02  mail        done      -           -           -      -                      bounce  <> -> <alice@example.com>": {
			Event: "mail", Outcome: "done", Verb: session.Bounce, From: &null, To: []string{from}},
		"07:14:02  audit       gap       -           -           -      -                      22 B  the last line was not finished": {
			Event: "audit", Verb: session.Gap, Bytes: 22, Reason: "the last line was not finished"},
		"07:14:02  admin       done      root        cli         -      -                      disable  alice  enabled -> disabled": {
			Event: "admin", Outcome: "done", User: "root", Protocol: "cli", Verb: "disable", Object: "alice", Before: "enabled", After: "disabled"},
		"07:14:02  admin       done      root        cli         -      -                      set  user alice  groups [\"a\"] -> [\"a\",\"b\"]": {
			Event: "admin", Outcome: "done", User: "root", Protocol: "cli", Verb: "set", Object: "user alice",
			Before: `{"name":"alice","groups":["a"],"changed":1}`, After: `{"name":"alice","groups":["a","b"],"changed":2}`},
		"07:14:02  admin       done      root        cli         -      -                      add  user bob": {
			Event: "admin", Outcome: "done", User: "root", Protocol: "cli", Verb: "add", Object: "user bob", After: `{"name":"bob"}`},
	} {
		e.Time = at
		if got := Line(e); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestLineCannotBeBroken(t *testing.T) {
	t.Parallel()
	nasty := "a\r\n07:14:03  login\x1b[2J\u202e\x00\"" + strings.Repeat("x", 5000)
	e := session.Event{Event: nasty, Outcome: nasty, User: nasty, Protocol: session.Protocol(nasty), Reason: nasty, Rule: nasty, Path: nasty,
		Object: nasty, Hash: nasty, Verb: session.Verb(nasty), From: &nasty, To: []string{nasty}, Before: nasty}
	for _, kind := range append(eventKinds(), nasty) {
		e.Event = kind
		got := Line(e)
		if strings.ContainsAny(got, "\r\n\x1b\x00\u202e") || len(got) > 20*maxShown {
			t.Errorf("%s: got %q", kind, got)
		}
	}
}

func TestStyle(t *testing.T) {
	t.Parallel()
	e := login("alice")
	e.Time = time.Date(2026, 11, 23, 23, 30, 0, 0, time.UTC)
	got := Style{Date: true, Location: time.FixedZone("CET", 3600), Colour: true}.Line(e)
	if want := "2026-11-24 00:30:00  login       \x1b[32mgranted \x1b[0m  alice"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A password never comes here, but whoever puts a session.Secret into a text
// gets its mask.
func TestRecordShowsNoSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, config(dir))
	e := login("alice")
	e.Reason = session.Password("alice", "hunter2").Secret.String()
	if err := l.Commit(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for rec, err := range l.Reader().Query(t.Context(), Filter{}) {
		if err != nil || strings.Contains(string(rec.Raw), "hunter2") {
			t.Errorf("got %s (%v)", rec.Raw, err)
		}
	}
}
