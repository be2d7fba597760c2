package limits

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"gateway/session"
)

// maxPenalties is how many networks of one size and family are remembered. When
// they are too many, those that owe least are forgotten: a flood of sources must
// not keep others out.
const maxPenalties = 65536

// Penalty is the time that an offence adds to what its source owes. They are
// those of OpenSSH's PerSourcePenalties where it has them, with two exceptions. A key
// that is none of the account's is no guess, for keys cannot be guessed: who tries
// whether one is there (ssh-copy-id), or has an old one, costs us the connection only.
// And who is refused by the rules may be a client that is about to learn from the
// refusal where else to go, which 10 seconds for each would keep it from.
func Penalty(o session.Offence) time.Duration {
	switch o {
	case session.WrongProof, session.UnknownUser:
		return 5 * time.Second
	case session.GraceExceeded:
		return 10 * time.Second
	case session.BadProtocol:
		return 2 * time.Second
	case session.InsecureAttempt, session.NoLogin, session.RepeatedProof, session.UnknownKey, session.Refused:
		return time.Second
	case session.Crash:
		return 90 * time.Second
	default:
		return time.Second
	}
}

// offences lists those that are counted, in the order of the counters.
func offences() []session.Offence {
	return []session.Offence{
		session.WrongProof, session.UnknownUser, session.InsecureAttempt, session.NoLogin,
		session.GraceExceeded, session.BadProtocol, session.Crash, session.RepeatedProof, session.UnknownKey, session.Refused,
	}
}

const offenceKinds = 10

func offenceNumber(o session.Offence) int { return slices.Index(offences(), o) }

// A level is a size of network that is charged. No single offence is enough to
// ban more than its own source. An offence is charged to all
// levels, with a share of its price that is the smaller the wider the network is.
type level struct {
	bits  int
	share time.Duration // the price is divided by it
}

func levels(v6 bool) [3]level {
	if v6 {
		return [3]level{{64, 1}, {48, 8}, {32, 64}}
	}
	return [3]level{{32, 1}, {26, 8}, {21, 64}}
}

// debt is what one network owes. It is paid off as time passes.
type debt struct {
	since  time.Time // the first offence of this debt
	until  time.Time // when nothing will be owed
	banned bool      // it once owed enough, and is banned until it owes nothing
	counts [offenceKinds]uint32
}

// penalties is guarded by Limits.mu.
type penalties struct {
	threshold, most time.Duration
	v4, v6          [3]map[netip.Prefix]*debt // by level
	room            int                       // maxPenalties, less in tests
}

func newPenalties(cfg Config) penalties {
	p := penalties{threshold: cfg.PenaltyThreshold, most: cfg.PenaltyMax, room: maxPenalties}
	for i := range 3 {
		p.v4[i] = make(map[netip.Prefix]*debt)
		p.v6[i] = make(map[netip.Prefix]*debt)
	}
	return p
}

// tables returns those for the family of addr, with their levels.
func (p *penalties) tables(addr netip.Addr) (*[3]map[netip.Prefix]*debt, [3]level) {
	if addr.Is6() {
		return &p.v6, levels(true)
	}
	return &p.v4, levels(false)
}

// charge adds an offence and returns the bans that begin with it.
func (p *penalties) charge(addr netip.Addr, o session.Offence, now time.Time) (begun []Ban) {
	tables, levels := p.tables(addr)
	for i, lv := range levels {
		prefix, err := addr.Prefix(lv.bits)
		if err != nil {
			return begun
		}
		d := owing(tables[i], prefix, now)
		if d == nil {
			p.makeRoom(tables[i], now)
			d = &debt{since: now, until: now}
			tables[i][prefix] = d
		}
		if n := offenceNumber(o); n >= 0 && d.counts[n] < 1<<32-1 {
			d.counts[n]++
		}
		d.until = d.until.Add(Penalty(o) / lv.share)
		if latest := now.Add(p.most); d.until.After(latest) {
			d.until = latest
		}
		if !d.banned && d.until.Sub(now) >= p.threshold {
			d.banned = true
			begun = append(begun, d.ban(prefix))
		}
	}
	return begun
}

// owing returns what prefix owes, or nil, and forgets a debt that is paid.
func owing(table map[netip.Prefix]*debt, prefix netip.Prefix, now time.Time) *debt {
	d := table[prefix]
	if d != nil && !d.until.After(now) {
		delete(table, prefix)
		return nil
	}
	return d
}

// sampled is how many entries are looked at to make room for one, so that the
// price does not depend on how full a table is.
const sampled = 8

// makeRoom forgets some debts that are paid, and if the table is full the least
// of a few. Go begins each iteration over a map at a random place.
func (p *penalties) makeRoom(table map[netip.Prefix]*debt, now time.Time) {
	var least netip.Prefix
	var leastDebt *debt
	looked := 0
	for prefix, d := range table {
		if !d.until.After(now) {
			delete(table, prefix)
		} else if leastDebt == nil || d.until.Before(leastDebt.until) {
			least, leastDebt = prefix, d
		}
		if looked++; looked == sampled {
			break
		}
	}
	if len(table) >= p.room {
		delete(table, least)
	}
}

// banned reports whether addr is in a network that is banned. Of known sources
// only what they did themselves counts.
func (p *penalties) banned(addr netip.Addr, known bool, now time.Time) bool {
	tables, levels := p.tables(addr)
	for i, lv := range levels {
		if i > 0 && known {
			return false
		}
		prefix, err := addr.Prefix(lv.bits)
		if err != nil {
			return false
		}
		if d := owing(tables[i], prefix, now); d != nil && d.banned {
			return true
		}
	}
	return false
}

func (p *penalties) size() int {
	n := 0
	for i := range 3 {
		n += len(p.v4[i]) + len(p.v6[i])
	}
	return n
}

// bans lists the networks that are banned.
func (p *penalties) bans(now time.Time) []Ban {
	var out []Ban
	for _, tables := range []*[3]map[netip.Prefix]*debt{&p.v4, &p.v6} {
		for _, table := range tables {
			for prefix, d := range table {
				if d.banned && d.until.After(now) {
					out = append(out, d.ban(prefix))
				}
			}
		}
	}
	return out
}

func (d *debt) ban(prefix netip.Prefix) Ban {
	b := Ban{Source: prefix, Since: d.since, Until: d.until, Offences: make(map[session.Offence]int)}
	for i, o := range offences() {
		if d.counts[i] > 0 {
			b.Offences[o] = int(d.counts[i])
		}
	}
	b.Reason = describe(b.Offences)
	return b
}

// forgive forgets what every network inside prefix owes, and reports whether one
// of them was banned.
func (p *penalties) forgive(prefix netip.Prefix) bool {
	found := false
	tables, _ := p.tables(prefix.Addr())
	for _, table := range tables {
		maps.DeleteFunc(table, func(q netip.Prefix, d *debt) bool {
			inside := q.Bits() >= prefix.Bits() && prefix.Contains(q.Addr())
			found = found || inside && d.banned
			return inside
		})
	}
	return found
}
