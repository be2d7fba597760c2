package smtp

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gateway/policies"
	"gateway/session"
	"gateway/session/sessiontest"
)

// policy are the rules of a file of testdata/policy, with its days filled in.
func policy(t *testing.T, name string) sessiontest.Rules {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "policy", name+".hcl"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	day := func(n int) string { return now.UTC().AddDate(0, 0, n).Format(time.DateOnly) }
	src := strings.NewReplacer("{past}", day(-1), "{soon}", day(10), "{later}", day(90)).Replace(string(text))
	p, err := policies.Parse([]byte(src), name+".hcl", policies.Options{Hostname: "mx.test", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return p.Decide
}

// deviceServer is one on which a peer at loopback is the device of that name.
func deviceServer(t *testing.T, device string) *fixture {
	t.Helper()
	return newFixture(t, policy(t, "device"), func(cfg *Config) { cfg.Protocol, cfg.Name = session.Relay, device })
}

func TestDeviceIsRecorded(t *testing.T) {
	t.Parallel()
	f := deviceServer(t, "mfp")
	p := dialPeer(t, f.listen(t), false)
	p.expect("220 ")
	p.send("EHLO scanner\nMAIL FROM:<>\nMAIL FROM:<x@y.test>\nRCPT TO:<a@example.com>\nDATA\n")
	p.expect("250-", "550 5.7.1 The null", "250 ", "250 ", "354 ")
	p.send("Subject: s\n\nhello\n.\nQUIT\n")
	p.expect("250 2.0.0", "221 ")
	p.expectEnd()
	logins := f.Record.Events(session.EventLogin)
	if len(logins) != 1 {
		t.Fatalf("got %d logins, want 1 for the connection", len(logins))
	}
	e := logins[0]
	const rule = `device "mfp" (device.hcl:10)`
	if e.User != "device:mfp" || e.Method != session.MethodDevice || e.Rule != rule || e.Outcome != session.OutcomeGranted ||
		e.Credential != session.CredentialNone || e.Exposed || e.Channel.Kind != session.Plain || e.Stage != session.PhaseVerified ||
		!slices.Equal(e.WouldRefuse, []string{rule}) {
		t.Errorf("got %+v", e)
	}
	if e.Facts.User != "" || e.Facts.Method != session.MethodDevice || !e.Facts.Local.IsLoopback() {
		t.Errorf("got facts %+v", e.Facts)
	}
	mails := f.Record.Events(session.EventMail)
	if len(mails) != 1 || mails[0].User != "device:mfp" || *mails[0].From != "scan@example.com" || mails[0].Session != e.Session {
		t.Errorf("got %+v", mails)
	}
	if m := f.queue.all(); len(m) != 1 || m[0].envelope.From != "scan@example.com" || m[0].envelope.User != "device:mfp" ||
		!strings.Contains(m[0].content, "\r\nFrom: <scan@example.com>\r\n") {
		t.Errorf("got %+v", m)
	}
}

// The end comes while the gateway runs; no new policy is loaded.
func TestDeviceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := deviceServer(t, "plc")
		here := netip.MustParseAddrPort("127.0.0.1:0")
		try := func(want string) {
			t.Helper()
			a, err := f.Gate.Connect(t.Context(), session.Peer{
				Conn: session.NewID(), Listener: "plc", Protocol: session.Relay, Remote: here, Local: here,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close(nil)
			s, err := a.Device(t.Context())
			switch got := session.Hint(err); {
			case want == "" && err == nil:
				if s.Stage() != session.StageWarn {
					t.Errorf("got stage %q", s.Stage())
				}
			case want == "" || !strings.HasPrefix(got, want):
				t.Errorf("got %v %q, want %q", err, got, want)
			}
		}
		try("")
		time.Sleep(10 * 24 * time.Hour)
		try("")
		time.Sleep(24 * time.Hour)
		try("The exception for plc ended on ")
	})
}

// What cannot be counted is not taken, and what cannot be recorded does not begin.
func TestDeviceFailsClosed(t *testing.T) {
	t.Parallel()
	f := deviceServer(t, "mfp")
	addr := f.listen(t)
	f.Record.Fail(os.ErrPermission)
	p := dialPeer(t, addr, false)
	p.expect("220 ")
	p.send("HELO x\nMAIL FROM:<a@b.test>\n")
	p.expect("250 ", "451 4.3.0")
	f.Record.Fail(nil)
	f.Mail.Fail(os.ErrPermission)
	p.send("MAIL FROM:<a@b.test>\n")
	p.expect("451 4.3.0")
	f.Limits.Refuse("Enter", session.ErrTooMany)
	q := dialPeer(t, addr, false)
	q.expect("220 ")
	q.send("HELO x\nMAIL FROM:<a@b.test>\n")
	q.expect("250 ", "421 4.7.0")
	q.expectEnd()
	f.Limits.Refuse("Enter", nil)
	if len(f.queue.all()) != 0 {
		t.Error("mail was taken")
	}
}

// Nobody makes a relay of it: neither who is no device, nor who is one.
func TestNeverAnOpenRelay(t *testing.T) {
	t.Parallel()
	recipients := []string{
		"<victim@remote.test>", "<victim%remote.test@example.com>", "<remote.test!victim@example.com>", `<"victim@remote.test"@example.com>`,
		`<"victim%remote.test"@example.com>`, `<"victim"@remote.test>`, "<@example.com:victim@remote.test>", "<@example.com,@example.net:victim@remote.test>",
		"<victim@remote.test@example.com>", "<victim@example.com@remote.test>", "<victim@[127.0.0.1]>", "<victim@[IPv6:::1]>", "<victim@127.0.0.1>",
		"<victim%remote.test@[127.0.0.1]>", "<victim%remote.test@mx.test>", "<remote.test!victim@mx.test>", "<victim@mx.test>", "<victim@localhost>", "<victim>",
		"victim@remote.test", "<victim@remote.test>,<bob@example.com>", "<bob@example.com><victim@remote.test>", "<bob@example.com> <victim@remote.test>",
		"<victim@remote.test.example.com.>", "<victim@example.com.remote.test>", "<victim@xexample.com>", "<victim@sub.example.com>", "<victim@example.com.>",
		`<"bob@example.com> ORCPT=rfc822;x"@remote.test>`, `<"victim@remote.test> ORCPT=rfc822;x"@example.com>`, "<postmaster>", "<victim@EXAMPLE.COM%remote.test>",
		"<victim\u0000@example.com>", "<víctim@example.com>", "<victim(comment)@remote.test>", "<victim @remote.test>", "<>",
	}
	senders := []string{
		"<>", "<scan@example.com>", "<postmaster@mx.test>", "<alice@example.com>", "<device:mfp@example.com>", "<scan@[127.0.0.1]>", "<root@localhost>",
		"<scan@example.com> AUTH=<>", "<scan@example.com> AUTH=alice@example.com", "<scan@example.com> XFORWARD=x", "<@example.com:scan@example.com>",
	}
	hellos := []string{"", "EHLO mx.test", "HELO localhost", "EHLO [127.0.0.1]", "HELO", "EHLO \"\"", "XCLIENT ADDR=127.0.0.1 NAME=mfp", "XFORWARD NAME=mfp"}
	header := "Received: from localhost ([127.0.0.1]) by mx.test with ESMTPSA; Mon, 23 Nov 2026 06:00:00 +0000\n" +
		"X-Authenticated-Sender: alice\nX-Originating-IP: [127.0.0.1]\nFrom: alice@example.com\nTo: bob@example.com\nBcc: victim@remote.test\n\nhello\n.\n"
	for name, device := range map[string]string{"a stranger": "stranger", "one that has ended": "gone", "one that has to log in": "clear"} {
		f := deviceServer(t, device)
		addr := f.listen(t)
		for _, hello := range hellos {
			for _, sender := range senders {
				talk(t, addr, hello, "MAIL FROM:"+sender+"\nRCPT TO:<bob@example.com>\nDATA\n"+header)
			}
		}
		if m := f.queue.all(); len(m) > 0 {
			t.Errorf("%s: %d messages were taken, such as %+v", name, len(m), m[0].envelope)
		}
		for _, e := range f.Record.Events(session.EventLogin) {
			if e.Outcome == session.OutcomeGranted {
				t.Errorf("%s: let in by %s", name, e.Rule)
			}
		}
	}
	f := deviceServer(t, "mfp")
	addr := f.listen(t)
	for _, to := range recipients {
		talk(t, addr, "EHLO scanner", "MAIL FROM:<scan@example.com>\nRCPT TO:"+to+"\nDATA\n"+header)
	}
	for _, m := range f.queue.all() {
		t.Errorf("the device sent to %v", m.envelope.To)
	}
}

// talk says it all at once, as a spammer would, and waits for the end.
func talk(t *testing.T, addr, hello, rest string) {
	t.Helper()
	p := dialPeer(t, addr, false)
	p.send(strings.TrimPrefix(hello+"\n", "\n") + rest + "QUIT\n")
	for {
		if _, err := p.r.ReadString('\n'); err != nil {
			_ = p.conn.Close()
			return
		}
	}
}

// TLS of old is for the device alone, and for nobody else who logs in there.
func TestOldTLS(t *testing.T) {
	t.Parallel()
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}
	handshake := func(f *fixture) (*peer, error) {
		p := dialPeer(t, f.listen(t), false)
		p.expect("220 ")
		p.send("EHLO x\nSTARTTLS\n")
		p.expect("250-", "220 ")
		c := tls.Client(p.conn, old)
		return newPeer(t, c), c.HandshakeContext(t.Context())
	}
	for _, device := range []string{"mfp", "stranger"} {
		if _, err := handshake(deviceServer(t, device)); err == nil {
			t.Errorf("%s: TLS 1.0 was taken", device)
		}
	}
	f := deviceServer(t, "clear")
	p, err := handshake(f)
	if err != nil {
		t.Fatal(err)
	}
	p.send("EHLO x\nAUTH PLAIN AGJvYgBib2I=\nAUTH PLAIN " + alicePlain + "\n")
	p.expect("250-", "538 5.7.11", "235 ")
	p.send("QUIT\n")
	p.expect("221 ")
	eventually(t, "the connection is recorded", func() bool { return len(f.Record.Events(session.EventConnection)) == 1 })
	logins := f.Record.Events(session.EventLogin)
	if len(logins) != 2 || logins[1].Channel.Version != "TLS 1.0" || !logins[1].Facts.OldTLS || len(logins[1].WouldRefuse) != 1 {
		t.Errorf("got %+v", logins)
	}
}

func TestRepairedLineEnds(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\r\nb\r\n": "a|b|", "a\nb\rc\r\n": "a|b|c|", "a\r\r\nb": "a|b|", "a\r\r\rb": "a|||b|", "a\r\r\r\r\nb\r": "a|||b|", "\n\n": "||", "\r": "|", "": "",
	} {
		for cut := range len(in) + 1 {
			l := lines{limit: 10, ends: session.LinesRepair}
			got := l.end(l.append(l.append(nil, []byte(in[:cut])), []byte(in[cut:])))
			if text := strings.ReplaceAll(string(got), "\r\n", "|"); text != want || l.bad != nil {
				t.Errorf("%q cut at %d: got %q %v, want %q", in, cut, text, l.bad, want)
			}
		}
	}
	for in, want := range map[string]string{"a\x00b": "NUL", "12345678901": "line longer than 10 bytes"} {
		l := lines{limit: 10, ends: session.LinesRepair}
		if l.append(nil, []byte(in)); l.bad == nil || fmt.Sprint(l.bad) != want {
			t.Errorf("%q: got %v, want %s", in, l.bad, want)
		}
	}
}

// However the line ends come and are cut, what is kept has CRLF and nothing else.
func FuzzRepair(f *testing.F) {
	f.Add([]byte("a\r\nb\rc\n\r\r\r\nd"), 3)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		cut = min(max(cut, 0), len(in))
		l := lines{limit: 1 << 20, ends: session.LinesRepair}
		got := l.end(l.append(l.append(nil, in[:cut]), in[cut:]))
		rest := strings.ReplaceAll(string(got), "\r\n", "")
		if strings.ContainsAny(rest, "\r\n") {
			t.Errorf("%q: got %q", in, got)
		}
		if want := strings.NewReplacer("\r", "", "\n", "").Replace(string(in)); rest != want {
			t.Errorf("%q: got the text %q", in, rest)
		}
		if len(got) > 2*len(in)+2 {
			t.Errorf("%d bytes became %d", len(in), len(got))
		}
	})
}
