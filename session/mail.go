package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MailLimits are how much mail an account may send, and to whom. Zero is no limit.
// Hours and days are those of the clock, in UTC.
type MailLimits struct {
	MessagesPerHour   int64 `json:"messages_per_hour,omitempty"`
	MessagesPerDay    int64 `json:"messages_per_day,omitempty"`
	RecipientsPerHour int64 `json:"recipients_per_hour,omitempty"`
	RecipientsPerDay  int64 `json:"recipients_per_day,omitempty"`
	// NewRecipientsPerDay bounds those to whom the account has never written while it
	// had this limit. Whoever stole a credential writes to strangers.
	NewRecipientsPerDay int64 `json:"new_recipients_per_day,omitempty"`
	Recipients          int64 `json:"recipients,omitempty"` // of one message
	Bytes               int64 `json:"bytes,omitempty"`      // of one message, as it is sent
	// Domains are the only ones to which mail may go, in lower case; a leading "."
	// stands for every domain below.
	Domains []string `json:"domains,omitempty"`
}

// Counted reports whether anything has to be counted for the limits.
func (l MailLimits) Counted() bool {
	return l.MessagesPerHour != 0 || l.MessagesPerDay != 0 || l.RecipientsPerHour != 0 || l.RecipientsPerDay != 0 ||
		l.NewRecipientsPerDay != 0
}

// reaches reports whether mail may go to address.
func (l MailLimits) reaches(address string) bool {
	domain := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
	return len(l.Domains) == 0 || slices.ContainsFunc(l.Domains, func(d string) bool {
		return d == domain || strings.HasPrefix(d, ".") && strings.HasSuffix(domain, d)
	})
}

// A MailCounter counts what accounts send. Its methods may be called from any
// goroutine; their refusals are *LimitError.
type MailCounter interface {
	// Room asks whether user may send one more message to that many more recipients,
	// those in to.
	Room(user string, l MailLimits, to []string) error
	// Take counts a message. giveBack takes it back when it was not accepted; it is
	// called at most once.
	Take(user string, l MailLimits, to []string) (giveBack func(), err error)
}

// A LimitError is a limit on an account's mail that was reached.
type LimitError struct {
	What  string    // "100 messages an hour"
	Until time.Time // when there will be room again
	First bool      // nobody was refused for it before, within this hour or day
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("limit of %s reached, until %s", e.What, e.Until.UTC().Format("2006-01-02 15:04 UTC"))
}

// Unwrap makes it an ErrTooMany.
func (e *LimitError) Unwrap() error { return ErrTooMany }

// errMailUncounted is an account with limits where nobody counts.
var errMailUncounted = fmt.Errorf("%w: nobody counts the account's mail", ErrUnavailable)

// MayMail asks whether the session may send one more message, to those recipients,
// of which the last one is new; none yet at the beginning. Nothing is counted. It
// returns ErrDenied if mail to the last one may not be sent at all, ErrQuota if a
// message may not have so many, and a *LimitError if the account must wait. What is
// refused is recorded.
func (s *Session) MayMail(_ context.Context, from string, to []string) error {
	l := s.identity.Mail
	var err error
	switch {
	case len(to) > 0 && !l.reaches(to[len(to)-1]):
		err = fmt.Errorf("%w: no recipient domain of the account", ErrDenied)
	case l.Recipients != 0 && int64(len(to)) > l.Recipients:
		err = fmt.Errorf("%w: more than %d recipients of one message", ErrQuota, l.Recipients)
	case !l.Counted():
	case s.attempt.gate.cfg.Mail == nil:
		err = errMailUncounted
	default:
		err = s.attempt.gate.cfg.Mail.Room(s.identity.User, l, to)
	}
	if err != nil {
		op := &Op{session: s, action: Action{Verb: Reject, Object: from, To: to}, began: time.Now()}
		s.warnLimit(err)
		_ = op.record(OutcomeRefused, err)
	}
	return err
}

// takeMail counts the message of an Accept that begins.
func (s *Session) takeMail(a Action) (giveBack func(), err error) {
	l := s.identity.Mail
	switch {
	case a.Verb != Accept || !l.Counted():
		return func() {}, nil
	case s.attempt.gate.cfg.Mail == nil:
		return nil, errMailUncounted
	}
	giveBack, err = s.attempt.gate.cfg.Mail.Take(s.identity.User, l, a.To)
	s.warnLimit(err)
	return giveBack, err
}

// warnLimit tells the operator of a limit once.
func (s *Session) warnLimit(err error) {
	if limit, ok := errors.AsType[*LimitError](err); ok && limit.First {
		s.attempt.gate.cfg.Log.Warn("an account has reached a limit of its mail", "user", s.identity.User,
			"conn", s.attempt.peer.Conn, "limit", limit.What, "until", limit.Until)
	}
}
