package auth

import (
	"container/list"
	"sync"
	"time"
)

const (
	// saidTime is how long it is believed what a source said of an account: that long at
	// most is one used after it was disabled there, or has the groups that it had.
	saidTime = 5 * time.Minute
	// notSaidTime is how long it is believed that no source has a name.
	notSaidTime = time.Minute
	// wrongTime is how long a password that a source said is wrong is not asked about
	// again.
	wrongTime = time.Minute
	// maxSaid is of how many names is remembered what was said.
	maxSaid = 16384
)

// said remembers what sources said of names lately, by keyed hashes of them: a name that
// does not exist may be a mistyped password. The zero value is empty.
type said struct {
	mu     sync.Mutex
	names  map[nameMAC]*list.Element // of *saidOf
	order  *list.List                // the name used last is in front
	flying map[nameMAC]*asking
}

// saidOf is what is known of one name.
type saidOf struct {
	name   nameMAC
	noted  time.Time // when somebody was charged for it
	answer answer
	at     time.Time // of the answer; zero is none
}

// asking is one question on its way, for everybody who asks it meanwhile.
type asking struct {
	done   chan struct{} // closed when answer and err are set
	answer answer
	err    error
}

// recall returns the last answer, if it may still be believed.
func (s *said) recall(name nameMAC, now time.Time) (a answer, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.names[name]
	if !ok {
		return answer{}, false
	}
	s.order.MoveToFront(e)
	of := e.Value.(*saidOf)
	limit := saidTime
	if of.answer.said == nil {
		limit = notSaidTime
	}
	return of.answer, !of.at.IsZero() && now.Sub(of.at) < limit
}

// noted reports whether the name was noted lately. For how long it is does not depend on
// what is said of it.
func (s *said) noted(name nameMAC, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.names[name]
	return ok && now.Sub(e.Value.(*saidOf).noted) < saidTime
}

func (s *said) note(name nameMAC, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entry(name).noted = now
}

// remember keeps an answer.
func (s *said) remember(name nameMAC, a answer, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.entry(name)
	of.answer, of.at = a, now
}

// forget makes the next question a new one.
func (s *said) forget(name nameMAC) { s.remember(name, answer{}, time.Time{}) }

// entry returns what is known of name, making room for it; s.mu is held.
func (s *said) entry(name nameMAC) *saidOf {
	if e, ok := s.names[name]; ok {
		s.order.MoveToFront(e)
		return e.Value.(*saidOf)
	}
	if s.names == nil {
		s.names, s.order = make(map[nameMAC]*list.Element), list.New()
	}
	if s.order.Len() >= maxSaid {
		oldest := s.order.Back()
		s.order.Remove(oldest)
		delete(s.names, oldest.Value.(*saidOf).name)
	}
	of := &saidOf{name: name}
	s.names[name] = s.order.PushFront(of)
	return of
}

// join returns the question about name that is on its way, and whether the caller is to
// ask it, and then to land it.
func (s *said) join(name nameMAC) (_ *asking, pilot bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one, ok := s.flying[name]; ok {
		return one, false
	}
	if s.flying == nil {
		s.flying = make(map[nameMAC]*asking)
	}
	one := &asking{done: make(chan struct{})}
	s.flying[name] = one
	return one, true
}

func (s *said) land(name nameMAC, one *asking) {
	if one.err == nil {
		s.remember(name, one.answer, time.Now())
	}
	s.mu.Lock()
	delete(s.flying, name)
	s.mu.Unlock()
	close(one.done)
}
