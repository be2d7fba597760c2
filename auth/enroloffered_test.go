package auth

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gateway/session"
)

// A key that was only offered is good from where it was, until it has logged in from
// there; then from everywhere.
func TestEnrolOffered(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	home, abroad := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("198.51.100.1")
	key := sessionKey(t, ed25519Key(t))
	good := func(from netip.Addr) bool {
		t.Helper()
		answer, err := a.Knows(t.Context(), from, "joe", key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Verify(t.Context(), from, session.PublicKey("joe", key))
		if answer.Known != (err == nil) {
			t.Errorf("from %v: known %v, but verified with %v", from, answer.Known, err)
		}
		return answer.Known
	}
	enrol := func(from netip.Addr) {
		t.Helper()
		if _, err := a.EnrolOffered(t.Context(), "joe", a.Enrollable("joe", []session.Key{key}), from); err != nil {
			t.Fatal(err)
		}
	}
	shown := func() Key {
		t.Helper()
		keys, err := a.ListKeys(t.Context(), "joe")
		if err != nil || len(keys) != 1 {
			t.Fatalf("got %d keys, %v", len(keys), err)
		}
		return keys[0]
	}
	enrol(home)
	if !good(home) || good(abroad) {
		t.Error("good from elsewhere, or not from where it was offered")
	}
	if k := shown(); !k.Pending || k.Comment != "offered from 192.0.2.7" || len(k.Options) != 2 ||
		!strings.HasPrefix(k.Options[0], "expiry-time=") || k.Options[1] != `from="192.0.2.7/32"` {
		t.Errorf("shown as %+v", k)
	}
	enrol(abroad) // moves it
	if good(home) || !good(abroad) {
		t.Error("it did not move with the password")
	}
	a.Used("joe", key)
	if err := a.Close(t.Context()); err != nil { // stores it
		t.Fatal(err)
	}
	if !good(home) || !good(abroad) {
		t.Error("not good from everywhere after its first login")
	}
	if k := shown(); k.Pending || len(k.Options) != 0 {
		t.Errorf("shown as %+v", k)
	}
	if again := a.Enrollable("joe", []session.Key{key}); len(again) != 0 {
		t.Error("it would be enrolled once more")
	}
	second := sessionKey(t, ed25519Key(t))
	if _, err := a.EnrolOffered(t.Context(), "joe", []session.Key{second, second}, netip.MustParseAddr("2001:db8::7")); err != nil {
		t.Fatal(err)
	}
	if answer, _ := a.Knows(t.Context(), netip.MustParseAddr("2001:db8::8"), "joe", second); !answer.Known {
		t.Error("not good from the same network")
	}
	if _, err := a.SetPassword(t.Context(), "joe", session.NewSecret("another")); err != nil {
		t.Fatal(err)
	}
	if answer, _ := a.Knows(t.Context(), netip.MustParseAddr("2001:db8::7"), "joe", second); answer.Known || !good(home) {
		t.Error("a new password leaves what was pending, or takes what was not")
	}
}

func TestWhatIsNotEnrolledByOffering(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	limited, brought, fresh := ed25519Key(t), ed25519Key(t), sessionKey(t, ed25519Key(t))
	if _, err := a.AddKeys(t.Context(), "joe", []byte(`from="10.0.0.1" `+limited)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Enrol(t.Context(), "joe", []byte(brought)); err != nil {
		t.Fatal(err)
	}
	offered := []session.Key{
		sessionKey(t, limited), sessionKey(t, brought), {}, {Algorithm: "ssh-ed25519", Blob: "garbage", Fingerprint: "SHA256:x"},
		{Algorithm: session.KeyX509, Blob: fresh.Blob, Fingerprint: "SHA256:y"}, {Algorithm: "ssh-ed25519-cert-v01@openssh.com", Blob: fresh.Blob},
		{Algorithm: "ssh-ed25519", Blob: strings.Repeat("x", maxOfferedBytes+1)}, fresh, fresh,
	}
	if got := a.Enrollable("joe", offered); !slices.Equal(got, []session.Key{fresh}) {
		t.Errorf("got %v, want the fresh one", got)
	}
	if got := a.Enrollable("nobody", offered); len(got) != 0 {
		t.Errorf("of nobody: %v", got)
	}
	if _, err := a.EnrolOffered(t.Context(), "joe", []session.Key{fresh}, netip.Addr{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("from nowhere: %v", err)
	}
	if _, err := a.EnrolOffered(t.Context(), "nobody", []session.Key{fresh}, source); !errors.Is(err, ErrNotExist) {
		t.Errorf("for nobody: %v", err)
	}
	many := make([]session.Key, maxKeys)
	for i := range many {
		many[i] = sessionKey(t, ed25519Key(t))
	}
	if _, err := a.EnrolOffered(t.Context(), "joe", many, source); err != nil {
		t.Fatal(err)
	}
	if keys, err := a.ListKeys(t.Context(), "joe"); len(keys) != maxKeys || err != nil {
		t.Errorf("%d keys, %v; want %d", len(keys), err, maxKeys)
	}
	if keys, _ := a.ListKeys(t.Context(), "joe"); !slices.ContainsFunc(keys, func(k Key) bool { return !k.Pending && len(k.Options) == 1 }) {
		t.Error("the key that an administrator limited was changed")
	}
}
