package auth

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"gateway/session"
)

// talk is a SCRAM client of user; binding may be the zero value. It returns what the
// server's last word came to as well.
func talk(t *testing.T, a *Accounts, user, password string, x session.Exchange, binding scram.ChannelBinding) (challenge string, err error) {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewConversation()
	switch {
	case x.Bound:
		c = client.NewConversationWithChannelBinding(binding)
	case binding.IsSupported(): // the client could, and was not offered it
		c = client.NewConversationAdvertisingChannelBinding()
	}
	if x.First, err = c.Step(""); err != nil {
		t.Fatal(err)
	}
	x.Ask = func(s string) (string, error) {
		challenge = s
		return c.Step(s)
	}
	credential, ok := session.SCRAM(&x)
	if !ok || credential.User != user {
		t.Fatalf("the first message %q is of %q, %v", x.First, credential.User, ok)
	}
	if _, err = a.Verify(t.Context(), source, credential); err != nil {
		if x.Final != "" {
			t.Errorf("a refusal has the final message %q", x.Final)
		}
		return challenge, err
	}
	if _, err := c.Step(x.Final); err != nil || !c.Valid() {
		t.Errorf("the server's proof %q: %v", x.Final, err)
	}
	return challenge, nil
}

func TestSCRAM(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "right")
	b.count()
	exporter := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("this connection")}
	other := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("another one")}
	unique := scram.ChannelBinding{Type: scram.ChannelBindingTLSUnique, Data: []byte("this connection")}
	bindings := map[string][]byte{"tls-exporter": []byte("this connection")}
	for name, tt := range map[string]struct {
		user, password string
		x              session.Exchange
		binding        scram.ChannelBinding
		want           error
	}{
		"right":                  {"joe", "right", session.Exchange{}, scram.ChannelBinding{}, nil},
		"right above TLS":        {"joe", "right", session.Exchange{Bindings: bindings}, scram.ChannelBinding{}, nil},
		"bound":                  {"joe", "right", session.Exchange{Bindings: bindings, Bound: true}, exporter, nil},
		"wrong":                  {"joe", "wrong", session.Exchange{}, scram.ChannelBinding{}, session.ErrDenied},
		"unknown":                {"jim", "right", session.Exchange{}, scram.ChannelBinding{}, session.ErrDenied},
		"man in the middle":      {"joe", "right", session.Exchange{Bindings: bindings, Bound: true}, other, session.ErrDenied},
		"kind that is not there": {"joe", "right", session.Exchange{Bindings: bindings, Bound: true}, unique, session.ErrDenied},
		"bound without TLS":      {"joe", "right", session.Exchange{Bound: true}, exporter, session.ErrDenied},
		"offer was hidden":       {"joe", "right", session.Exchange{Bindings: bindings}, exporter, session.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := talk(t, a, tt.user, tt.password, tt.x, tt.binding); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	t.Cleanup(func() {
		if n := b.count(); n != 0 {
			t.Errorf("%d passwords were hashed", n)
		}
	})
}

// A name that does not exist, one without a password and one whose keys were made
// for a token's form are asked as any other: with the same salt each time, and as
// many iterations.
func TestSCRAMTellsNoNames(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "right")
	if _, err := a.Add(t.Context(), "nopassword", New{}); err != nil {
		t.Fatal(err)
	}
	salts := make(map[string]bool)
	for _, user := range []string{"joe", "jim", "nopassword"} {
		first, err := talk(t, a, user, "guess", session.Exchange{}, scram.ChannelBinding{})
		if !errors.Is(err, session.ErrDenied) {
			t.Errorf("%s: got %v", user, err)
		}
		again, _ := talk(t, a, user, "other", session.Exchange{}, scram.ChannelBinding{})
		_, salt, _ := strings.Cut(first, ",")
		_, salt2, _ := strings.Cut(again, ",")
		if salt != salt2 || !strings.HasSuffix(salt, ",i=15000") || len(salt) != len("s=")+24+len(",i=15000") {
			t.Errorf("%s: got %q and %q", user, salt, salt2)
		}
		salts[salt] = true
	}
	if len(salts) != 3 {
		t.Errorf("%d salts, want 3", len(salts))
	}
}

// A password that is set while an exchange goes on ends it, and brings keys of its
// own; whoever leaves in the middle is told apart from who guesses.
func TestSCRAMAndChanges(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "old")
	if _, err := a.SetPassword(t.Context(), "joe", session.NewSecret("new")); err != nil {
		t.Fatal(err)
	}
	if _, err := talk(t, a, "joe", "old", session.Exchange{}, scram.ChannelBinding{}); !errors.Is(err, session.ErrDenied) {
		t.Errorf("the old password: %v", err)
	}
	if _, err := talk(t, a, "joe", "new", session.Exchange{}, scram.ChannelBinding{}); err != nil {
		t.Errorf("the new password: %v", err)
	}
	client, _ := scram.SHA256.NewClient("joe", "new", "")
	c := client.NewConversation()
	first, _ := c.Step("")
	x := session.Exchange{First: first, Ask: func(s string) (string, error) {
		if _, err := a.SetPassword(context.Background(), "joe", session.NewSecret("newer")); err != nil {
			t.Error(err)
		}
		return c.Step(s)
	}}
	credential, _ := session.SCRAM(&x)
	if _, err := a.Verify(t.Context(), source, credential); !errors.Is(err, session.ErrDenied) || x.Final != "" {
		t.Errorf("changed meanwhile: %v, %q", err, x.Final)
	}
	x.Ask = func(string) (string, error) { return "", session.ErrAborted }
	if _, err := a.Verify(t.Context(), source, credential); !errors.Is(err, session.ErrAborted) {
		t.Errorf("given up: %v", err)
	}
}

// FuzzSCRAM: whatever a peer says, it does not get in, and nothing panics.
func FuzzSCRAM(f *testing.F) {
	a, _ := open(f)
	add(f, a, "joe", "right")
	f.Add("n,,n=joe,r=abc", "c=biws,r=abc,p=AAAA", false)
	f.Add("y,a=joe,n=joe,r=", "c=,r=,p=", false)
	f.Add("p=tls-exporter,,n=joe,r=x", "c=cD10bHMtZXhwb3J0ZXIsLHg=,r=x,p=", true)
	f.Add("n,,n==2C=3D,r=\x00", "", false)
	f.Fuzz(func(t *testing.T, first, response string, bound bool) {
		x := session.Exchange{First: first, Bound: bound, Bindings: map[string][]byte{"tls-exporter": []byte("x")},
			Ask: func(string) (string, error) { return response, nil }}
		c, ok := session.SCRAM(&x)
		if !ok {
			return
		}
		if _, err := a.Verify(context.Background(), source, c); !errors.Is(err, session.ErrDenied) {
			t.Errorf("got %v", err)
		}
	})
}
