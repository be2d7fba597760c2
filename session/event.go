package session

import (
	"context"
	"net/netip"
	"time"
)

// The kinds of event.
const (
	EventConnection = "connection"
	EventLogin      = "login"
	EventFile       = "file"
	EventMail       = "mail"
	EventAdmin      = "admin"
	EventPolicy     = "policy"
	EventAudit      = "audit"
)

// Outcomes of events.
const (
	OutcomeSession         = "session"          // connection: somebody logged in
	OutcomeNoLogin         = "no-login"         // connection: nobody did
	OutcomeHandshakeFailed = "handshake-failed" // connection
	OutcomeBanned          = "banned"           // connection
	OutcomeGranted         = "granted"          // login
	OutcomeError           = "error"            // login: no verdict could be reached
	OutcomeRefused         = "refused"          // any
	OutcomeFailed          = "failed"           // any
	OutcomeBegun           = "begun"            // file: about to be changed
	OutcomeDone            = "done"             // file, mail, admin
)

// What crossed the wire in a login.
const (
	CredentialNone      = "none"
	CredentialProtected = "protected"
	CredentialPlaintext = "plaintext"
)

// Event is one line of the record. The order of the fields is the order of the
// keys. Seq, Time and Node are set by the Recorder; fields that do not apply
// are left empty and not written. No field ever holds a secret.
type Event struct {
	Seq      int64     `json:"seq"`
	Time     time.Time `json:"time"`
	Node     string    `json:"node"`
	Event    string    `json:"event"`
	Conn     string    `json:"conn,omitempty"`
	Session  string    `json:"session,omitempty"`
	Listener string    `json:"listener,omitempty"`
	Protocol Protocol  `json:"protocol,omitempty"`

	Remote  netip.AddrPort `json:"remote,omitzero"`
	Local   netip.AddrPort `json:"local,omitzero"`
	Channel *Channel       `json:"channel,omitempty"`
	Client  string         `json:"client,omitempty"`
	User    string         `json:"user,omitempty"`
	Groups  []string       `json:"groups,omitempty"`
	Method  Method         `json:"method,omitempty"`
	Outcome string         `json:"outcome,omitempty"`
	Rule    string         `json:"rule,omitempty"`
	Reason  string         `json:"reason,omitempty"`

	// connection
	Count      int64 `json:"count,omitempty"`
	DurationMS int64 `json:"duration_ms,omitempty"`
	BytesIn    int64 `json:"bytes_in,omitempty"`
	BytesOut   int64 `json:"bytes_out,omitempty"`
	Logins     int64 `json:"logins,omitempty"`

	// login
	Stage       Phase    `json:"stage,omitempty"`
	Credential  string   `json:"credential,omitempty"`
	Token       string   `json:"token,omitempty"` // the id of the token that was used
	Exposed     bool     `json:"exposed,omitempty"`
	WouldRefuse []string `json:"would_refuse,omitempty"`
	Facts       *Request `json:"facts,omitempty"`
	Policy      string   `json:"policy,omitempty"`

	// file, mail, admin, policy, audit
	Verb   Verb   `json:"verb,omitempty"`
	Path   string `json:"path,omitempty"`
	Target string `json:"target,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`

	// mail
	MessageID  string   `json:"message_id,omitempty"`
	QueueID    string   `json:"queue_id,omitempty"`
	From       *string  `json:"from,omitempty"` // a pointer: the null reverse-path is written as ""
	To         []string `json:"to,omitempty"`
	Size       int64    `json:"size,omitempty"`
	Route      string   `json:"route,omitempty"`
	RemoteHost string   `json:"remote_host,omitempty"`
	TLS        string   `json:"tls,omitempty"`

	// admin
	Object string `json:"object,omitempty"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`

	// policy, audit
	Hash string `json:"hash,omitempty"`
}

// Recorder keeps the record. Both methods may be called at the same time from
// any goroutine.
type Recorder interface {
	// Commit returns nil once e is on stable storage, and an error if it could not
	// be put there: then what e says must not happen. Giving up on ctx does not
	// take e back.
	Commit(ctx context.Context, e Event) error
	// Append takes e to be on stable storage within a second. It returns an error
	// when the record can take no more: then changes must not begin.
	Append(e Event) error
}
