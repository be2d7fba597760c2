package main

import (
	"context"
	"errors"
	"testing"

	"gateway/config"
	"gateway/session"
	"gateway/storage"
	"gateway/storage/local"
	"gateway/transfer"
)

// loginsServer counts who is logged in.
type loginsServer struct {
	logins *[]string
	user   string
	closed *int
	tree   func() (storage.FS, error)
}

func (s loginsServer) Open(context.Context, string) (storage.FS, error) { return s.tree() }

func (s loginsServer) OpenFolder(context.Context, string) (storage.FS, error) {
	*s.logins = append(*s.logins, s.user)
	return s.tree()
}

func (s loginsServer) Close() error { *s.closed++; return nil }

// Sessions of one account share a login, other accounts and other passwords have another, and the
// last to leave ends it.
func TestOwnLogins(t *testing.T) {
	t.Parallel()
	made, closed, refuse := 0, 0, false
	var logins []string
	o := &ownLogins{open: func(r config.RemoteStorage) filesServer {
		made++
		return loginsServer{&logins, r.User, &closed, func() (storage.FS, error) {
			if refuse {
				return nil, session.ErrDenied
			}
			return local.Open(t.TempDir(), local.Config{})
		}}
	}}
	open := func(user, password string) storage.FS {
		t.Helper()
		tree, err := o.tree(t.Context(), transfer.Owner{User: user, Password: session.NewSecret(password)})
		if err != nil {
			t.Fatal(err)
		}
		return tree
	}
	end := func(tree storage.FS) {
		t.Helper()
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}
	joe, again := open("joe", "a"), open("joe", "a")
	ann, changed := open("ann", "a"), open("joe", "b")
	if made != 3 || closed != 0 {
		t.Errorf("made %d, closed %d", made, closed)
	}
	end(joe)
	if closed != 0 {
		t.Error("a login ended of which somebody has a tree")
	}
	end(again)
	end(again) // twice is once
	if closed != 1 {
		t.Errorf("closed %d, want 1", closed)
	}
	end(changed)
	end(ann)
	if closed != 3 || len(o.servers) != 0 {
		t.Errorf("closed %d, left %d", closed, len(o.servers))
	}
	if _, err := o.tree(t.Context(), transfer.Owner{User: "joe"}); !errors.Is(err, session.ErrDenied) || made != 3 {
		t.Errorf("without a password: %v, made %d", err, made)
	}
	refuse = true
	if _, err := o.tree(t.Context(), transfer.Owner{User: "joe", Password: session.NewSecret("c")}); err == nil || closed != 4 || len(o.servers) != 0 {
		t.Errorf("refused there: %v, closed %d, left %d", err, closed, len(o.servers))
	}
}
