package auth

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"gateway/session"
)

// An Elsewhere knows passwords that are not stored here: the server that accounts come
// from, or a directory.
type Elsewhere interface {
	Name() string
	// Store reports whether a password that is right is to be stored here from then on.
	Store() bool
	// Ask reports whether a password is right. The error, a session.ErrUnavailable, says
	// nothing about it.
	Ask(ctx context.Context, user string, password session.Secret) (right bool, err error)
}

// asked is the number that stands for a password elsewhere in the memo: no credential here
// has it.
const asked = -1

// elsewhere is who is asked about an account, nil for nobody: only of one without a
// password here.
func (a *Accounts) elsewhere(r *record) Elsewhere {
	if r == nil || r.info.Source != "" || r.password != 0 || r.unreadable != nil || a.cfg.Elsewhere == nil {
		return nil
	}
	return a.cfg.Elsewhere(r.info.Groups, time.Now())
}

// verifyElsewhere asks whether a password of an account is right. What is right is asked
// again, unless it is stored.
func (a *Accounts) verifyElsewhere(ctx context.Context, c session.Credential, r *record, by Elsewhere) (again bool, err error) {
	return a.askElsewhere(ctx, c, by, func() error {
		if !by.Store() {
			return nil
		}
		return a.keep(ctx, c, r)
	})
}

// askElsewhere asks whether a password is right, one question for those who offer the same
// at the same time, of whom one does what follows a yes. What was wrong is not asked again
// for a while.
func (a *Accounts) askElsewhere(ctx context.Context, c session.Credential, by Elsewhere, yes func() error) (again bool, err error) {
	name := a.memo.name(c.User)
	proof := a.memo.proof(name, asked, c.Secret.Reveal())
	if right, known := a.memo.recall(name, proof, time.Now()); known && !right {
		return true, session.ErrDenied
	}
	one, pilot := a.flights.join(proof)
	if pilot {
		func() {
			defer a.flights.land(proof, one)
			one.err = session.ErrUnavailable // stays if it panics
			one.right, one.err = by.Ask(ctx, c.User, c.Secret)
		}()
		if a.cfg.Asked != nil {
			a.cfg.Asked(c.User, by.Name(), one.right, one.err)
		}
	} else {
		select {
		case <-one.done:
		case <-ctx.Done():
			return false, notHashed(context.Cause(ctx))
		}
	}
	switch {
	case one.err != nil:
		return false, one.err
	case !one.right:
		a.memo.remember(name, proof, false, time.Now())
		return false, session.ErrDenied
	case pilot:
		return false, yes()
	default:
		return false, nil
	}
}

// errHasPassword is an account that got a password meanwhile.
var errHasPassword = errors.New("the account has a password by now")

// keep stores a password that is right elsewhere. If that fails it is right all the same,
// and is asked about again.
func (a *Accounts) keep(ctx context.Context, c session.Credential, r *record) error {
	made, err := a.newSecrets(c.Secret)
	if err == nil {
		_, err = a.edit(ctx, "keep password of", c.User, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
			if before.id != r.id || before.password != 0 {
				return errHasPassword
			}
			return putPassword(ctx, tx, before.id, made, now)
		})
	}
	if errors.Is(err, errHasPassword) {
		return session.ErrDenied // it is the one that counts now
	}
	if err != nil {
		a.cfg.Log.Error("a password that is right elsewhere is not stored", "user", c.User, "err", err)
	}
	return nil
}
