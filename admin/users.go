package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gateway/auth"
	"gateway/queue"
	"gateway/session"
)

// User is an account as it is shown.
type User = auth.Info

// Name is a request about one account.
type Name struct {
	Name string `json:"name"`
}

// NewUser is a request to make an account. An empty password means none: the
// account needs a key.
type NewUser struct {
	Name     string   `json:"name"`
	Groups   []string `json:"groups"`
	Route    string   `json:"route"`
	Password string   `json:"password"`
	auth.AllowanceUpdate
}

// UserUpdate changes what is not nil.
type UserUpdate struct {
	Name    string     `json:"name"`
	Groups  *[]string  `json:"groups"`
	Route   *string    `json:"route"`
	Home    *string    `json:"home,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	auth.AllowanceUpdate
}

// ShownUser is an account with what comes of it and its groups together.
type ShownUser struct {
	User
	Access Access `json:"access"`
}

// Access is what an account may do with files and mail from its next login on.
type Access struct {
	Permissions []session.PathRule   `json:"permissions"`
	Quota       session.Quota        `json:"quota"`
	Shared      []session.GroupQuota `json:"shared"` // those of its groups
	Bandwidth   int64                `json:"bandwidth,omitempty"`
	Mail        session.MailLimits   `json:"mail,omitzero"`
}

// Passwd sets a password.
type Passwd struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// NameValue is a request about one thing of an account: a key file's content, a
// fingerprint, an address.
type NameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// change records a change of an account, makes it, and returns the account as
// it is afterwards.
func (s *Service) change(ctx context.Context, verb session.Verb, object string, do func() (auth.Change, error)) (User, error) {
	var after *User
	err := s.record(ctx, verb, object, func() (any, any, error) {
		c, err := do()
		after = c.After
		return c.Before, c.After, err
	})
	if err != nil || after == nil {
		return User{}, err
	}
	return *after, nil
}

// end ends the sessions of an account that changed so that they may no longer
// go on.
func (s *Service) end(user string) {
	if s.Gate != nil {
		s.Gate.Revoke(user)
	}
}

// redecide ends the sessions that a change leaves less than they have.
func (s *Service) redecide(ctx context.Context) {
	if s.Gate != nil {
		s.Gate.Redecide(context.WithoutCancel(ctx))
	}
}

func checkRoute(route string) error {
	if route == "" {
		return nil
	}
	if _, err := queue.ParseRoute(route); err != nil {
		return Usage("%w", err)
	}
	return nil
}

func (s *Service) userAdd(ctx context.Context, in NewUser) (User, error) {
	if err := checkRoute(in.Route); err != nil {
		return User{}, err
	}
	return s.change(ctx, verbAdd, "user "+in.Name, func() (auth.Change, error) {
		return s.Accounts.Add(ctx, in.Name, auth.New{
			Groups: in.Groups, Route: in.Route, Password: session.NewSecret(in.Password),
			Allowance: in.Of(auth.Allowance{}),
		})
	})
}

func (s *Service) userList(ctx context.Context, _ Nothing) ([]User, error) {
	list, err := s.Accounts.List(ctx)
	if list == nil {
		list = []User{}
	}
	return list, err
}

func (s *Service) userShow(ctx context.Context, in Name) (ShownUser, error) {
	user, err := s.Accounts.Show(ctx, in.Name)
	if err != nil {
		return ShownUser{}, err
	}
	account, err := s.Accounts.Account(ctx, in.Name)
	a := account.Identity.Access
	return ShownUser{User: user, Access: Access{
		Permissions: append([]session.PathRule{}, a.Rules...), Quota: a.Quota,
		Shared: append([]session.GroupQuota{}, a.Shared...), Bandwidth: a.Bandwidth,
		Mail: account.Identity.Mail,
	}}, err
}

func (s *Service) userSet(ctx context.Context, in UserUpdate) (User, error) {
	if in.Route != nil {
		if err := checkRoute(*in.Route); err != nil {
			return User{}, err
		}
	}
	if in.Home != nil {
		if err := s.checkHome(*in.Home); err != nil {
			return User{}, Usage("%w", err)
		}
	}
	return s.change(ctx, verbSet, "user "+in.Name, func() (auth.Change, error) {
		defer s.redecide(ctx)
		return s.Accounts.Set(ctx, in.Name, auth.Update{Groups: in.Groups, Route: in.Route, Home: in.Home, Expires: in.Expires, AllowanceUpdate: in.AllowanceUpdate})
	})
}

// userPasswd also ends the account's sessions: whoever held the old password is
// out.
func (s *Service) userPasswd(ctx context.Context, in Passwd) (User, error) {
	if in.Password == "" {
		return User{}, Usage("the password is empty")
	}
	return s.change(ctx, verbPasswd, "user "+in.Name, func() (auth.Change, error) {
		c, err := s.Accounts.SetPassword(ctx, in.Name, session.NewSecret(in.Password))
		if err == nil {
			s.end(in.Name)
		}
		return c, err
	})
}

// Follow records a change of an account that one of its sources is the cause of, and makes
// it (auth.Config.Recorded).
func (s *Service) Follow(ctx context.Context, by string, verb session.Verb, user string, do func() (auth.Change, error)) error {
	e := session.Event{Protocol: session.CLI, User: by}
	return s.recordBy(ctx, e, verb, "user "+user, func() (any, any, error) {
		c, err := do()
		return c.Before, c.After, err
	})
}

// authTest tries a password of an account, and records that somebody did.
func (s *Service) authTest(ctx context.Context, in Passwd) (auth.PasswordTest, error) {
	name := in.Name
	if _, err := s.Accounts.Show(ctx, name); err != nil {
		name = session.UnknownName(s.NameKey, name) // it may be a mistyped password
	}
	if err := s.Recorder.Commit(ctx, session.Event{
		Event: session.EventAdmin, Protocol: session.CLI, User: actor(ctx), Verb: verbTest, Object: "password of " + name, Outcome: session.OutcomeDone,
	}); err != nil {
		return auth.PasswordTest{}, err
	}
	return s.Accounts.TestPassword(ctx, in.Name, session.NewSecret(in.Password))
}

func (s *Service) userDisable(ctx context.Context, in Name) (User, error) {
	return s.change(ctx, verbDisable, "user "+in.Name, func() (auth.Change, error) {
		c, err := s.Accounts.Disable(ctx, in.Name)
		if err == nil {
			s.end(in.Name)
		}
		return c, err
	})
}

func (s *Service) userEnable(ctx context.Context, in Name) (User, error) {
	return s.change(ctx, verbEnable, "user "+in.Name, func() (auth.Change, error) { return s.Accounts.Enable(ctx, in.Name) })
}

func (s *Service) userRemove(ctx context.Context, in Name) (User, error) {
	return s.change(ctx, session.Remove, "user "+in.Name, func() (auth.Change, error) {
		c, err := s.Accounts.Remove(ctx, in.Name)
		if err == nil {
			s.end(in.Name)
		}
		return c, err
	})
}

func (s *Service) keyAdd(ctx context.Context, in NameValue) (User, error) {
	return s.change(ctx, verbAdd, "key of "+in.Name, func() (auth.Change, error) {
		return s.Accounts.AddKeys(ctx, in.Name, []byte(in.Value))
	})
}

func (s *Service) keyOffered(ctx context.Context, in Name) ([]auth.OfferedKey, error) {
	list, err := s.Accounts.OfferedKeys(ctx, in.Name)
	if list == nil {
		list = []auth.OfferedKey{}
	}
	return list, err
}

func (s *Service) keyAccept(ctx context.Context, in NameValue) (User, error) {
	return s.change(ctx, verbAccept, "key of "+in.Name, func() (auth.Change, error) {
		return s.Accounts.AcceptKey(ctx, in.Name, in.Value)
	})
}

// keyRemove also ends the account's sessions: one of them may have come in by
// that key.
func (s *Service) keyRemove(ctx context.Context, in NameValue) (User, error) {
	return s.change(ctx, session.Remove, "key of "+in.Name, func() (auth.Change, error) {
		c, err := s.Accounts.RemoveKey(ctx, in.Name, in.Value)
		if err == nil {
			s.end(in.Name)
		}
		return c, err
	})
}

// Enrol gives the account of a session the keys of a file that the session brought
// (auth.Accounts.Enrol). It is recorded as a change by that account. The error is
// session.ErrUnavailable unless the keys are not good.
func (s *Service) Enrol(ctx context.Context, by *session.Session, file []byte) error {
	if !by.MayEnrol() {
		return session.ErrDenied
	}
	user := by.Identity().User
	return s.enrolBy(ctx, by, "key of "+user, func(ctx context.Context) (auth.Change, error) { return s.Accounts.Enrol(ctx, user, file) })
}

// EnrolOffered is Enrol for keys that the client of a session offered before it
// logged in by password (auth.Accounts.EnrolOffered). Where there is nothing to
// change, nothing is recorded.
func (s *Service) EnrolOffered(ctx context.Context, by *session.Session, keys []session.Key) error {
	if !by.MayEnrolOffered() {
		return session.ErrDenied
	}
	user := by.Identity().User
	if len(s.Accounts.Enrollable(user, keys)) == 0 {
		return nil
	}
	return s.enrolBy(ctx, by, "offered key of "+user, func(ctx context.Context) (auth.Change, error) {
		return s.Accounts.EnrolOffered(ctx, user, keys, by.Peer().Remote.Addr())
	})
}

// enrolBy records a change of its own account by a session, and makes it.
func (s *Service) enrolBy(ctx context.Context, by *session.Session, object string, enrol func(context.Context) (auth.Change, error)) error {
	p := by.Peer()
	e := session.Event{
		Conn: p.Conn, Session: by.ID(), Listener: p.Listener, Protocol: p.Protocol, Remote: p.Remote, User: by.Identity().User, Method: by.Method(),
	}
	// Nothing is begun any more for a session that was ended meanwhile, as by a new
	// password.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer by.AfterDone(cancel)()
	var refused error
	err := s.recordBy(ctx, e, verbEnrol, object, func() (any, any, error) {
		c, err := enrol(ctx)
		if errors.Is(err, auth.ErrInvalid) || errors.Is(err, auth.ErrNotExist) {
			refused = err
		}
		return c.Before, c.After, err
	})
	if err == nil || refused != nil {
		return err
	}
	return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
}

func (s *Service) addressAdd(ctx context.Context, in NameValue) (User, error) {
	return s.change(ctx, verbAdd, "address of "+in.Name, func() (auth.Change, error) {
		return s.Accounts.AddAddress(ctx, in.Name, in.Value)
	})
}

func (s *Service) addressRemove(ctx context.Context, in NameValue) (User, error) {
	return s.change(ctx, session.Remove, "address of "+in.Name, func() (auth.Change, error) {
		return s.Accounts.RemoveAddress(ctx, in.Name, in.Value)
	})
}

// totpAdd returns the secret, which the record never holds.
func (s *Service) totpAdd(ctx context.Context, in NameValue) (auth.TOTP, error) {
	var made auth.TOTP
	_, err := s.change(ctx, verbAdd, "one-time codes of "+in.Name, func() (auth.Change, error) {
		totp, c, err := s.Accounts.AddTOTP(ctx, in.Name, in.Value)
		made = totp
		return c, err
	})
	return made, err
}

func (s *Service) totpRemove(ctx context.Context, in Name) (User, error) {
	return s.change(ctx, session.Remove, "one-time codes of "+in.Name, func() (auth.Change, error) {
		return s.Accounts.RemoveTOTP(ctx, in.Name)
	})
}
