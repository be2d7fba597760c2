package auth

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gateway/session"
)

// old is another server that knows one password.
type old struct {
	store  bool
	asked  atomic.Int64
	silent atomic.Bool
}

func (o *old) Name() string { return "old" }
func (o *old) Store() bool  { return o.store }
func (o *old) Ask(_ context.Context, user string, password session.Secret) (bool, error) {
	o.asked.Add(1)
	if o.silent.Load() {
		return false, session.ErrUnavailable
	}
	return user == "joe" && password.Reveal() == "secret of joe", nil
}

func withOld(t *testing.T, o *old) (*Accounts, *[]string) {
	t.Helper()
	var heard []string
	db := openStore(t, t.TempDir()+"/gateway.db")
	t.Cleanup(func() { _ = db.Close() })
	a, err := Open(t.Context(), db, Config{
		Elsewhere: func(groups []string, _ time.Time) Elsewhere {
			if slices.Contains(groups, "legacy") {
				return o
			}
			return nil
		},
		Asked: func(user, by string, right bool, err error) {
			heard = append(heard, user+" "+by+" "+map[bool]string{true: "right", false: "wrong"}[right])
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, group := range map[string]string{"joe": "legacy", "ann": "users"} {
		if _, err := a.Add(t.Context(), name, New{Groups: []string{group}}); err != nil {
			t.Fatal(err)
		}
	}
	return a, &heard
}

func offer(a *Accounts, user, password string) error {
	_, err := a.Verify(context.Background(), netip.MustParseAddr("192.0.2.7"), session.Credential{
		Method: session.MethodPassword, User: user, Secret: session.NewSecret(password),
	})
	return err
}

// A password that is right on the old server is stored at once, and that is asked no more.
func TestOldServerIsAskedOnce(t *testing.T) {
	t.Parallel()
	o := &old{store: true}
	a, heard := withOld(t, o)
	for range 2 { // the second is remembered
		if err := offer(a, "joe", "wrong"); !errors.Is(err, session.ErrDenied) {
			t.Errorf("a wrong password: %v", err)
		}
	}
	for _, user := range []string{"ann", "nobody"} {
		if err := offer(a, user, "secret of joe"); !errors.Is(err, session.ErrDenied) {
			t.Errorf("%s: %v", user, err)
		}
	}
	if n := o.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	o.silent.Store(true)
	if err := offer(a, "joe", "secret of joe"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("a server that gives no answer: %v", err)
	}
	o.silent.Store(false)
	for range 2 {
		if err := offer(a, "joe", "secret of joe"); err != nil {
			t.Errorf("the right password: %v", err)
		}
	}
	if n := o.asked.Load(); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
	if joe, err := a.Show(t.Context(), "joe"); err != nil || joe.PasswordChanged.IsZero() {
		t.Errorf("joe has no password: %+v, %v", joe, err)
	}
	if want := []string{"joe old wrong", "joe old wrong", "joe old right"}; !slices.Equal(*heard, want) {
		t.Errorf("recorded %v, want %v", *heard, want)
	}
}

// A directory keeps its passwords: it is asked each time, and nothing is stored.
func TestDirectoryIsAskedAlways(t *testing.T) {
	t.Parallel()
	o := &old{}
	a, _ := withOld(t, o)
	for range 2 {
		if err := offer(a, "joe", "secret of joe"); err != nil {
			t.Errorf("the right password: %v", err)
		}
	}
	if joe, _ := a.Show(t.Context(), "joe"); !joe.PasswordChanged.IsZero() || o.asked.Load() != 2 {
		t.Errorf("stored %v, asked %d times", joe.PasswordChanged, o.asked.Load())
	}
	for user, want := range map[string]PasswordTest{
		"joe":    {User: "joe", Exists: true, Usable: true, By: "old", Right: true, Why: "the account has no password here, and this server was asked"},
		"ann":    {User: "ann", Exists: true, Usable: true, Why: "the account has no password, and none of its groups has an old_server that is asked"},
		"nobody": {User: "nobody", Why: "there is no such account; nobody else is asked about names that do not exist"},
	} {
		if got, err := a.TestPassword(t.Context(), user, session.NewSecret("secret of joe")); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", user, got, err)
		}
	}
}
