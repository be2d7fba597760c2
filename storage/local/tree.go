package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"gateway/session"
	"gateway/storage"
)

// Tree is the folder that holds the accounts' folders.
type Tree struct {
	// Base is the folder; it must exist.
	Base string
	// Config is that of every account, but for the Ledger.
	Config Config
	// Home is the folder of an account that is not in Base, empty for one that is, and
	// Homes are the accounts of which it is not. Nil means none.
	Home  func(user string) string
	Homes func() []string
	// Ledger returns where Sweep tells of what it removes from the tree of an
	// account. Nil means that nobody counts.
	Ledger func(user string) storage.Ledger
}

// Open opens the folder of the account user. One in Base is made, for the gateway alone
// (0700), at its first use; a Home must be there. A name that is no plain folder name is refused with
// session.ErrName, whatever package auth thinks of it. What changes in it is told
// to ledger, unless that is nil.
func (t Tree) Open(user string, ledger storage.Ledger) (*FS, error) {
	if user == "." || strings.ContainsAny(user, `/\`) || checkName(user) != nil {
		return nil, fmt.Errorf("open the folder of account %q: %w", user, session.ErrName)
	}
	root, err := t.open(user)
	if err != nil {
		return nil, fmt.Errorf("open the folder of account %q: %w", user, err)
	}
	cfg := t.Config
	cfg.Ledger = ledger
	tree, err := newFS(root, cfg)
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return tree, nil
}

func (t Tree) open(user string) (*os.Root, error) {
	if t.Home != nil {
		if home := t.Home(user); home != "" {
			return os.OpenRoot(home)
		}
	}
	base, err := os.OpenRoot(t.Base)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	root, err := base.OpenRoot(user)
	if errors.Is(err, fs.ErrNotExist) {
		if err := base.Mkdir(user, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if err := syncRoot(base); err != nil {
			return nil, err
		}
		root, err = base.OpenRoot(user)
	}
	return root, err
}

// syncRoot puts the entries of a folder on stable storage.
func syncRoot(folder *os.Root) error {
	d, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Sweep sweeps the folders of all accounts, one after the other, and returns
// how many leftovers it removed. It goes on after an error and returns the first
// few of them.
func (t Tree) Sweep(ctx context.Context) (removed int, err error) {
	d, err := os.Open(t.Base)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	var faults faultList
	if t.Homes != nil {
		for _, user := range t.Homes() {
			removed += t.sweep(ctx, user, &faults)
		}
	}
	for {
		entries, err := d.ReadDir(sweepBatch)
		for _, e := range entries {
			if e.IsDir() && sayable(e.Name()) && (t.Home == nil || t.Home(e.Name()) == "") {
				removed += t.sweep(ctx, e.Name(), &faults)
			}
		}
		if ctx.Err() != nil {
			return removed, ctx.Err()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				faults.add(err)
			}
			return removed, faults.err()
		}
	}
}

// sweep sweeps the folder of one account.
func (t Tree) sweep(ctx context.Context, user string, faults *faultList) (removed int) {
	if ctx.Err() != nil {
		return 0
	}
	var ledger storage.Ledger
	if t.Ledger != nil {
		ledger = t.Ledger(user)
	}
	tree, err := t.Open(user, ledger)
	if err != nil {
		faults.add(err)
		return 0
	}
	removed, err = tree.Sweep(ctx)
	faults.add(err)
	_ = tree.Close()
	return removed
}

// sweepBatch is how many accounts are in memory at once.
const sweepBatch = 256

// maxFaults is how many errors of one sweep are kept.
const maxFaults = 8

// faultList keeps the first few errors.
type faultList struct{ list []error }

func (l *faultList) add(err error) {
	if err != nil && len(l.list) < maxFaults && !errors.Is(err, session.ErrNotExist) {
		l.list = append(l.list, err)
	}
}

func (l *faultList) err() error { return errors.Join(l.list...) }
