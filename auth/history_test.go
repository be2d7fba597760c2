package auth

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

var (
	laptop  = session.ClientID{Class: session.ClientWinSCP, Network: netip.MustParsePrefix("192.0.2.0/24")}
	cronJob = session.ClientID{Class: session.ClientCurl, Network: netip.MustParsePrefix("198.51.100.0/24")}
	inClear = [session.Levels]bool{}
	safe    = [session.Levels]bool{session.LevelEncrypted: true}
	byKey   = [session.Levels]bool{true, true, true}
)

func onDay(n int) time.Time { return time.Date(2027, 1, 1, 10, 0, 0, 0, time.UTC).AddDate(0, 0, n) }

// Days are counted once, for the client and for the account.
func TestFloorsRise(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	for day, levels := range [][session.Levels]bool{safe, safe, byKey} {
		a.entered("joe", laptop, levels, onDay(day))
		a.entered("joe", laptop, levels, onDay(day).Add(time.Hour))
	}
	want := session.Floors{Client: session.Days{3, 1, 1}, Account: session.Days{3, 1, 1}, Quiet: session.Days{2, 0, 0}}
	if got := a.recall("joe", laptop, onDay(2)).Floors; got != want {
		t.Errorf("laptop: got %+v, want %+v", got, want)
	}
	other := a.recall("joe", cronJob, onDay(2))
	if other.Floors.Client != (session.Days{}) || other.Floors.Account != want.Account || other.Place {
		t.Errorf("another client: got %+v, want the floors of the account only", other)
	}
	if got := a.recall("joe", session.ClientID{Class: session.ClientCurl, Network: laptop.Network}, onDay(2)); !got.Place {
		t.Error("another client at the same place: got a place that is not known")
	}
	if got := a.recall("nobody", laptop, onDay(2)); got != (session.Past{}) {
		t.Errorf("no account: got %+v, want nothing", got)
	}
}

// The account is quiet since its last login in clear, as far as it was ever seen
// encrypted.
func TestQuiet(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	quiet := func(day int) uint16 { return a.recall("joe", laptop, onDay(day)).Floors.Quiet[session.LevelEncrypted] }
	a.entered("joe", cronJob, inClear, onDay(0))
	if got := quiet(100); got != 0 {
		t.Errorf("never encrypted: got %d days, want 0", got)
	}
	a.entered("joe", laptop, safe, onDay(100))
	a.entered("joe", cronJob, inClear, onDay(110))
	if got := quiet(130); got != 20 {
		t.Errorf("got %d days, want 20", got)
	}
	a.entered("joe", cronJob, inClear, onDay(140))
	if got := quiet(141); got != 30 {
		t.Errorf("after a login in clear: got %d days, want the 30 from before", got)
	}
}

// Nothing falls, neither by a clock that is set back nor by a restart.
func TestFloorsNeverFall(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openStore(t, path)
	a, err := Open(t.Context(), db, Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	add(t, a, "joe", "secret")
	a.entered("joe", cronJob, inClear, onDay(0))
	for _, day := range []int{10, 11, 12, 50} {
		a.entered("joe", laptop, safe, onDay(day))
	}
	before := a.recall("joe", laptop, onDay(60))
	if want := (session.Floors{Client: session.Days{4}, Account: session.Days{4}, Quiet: session.Days{50}}); before.Floors != want {
		t.Fatalf("got %+v, want %+v", before.Floors, want)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openStore(t, path)
	defer db.Close()
	if a, err = Open(t.Context(), db, Config{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	for _, day := range []int{-100, 1, 5} {
		a.entered("joe", laptop, safe, onDay(day))
		a.entered("joe", cronJob, inClear, onDay(day))
		if got := a.recall("joe", laptop, onDay(day)); got != before {
			t.Errorf("on day %d: got %+v, want %+v", day, got, before)
		}
	}
}

// Clients are told apart up to a number, and none that has risen is forgotten.
func TestTooManyClients(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	a.entered("joe", laptop, safe, onDay(0))
	for i := range 2 * maxClients {
		c := session.ClientID{Class: session.ClientCurl, Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 24)}
		levels := inClear
		if i%2 == 0 {
			levels = safe
		}
		a.entered("joe", c, levels, onDay(0))
	}
	if got := len(a.history.accounts[a.records["joe"].id].clients); got > maxClients {
		t.Errorf("got %d clients, want at most %d", got, maxClients)
	}
	if got := a.recall("joe", laptop, onDay(0)).Floors.Client; got[session.LevelEncrypted] != 1 {
		t.Errorf("got %v: a client was forgotten that had risen", got)
	}
}

// A password is exposed until there is another one, or a key.
func TestExposure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openStore(t, path)
	a, err := Open(t.Context(), db, Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	add(t, a, "joe", "secret")
	add(t, a, "ann", "other")
	exposed := func() []Exposure {
		t.Helper()
		list, err := a.Exposures(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	a.Exposed("nobody", source)
	a.Exposed("joe", source)
	a.Exposed("joe", netip.MustParseAddr("::ffff:198.51.100.9"))
	list := exposed()
	if len(list) != 1 || list[0].User != "joe" || list[0].Count != 2 || list[0].From != "198.51.100.9" {
		t.Fatalf("got %+v, want joe, twice", list)
	}
	if got := a.Recall("joe", laptop).Exposed; !got.Equal(list[0].First) || got.IsZero() {
		t.Errorf("got %v, want %v", got, list[0].First)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, err = Open(t.Context(), db, Config{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if got := exposed(); len(got) != 1 || got[0].Count != 2 {
		t.Fatalf("after a restart: got %+v, want joe, twice", got)
	}
	if _, err := a.SetPassword(t.Context(), "joe", session.NewSecret("another")); err != nil {
		t.Fatal(err)
	}
	if got := exposed(); len(got) != 0 || !a.Recall("joe", laptop).Exposed.IsZero() {
		t.Errorf("after another password: got %+v, want none", got)
	}
	a.Exposed("joe", source)
	if _, err := a.Disable(t.Context(), "joe"); err != nil || len(exposed()) != 1 {
		t.Errorf("after another change: %v, got %+v; want joe", err, exposed())
	}
	if _, err := a.AddKeys(t.Context(), "joe", []byte(ed25519Key(t))); err != nil {
		t.Fatal(err)
	}
	if got := exposed(); len(got) != 0 {
		t.Errorf("after a key: got %+v, want none", got)
	}
	a.storeHistory(t.Context())
	if err := a.loadHistory(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := exposed(); len(got) != 0 {
		t.Errorf("after a key, stored: got %+v, want none", got)
	}
}

// A password that was refused is looked at later, and only a right one counts.
func TestSuspects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := open(t)
		add(t, a, "joe", "secret")
		b.count()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.VerifySuspects(ctx) }()
		for user, password := range map[string]string{"joe": "wrong", "nobody": "secret"} {
			a.Suspect(session.Password(user, password), source)
		}
		time.Sleep(suspectWait - time.Millisecond)
		if n := b.count(); n != 0 {
			t.Errorf("before its time: got %d hashes, want none", n)
		}
		time.Sleep(time.Second)
		if n := b.count(); n != 2 || !a.Recall("joe", laptop).Exposed.IsZero() {
			t.Errorf("wrong ones: got %d hashes and %v, want 2 and no exposure", n, a.Recall("joe", laptop).Exposed)
		}
		a.Suspect(session.Password("joe", "secret"), source)
		time.Sleep(2 * suspectWait)
		if a.Recall("joe", laptop).Exposed.IsZero() {
			t.Error("the right one: got no exposure")
		}
		for range 2 * maxSuspects {
			a.Suspect(session.Password("joe", "x"), source) // does not block
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Names that do not exist are like accounts, each always like the same, and about
// as many like each.
func TestPhantoms(t *testing.T) {
	t.Parallel()
	p := phantoms{key: []byte("key")}
	accounts := make(map[string]*record)
	for i := range 10 {
		accounts[string(rune('a'+i))] = nil
	}
	if p.set(nil); p.like("x") != "" {
		t.Error("without accounts: got one")
	}
	p.set(accounts)
	like, before := make(map[string]int), make(map[int]string)
	for i := range 2000 {
		before[i] = p.like(string(rune('A' + i)))
		like[before[i]]++
	}
	if len(like) < 8 {
		t.Errorf("got %v, want names spread over the accounts", like)
	}
	p.put("z", true)
	p.put("z", true)
	moved := 0
	for i := range before {
		switch got := p.like(string(rune('A' + i))); got {
		case before[i]:
		case "z":
			moved++
		default:
			t.Errorf("got %s instead of %s, want z or no change", got, before[i])
		}
	}
	p.put("z", false)
	for i := range before {
		if got := p.like(string(rune('A' + i))); got != before[i] {
			t.Errorf("without z: got %s, want %s again", got, before[i])
		}
	}
}
