package smtp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"gateway/queue"
	"gateway/session"
	"gateway/smtp/dkim"
)

// envelope is what MAIL and RCPT said.
type envelope struct {
	from queue.Address
	to   []string // their addresses
	// recipients are the same with what was asked for each.
	recipients []queue.EnvelopeRecipient
	utf8       bool
	said       parameters // of MAIL
}

// transaction is conn as go-smtp calls it. All calls come from one goroutine,
// since go-smtp never sees BDAT.
type transaction struct{ conn *conn }

var _ gosmtp.AuthSession = (*transaction)(nil)

// Mail begins a transaction (RFC 5321, section 4.1.1.2).
func (t *transaction) Mail(from string, options *gosmtp.MailOptions) error {
	c := t.conn
	if c.sess == nil {
		if err := c.enter(); err != nil {
			return err
		}
	}
	if from == "" {
		return replyNullSender.error()
	}
	if options.Size > c.maxBytes() {
		return replyTooBig.error()
	}
	address, err := c.reversePath(from, options)
	if err != nil {
		return replyBadSender.error()
	}
	if err := c.sess.Sends(c.ctx, address.String()); err != nil {
		return replyNotYours.error()
	}
	if err := c.sess.MayMail(c.ctx, address.String(), nil); err != nil {
		return contentReply(err).error()
	}
	c.tx = envelope{from: address, utf8: options.UTF8, said: c.said}
	return nil
}

// Rcpt adds a recipient (RFC 5321, section 4.1.1.3). One named twice gets the
// message once.
func (t *transaction) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	c := t.conn
	address, err := queue.FromUnquoted(to, c.tx.utf8)
	if err != nil {
		return replyBadRecipient.error()
	}
	wire := address.String()
	if slices.Contains(c.tx.to, wire) {
		return nil
	}
	if err := c.sess.MayMail(c.ctx, c.tx.from.String(), append(slices.Clip(c.tx.to), wire)); err != nil {
		return recipientReply(err).error()
	}
	c.tx.to = append(c.tx.to, wire)
	c.tx.recipients = append(c.tx.recipients, queue.EnvelopeRecipient{Address: wire, Notify: c.said.notify, ORcpt: c.said.original})
	return nil
}

// Data receives the message and puts it into the queue. go-smtp's reader is not
// used: it is given an empty message, the content comes from the wire.
func (t *transaction) Data(io.Reader) error {
	c := t.conn
	b := c.wire.startBody()
	defer b.Close()
	id, err := c.accept(c.ctx, b)
	switch {
	case errors.Is(err, errAborted):
		return replyAborted.error()
	case err != nil:
		return contentReply(err).error()
	default:
		return reply{250, "2.0.0", "Queued as " + id}.error()
	}
}

// Reset forgets the transaction.
func (t *transaction) Reset() { t.conn.tx = envelope{} }

// Logout is called at the end of the connection.
func (t *transaction) Logout() error { return nil }

// accept takes the message in content, from the transaction's envelope, into the
// queue. What it returns the id of is on stable storage.
func (c *conn) accept(ctx context.Context, content io.Reader) (id string, err error) {
	op, err := c.sess.Begin(ctx, session.Action{Verb: session.Accept, Object: c.tx.from.String(), To: c.tx.to, Over: c.attempt.Channel().Kind})
	if err != nil {
		return "", err
	}
	over := false
	defer func() {
		if !over { // a panic is passing: nothing was accepted
			err = session.ErrPanic
		}
		err = op.End(ctx, err)
	}()
	id, err = c.enqueue(ctx, op, content)
	over = true
	return id, err
}

func (c *conn) enqueue(ctx context.Context, op *session.Op, content io.Reader) (id string, err error) {
	draft := c.cfg.Queue.Draft()
	defer draft.Discard()
	copies, err := c.journal(ctx, draft.ID())
	if err != nil {
		return "", err
	}
	defer c.endJournal(copies)
	counted := &counter{w: io.MultiWriter(draft, copies)}
	m, err := c.compose(ctx, counted, content, draft.ID())
	op.MessageID, op.Bytes = m.messageID, counted.n
	if err != nil {
		return "", err
	}
	if m.hold != "" {
		op.Note = "held: " + m.hold
	}
	if err := copies.commit(ctx); err != nil {
		return "", err
	}
	identity := c.sess.Identity()
	id, err = draft.Commit(ctx, queue.Envelope{
		From: c.tx.from.String(), To: c.tx.recipients, Ret: c.tx.said.ret, EnvID: c.tx.said.envelopeID,
		RequireTLS: c.tx.said.requireTLS, SMTPUTF8: c.tx.utf8, MessageID: m.messageID,
		User: identity.User, Route: identity.Route, Conn: c.attempt.Peer().Conn, Session: c.sess.ID(),
		Header: m.signatures, Hold: m.hold != "",
	})
	if err != nil {
		c.cfg.Log.Error("mail not queued", "conn", c.attempt.Peer().Conn, "user", identity.User, "err", err)
		return "", fmt.Errorf("queue: %w", err)
	}
	copies.accepted = true
	op.QueueID = id
	return id, nil
}

// composed is a message that was written, besides its content.
type composed struct {
	messageID  string
	signatures string // fields to put in front
	hold       string // why it is not to be delivered yet; empty if it is
}

// compose writes the message with its header completed, as the filters leave it.
func (c *conn) compose(ctx context.Context, w io.Writer, content io.Reader, id string) (m composed, err error) {
	r := bufio.NewReaderSize(content, readBufferSize)
	h, err := readHeader(r)
	if err != nil {
		return m, err
	}
	if c.sess.Device() != nil {
		h.ofDevice(c.device(), c.sess.Stage() == session.StageWarn, c.tx.utf8)
	}
	m.messageID = h.messageID()
	if h.loops(c.cfg.Hostname) {
		return m, refused(replyLoop, "it has been here %d times", maxOwnReceived)
	}
	if err := h.check(c.tx.utf8, func(address string) error { return c.sess.Sends(ctx, address) }); err != nil {
		return m, err
	}
	now := time.Now()
	h.complete(c.cfg.Hostname, now)
	m.messageID = h.messageID()
	f, err := c.filter(ctx, h, r, id)
	if err != nil {
		return m, err
	}
	defer f.done()
	m.messageID, m.hold = f.header.messageID(), f.hold
	signature, err := c.sign(f.header)
	if err != nil {
		return m, err
	}
	defer signature.Close()
	out := io.MultiWriter(w, signature)
	if _, err := io.WriteString(out, c.trace(id, now)); err != nil {
		return m, err
	}
	if err := f.header.write(out); err != nil {
		return m, err
	}
	if _, err := io.Copy(out, f.body); err != nil {
		return m, err
	}
	m.signatures, err = signature.Header()
	return m, err
}

// sign begins the signatures of a message; nil where there is no key for it.
func (c *conn) sign(h header) (*dkim.Signature, error) {
	if c.cfg.DKIM == nil {
		return nil, nil
	}
	return c.cfg.DKIM.Sign(h.author(c.tx.utf8), h.names())
}

// counter counts what was written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
