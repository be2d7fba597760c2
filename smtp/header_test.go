package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// alices is what the account of the tests may send as.
func alices(address string) error {
	if !strings.EqualFold(address, "alice@example.com") && !strings.EqualFold(address, `"alice smith"@example.com`) {
		return session.ErrDenied
	}
	return nil
}

func TestHeaderCheck(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("Received: x\n", maxReceived)
	for name, c := range map[string]struct {
		text string
		want reply // the zero reply: accepted
	}{
		"plain":                     {"From: alice@example.com\n", reply{}},
		"display name":              {"From: \"Alice, the one\" <Alice@Example.com>\n", reply{}},
		"folded":                    {"From: Alice\n <alice@example.com>\n", reply{}},
		"comment":                   {"From: alice@example.com (Alice)\n", reply{}},
		"encoded in odd charset":    {"From: =?x-unknown?Q?Al=EFce?= <alice@example.com>\n", reply{}},
		"raw Latin-1":               {"From: \"Al\xefce\" <alice@example.com>\n", replyRawHeader},
		"quoted local part":         {"From: \"alice smith\"@example.com\n", reply{}},
		"own twice":                 {"From: alice@example.com, Alice <alice@example.com>\n", reply{}},
		"group":                     {"From: All: alice@example.com;\n", reply{}},
		"sender":                    {"From: alice@example.com\nSender: alice@example.com\n", reply{}},
		"fifty hops":                {many + "From: alice@example.com\n", reply{}},
		"fifty-one hops":            {many + "Received: x\nFrom: alice@example.com\n", replyLoop},
		"nobody":                    {"To: bob@remote.test\n", replyFrom},
		"empty":                     {"From:\n", replyFrom},
		"empty group":               {"From: undisclosed:;\n", replyFrom},
		"two fields":                {"From: alice@example.com\nFrom: alice@example.com\n", replyFrom},
		"two fields, blank":         {"From: alice@example.com\nFROM\t: eve@example.com\n", replyFrom},
		"not readable":              {"From: alice@example.com eve@example.com\n", replyFrom},
		"address in the name":       {"From: \"alice@example.com\" <eve@example.com>\n", replyFromNotYours},
		"another":                   {"From: eve@example.com\n", replyFromNotYours},
		"one of two":                {"From: alice@example.com, eve@example.com\n", replyFromNotYours},
		"one in a group":            {"From: All: alice@example.com, eve@example.com;\n", replyFromNotYours},
		"bracket in quotes":         {"From: \"x <alice@example.com>\"@evil.test\n", replyFrom},
		"NUL-like cut":              {"From: alice@example.com\x01@evil.test\n", replyFrom},
		"sender another":            {"From: alice@example.com\nSender: eve@example.com\n", replyFromNotYours},
		"two senders":               {"From: alice@example.com\nSender: alice@example.com, alice@example.com\n", replySender},
		"two sender fields":         {"From: alice@example.com\nSender: alice@example.com\nsender: alice@example.com\n", replySender},
		"IDN without SMTPUTF8":      {"From: al\u00efce@example.com\n", replyRawHeader},
		"begins with continuation":  {" x\nFrom: alice@example.com\n", replyHeader},
		"not a field":               {"From: alice@example.com\nhello\n", replyHeader},
		"mbox line":                 {"From alice@example.com Mon Nov 23 2026\nFrom: alice@example.com\n", replyHeader},
		"8-bit name":                {"Fr\xefm: x\nFrom: alice@example.com\n", replyHeader},
		"too many fields":           {strings.Repeat("X: y\n", maxHeaderFields+1), replyHeaderTooBig},
		"too big":                   {"From: alice@example.com\n" + strings.Repeat("X: "+strings.Repeat("y", 900)+"\n", 300), replyHeaderTooBig},
		"too big in one field":      {"X: y\n" + strings.Repeat(" "+strings.Repeat("y", 900)+"\n", 300), replyHeaderTooBig},
		"too many mailboxes":        {"From: " + strings.Repeat("alice@example.com,", maxMailboxes) + "alice@example.com\n", replyFrom},
		"hundred mailboxes of hers": {"From: " + strings.Repeat("alice@example.com,", maxMailboxes-1) + "alice@example.com\n", reply{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := readHeader(bufio.NewReader(strings.NewReader(crlf(c.text + "\n"))))
			if err == nil {
				err = h.check(false, alices)
			}
			var got reply
			if r, ok := errors.AsType[*refusal](err); ok {
				got = r.reply
			} else if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %v (%v), want %v", got, err, c.want)
			}
		})
	}
}

func TestHeaderComplete(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 6, 5, 4, 0, time.FixedZone("", 3600))
	h, err := readHeader(bufio.NewReader(strings.NewReader(crlf("Bcc: a@b\nX: 1\n y\nResent-Bcc:\n a@b\nMessage-ID:\nFrom: a@b\n\nbody"))))
	if err != nil {
		t.Fatal(err)
	}
	h.complete("mx.test", now)
	var b bytes.Buffer
	if err := h.write(&b); err != nil {
		t.Fatal(err)
	}
	want := crlf(fmt.Sprintf("X: 1\n y\nFrom: a@b\nDate: Mon, 23 Nov 2026 05:05:04 +0000\nMessage-ID: %s\n\n", h.messageID()))
	if got := b.String(); got != want || !strings.HasSuffix(h.messageID(), "@mx.test>") {
		t.Errorf("got %q, want %q", got, want)
	}
	before := b.String()
	h.complete("mx.test", now.Add(time.Hour))
	b.Reset()
	_ = h.write(&b)
	if b.String() != before {
		t.Errorf("complete twice: got %q, want %q", b.String(), before)
	}
}

// FuzzHeader: what is accepted has, for whoever reads it afterwards, one From
// that was checked, no blind copies, and line ends that are CRLF.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		aliceHeader, "From: alice@example.com\nBcc: x@y\n", "From: eve@example.com\n", "from :alice@example.com\n", "\n", " \n",
		"From: a:alice@example.com;\n", "From: =?utf-8?q?a?= <alice@example.com>\n", "From: alice@example.com (a\n b)\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l := lines{limit: 1 << 16}
		content := l.end(l.append(nil, text))
		if l.bad != nil {
			return
		}
		r := bufio.NewReader(bytes.NewReader(content))
		h, err := readHeader(r)
		if err != nil || h.check(false, alices) != nil {
			return
		}
		h.complete("mx.test", time.Unix(0, 0))
		var b bytes.Buffer
		if err := h.write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := readHeader(bufio.NewReader(bytes.NewReader(b.Bytes())))
		if err != nil || again.check(false, alices) != nil {
			t.Fatalf("%q was accepted and is not again: %v", b.Bytes(), err)
		}
		if len(again.fields) != len(h.fields) || len(again.all("bcc")) > 0 || len(again.all("date")) == 0 || again.messageID() == "" {
			t.Errorf("got %q", b.Bytes())
		}
	})
}

// FuzzLines: the result has CRLF line ends only and does not depend on where the
// parts were cut; what is refused whole is refused in parts.
func FuzzLines(f *testing.F) {
	for _, s := range []string{"", "a\nb\r\n", "\r", "\r\r\n", "\n\r", "a\x00", "\r\n.\r\n"} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, step uint8) {
		whole := lines{limit: 100}
		want := whole.end(whole.append(nil, text))
		parts := lines{limit: 100}
		var got []byte
		for rest := text; len(rest) > 0; {
			n := min(len(rest), int(step)%7+1)
			got = parts.append(got, rest[:n])
			rest = rest[n:]
		}
		got = parts.end(got)
		if (whole.bad == nil) != (parts.bad == nil) {
			t.Fatalf("%q: refused %v whole, %v in parts", text, whole.bad, parts.bad)
		}
		if whole.bad != nil {
			return
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%q: got %q in parts, %q whole", text, got, want)
		}
		if bytes.ContainsAny(bytes.ReplaceAll(got, []byte("\r\n"), nil), "\r\n\x00") {
			t.Errorf("%q: got %q", text, got)
		}
	})
}
