package queue

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// maxNote bounds each of the texts of an envelope that are only recorded.
	maxNote = 1024
	// maxEnvID and maxORcpt bound what comes back in notifications (RFC 3461, sections
	// 4.4 and 4.2).
	maxEnvID = 100
	maxORcpt = 500
	// maxFields bounds Envelope.Header.
	maxFields = 64 << 10
)

// ErrEnvelope is an envelope that cannot be accepted: no recipient or too many,
// an address that does not parse, a broken text.
var ErrEnvelope = errors.New("envelope not accepted")

// Envelope is what is known of a message besides its content.
type Envelope struct {
	// From is the reverse-path as Address.String gives it, "" for the null one; To
	// are the forward-paths.
	From string
	To   []Recipient
	// Header holds whole header fields with CRLF line ends, that are put before the
	// content: those that can be written only once the content was seen.
	Header []byte
	// User is the account that sent it, Conn and Session where; for the record.
	User, Conn, Session string
	// MessageID is the Message-ID header field, for the record.
	MessageID string
	// Route is the account's own route; "" for none.
	Route string
	// SMTPUTF8 says that the sender asked for it (RFC 6531): addresses may hold
	// more than ASCII.
	SMTPUTF8 bool
	// RequireTLS says that the message may go over verified TLS only (RFC 8689).
	RequireTLS bool
	// Ret is FULL or HDRS, what a bounce returns; EnvID the sender's name for the
	// envelope, decoded. "" is not given (RFC 3461, sections 4.3 and 4.4).
	Ret, EnvID string
}

// Recipient is one forward-path and what its sender wants to know about it.
type Recipient struct {
	Address string
	Notify  Notify
	// ORcpt is the original recipient, "rfc822;joe@example.com" decoded, or "" (RFC
	// 3461, section 4.2).
	ORcpt string
}

// Notify says in which cases the sender of a message is told (RFC 3461, section 4.1).
// The zero value is that nothing was asked for: failures and delays are told.
type Notify uint8

const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// ParseNotify reads the value of the parameter NOTIFY. Errors are ErrEnvelope.
func ParseNotify(s string) (n Notify, err error) {
	words := map[string]Notify{"NEVER": NotifyNever, "SUCCESS": NotifySuccess, "FAILURE": NotifyFailure, "DELAY": NotifyDelay}
	for word := range strings.SplitSeq(s, ",") {
		bit := words[strings.ToUpper(word)]
		if bit == 0 || n&bit != 0 {
			return 0, fmt.Errorf("%w: NOTIFY is not NEVER, or some of SUCCESS, FAILURE, DELAY", ErrEnvelope)
		}
		n |= bit
	}
	if !n.valid() {
		return 0, fmt.Errorf("%w: NOTIFY has more than NEVER", ErrEnvelope)
	}
	return n, nil
}

func (n Notify) valid() bool {
	return n == NotifyNever || n <= NotifySuccess|NotifyFailure|NotifyDelay && n&NotifyNever == 0
}

// String is the value as it is written in the parameter; "" if nothing was asked for.
func (n Notify) String() string {
	var words []string
	for i, word := range []string{"NEVER", "SUCCESS", "FAILURE", "DELAY"} {
		if n&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, ",")
}

// wants reports whether the sender is told of what: failures and delays unless
// something else was asked for.
func (n Notify) wants(what Notify) bool {
	if n == 0 {
		return what != NotifySuccess
	}
	return n&what != 0
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
		if !to.Notify.valid() || !printable(to.ORcpt, maxORcpt) || to.ORcpt != "" && !strings.Contains(to.ORcpt, ";") {
			return "", fmt.Errorf("%w: NOTIFY or ORCPT of a recipient", ErrEnvelope)
		}
	}
	for _, note := range []string{e.User, e.Conn, e.Session, e.MessageID} {
		if !printable(note, maxNote) {
			return "", fmt.Errorf("%w: a text that is too long or holds control characters", ErrEnvelope)
		}
	}
	if e.Ret != "" && e.Ret != "FULL" && e.Ret != "HDRS" || !printable(e.EnvID, maxEnvID) {
		return "", fmt.Errorf("%w: RET or ENVID", ErrEnvelope)
	}
	if err := checkFields(e.Header); err != nil {
		return "", err
	}
	var own Route
	if e.Route != "" {
		if own, err = ParseRoute(e.Route); err != nil {
			return "", err
		}
	}
	for _, to := range e.To {
		if _, err := q.routes.find(own, to.Address); err != nil {
			return "", err
		}
	}
	return own.String(), nil
}

// checkFields makes sure that what is put before a content cannot end its header.
func checkFields(b []byte) error {
	if len(b) > maxFields {
		return fmt.Errorf("%w: %d bytes of header fields, want at most %d", ErrEnvelope, len(b), maxFields)
	}
	for line := range strings.Lines(string(b)) {
		text, whole := strings.CutSuffix(line, "\r\n")
		if !whole || text == "" || strings.ContainsAny(text, "\r\x00") {
			return fmt.Errorf("%w: a header field is not made of whole lines", ErrEnvelope)
		}
	}
	return nil
}

func printable(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, control)
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
