package session

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Info describes a live session to an administrator.
type Info struct {
	ID       string    `json:"id"`
	Conn     string    `json:"conn"`
	User     string    `json:"user"`
	Protocol Protocol  `json:"protocol"`
	Listener string    `json:"listener"`
	Remote   string    `json:"remote"`
	Channel  string    `json:"channel"`
	Method   Method    `json:"method"`
	Client   string    `json:"client,omitempty"`
	Since    time.Time `json:"since"`
	BytesIn  int64     `json:"bytes_in"`
	BytesOut int64     `json:"bytes_out"`
}

// live is the set of sessions, including those about to be granted.
type live struct {
	mu  sync.Mutex
	all map[*Session]string // to the user's name
}

func (l *live) add(s *Session, user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = make(map[*Session]string)
	}
	l.all[s] = user
}

func (l *live) remove(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, s)
}

// matching returns the sessions that keep says yes to.
func (l *live) matching(keep func(s *Session, user string) bool) []*Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*Session
	for s, user := range l.all {
		if keep(s, user) {
			found = append(found, s)
		}
	}
	return found
}

// Sessions lists who is logged in, the longest first.
func (g *Gate) Sessions() []Info {
	var list []Info
	for _, s := range g.live.matching(func(*Session, string) bool { return true }) {
		if info, granted := s.describe(); granted {
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(x, y Info) int {
		if c := x.Since.Compare(y.Since); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return list
}

// Kill ends the session with that id and reports whether there was one.
func (g *Gate) Kill(id string) bool {
	found := g.live.matching(func(s *Session, _ string) bool { return s.id == id })
	for _, s := range found {
		s.end(ErrKilled)
	}
	return len(found) > 0
}

// Revoke ends every session of user, because the account was disabled, removed
// or given other credentials. It returns how many there were.
func (g *Gate) Revoke(user string) int {
	found := g.live.matching(func(_ *Session, u string) bool { return u == user })
	for _, s := range found {
		s.end(ErrDisabled)
	}
	return len(found)
}
