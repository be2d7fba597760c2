package queue

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	To   []EnvelopeRecipient
	// Header is put in front of the content: whole fields, with CRLF line ends. It is
	// for what is known only when all of the content was written, such as a signature.
	Header string
	// Hold keeps the message from being delivered until Release.
	Hold bool
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
	// Ret and EnvID are what MAIL said of notifications (RFC 3461): FULL, HDRS or "",
	// and the sender's name for the envelope as it was sent, in xtext.
	Ret, EnvID string
}

// EnvelopeRecipient is a forward-path with what RCPT said of notifications (RFC 3461):
// NOTIFY in upper case, and ORCPT as it was sent, in xtext; "" for what was not said.
type EnvelopeRecipient struct {
	Address, Notify, ORcpt string
}

// The words of NOTIFY.
const (
	notifyNever   = "NEVER"
	notifySuccess = "SUCCESS"
	notifyFailure = "FAILURE"
	notifyDelay   = "DELAY"
)

// validNotify reports whether s is a value of NOTIFY, or "".
func validNotify(s string) bool {
	if s == "" || s == notifyNever {
		return true
	}
	words := strings.Split(s, ",")
	slices.Sort(words)
	return len(slices.Compact(slices.Clone(words))) == len(words) && !slices.ContainsFunc(words, func(word string) bool {
		return word != notifySuccess && word != notifyFailure && word != notifyDelay
	})
}

// wants reports whether a sender who said notify is told of what: of failures and
// delays unless something else was asked for.
func wants(notify, what string) bool {
	if notify == "" {
		return what != notifySuccess
	}
	return slices.Contains(strings.Split(notify, ","), what)
}

// decodeXtext reads xtext (RFC 3461, section 4). What is none stays as it is.
func decodeXtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return s
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return s
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return strings.ToValidUTF8(b.String(), "?")
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
		if !validNotify(to.Notify) || !printable(to.ORcpt, maxORcpt) || to.ORcpt != "" && !strings.Contains(to.ORcpt, ";") {
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
func checkFields(s string) error {
	if len(s) > maxFields {
		return fmt.Errorf("%w: %d bytes of header fields, want at most %d", ErrEnvelope, len(s), maxFields)
	}
	for line := range strings.Lines(s) {
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
