//go:build linux

package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gateway/auth"
	"gateway/auth/hashes"
	"gateway/store"
)

const (
	// guessers have an address each, and guess without pause.
	guessers = 8
	// cheapPerSecond is more first logins than a few processors hash.
	cheapPerSecond = 150
)

// ftpGuessing shows whether accounts with hashes of ours log in as fast while somebody
// guesses the passwords of accounts that came with a hash of some 4 s, as pure-pw makes
// them. With and without take turns; the rates that are noted are the medians.
func ftpGuessing(ctx context.Context, b *bench) error {
	length := time.Duration(b.options.guessing) * time.Second
	cheap := cheapPerSecond * b.options.guessing
	if err := b.gateway.importAccounts(ctx, cheap); err != nil {
		return err
	}
	target := b.ftpTargets(false)[0]
	first := func(i int) ftpTarget { t := target; t.user = fmt.Sprint("cheap", i%cheap); return t }
	again := func(int) ftpTarget { return target }
	for _, kind := range []struct {
		what string
		user func(i int) ftpTarget
	}{{"first logins, hashed", first}, {"logins from the memo", again}} {
		var quiet, guessed []float64
		var guesses int64
		for round := range b.options.rounds {
			for _, loud := range []bool{false, true} {
				b.progress.show("guessing: %s, round %d of %d, guessed %v", kind.what, round+1, b.options.rounds, loud)
				if err := b.gateway.restart(ctx); err != nil { // it remembers none
					return err
				}
				rate, tried, err := loginsFor(ctx, length, target, kind.user, loud)
				if err != nil {
					return fmt.Errorf("guessing: %s: %w", kind.what, err)
				}
				if loud {
					guessed, guesses = append(guessed, rate), guesses+tried
				} else {
					quiet = append(quiet, rate)
				}
			}
		}
		without, with := middle(quiet), middle(guessed)
		b.table.notes = append(b.table.notes, fmt.Sprintf("FTP %s, %d at once: %.1f per s, and %.1f while %d guess hashes of 4 s (%d tried in a round): ratio %.2f",
			kind.what, loginClients, without, with, guessers, guesses/int64(b.options.rounds), with/without))
	}
	return nil
}

// importAccounts stops the gateway, and gives it accounts as an import leaves them:
// dear ones, and so many cheap ones.
func (g *gateway) importAccounts(ctx context.Context, cheap int) error {
	g.stop()
	db, err := store.Open(ctx, filepath.Join(g.dir, "state", "gateway.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	accounts, err := auth.Open(ctx, db, auth.Config{})
	if err != nil {
		return err
	}
	dear, err := hashes.Foreign("$argon2id$v=19$m=8192,t=1023,p=1$" + strings.Repeat("A", 22) + "$" + base64.RawStdEncoding.EncodeToString(make([]byte, 32)))
	if err != nil {
		return err
	}
	put := func(name string, hash hashes.Hash) error {
		if _, err := accounts.Add(ctx, name, auth.New{Groups: []string{"users"}}); err != nil {
			return err
		}
		_, err := accounts.SetHash(ctx, name, hash)
		return err
	}
	for i := range guessers {
		if err := put(fmt.Sprint("dear", i), dear); err != nil {
			return err
		}
	}
	ours := hashes.New(benchPassword)
	for i := range cheap {
		if err := put(fmt.Sprint("cheap", i), ours); err != nil {
			return err
		}
	}
	return nil
}

// loginsFor logs in for that long, and says how many did in a second. With loud, others
// guess meanwhile, and tried is how many guesses came to an end, most of them put off.
func loginsFor(ctx context.Context, length time.Duration, at ftpTarget, user func(i int) ftpTarget, loud bool) (rate float64, tried int64, err error) {
	end, stop := context.WithTimeout(ctx, length)
	defer stop()
	var next, done, wrong atomic.Int64
	var guessing sync.WaitGroup
	if loud {
		for i := range guessers {
			guessing.Go(func() { guess(end, at, i, &wrong) })
		}
	}
	err = parallel(loginClients, func(int) error {
		for end.Err() == nil {
			t := user(int(next.Add(1)) - 1)
			if err := t.visit(ctx); err != nil {
				return err
			}
			done.Add(1)
		}
		return nil
	})
	stop()
	guessing.Wait()
	return float64(done.Load()) / length.Seconds(), wrong.Load(), err
}

// guess tries one password after the other of an account with a dear hash.
func guess(ctx context.Context, t ftpTarget, i int, wrong *atomic.Int64) {
	t.user = fmt.Sprint("dear", i)
	for n := 0; ctx.Err() == nil; n++ {
		t.password = fmt.Sprint("guess", n)
		if c, err := t.login(ctx, net.IPv4(127, 0, 1, byte(i+1))); err == nil {
			_ = c.Close()
		}
		wrong.Add(1)
	}
}
