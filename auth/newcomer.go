package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gateway/session"
)

// Newcomers says how accounts are made of names that the store does not have: By is asked
// about their passwords, and who has one that is right gets an account with it, in Groups.
type Newcomers struct {
	By     Elsewhere
	Groups []string
}

// newcomers is how accounts are made now; By is nil if they are not.
func (a *Accounts) newcomers() Newcomers {
	if a.cfg.Newcomers == nil {
		return Newcomers{}
	}
	return a.cfg.Newcomers(time.Now())
}

// verifyNewcomer asks about a name that the store does not have. Every such name is asked
// about, so that nothing tells which of them will have an account.
func (a *Accounts) verifyNewcomer(ctx context.Context, c session.Credential, n Newcomers) (session.Proof, error) {
	if badName(c.User) != "" {
		return session.Proof{}, session.ErrDenied
	}
	again, err := a.askElsewhere(ctx, c, n.By, func() error { return a.settle(ctx, c, n) })
	return session.Proof{Again: again, Changed: err == nil}, err
}

// settle makes the account of a newcomer. A password that none can have here stays where it
// is, and is asked about. That there is an account by now is no error.
func (a *Accounts) settle(ctx context.Context, c session.Credential, n Newcomers) error {
	made := New{Groups: n.Groups, Password: c.Secret}
	if checkPassword(c.Secret) != nil {
		made.Password = session.Secret{}
	}
	err := a.recorded(ctx, "old_server "+n.By.Name(), verbAdd, c.User, func() (Change, error) { return a.Add(ctx, c.User, made) })
	if err != nil && !errors.Is(err, ErrExist) {
		return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	return nil
}
