package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/audit"
	"gateway/session"
)

const (
	// maxReportRows bounds the rows of a report that are about accounts,
	maxReportRows = 50_000
	// maxUnknownRows those about names without one: strangers make up as many as
	// they like, and must not crowd out the accounts.
	maxUnknownRows = 2_000
	// maxOpen bounds who is remembered of connections that have not ended yet in the
	// record, as far as it has been read.
	maxOpen = 50_000
)

// PlaintextQuery says what a PlaintextReport is about.
type PlaintextQuery struct {
	Since, Until time.Time
	// All also lists those who protect everything.
	All bool
	// Concerned are those whom the report is about.
	Concerned Concerned
}

// Concerned tells whom a report is about, by the names of the record: nil for everybody,
// names without an account included.
type Concerned func(user string) bool

func (c Concerned) about(user string) bool { return c == nil || c(user) }

// PlaintextReport says who still uses plaintext, and whose data connections are
// not bound to their session, in a time.
type PlaintextReport struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Accounts and Unknown are how many accounts, and names that have none, did so.
	Accounts int            `json:"accounts"`
	Unknown  int            `json:"unknown"`
	Rows     []PlaintextRow `json:"rows"`            // the last seen first
	Notes    []string       `json:"notes,omitempty"` // what the report could not tell
	// Unread is how many lines of the record could not be read. The report lacks them.
	Unread int `json:"unread,omitempty"`
}

// PlaintextRow is one user with one protocol and client from one source.
type PlaintextRow struct {
	User     string           `json:"user"` // as recorded: unknown:... for a name without an account
	Protocol session.Protocol `json:"protocol"`
	Client   string           `json:"client"` // what the client said it is; often nothing
	// Remote is an IPv4 address, or the /64 of an IPv6 address.
	Remote string `json:"remote"`

	PlainLogins int64 `json:"plain_logins"` // granted over a clear channel
	// Ending are the logins granted, over any channel, by what the rules let pass for a
	// while only: those of devices.
	Ending  int64 `json:"ending"`
	Refused int64 `json:"refused"` // over a clear channel, before the credential was sent
	Exposed int64 `json:"exposed"` // credentials sent in clear and not granted

	// The data connections of FTP sessions that logged in over TLS: those that
	// resumed its TLS session, those over TLS that did not, and those in clear.
	DataBound   int64 `json:"data_bound"`
	DataUnbound int64 `json:"data_unbound"`
	DataClear   int64 `json:"data_clear"`

	// LastSeen is the last time of any of these but a bound data connection, or if
	// there is none, of anything.
	LastSeen time.Time `json:"last_seen"`
}

// Concerns reports whether something of the row is not protected.
func (r PlaintextRow) Concerns() bool {
	return r.PlainLogins+r.Ending+r.Refused+r.Exposed+r.DataUnbound+r.DataClear > 0
}

// Plaintext reads the record for a PlaintextReport. It needs no Service: it runs
// where it is asked for, and a long record neither keeps the gateway busy nor its
// state locked.
func Plaintext(ctx context.Context, r *audit.Reader, q PlaintextQuery) (PlaintextReport, error) {
	return plaintext(r.Query(ctx, audit.Filter{Since: q.Since, Until: q.Until}), q)
}

func plaintext(events iter.Seq2[audit.Record, error], q PlaintextQuery) (PlaintextReport, error) {
	t := newPlaintextTally(q.All)
	first, unread, gaps := true, 0, 0
	var begins time.Time
	for rec, err := range events {
		if err != nil {
			if !errors.As(err, new(*audit.LineError)) {
				return PlaintextReport{}, err
			}
			unread++
			continue
		}
		e := rec.Event
		if first && e.Seq == 1 && e.Time.After(q.Since) {
			begins = e.Time
		}
		first = false
		if e.Event == session.EventAudit && e.Verb == session.Gap {
			gaps++
		}
		if e.Event == session.EventConnection || e.Event == session.EventAudit || q.Concerned.about(e.User) {
			t.add(e)
		}
	}
	t.forget()
	out := t.report()
	out.Since, out.Until = q.Since, q.Until
	if !begins.IsZero() {
		out.note("the record begins at %s", begins.UTC().Format("2006-01-02 15:04 UTC"))
	}
	if gaps > 0 {
		out.note("the record has %d gaps in this time: what happened then is not known", gaps)
	}
	out.Unread = unread
	return out, nil
}

func (r *PlaintextReport) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// A source is what a row is about.
type source struct {
	user     string
	protocol session.Protocol
	client   string
	remote   netip.Prefix
}

// use is what a source did. What a row says of the source is not set.
type use struct {
	PlaintextRow
	seen time.Time // the last time of anything
}

func (u *use) add(v use) {
	u.PlainLogins += v.PlainLogins
	u.Ending += v.Ending
	u.Refused += v.Refused
	u.Exposed += v.Exposed
	u.DataBound += v.DataBound
	u.DataUnbound += v.DataUnbound
	u.DataClear += v.DataClear
	u.seen, u.LastSeen = later(u.seen, v.seen), later(u.LastSeen, v.LastSeen)
}

// at sets when it was.
func (u use) at(t time.Time) use {
	u.seen = t
	if u.Concerns() {
		u.LastSeen = t
	}
	return u
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// An openConnection is one whose end was not read yet. Clients often say what they
// are after the login, so that only the connection's own event knows it.
type openConnection struct {
	tls  bool // whoever logged in last did so over TLS
	uses map[string]*openUse
}

// openUse is what one user did on a connection so far.
type openUse struct {
	source
	use
}

type plaintextTally struct {
	all     bool
	conns   map[string]*openConnection
	pending int // uses in conns
	open    int // the most of them
	rows    map[source]*use
	known   [2]int // rows of accounts, and of other names
	limits  [2]int // the most of each

	full    int64 // connections left out of rows
	crowded bool  // conns were given up
}

func newPlaintextTally(all bool) *plaintextTally {
	return &plaintextTally{
		all: all, conns: make(map[string]*openConnection), open: maxOpen,
		rows: make(map[source]*use), limits: [2]int{maxReportRows, maxUnknownRows},
	}
}

// add takes the next event of the record.
func (t *plaintextTally) add(e session.Event) {
	switch e.Event {
	case session.EventLogin:
		t.login(e)
	case session.EventFile:
		t.file(e)
	case session.EventConnection:
		if c := t.conns[e.Conn]; c != nil {
			t.end(e.Conn, c, e.Client)
		}
	case session.EventAudit:
		if e.Verb == session.Start { // the connections of a process that was killed have no end
			t.forget()
		}
	}
}

func (t *plaintextTally) login(e session.Event) {
	if e.Channel == nil {
		return
	}
	granted, plain := e.Outcome == session.OutcomeGranted, e.Channel.Kind == session.Plain
	var u use
	switch {
	case granted && plain:
		u.PlainLogins = 1
	case granted:
	case plain && e.Credential == session.CredentialPlaintext:
		u.Exposed = 1
	case plain && e.Credential == session.CredentialNone && e.Outcome == session.OutcomeRefused:
		u.Refused = 1
	default:
		return
	}
	if granted && len(e.WouldRefuse) > 0 {
		u.Ending = 1
	}
	if !u.Concerns() && e.Protocol != session.FTP && !t.all {
		return
	}
	c, o := t.remember(e)
	if granted {
		c.tls = e.Channel.Kind == session.TLS
	}
	if e.Client != "" {
		o.client = e.Client
	}
	o.add(u.at(e.Time))
}

// remember returns what is known of the connection of a login and of its user.
func (t *plaintextTally) remember(e session.Event) (*openConnection, *openUse) {
	if c := t.conns[e.Conn]; c != nil && c.uses[e.User] != nil {
		return c, c.uses[e.User]
	}
	if t.pending >= t.open {
		t.crowded = true
		t.forget()
	}
	c := t.conns[e.Conn]
	if c == nil {
		c = &openConnection{uses: make(map[string]*openUse)}
		t.conns[e.Conn] = c
	}
	o := &openUse{source: sourceOf(e)}
	c.uses[e.User] = o
	t.pending++
	return c, o
}

func sourceOf(e session.Event) source {
	return source{e.User, e.Protocol, e.Client, session.SourcePrefix(e.Remote.Addr())}
}

// file counts the data connection of a transfer or a listing of FTP. Its channel is
// the data connection's own, where there was one; the channel of a session, which
// stands for it otherwise, has no version.
func (t *plaintextTally) file(e session.Event) {
	if e.Protocol != session.FTP || e.Channel == nil || e.Outcome != session.OutcomeDone && e.Outcome != session.OutcomeFailed {
		return
	}
	switch e.Verb {
	case session.Read, session.Write, session.Append, session.List:
	default:
		return
	}
	c := t.conns[e.Conn]
	var u use
	switch {
	case e.Channel.Kind == session.TLS && e.Channel.Resumed:
		u.DataBound = 1
	case e.Channel.Kind == session.TLS && e.Channel.Version != "":
		u.DataUnbound = 1
	case e.Channel.Kind == session.Plain && c != nil && c.tls:
		u.DataClear = 1
	default:
		return
	}
	if c != nil && c.uses[e.User] != nil {
		c.uses[e.User].add(u.at(e.Time))
		return
	}
	t.count(sourceOf(e), u.at(e.Time)) // logged in before the time that is asked for
}

// end moves what was done on a connection to the rows. client is what the
// connection's event says, or empty.
func (t *plaintextTally) end(id string, c *openConnection, client string) {
	for _, o := range c.uses {
		if client != "" {
			o.client = client
		}
		t.count(o.source, o.use)
	}
	t.pending -= len(c.uses)
	delete(t.conns, id)
}

// forget ends all connections.
func (t *plaintextTally) forget() {
	for id, c := range t.conns {
		t.end(id, c, "")
	}
}

// count adds to a row.
func (t *plaintextTally) count(s source, u use) {
	if !u.Concerns() && u.DataBound == 0 && !t.all {
		return
	}
	row := t.rows[s]
	if row == nil {
		kind := 0
		if unknownName(s.user) {
			kind = 1
		}
		if t.known[kind] >= t.limits[kind] {
			t.full++
			return
		}
		t.known[kind]++
		row = &use{}
		t.rows[s] = row
	}
	row.add(u)
}

// unknownName reports whether a recorded name is that of no account
// (session.UnknownName).
func unknownName(user string) bool { return user == "" || strings.HasPrefix(user, "unknown:") }

// report makes the rows; the connections have been ended before.
func (t *plaintextTally) report() PlaintextReport {
	out := PlaintextReport{Rows: []PlaintextRow{}}
	names := make(map[string]bool)
	for s, u := range t.rows {
		row := u.PlaintextRow
		if !row.Concerns() {
			if !t.all {
				continue
			}
			row.LastSeen = u.seen
		} else if !names[s.user] {
			names[s.user] = true
			if unknownName(s.user) {
				out.Unknown++
			} else {
				out.Accounts++
			}
		}
		row.User, row.Protocol, row.Client = s.user, s.protocol, s.client
		row.Remote = strings.TrimSuffix(s.remote.String(), "/32")
		if !s.remote.IsValid() {
			row.Remote = ""
		}
		out.Rows = append(out.Rows, row)
	}
	slices.SortFunc(out.Rows, func(a, b PlaintextRow) int {
		if c := b.LastSeen.Compare(a.LastSeen); c != 0 {
			return c
		}
		return strings.Compare(a.key(), b.key())
	})
	if t.full > 0 {
		out.note("a report has at most %d rows about accounts and %d about other names: %d connections of further ones are left out; "+
			"ask for a shorter time", t.limits[0], t.limits[1], t.full)
	}
	if t.crowded {
		out.note("more than %d users were connected at once: for some, the client and clear data connections are missing", t.open)
	}
	return out
}

func (r PlaintextRow) key() string {
	return strings.Join([]string{r.User, string(r.Protocol), r.Client, r.Remote}, "\x00")
}
