package smtp

import (
	"bytes"
	"testing"

	"github.com/emersion/go-sasl"

	"gateway/session"
)

// witness notes what the mechanisms ask of the connection.
type witness struct {
	prompted, claimed bool
	user, password    string
	offers            int
}

func (w *witness) prompt(session.Method) error { w.prompted = true; return nil }
func (w *witness) claim(user string, _ session.Method) error {
	w.claimed, w.user = true, user
	return nil
}
func (w *witness) offer(c session.Credential) error {
	w.user, w.password = c.User, c.Secret.Reveal()
	w.offers++
	return nil
}
func (w *witness) ask(string) (string, error)             { return "", session.ErrAborted }
func (w *witness) bindings() map[string][]byte            { return nil }
func (w *witness) certified() (session.Key, string, bool) { return session.Key{}, "", false }

// FuzzLogin: whatever the responses are, at most one credential is offered, made
// of the responses, and a password is asked for only after the name was claimed.
func FuzzLogin(f *testing.F) {
	f.Add(true, []byte("alice"), []byte("right"), true)
	f.Add(true, []byte("alice"), []byte(""), false)
	f.Add(false, []byte("\x00alice\x00right"), []byte("x"), true)
	f.Add(false, []byte("a\x00alice\x00right\x00"), []byte("x"), false)
	f.Fuzz(func(t *testing.T, login bool, first, second []byte, initial bool) {
		w := &witness{}
		var s sasl.Server = &plainServer{login: w}
		if login {
			s = &loginServer{login: w}
		}
		responses := [][]byte{append([]byte{}, first...), append([]byte{}, second...), []byte("more")}
		if !initial {
			responses = append([][]byte{nil}, responses...)
		}
		for _, r := range responses {
			challenge, done, err := s.Next(r)
			if string(challenge) == "Password:" && (!w.claimed || w.user != string(first)) {
				t.Fatal("the password is asked for before the name was claimed")
			}
			if !done && err == nil && !w.prompted {
				t.Fatal("something is asked for that nobody said may be")
			}
			if done || err != nil {
				break
			}
		}
		if w.offers > 1 {
			t.Fatalf("%d offers, want at most 1", w.offers)
		}
		if w.offers == 0 {
			return
		}
		if login && (w.user != string(first) || w.password != string(second)) {
			t.Errorf("offered %q %q of %q %q", w.user, w.password, first, second)
		}
		if !login && !bytes.HasSuffix(first, []byte("\x00"+w.user+"\x00"+w.password)) {
			t.Errorf("offered %q %q of %q", w.user, w.password, first)
		}
	})
}

// FuzzCommand: a line never panics, and what is passed on is one line without
// control characters.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{"NOOP", "MAIL FROM:<a@b>", "BDAT 1 LAST", "BDAT 99999999999999", "EHLO \xff", "RCPT TO:<postmaster>", "", " ", "\r", "AUTH PLAIN ="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.IndexByte(line, '\n') >= 0 {
			return
		}
		line = append(line, "\r\n"...)
		name, arg, ok := split(line)
		if ok && bytes.ContainsAny([]byte(string(name)+arg), "\r\n\x00") {
			t.Errorf("%q: got %q %q", line, name, arg)
		}
		if size, _, err := parseChunk(arg); err == nil && size < 0 {
			t.Errorf("%q: size %d", arg, size)
		}
	})
}
