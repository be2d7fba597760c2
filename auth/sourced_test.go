package auth

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

// directory is a Source that a test writes.
type directory struct {
	name string

	mu        sync.Mutex
	accounts  map[string]Said
	passwords map[string]string
	down      bool
	asked     []string
	wait      chan struct{} // if set, a look-up waits until it is closed
}

func (d *directory) Name() string { return d.name }

func (d *directory) Find(_ context.Context, q Question) (*Said, error) {
	if d.wait != nil {
		<-d.wait
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, "find "+q.User)
	if d.down {
		return nil, errors.New("no route to host")
	}
	if said, ok := d.accounts[q.User]; ok {
		return &said, nil
	}
	return nil, nil
}

func (d *directory) Check(_ context.Context, q Question, password session.Secret) (*Said, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, "check "+q.User)
	if d.down {
		return nil, false, errors.New("no route to host")
	}
	said, ok := d.accounts[q.User]
	if !ok {
		return nil, false, nil
	}
	return &said, d.passwords[q.User] == password.Reveal(), nil
}

func (d *directory) Decoy(_ context.Context, q Question) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, "decoy "+q.User)
	if d.down {
		return errors.New("no route to host")
	}
	return nil
}

func (d *directory) change(f func(d *directory)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

// questions returns what was asked since it was last called.
func (d *directory) questions() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked := d.asked
	d.asked = nil
	return asked
}

func newDirectory(name string, users ...string) *directory {
	d := &directory{name: name, accounts: make(map[string]Said), passwords: make(map[string]string)}
	for _, user := range users {
		d.accounts[user], d.passwords[user] = Said{Groups: []string{"staff"}}, "secret of "+user
	}
	return d
}

// withSources opens accounts with ann in the store; heard is what was recorded.
func withSources(t *testing.T, cfg Config) (a *Accounts, heard *[]string) {
	t.Helper()
	heard = new([]string)
	cfg.Recorded = func(_ context.Context, by string, verb session.Verb, user string, change func() (Change, error)) error {
		c, err := change()
		if err == nil && c.After == nil {
			t.Error("a change by a source left no account")
		}
		*heard = append(*heard, strings.Join([]string{strings.TrimPrefix(by, "source "), string(verb), user}, " "))
		return err
	}
	db := openStore(t, t.TempDir()+"/gateway.db")
	t.Cleanup(func() { _ = db.Close() })
	a, err := Open(t.Context(), db, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Add(t.Context(), "ann", New{Groups: []string{"users"}, Password: session.NewSecret("secret of ann")}); err != nil {
		t.Fatal(err)
	}
	return a, heard
}

func known(t *testing.T, a *Accounts, user string) session.Account {
	t.Helper()
	account, err := a.Lookup(t.Context(), source, user)
	if err != nil {
		t.Fatalf("look up %s: %v", user, err)
	}
	return account
}

func enter(t *testing.T, a *Accounts, user, password string) (session.Proof, error) {
	t.Helper()
	return a.Verify(t.Context(), source, session.Password(user, password))
}

// A name that only a directory has is known with its groups before a password, becomes an
// account here by the first right one, and is asked about by its password from then on.
func TestAccountOfASource(t *testing.T) {
	t.Parallel()
	first, second := newDirectory("first"), newDirectory("second", "joe", "ann")
	a, heard := withSources(t, Config{Sources: []Source{first, second}})
	if account := known(t, a, "joe"); !account.Known || !slices.Equal(account.Identity.Groups, []string{"staff"}) {
		t.Errorf("before the password: %+v", account)
	}
	if _, err := a.Show(t.Context(), "joe"); !errors.Is(err, ErrNotExist) {
		t.Errorf("it is here before it proved anything: %v", err)
	}
	if _, err := enter(t, a, "joe", "wrong"); !errors.Is(err, session.ErrDenied) {
		t.Errorf("a wrong password: %v", err)
	}
	if proof, err := enter(t, a, "joe", "wrong"); !errors.Is(err, session.ErrDenied) || !proof.Again {
		t.Errorf("the same again: %+v, %v", proof, err)
	}
	if proof, err := enter(t, a, "joe", "secret of joe"); err != nil || !proof.Changed {
		t.Errorf("the right one: %+v, %v", proof, err)
	}
	if proof, err := enter(t, a, "joe", "secret of joe"); err != nil || proof.Changed {
		t.Errorf("once it is made: %+v, %v", proof, err)
	}
	joe, err := a.Show(t.Context(), "joe")
	if err != nil || joe.Source != "second" || !slices.Equal(joe.Groups, []string{"staff"}) || !joe.PasswordChanged.IsZero() {
		t.Errorf("made: %+v, %v", joe, err)
	}
	if want := []string{"second add joe"}; !slices.Equal(*heard, want) {
		t.Errorf("recorded %v, want %v", *heard, want)
	}
	if got, want := first.questions(), []string{"find joe"}; !slices.Equal(got, want) {
		t.Errorf("the first was asked %v, want %v", got, want)
	}
	if got, want := second.questions(), []string{"find joe", "check joe", "check joe", "check joe"}; !slices.Equal(got, want) {
		t.Errorf("the second was asked %v, want %v", got, want)
	}
}

// The store comes first: a directory neither learns of its names nor can take them over.
func TestStoreComesFirst(t *testing.T) {
	t.Parallel()
	d := newDirectory("ad", "ann", "joe")
	d.passwords["ann"] = "of the directory"
	a, _ := withSources(t, Config{Sources: []Source{d}})
	if account := known(t, a, "ann"); !slices.Equal(account.Identity.Groups, []string{"users"}) {
		t.Errorf("ann: %+v", account)
	}
	if _, err := enter(t, a, "ann", "of the directory"); !errors.Is(err, session.ErrDenied) {
		t.Errorf("the directory's password: %v", err)
	}
	d.change(func(d *directory) { d.down = true })
	if _, err := enter(t, a, "ann", "secret of ann"); err != nil {
		t.Errorf("the store's password while the directory is down: %v", err)
	}
	if got := d.questions(); len(got) != 0 {
		t.Errorf("asked %v", got)
	}
	d.change(func(d *directory) { d.down = false })
	if _, err := enter(t, a, "joe", "secret of joe"); err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func() error{
		`because the source "ad" has it`: func() error { _, err := a.Add(t.Context(), "joe", New{}); return err },
		`the source "ad" (gateway.hcl) says it`: func() error {
			_, err := a.SetPassword(t.Context(), "joe", session.NewSecret("long enough"))
			return err
		},
		`groups: the source "ad"`: func() error {
			_, err := a.Set(t.Context(), "joe", Update{Groups: &[]string{"admins"}})
			return err
		},
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want %q", err, what)
		}
	}
	plans, err := a.PlanImport(t.Context(), "passwd", []Imported{{Name: "joe"}})
	if err != nil || plans[0].Action != ImportRefuse || !strings.Contains(plans[0].Reason, `from the source "ad"`) {
		t.Errorf("an import: %+v, %v", plans, err)
	}
}

// What a directory says is believed for five minutes: then groups follow, and an account
// that it has disabled, or has no more, is closed. Disabled here it stays.
func TestAccountFollowsItsSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory("ad", "joe")
		a, heard := withSources(t, Config{Sources: []Source{d}})
		if _, err := enter(t, a, "joe", "secret of joe"); err != nil {
			t.Fatal(err)
		}
		step := func(what string, change func(*directory), want func(session.Account) bool) {
			t.Helper()
			d.change(change)
			time.Sleep(saidTime)
			if account := known(t, a, "joe"); !want(account) {
				t.Errorf("%s: %+v", what, account)
			}
		}
		step("other groups and addresses", func(d *directory) {
			d.accounts["joe"] = Said{Groups: []string{"ops", "staff"}, Addresses: []string{"Joe@Example.com", "*@example.com", "joe"}}
		}, func(s session.Account) bool {
			return slices.Equal(s.Identity.Groups, []string{"ops", "staff"}) && slices.Equal(s.Identity.Addresses, []string{"joe@example.com"})
		})
		step("disabled there", func(d *directory) { d.accounts["joe"] = Said{Disabled: true, Groups: []string{"staff"}} }, func(s session.Account) bool { return s.Disabled })
		step("enabled there", func(d *directory) { d.accounts["joe"] = Said{Groups: []string{"staff"}} }, func(s session.Account) bool { return !s.Disabled })
		step("gone", func(d *directory) { delete(d.accounts, "joe") }, func(s session.Account) bool { return s.Known && s.Disabled })
		step("back", func(d *directory) { d.accounts["joe"] = Said{Groups: []string{"staff"}} }, func(s session.Account) bool { return !s.Disabled })
		if _, err := a.Disable(t.Context(), "joe"); err != nil {
			t.Fatal(err)
		}
		step("disabled here", func(*directory) {}, func(s session.Account) bool { return s.Disabled })
		want := []string{"ad add joe", "ad set joe", "ad disable joe", "ad enable joe", "ad disable joe", "ad enable joe"}
		if !slices.Equal(*heard, want) {
			t.Errorf("recorded %v, want %v", *heard, want)
		}
		if joe, err := a.Show(t.Context(), "joe"); err != nil || joe.Barred || !joe.Disabled {
			t.Errorf("%+v, %v", joe, err)
		}
	})
}

// Who is closed at a directory before there is an account here is refused whether or not the
// password is right: nothing was made of it, so nothing is asked again.
func TestClosedBeforeItIsHere(t *testing.T) {
	t.Parallel()
	d := newDirectory("ad", "joe")
	joe := d.accounts["joe"]
	joe.Disabled = true
	d.accounts["joe"] = joe
	a, heard := withSources(t, Config{Sources: []Source{d}})
	if account := known(t, a, "joe"); !account.Disabled {
		t.Errorf("it may be used: %+v", account)
	}
	if proof, err := enter(t, a, "joe", "secret of joe"); err != nil || proof.Changed {
		t.Errorf("the right password: %+v, %v", proof, err)
	}
	if _, err := a.Show(t.Context(), "joe"); !errors.Is(err, ErrNotExist) || len(*heard) != 0 {
		t.Errorf("it was made: %v, %v", err, *heard)
	}
}

// The sessions of who is closed by a directory end within five minutes.
func TestSessionsFollowASource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory("ad", "joe")
		a, _ := withSources(t, Config{Sources: []Source{d}})
		if _, err := enter(t, a, "joe", "secret of joe"); err != nil {
			t.Fatal(err)
		}
		var closed []string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- a.FollowSources(ctx, func() []string { return []string{"joe", "ann", "joe"} }, func(ctx context.Context) {
				account, err := a.Lookup(ctx, netip.Addr{}, "joe")
				if err == nil && account.Disabled {
					closed = append(closed, "joe")
				}
			})
		}()
		time.Sleep(saidTime + time.Second)
		synctest.Wait()
		if len(closed) != 0 {
			t.Errorf("closed %v although nothing changed", closed)
		}
		d.change(func(d *directory) { delete(d.accounts, "joe") })
		time.Sleep(saidTime)
		synctest.Wait()
		if !slices.Equal(closed, []string{"joe"}) {
			t.Errorf("closed %v, want joe", closed)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A password that was changed in the directory counts at once, and one that was wrong is
// asked about again after a minute.
func TestPasswordChangedAtASource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory("ad", "joe")
		a, _ := withSources(t, Config{Sources: []Source{d}})
		try := func(password string) error { _, err := enter(t, a, "joe", password); return err }
		if err := errors.Join(try("secret of joe"), try("secret of joe")); err != nil {
			t.Fatal(err)
		}
		if err := try("another"); !errors.Is(err, session.ErrDenied) {
			t.Errorf("before the change: %v", err)
		}
		d.change(func(d *directory) { d.passwords["joe"] = "another" })
		if err := try("secret of joe"); !errors.Is(err, session.ErrDenied) {
			t.Errorf("the old one: %v", err)
		}
		for range 3 { // to try again meanwhile does not put it off
			time.Sleep(wrongTime/3 + time.Second)
			_ = try("secret of joe")
		}
		if err := try("another"); err != nil {
			t.Errorf("the new one, a minute after it was wrong: %v", err)
		}
	})
}

// A directory that is down closes nobody out whom it was asked about lately, makes others
// fail for the moment, and says nothing of a password.
func TestSourceIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := newDirectory("first", "joe"), newDirectory("second", "eve")
		a, _ := withSources(t, Config{Sources: []Source{first, second}})
		known(t, a, "joe")
		first.change(func(d *directory) { d.down = true })
		if account := known(t, a, "joe"); !account.Known {
			t.Errorf("joe is forgotten: %+v", account)
		}
		for _, user := range []string{"eve", "nobody"} { // eve may be one of the first
			if _, err := a.Lookup(t.Context(), source, user); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("%s: %v", user, err)
			}
		}
		if _, err := enter(t, a, "joe", "secret of joe"); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("the password: %v", err)
		}
		time.Sleep(saidTime)
		if _, err := a.Lookup(t.Context(), source, "joe"); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("joe, after five minutes: %v", err)
		}
		if account := known(t, a, "ann"); !account.Known {
			t.Errorf("ann: %+v", account)
		}
	})
}

// Names cost a source a question each: those that nobody has are believed not to be there
// for a minute, questions at the same time are one, and who asks about too many is refused,
// whoever is named.
func TestNamesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		left := 3
		d := newDirectory("ad", "joe")
		d.wait = make(chan struct{})
		a, _ := withSources(t, Config{Sources: []Source{d}, SourceBudget: func(netip.Addr) error {
			if left--; left < 0 {
				return session.ErrTooMany
			}
			return nil
		}})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _, _ = a.Lookup(t.Context(), netip.Addr{}, "nobody") })
		}
		synctest.Wait()
		close(d.wait)
		wg.Wait()
		if known(t, a, "nobody").Known {
			t.Error("nobody is known")
		}
		if got, want := d.questions(), []string{"find nobody"}; !slices.Equal(got, want) {
			t.Errorf("asked %v, want %v", got, want)
		}
		time.Sleep(notSaidTime)
		for _, user := range []string{"nobody", "joe", "ann"} {
			known(t, a, user)
		}
		if got, want := d.questions(), []string{"find nobody", "find joe"}; !slices.Equal(got, want) {
			t.Errorf("asked %v, want %v", got, want)
		}
		if _, err := a.Add(t.Context(), "bob", New{}); err != nil {
			t.Fatal(err)
		}
		for _, user := range []string{"bob", "another", "Joe"} {
			if _, err := a.Lookup(t.Context(), source, user); !errors.Is(err, session.ErrTooMany) {
				t.Errorf("%s: %v", user, err)
			}
		}
		for _, user := range []string{"joe", "ann", "nobody"} {
			known(t, a, user)
		}
		if got := d.questions(); len(got) != 0 {
			t.Errorf("asked %v", got)
		}
	})
}

// A name that nobody has takes a question like any other, by which no password is shown.
func TestUnknownNamesTakeAsLong(t *testing.T) {
	t.Parallel()
	d := newDirectory("ad", "joe")
	a, _ := withSources(t, Config{Sources: []Source{d}})
	known(t, a, "nobody")
	for range 2 {
		if _, err := enter(t, a, "nobody", "secret of joe"); !errors.Is(err, session.ErrDenied) {
			t.Errorf("got %v", err)
		}
	}
	if got, want := d.questions(), []string{"find nobody", "decoy nobody"}; !slices.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
	d.change(func(d *directory) { d.down = true })
	if _, err := enter(t, a, "nobody", "another"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("while it is down: %v", err)
	}
}

// A mail address that an account has stays its own, whatever a directory says.
func TestAddressesStayWhose(t *testing.T) {
	t.Parallel()
	d := newDirectory("ad", "joe")
	d.accounts["joe"] = Said{Groups: []string{"staff"}, Addresses: []string{"ann@example.com", "joe@example.com"}}
	a, heard := withSources(t, Config{Sources: []Source{d}})
	if _, err := a.AddAddress(t.Context(), "ann", "ann@example.com"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := enter(t, a, "joe", "secret of joe"); err != nil {
			t.Fatal(err)
		}
	}
	if joe, err := a.Show(t.Context(), "joe"); err != nil || !slices.Equal(joe.Addresses, []string{"joe@example.com"}) {
		t.Errorf("got %v, %v", joe.Addresses, err)
	}
	if len(*heard) != 1 {
		t.Errorf("recorded %v, want one change", *heard)
	}
}

// An account whose source the configuration has no more is closed; one that was removed may
// be admitted again.
func TestSourceIsNamedNoMore(t *testing.T) {
	t.Parallel()
	d := newDirectory("ad", "joe")
	path := t.TempDir() + "/gateway.db"
	db := openStore(t, path)
	a, err := Open(t.Context(), db, Config{Sources: []Source{d}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := enter(t, a, "joe", "secret of joe"); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Remove(t.Context(), "joe"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := enter(t, a, "joe", "secret of joe"); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if account := known(t, again, "joe"); !account.Known || !account.Disabled {
		t.Errorf("got %+v", account)
	}
	if _, err := enter(t, again, "joe", "secret of joe"); !errors.Is(err, session.ErrDenied) {
		t.Errorf("its password: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// A test of a password shows each source in order, and who answered.
func TestPasswordTestShowsSources(t *testing.T) {
	t.Parallel()
	first, second, third := newDirectory("first", "ann"), newDirectory("second", "joe"), newDirectory("third")
	a, _ := withSources(t, Config{Sources: []Source{first, second, third}})
	test := func(user string) PasswordTest {
		got, err := a.TestPassword(t.Context(), user, session.NewSecret("secret of "+user))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	const answer = "has the account, in staff; the password is right"
	want := PasswordTest{User: "joe", Exists: true, Usable: true, By: "second", Right: true, Why: answer,
		Sources: []SourceTest{{"first", "has no such account"}, {"second", answer}, {"third", "is not asked, for second answers"}}}
	if got := test("joe"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := a.Show(t.Context(), "joe"); !errors.Is(err, ErrNotExist) {
		t.Errorf("a test made the account: %v", err)
	}
	ann := test("ann")
	if ann.By != "store" || !ann.Right || !strings.Contains(ann.Sources[0].Answer, "which can never log in here") {
		t.Errorf("got %+v", ann)
	}
	if nobody := test("nobody"); nobody.By != "" || nobody.Right || nobody.Why != "neither the store nor a source has such an account" {
		t.Errorf("got %+v", nobody)
	}
	first.change(func(d *directory) { d.down = true })
	if down := test("joe"); down.By != "first" || down.Right || down.Usable || !strings.Contains(down.Why, "no route to host") {
		t.Errorf("got %+v", down)
	}
}
