package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/session"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "right")
	add(t, a, "off", "right")
	add(t, a, "nopass", "")
	if _, err := a.Disable(t.Context(), "off"); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", maxPasswordBytes+1)
	tests := []struct {
		name string
		c    session.Credential
		want error
	}{
		{"right", session.Password("joe", "right"), nil},
		{"right, interactive", session.KeyboardInteractive("joe", "right"), nil},
		{"wrong", session.Password("joe", "wrong"), session.ErrDenied},
		{"wrong, interactive", session.KeyboardInteractive("joe", "Right"), session.ErrDenied},
		{"space at the end", session.Password("joe", "right "), session.ErrDenied},
		{"empty", session.Password("joe", ""), session.ErrDenied},
		{"too long", session.Password("joe", long), session.ErrDenied},
		{"unknown", session.Password("jim", "right"), session.ErrDenied},
		{"other case", session.Password("Joe", "right"), session.ErrDenied},
		{"NUL in the name", session.Password("joe\x00", "right"), session.ErrDenied},
		{"no name", session.Password("", "right"), session.ErrDenied},
		{"without a password", session.Password("nopass", "right"), session.ErrDenied},
		{"disabled is for the gate", session.Password("off", "right"), nil},
		{"no method", session.Credential{User: "joe", Secret: session.NewSecret("right")}, session.ErrDenied},
		{"no key", session.PublicKey("joe", session.Key{}), session.ErrDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // hashed, then remembered
				if _, err := a.Verify(t.Context(), source, tt.c); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			}
		})
	}
}

// TestSamePriceForEveryName is the promise that time does not tell which names
// exist: each case asks the budget equally often, for equally much.
func TestSamePriceForEveryName(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "right")
	add(t, a, "off", "right")
	add(t, a, "nopass", "")
	add(t, a, "weak", "")
	setHash(t, a, "weak", desCrypt)
	if _, err := a.Disable(t.Context(), "off"); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", maxPasswordBytes+1)
	for _, user := range []string{"joe", "off", "nopass", "weak", "jim", "Joe", "", strings.Repeat("j", 5000), "..\x00"} {
		for _, try := range []struct {
			password string
			want     int
		}{{"wrong", 1}, {"wrong", 0}, {"wrong2", 1}, {"wrong", 0}, {"", 0}, {long, 0}} {
			if err := login(t, a, user, try.password); !errors.Is(err, session.ErrDenied) {
				t.Errorf("%.10q with %.10q: got %v, want %v", user, try.password, err, session.ErrDenied)
			}
			if got := b.count(); got != try.want {
				t.Errorf("%.10q with %.10q: got %d hashes, want %d", user, try.password, got, try.want)
			}
		}
	}
	b.set(func(b *budget) {
		for i, m := range b.memKiB {
			if m != b.memKiB[0] || b.sources[i] != source {
				t.Errorf("hash %d: got %d KiB for %v, want %d for %v", i, m, b.sources[i], b.memKiB[0], source)
			}
		}
		if b.running != 0 {
			t.Errorf("got %d places not given back, want 0", b.running)
		}
	})
}

func TestRightIsRemembered(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "right")
	for i, want := range []int{1, 0, 0} {
		if err := login(t, a, "joe", "right"); err != nil {
			t.Fatal(err)
		}
		if got := b.count(); got != want {
			t.Errorf("login %d: got %d hashes, want %d", i, got, want)
		}
	}
	if err := login(t, a, "joe", "wrong"); err != session.ErrDenied {
		t.Errorf("got %v, want %v", err, session.ErrDenied)
	}
	if err := login(t, a, "joe", "right"); err != nil {
		t.Errorf("after a wrong one: got %v, want nil", err)
	}
	if got := b.count(); got != 1 {
		t.Errorf("got %d hashes, want 1, for the wrong one", got)
	}
}

func TestNewPasswordForgetsTheOld(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "old")
	if err := login(t, a, "joe", "old"); err != nil {
		t.Fatal(err)
	}
	if err := login(t, a, "joe", "new"); err != session.ErrDenied {
		t.Fatal(err)
	}
	if _, err := a.SetPassword(t.Context(), "joe", session.NewSecret("new")); err != nil {
		t.Fatal(err)
	}
	b.count()
	if err := login(t, a, "joe", "old"); err != session.ErrDenied {
		t.Errorf("old: got %v, want %v", err, session.ErrDenied)
	}
	if err := login(t, a, "joe", "new"); err != nil {
		t.Errorf("new: got %v, want nil", err)
	}
	if got := b.count(); got != 2 {
		t.Errorf("got %d hashes, want 2: nothing of before may be remembered", got)
	}
	if _, err := a.Remove(t.Context(), "joe"); err != nil {
		t.Fatal(err)
	}
	if err := login(t, a, "joe", "new"); err != session.ErrDenied {
		t.Errorf("removed: got %v, want %v", err, session.ErrDenied)
	}
	add(t, a, "joe", "third")
	if err := login(t, a, "joe", "new"); err != session.ErrDenied {
		t.Errorf("made again: got %v, want %v", err, session.ErrDenied)
	}
}

// TestPasswordChangedWhileHashing: the result for the password of before is not
// an answer.
func TestPasswordChangedWhileHashing(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "old")
	hold, asked := make(chan struct{}), make(chan struct{}, 8)
	b.set(func(b *budget) { b.hold, b.asked = hold, asked })
	done := make(chan error, 1)
	go func() { _, err := a.Verify(t.Context(), source, session.Password("joe", "old")); done <- err }()
	<-asked
	if _, err := a.SetPassword(t.Context(), "joe", session.NewSecret("new")); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if err := <-done; err != session.ErrDenied {
		t.Errorf("got %v, want %v", err, session.ErrDenied)
	}
}

func TestManyAtOnceCostOneHash(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "right")
	hold := make(chan struct{})
	b.set(func(b *budget) { b.hold = hold })
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if err := login(t, a, "joe", "right"); err != nil {
				t.Errorf("got %v, want nil", err)
			}
		})
	}
	close(hold)
	wg.Wait()
	if got := b.count(); got != 1 {
		t.Errorf("got %d hashes, want 1", got)
	}
}

// TestPilotHangsUp: those who wait for somebody else's hash get theirs although
// that one left.
func TestPilotHangsUp(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "right")
	hold, asked := make(chan struct{}), make(chan struct{}, 8)
	b.set(func(b *budget) { b.hold, b.asked = hold, asked })
	ctx, cancel := context.WithCancel(t.Context())
	pilot, other := make(chan error, 1), make(chan error, 1)
	go func() { _, err := a.Verify(ctx, source, session.Password("joe", "right")); pilot <- err }()
	<-asked
	go func() { _, err := a.Verify(t.Context(), source, session.Password("joe", "right")); other <- err }()
	cancel()
	if err := <-pilot; !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("who left: got %v, want %v", err, session.ErrUnavailable)
	}
	<-asked
	close(hold)
	if err := <-other; err != nil {
		t.Errorf("who stayed: got %v, want nil", err)
	}
}

// TestFullBudgetIsNoWrongPassword: it is temporary, for every name, and leaves
// nothing in the memo.
func TestFullBudgetIsNoWrongPassword(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "right")
	for _, full := range []error{session.ErrUnavailable, session.ErrTooMany, errors.New("some other fault")} {
		b.set(func(b *budget) { b.refuse = full })
		for _, user := range []string{"joe", "jim"} {
			for _, password := range []string{"right", "wrong"} {
				err := login(t, a, user, password)
				if errors.Is(err, session.ErrDenied) || !errors.Is(err, session.ErrUnavailable) && !errors.Is(err, session.ErrTooMany) {
					t.Errorf("%s with %s: got %v, want a temporary error", user, password, err)
				}
			}
		}
		b.set(func(b *budget) { b.refuse = nil })
		if err := login(t, a, "joe", "right"); err != nil {
			t.Errorf("after %v: got %v, want nil", full, err)
		}
		a.memo.forget(a.memo.name("joe"))
		a.memo.forget(a.memo.name("jim"))
	}
}

func TestStoreGoneIsUnavailable(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "right")
	a.stale.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Lookup(ctx, netip.Addr{}, "joe"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("look-up: got %v, want %v", err, session.ErrUnavailable)
	}
	if _, err := a.Verify(ctx, source, session.Password("joe", "right")); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("verify: got %v, want %v", err, session.ErrUnavailable)
	}
	if err := login(t, a, "joe", "right"); err != nil {
		t.Errorf("once it can be read: got %v, want nil", err)
	}
	if a.stale.Load() {
		t.Error("still stale after it was read")
	}
}

// TestUnreadableHash: an account whose hash is of no known scheme is like one
// without a password, and does not stop the others.
func TestUnreadableHash(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "right")
	const foreign = "$6$rounds=999999999$salt$hash"
	err := a.db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE account_passwords SET hash = $1`, foreign)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), a.db, Config{Budget: b, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"right", foreign} { // a hash is not a password
		if err := login(t, again, "joe", password); err != session.ErrDenied {
			t.Errorf("got %v, want %v", err, session.ErrDenied)
		}
	}
	if got := b.count(); got != 2 {
		t.Errorf("got %d hashes, want 2", got)
	}
}

func TestNoBudgetHashesOneAtATime(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "right")
	own, err := Open(t.Context(), a.db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := login(t, own, "joe", "right"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	release, err := own.cfg.Budget.Acquire(t.Context(), source, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := own.Verify(ctx, source, session.Password("joe", "wrong")); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("while another is hashed: got %v, want %v", err, session.ErrUnavailable)
	}
	release()
}

// TestNoSecretIsPrinted looks for passwords and hashes in everything that
// leaves the package.
func TestNoSecretIsPrinted(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry-passw0rd"
	a, b := open(t)
	var printed []any
	c, err := a.Add(t.Context(), "joe", New{Password: session.NewSecret(canary)})
	printed = append(printed, c, *c.After, err)
	c, err = a.SetPassword(t.Context(), "joe", session.NewSecret(canary))
	printed = append(printed, c, *c.Before, *c.After, err)
	for _, bad := range []string{canary + "\n", strings.Repeat(canary, 100)} {
		_, err = a.SetPassword(t.Context(), "joe", session.NewSecret(bad))
		printed = append(printed, err)
	}
	printed = append(printed, login(t, a, "joe", canary+"!"), login(t, a, "jim", canary))
	b.set(func(b *budget) { b.refuse = session.ErrTooMany })
	printed = append(printed, login(t, a, "joe", canary+"?"))
	list, err := a.List(t.Context())
	printed = append(printed, list, err, New{Password: session.NewSecret(canary)})
	hash := a.records["joe"].hash.Encode()
	for _, v := range printed {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, canary) || strings.Contains(text, hash) {
				t.Errorf("a secret is printed: %s", text)
			}
		}
	}
}

// BenchmarkLogin is what the gate asks for one login: two look-ups and one
// proof.
func BenchmarkLogin(b *testing.B) {
	a, _ := open(b)
	add(b, a, "joe", "right")
	for name, forget := range map[string]bool{"remembered": false, "cold": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if forget {
					a.memo.forget(a.memo.name("joe"))
				}
				if _, err := a.Lookup(b.Context(), netip.Addr{}, "joe"); err != nil {
					b.Fatal(err)
				}
				if err := login(b, a, "joe", "right"); err != nil {
					b.Fatal(err)
				}
				if _, err := a.Lookup(b.Context(), netip.Addr{}, "joe"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
