// Package migration says where each account stands on its way off plaintext.
package migration

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// State is how far an account has come.
type State string

// The states, from the one that says least.
const (
	Unseen    State = "never seen"
	Plain     State = "plain only"
	Both      State = "both"
	Encrypted State = "encrypted only"
	KeyOnly   State = "key only"
)

// Account is what is known of an account beside its logins.
type Account struct {
	Name     string
	Groups   []string
	Disabled bool
	Keys     int
}

// Rules are those in force, as far as they matter here.
type Rules interface {
	Decide(session.Request) session.Verdict
	// Waived lists the exempts that a login needs in order to pass.
	Waived(session.Request) []string
	// Instead is what a client can do in place of a login in clear, in a sentence.
	Instead(session.Protocol, session.Client) string
	// Changes lists the moments after that time at which something else is decided.
	Changes(after time.Time) []time.Time
	// FloorDays is on how many days an account must have reached a level to be held to it.
	FloorDays() int
}

// Standing is one account.
type Standing struct {
	User     string   `json:"user"`
	Groups   []string `json:"groups,omitempty"`
	Disabled bool     `json:"disabled,omitempty"`
	State    State    `json:"state"`

	PlainLogins     int64     `json:"plain_logins"`
	EncryptedLogins int64     `json:"encrypted_logins"` // of them KeyLogins by a key
	KeyLogins       int64     `json:"key_logins"`
	LastSeen        time.Time `json:"last_seen,omitzero"`

	// The last login in clear.
	LastPlain time.Time        `json:"last_plain,omitzero"`
	Protocol  session.Protocol `json:"protocol,omitempty"`
	Client    string           `json:"client,omitempty"` // its class
	Network   string           `json:"network,omitempty"`

	// Stage is what the rules make of such a login now: allowed, warned, refused for now or
	// refused. Notice is what its client is told, with the day. Then is what they make of it
	// next, from ThenFrom on, if the dates in them change it.
	Stage    string    `json:"stage,omitempty"`
	Notice   string    `json:"notice,omitempty"`
	Then     string    `json:"then,omitempty"`
	ThenFrom time.Time `json:"then_from,omitzero"`
	// Paused are the logins in clear that were refused in a brownout, the last of them at
	// LastPaused; Return is how the account came back after that: encrypted, in clear, or
	// not yet.
	Paused     int64     `json:"paused,omitempty"`
	LastPaused time.Time `json:"last_paused,omitzero"`
	Return     string    `json:"return,omitempty"`
	// Blocker is what keeps the account in clear: the exempt that lets it.
	Blocker string `json:"blocker,omitempty"`
	// Floor is the highest level that was reached on Rules.FloorDays; empty for none.
	Floor string `json:"floor,omitempty"`
	// Next is the step to take, in a sentence.
	Next string `json:"next"`

	client session.Client
}

// Day is how many logins were granted on a day, in UTC.
type Day struct {
	Date      string `json:"date"`
	Plain     int64  `json:"plain"`
	Encrypted int64  `json:"encrypted"`
}

// Report is where everybody stands.
type Report struct {
	Since  time.Time     `json:"since"`
	Until  time.Time     `json:"until"`
	States map[State]int `json:"states"`
	Rows   []Standing    `json:"rows"` // those who are furthest behind first
	Days   []Day         `json:"days"` // each from the first with a login on
	Unread int           `json:"unread,omitempty"`
}

// standing is a Standing that is being found out, with the facts of its last logins.
type standing struct {
	Standing
	plain, last   session.Request
	lastEncrypted time.Time
}

// How an account came back from a brownout.
const (
	returnEncrypted = "encrypted"
	returnPlain     = "in clear"
	returnNot       = "not yet"
)

// Stand finds out where the accounts stand, by the logins that were granted to them, and
// by those that a brownout refused.
func Stand(accounts []Account, logins iter.Seq[session.Event], rules Rules, since, until time.Time) Report {
	out := Report{Since: since, Until: until, States: make(map[State]int)}
	byName := make(map[string]*standing, len(accounts))
	for _, a := range accounts {
		byName[a.Name] = &standing{Standing: Standing{User: a.Name, Groups: a.Groups, Disabled: a.Disabled}}
	}
	days := make(map[string]*Day)
	for e := range logins {
		if e.Channel == nil {
			continue
		}
		if e.Outcome != session.OutcomeGranted {
			if s := byName[e.User]; s != nil {
				s.refused(e, rules)
			}
			continue
		}
		encrypted := e.Channel.Kind.Encrypted()
		date := e.Time.UTC().Format(time.DateOnly)
		day := days[date]
		if day == nil {
			day = &Day{Date: date}
			days[date] = day
		}
		if encrypted {
			day.Encrypted++
		} else {
			day.Plain++
		}
		if s := byName[e.User]; s != nil {
			s.add(e, encrypted)
		}
	}
	for _, a := range accounts {
		s := byName[a.Name]
		s.conclude(a, rules, until)
		out.States[s.State]++
		out.Rows = append(out.Rows, s.Standing)
	}
	slices.SortFunc(out.Rows, func(x, y Standing) int {
		return cmp.Or(cmp.Compare(rank(x.State), rank(y.State)), y.LastPlain.Compare(x.LastPlain), strings.Compare(x.User, y.User))
	})
	out.Days = everyDay(days)
	return out
}

// States lists them, who has to move first.
func States() []State { return []State{Plain, Both, Encrypted, KeyOnly, Unseen} }

func rank(s State) int { return slices.Index(States(), s) }

// refused takes note of a login that was refused in the window of a brownout.
func (s *standing) refused(e session.Event, rules Rules) {
	if e.Outcome != session.OutcomeRefused || e.Facts == nil || e.Channel.Kind.Encrypted() {
		return
	}
	if v := rules.Decide(*e.Facts); !v.Allowed && !v.Retry.IsZero() {
		s.Paused++
		s.LastPaused = e.Time
		if s.client == session.ClientUnknown {
			s.client = e.Facts.Client
		}
	}
}

func (s *standing) add(e session.Event, encrypted bool) {
	if e.Facts != nil {
		s.last = *e.Facts
	}
	s.LastSeen = e.Time
	switch {
	case !encrypted:
		s.PlainLogins++
		s.LastPlain, s.Protocol = e.Time, e.Protocol
		if e.Facts != nil {
			s.plain, s.client = *e.Facts, e.Facts.Client
			s.Client, s.Network = e.Facts.Client.String(), session.ClientNetwork(e.Facts.Remote).String()
		}
	default:
		s.EncryptedLogins++
		s.lastEncrypted = e.Time
		if e.Method == session.MethodPublicKey {
			s.KeyLogins++
		}
	}
}

// conclude says what follows from what was added.
func (s *standing) conclude(a Account, rules Rules, now time.Time) {
	switch {
	case s.PlainLogins > 0 && s.EncryptedLogins > 0:
		s.State = Both
	case s.PlainLogins > 0:
		s.State = Plain
	case s.EncryptedLogins == 0:
		s.State = Unseen
	case s.KeyLogins == s.EncryptedLogins:
		s.State = KeyOnly
	default:
		s.State = Encrypted
	}
	switch {
	case s.Paused == 0:
	case s.lastEncrypted.After(s.LastPaused):
		s.Return = returnEncrypted
	case s.LastPlain.After(s.LastPaused):
		s.Return = returnPlain
	default:
		s.Return = returnNot
	}
	for level := range session.Levels {
		if int(s.last.Floors.Account[level]) >= rules.FloorDays() {
			s.Floor = level.String()
		}
	}
	if s.PlainLogins > 0 && s.plain.Protocol != "" {
		s.foresee(rules, now)
	}
	s.Next = s.next(a, rules)
}

// foresee says what becomes of a login like the last one in clear, now and next.
func (s *standing) foresee(rules Rules, now time.Time) {
	again := s.plain
	again.Time = now
	v := rules.Decide(again)
	s.Stage, s.Notice = stage(v), v.Notice
	s.Blocker = strings.Join(rules.Waived(again), ", ")
	for _, again.Time = range rules.Changes(now) {
		if then := stage(rules.Decide(again)); then != s.Stage {
			s.Then, s.ThenFrom = then, again.Time
			return
		}
	}
}

func stage(v session.Verdict) string {
	switch {
	case v.Allowed && v.Notice == "":
		return "allowed"
	case v.Allowed:
		return "warned"
	case v.Retry.IsZero():
		return "refused"
	default:
		return "refused for now"
	}
}

// next is one sentence for whoever helps the account along.
func (s *standing) next(a Account, rules Rules) string {
	switch {
	case a.Disabled:
		return "Nothing: the account is disabled."
	case s.Return == returnNot:
		return "A brownout refused it on " + s.LastPaused.Format(time.DateOnly) + ", and it has not come back: ask its owner. " + rules.Instead(s.Protocol, s.client)
	case s.State == Unseen:
		return "Find out whether anybody needs it; else: gateway user disable " + a.Name
	case s.State == Plain && s.Stage == "refused":
		return "It is refused in clear now, and has not come back. " + rules.Instead(s.Protocol, s.client)
	case s.State == Plain:
		return s.lead() + rules.Instead(s.Protocol, s.client)
	case s.State == Both && s.Stage == "refused":
		return "It can encrypt, and is refused in clear now: nothing, unless it asks."
	case s.State == Both && s.LastPlain.Before(s.LastSeen) && s.Blocker != "":
		return "It can encrypt, and did so last: end its " + s.Blocker + "."
	case s.State == Both && s.LastPlain.Before(s.LastSeen):
		return "It can encrypt, and did so last: move it to a group that must."
	case s.State == Both:
		return "It can encrypt, and this client did not: " + s.lead() + rules.Instead(s.Protocol, s.client)
	case s.State == Encrypted && a.Keys == 0:
		return "It is there. A key instead of the password is safer: gateway user key add " + a.Name + " FILE"
	case s.State == Encrypted:
		return "It is there, and has a key: let it log in by that alone."
	default:
		return "Nothing: it is there."
	}
}

// lead is what to do before the client is changed, and by when that is due.
func (s *standing) lead() string {
	if s.Then == "refused" {
		return "By " + s.ThenFrom.Format(time.DateOnly) + ": "
	}
	return ""
}

// maxDays bounds the days of a report, of which the last are kept.
const maxDays = 400

// everyDay puts the days in their order, those without a login among them.
func everyDay(days map[string]*Day) []Day {
	var dates []string
	for date := range days {
		dates = append(dates, date)
	}
	if len(dates) == 0 {
		return nil
	}
	slices.Sort(dates)
	first, _ := time.Parse(time.DateOnly, dates[0])
	last, _ := time.Parse(time.DateOnly, dates[len(dates)-1])
	if begin := last.AddDate(0, 0, 1-maxDays); first.Before(begin) {
		first = begin
	}
	var out []Day
	for t := first; !t.After(last); t = t.AddDate(0, 0, 1) {
		date := t.Format(time.DateOnly)
		if d := days[date]; d != nil {
			out = append(out, *d)
		} else {
			out = append(out, Day{Date: date})
		}
	}
	return out
}
