package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"gateway/config"
	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// ownLogins are the logins of accounts at a server behind, each with the password of its own
// sessions. The sessions of one account share one, so that they know of each other's uploads;
// two accounts never do.
type ownLogins struct {
	storage config.RemoteStorage
	open    func(config.RemoteStorage) filesServer

	mu      sync.Mutex
	servers map[string]*ownLogin // by account
}

// ownLogin is that of one account, for as long as somebody has a tree open.
type ownLogin struct {
	filesServer
	password session.Secret
	trees    int
}

// tree logs in as the account, unless it is, and opens its folder.
func (o *ownLogins) tree(ctx context.Context, whose transfer.Owner) (storage.FS, error) {
	if whose.Password.Empty() {
		return nil, fmt.Errorf("%w: the account logs in there with its own password, which only a login by password brings, and not one by a key, a certificate, a token or SCRAM", session.ErrDenied)
	}
	server := o.take(whose)
	tree, err := server.OpenFolder(ctx, strings.ReplaceAll(o.storage.Folder(), "{user}", whose.User))
	if err != nil {
		return nil, errors.Join(err, o.giveBack(whose.User, server))
	}
	return ownTree{tree, sync.OnceValue(func() error { return o.giveBack(whose.User, server) })}, nil
}

// take returns the account's login. With another password than before it is another one.
func (o *ownLogins) take(whose transfer.Owner) *ownLogin {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.servers[whose.User]
	if s == nil || s.password != whose.Password {
		s = &ownLogin{filesServer: o.open(o.storage.As(whose.User, whose.Password)), password: whose.Password}
		if o.servers == nil {
			o.servers = make(map[string]*ownLogin)
		}
		o.servers[whose.User] = s
	}
	s.trees++
	return s
}

// giveBack ends a login that nobody needs any more.
func (o *ownLogins) giveBack(user string, s *ownLogin) error {
	o.mu.Lock()
	s.trees--
	over := s.trees == 0
	if over && o.servers[user] == s {
		delete(o.servers, user)
	}
	o.mu.Unlock()
	if !over {
		return nil
	}
	return s.Close()
}

// ownTree is a tree that is given back when it is closed.
type ownTree struct {
	storage.FS
	giveBack func() error
}

func (t ownTree) Close() error { return errors.Join(t.FS.Close(), t.giveBack()) }
