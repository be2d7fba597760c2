package devices

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/policies"
	"gateway/queue"
	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/store"
)

const rules = `
device "mfp" {
  from       = ["10.20.3.17", "fd00::1"]
  allow      = ["no-auth", "tls-1.0"]
  sender     = "scan@example.com"
  recipients = "example.com"
  expires    = "2000-03-31"
  owner      = "facilities@example.com"
  because    = "Firmware für MFP"
}
device "quiet" {
  from       = "10.20.3.18"
  allow      = "no-auth"
  sender     = "scan@example.com"
  recipients = "example.com"
  stage      = "observe"
  expires    = "2000-03-31"
  owner      = "facilities@example.com"
  because    = "b"
}
`

// office is a Reminder with all behind it in reach, in a synctest bubble that begins
// on 2000-01-01.
type office struct {
	db     *store.DB
	policy *policies.Policy
	record sessiontest.Record

	logins []Login

	mu    sync.Mutex
	sent  []sent
	fault error
}

func (o *office) endings(_ context.Context, now time.Time) []Ending {
	out := OfRules(o.policy.Endings(now))
	for _, l := range o.logins {
		out = append(out, OfLogin(l))
	}
	return out
}

type sent struct {
	at       time.Time
	envelope queue.Envelope
	content  string
}

func newOffice(t *testing.T, src string) *office {
	t.Helper()
	p, err := policies.Parse([]byte(src), "policy.hcl", policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &office{db: db, policy: p}
}

func (o *office) put(_ context.Context, content []byte, e queue.Envelope) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fault != nil {
		return "", o.fault
	}
	o.sent = append(o.sent, sent{time.Now().UTC(), e, string(content)})
	return "q1", nil
}

func (o *office) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fault = err
}

// work runs a Reminder for that long, as one run of the gateway would.
func (o *office) work(t *testing.T, d time.Duration) {
	t.Helper()
	r := New(Config{
		DB: o.db, Put: o.put, Endings: o.endings, Recorder: &o.record, Hostname: "gw.example.com", Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := r.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func (o *office) days() string {
	var out []string
	for _, s := range o.sent {
		out = append(out, s.at.Format("01-02"))
	}
	return strings.Join(out, " ")
}

func TestOwnersAreReminded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, rules)
		for range 100 { // a gateway that is restarted every day
			o.work(t, 24*time.Hour)
		}
		if got, want := o.days(), "03-02 03-18 03-29"; got != want {
			t.Fatalf("reminded on %s, want %s", got, want)
		}
		events := o.record.Events(session.EventMail)
		if len(events) != 3 || events[0].QueueID != "q1" || events[0].Rule != `device "mfp" (policy.hcl:2)` || *events[0].From != "" {
			t.Errorf("recorded: got %+v", events)
		}
		s := o.sent[1]
		if s.envelope.From != "" || len(s.envelope.To) != 1 || s.envelope.To[0].Address != "facilities@example.com" {
			t.Errorf("envelope: got %+v", s.envelope)
		}
		if rest := strings.ReplaceAll(s.content, "\r\n", ""); strings.ContainsAny(rest, "\r\n") {
			t.Error("there is a bare CR or LF")
		}
		m, err := mail.ReadMessage(strings.NewReader(s.content))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"From": "Mail gateway <postmaster@gw.example.com>", "To": "<facilities@example.com>", "Subject": "Device mfp is let in until 2000-03-31",
			"Message-Id": "<device-mfp-954547200-14@gw.example.com>", "Date": "Sat, 18 Mar 2000 00:00:00 +0000", "Auto-Submitted": "auto-generated",
		} {
			if got := m.Header.Get(name); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"14 days from now", "10.20.3.17, fd00::1", "no-auth, tls-1.0", "Firmware für MFP"} {
			if !strings.Contains(string(body), want) {
				t.Errorf("no %q in\n%s", want, body)
			}
		}
	})
}

// What was missed while the gateway was down is not sent behind.
func TestMissedReminders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, rules)
		time.Sleep(80 * 24 * time.Hour) // 2000-03-21
		o.work(t, 2*time.Hour)
		if got, want := o.days(), "03-21"; got != want {
			t.Errorf("reminded on %s, want %s", got, want)
		}
		time.Sleep(20 * 24 * time.Hour)
		o.work(t, 2*time.Hour)
		if len(o.sent) != 1 {
			t.Errorf("reminded after the end: %s", o.days())
		}
	})
}

// What could not be queued is tried again, and a later end begins anew.
func TestRemindersAreTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, rules)
		time.Sleep(62 * 24 * time.Hour)
		o.fail(errors.New("no space"))
		o.work(t, 90*time.Minute)
		o.fail(nil)
		o.work(t, 90*time.Minute)
		if len(o.sent) != 1 {
			t.Fatalf("got %d reminders, want 1", len(o.sent))
		}
		later := newOffice(t, strings.ReplaceAll(rules, "2000-03-31", "2000-04-02"))
		o.policy = later.policy
		o.work(t, 48*time.Hour)
		if len(o.sent) != 2 {
			t.Errorf("got %d reminders, want another one for the later end", len(o.sent))
		}
	})
}

func TestLetterOfAnAddress(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{"192.0.2.1": "postmaster@[192.0.2.1]", "2001:db8::1": "postmaster@[IPv6:2001:db8::1]"} {
		if got := string((letter{hostname: host}).text()); !strings.Contains(got, want) {
			t.Errorf("%s: got %q", host, got)
		}
	}
}

// Exemptions are reminded of where their owner is a mail address.
func TestOwnersOfExemptionsAreReminded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, `
require "encrypted" { channel = "encrypted" }
exempt "encrypted" "Fräse 7" {
  user    = "cnc-7"
  from    = "10.20.0.0/16"
  until   = "2000-02-29T12:00:00Z"
  owner   = "werk@example.com"
  because = "Steuerung von 1999"
}
exempt "encrypted" "other" {
  from    = "10.21.0.0/16"
  until   = "2000-02-29T12:00:00Z"
  owner   = "the plant"
  because = "b"
}
`)
		for range 70 {
			o.work(t, 24*time.Hour)
		}
		if got, want := o.days(), "01-30 02-15 02-26"; got != want {
			t.Fatalf("reminded on %s, want %s", got, want)
		}
		m, err := mail.ReadMessage(strings.NewReader(o.sent[0].content))
		if err != nil {
			t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || subject != "The exemption Fräse 7 ends on 2000-02-29T12:00:00Z" || m.Header.Get("To") != "<werk@example.com>" {
			t.Errorf("got %q, %v to %s", subject, err, m.Header.Get("To"))
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"30 days from now", "encrypted", "cnc-7", "10.20.0.0/16", "Steuerung von 1999"} {
			if !strings.Contains(string(body), want) {
				t.Errorf("no %q in\n%s", want, body)
			}
		}
	})
}

// The owner of an account is told where its protocol cannot: mail has no place for it.
func TestOwnersOfAccountsAreReminded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, `require "encrypted" { channel = "encrypted" }`)
		o.logins = []Login{{
			User: "mailer", Owner: "ops@example.com", Rule: "r", Protocol: session.Submission, Network: "192.0.2.0/24", Last: time.Now(),
			Refused: time.Date(2000, 3, 1, 0, 0, 0, 0, time.UTC), Instead: "Use port 465.",
		}}
		for range 70 {
			o.work(t, 24*time.Hour)
		}
		if got, want := o.days(), "01-31 02-16 02-27"; got != want {
			t.Fatalf("reminded on %s, want %s", got, want)
		}
		m, err := mail.ReadMessage(strings.NewReader(o.sent[0].content))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Header.Get("Subject"); got != "Logins of mailer without encryption end on 2000-03-01" {
			t.Errorf("subject %q", got)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"30 days from now", "192.0.2.0/24", "over submission", "What can be done: Use port 465."} {
			if !strings.Contains(string(body), want) {
				t.Errorf("no %q in\n%s", want, body)
			}
		}
	})
}
