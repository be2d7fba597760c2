package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

// keyOf is what an SSH front-end makes of a line of authorized_keys.
func keyOf(t *testing.T, line string) session.Key {
	t.Helper()
	pub, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	return session.Key{Algorithm: pub.Type(), Blob: string(pub.Marshal()), Fingerprint: ssh.FingerprintSHA256(pub)}
}

// must fails the test if a change failed.
func must(t *testing.T, c Change, err error) Change {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAccountLife(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openStore(t, path)
	ctx := t.Context()
	a, err := Open(ctx, db, Config{})
	if err != nil {
		t.Fatal(err)
	}

	change, err := a.Add(ctx, "joe", New{Groups: []string{"users", "mail", "users"}, Password: session.NewSecret("right")})
	must(t, change, err)
	if change.Before != nil || change.After == nil || !slices.Equal(change.After.Groups, []string{"mail", "users"}) || change.After.PasswordChanged.IsZero() {
		t.Errorf("add: got %+v", change)
	}
	groups, route := []string{"users"}, "smtp://mx.example.com:25"
	change, err = a.Set(ctx, "joe", Update{Groups: &groups, Route: &route})
	must(t, change, err)
	if len(change.Before.Groups) != 2 || change.Before.Route != "" || len(change.After.Groups) != 1 || change.After.Route != route {
		t.Errorf("set: got %+v, %+v", change.Before, change.After)
	}
	if !change.After.Changed.After(change.Before.Changed) && change.After.Changed != change.Before.Changed {
		t.Errorf("set: changed went from %v to %v", change.Before.Changed, change.After.Changed)
	}
	line := ed25519Key(t)
	change, err = a.AddKeys(ctx, "joe", []byte(line+" joe@laptop\n"))
	must(t, change, err)
	if len(change.Before.Keys) != 0 || len(change.After.Keys) != 1 || change.After.Keys[0].Added.IsZero() {
		t.Errorf("add key: got %+v, %+v", change.Before, change.After)
	}
	change, err = a.AddAddress(ctx, "joe", "Joe@Example.com")
	must(t, change, err)
	if !slices.Equal(change.After.Addresses, []string{"joe@example.com"}) {
		t.Errorf("add address: got %v", change.After.Addresses)
	}

	// All of it is there after a restart.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openStore(t, path)
	defer db.Close()
	if a, err = Open(ctx, db, Config{}); err != nil {
		t.Fatal(err)
	}
	account, err := a.Lookup(ctx, netip.Addr{}, "joe")
	if err != nil {
		t.Fatal(err)
	}
	want := session.Account{Known: true, Identity: session.Identity{
		User: "joe", Groups: []string{"users"}, Addresses: []string{"joe@example.com"}, Route: route,
		Access: session.FullAccess(),
	}, PasswordSet: change.After.PasswordChanged, Generation: change.After.Changed.UnixMicro()}
	if !reflect.DeepEqual(account, want) {
		t.Errorf("got %+v, want %+v", account, want)
	}
	if info, err := a.Show(ctx, "joe"); err != nil || !reflect.DeepEqual(info, *change.After) {
		t.Errorf("show: got %+v, %v, want %+v", info, err, *change.After)
	}
	key := keyOf(t, line)
	if _, err := a.Verify(ctx, source, session.PublicKey("joe", key)); err != nil {
		t.Errorf("key: got %v, want nil", err)
	}
	if known, err := knows(ctx, a, "joe", key); !known || err != nil {
		t.Errorf("knows: got %v, %v, want true", known, err)
	}

	// And it goes again, piece by piece.
	must2 := func(c Change, err error) { t.Helper(); must(t, c, err) }
	must2(a.Disable(ctx, "joe"))
	if account, _ := a.Lookup(ctx, netip.Addr{}, "joe"); !account.Known || !account.Disabled {
		t.Errorf("disabled: got %+v", account)
	}
	if known, _ := knows(ctx, a, "joe", key); known {
		t.Error("the key of a disabled account is known")
	}
	must2(a.Enable(ctx, "joe"))
	must2(a.RemoveKey(ctx, "joe", key.Fingerprint))
	if _, err := a.Verify(ctx, source, session.PublicKey("joe", key)); err != session.ErrDenied {
		t.Errorf("removed key: got %v, want %v", err, session.ErrDenied)
	}
	must2(a.RemoveAddress(ctx, "joe", "JOE@example.com"))
	change, err = a.Remove(ctx, "joe")
	must(t, change, err)
	if change.Before == nil || change.After != nil {
		t.Errorf("remove: got %+v", change)
	}
	if account, err := a.Lookup(ctx, netip.Addr{}, "joe"); err != nil || account.Known {
		t.Errorf("removed: got %+v, %v", account, err)
	}
	if list, err := a.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("list: got %v, %v, want none", list, err)
	}
}

func TestKeysBelongToTheirAccount(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "x")
	add(t, a, "jim", "x")
	line := ed25519Key(t)
	key := keyOf(t, line)
	c, err := a.AddKeys(t.Context(), "joe", []byte(line))
	must(t, c, err)
	for user, want := range map[string]bool{"joe": true, "jim": false, "nobody": false, "": false} {
		if known, err := knows(t.Context(), a, user, key); known != want || err != nil {
			t.Errorf("knows %q: got %v, %v, want %v", user, known, err, want)
		}
		if _, err := a.Verify(t.Context(), source, session.PublicKey(user, key)); (err == nil) != want {
			t.Errorf("verify %q: got %v, want right %v", user, err, want)
		}
	}
	// The fingerprint of a key without the key is none.
	forged := session.Key{Algorithm: key.Algorithm, Fingerprint: key.Fingerprint, Blob: keyOf(t, ed25519Key(t)).Blob}
	if _, err := a.Verify(t.Context(), source, session.PublicKey("joe", forged)); err != session.ErrDenied {
		t.Errorf("forged: got %v, want %v", err, session.ErrDenied)
	}
	// One person may use two accounts with one key.
	c, err = a.AddKeys(t.Context(), "jim", []byte(line))
	must(t, c, err)
}

func TestChangesRefused(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	ctx := t.Context()
	add(t, a, "joe", "right", "users")
	add(t, a, "jim", "right")
	line := ed25519Key(t)
	c, err := a.AddKeys(ctx, "joe", []byte(line))
	must(t, c, err)
	c, err = a.AddAddress(ctx, "joe", "joe@example.com")
	must(t, c, err)
	before, err := a.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	groups, badGroups, badRoute := []string{"users"}, []string{"ok", "Not OK"}, "smtp://a b"
	many := make([]string, maxGroups+1)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	secret := session.NewSecret
	tests := []struct {
		name string
		do   func() (Change, error)
		want error
		text string
	}{
		{"add twice", func() (Change, error) { return a.Add(ctx, "joe", New{Password: secret("x")}) }, ErrExist, `add account "joe": account exists`},
		{"add bad name", func() (Change, error) { return a.Add(ctx, "../joe", New{}) }, ErrName, "must begin"},
		{"add bad group", func() (Change, error) { return a.Add(ctx, "new", New{Groups: badGroups}) }, ErrInvalid, "Not OK"},
		{"add bad route", func() (Change, error) { return a.Add(ctx, "new", New{Route: badRoute}) }, ErrInvalid, "route"},
		{"add bad password", func() (Change, error) { return a.Add(ctx, "new", New{Password: secret("a\nb")}) }, ErrInvalid, "line break"},
		{"set bad group", func() (Change, error) { return a.Set(ctx, "joe", Update{Groups: &badGroups}) }, ErrInvalid, "group"},
		{"set many groups", func() (Change, error) { return a.Set(ctx, "joe", Update{Groups: &many}) }, ErrInvalid, "65 are more than 64"},
		{"set bad route", func() (Change, error) { return a.Set(ctx, "joe", Update{Route: &badRoute}) }, ErrInvalid, "route"},
		{"set unknown", func() (Change, error) { return a.Set(ctx, "new", Update{Groups: &groups}) }, ErrNotExist, `set account "new": no such account`},
		{"empty password", func() (Change, error) { return a.SetPassword(ctx, "joe", secret("")) }, ErrInvalid, "empty"},
		{"long password", func() (Change, error) {
			return a.SetPassword(ctx, "joe", secret(strings.Repeat("x", maxPasswordBytes+1)))
		}, ErrInvalid, "longer than 1024"},
		{"password unknown", func() (Change, error) { return a.SetPassword(ctx, "new", secret("x")) }, ErrNotExist, "no such account"},
		{"disable unknown", func() (Change, error) { return a.Disable(ctx, "new") }, ErrNotExist, "no such account"},
		{"enable unknown", func() (Change, error) { return a.Enable(ctx, "new") }, ErrNotExist, "no such account"},
		{"remove unknown", func() (Change, error) { return a.Remove(ctx, "new") }, ErrNotExist, "no such account"},
		{"key unknown", func() (Change, error) { return a.AddKeys(ctx, "new", []byte(line)) }, ErrNotExist, "no such account"},
		{"key twice", func() (Change, error) { return a.AddKeys(ctx, "joe", []byte(ed25519Key(t)+"\n"+line)) }, ErrExist, "has this key"},
		{"key bad", func() (Change, error) { return a.AddKeys(ctx, "joe", []byte("x")) }, ErrInvalid, "line 1"},
		{"remove no key", func() (Change, error) { return a.RemoveKey(ctx, "joe", "SHA256:x") }, ErrNotExist, "no such key"},
		{"remove other's key", func() (Change, error) { return a.RemoveKey(ctx, "jim", keyOf(t, line).Fingerprint) }, ErrNotExist, "no such key"},
		{"address bad", func() (Change, error) { return a.AddAddress(ctx, "joe", "joe") }, ErrInvalid, "no @"},
		{"address used", func() (Change, error) { return a.AddAddress(ctx, "jim", "JOE@example.com") }, ErrExist, `belongs to an account, "joe"`},
		{"address unknown", func() (Change, error) { return a.AddAddress(ctx, "new", "new@example.com") }, ErrNotExist, "no such account"},
		{"remove no address", func() (Change, error) { return a.RemoveAddress(ctx, "jim", "joe@example.com") }, ErrNotExist, "no such address"},
	}
	for _, tt := range tests {
		change, err := tt.do()
		if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("%s: got %v, want %v with %q", tt.name, err, tt.want, tt.text)
		}
		if change != (Change{}) {
			t.Errorf("%s: got a change %+v, want none", tt.name, change)
		}
	}
	for _, missing := range []error{
		second(a.Show(ctx, "new")), second(a.ListKeys(ctx, "new")), second(a.ListAddresses(ctx, "new")),
	} {
		if !errors.Is(missing, ErrNotExist) {
			t.Errorf("got %v, want %v", missing, ErrNotExist)
		}
	}
	after, err := a.List(ctx)
	if err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("refused changes left a trace: got %+v, %v, want %+v", after, err, before)
	}
}

func second[T any](_ T, err error) error { return err }

// TestAnswersAreCopies: what is given out may be changed by who got it.
func TestAnswersAreCopies(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "x", "users")
	list, err := a.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list[0].Groups[0] = "admins"
	info, err := a.Show(t.Context(), "joe")
	if err != nil {
		t.Fatal(err)
	}
	info.Groups[0] = "admins"
	account, err := a.Lookup(t.Context(), netip.Addr{}, "joe")
	if err != nil || account.Identity.Groups[0] != "users" {
		t.Errorf("got %+v, %v, want users", account, err)
	}
}

func TestInfoJSON(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	c, err := a.Add(t.Context(), "joe", New{})
	must(t, c, err)
	text, err := json.Marshal(c.After)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"name":"joe"`, `"groups":[]`, `"addresses":[]`, `"keys":[]`, `"disabled":false`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("got %s, want %s in it", text, want)
		}
	}
	if strings.Contains(string(text), "password") {
		t.Errorf("got %s, want nothing of a password that is not there", text)
	}
}

// TestChangesAtOnce: what is held in memory ends as what is stored.
func TestChangesAtOnce(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "x")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			groups := []string{fmt.Sprint("g", i)}
			if _, err := a.Set(t.Context(), "joe", Update{Groups: &groups}); err != nil {
				t.Error(err)
			}
			if _, err := a.AddAddress(t.Context(), "joe", fmt.Sprintf("joe%d@example.com", i)); err != nil {
				t.Error(err)
			}
			if _, err := a.Lookup(t.Context(), netip.Addr{}, "joe"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	held, err := a.Show(t.Context(), "joe")
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := Open(t.Context(), a.db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := fresh.Show(t.Context(), "joe")
	if err != nil || !reflect.DeepEqual(held, stored) {
		t.Errorf("got %+v, %v, want %+v", held, err, stored)
	}
	if len(stored.Addresses) != 20 || len(stored.Groups) != 1 {
		t.Errorf("got %d addresses and %d groups, want 20 and 1", len(stored.Addresses), len(stored.Groups))
	}
}
