package auth

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"gateway/auth/hashes"
	"gateway/session"
)

// Made by other programs, see hashes/testdata.
const (
	md5Crypt = "$1$$IfI/mw4YSCwcQoW.D.DSu1"                                   // correct horse
	desCrypt = "zzD/pw812DVCk"                                                // correct horse
	latin1MD = "{PLAIN-MD5}2ca67a2dbf3a2f52ef5126a2ae8f8a2f"                  // see TestLatin1
	bcrypt12 = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW" // of the heavy class
)

func foreign(t testing.TB, text string) hashes.Hash {
	t.Helper()
	h, err := hashes.Foreign(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func setHash(t testing.TB, a *Accounts, name, text string) {
	t.Helper()
	if _, err := a.SetHash(t.Context(), name, foreign(t, text)); err != nil {
		t.Fatal(err)
	}
}

// renewed does what RenewHashes does with what waits, and says how many did.
func renewed(t testing.TB, a *Accounts) (n int) {
	t.Helper()
	for {
		select {
		case r := <-a.renewals:
			r.since = time.Now().Add(-renewalWait)
			if err := a.renew(t.Context(), r); err != nil {
				t.Error(err)
			}
			n++
		default:
			return n
		}
	}
}

// info is that of one account.
func info(t testing.TB, a *Accounts, name string) HashInfo {
	t.Helper()
	list, err := a.Hashes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if i.User == name {
			return i
		}
	}
	t.Fatalf("no hash of %s", name)
	return HashInfo{}
}

// TestFirstLoginReplacesTheHash is that who comes from elsewhere keeps the password, that
// it is stored as ours from the first good login on, and that what is known of it stays.
func TestFirstLoginReplacesTheHash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openStore(t, path)
	a, err := Open(t.Context(), db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	add(t, a, "joe", "")
	setHash(t, a, "joe", md5Crypt)
	a.Exposed("joe", source)
	before, err := a.Show(t.Context(), "joe")
	if err != nil {
		t.Fatal(err)
	}
	if err := login(t, a, "joe", "wrong"); !errors.Is(err, session.ErrDenied) || renewed(t, a) != 0 {
		t.Fatalf("got %v, want %v and nothing replaced", err, session.ErrDenied)
	}
	if got := info(t, a, "joe"); got.Scheme != "md5-crypt" || got.Imported != "md5-crypt" || !got.Proven.IsZero() {
		t.Errorf("before: got %+v", got)
	}
	if err := login(t, a, "joe", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if n := renewed(t, a); n != 1 {
		t.Errorf("got %d replaced, want 1", n)
	}
	if got := info(t, a, "joe"); got.Scheme != "argon2id" || got.Imported != "md5-crypt" || got.Proven.IsZero() {
		t.Errorf("after: got %+v", got)
	}
	a.memo.forget(a.memo.name("joe"))
	if err := login(t, a, "joe", "correct horse"); err != nil || renewed(t, a) != 0 {
		t.Errorf("again: got %v, want no error and nothing replaced", err)
	}
	after, err := a.Show(t.Context(), "joe")
	if err != nil || !after.PasswordChanged.Equal(before.PasswordChanged) || !after.Changed.Equal(before.Changed) {
		t.Errorf("got %v, %v changed, want %v, %v as before: %v", after.PasswordChanged, after.Changed, before.PasswordChanged, before.Changed, err)
	}
	if list, err := a.Exposures(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("got exposures %v, %v, want that of joe", list, err)
	}
	if a.records["joe"].scram == nil {
		t.Error("no keys of SCRAM, although the password was known")
	}
	// It is on disk.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again, b := reopen(t, path)
	if err := login(t, again, "joe", "correct horse"); err != nil || b.count() != 1 {
		t.Errorf("after a restart: got %v", err)
	}
	if got := info(t, again, "joe").Scheme; got != "argon2id" {
		t.Errorf("after a restart: got %s", got)
	}
}

func reopen(t testing.TB, path string) (*Accounts, *budget) {
	t.Helper()
	db := openStore(t, path)
	t.Cleanup(func() { _ = db.Close() })
	b := new(budget)
	a, err := Open(t.Context(), db, Config{Budget: b})
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestWeakHashesAreWrapped(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "")
	add(t, a, "ann", "")
	setHash(t, a, "joe", desCrypt)
	setHash(t, a, "ann", bcrypt12)
	a.wrapWeak(t.Context())
	if got := info(t, a, "joe"); got.Scheme != "argon2id(des-crypt)" || got.Imported != "des-crypt" || got.Truncates != 8 {
		t.Errorf("got %+v", got)
	}
	if got := info(t, a, "ann").Scheme; got != "bcrypt" {
		t.Errorf("got %s, want bcrypt of cost 12 as it was", got)
	}
	if err := login(t, a, "joe", "wrong"); !errors.Is(err, session.ErrDenied) {
		t.Errorf("got %v, want %v", err, session.ErrDenied)
	}
	if err := login(t, a, "joe", "correct horse"); err != nil {
		t.Error(err)
	}
}

// TestOtherEndOfAPassword is that clients of one user may hold passwords that are alike
// in what the old scheme looked at only, until the password is set anew.
func TestOtherEndOfAPassword(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "")
	setHash(t, a, "joe", desCrypt)
	if err := login(t, a, "joe", "correct horse"); err != nil {
		t.Fatal(err)
	}
	renewed(t, a)
	if got := info(t, a, "joe"); got.Scheme != "argon2id" || got.Truncates != 8 {
		t.Errorf("got %+v, want 8 bytes", got)
	}
	if a.records["joe"].scram != nil {
		t.Error("keys of SCRAM, for a password of which the end is not known")
	}
	if err := login(t, a, "joe", "correct donkey"); err != nil {
		t.Errorf("another end: got %v, want nil", err)
	}
	if err := login(t, a, "joe", "correcx"); !errors.Is(err, session.ErrDenied) {
		t.Errorf("another beginning: got %v, want %v", err, session.ErrDenied)
	}
	if _, err := a.SetPassword(t.Context(), "joe", session.NewSecret("correct horse")); err != nil {
		t.Fatal(err)
	}
	if err := login(t, a, "joe", "correct donkey"); !errors.Is(err, session.ErrDenied) {
		t.Errorf("another end, after the password was set: got %v, want %v", err, session.ErrDenied)
	}
}

// TestLatin1 is that a password stored by a server that got it in Latin-1 works for
// clients that send UTF-8, as one attempt, and for the old ones.
func TestLatin1(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "")
	// By printf 'p\344ssw\366rd' | md5sum.
	setHash(t, a, "joe", latin1MD)
	for _, wrong := range []string{"pässword", "p\xe4ssword"} {
		if err := login(t, a, "joe", wrong); !errors.Is(err, session.ErrDenied) {
			t.Errorf("%q: got %v, want %v", wrong, err, session.ErrDenied)
		}
		if got := b.count(); got != 1 {
			t.Errorf("%q: asked the budget %d times, want once", wrong, got)
		}
	}
	if err := login(t, a, "joe", "pässwörd"); err != nil {
		t.Fatal(err)
	}
	renewed(t, a)
	if got := info(t, a, "joe"); !got.WasInLatin1 || got.Scheme != "argon2id" {
		t.Errorf("got %+v, want that it was in Latin-1", got)
	}
	if !a.records["joe"].hash.Matches("pässwörd") || a.records["joe"].scram == nil {
		t.Error("it is not stored in UTF-8, with keys of SCRAM")
	}
	for _, right := range []string{"pässwörd", "p\xe4ssw\xf6rd"} {
		a.memo.forget(a.memo.name("joe"))
		if err := login(t, a, "joe", right); err != nil {
			t.Errorf("%q: got %v, want nil", right, err)
		}
	}
	if n := renewed(t, a); n != 0 {
		t.Errorf("got %d replaced again, want none", n)
	}
}

// TestHeavyHashesAreApart is that a dear hash asks for the place of such, and its
// replacement for the usual one.
func TestHeavyHashesAreApart(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "")
	add(t, a, "ann", "right")
	setHash(t, a, "joe", bcrypt12)
	if err := login(t, a, "joe", "wrong"); !errors.Is(err, session.ErrDenied) {
		t.Errorf("got %v, want %v", err, session.ErrDenied)
	}
	if err := login(t, a, "ann", "right"); err != nil {
		t.Error(err)
	}
	b.set(func(b *budget) {
		if b.heavy != 1 || b.hashes != 2 {
			t.Errorf("got %d heavy of %d, want 1 of 2", b.heavy, b.hashes)
		}
		b.refuse = session.ErrUnavailable
	})
	// Who is not let in for the moment is not told that the password is wrong.
	if err := login(t, a, "joe", "other"); !errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrDenied) {
		t.Errorf("got %v, want %v", err, session.ErrUnavailable)
	}
}

// A password that was set anew while the old one waited is not overwritten.
func TestRenewalOfAnotherPassword(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "")
	setHash(t, a, "joe", md5Crypt)
	if err := login(t, a, "joe", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.SetPassword(t.Context(), "joe", session.NewSecret("new")); err != nil {
		t.Fatal(err)
	}
	renewed(t, a)
	if err := login(t, a, "joe", "new"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if err := login(t, a, "joe", "correct horse"); !errors.Is(err, session.ErrDenied) {
		t.Errorf("got %v, want %v", err, session.ErrDenied)
	}
	if got := info(t, a, "joe"); got.Imported != "" {
		t.Errorf("got %+v, want nothing imported", got)
	}
}

func TestSetHashRefuses(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	if _, err := a.SetHash(t.Context(), "joe", foreign(t, md5Crypt)); !errors.Is(err, ErrNotExist) {
		t.Errorf("got %v, want %v", err, ErrNotExist)
	}
	add(t, a, "joe", "right")
	if _, err := a.SetHash(t.Context(), "joe", hashes.Hash{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("the zero hash: got %v, want %v", err, ErrInvalid)
	}
	if err := login(t, a, "joe", "right"); err != nil {
		t.Errorf("got %v, want the password as before", err)
	}
}
