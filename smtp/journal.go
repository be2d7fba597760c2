package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"gateway/session"
)

// Journal keeps copies of what is accepted, where the rules ask for them
// (session.DataRules.Journal). *transfer.Journal is one by way of JournalFunc.
type Journal interface {
	// Begin begins the copy of a message that the rule asks for. name is one that no
	// other message has.
	Begin(ctx context.Context, s *session.Session, rule, name string) (Copy, error)
}

// Copy is a copy on its way. It is used by one goroutine.
type Copy interface {
	io.Writer
	// Commit returns nil once the copy is on stable storage under its name.
	Commit(ctx context.Context) error
	// Close gives back what the copy holds. A copy that was not committed is dropped,
	// and without keep one that was: the message was not accepted after all.
	Close(keep bool) error
}

// JournalFunc makes a Journal of a function.
type JournalFunc func(ctx context.Context, s *session.Session, rule, name string) (Copy, error)

// Begin calls f.
func (f JournalFunc) Begin(ctx context.Context, s *session.Session, rule, name string) (Copy, error) {
	return f(ctx, s, rule, name)
}

// copies are those of one message. No rule, no copy: all of it does nothing then.
type copies struct {
	list     []Copy
	accepted bool
}

// journal begins the copies of a message. Each begins with its envelope, which the
// message itself does not tell: who got a blind copy, for one.
func (c *conn) journal(ctx context.Context, id string) (*copies, error) {
	all := &copies{}
	for _, rule := range c.sess.Data().Journals() {
		if c.cfg.Journal == nil {
			return all, journalError(errors.New("there is no journal"))
		}
		one, err := c.cfg.Journal.Begin(ctx, c.sess, rule, id)
		if err != nil {
			c.endJournal(all)
			return all, journalError(err)
		}
		all.list = append(all.list, one)
	}
	if len(all.list) == 0 {
		return all, nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Return-Path: <%s>\r\nX-Envelope-To: <%s>\r\n", c.tx.from, strings.Join(c.tx.to, ">,\r\n <"))
	if _, err := io.WriteString(all, b.String()); err != nil {
		c.endJournal(all)
		return all, err
	}
	return all, nil
}

// journalError makes whatever goes wrong with a copy a reason to try again later:
// none of it is the sender's doing.
func journalError(err error) error {
	if err == nil {
		return nil
	}
	return &refusal{replyJournal, "copy for the journal: " + err.Error()}
}

// Write adds to all copies.
func (all *copies) Write(p []byte) (int, error) {
	for _, one := range all.list {
		if _, err := one.Write(p); err != nil {
			return 0, journalError(err)
		}
	}
	return len(p), nil
}

// commit puts all copies on stable storage.
func (all *copies) commit(ctx context.Context) error {
	for _, one := range all.list {
		if err := one.Commit(ctx); err != nil {
			return journalError(err)
		}
	}
	return nil
}

// endJournal keeps the copies of a message that was accepted, and drops all others.
func (c *conn) endJournal(all *copies) {
	for _, one := range all.list {
		if err := one.Close(all.accepted); err != nil {
			c.cfg.Log.Error("copy of mail not closed", "conn", c.attempt.Peer().Conn, "accepted", all.accepted, "err", err)
		}
	}
	all.list = nil
}
