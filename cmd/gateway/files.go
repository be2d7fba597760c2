package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gateway/config"
	"gateway/session"
	"gateway/storage"
	"gateway/storage/mount"
	"gateway/storage/remote"
	"gateway/storage/remote/ftpfiles"
	"gateway/transfer"
)

// A filesServer is a server behind the gateway.
type filesServer interface {
	// Open opens the folder of an account, and makes it at its first use.
	Open(ctx context.Context, user string) (storage.FS, error)
	// OpenFolder opens a folder that is there; "." is where whoever logged in begins.
	OpenFolder(ctx context.Context, folder string) (storage.FS, error)
	Close() error
}

// An upstream keeps the files of accounts in some groups, or what is mounted in their trees.
type upstream struct {
	config.RemoteStorage
	server filesServer // nil if each account logs in by itself
	own    *ownLogins  // else nil
}

func newUpstreams(list []config.RemoteStorage) []upstream {
	var out []upstream
	for _, r := range list {
		u := upstream{RemoteStorage: r}
		if r.OwnLogin() {
			u.own = &ownLogins{storage: r, open: newFilesServer}
		} else {
			u.server = newFilesServer(r)
		}
		out = append(out, u)
	}
	return out
}

func newFilesServer(r config.RemoteStorage) filesServer {
	if r.FTP != nil {
		return ftpfiles.New(*r.FTP)
	}
	return remote.New(r.Config)
}

// serves reports whether it is for accounts in some groups.
func (u *upstream) serves(groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(u.Groups, g) })
}

// open opens what an account has there.
func (u *upstream) open(ctx context.Context, whose transfer.Owner) (tree storage.FS, err error) {
	if u.server != nil {
		tree, err = u.server.Open(ctx, whose.User)
	} else {
		tree, err = u.own.tree(ctx, whose)
	}
	if err != nil {
		return nil, fmt.Errorf("storage %q: %w", u.Name, err)
	}
	return tree, nil
}

// openFiles opens the files of an account: on the first server that is named for one of its
// groups, or else on this machine; with what other servers have for it mounted in.
func (n *node) openFiles(whose transfer.Owner, ledger storage.Ledger) (storage.FS, error) {
	ctx := context.Background() // the servers have time-outs of their own
	groups := n.accounts.GroupsOf(whose.User)
	var whole *upstream
	var mounts []mount.Mount
	for i := range n.remote {
		u := &n.remote[i]
		point := u.MountPoint()
		switch taken := func(m mount.Mount) bool { return m.Point == point }; {
		case !u.serves(groups):
		case point == "":
			if whole == nil {
				whole = u
			}
		case !slices.ContainsFunc(mounts, taken):
			mounts = append(mounts, mount.Mount{Point: point, Open: func(ctx context.Context) (storage.FS, error) {
				tree, err := u.open(ctx, whose)
				if err != nil {
					n.log.Warn("a mounted storage cannot be opened", "user", whose.User, "storage", u.Name, "err", err)
				}
				return tree, err
			}})
		}
	}
	tree, err := n.openWhole(ctx, whole, whose, ledger)
	if err != nil || len(mounts) == 0 {
		return tree, err
	}
	return mount.New(tree, mounts...), nil
}

// openWhole opens the tree without what is mounted.
func (n *node) openWhole(ctx context.Context, whole *upstream, whose transfer.Owner, ledger storage.Ledger) (storage.FS, error) {
	switch {
	case whole == nil:
		return n.tree.Open(whose.User, ledger)
	case ledger != nil:
		return nil, fmt.Errorf("the files of account %q are in storage %q, which keeps no quotas: take its quota away, and those of its groups: %w",
			whose.User, whole.Name, session.ErrUnsupported)
	default:
		return whole.open(ctx, whose)
	}
}

// handsOn reports whether accounts in some groups log in to a server behind by themselves.
func (n *node) handsOn(groups []string) bool {
	return slices.ContainsFunc(n.remote, func(u upstream) bool { return u.own != nil && u.serves(groups) })
}

// closeUpstreams ends the connections.
func (n *node) closeUpstreams() error {
	var errs []error
	for _, u := range n.remote {
		if u.server != nil {
			errs = append(errs, u.server.Close())
		}
	}
	return errors.Join(errs...)
}
