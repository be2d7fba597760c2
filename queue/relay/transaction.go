package relay

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// transaction is one message over one connection: MAIL, RCPT and DATA.
type transaction struct {
	*conn
	delivery *delivery
	open     []int // recipients without an answer, by their index

	replies  int   // heard so far
	begun    bool  // content is under way: there is no way back
	accepted []int // by RCPT
	refused  error // of MAIL
}

// step is a command of a transaction: these, and in between the recipients by
// their place in open.
type step int

const (
	stepReset step = -2
	stepMail  step = -1
)

func (t *transaction) stepData() step { return step(len(t.open)) }

func (t *transaction) verb(s step) string {
	switch s {
	case stepReset:
		return "RSET"
	case stepMail:
		return "MAIL"
	case t.stepData():
		return "DATA"
	default:
		return "RCPT"
	}
}

func (t *transaction) run() error {
	for i, done := range t.delivery.done {
		if !done {
			t.open = append(t.open, i)
		}
	}
	if err := t.fits(); err != nil {
		return err
	}
	if err := t.envelope(); err != nil || len(t.accepted) == 0 {
		return err
	}
	t.begun = true
	if err := t.content(); err != nil {
		return err
	}
	if err := t.finalReplies(); err != nil {
		return err
	}
	t.dirty = false
	return nil
}

// fits finds out before anything is sent whether the peer can have the message.
func (t *transaction) fits() error {
	m := t.delivery.message
	switch {
	case t.ext.limit > 0 && m.Size > t.ext.limit:
		return failed("5.3.4", "message of %d bytes is larger than the %d that the host accepts", m.Size, t.ext.limit)
	case m.SMTPUTF8 && !t.ext.utf8:
		return failed("5.6.7", "the host does not support internationalised mail (SMTPUTF8)")
	}
	return nil
}

// envelope sends the commands up to DATA. With PIPELINING they leave together;
// MaxRecipients keeps their replies small enough for the buffers on the way, so
// that neither side waits for the other to read.
func (t *transaction) envelope() error {
	first := stepMail
	if t.dirty {
		first = stepReset
	}
	t.dirty = true
	if t.ext.pipelining {
		for s := first; s <= t.stepData(); s++ {
			t.put(s)
		}
		if err := t.writer.Flush(); err != nil {
			return fmt.Errorf("%s: %w", t.verb(first), writeReason(err))
		}
	}
	for s := first; s <= t.stepData(); s++ {
		if !t.ext.pipelining {
			if t.refused != nil || s == t.stepData() && len(t.accepted) == 0 {
				break
			}
			t.put(s)
			if err := t.writer.Flush(); err != nil {
				return fmt.Errorf("%s: %w", t.verb(s), writeReason(err))
			}
		}
		if err := t.take(s); err != nil {
			return t.firstRefusal(err)
		}
	}
	return t.refused
}

// firstRefusal is what a lost connection means if MAIL was refused before: some
// hosts hang up on who is not welcome.
func (t *transaction) firstRefusal(err error) error {
	if f, ok := errors.AsType[*fault](t.refused); ok {
		f.broken = true
		return f
	}
	return err
}

// put writes the command of a step into the buffer. Errors of the buffer are
// sticky; Flush returns them.
func (t *transaction) put(s step) {
	w, m := t.writer, t.delivery.message
	switch s {
	case stepReset:
		w.WriteString("RSET\r\n")
	case stepMail:
		t.putMail()
	case t.stepData():
		w.WriteString("DATA\r\n")
	default:
		to := m.To[t.open[s]]
		w.WriteString("RCPT TO:<")
		w.WriteString(to.Address)
		w.WriteString(">")
		if t.ext.dsn {
			t.putParameter(" NOTIFY=", to.Notify)
			t.putParameter(" ORCPT=", to.ORcpt)
		}
		w.WriteString("\r\n")
	}
}

func (t *transaction) putMail() {
	w, m := t.writer, t.delivery.message
	w.WriteString("MAIL FROM:<")
	w.WriteString(m.From)
	w.WriteString(">")
	if t.ext.size {
		w.WriteString(" SIZE=")
		_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), m.Size, 10))
	}
	if t.ext.eightBit && m.EightBit {
		w.WriteString(" BODY=8BITMIME")
	}
	if m.SMTPUTF8 {
		w.WriteString(" SMTPUTF8")
	}
	if m.RequireTLS && t.trusted {
		w.WriteString(" REQUIRETLS")
	}
	if t.ext.dsn {
		t.putParameter(" RET=", m.Ret)
		t.putParameter(" ENVID=", m.EnvID)
	}
	w.WriteString("\r\n")
}

func (t *transaction) putParameter(name, value string) {
	if value != "" {
		t.writer.WriteString(name)
		t.writer.WriteString(value)
	}
}

// take reads the reply to a step.
func (t *transaction) take(s step) error {
	timeout := t.delivery.timeouts.Command
	if s == t.stepData() {
		timeout = t.delivery.timeouts.DataInit
	}
	r, err := t.reply(timeout)
	if err != nil {
		return fmt.Errorf("%s: %w", t.verb(s), err)
	}
	t.replies++
	class := r.code / 100
	switch {
	case r.code == 421: // closing, whatever it was asked (RFC 5321, section 3.8)
		f := r.deferred(t.verb(s))
		f.next, f.broken, f.stale = true, true, t.replies == 1 && t.messages > 1
		return f
	case s == t.stepData():
		return t.takeData(r)
	case class == 3, s == stepReset && class != 2:
		return fmt.Errorf("%w: %s answered with %d", errReply, t.verb(s), r.code)
	case s == stepMail:
		if class != 2 {
			t.refused = mailRefusal(r)
		}
	case s >= 0 && t.refused == nil:
		if class == 2 {
			t.accepted = append(t.accepted, t.open[s])
		} else {
			t.delivery.answer(t.open[s], recipientStatus(r))
		}
	}
	return nil
}

// takeData reads the reply to DATA. If it was sent in vain, since nobody is
// left, it has to be refused: a peer that wants content then is left without it.
func (t *transaction) takeData(r reply) error {
	class := r.code / 100
	vain := t.refused != nil || len(t.accepted) == 0
	switch {
	case class == 3 && !vain:
		return nil
	case class == 3:
		return t.firstRefusal(&fault{broken: true})
	case vain:
		return nil
	case class == 2:
		return fmt.Errorf("%w: DATA answered with %d", errReply, r.code)
	default:
		return &fault{status: r.status()}
	}
}

// mailRefusal is what a refused MAIL means for all recipients.
func mailRefusal(r reply) error {
	if r.code == 530 { // a login or TLS is wanted: the route is at fault, not the mail
		return r.deferred("MAIL")
	}
	return &fault{status: r.status()}
}

// recipientStatus reads a refused RCPT. 552 was once the code for too many
// recipients and is to be treated as 452 (RFC 5321, section 4.5.3.1.10).
func recipientStatus(r reply) Status {
	s := r.status()
	if r.code == 530 || r.code == 552 && (s.Enhanced == "5.0.0" || strings.HasSuffix(s.Enhanced, ".5.3")) {
		s.Outcome = Deferred
		s.Enhanced = "4" + s.Enhanced[1:]
	}
	return s
}

// content sends the body and the final dot.
func (t *transaction) content() error {
	buf := t.buffers.content()
	defer t.buffers.contents.Put(buf)
	w := contentWriter{w: t.writer, fold: !t.lmtp}
	err := w.copy(t.delivery.message.Body, buf[:])
	if err == nil {
		err = t.writer.Flush()
	}
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault](err); ok {
		f.broken = true
		return f
	}
	// Who refuses content in the middle of it may have said why.
	if r, heard := t.reply(wireTimeout); heard == nil && r.code/100 >= 4 {
		return t.closed(r)
	}
	return fmt.Errorf("content: %w", writeReason(err))
}

// closed is a refusal after which the connection is of no use.
func (t *transaction) closed(r reply) error {
	f := &fault{status: r.status()}
	if r.code == 421 {
		f = r.deferred("content")
	}
	f.broken = true
	return f
}

// finalReplies reads the reply to the final dot, which is for all, or with LMTP
// one for each recipient that was accepted (RFC 2033, section 4.2).
func (t *transaction) finalReplies() error {
	if !t.lmtp {
		return t.finalReply(t.accepted)
	}
	for i := range t.accepted {
		if err := t.finalReply(t.accepted[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) finalReply(who []int) error {
	r, err := t.reply(t.delivery.timeouts.DataDone)
	switch {
	case err != nil:
		return fmt.Errorf("no reply to the final dot: %w", err)
	case r.code/100 == 3:
		return fmt.Errorf("%w: the final dot answered with %d", errReply, r.code)
	case r.code == 421:
		return t.closed(r)
	}
	s := r.status()
	s.DSN = s.Outcome == Delivered && t.ext.dsn
	for _, i := range who {
		t.delivery.answer(i, s)
	}
	return nil
}

// writeReason is an error of a write without addresses.
func writeReason(err error) error { return errors.New(dialReason(err)) }
