package session_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
)

func factors(t testing.TB, text string) session.Factors {
	t.Helper()
	if text == "" {
		return 0
	}
	f, err := session.ParseFactors(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFactorsAsText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "password", "publickey+password", "publickey+password+code"} {
		f := factors(t, text)
		raw, err := json.Marshal(session.Request{Proven: f})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(raw), `"proven":"`+text+`"`); got != (text != "") {
			t.Errorf("%q: got %s", text, raw)
		}
		var back session.Request
		if err := json.Unmarshal(raw, &back); err != nil || back.Proven != f {
			t.Errorf("%q: read back %v, %v", text, back.Proven, err)
		}
	}
	for _, text := range []string{"", "Password", "password+", "password+password", "password code"} {
		if f, err := session.ParseFactors(text); err == nil {
			t.Errorf("%q: got %v", text, f)
		}
	}
}

func TestLacking(t *testing.T) {
	t.Parallel()
	tests := []struct {
		ways, proven, can string
		more              bool
		next              string
	}{
		{"password", "password", "publickey+password+code", false, ""},
		{"publickey+password", "", "publickey+password+code", true, "publickey+password"},
		{"publickey+password", "password", "publickey+password+code", true, "publickey"},
		{"publickey+password", "password", "password", true, ""}, // FTP
		{"publickey+password", "publickey", "password", true, "password"},
		{"publickey+password", "password+code", "publickey+password+code", true, "publickey"},
		{"publickey+password password+code", "password", "publickey+password+code", true, "publickey+code"},
		{"publickey+password password+code", "publickey", "publickey+password+code", true, "password"},
		{"publickey+password password+code", "publickey+password", "publickey+password+code", false, ""},
		{"publickey", "password", "publickey+password+code", true, "publickey"},
		{"publickey", "password", "password", true, ""},
	}
	for _, tt := range tests {
		var ways []session.Factors
		for _, w := range strings.Fields(tt.ways) {
			ways = append(ways, factors(t, w))
		}
		l := session.LackingAllBut(ways...)
		proven, can := factors(t, tt.proven), factors(t, tt.can)
		if got := l.More(proven); got != tt.more {
			t.Errorf("%s, proven %q: more %v, want %v", tt.ways, tt.proven, got, tt.more)
		}
		if got := l.Next(proven, can); tt.more && got.String() != tt.next {
			t.Errorf("%s, proven %q, can %q: next %q, want %q", tt.ways, tt.proven, tt.can, got, tt.next)
		}
	}
	if session.LackingAllBut() != 0xff || session.LackingAllBut(0).More(0) != true {
		t.Error("a rule that names no way can be met")
	}
}

// A login is granted when all that the rules ask for was proven on one connection
// under one name, and not before.
func TestFactorsAreProvenTogether(t *testing.T) {
	t.Parallel()
	key := session.Key{Algorithm: "ssh-ed25519", Blob: "key"}
	password, code, proof := session.Password("alice", "right"), session.Code("alice", "123456"), session.PublicKey("alice", key)
	const more, denied, granted = "more", "denied", "granted"
	tests := []struct {
		name   string
		offers []session.Credential
		want   []string
	}{
		{"password, code", []session.Credential{password, code}, []string{more, granted}},
		{"key, code", []session.Credential{proof, code}, []string{more, granted}},
		{"key, password, code", []session.Credential{proof, password, code}, []string{more, more, granted}},
		{"the same twice", []session.Credential{password, password, code}, []string{more, more, granted}},
		{"wrong code, then right", []session.Credential{password, session.Code("alice", "0"), code}, []string{more, denied, granted}},
		{"code first", []session.Credential{code, password, code}, []string{denied, more, granted}},
		{"another's password between", []session.Credential{password, session.Password("bob", "bob"), code}, []string{more, more, denied}},
		{"another's wrong password between", []session.Credential{password, session.Password("bob", "x"), code}, []string{more, denied, denied}},
		{"another's code", []session.Credential{password, session.Code("bob", "123456")}, []string{more, denied}},
		{"used up by the grant", []session.Credential{password, code, code}, []string{more, granted, denied}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			core := sessiontest.New(t, sessiontest.Factors("password+code", "publickey+code"))
			core.Accounts.Add("alice", "right", "key", "users")
			core.Accounts.Code("alice", "123456")
			core.Accounts.Code("bob", "123456")
			a := core.Connect(t, session.SFTP, session.SSH)
			for i, c := range tt.offers {
				_, err := a.Offer(t.Context(), c)
				got := granted
				if _, isMore := errors.AsType[*session.MoreError](err); isMore {
					got = more
				} else if err != nil {
					got = denied
				}
				if got != tt.want[i] {
					t.Fatalf("offer %d: %s (%v), want %s", i, got, err, tt.want[i])
				}
			}
		})
	}
}

func TestFactorsInTheRecord(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, sessiontest.Factors("password+code"))
	core.Accounts.Code("alice", "123456")
	a := core.Connect(t, session.SFTP, session.SSH)
	_, err := a.Offer(t.Context(), session.Password("alice", "right"))
	var m *session.MoreError
	if !errors.As(err, &m) || !slices.Equal(m.Methods, []session.Method{session.MethodCode}) {
		t.Fatalf("got %v, want a code to be asked for", err)
	}
	if _, err := a.Offer(t.Context(), session.Code("alice", "123456")); err != nil {
		t.Fatal(err)
	}
	logins := core.Record.Events(session.EventLogin)
	if len(logins) != 2 || logins[0].Outcome != session.OutcomeRefused || logins[0].Reason != "more proof needed: code" {
		t.Errorf("recorded %v", logins)
	}
	last := logins[len(logins)-1]
	if last.Outcome != session.OutcomeGranted || last.Method != session.MethodCode ||
		last.Facts.Method != session.MethodPassword || last.Facts.Proven.String() != "password+code" {
		t.Errorf("granted %s, method %s, facts %+v", sessiontest.String(last), last.Method, *last.Facts)
	}
	if n := len(core.Limits.Offences()); n != 0 {
		t.Errorf("charged %d times", n)
	}
}

// Where the protocol has no way to ask for the rest, a right password is answered
// and charged like a wrong one.
func TestFactorsThatCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, sessiontest.Factors("password+code"))
	core.Accounts.Code("alice", "123456")
	for _, protocol := range []session.Protocol{session.FTP, session.Submission} {
		a := core.Connect(t, protocol, session.TLS)
		for _, c := range []session.Credential{session.Password("alice", "right"), session.Code("alice", "123456"), session.Password("alice", "wrong")} {
			if _, err := a.Offer(t.Context(), c); !errors.Is(err, session.ErrDenied) {
				t.Errorf("%s, %s: got %v, want %v", protocol, c.Method, err, session.ErrDenied)
			}
		}
		e := core.Record.Events(session.EventLogin)[0]
		if e.Rule != `require "factors" (test)` || e.Reason != "not proven" {
			t.Errorf("recorded %s rule %q", sessiontest.String(e), e.Rule)
		}
	}
}

// What was proven is forgotten by whatever makes the connection another one, and
// when the account changes.
func TestProofsAreForgotten(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*sessiontest.Core, *session.Attempt){
		"upgrade": func(_ *sessiontest.Core, a *session.Attempt) { a.Upgraded(session.Channel{Kind: session.SSH}) },
		"logout":  func(_ *sessiontest.Core, a *session.Attempt) { a.Logout(nil) },
		"change":  func(c *sessiontest.Core, _ *session.Attempt) { c.Accounts.Change("alice") },
		"disable": func(c *sessiontest.Core, _ *session.Attempt) { c.Accounts.Disable("alice") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := sessiontest.New(t, sessiontest.Factors("password+code"))
			core.Accounts.Code("alice", "123456")
			a := core.Connect(t, session.SFTP, session.SSH)
			_, _ = a.Offer(t.Context(), session.Password("alice", "right"))
			forget(core, a)
			if s, err := a.Offer(t.Context(), session.Code("alice", "123456")); err == nil {
				t.Errorf("granted %v", s.Identity().User)
			}
		})
	}
}

// An FTP client whose certificate is one of two proofs is asked for its password
// anyway.
func TestCertificateAndPassword(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, sessiontest.Factors("publickey+password"))
	core.Accounts.Add("alice", "right", "key", "users")
	a := core.Connect(t, session.FTP, session.TLS)
	_, err := a.Offer(t.Context(), session.PublicKey("alice", session.Key{Algorithm: session.KeyX509, Blob: "key"}))
	if _, more := errors.AsType[*session.MoreError](err); !more {
		t.Fatalf("got %v", err)
	}
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); err != nil {
		t.Error(err)
	}
}
