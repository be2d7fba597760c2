package queue

import (
	"container/heap"
	"time"
)

// destination is where deliveries go that share a fate: one route, and with mail
// exchangers one domain.
type destination struct {
	destinationKey
	waiting deliveries // by when they are due
	running int
	// failures is how often in a row the host could not be spoken to; until is when it
	// is tried again.
	failures int
	until    int64

	ready bool // it is in scheduler.ready
	place int  // in scheduler.later, -1 if it is not there
}

// destinationKey names a destination.
type destinationKey struct {
	route  Route
	domain string // "" unless the route leads to mail exchangers
}

// delivery is one message for one destination: those of its recipients that go there.
type delivery struct {
	entry   *entry
	to      *destination
	next    int64     // when it is due, in microseconds since 1970
	sibling *delivery // another one of the same message
	place   int32     // in destination.waiting, -1 if it is not there
	running bool
	held    bool
	over    bool // there is nothing left to do for it
}

// deliveries is a heap; the first is due first.
type deliveries []*delivery

func (h deliveries) Len() int { return len(h) }
func (h deliveries) Less(i, j int) bool {
	return h[i].next < h[j].next
}
func (h deliveries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = int32(i), int32(j)
}
func (h *deliveries) Push(x any) {
	d := x.(*delivery)
	d.place = int32(len(*h))
	*h = append(*h, d)
}
func (h *deliveries) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	d.place = -1
	return d
}

// destinations is a heap; the first has something due first.
type destinations []*destination

func (h destinations) Len() int           { return len(h) }
func (h destinations) Less(i, j int) bool { return h[i].due() < h[j].due() }
func (h destinations) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *destinations) Push(x any) {
	d := x.(*destination)
	d.place = len(*h)
	*h = append(*h, d)
}
func (h *destinations) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	d.place = -1
	return d
}

// due is when the next attempt may be made. Something must wait.
func (d *destination) due() int64 { return max(d.waiting[0].next, d.until) }

// scheduler knows what is due when, and where it goes. Destinations that have
// something due take turns. It is not safe for use by several goroutines.
type scheduler struct {
	perDestination int
	all            map[destinationKey]*destination
	ready          []*destination // in turn
	later          destinations
}

// destination returns the one of that key, or a new one, which is kept only once
// something is added.
func (s *scheduler) destination(key destinationKey) *destination {
	if d := s.all[key]; d != nil {
		return d
	}
	return &destination{destinationKey: key, place: -1}
}

// add makes a delivery wait for its time, or for its new time. One that is held or
// running does not wait.
func (s *scheduler) add(d *delivery) {
	switch {
	case d.held || d.running || d.over:
		return
	case d.place >= 0:
		heap.Fix(&d.to.waiting, int(d.place))
	default:
		d.to = s.destination(d.to.destinationKey)
		s.all[d.to.destinationKey] = d.to
		heap.Push(&d.to.waiting, d)
	}
	s.arrange(d.to)
}

// remove takes a delivery out.
func (s *scheduler) remove(d *delivery) {
	if d.place >= 0 {
		heap.Remove(&d.to.waiting, int(d.place))
	}
	s.arrange(d.to)
}

// arrange puts a destination where it belongs after it has changed, and forgets one
// that nothing goes to.
func (s *scheduler) arrange(d *destination) {
	switch {
	case d.ready: // looked at again when its turn comes
	case len(d.waiting) > 0 && d.running < s.most(d):
		if d.place >= 0 {
			heap.Fix(&s.later, d.place)
		} else {
			heap.Push(&s.later, d)
		}
	default:
		if d.place >= 0 {
			heap.Remove(&s.later, d.place)
		}
		if len(d.waiting) == 0 && d.running == 0 {
			delete(s.all, d.destinationKey)
		}
	}
}

// most is how many attempts may be made at once: a host that was away gets one.
func (s *scheduler) most(d *destination) int {
	if d.failures > 0 {
		return 1
	}
	return s.perDestination
}

// take returns a delivery that is due, nil if none is.
func (s *scheduler) take(now int64) *delivery {
	for len(s.later) > 0 && s.later[0].due() <= now {
		d := heap.Pop(&s.later).(*destination)
		d.ready = true
		s.ready = append(s.ready, d)
	}
	for len(s.ready) > 0 {
		to := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		to.ready = false
		if len(to.waiting) == 0 || to.running >= s.most(to) || to.due() > now {
			s.arrange(to)
			continue
		}
		d := heap.Pop(&to.waiting).(*delivery)
		d.running = true
		to.running++
		if len(to.waiting) > 0 && to.running < s.most(to) && to.due() <= now {
			to.ready = true
			s.ready = append(s.ready, to)
		} else {
			s.arrange(to)
		}
		return d
	}
	return nil
}

// nextDue is when take has something; ok is false if nothing waits that could be
// taken then.
func (s *scheduler) nextDue() (at int64, ok bool) {
	if len(s.later) == 0 {
		return 0, false
	}
	return s.later[0].due(), true
}

// finished ends what take began. If there is more to do for the delivery, it waits
// for its next time.
func (s *scheduler) finished(d *delivery, again bool) {
	d.running = false
	d.to.running--
	d.over = d.over || !again
	if !d.over && !d.held {
		heap.Push(&d.to.waiting, d)
	}
	s.arrange(d.to)
}

// away notes that a host could not be spoken to. Attempts that began before the first
// of them failed count as one.
func (s *scheduler) away(d *destination, now int64, retry []time.Duration) {
	if now < d.until {
		return
	}
	wait := min(retry[min(d.failures, len(retry)-1)], maxBackOff)
	d.failures++
	d.until = now + wait.Microseconds()
	s.arrange(d)
}

// answers notes that a host was spoken to.
func (s *scheduler) answers(d *destination) {
	d.failures, d.until = 0, 0
	s.arrange(d)
}

// maxBackOff is the longest wait before a host that was away is tried again by
// somebody.
const maxBackOff = 30 * time.Minute
