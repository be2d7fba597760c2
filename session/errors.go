package session

import (
	"errors"
	"io/fs"
	"strings"
)

// The kinds of failure that callers tell apart, by errors.Is. A front-end turns
// each into the reply that its protocol has for it; nothing else of an error
// reaches the peer.
var (
	// ErrDenied is every refusal of a login or of an action: unknown user, wrong
	// proof, refused by a rule. The peer is not told which.
	ErrDenied = errors.New("denied")
	// ErrInsecure says that this credential may not be sent over this channel. It
	// is returned before the credential is asked for, and the connection stays
	// open so that the client can upgrade. The error is a *Refusal.
	ErrInsecure = errors.New("encryption required")
	// ErrTooMany is a limit that was reached: connections, guesses, sessions, open
	// files. It is temporary.
	ErrTooMany = errors.New("too many")
	// ErrBanned is an ErrTooMany whose source is banned for a while.
	ErrBanned error = &kind{"banned", ErrTooMany}
	// ErrUnavailable is a failure of ours: the record cannot be written, the store
	// is away, the hashing queue is full. It is temporary, and never says anything
	// about the credential.
	ErrUnavailable = errors.New("temporarily unavailable")
	// ErrPaused is an ErrUnavailable by a rule that refuses for a while, in a brownout.
	// The error is a *Refusal that says until when.
	ErrPaused error = &kind{"refused for a while", ErrUnavailable}
	// ErrDropped is an ErrDenied by a rule that hangs up on the peer without a word.
	ErrDropped error = &kind{"dropped by a rule", ErrDenied}
	// ErrQuota is an account's storage used up.
	ErrQuota = errors.New("over quota")
	// ErrNoSpace is the gateway's own storage used up.
	ErrNoSpace = errors.New("no space left")
	// ErrBusy is an object that somebody else is changing at this moment.
	ErrBusy = errors.New("busy")
	// ErrName is a name that no front-end may use: too long, with NUL, CR or LF,
	// or reserved for the gateway.
	ErrName = errors.New("name not allowed")
	// ErrRange is a restart offset that is negative or past the end of the file.
	ErrRange = errors.New("offset out of range")
	// ErrIsDirectory and ErrNotDirectory tell a file from a folder.
	ErrIsDirectory  = errors.New("is a directory")
	ErrNotDirectory = errors.New("not a directory")
	// ErrNotEmpty is a folder that cannot be removed while it holds something.
	ErrNotEmpty = errors.New("directory not empty")

	// ErrAborted is an exchange that the peer gave up: nothing was proven.
	ErrAborted = errors.New("exchange aborted by the peer")

	// The kinds that the standard library has a word for are that word.
	ErrNotExist    = fs.ErrNotExist
	ErrExist       = fs.ErrExist
	ErrClosed      = fs.ErrClosed
	ErrUnsupported = errors.ErrUnsupported
)

// Causes of the end of a connection, for Attempt.Close and Session.Close.
var (
	// ErrHandshake is a TLS handshake or SSH key exchange that failed.
	ErrHandshake = errors.New("handshake failed")
	// ErrGrace is a peer that did not log in within the login grace time.
	ErrGrace = errors.New("login grace time exceeded")
	// ErrIdle is a peer that was silent for longer than the idle timeout.
	ErrIdle = errors.New("idle timeout")
	// ErrProtocol is a peer that broke its protocol so badly that it was cut off.
	ErrProtocol = errors.New("protocol violation")
	// ErrShutdown is the gateway stopping.
	ErrShutdown = errors.New("shutting down")
	// ErrKilled is a session ended by an administrator.
	ErrKilled = errors.New("killed by administrator")
	// ErrDisabled is a session ended because its account may no longer be used.
	ErrDisabled = errors.New("account disabled")
	// ErrNoLonger is a session that the rules or its account's permissions, which were
	// changed, would not let in any more.
	ErrNoLonger = errors.New("no longer allowed")
	// ErrPanic is a fault of ours in the code that served the connection.
	ErrPanic = errors.New("internal error")
)

// kind is an error that is also its parent.
type kind struct {
	text   string
	parent error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.parent }

// A Refusal is one of the kinds above with the text that the rule's owner wrote
// for the peer. The text is the same for every user, so it tells nothing about
// the one named.
type Refusal struct {
	Kind error
	Hint string // may be empty
}

func (r *Refusal) Error() string { return r.Kind.Error() }
func (r *Refusal) Unwrap() error { return r.Kind }

// Hint returns the text for the peer that err carries, or "".
func Hint(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Hint
	}
	return ""
}

// A MoreError says that the proof was right and that the rules ask for a further
// one.
// Methods lists what may be offered next.
type MoreError struct{ Methods []Method }

func (e *MoreError) Error() string {
	names := make([]string, len(e.Methods))
	for i, m := range e.Methods {
		names[i] = string(m)
	}
	return "more proof needed: " + strings.Join(names, ", ")
}
