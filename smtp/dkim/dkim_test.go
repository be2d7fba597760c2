package dkim

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

func open(t *testing.T, dir string) *Keys {
	t.Helper()
	k, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// add makes keys of both algorithms.
func add(t *testing.T, k *Keys, domain string) []Key {
	t.Helper()
	keys, err := k.Add(domain, "", Algorithms())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

const message = "Received: from x by y; Mon, 30 Nov 2026 10:00:00 +0000\r\n" +
	"From: Alice <alice@example.com>\r\nTo: bob@remote.test\r\nSubject: a  long\r\n\tsubject\r\n" +
	"Date: Mon, 30 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nHello,  \r\n\r\n.dot\r\n\r\n\r\n"

// sign returns message with its signatures in front.
func sign(t *testing.T, k *Keys, domain, message string) string {
	t.Helper()
	header, _, _ := strings.Cut(message, "\r\n\r\n")
	var names []string
	for line := range strings.SplitSeq(header, "\r\n") {
		if name, _, found := strings.Cut(line, ":"); found && line[0] > ' ' {
			names = append(names, strings.ToLower(name))
		}
	}
	s, err := k.Sign(domain, names)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for part := range slices.Chunk([]byte(message), 7) {
		if _, err := s.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	fields, err := s.Header()
	if err != nil {
		t.Fatal(err)
	}
	return fields + message
}

// verify checks all signatures by the published keys, and returns the selectors'
// domains and the faults.
func verify(t *testing.T, k *Keys, message string) (good int, faults []error) {
	t.Helper()
	list, err := msgauth.VerifyWithOptions(strings.NewReader(message), &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		for _, key := range k.List() {
			if key.Name == name {
				return []string{key.Record}, nil
			}
		}
		return nil, errors.New("no such name: " + name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		if v.Err != nil {
			faults = append(faults, v.Err)
		} else {
			good++
		}
	}
	return good, faults
}

func TestSignedMailVerifies(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir())
	add(t, k, "example.com")
	signed := sign(t, k, "example.com", message)
	if good, faults := verify(t, k, signed); good != 2 || faults != nil {
		t.Fatalf("got %d good signatures, %v, want 2 in\n%s", good, faults, signed)
	}
	for name, changed := range map[string]string{
		"body":             strings.Replace(signed, ".dot", "..dot", 1),
		"subject":          strings.Replace(signed, "a  long", "another long", 1),
		"a second From":    "From: eve@evil.test\r\n" + signed,
		"a second Subject": "Subject: invoice\r\n" + signed,
		"a Reply-To":       "Reply-To: eve@evil.test\r\n" + signed,
		"a Content-Type":   "Content-Type: text/html\r\n" + signed,
	} {
		if good, _ := verify(t, k, changed); good != 0 {
			t.Errorf("%s changed: %d signatures are still good", name, good)
		}
	}
	for name, changed := range map[string]string{
		"white space":      strings.Replace(signed, "a  long\r\n\tsubject", "a long subject", 1),
		"a trace field":    "Received: from y by z; Mon, 30 Nov 2026 10:00:01 +0000\r\n" + signed,
		"a mailing list's": "Sender: list@remote.test\r\nList-Id: <list.remote.test>\r\n" + signed,
		"an empty line":    signed + "\r\n",
	} {
		if good, faults := verify(t, k, changed); good != 2 {
			t.Errorf("%s: %v, want both signatures good", name, faults)
		}
	}
	for _, tag := range []string{"a=rsa-sha256;", "a=ed25519-sha256;", "c=relaxed/relaxed;", "d=example.com;", " t=", " x="} {
		if !strings.Contains(signed, tag) {
			t.Errorf("no %q in\n%s", tag, signed)
		}
	}
	for line := range strings.Lines(signed) {
		if len(line) > 998 || !strings.HasSuffix(line, "\r\n") {
			t.Errorf("line of %d bytes: %.80q", len(line), line)
		}
	}
}

// A header with ever so many fields makes no line that is too long.
func TestManyFields(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir())
	add(t, k, "example.com")
	signed := sign(t, k, "example.com", strings.Repeat("Resent-To: bob@remote.test\r\n", 300)+message)
	if good, faults := verify(t, k, signed); good != 2 {
		t.Errorf("got %d good signatures, %v", good, faults)
	}
	for line := range strings.Lines(signed) {
		if len(line) > 998 {
			t.Errorf("line of %d bytes", len(line))
		}
	}
}

// Mail is signed for the domain of its author, or for the nearest one above that
// has keys.
func TestWhoSigns(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir())
	add(t, k, "example.com")
	add(t, k, "sub.example.com")
	for domain, want := range map[string]string{
		"example.com": "d=example.com;", "EXAMPLE.com": "d=example.com;", "a.b.example.com": "d=example.com;",
		"sub.example.com": "d=sub.example.com;", "x.sub.example.com": "d=sub.example.com;",
		"example.org": "", "notexample.com": "", "com": "", "": "", "[192.0.2.1]": "", "[IPv6:::1]": "",
	} {
		if got := sign(t, k, domain, message); want == "" && got != message || !strings.Contains(got, want) {
			t.Errorf("%s: want %q in %.120q", domain, want, got)
		}
	}
}

// Next keys sign nothing until they take over; then the old ones are gone but for
// their records.
func TestRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := open(t, dir)
	k.now = func() time.Time { return time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC) }
	add(t, k, "example.com")
	if _, err := k.Rotate("example.com"); !errors.Is(err, ErrNoKey) {
		t.Errorf("rotate without next keys: got %v, want ErrNoKey", err)
	}
	next, err := k.Prepare("example.com", "")
	if err != nil || len(next) != 2 || next[0].State != Next || next[0].Selector != "20261130-2-rsa" {
		t.Fatalf("got %+v %v, want two next keys", next, err)
	}
	if _, err := k.Prepare("example.com", ""); !errors.Is(err, ErrHasKeys) {
		t.Errorf("prepare twice: got %v, want ErrHasKeys", err)
	}
	if signed := sign(t, k, "example.com", message); strings.Contains(signed, next[0].Selector) {
		t.Error("a next key signs")
	}
	before := sign(t, k, "example.com", message)
	if _, err := k.Rotate("example.com"); err != nil {
		t.Fatal(err)
	}
	k = open(t, dir)
	var states []string
	for _, key := range k.Of("example.com") {
		states = append(states, key.Selector+" "+string(key.State))
	}
	want := []string{"20261130-rsa retired", "20261130-ed25519 retired", "20261130-2-rsa active", "20261130-2-ed25519 active"}
	if !slices.Equal(states, want) {
		t.Errorf("got %q, want %q", states, want)
	}
	after := sign(t, k, "example.com", message)
	for _, signed := range []string{before, after} {
		if good, faults := verify(t, k, signed); good != 2 {
			t.Errorf("got %d good signatures, %v, want 2", good, faults)
		}
	}
	if !strings.Contains(after, "s=20261130-2-rsa") || strings.Contains(after, "s=20261130-rsa") {
		t.Errorf("signed by other keys than the active ones:\n%s", after)
	}
	content, err := os.ReadFile(filepath.Join(dir, "example.com.json"))
	if n := strings.Count(string(content), "BEGIN PRIVATE KEY"); err != nil || n != 2 {
		t.Errorf("%d private keys in the file (%v), want those of the active keys", n, err)
	}
	if _, err := k.Remove("example.com", "20261130-rsa"); err != nil {
		t.Error(err)
	}
	if _, err := k.Remove("example.com", "20261130-rsa"); !errors.Is(err, ErrNoKey) {
		t.Errorf("remove twice: got %v, want ErrNoKey", err)
	}
	for _, key := range k.Of("example.com") {
		if _, err := k.Remove("example.com", key.Selector); err != nil {
			t.Error(err)
		}
	}
	if list := open(t, dir).List(); len(list) != 0 {
		t.Errorf("got %v, want nothing", list)
	}
}

func TestRefusedKeys(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir())
	both := Algorithms()
	if _, err := k.Add("example.com", "2026a", []Algorithm{RSA}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		domain, selector string
		algorithms       []Algorithm
		want             error
	}{
		"has one":           {"example.com", "", both, ErrHasKeys},
		"selector taken":    {"example.com", "2026a", []Algorithm{Ed25519}, ErrHasKeys},
		"no domain":         {"", "", both, ErrInvalid},
		"no dot":            {"localhost", "", both, ErrInvalid},
		"not canonical":     {"Example.org", "", both, ErrInvalid},
		"a path":            {"../example.org", "", both, ErrInvalid},
		"a slash":           {"example.org/x", "", both, ErrInvalid},
		"selector":          {"example.org", "a b", both, ErrInvalid},
		"selector of dots":  {"example.org", "..", both, ErrInvalid},
		"unknown algorithm": {"example.org", "", []Algorithm{"dsa"}, ErrInvalid},
	} {
		if _, err := k.Add(c.domain, c.selector, c.algorithms); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if _, err := k.Prepare("example.org", ""); !errors.Is(err, ErrNoKey) {
		t.Errorf("got %v, want ErrNoKey", err)
	}
	if keys, err := k.Add("example.com", "2026b", []Algorithm{Ed25519}); err != nil || keys[0].Selector != "2026b" {
		t.Errorf("got %v %v, want a key of the other algorithm under the name asked for", keys, err)
	}
}

// A file that is open to others, or broken, stops the start: mail must not go out
// unsigned because of it.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	add(t, open(t, dir), "example.com")
	name := filepath.Join(dir, "example.com.json")
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("open to others: got %v, want advice", err)
	}
	for what, text := range map[string]string{
		"cut": string(content[:len(content)/2]), "not a key": strings.Replace(string(content), `-----\nMI`, `-----\nXX`, 1),
		"kind":      strings.Replace(string(content), `"algorithm": "rsa"`, `"algorithm": "ed25519"`, 1),
		"state":     strings.Replace(string(content), `"active"`, `"asleep"`, 1),
		"selector":  strings.Replace(string(content), `"selector": "`, `"selector": "../`, 1),
		"not there": strings.Replace(string(content), "BEGIN", "BEGUN", 1),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "example.com") {
			t.Errorf("%s: got %v, want an error that names the domain", what, err)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Example.COM": "example.com", "example.com.": "example.com", "bücher.example": "xn--bcher-kva.example",
		"": "", "example": "", "a..b": "", "-a.b": "", "a_b.c": "", "a b.c": "", strings.Repeat("a", 64) + ".b": "", "..": "", "/etc.x": "",
	} {
		if got, err := Canonical(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q %v, want %q", in, got, err, want)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	dir := f.TempDir()
	k, err := Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := k.Add("example.com", "a", []Algorithm{Ed25519}); err != nil {
		f.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "example.com.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add([]byte(`{"keys":[{"selector":"a","algorithm":"rsa","state":"retired"}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		keys, err := parseFile(content)
		if err != nil {
			return
		}
		for _, one := range keys {
			if one.State != Retired && one.signer == nil || checkSelector(one.Selector) != nil {
				t.Errorf("accepted %+v", one)
			}
		}
	})
}

// FuzzSign: whatever the header, a signature is whole lines, and verifies.
func FuzzSign(f *testing.F) {
	dir := f.TempDir()
	k, err := Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	keys, err := k.Add("example.com", "a", []Algorithm{Ed25519})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("hello", "body\r\n")
	f.Add("a\r\n b", "")
	f.Add("=?utf-8?q?=C3=A4?=", "\r\n\r\n \t\r\n")
	f.Fuzz(func(t *testing.T, subject, body string) {
		if strings.ContainsAny(subject, "\r\n\x00") || strings.ContainsAny(body, "\x00") {
			return
		}
		body = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(body, "\r", ""), "\n", "\r\n"), "\x00", "")
		m := "From: a@example.com\r\nSubject:" + subject + "\r\n\r\n" + body
		signed := sign(t, k, "example.com", m)
		list, err := msgauth.VerifyWithOptions(strings.NewReader(signed), &msgauth.VerifyOptions{
			LookupTXT: func(string) ([]string, error) { return []string{keys[0].Record}, nil },
		})
		if err != nil || len(list) != 1 || list[0].Err != nil {
			t.Errorf("%q: %v %v", signed, err, list)
		}
	})
}
