package auth

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"gateway/session"
)

// A PasswordTest is what became of a password that an administrator tried.
type PasswordTest struct {
	User   string `json:"user"`
	Exists bool   `json:"exists"` // here, or at a source
	Usable bool   `json:"usable"` // neither disabled nor expired
	// By is who answered: "store", the name of a source or server, or empty for nobody.
	By    string `json:"by,omitempty"`
	Right bool   `json:"right"`
	// Why says it in words.
	Why string `json:"why"`
	// Sources are all of them in the order in which they are asked, if there are any.
	Sources []SourceTest `json:"sources,omitempty"`
}

// A SourceTest is what one source said of a name.
type SourceTest struct {
	Name   string `json:"name"`
	Answer string `json:"answer"`
}

// TestPassword says who would answer for a password of an account, and what. Nothing is
// stored or remembered of it.
func (a *Accounts) TestPassword(ctx context.Context, name string, password session.Secret) (PasswordTest, error) {
	r, err := a.find(ctx, name)
	if err != nil {
		return PasswordTest{User: name}, err
	}
	t := PasswordTest{User: name, Exists: r != nil, Usable: r != nil && !r.info.over(time.Now())}
	switch by := a.elsewhere(r); {
	case a.sourced(r):
		if r != nil {
			t.Why = "it comes from the source " + r.info.Source + ", which gateway.hcl does not have any more"
		}
		a.testSources(ctx, &t, r, password)
		return t, nil
	case r == nil && a.newcomers().By != nil:
		by := a.newcomers().By
		t.By, t.Why = by.Name(), "there is no such account yet, and this server was asked"
		if t.Right, err = by.Ask(ctx, name, password); err != nil {
			t.Why = "there is no such account yet, and this server gave no answer: " + err.Error()
		}
		t.Exists, t.Usable = t.Right, t.Right // by that login
	case r == nil:
		t.Why = "there is no such account; nobody else is asked about names that do not exist"
	case r.unreadable != nil:
		t.Why = "the hash in the store cannot be used: set another password (gateway user passwd " + name + ")"
	case r.password != 0:
		_, t.Right = a.storedOf(r).matches(password.Reveal())
		t.By, t.Why = "store", "compared with the "+r.hash.Scheme()+" in the store"
	case by == nil:
		t.Why = "the account has no password, and none of its groups has an old_server that is asked"
	default:
		t.By, t.Why = by.Name(), "the account has no password here, and this server was asked"
		if t.Right, err = by.Ask(ctx, name, password); err != nil {
			t.Why = "the account has no password here, and this server gave no answer: " + err.Error()
		}
	}
	for _, s := range a.sources.all {
		t.note(s, a.beside(ctx, s, name))
	}
	return t, nil
}

func (t *PasswordTest) note(s Source, answer string) {
	t.Sources = append(t.Sources, SourceTest{s.Name(), answer})
}

// beside says whether a source has an account of a name that the store answers for.
func (a *Accounts) beside(ctx context.Context, s Source, name string) string {
	found, err := s.Find(ctx, Question{User: name})
	switch {
	case err != nil:
		return "is not asked, for the store has the name; it would give no answer: " + err.Error()
	case found != nil:
		return "is not asked, for the store has the name; it has an account of that name too, which can never log in here"
	default:
		return "is not asked, for the store has the name"
	}
}

// testSources asks about an account that is not one of the store: r is nil, or one that a
// source has.
func (a *Accounts) testSources(ctx context.Context, t *PasswordTest, r *record, password session.Secret) {
	if r == nil {
		t.Why = "neither the store nor a source has such an account"
	}
	for i, s := range a.sources.all {
		if r != nil && s.Name() != r.info.Source {
			t.note(s, "is not asked, for the account comes from "+r.info.Source)
			continue
		}
		answer, last := a.testSource(ctx, t, s, password)
		t.note(s, answer)
		if !last && r == nil {
			continue
		}
		t.By, t.Why = s.Name(), answer
		if r != nil && r.info.Disabled {
			t.Usable = false // what is said here counts first
		}
		if r == nil {
			for _, later := range a.sources.all[i+1:] {
				t.note(later, "is not asked, for "+s.Name()+" answers")
			}
			return
		}
	}
}

// testSource tries a password at one source. last says that nobody is asked after it.
func (a *Accounts) testSource(ctx context.Context, t *PasswordTest, s Source, password session.Secret) (answer string, last bool) {
	if reason := badName(t.User); reason != "" {
		return "is not asked, for no account can have that name: " + reason, false
	}
	var said *Said
	found, right, err := s.Check(ctx, Question{User: t.User, Remote: netip.Addr{}, Method: session.MethodPassword}, password)
	if err == nil && found != nil {
		var checked Said
		checked, err = found.checked()
		said = &checked
	}
	switch {
	case err != nil:
		t.Usable = false
		return "gives no answer, so that a login fails for the moment: " + err.Error(), true
	case said == nil:
		t.Usable = false
		return "has no such account", false
	}
	t.Exists, t.Usable, t.Right = true, !said.Disabled, right
	groups := "in no group that the gateway knows"
	if len(said.Groups) > 0 {
		groups = "in " + strings.Join(said.Groups, ", ")
	}
	state, verdict := "", "the password is wrong"
	if said.Disabled {
		state = ", disabled there"
	}
	if right {
		verdict = "the password is right"
	}
	return fmt.Sprintf("has the account, %s%s; %s", groups, state, verdict), true
}
