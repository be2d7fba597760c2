package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/audit"
	"gateway/policies"
	"gateway/session"
)

const (
	// maxReplayRows bounds the rows of a Replay; what is beyond is counted only.
	maxReplayRows = 50_000
	// maxDiffering is how many logins are named that the record has otherwise.
	maxDiffering = 20
)

// Fates of a login under some rules.
const (
	FateAllowed = "allowed"
	FateWarned  = "warned"          // allowed, and told that it will not be for long
	FateWaits   = "refused-for-now" // in a brownout
	FateRefused = "refused"
)

// fate is what becomes of a login by a verdict.
func fate(v session.Verdict) string {
	switch {
	case v.Allowed && v.Notice == "":
		return FateAllowed
	case v.Allowed:
		return FateWarned
	case v.Retry.IsZero():
		return FateRefused
	default:
		return FateWaits
	}
}

// ReplayQuery says which logins are decided again, and how.
type ReplayQuery struct {
	Since, Until time.Time
	// At, if it is not zero, is when the new rules are to think that the logins happen.
	At time.Time
	// InForce returns the rules that were in force, by their hash.
	InForce func(hash string) (*policies.Policy, error)
	// Concerned are those whose logins are decided again.
	Concerned Concerned
	// Owner is whom to write to about an account, empty if nobody is known. May be nil.
	Owner func(user string) string
}

// Replay says what new rules would have made of the logins of the record.
type Replay struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	At    time.Time `json:"at,omitzero"`
	Hash  string    `json:"hash"` // of the new rules

	// Logins were decided again by the rules that were in force. Differing are those of
	// them that the record has otherwise, which should be none; Examples are the numbers
	// of some.
	Logins    int64   `json:"logins"`
	Differing int64   `json:"differing"`
	Examples  []int64 `json:"examples,omitempty"`
	// Apart are logins in which the rules had no part, such as a wrong password; and
	// those that hold no facts, of an older gateway, or whose rules are not kept any more.
	Apart   int64    `json:"apart"`
	NoFacts int64    `json:"no_facts"`
	NoRules int64    `json:"no_rules"`
	Missing []string `json:"missing,omitempty"` // hashes of rules that are not kept

	Rows   []ReplayRow `json:"rows"` // of those who would fare otherwise; the last seen first
	Beyond int64       `json:"beyond,omitempty"`
	Gaps   int         `json:"gaps,omitempty"`
	Unread int         `json:"unread,omitempty"`
}

// ReplayRow is one user who would fare otherwise, with one protocol, channel and kind of
// client, from one network.
type ReplayRow struct {
	Before string `json:"before"` // a fate
	After  string `json:"after"`

	User     string           `json:"user"` // as recorded
	Groups   []string         `json:"groups,omitempty"`
	Owner    string           `json:"owner,omitempty"` // an address of the account
	Protocol session.Protocol `json:"protocol"`
	Channel  string           `json:"channel"`
	Client   string           `json:"client"` // its class
	Network  string           `json:"network"`

	Logins   int64     `json:"logins"`
	LastSeen time.Time `json:"last_seen"`
	Rule     string    `json:"rule"` // that decides, of the new rules, at the last login
}

// ReplayPolicy decides the logins of the record again: by the rules that were in force,
// which must come to what was recorded, and by p. Like Plaintext, it needs no Service.
func ReplayPolicy(ctx context.Context, r *audit.Reader, p *policies.Policy, q ReplayQuery) (Replay, error) {
	// Two passes over lines of one kind are faster than one that looks into each line.
	of := func(event string) iter.Seq2[audit.Record, error] {
		return r.Query(ctx, audit.Filter{Event: event, Since: q.Since, Until: q.Until})
	}
	return replay(of(session.EventLogin), of(session.EventAudit), p, q)
}

// replayKey is what a row is about.
type replayKey struct {
	before, after, user string
	protocol            session.Protocol
	channel             session.ChannelKind
	client              session.Client
	network             netip.Prefix
}

// replaying is a Replay that is under way.
type replaying struct {
	Replay
	policy *policies.Policy
	query  ReplayQuery
	old    map[string]*policies.Policy // by hash; nil for one that is not kept
	rows   map[replayKey]*ReplayRow
}

func replay(logins, proofs iter.Seq2[audit.Record, error], p *policies.Policy, q ReplayQuery) (Replay, error) {
	t := replaying{
		Replay: Replay{Since: q.Since, Until: q.Until, At: q.At, Hash: p.Hash()},
		policy: p, query: q, old: make(map[string]*policies.Policy), rows: make(map[replayKey]*ReplayRow),
	}
	for rec, err := range logins {
		switch {
		case err == nil && q.Concerned.about(rec.Event.User):
			t.login(&rec.Event)
		case err == nil:
		case errors.As(err, new(*audit.LineError)):
			t.Unread++
		default:
			return Replay{}, err
		}
	}
	for rec, err := range proofs {
		switch {
		case err == nil && rec.Event.Verb == session.Gap:
			t.Gaps++
		case err != nil && !errors.As(err, new(*audit.LineError)):
			return Replay{}, err
		}
	}
	for _, row := range t.rows {
		t.Rows = append(t.Rows, *row)
	}
	slices.SortFunc(t.Rows, func(x, y ReplayRow) int {
		return cmp.Or(y.LastSeen.Compare(x.LastSeen), strings.Compare(x.User, y.User), strings.Compare(string(x.Protocol), string(y.Protocol)),
			strings.Compare(x.Network, y.Network), strings.Compare(x.Channel, y.Channel), strings.Compare(x.After, y.After))
	})
	slices.Sort(t.Missing)
	return t.Replay, nil
}

func (t *replaying) login(e *session.Event) {
	if e.Facts == nil {
		t.NoFacts++
		return
	}
	old := t.inForce(e.Policy)
	if old == nil {
		t.NoRules++
		return
	}
	then := old.Decide(*e.Facts)
	granted := e.Outcome == session.OutcomeGranted
	if !granted && (e.Outcome != session.OutcomeRefused || e.Rule == "" || then.Allowed && then.Rule == e.Rule) {
		t.Apart++ // it failed by something else
		return
	}
	t.Logins++
	if granted != then.Allowed || then.Rule != e.Rule {
		t.Differing++
		if len(t.Examples) < maxDiffering {
			t.Examples = append(t.Examples, e.Seq)
		}
	}
	facts := *e.Facts
	if !t.query.At.IsZero() {
		facts.Time = t.query.At
	}
	now := t.policy.Decide(facts)
	if before, after := fate(then), fate(now); before != after {
		t.add(e, before, after, now.Rule)
	}
}

// inForce returns the rules with that hash, nil if they are not kept.
func (t *replaying) inForce(hash string) *policies.Policy {
	p, known := t.old[hash]
	if !known {
		var err error
		if p, err = t.query.InForce(hash); err != nil {
			p = nil
			t.Missing = append(t.Missing, fmt.Sprint(err))
		}
		t.old[hash] = p
	}
	return p
}

func (t *replaying) add(e *session.Event, before, after, rule string) {
	f := e.Facts
	key := replayKey{before, after, e.User, f.Protocol, f.Channel, f.Client, session.ClientNetwork(f.Remote)}
	row := t.rows[key]
	if row == nil {
		if len(t.rows) >= maxReplayRows {
			t.Beyond++
			return
		}
		row = &ReplayRow{
			Before: before, After: after, User: e.User, Protocol: f.Protocol, Channel: f.Channel.String(), Client: f.Client.String(),
			Network: key.network.String(),
		}
		if t.query.Owner != nil {
			row.Owner = t.query.Owner(e.User)
		}
		t.rows[key] = row
	}
	row.Logins++
	if !e.Time.Before(row.LastSeen) {
		row.LastSeen, row.Groups, row.Rule = e.Time, e.Groups, rule
	}
}
