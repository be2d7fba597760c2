package smtp

import (
	"errors"
	"fmt"
	"net"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"gateway/session"
)

// reply is one line to the peer: code, enhanced code (RFC 3463), text.
type reply struct {
	code     int
	enhanced string // without it where it is empty (RFC 2034, section 3)
	text     string
}

func (r reply) String() string {
	if r.enhanced == "" {
		return fmt.Sprintf("%d %s\r\n", r.code, r.text)
	}
	return fmt.Sprintf("%d %s %s\r\n", r.code, r.enhanced, r.text)
}

// error is the reply in the form in which go-smtp sends it.
func (r reply) error() *gosmtp.SMTPError {
	var e gosmtp.EnhancedCode
	if _, err := fmt.Sscanf(r.enhanced, "%d.%d.%d", &e[0], &e[1], &e[2]); err != nil {
		e = gosmtp.NoEnhancedCode
	}
	return &gosmtp.SMTPError{Code: r.code, EnhancedCode: e, Message: r.text}
}

// greeting begins the dialogue.
func greeting(hostname string) reply { return reply{220, "", hostname + " ESMTP Service Ready"} }

// Replies of the connection.
var (
	replyShutdown      = reply{421, "4.3.2", "Service shutting down, try again later"}
	replyClosed        = reply{421, "4.3.2", "Session ended by the service"}
	replyIdle          = reply{421, "4.4.2", "Idle for too long"}
	replyGrace         = reply{421, "4.4.2", "Authentication took too long"}
	replyTooMany       = reply{421, "4.7.0", "Too many connections or attempts, try again later"}
	replyNotServed     = reply{421, "4.7.0", "Service not available to you"}
	replyUnavailable   = reply{421, "4.3.0", "Service temporarily unavailable"}
	replyTooManyErrors = reply{421, "4.7.0", "Too many errors"}
	replyTooManyIdle   = reply{421, "4.7.0", "Too many commands without a message"}
	replyNotSMTP       = reply{421, "4.7.0", "This is SMTP"}
	replyFraming       = reply{421, "4.5.2", "Chunk size unreadable, cannot go on"}
	replyFlood         = reply{421, "4.7.0", "Too much content after it was refused"}
	replyPanic         = reply{421, "4.3.0", "Internal error"}
	replyLineTooLong   = reply{500, "5.5.2", "Line too long"}
)

// Replies to commands that go-smtp does not see.
var (
	replyUnknown     = reply{500, "5.5.2", "Command not recognized"}
	replyControl     = reply{501, "5.5.2", "Control characters are not allowed"}
	replyNoArgument  = reply{501, "5.5.4", "No argument is allowed"}
	replyNeedsHello  = reply{503, "5.5.1", "Say EHLO first"}
	replyNested      = reply{503, "5.5.1", "A transaction is open: send RSET first"}
	replyNeedsMail   = reply{503, "5.5.1", "Say MAIL first"}
	replyNeedsRcpt   = reply{503, "5.5.1", "No valid recipients"}
	replyInContent   = reply{503, "5.5.1", "A message is being sent in chunks"}
	replyBadHello    = reply{501, "5.5.4", "A domain or an address literal is required"}
	replySourceRoute = reply{501, "5.1.3", "Source routes are not supported"}
	replyHasTLS      = reply{503, "5.5.1", "TLS is active already"}
	replyNoTLS       = reply{502, "5.5.1", "TLS is not available"}
	replyReady       = reply{220, "2.0.0", "Ready to start TLS"}
	replyHelp        = reply{214, "2.0.0", "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT; see RFC 5321"}
	replyNoop        = reply{250, "2.0.0", "OK"}
)

// Replies to AUTH.
var (
	replyInsecure        = reply{538, "5.7.11", "Encryption required for authentication"}
	replyDenied          = reply{535, "5.7.8", "Authentication failed"}
	replyAuthTooMany     = reply{421, "4.7.0", "Too many attempts, try again later"}
	replyAuthUnavailable = reply{454, "4.7.0", "Authentication temporarily unavailable"}
	replyMechanism       = reply{504, "5.5.4", "Mechanism not offered"}
	replyHasAuth         = reply{503, "5.5.1", "Authenticated already"}
	replyMalformedSASL   = reply{501, "5.5.2", "Malformed authentication response"}
	replyExchangeOver    = reply{501, "5.5.2", "Authentication exchange aborted"}
	replyAuthorization   = reply{501, "5.5.4", "Acting for another identity is not supported"}
)

// Replies to the transaction.
var (
	replyNeedsTLS       = reply{530, "5.7.0", "Must issue a STARTTLS command first"}
	replyNoRequireTLS   = reply{530, "5.7.10", "REQUIRETLS needs TLS: send STARTTLS first"}
	replyNeedsAuth      = reply{530, "5.7.0", "Authentication required"}
	replyNullSender     = reply{550, "5.7.1", "The null reverse-path may not be submitted"}
	replyBadSender      = reply{553, "5.1.7", "Bad sender address"}
	replyBadRecipient   = reply{501, "5.1.3", "Bad recipient address"}
	replyNotYours       = reply{550, "5.7.1", "Not an address of this account"}
	replyNotForYou      = reply{550, "5.7.1", "Not a recipient to whom you may send"}
	replyTooManyMails   = reply{450, "4.7.1", "Too many messages, try again later"}
	replyFromNotYours   = reply{550, "5.7.1", "From or Sender is not an address of this account"}
	replyActionDenied   = reply{550, "5.7.1", "Not allowed"}
	replyTooBig         = reply{552, "5.3.4", "Message too big"}
	replyNoSpace        = reply{452, "4.3.1", "No space left"}
	replyQuota          = reply{452, "4.2.2", "Over quota"}
	replyOurFault       = reply{451, "4.3.0", "Local error, try again later"}
	replyLoop           = reply{554, "5.4.6", "Too many hops"}
	replyBareLF         = reply{550, "5.6.11", "A bare LF is not allowed"}
	replyBareCR         = reply{550, "5.6.11", "A bare CR is not allowed"}
	replyRawHeader      = reply{550, "5.6.7", "8-bit text in a header field needs SMTPUTF8"}
	replyTooManyOfYours = reply{452, "4.5.3", "Too many recipients of one message for this account"}
	replyNUL            = reply{550, "5.6.0", "A NUL is not allowed"}
	replyContentLine    = reply{550, "5.6.0", "A line of the message is too long"}
	replyHeaderTooBig   = reply{552, "5.3.4", "Message header too big"}
	replyHeader         = reply{550, "5.6.0", "Malformed message header"}
	replyFrom           = reply{550, "5.6.0", "Exactly one readable From field is required"}
	replySender         = reply{550, "5.6.0", "At most one readable Sender field is allowed"}
	replyFiltered       = reply{550, "5.7.1", "Message refused by a filter"}
	replyJournal        = reply{451, "4.3.0", "A copy of the message cannot be kept, try again later"}
	replyAborted        = reply{451, "4.3.0", "Transaction aborted"}
	replyParameter      = reply{555, "5.5.4", "Parameter not recognized"}
	replySenderOK       = reply{250, "2.1.0", "Sender OK"}
	replyRecipientOK    = reply{250, "2.1.5", "Recipient OK"}
	replyAuthSucceeded  = reply{235, "2.7.0", "Authentication succeeded"}
	replyMalformedArg   = reply{501, "5.5.4", "Malformed address or parameter"}
	replyCannotVerify   = reply{252, "2.5.0", "Cannot verify, but will accept the message"}
	replyTooManyRcpt    = reply{452, "4.5.3", "Too many recipients"}
	replyParameterValue = reply{504, "5.5.4", "Parameter not implemented"}
)

// maxHint bounds the rule owner's text in a reply (RFC 5321, section 4.5.3.1.5).
const maxHint = 400

// loginReply answers a failed AUTH.
func loginReply(err error) reply {
	switch {
	case errors.Is(err, session.ErrInsecure):
		return replyInsecure.saying(err)
	case errors.Is(err, session.ErrPaused):
		r := replyAuthUnavailable
		r.text = printable(session.Hint(err), maxHint)
		return r
	case errors.Is(err, session.ErrTooMany):
		return replyAuthTooMany
	case errors.Is(err, session.ErrUnavailable):
		return replyAuthUnavailable
	case errors.Is(err, session.ErrAborted):
		return replyExchangeOver
	default: // ErrDenied, and *MoreError: SMTP has no way to ask for more
		return replyDenied
	}
}

// saying is the reply with what the rule that is its reason says, if it says anything.
func (r reply) saying(err error) reply {
	if hint := printable(session.Hint(err), maxHint); hint != "" {
		r.text = hint
	}
	return r
}

// contentReply answers a message that was not accepted.
func contentReply(err error) reply {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.reply
	}
	if limit, ok := errors.AsType[*session.LimitError](err); ok {
		return limitReply(limit)
	}
	switch {
	case errors.Is(err, session.ErrDenied):
		return replyActionDenied.saying(err)
	case errors.Is(err, session.ErrTooMany):
		return replyTooManyMails.saying(err)
	case errors.Is(err, session.ErrNoSpace):
		return replyNoSpace
	case errors.Is(err, session.ErrQuota):
		return replyQuota
	default:
		return replyOurFault
	}
}

// limitReply answers an account that has to wait.
func limitReply(limit *session.LimitError) reply {
	return reply{450, "4.7.1", "The limit of " + limit.What + " is reached; it ends at " + limit.Until.UTC().Format("2006-01-02 15:04 UTC")}
}

// recipientReply answers a recipient to whom the account may not send, or not now.
func recipientReply(err error) reply {
	limit, waits := errors.AsType[*session.LimitError](err)
	switch {
	case waits:
		// The code of too many recipients: the peer sends what was accepted, and the
		// others later.
		r := limitReply(limit)
		r.code, r.enhanced = replyTooManyOfYours.code, replyTooManyOfYours.enhanced
		return r
	case errors.Is(err, session.ErrQuota):
		return replyTooManyOfYours
	case errors.Is(err, session.ErrDenied):
		return replyNotForYou.saying(err)
	default:
		return replyOurFault
	}
}

// goodbye is the last reply to a peer that is hung up on because of cause.
func goodbye(cause error) reply {
	if errors.Is(cause, session.ErrShutdown) {
		return replyShutdown
	}
	return replyClosed
}

// refuse answers a peer that is not served, before the greeting.
func refuse(c net.Conn, cause error) {
	r := replyUnavailable
	switch {
	case errors.Is(cause, session.ErrShutdown):
		r = replyShutdown
	case errors.Is(cause, session.ErrTooMany):
		r = replyTooMany
	case errors.Is(cause, session.ErrDenied):
		r = replyNotServed
	}
	_, _ = c.Write([]byte(r.String()))
}

// refusal is a reply that a message earned, with the detail for the record.
type refusal struct {
	reply  reply
	detail string
}

func (r *refusal) Error() string { return r.detail }

// printable keeps what may stand in a reply or a trace field: at most limit
// bytes of printable ASCII.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), limit)]
}
