package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gateway/config"
	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote"
	"gateway/storage/remote/ftpfiles"
	"gateway/transfer"
)

// A filesServer is a server behind the gateway.
type filesServer interface {
	// Open opens the folder of an account.
	Open(ctx context.Context, user string) (storage.FS, error)
	Close() error
}

// An upstream keeps the files of accounts in some groups.
type upstream struct {
	config.RemoteStorage
	server filesServer
}

func newUpstreams(list []config.RemoteStorage) []upstream {
	var out []upstream
	for _, r := range list {
		var server filesServer = remote.New(r.Config)
		if r.FTP != nil {
			server = ftpfiles.New(*r.FTP)
		}
		out = append(out, upstream{r, server})
	}
	return out
}

// openFiles opens the files of an account: on the first server that is named for one of its
// groups, or else on this machine.
func (n *node) openFiles(whose transfer.Owner, ledger storage.Ledger) (storage.FS, error) {
	user := whose.User
	groups := n.accounts.GroupsOf(user)
	for _, u := range n.remote {
		if !slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(u.Groups, g) }) {
			continue
		}
		if ledger != nil {
			return nil, fmt.Errorf("the files of account %q are in storage %q, which keeps no quotas: take its quota away, and those of its groups: %w", user, u.Name, session.ErrUnsupported)
		}
		f, err := u.server.Open(context.Background(), user) // which has a time-out of its own
		if err != nil {
			return nil, fmt.Errorf("storage %q: %w", u.Name, err)
		}
		return f, nil
	}
	return n.tree.Open(user, ledger)
}

// closeUpstreams ends the connections.
func (n *node) closeUpstreams() error {
	var errs []error
	for _, u := range n.remote {
		errs = append(errs, u.server.Close())
	}
	return errors.Join(errs...)
}
