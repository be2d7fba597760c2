package queue

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"gateway/queue/relay"
	"gateway/queue/spool"
	"gateway/session"
	"gateway/smtp/dkim"
)

// notifications are the messages among some that come from the null reverse-path.
func notifications(messages []received) (list []string) {
	for _, m := range messages {
		if m.from == "" {
			list = append(list, m.content)
		}
	}
	return list
}

// Who is told of what, by what was asked for (RFC 3461, section 4.1).
func TestNotify(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		notify, reply string
		want          string // the action that is told, "" for none
	}{
		"failure, unasked":            {"", "550 5.1.1 nobody", "failed"},
		"failure":                     {"SUCCESS,FAILURE", "550 5.1.1 nobody", "failed"},
		"failure, only success asked": {"SUCCESS", "550 5.1.1 nobody", ""},
		"failure, never":              {"NEVER", "550 5.1.1 nobody", ""},
		"success, unasked":            {"", "", ""},
		"success":                     {"SUCCESS", "", "relayed"},
		"success, only failure asked": {"FAILURE,DELAY", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, func(command, _ string) string {
				if command == "RCPT TO:<b@example.net>" {
					return c.reply
				}
				return ""
			})
			f := newQueue(t, p.route(), nil)
			e := sends("b@example.net")
			e.To[0].Notify, e.To[0].ORcpt, e.EnvID = c.notify, "rfc822;old+2Bb@example.net", "env+2B1"
			put(t, f.Queue, mail, e)
			f.run(t)
			f.waitList(t, 0)
			got := notifications(p.messages())
			if c.want == "" {
				if len(got) != 0 {
					t.Errorf("got %q, want none", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("got %d notifications, want one", len(got))
			}
			for _, want := range []string{"Action: " + c.want + "\r\n", "Original-Envelope-Id: env+1\r\n", "Original-Recipient: rfc822; old+b@example.net\r\n",
				"Final-Recipient: rfc822; b@example.net\r\n", "Remote-MTA: dns; 127.0.0.1\r\n"} {
				if !strings.Contains(got[0], want) {
					t.Errorf("got %s\nwant %q in it", got[0], want)
				}
			}
		})
	}
}

// A maildir is where mail ends: it was delivered there, and not only handed on.
func TestNotifyDelivered(t *testing.T) {
	t.Parallel()
	p := newPeer(t, nil)
	f := newQueue(t, "maildir://inbox", func(c *Config) {
		to, err := ParseRoute(p.route())
		if err != nil {
			t.Fatal(err)
		}
		c.Routes = []NamedRoute{{Name: "back", To: to, Domains: []string{"example.com"}}}
	})
	e := sends("b@example.net")
	e.To[0].Notify = "SUCCESS"
	put(t, f.Queue, mail, e)
	f.run(t)
	f.waitList(t, 0)
	if got := notifications(p.messages()); len(got) != 1 || !strings.Contains(got[0], "Action: delivered\r\nStatus: 2.0.0\r\n") {
		t.Errorf("got %q", got)
	}
}

// RET says how much of the message a bounce returns (RFC 3461, section 4.3).
func TestRet(t *testing.T) {
	t.Parallel()
	long := mail + strings.Repeat(strings.Repeat("x", 62)+"\r\n", maxReturned/64)
	middle := mail + strings.Repeat(strings.Repeat("y", 62)+"\r\n", maxInline/32)
	for name, c := range map[string]struct {
		ret, content, kind string
		whole              bool
	}{
		"unasked":  {"", mail, "text/rfc822-headers", false},
		"HDRS":     {"HDRS", mail, "text/rfc822-headers", false},
		"FULL":     {"FULL", mail, "message/rfc822", true},
		"large":    {"FULL", middle, "message/rfc822", true},
		"too long": {"FULL", long, "text/rfc822-headers", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, refuse("RCPT TO:<b@", "550 5.1.1 nobody"))
			f := newQueue(t, p.route(), nil)
			e := sends("b@example.net")
			e.Ret, e.Header = c.ret, "X-Added: yes\r\n"
			put(t, f.Queue, c.content, e)
			f.run(t)
			f.waitList(t, 0)
			got := notifications(p.messages())
			if len(got) != 1 {
				t.Fatalf("got %d notifications", len(got))
			}
			last := reportParts(t, got[0])[2]
			if !strings.HasPrefix(last, c.kind+"\n") || strings.Contains(last, c.content[strings.Index(c.content, "Hello"):]) != c.whole ||
				!strings.Contains(last, "\nX-Added: yes\r\nFrom: a@example.com\r\n") {
				t.Errorf("got %d bytes: %.200q", len(last), last)
			}
		})
	}
}

// reportParts reads a notification as its receiver would.
func reportParts(tb testing.TB, content string) (parts []string) {
	tb.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(content))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := m.Header.Date(); err != nil {
		tb.Error(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		tb.Fatalf("got %s %v, %v", kind, params, err)
	}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			tb.Fatal(err)
		}
		parts = append(parts, p.Header.Get("Content-Type")+"\n"+string(text))
	}
	if len(parts) != 3 {
		tb.Fatalf("got %d parts, want 3: %q", len(parts), content)
	}
	return parts
}

// The sender is told once that mail is delayed, after the time for that, and not if
// it wants not to be, or is the null one.
func TestDelayWarning(t *testing.T) {
	t.Parallel()
	p := newPeer(t, refuse("RCPT TO:<b@", "451 4.7.1 later"))
	f := newQueue(t, p.route(), nil)
	told := put(t, f.Queue, mail, sends("b@example.net"))
	quiet := sends("b@example.net")
	quiet.To[0].Notify = "FAILURE"
	put(t, f.Queue, mail, quiet)
	null := sends("b@example.net")
	null.From = ""
	put(t, f.Queue, mail, null)
	began := f.time()
	f.run(t)
	for f.time().Sub(began) < 30*time.Hour {
		f.waitIdle(t)
		if n := len(notifications(p.messages())); f.time().Sub(began) < 4*time.Hour && n != 0 {
			t.Fatalf("told after %v", f.time().Sub(began))
		}
		f.advance(f.next(t).Sub(f.time()))
	}
	f.waitIdle(t)
	got := notifications(p.messages())
	if len(got) != 1 {
		t.Fatalf("got %d notifications, want one", len(got))
	}
	for _, want := range []string{"Subject: Mail delayed", "X-Queue-ID: " + told, "Action: delayed\r\nStatus: 4.7.1\r\n", "Diagnostic-Code: smtp; 451 4.7.1 later",
		"Will-Retry-Until: " + began.Add(72*time.Hour).Format(time.RFC1123Z), "until " + began.Add(72*time.Hour).Format(time.RFC1123Z)} {
		if !strings.Contains(got[0], want) {
			t.Errorf("got %s\nwant %q in it", got[0], want)
		}
	}
	events := f.record.all()
	i := slices.IndexFunc(events, func(e session.Event) bool { return e.Verb == session.Accept })
	if i < 0 || events[i].Reason != "Mail delayed about "+told {
		t.Errorf("got %q", verbs(events))
	}
	if d, err := f.Show(t.Context(), told); err != nil || !d.Warned {
		t.Errorf("got %+v, %v", d.Item, err)
	}
}

func TestXtext(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "a": "a", "a+2Bb": "a+b", "+2b": "+", "x+": "x+", "x+2": "x+2", "+zz": "+zz", "+ff": "?"} {
		if got := decodeXtext(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]bool{"": true, "NEVER": true, "SUCCESS": true, "DELAY,SUCCESS,FAILURE": true, "NEVER,DELAY": false, "DELAY,DELAY": false,
		"delay": false, ",": false, "X": false} {
		if got := validNotify(in); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}

// Whatever the next host says and the message holds, a notification is one that
// parses, with CRLF line ends and no other CR or LF, that names nobody else.
func FuzzReport(f *testing.F) {
	f.Add("a@example.com", "b@example.net", "550 5.1.1 no\r\nsuch", "rfc822;x+0D+0A", "id", "From: a\r\n\r\nx\r.\r\n", byte(0))
	f.Add("ä@example.com", "ü@example.net", "é\x00\x1b", "utf-8;ü", "+0A", "Subject: é\n\nbody\n--x--\n", byte(1))
	f.Add("", "b@x", "", "x", "", "", byte(2))
	f.Fuzz(func(t *testing.T, from, to, reply, orcpt, envID, content string, kind byte) {
		about := []string{notifyFailure, notifyDelay, notifySuccess}[kind%3]
		h, err := readHeader(strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		m := &message{entry: new(spool.Message[*delivery]), envelope: envelope{From: from, EnvID: envID, To: []forwarded{{Address: to, ORcpt: orcpt}}, EightBit: !ascii(content)}}
		m.status.To = []progress{{Reply: reply}}
		r := report{
			hostname: "gw.example.com", message: m, about: about, header: h, id: "id", boundary: "b-0123456789abcdef", now: time.Unix(0, 0), expires: time.Unix(1, 0),
			told: []notice{{about: about, status: relay.Status{Code: 550, Enhanced: "5.0.0"}, remote: reply}},
		}
		if kind&4 != 0 {
			r.whole = strings.NewReader(content)
		}
		var out bytes.Buffer
		if err := r.write(&out); err != nil {
			t.Fatal(err)
		}
		if bare := strings.NewReplacer("\r\n", "").Replace(out.String()); strings.ContainsAny(bare, "\r\n") {
			t.Fatalf("a bare CR or LF in %q", out.String())
		}
		if !strings.Contains(content, r.boundary) {
			reportParts(t, out.String())
		}
	})
}

// A notification is signed like other mail, where there is a key for our name or a
// domain above it; whoever gets it can verify all of it.
func TestNotificationsAreSigned(t *testing.T) {
	t.Parallel()
	for domain, signatures := range map[string]int{"example.net": 2, "example.org": 0} {
		keys, err := dkim.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		added, err := keys.Add(domain, "", dkim.Algorithms())
		if err != nil {
			t.Fatal(err)
		}
		p := newPeer(t, refuse("RCPT TO:<b@", "550 5.1.1 nobody"))
		f := newQueue(t, p.route(), func(c *Config) {
			c.Hostname = "mx.example.net"
			c.Sign = func(domain string, fields []string) (Signature, error) { return keys.Sign(domain, fields) }
		})
		e := sends("b@example.net")
		e.Ret = "FULL"
		put(t, f.Queue, mail, e)
		f.run(t)
		f.waitList(t, 0)
		got := notifications(p.messages())
		if len(got) != 1 {
			t.Fatalf("got %d notifications", len(got))
		}
		found, err := msgauth.VerifyWithOptions(strings.NewReader(got[0]), &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
			for _, k := range added {
				if k.Name == name {
					return []string{k.Record}, nil
				}
			}
			return nil, errors.New("no such name: " + name)
		}})
		if err != nil || len(found) != signatures {
			t.Errorf("%s: %d signatures, %v, want %d in\n%s", domain, len(found), err, signatures, got[0])
		}
		for _, v := range found {
			if v.Err != nil {
				t.Errorf("%s: %v", domain, v.Err)
			}
		}
	}
}
