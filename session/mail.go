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

// reaches reports whether mail may go to address. Where domains are named, a local
// part that a further host could take for a route to somewhere else (user%host,
// host!user) is nobody's mailbox in one of them.
func (l MailLimits) reaches(address string) bool {
	if len(l.Domains) == 0 {
		return true
	}
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || strings.ContainsAny(address[:at], "%!@\"") {
		return false
	}
	domain := strings.ToLower(address[at+1:])
	return slices.ContainsFunc(l.Domains, func(d string) bool {
		return d == domain || strings.HasPrefix(d, ".") && strings.HasSuffix(domain, d)
	})
}

// admits says why a message may not go to all of to, whatever was sent before: ErrDenied
// for somebody to whom nothing may be sent, ErrQuota for too many.
func (l MailLimits) admits(to []string) error {
	switch {
	case slices.ContainsFunc(to, func(address string) bool { return !l.reaches(address) }):
		return fmt.Errorf("%w: not a recipient to whom it may send", ErrDenied)
	case l.Recipients != 0 && int64(len(to)) > l.Recipients:
		return fmt.Errorf("%w: more than %d recipients of one message", ErrQuota, l.Recipients)
	default:
		return nil
	}
}

// A MailCounter counts what accounts and devices send. Its methods may be called from any
// goroutine; their refusals are *LimitError.
type MailCounter interface {
	// Room asks whether user, an account or "device:" and its name, may send one more message to that many more recipients,
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

// errMailUncounted is a limit where nobody counts.
var errMailUncounted = fmt.Errorf("%w: nobody counts mail", ErrUnavailable)

// mailLimit is a limit that a session is held to, and under which name it is counted.
type mailLimit struct {
	user string
	MailLimits
}

// mailLimits are those of the account, and of the device that it is.
func (s *Session) mailLimits() []mailLimit {
	limits := []mailLimit{{s.identity.User, s.identity.Mail}}
	if d := s.device; d != nil {
		own := d.Mail
		if !d.Anywhere && len(own.Domains) == 0 {
			own.Domains = []string{""} // which is no domain
		}
		limits = append(limits, mailLimit{deviceUser + d.Name, own})
	}
	return limits
}

// MessageBytes is how many bytes a message of the session may have; 0 is no limit.
func (s *Session) MessageBytes() (most int64) {
	for _, l := range s.mailLimits() {
		if l.Bytes != 0 && (most == 0 || l.Bytes < most) {
			most = l.Bytes
		}
	}
	return most
}

// MayMail asks whether the session may send one more message, to those recipients;
// none yet at the beginning. Nothing is counted. It returns ErrDenied if mail to one of
// them may not be sent at all, ErrQuota if a message may not have so many, and a
// *LimitError if the session must wait. What is refused is recorded.
//
// The rules are asked about the last recipient, for they were about the others before.
func (s *Session) MayMail(_ context.Context, from string, to []string) error {
	op := &Op{session: s, action: Action{Verb: Reject, Object: from, To: to}, began: time.Now()}
	last := Action{Verb: Accept, Object: from, To: to[max(0, len(to)-1):], Over: s.channel.Kind}
	if err := s.judge(op, last); err != nil {
		_ = op.record(OutcomeRefused, nil)
		return err
	}
	for _, l := range s.mailLimits() {
		err := l.admits(to)
		if err == nil && l.Counted() {
			if counter := s.attempt.gate.cfg.Mail; counter != nil {
				err = counter.Room(l.user, l.MailLimits, to)
			} else {
				err = errMailUncounted
			}
		}
		if err != nil {
			s.warnLimit(err)
			_ = op.record(OutcomeRefused, err)
			return err
		}
	}
	return nil
}

// takeMail counts a message to those recipients by all limits, or by none.
func (s *Session) takeMail(to []string) (giveBack func(), err error) {
	var taken []func()
	giveBack = func() {
		for _, back := range taken {
			back()
		}
	}
	for _, l := range s.mailLimits() {
		if err = l.admits(to); err == nil && l.Counted() {
			var back func()
			if back, err = s.take(l, to); err == nil {
				taken = append(taken, back)
			}
		}
		if err != nil {
			giveBack()
			return nil, err
		}
	}
	return giveBack, nil
}

func (s *Session) take(l mailLimit, to []string) (giveBack func(), err error) {
	counter := s.attempt.gate.cfg.Mail
	if counter == nil {
		return nil, errMailUncounted
	}
	giveBack, err = counter.Take(l.user, l.MailLimits, to)
	s.warnLimit(err)
	return giveBack, err
}

// warnLimit tells the operator of a limit once.
func (s *Session) warnLimit(err error) {
	if limit, ok := errors.AsType[*LimitError](err); ok && limit.First {
		s.attempt.gate.cfg.Log.Warn("a limit of mail is reached", "user", s.identity.User,
			"conn", s.attempt.peer.Conn, "limit", limit.What, "until", limit.Until)
	}
}
