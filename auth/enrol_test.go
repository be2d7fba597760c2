package auth

import (
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"gateway/session"
)

func TestEnrol(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	own, first, second := ed25519Key(t), ed25519Key(t), ed25519Key(t)
	if _, err := a.AddKeys(t.Context(), "joe", []byte(own)); err != nil {
		t.Fatal(err)
	}
	_, _ = knows(t.Context(), a, "joe", sessionKey(t, first)) // as ssh-copy-id offers it before
	before, _ := a.Lookup(t.Context(), netip.Addr{}, "joe")
	// What the account has is in the file again, with another limit.
	file := strings.Join([]string{`from="10.0.0.0/8" ` + own, first, `from="192.0.2.0/24",restrict ` + second, first}, "\n")
	c, err := a.Enrol(t.Context(), "joe", []byte(file))
	if err != nil || len(c.Before.Keys) != 1 || len(c.After.Keys) != 3 {
		t.Fatalf("got %+v, %v", c, err)
	}
	for _, k := range c.After.Keys {
		if old := k.Fingerprint == sessionKey(t, own).Fingerprint; k.Pending == old || old && k.Options != nil {
			t.Errorf("got %+v", k)
		}
	}
	after, _ := a.Lookup(t.Context(), netip.Addr{}, "joe")
	if after.Generation == before.Generation {
		t.Error("the account's generation is what it was")
	}
	if list, err := a.OfferedKeys(t.Context(), "joe"); err != nil || len(list) != 0 {
		t.Errorf("still offered: %+v, %v", list, err)
	}
	for _, line := range []string{own, first, second} {
		if known, err := knows(t.Context(), a, "joe", sessionKey(t, line)); !known {
			t.Errorf("a key is not known, %v", err)
		}
	}
	if _, err := a.Enrol(t.Context(), "joe", []byte(first)); err != nil {
		t.Errorf("once more: %v", err)
	}
	if again, _ := a.Lookup(t.Context(), netip.Addr{}, "joe"); again.Generation != after.Generation {
		t.Error("a file that brings nothing changed the generation")
	}
}

func TestEnrolRefuses(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	good := ed25519Key(t)
	var many []string
	for range maxKeys {
		many = append(many, ed25519Key(t))
	}
	for name, file := range map[string]string{
		"nothing":             "",
		"junk":                "hello\n",
		"zeros":               strings.Repeat("\x00", 1000),
		"comments":            "# none\n\n",
		"authority":           good + "\ncert-authority " + ed25519Key(t),
		"authority, in upper": "CERT-AUTHORITY " + ed25519Key(t),
		"option":              good + "\ncommand=\"/bin/sh\" " + ed25519Key(t),
		"weak":                good + "\n" + rsaKey(t, 2048),
		"certificate":         "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
		"private":             "-----BEGIN OPENSSH PRIVATE KEY-----\nMIIB\n-----END OPENSSH PRIVATE KEY-----\n",
		"too many":            strings.Join(append(many, good), "\n"),
	} {
		if _, err := a.Enrol(t.Context(), "joe", []byte(file)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if keys, err := a.ListKeys(t.Context(), "joe"); err != nil || len(keys) != 0 {
		t.Errorf("got %+v, %v; want no key", keys, err)
	}
	if _, err := a.Enrol(t.Context(), "nobody", []byte(good)); !errors.Is(err, ErrNotExist) {
		t.Errorf("nobody: got %v, want ErrNotExist", err)
	}
	if _, err := a.Enrol(t.Context(), "joe", []byte(strings.Join(many[:maxKeys-1], "\n"))); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Enrol(t.Context(), "joe", []byte(good+"\n"+ed25519Key(t))); !errors.Is(err, ErrInvalid) {
		t.Errorf("two keys where one has room: got %v, want ErrInvalid", err)
	}
	if _, err := a.Enrol(t.Context(), "joe", []byte(strings.Join(many[:maxKeys-1], "\n")+"\n"+good)); err != nil {
		t.Errorf("one key where one has room: %v", err)
	}
}

// The mark goes with the first login, for good, and without a change of the
// account's generation.
func TestPendingUntilUsed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openStore(t, path)
	a, err := Open(t.Context(), db, Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	add(t, a, "joe", "secret")
	first, second := ed25519Key(t), ed25519Key(t)
	if _, err := a.Enrol(t.Context(), "joe", []byte(first+"\n"+second)); err != nil {
		t.Fatal(err)
	}
	pending := func(a *Accounts) (list []string) {
		t.Helper()
		keys, err := a.ListKeys(t.Context(), "joe")
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if k.Pending {
				list = append(list, k.Fingerprint)
			}
		}
		return list
	}
	key := sessionKey(t, first)
	_, _ = knows(t.Context(), a, "joe", key)
	_, _ = a.Verify(t.Context(), source, session.Credential{User: "joe", Method: session.MethodPublicKey, Key: key})
	if got := pending(a); len(got) != 2 {
		t.Errorf("before a login was granted: %q are pending, want both", got)
	}
	before, _ := a.Lookup(t.Context(), netip.Addr{}, "joe")
	a.Used("joe", key)
	a.Used("joe", key)
	a.Used("joe", sessionKey(t, ed25519Key(t)))
	a.Used("nobody", key)
	other := sessionKey(t, second).Fingerprint
	if got := pending(a); len(got) != 1 || got[0] != other {
		t.Errorf("after it: %q are pending, want %s", got, other)
	}
	if after, _ := a.Lookup(t.Context(), netip.Addr{}, "joe"); after.Generation != before.Generation {
		t.Error("the login changed the account's generation")
	}
	a.Used("joe", sessionKey(t, second)) // and is stored by Close
	if err := errors.Join(a.Close(t.Context()), db.Close()); err != nil {
		t.Fatal(err)
	}
	a.Used("joe", key)
	db = openStore(t, path)
	defer db.Close()
	if a, err = Open(t.Context(), db, Config{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	if got := pending(a); len(got) != 0 {
		t.Errorf("after a restart: %q are pending", got)
	}
}
