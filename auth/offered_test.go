package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

func sessionKey(t testing.TB, line string) session.Key {
	t.Helper()
	keys, err := ParseKeys([]byte(line), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return keys[0].Session()
}

func TestOfferedKeys(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	own, strange := ed25519Key(t), ed25519Key(t)
	if _, err := a.AddKeys(t.Context(), "joe", []byte(own)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, line := range []string{own, strange} {
			if _, err := knows(t.Context(), a, "joe", sessionKey(t, line)); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _ = knows(t.Context(), a, "nobody", sessionKey(t, strange))
	want := sessionKey(t, strange)
	list, err := a.OfferedKeys(t.Context(), "joe")
	if err != nil || len(list) != 1 || list[0].Fingerprint != want.Fingerprint || list[0].Count != 3 || list[0].From != source.String() {
		t.Fatalf("got %+v, %v", list, err)
	}
	_, _ = knows(t.Context(), a, "joe", want)
	if list, _ = a.OfferedKeys(t.Context(), "joe"); list[0].Count != 4 || !list[0].Last.After(list[0].First) {
		t.Errorf("once more: %+v", list)
	}
	if _, err := a.OfferedKeys(t.Context(), "nobody"); !errors.Is(err, ErrNotExist) {
		t.Errorf("of nobody: %v", err)
	}
	if _, err := a.AcceptKey(t.Context(), "joe", "SHA256:x"); !errors.Is(err, ErrNotExist) {
		t.Errorf("what was not offered: %v", err)
	}
	c, err := a.AcceptKey(t.Context(), "joe", want.Fingerprint)
	if err != nil || len(c.After.Keys) != 2 {
		t.Fatalf("accept: %+v, %v", c.After, err)
	}
	if known, _ := knows(t.Context(), a, "joe", want); !known {
		t.Error("accepted, and not known")
	}
	if list, _ = a.OfferedKeys(t.Context(), "joe"); len(list) != 0 {
		t.Errorf("still offered: %+v", list)
	}
}

// Whoever offers keys without end fills neither memory nor the store, and a key
// that may not be enrolled cannot be accepted.
func TestOfferedKeysAreBounded(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	offer := func(i int) {
		key := session.Key{Algorithm: "ssh-ed25519", Blob: fmt.Sprint(i), Fingerprint: fmt.Sprint("SHA256:", i)}
		_, _ = knows(t.Context(), a, "joe", key)
	}
	for i := range 100 {
		offer(i)
	}
	list, err := a.OfferedKeys(t.Context(), "joe")
	if err != nil || len(list) != maxOffered {
		t.Fatalf("%d keys, %v", len(list), err)
	}
	offer(1000)
	if list, _ = a.OfferedKeys(t.Context(), "joe"); len(list) != maxOffered || list[0].Fingerprint != "SHA256:1000" {
		t.Errorf("%d keys, the last %s", len(list), list[0].Fingerprint)
	}
	if _, err := a.AcceptKey(t.Context(), "joe", "SHA256:1000"); !errors.Is(err, ErrInvalid) {
		t.Errorf("accepted what is no key: %v", err)
	}
	for i := range 2 * maxNoted {
		a.noteOffered(fmt.Sprint("n", i), source, session.Key{Algorithm: "ssh-ed25519", Blob: "x"}, time.Now())
	}
	if n := len(a.offered.entries); n != maxNoted {
		t.Errorf("noted of %d names", n)
	}
	a.noteOffered("joe", source, session.Key{Algorithm: "ssh-ed25519", Blob: strings.Repeat("x", maxOfferedBytes+1)}, time.Now())
	if a.offered.entries["joe"] != nil {
		t.Error("noted a key that is too long")
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.noteOffered("joe", netip.Addr{}, session.Key{Algorithm: "ssh-ed25519", Blob: "y"}, time.Now())
	if len(a.offered.entries) != 0 || a.offered.timer != nil {
		t.Error("noted after the end")
	}
}
