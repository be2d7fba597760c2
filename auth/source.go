package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gateway/session"
)

// A Source knows accounts that the store does not: a directory, or a program that is asked
// over HTTP. Errors are session.ErrUnavailable: nothing is known of the name then.
type Source interface {
	Name() string
	// Find returns what the source says of an account, nil if it has none of that name.
	Find(ctx context.Context, q Question) (*Said, error)
	// Check is Find, and says whether a password, which is not empty, is right.
	Check(ctx context.Context, q Question, password session.Secret) (said *Said, right bool, err error)
	// Decoy takes as long as Check of a wrong password, for a name that nobody has. It shows
	// the source no password: the name may be one that was mistyped.
	Decoy(ctx context.Context, q Question) error
}

// A Question is about whom a Source is asked, and on whose behalf. What is said of an
// account holds for all who ask.
type Question struct {
	User string
	// Remote is who names the account; the zero Addr if nobody connected. Protocol, Listener
	// and Method are those of a password that is to be checked.
	Remote   netip.Addr
	Protocol session.Protocol
	Listener string
	Method   session.Method
}

// Said is what a Source says of an account.
type Said struct {
	Groups []string
	// Addresses are its mail senders, nil if the source says nothing of them. Home is the
	// folder of its files, empty likewise.
	Addresses []string
	Home      string
	Disabled  bool
}

// checked returns what was said in the form in which an account has it, or why no account
// can be so. Mail addresses that none can have are left out: a directory is full of them,
// and who lacks one hears so when it is used. A pattern would be everybody's.
func (s Said) checked() (Said, error) {
	groups, err := checkGroups(s.Groups)
	if err != nil {
		return Said{}, err
	}
	if err := CheckHome(s.Home); err != nil {
		return Said{}, err
	}
	out := Said{Groups: groups, Home: s.Home, Disabled: s.Disabled}
	if s.Addresses == nil {
		return out, nil
	}
	out.Addresses = []string{}
	for _, text := range s.Addresses {
		address, err := ParseAddress(text)
		if err == nil && !strings.HasPrefix(address, "@") && !strings.Contains(address, "*") && len(out.Addresses) < maxAddresses {
			out.Addresses = append(out.Addresses, address)
		}
	}
	out.Addresses = sortedSet(out.Addresses)
	return out, nil
}

// differs reports whether the account is not as was said.
func (s *Said) differs(i *Info) bool {
	if s == nil {
		return !i.Barred
	}
	return s.Disabled != i.Barred || !slices.Equal(s.Groups, i.Groups) ||
		s.Addresses != nil && !slices.Equal(s.Addresses, i.Addresses) || s.Home != "" && s.Home != i.Home
}

// CheckSourceName returns nil if a source may have that name.
func CheckSourceName(name string) error {
	if name == "" || name == "store" || strings.ContainsAny(name, " \t\r\n\"") {
		return errors.New(`the name of a source is a word without spaces, and not "store"`)
	}
	return nil
}

// HomeBelow is the folder of an account's files that a source names, which must be below
// another: what a directory says must not open the rest of this machine.
func HomeBelow(folder, named string) (string, error) {
	if folder == "" || named == "" {
		return "", nil
	}
	if !filepath.IsAbs(named) {
		named = filepath.Join(folder, named)
	}
	rel, err := filepath.Rel(folder, named)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return "", fmt.Errorf("its home is %q, which is not below %s", clip(named), folder)
	}
	return filepath.Clean(named), nil
}

// sources are those that are asked, in their order, with what they said lately.
type sources struct {
	all    []Source
	budget func(source netip.Addr) error // nil is none
	lately said
	// following is held while accounts here are made or changed to what was said.
	following sync.Mutex
	// altered holds one when sessions of accounts may have to end by that.
	altered chan struct{}
}

// named returns the source of that name, nil if there is none.
func (s *sources) named(name string) Source {
	for _, one := range s.all {
		if one.Name() == name {
			return one
		}
	}
	return nil
}

// An answer is what came of asking the sources about a name.
type answer struct {
	by   Source // who has the account, nil for nobody
	said *Said  // nil if nobody has it
}

// ask asks about a name: the source of that account if there is one here, or else one after
// the other, until one has it. One that does not answer ends that: the name may be its. A
// name that no account can have is not asked about.
func (s *sources) ask(ctx context.Context, q Question, of string) (answer, error) {
	if badName(q.User) != "" {
		return answer{}, nil
	}
	for _, one := range s.all {
		if of != "" && one.Name() != of {
			continue
		}
		found, err := one.Find(ctx, q)
		if err != nil {
			return answer{}, notSaid(one, err)
		}
		if found != nil {
			checked, err := found.checked()
			if err != nil {
				return answer{}, notSaid(one, err)
			}
			return answer{by: one, said: &checked}, nil
		}
	}
	return answer{}, nil
}

// notSaid is the error of a source that gave no answer, or one that cannot be used.
func notSaid(by Source, err error) error {
	return fmt.Errorf("source %q: %w: %w", by.Name(), session.ErrUnavailable, err)
}

// answerOf returns what is said of a name, from memory if that is not too old. Whoever asks
// is charged for each name that was not asked about lately.
func (s *sources) answerOf(ctx context.Context, name nameMAC, q Question, of string) (answer, error) {
	if known, fresh := s.lately.recall(name, time.Now()); fresh {
		return known, nil
	}
	if err := s.charge(name, q.Remote); err != nil {
		return answer{}, err
	}
	one, pilot := s.lately.join(name)
	if !pilot {
		select {
		case <-one.done:
			return one.answer, one.err
		case <-ctx.Done():
			return answer{}, fmt.Errorf("%w: %w", session.ErrUnavailable, context.Cause(ctx))
		}
	}
	defer s.lately.land(name, one)
	one.err = session.ErrUnavailable // stays if it panics
	// Others wait for it too: who asked first may leave.
	one.answer, one.err = s.ask(context.WithoutCancel(ctx), q, of)
	return one.answer, one.err
}

// charge takes note that a name was asked about, of which the store or a source may have
// an account, or nobody: all of them cost who asks the same.
func (s *sources) charge(name nameMAC, remote netip.Addr) error {
	now := time.Now()
	if s.lately.noted(name, now) || !remote.IsValid() {
		return nil
	}
	if s.budget != nil {
		if err := s.budget(remote); err != nil {
			return err
		}
	}
	s.lately.note(name, now)
	return nil
}
