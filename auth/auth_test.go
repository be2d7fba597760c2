package auth

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/store"
)

// budget counts hashes and can be told to refuse them or to hold them back.
type budget struct {
	mu      sync.Mutex
	hashes  int
	heavy   int // of them
	memKiB  []int
	sources []netip.Addr
	running int
	refuse  error
	hold    chan struct{} // if set, Acquire waits until it is closed
	asked   chan struct{} // if set, gets one value for each Acquire
}

func (b *budget) Acquire(ctx context.Context, source netip.Addr, memKiB int) (func(), error) {
	b.mu.Lock()
	hold, refuse, asked := b.hold, b.refuse, b.asked
	b.mu.Unlock()
	if asked != nil {
		asked <- struct{}{}
	}
	if refuse != nil {
		return nil, refuse
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hashes++
	b.running++
	b.memKiB = append(b.memKiB, memKiB)
	b.sources = append(b.sources, source)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.running--
	}, nil
}

func (b *budget) AcquireHeavy(ctx context.Context, source netip.Addr, memKiB int) (func(bool), error) {
	release, err := b.Acquire(ctx, source, memKiB)
	if err != nil {
		return nil, err
	}
	b.set(func(b *budget) { b.heavy++ })
	return func(bool) { release() }, nil
}

func (b *budget) AcquireIdle(ctx context.Context, memKiB int) (func(), error) {
	return b.Acquire(ctx, netip.Addr{}, memKiB)
}

// count returns the hashes since it was last asked.
func (b *budget) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.hashes
	b.hashes = 0
	return n
}

func (b *budget) set(f func(*budget)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

func openStore(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// open returns accounts on a new store, with the budget that counts for them.
func open(t testing.TB) (*Accounts, *budget) {
	t.Helper()
	db := openStore(t, filepath.Join(t.TempDir(), "gateway.db"))
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	b := new(budget)
	a, err := Open(t.Context(), db, Config{
		Budget: b, Sealer: store.NewSealer(filepath.Join(t.TempDir(), "secrets.key")), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// add makes an account with a password.
func add(t testing.TB, a *Accounts, name, password string, groups ...string) {
	t.Helper()
	if _, err := a.Add(t.Context(), name, New{Groups: groups, Password: session.NewSecret(password)}); err != nil {
		t.Fatal(err)
	}
}

var source = netip.MustParseAddr("192.0.2.7")

func login(t testing.TB, a *Accounts, user, password string) error {
	t.Helper()
	_, err := a.Verify(t.Context(), source, session.Password(user, password))
	return err
}

// knows is Knows for somebody at source.
func knows(ctx context.Context, a *Accounts, user string, key session.Key) (bool, error) {
	answer, err := a.Knows(ctx, source, user, key)
	return answer.Known, err
}

// newSigner is an ed25519 key.
func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
