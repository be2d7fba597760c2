package auth

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gateway/session"
)

const (
	// maxClients is how many clients are told apart of one account. Further ones are
	// not, and have the floors of the whole account only.
	maxClients = 64
	// historyTime is how long what a login showed is only noted. Who crashes within it
	// forgets it.
	historyTime = time.Second
)

var _ session.Historian = (*Accounts)(nil)

// history is what logins showed, by account. It is stored when something changed
// that is worth it, which for a login of the usual kind is once a day.
type history struct {
	mu       sync.Mutex
	accounts map[int64]*past
	changed  noted[int64, struct{}] // since it was stored
}

// past is what logins of one account showed.
type past struct {
	whole   counts
	quiet   session.Days
	since   [session.Levels]int64 // day of the last login below, or of the first at the level; 0: never reached
	clients map[session.ClientID]*counts
	exposed exposure
	last    int64 // day of the last login; 0: none
}

// counts are the days on which a level was reached.
type counts struct {
	days session.Days
	day  [session.Levels]int64 // the last one counted
}

// reached counts a day, if it was not yet.
func (c *counts) reached(l session.Level, day int64) (fresh bool) {
	if day <= c.day[l] || c.days[l] == 1<<16-1 {
		return false
	}
	c.day[l] = day
	c.days[l]++
	return true
}

// An exposure is a password that crossed in clear.
type exposure struct {
	password    int64 // id; 0 for none
	first, last time.Time
	count       int64 // 0: it counts as exposed no longer
	source      string
}

// of reports whether it is the password with that id that is exposed.
func (e *exposure) of(password int64) bool {
	return e.count > 0 && password != 0 && e.password == password
}

// dayOf is the day of UTC, in days since 1970.
func dayOf(t time.Time) int64 { return t.Unix() / secondsOfDay }

const secondsOfDay = 24 * 60 * 60

// rest brings the longest quiet up to a day, and reports whether it grew.
func (p *past) rest(day int64) (grew bool) {
	for l, since := range p.since {
		if since == 0 {
			continue
		}
		if quiet := min(day-since, 1<<16-1); quiet > int64(p.quiet[l]) {
			p.quiet[l], grew = uint16(quiet), true
		}
	}
	return grew
}

// client returns what is known of a client, nil if there is no room for it.
func (p *past) client(c session.ClientID) *counts {
	if found := p.clients[c]; found != nil {
		return found
	}
	if len(p.clients) >= maxClients && !p.dropOne() {
		return nil
	}
	if p.clients == nil {
		p.clients = make(map[session.ClientID]*counts)
	}
	fresh := &counts{}
	p.clients[c] = fresh
	return fresh
}

// dropOne makes room by a client that never reached a level: what is forgotten of
// another would lower its floor.
func (p *past) dropOne() bool {
	for c, n := range p.clients {
		if *n == (counts{}) {
			delete(p.clients, c)
			return true
		}
	}
	return false
}

// known returns the record and past of an account; with fresh, a past is made if
// there is none. h.mu must be held.
func (a *Accounts) known(name string, fresh bool) (*record, *past) {
	a.mu.RLock()
	r := a.records[name]
	a.mu.RUnlock()
	if r == nil {
		return nil, nil
	}
	p := a.history.accounts[r.id]
	if p == nil && fresh {
		p = &past{}
		if a.history.accounts == nil {
			a.history.accounts = make(map[int64]*past)
		}
		a.history.accounts[r.id] = p
	}
	return r, p
}

// Recall implements session.Historian.
func (a *Accounts) Recall(user string, c session.ClientID) session.Past {
	return a.recall(user, c, time.Now())
}

func (a *Accounts) recall(user string, c session.ClientID, now time.Time) session.Past {
	h := &a.history
	h.mu.Lock()
	defer h.mu.Unlock()
	r, p := a.known(user, false)
	if p == nil {
		return session.Past{}
	}
	if p.rest(dayOf(now)) {
		a.change(r.id)
	}
	out := session.Past{Floors: session.Floors{Account: p.whole.days, Quiet: p.quiet}}
	if n := p.clients[c]; n != nil {
		out.Floors.Client = n.days
	}
	for other := range p.clients {
		out.Place = out.Place || other.Network == c.Network
	}
	if p.exposed.of(r.password) {
		out.Exposed = p.exposed.first
	}
	if p.last != 0 {
		out.LastLogin = time.Unix(p.last*secondsOfDay, 0).UTC()
	}
	return out
}

// Entered implements session.Historian.
func (a *Accounts) Entered(user string, c session.ClientID, levels [session.Levels]bool) {
	a.entered(user, c, levels, time.Now())
}

func (a *Accounts) entered(user string, c session.ClientID, levels [session.Levels]bool, now time.Time) {
	h := &a.history
	h.mu.Lock()
	defer h.mu.Unlock()
	r, p := a.known(user, true)
	if r == nil {
		return
	}
	day := dayOf(now)
	changed := p.rest(day)
	if day > p.last {
		p.last, changed = day, true
	}
	if p.clients[c] == nil {
		changed = true
	}
	client := p.client(c)
	for l, reached := range levels {
		switch level := session.Level(l); {
		case reached:
			changed = p.whole.reached(level, day) || changed
			if client != nil {
				changed = client.reached(level, day) || changed
			}
			if p.since[l] == 0 {
				p.since[l], changed = day, true
			}
		case p.since[l] != 0 && p.since[l] < day:
			p.since[l], changed = day, true
		}
	}
	if changed {
		a.change(r.id)
	}
}

// Exposed implements session.Historian.
func (a *Accounts) Exposed(user string, source netip.Addr) {
	a.mu.RLock()
	r := a.records[user]
	a.mu.RUnlock()
	if r != nil {
		a.expose(user, r.password, source)
	}
}

// expose notes that the password with that id crossed in clear, if the account still
// has it.
func (a *Accounts) expose(user string, password int64, source netip.Addr) {
	h := &a.history
	h.mu.Lock()
	defer h.mu.Unlock()
	r, p := a.known(user, true)
	if r == nil || password == 0 || password != r.password {
		return
	}
	now := time.Now().UTC()
	if !p.exposed.of(password) {
		p.exposed = exposure{password: password, first: now}
	}
	p.exposed.count++
	p.exposed.last, p.exposed.source = now, source.Unmap().WithZone("").String()
	a.change(r.id)
}

// change marks accounts to be stored.
func (a *Accounts) change(ids ...int64) {
	a.history.changed.note(historyTime, func() { a.storeHistory(context.Background()) }, func(changed map[int64]struct{}) {
		for _, id := range ids {
			changed[id] = struct{}{}
		}
	})
}

// forget drops what is known of an account that was removed.
func (a *Accounts) forget(id int64) {
	a.history.mu.Lock()
	defer a.history.mu.Unlock()
	delete(a.history.accounts, id)
}

// forgetExposure ends the exposure of an account that was given a key.
func (a *Accounts) forgetExposure(name string) {
	h := &a.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if r, p := a.known(name, false); p != nil && p.exposed.of(r.password) {
		p.exposed.count = 0
		a.change(r.id)
	}
}

// storeHistory stores what changed. What cannot be stored is tried again later.
func (a *Accounts) storeHistory(ctx context.Context) {
	through := context.WithoutCancel(ctx)
	_ = a.history.changed.take(func(changed map[int64]struct{}) error {
		write := a.history.copies(changed)
		err := a.db.Write(through, func(tx *sql.Tx) error {
			for id, p := range write {
				if err := putPast(through, tx, id, &p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			a.cfg.Log.Error("what logins showed is not stored", "err", err)
			a.change(slices.Collect(maps.Keys(write))...)
		}
		return err
	})
}

// copies are what is known of accounts that were not removed meanwhile.
func (h *history) copies(accounts map[int64]struct{}) map[int64]past {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[int64]past, len(accounts))
	for id := range accounts {
		if p := h.accounts[id]; p != nil {
			out[id] = p.clone()
		}
	}
	return out
}

func (p *past) clone() past {
	out := *p
	out.clients = make(map[session.ClientID]*counts, len(p.clients))
	for c, n := range p.clients {
		copied := *n
		out.clients[c] = &copied
	}
	return out
}

// levelWords are those of the store.
func levelWords() [session.Levels]string { return [session.Levels]string{"encrypted", "code", "key"} }

// putPast stores what is known of one account, unless it was removed.
func putPast(ctx context.Context, tx *sql.Tx, account int64, p *past) error {
	var exists bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM accounts WHERE id = $1)`, account).Scan(&exists); err != nil || !exists {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM account_floors WHERE account = $1`, account); err != nil {
		return err
	}
	put := func(client, network string, l int, n *counts, quiet uint16, since int64) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO account_floors (account, client, network, level, days, day, quiet, since) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			account, client, network, levelWords()[l], n.days[l], n.day[l], quiet, since)
		return err
	}
	if p.last != 0 {
		if _, err := tx.ExecContext(ctx, `INSERT INTO account_last_logins (account, day) VALUES ($1, $2) ON CONFLICT (account) DO UPDATE SET day = excluded.day`,
			account, p.last); err != nil {
			return err
		}
	}
	for l := range int(session.Levels) {
		if err := put("", "", l, &p.whole, p.quiet[l], p.since[l]); err != nil {
			return err
		}
		for c, n := range p.clients {
			if l > 0 && n.days[l] == 0 {
				continue
			}
			if err := put(c.Class.String(), c.Network.String(), l, n, 0, 0); err != nil {
				return err
			}
		}
	}
	return putExposure(ctx, tx, &p.exposed)
}

// putExposure stores one, or with a count of none takes it away. The password may
// have been replaced meanwhile.
func putExposure(ctx context.Context, tx *sql.Tx, e *exposure) error {
	if e.password == 0 {
		return nil
	}
	if e.count == 0 {
		_, err := tx.ExecContext(ctx, `DELETE FROM account_exposures WHERE password = $1`, e.password)
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO account_exposures (password, first, last, count, source)
		SELECT id, $2, $3, $4, $5 FROM account_passwords WHERE id = $1
		ON CONFLICT (password) DO UPDATE SET first = excluded.first, last = excluded.last, count = excluded.count, source = excluded.source`,
		e.password, e.first.UnixMicro(), e.last.UnixMicro(), e.count, e.source)
	return err
}

// loadHistory reads what is stored of all accounts.
func (a *Accounts) loadHistory(ctx context.Context) error {
	all := make(map[int64]*past)
	of := func(account int64) *past {
		if all[account] == nil {
			all[account] = &past{}
		}
		return all[account]
	}
	err := a.db.Read(ctx, func(tx *sql.Tx) error {
		if err := eachRow(ctx, tx, `SELECT account, client, network, level, days, day, quiet, since FROM account_floors`, func(scan func(...any) error) error {
			var account, day, since int64
			var client, network, word string
			var days, quiet uint16
			if err := scan(&account, &client, &network, &word, &days, &day, &quiet, &since); err != nil {
				return err
			}
			return of(account).load(client, network, word, days, day, quiet, since)
		}); err != nil {
			return err
		}
		if err := eachRow(ctx, tx, `SELECT account, day FROM account_last_logins`, func(scan func(...any) error) error {
			var account, day int64
			if err := scan(&account, &day); err != nil {
				return err
			}
			of(account).last = day
			return nil
		}); err != nil {
			return err
		}
		return eachRow(ctx, tx, `SELECT p.account, e.password, e.first, e.last, e.count, e.source FROM account_exposures e JOIN account_passwords p ON p.id = e.password`,
			func(scan func(...any) error) error {
				var account, first, last int64
				var e exposure
				if err := scan(&account, &e.password, &first, &last, &e.count, &e.source); err != nil {
					return err
				}
				e.first, e.last = fromMicros(first), fromMicros(last)
				of(account).exposed = e
				return nil
			})
	})
	if err != nil {
		return fmt.Errorf("read what logins showed: %w", err)
	}
	a.history.mu.Lock()
	defer a.history.mu.Unlock()
	a.history.accounts = all
	return nil
}

// load takes one row. A client or level that a later gateway wrote is left out.
func (p *past) load(client, network, word string, days uint16, day int64, quiet uint16, since int64) error {
	for l, known := range levelWords() {
		if known != word {
			continue
		}
		if client == "" {
			p.whole.days[l], p.whole.day[l], p.quiet[l], p.since[l] = days, day, quiet, since
			return nil
		}
		var c session.ClientID
		if c.Class.UnmarshalText([]byte(client)) != nil || c.Network.UnmarshalText([]byte(network)) != nil {
			return nil
		}
		if n := p.client(c); n != nil {
			n.days[l], n.day[l] = days, day
		}
	}
	return nil
}

func eachRow(ctx context.Context, tx *sql.Tx, query string, row func(scan func(...any) error) error) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// An Exposure is a password that crossed the network in clear, and that the account
// still has.
type Exposure struct {
	User  string    `json:"user"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Count int64     `json:"count"`
	From  string    `json:"from"` // the last address
	// Keys is how many keys the account has.
	Keys int `json:"keys"`
}

// Exposures lists the passwords that crossed in clear, the last one first.
func (a *Accounts) Exposures(ctx context.Context) ([]Exposure, error) {
	if _, err := a.find(ctx, ""); err != nil { // reads again what is stale
		return nil, err
	}
	a.mu.RLock()
	records := maps.Clone(a.records)
	a.mu.RUnlock()
	h := &a.history
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []Exposure{}
	for name, r := range records {
		p := h.accounts[r.id]
		if p == nil || !p.exposed.of(r.password) {
			continue
		}
		e := p.exposed
		out = append(out, Exposure{User: name, First: e.first, Last: e.last, Count: e.count, From: e.source, Keys: len(r.info.Keys)})
	}
	sortExposures(out)
	return out, nil
}
