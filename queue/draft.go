package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"gateway/session"
)

const (
	// maxInline is the largest content that is kept in the store.
	maxInline = 128 << 10
	// draftPrefix begins the name of a content that is still being written.
	draftPrefix = "draft-"
	// checkEvery is how many bytes may be written between two looks at the space
	// that is left.
	checkEvery = 8 << 20
	// maxNote bounds each of the texts of an envelope that are only recorded.
	maxNote = 1024
)

// ErrEnvelope is an envelope that cannot be accepted: no recipient or too many,
// an address that does not parse, a broken text.
var ErrEnvelope = errors.New("envelope not accepted")

// Envelope is what is known of a message besides its content.
type Envelope struct {
	// From is the reverse-path as Address.String gives it, "" for the null one; To
	// are the forward-paths.
	From string
	To   []EnvelopeRecipient
	// User is the account that sent it, Conn and Session where; for the record.
	User, Conn, Session string
	// MessageID is the Message-ID header field, for the record.
	MessageID string
	// Route is the account's own route; "" for the default one.
	Route string
	// SMTPUTF8 says that the sender asked for it (RFC 6531): addresses may hold
	// more than ASCII.
	SMTPUTF8 bool
	// Ret and EnvID are what MAIL said of reports (RFC 3461): FULL, HDRS or "", and the
	// identifier as it was sent, in xtext.
	Ret, EnvID string
	// RequireTLS says that the message may go over TLS only (RFC 8689).
	RequireTLS bool
}

// EnvelopeRecipient is a forward-path with what RCPT said of reports (RFC 3461):
// NOTIFY in upper case, and ORCPT as it was sent, in xtext; "" for what was not said.
type EnvelopeRecipient struct {
	Address, Notify, ORcpt string
}

// Draft is a message while its content arrives. It is used by one goroutine and
// ends with Commit or Discard.
type Draft struct {
	queue    *Queue
	id       string
	buffer   *[]byte
	file     *os.File // nil while the content is small
	size     int64
	checked  int64 // size at the last look at the space left
	eightBit bool
	err      error // why writing failed; it stays
	over     bool
}

// Draft begins a message.
func (q *Queue) Draft() *Draft {
	buffer, ok := q.buffers.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	return &Draft{queue: q, id: newID(q.now()), buffer: buffer}
}

// ID is the queue id that the message will have.
func (d *Draft) ID() string { return d.id }

// Size is how many bytes were written.
func (d *Draft) Size() int64 { return d.size }

// Write adds to the content, which is kept as it is, byte by byte. An error is
// final; session.ErrNoSpace means that the disk is full.
func (d *Draft) Write(p []byte) (int, error) {
	if d.over {
		return 0, fmt.Errorf("write content: %w", session.ErrClosed)
	}
	if d.err != nil {
		return 0, d.err
	}
	if d.file == nil && len(*d.buffer)+len(p) > maxInline {
		d.spill()
	}
	if d.err == nil && d.file != nil {
		d.writeFile(p)
	} else if d.err == nil {
		*d.buffer = append(*d.buffer, p...)
	}
	if d.err != nil {
		return 0, d.err
	}
	d.size += int64(len(p))
	d.eightBit = d.eightBit || !ascii7(p)
	return len(p), nil
}

// spill moves the content to a file.
func (d *Draft) spill() {
	if d.err = d.queue.checkSpace(); d.err != nil {
		return
	}
	f, err := os.OpenFile(d.path(draftPrefix), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		d.err = fmt.Errorf("create content file: %w", diskError(err))
		return
	}
	d.file = f
	d.writeFile(*d.buffer)
	d.release()
}

func (d *Draft) writeFile(p []byte) {
	if d.size-d.checked >= checkEvery {
		if d.err = d.queue.checkSpace(); d.err != nil {
			return
		}
		d.checked = d.size
	}
	if _, err := d.file.Write(p); err != nil {
		d.err = fmt.Errorf("write content: %w", diskError(err))
	}
}

// Commit puts the message into the queue and returns its id. It returns nil only
// when content and envelope are on stable storage; from then on the queue answers
// for it. On an error the message is not in the queue, save that of an envelope
// whose fate the disk did not tell. The draft is over in any case.
//
// Errors: ErrEnvelope, ErrRoute, ErrNoRoute, session.ErrNoSpace,
// session.ErrUnavailable, or what ended the Write.
func (d *Draft) Commit(ctx context.Context, e Envelope) (string, error) {
	defer d.Discard()
	switch {
	case d.over:
		return "", fmt.Errorf("commit message: %w", session.ErrClosed)
	case d.err != nil:
		return "", d.err
	}
	route, err := d.queue.checkEnvelope(e)
	if err != nil {
		return "", err
	}
	if err := d.queue.checkSpace(); err != nil {
		return "", err
	}
	now := d.queue.now()
	m := message{
		id: d.id, from: e.From, account: e.User, conn: e.Conn, session: e.Session, messageID: e.MessageID,
		route: route, smtputf8: e.SMTPUTF8, eightBit: d.eightBit, size: d.size, inFile: d.file != nil,
		accepted: now, next: now,
	}
	for i, to := range e.To {
		m.recipients = append(m.recipients, recipient{number: i, Recipient: Recipient{Address: to.Address}})
	}
	if d.file != nil {
		if err := d.publish(); err != nil {
			return "", err
		}
	} else {
		m.content = *d.buffer
	}
	if err := d.queue.insert(ctx, m); err != nil {
		d.withdraw(ctx)
		return "", fmt.Errorf("commit message: %w", err)
	}
	d.queue.rouse()
	return d.id, nil
}

// publish gives the content file its name, for good. It runs in the caller's
// goroutine, so that many of them sync at the same time.
func (d *Draft) publish() error {
	err := d.file.Sync()
	if err = errors.Join(err, d.file.Close()); err != nil {
		return fmt.Errorf("sync content: %w", diskError(err))
	}
	if err := os.Rename(d.path(draftPrefix), d.path("")); err != nil {
		return fmt.Errorf("name content file: %w", diskError(err))
	}
	if err := syncFolder(d.queue.cfg.Dir); err != nil {
		return errors.Join(fmt.Errorf("name content file: %w", diskError(err)), os.Remove(d.path("")))
	}
	return nil
}

// withdraw removes the content of an envelope that was not taken. If it cannot
// be known whether it was, the file stays, and the next Open decides.
func (d *Draft) withdraw(ctx context.Context) {
	if d.file == nil {
		return
	}
	if exists, err := d.queue.exists(context.WithoutCancel(ctx), d.id); err == nil && !exists {
		d.queue.removeFile(d.id)
	}
}

// Discard forgets the message. After Commit, or a second time, it does nothing.
func (d *Draft) Discard() {
	if d.over {
		return
	}
	d.over = true
	d.release()
	if d.file != nil {
		_ = d.file.Close() // closed by publish if it came so far
		if err := os.Remove(d.path(draftPrefix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.queue.cfg.Log.Warn("discarded content not removed", "id", d.id, "err", err)
		}
	}
}

// release gives the buffer back.
func (d *Draft) release() {
	if d.buffer != nil {
		*d.buffer = (*d.buffer)[:0]
		d.queue.buffers.Put(d.buffer)
		d.buffer = nil
	}
}

func (d *Draft) path(prefix string) string {
	return filepath.Join(d.queue.cfg.Dir, prefix+d.id)
}

// checkEnvelope is the last line before the disk: a front-end has parsed the
// addresses already, and told its peer what was wrong with them. It returns the
// message's own route in the form that is kept.
func (q *Queue) checkEnvelope(e Envelope) (route string, err error) {
	if n := len(e.To); n == 0 || n > q.cfg.MaxRecipients {
		return "", fmt.Errorf("%w: %d recipients, want 1 to %d", ErrEnvelope, n, q.cfg.MaxRecipients)
	}
	if _, err := ParseReversePath(e.From, e.SMTPUTF8); err != nil {
		return "", fmt.Errorf("%w: reverse-path: %w", ErrEnvelope, err)
	}
	for _, to := range e.To {
		if _, err := ParseMailbox(to.Address, e.SMTPUTF8); err != nil {
			return "", fmt.Errorf("%w: forward-path: %w", ErrEnvelope, err)
		}
	}
	for _, note := range []string{e.User, e.Conn, e.Session, e.MessageID} {
		if len(note) > maxNote || !utf8.ValidString(note) || strings.ContainsFunc(note, control) {
			return "", fmt.Errorf("%w: a text that is too long or holds control characters", ErrEnvelope)
		}
	}
	r, err := q.route(e.Route)
	if err != nil || e.Route == "" {
		return "", err
	}
	return r.String(), nil
}

// checkSpace refuses mail before the disk is so full that nothing else works.
func (q *Queue) checkSpace() error {
	var st unix.Statfs_t
	if err := unix.Statfs(q.cfg.Dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", q.cfg.Dir, err)
	}
	if free := uint64(st.Bavail) * uint64(st.Bsize); free < uint64(q.cfg.MinFree) {
		return fmt.Errorf("queue: %w: %d bytes free, %d are kept free", session.ErrNoSpace, free, q.cfg.MinFree)
	}
	return nil
}

// diskError gives a full disk its kind.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", session.ErrNoSpace, err)
	}
	return err
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

func ascii7(p []byte) bool {
	for _, c := range p {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// micros is how times are stored: microseconds since 1970.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(v int64) time.Time { return time.UnixMicro(v).UTC() }
