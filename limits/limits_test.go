package limits

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

func peer(addr string) session.Peer {
	return session.Peer{Protocol: session.FTP, Remote: netip.AddrPortFrom(netip.MustParseAddr(addr), 40000)}
}

func mustNew(t testing.TB, cfg Config) *Limits {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAdmit(t *testing.T, l *Limits, addr string) session.Admission {
	t.Helper()
	a, err := l.Admit(peer(addr))
	if err != nil {
		t.Fatalf("admit %s: %v", addr, err)
	}
	return a
}

// refused checks that err is a refusal for what names, and a ban or not.
func refused(t *testing.T, err error, what string, ban bool) {
	t.Helper()
	if !errors.Is(err, session.ErrTooMany) || errors.Is(err, session.ErrBanned) != ban || !strings.Contains(err.Error(), what) {
		t.Errorf("got %v, want a refusal with %q, ban %v", err, what, ban)
	}
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{MaxConnections: 5, MaxPerSource: 3, MaxUnauthenticated: 4, DropFrom: 4, MaxUnauthenticatedPerSource: 2})
	a1 := mustAdmit(t, l, "192.0.2.1")
	a2 := mustAdmit(t, l, "::ffff:192.0.2.1")
	_, err := l.Admit(peer("192.0.2.1"))
	refused(t, err, "without a login from this source", false)
	a1.LoggedIn()
	a1.LoggedIn()
	mustAdmit(t, l, "192.0.2.1")
	a2.LoggedIn()
	_, err = l.Admit(peer("192.0.2.1"))
	refused(t, err, "connections from this source", false)

	b1 := mustAdmit(t, l, "2001:db8::1")
	mustAdmit(t, l, "2001:db8::ffff:2")
	_, err = l.Admit(peer("2001:db8:0:0:9::3")) // the same /64
	refused(t, err, "connections", false)
	_, err = l.Admit(peer("198.51.100.1"))
	refused(t, err, "connections", false)
	b1.Release()
	b1.Release()
	b1.LoggedIn()
	if got, want := l.Counts(), (Counts{Connections: 4, Unauthenticated: 2, Sources: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	mustAdmit(t, l, "198.51.100.1")
}

func TestUnauthenticatedInAll(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{MaxUnauthenticated: 2, DropFrom: 2})
	a := mustAdmit(t, l, "192.0.2.1")
	mustAdmit(t, l, "192.0.2.2")
	_, err := l.Admit(peer("192.0.2.3"))
	refused(t, err, "connections without a login", false)
	a.LoggedIn()
	mustAdmit(t, l, "192.0.2.3")
}

func TestEnter(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{MaxSessionsPerUser: 2})
	leave, err := l.Enter("alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Enter("alice"); err != nil {
		t.Fatal(err)
	}
	_, err = l.Enter("alice")
	refused(t, err, "sessions", false)
	if _, err := l.Enter("bob"); err != nil {
		t.Errorf("bob: got %v, want nil", err)
	}
	leave()
	leave()
	if _, err := l.Enter("alice"); err != nil {
		t.Errorf("after one left: got %v, want nil", err)
	}
	_, err = l.Enter("alice")
	refused(t, err, "sessions", false)
}

// What is counted comes back to zero whatever the order and however often each
// step is made.
func TestCountsReturnToZero(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{MaxConnections: 50, MaxUnauthenticated: 40, MaxPerSource: 10})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			var open []session.Admission
			for range 3000 {
				switch random.IntN(4) {
				case 0, 1:
					if a, err := l.Admit(peer(fmt.Sprintf("192.0.2.%d", random.IntN(9)))); err == nil {
						open = append(open, a)
					}
				case 2:
					if len(open) > 0 {
						open[random.IntN(len(open))].LoggedIn()
					}
				default:
					if len(open) > 0 {
						i := random.IntN(len(open))
						open[i].Release()
						if random.IntN(2) == 0 {
							open = append(open[:i], open[i+1:]...)
						}
					}
				}
				if c := l.Counts(); c.Unauthenticated < 0 || c.Unauthenticated > c.Connections || c.Connections > 50 {
					t.Errorf("got %+v", c)
				}
			}
			for _, a := range open {
				a.Release()
			}
		})
	}
	wg.Wait()
	if got := l.Counts(); got != (Counts{}) {
		t.Errorf("got %+v, want nothing", got)
	}
}

func TestPenalties(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Config{})
		p := peer("192.0.2.1")
		l.Offend(p, "alice", session.WrongProof)
		l.Offend(p, "alice", session.UnknownUser)
		mustAdmit(t, l, "192.0.2.1").Release()
		l.Offend(p, "alice", session.WrongProof)
		_, err := l.Admit(p)
		refused(t, err, "banned", true)
		refused(t, l.Guess(p, "alice", session.MethodPassword), "banned", true)
		mustAdmit(t, l, "192.0.2.2").Release() // the neighbour

		bans := l.Bans()
		if len(bans) != 1 || bans[0].Source.String() != "192.0.2.1/32" || bans[0].Reason != "2 wrong proof, 1 unknown user" ||
			!bans[0].Until.Equal(time.Now().Add(15*time.Second)) || bans[0].Manual {
			t.Errorf("got %+v", bans)
		}
		time.Sleep(14 * time.Second)
		_, err = l.Admit(p)
		refused(t, err, "banned", true) // until nothing is owed
		time.Sleep(time.Second)
		mustAdmit(t, l, "192.0.2.1").Release()
		if bans := l.Bans(); len(bans) != 0 {
			t.Errorf("got %+v, want none", bans)
		}
	})
}

// Whoever tries out which of three keys is there may well log in by password then;
// three wrong passwords are a ban, whatever comes between.
func TestKeysAreNoGuesses(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{})
	p := peer("192.0.2.1")
	for range 3 {
		l.Offend(p, "", session.UnknownKey)
	}
	mustAdmit(t, l, "192.0.2.1").Release()
	l.Offend(p, "alice", session.WrongProof)
	l.Succeeded(p, "alice")
	l.Offend(p, "alice", session.WrongProof)
	mustAdmit(t, l, "192.0.2.1").Release()
	l.Offend(p, "alice", session.WrongProof)
	_, err := l.Admit(p)
	refused(t, err, "banned", true)
}

// A source that the rules refuse is banned in the end, unless somebody logs in from
// there elsewhere.
func TestRefusedConnectionsAreCharged(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{false, true} {
		l := mustNew(t, Config{})
		p := peer("192.0.2.1")
		if known {
			l.Succeeded(p, "alice")
		}
		for range 20 {
			l.Offend(p, "", session.Refused)
		}
		if _, err := l.Admit(p); errors.Is(err, session.ErrBanned) == known {
			t.Errorf("known %v: got %v", known, err)
		}
	}
}

// A ban is logged once, when it begins, with what was done and no names.
func TestBanIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		l := mustNew(t, Config{Log: slog.New(slog.NewTextHandler(&text, nil))})
		for range 5 {
			l.Offend(peer("192.0.2.1"), "hunter2", session.UnknownUser)
		}
		got := text.String()
		if strings.Count(got, "source banned") != 1 || !strings.Contains(got, "source=192.0.2.1/32") ||
			!strings.Contains(got, `because="3 unknown user"`) || strings.Contains(got, "hunter2") {
			t.Errorf("got %s", got)
		}
	})
}

func TestPenaltyHasAMaximum(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Config{})
		for range 100 {
			l.Offend(peer("192.0.2.1"), "", session.Crash)
		}
		time.Sleep(10*time.Minute - time.Nanosecond)
		_, err := l.Admit(peer("192.0.2.1"))
		refused(t, err, "banned", true)
		time.Sleep(time.Nanosecond)
		mustAdmit(t, l, "192.0.2.1").Release()
	})
}

// A device that retries a stale password every minute is never banned.
func TestSlowOffenderIsNotBanned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Config{})
		for range 60 {
			l.Offend(peer("192.0.2.1"), "scanner", session.WrongProof)
			mustAdmit(t, l, "192.0.2.1").Release()
			time.Sleep(time.Minute)
		}
	})
}

// Sources that change their address within a network are banned with it, save
// those from which somebody has logged in.
func TestWiderNetworks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, format, wide, neighbour, known, outside string }{
		{"IPv4", "192.0.2.%d", "192.0.2.0/26", "192.0.2.60", "192.0.2.61", "192.0.2.64"},
		{"IPv6", "2001:db8:7:%x::1", "2001:db8:7::/48", "2001:db8:7:fff::1", "2001:db8:7:ffe::9", "2001:db8:8::1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := mustNew(t, Config{})
				l.Succeeded(peer(tc.known), "alice")
				for i := range 24 {
					l.Offend(peer(fmt.Sprintf(tc.format, i)), "", session.UnknownUser)
				}
				bans := l.Bans()
				if len(bans) != 1 || bans[0].Source.String() != tc.wide || bans[0].Offences[session.UnknownUser] != 24 {
					t.Errorf("got %+v, want %s", bans, tc.wide)
				}
				_, err := l.Admit(peer(tc.neighbour))
				refused(t, err, "banned", true)
				mustAdmit(t, l, tc.known)
				mustAdmit(t, l, tc.outside)
			})
		})
	}
}

func TestTrusted(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{
		MaxPerSource: 1, MaxUnauthenticatedPerSource: 1, MaxConnections: 3,
		Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	p := peer("127.0.0.1")
	for range 10 {
		l.Offend(p, "alice", session.Crash)
	}
	for range 3 {
		mustAdmit(t, l, "127.0.0.1")
	}
	_, err := l.Admit(p)
	refused(t, err, "connections", false)
	if bans := l.Bans(); len(bans) != 0 {
		t.Errorf("got %+v, want none", bans)
	}
}

// Strangers who guess at an account do not lock its owner out of places from
// which the owner has logged in, nor the other way round.
func TestGuessesAtOneAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Config{})
		home, away := peer("198.51.100.1"), peer("203.0.113.200")
		l.Succeeded(home, "alice")
		for i := range 10 {
			stranger := peer(fmt.Sprintf("192.%d.0.1", i))
			if err := l.Guess(stranger, "alice", session.MethodPassword); err != nil {
				t.Fatalf("guess %d: got %v, want nil", i, err)
			}
			l.Offend(stranger, "alice", session.WrongProof)
		}
		refused(t, l.Guess(away, "alice", session.MethodPassword), "failed logins on this account", false)
		if err := l.Guess(away, "alice", session.MethodPublicKey); err != nil {
			t.Errorf("guesses at the password keep the key out: %v", err)
		}
		if err := l.Guess(home, "alice", session.MethodPassword); err != nil {
			t.Errorf("home: got %v, want nil", err)
		}
		if err := l.Guess(away, "bob", session.MethodPassword); err != nil {
			t.Errorf("bob: got %v, want nil", err)
		}
		for range 10 {
			l.Offend(home, "alice", session.WrongProof)
			time.Sleep(30 * time.Second)
		}
		refused(t, l.Guess(home, "alice", session.MethodPassword), "failed logins", false)
		time.Sleep(15 * time.Minute)
		for _, p := range []session.Peer{home, away} {
			if err := l.Guess(p, "alice", session.MethodPassword); err != nil {
				t.Errorf("after the window: got %v, want nil", err)
			}
		}
	})
}

// Whether a name exists must not be seen from its budget.
func TestUnknownNamesAreCountedAlike(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{})
	for i := range 10 {
		p := peer(fmt.Sprintf("192.%d.0.1", i))
		l.Offend(p, "alice", session.WrongProof)
		l.Offend(p, "ghost", session.UnknownUser)
	}
	away := peer("203.0.113.200")
	refused(t, l.Guess(away, "alice", session.MethodPassword), "failed logins", false)
	refused(t, l.Guess(away, "ghost", session.MethodPassword), "failed logins", false)
	if err := l.Guess(away, "", session.MethodPassword); err != nil {
		t.Errorf("no name: got %v, want nil", err)
	}
}

func TestKnownPlacesAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Config{})
		home := peer("198.51.100.1")
		l.Succeeded(home, "alice")
		time.Sleep(90 * 24 * time.Hour)
		for i := range 10 {
			l.Offend(peer(fmt.Sprintf("192.%d.0.1", i)), "alice", session.WrongProof)
		}
		refused(t, l.Guess(home, "alice", session.MethodPassword), "failed logins", false)
	})
}

// A flood of sources and names fills the tables and no more, and does not wash
// out the one that owes most.
func TestTablesAreBounded(t *testing.T) {
	t.Parallel()
	const room = 1024
	l := mustNew(t, Config{})
	l.penalties.room, l.guesses.names.room, l.guesses.known.room, l.guesses.sources.room = room, room, room, room
	worst := peer("198.51.100.1")
	for range 10 {
		l.Offend(worst, "", session.Crash)
	}
	flood(l, 30_000)
	if got := l.Counts().Penalties; got > 6*room {
		t.Errorf("got %d penalties, want at most %d", got, 6*room)
	}
	for name, got := range map[string]int{
		"names": len(l.guesses.names.entries), "known": len(l.guesses.known.entries),
		"sources": len(l.guesses.sources.entries),
	} {
		if got > room {
			t.Errorf("%s: got %d entries, want at most %d", name, got, room)
		}
	}
	_, err := l.Admit(worst)
	refused(t, err, "banned", true)
}

// flood makes n failed logins, each from another source on another name.
func flood(l *Limits, n int) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		var b [16]byte
		for j := range 8 {
			b[j] = byte(random.Uint32())
		}
		a := netip.AddrFrom16(b)
		if i%2 == 0 {
			a = netip.AddrFrom4([4]byte(b[:4]))
		}
		p := session.Peer{Remote: netip.AddrPortFrom(a, 1)}
		l.Offend(p, strconv.Itoa(i), session.UnknownUser)
		if i%4 == 0 {
			l.Succeeded(p, strconv.Itoa(i))
		}
	}
}

// BenchmarkFlood is a failed login from a source not seen before, with a million
// of them behind it.
func BenchmarkFlood(b *testing.B) {
	l := mustNew(b, Config{})
	flood(l, 1_000_000)
	b.ReportAllocs()
	b.ResetTimer()
	flood(l, b.N)
	b.StopTimer()
	if got := l.Counts().Penalties; got > 6*maxPenalties {
		b.Errorf("got %d penalties, want at most %d", got, 6*maxPenalties)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	_, err := New(Config{
		MaxConnections: -1, GuessWindow: -1, PenaltyMax: time.Second,
		Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), {}, netip.MustParsePrefix("::ffff:1.2.3.4/128")},
	})
	if err == nil {
		t.Fatal("got nil, want errors")
	}
	for _, want := range []string{"MaxConnections is -1", "GuessWindow", "PenaltyMax (1s)", "did you mean 192.0.2.0/24", "not a network", "IPv6 form"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

func TestOffencesAreAllCounted(t *testing.T) {
	t.Parallel()
	if len(offences()) != offenceKinds {
		t.Fatalf("got %d offences, want %d", len(offences()), offenceKinds)
	}
	for _, o := range offences() {
		if Penalty(o) <= 0 {
			t.Errorf("%s: got no penalty", o)
		}
		l := mustNew(t, Config{})
		l.Offend(peer("192.0.2.1"), "", o)
		if _, err := l.Admit(peer("192.0.2.2")); err != nil {
			t.Errorf("one %s: got %v for the neighbour, want nil", o, err)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	l := mustNew(b, Config{})
	p := peer("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		a, err := l.Admit(p)
		if err != nil {
			b.Fatal(err)
		}
		a.Release()
	}
}

func BenchmarkGuess(b *testing.B) {
	l := mustNew(b, Config{})
	for i := range 100_000 {
		l.Offend(peer(fmt.Sprintf("10.%d.%d.1", i>>8&255, i&255)), fmt.Sprint("u", i), session.UnknownUser)
	}
	p := peer("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Guess(p, "alice", session.MethodPassword); err != nil {
			b.Fatal(err)
		}
	}
}
