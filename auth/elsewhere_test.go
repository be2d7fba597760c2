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

// A name that nobody has is asked about where accounts are made: one whose password is right
// there has an account from then on, and nobody else.
func TestOldServerMakesAccounts(t *testing.T) {
	t.Parallel()
	o, until, recorded := &old{store: true}, time.Now().Add(time.Hour), []string(nil)
	db := openStore(t, t.TempDir()+"/gateway.db")
	t.Cleanup(func() { _ = db.Close() })
	a, err := Open(t.Context(), db, Config{
		Newcomers: func(now time.Time) Newcomers {
			if now.Before(until) {
				return Newcomers{By: o, Groups: []string{"legacy"}}
			}
			return Newcomers{}
		},
		Recorded: func(_ context.Context, by string, verb session.Verb, user string, change func() (Change, error)) error {
			recorded = append(recorded, by+" "+string(verb)+" "+user)
			_, err := change()
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for user, password := range map[string]string{"joe": "wrong", "nobody": "secret of joe", "../joe": "secret of joe"} {
		if err := offer(a, user, password); !errors.Is(err, session.ErrDenied) {
			t.Errorf("%s: %v", user, err)
		}
	}
	o.silent.Store(true)
	if err := offer(a, "joe", "secret of joe"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("a server that gives no answer: %v", err)
	}
	o.silent.Store(false)
	credential := session.Credential{Method: session.MethodPassword, User: "joe", Secret: session.NewSecret("secret of joe")}
	for _, changed := range []bool{true, false} { // asked, then compared here
		proof, err := a.Verify(t.Context(), netip.MustParseAddr("192.0.2.7"), credential)
		if err != nil || proof.Changed != changed {
			t.Errorf("the right password: %+v, %v", proof, err)
		}
	}
	if n := o.asked.Load(); n != 4 {
		t.Errorf("asked %d times, want 4", n)
	}
	if joe, err := a.Show(t.Context(), "joe"); err != nil || joe.PasswordChanged.IsZero() || !slices.Equal(joe.Groups, []string{"legacy"}) {
		t.Errorf("joe: %+v, %v", joe, err)
	}
	if !slices.Equal(recorded, []string{"old_server old add joe"}) {
		t.Errorf("recorded %q", recorded)
	}
	until = time.Time{}
	if err := offer(a, "ann", "secret of ann"); !errors.Is(err, session.ErrDenied) || o.asked.Load() != 4 {
		t.Errorf("after the last day: %v, asked %d times", err, o.asked.Load())
	}
}
