package spool

import (
	"slices"
	"sort"
)

// Message is what is kept in memory of a message: where its records are. Value is
// the owner's; the spool never looks at it.
type Message[T any] struct {
	Value T

	id    ID
	flags uint8
	at    place // of the message's record
	state place // of its state's; segment zero if it has none
}

// Flags of a Message.
const (
	inFile  = 1 << iota // its content goes on in a file
	pending             // being written: not there yet
	leaving             // a removal is being written
	gone                // removed
)

// place is where a record is.
type place struct {
	segment  uint32 // numbered from one
	offset   uint32
	envelope uint32 // lengths
	content  uint32
}

func (p place) size() int64 { return headSize + int64(p.envelope) + int64(p.content) }

// ID names the message.
func (m *Message[T]) ID() ID { return m.id }

// index holds the messages sorted by id, which is nearly the order in which they
// come and go.
type index[T any] struct {
	list []*Message[T]
	dead int // those in list that are gone
}

// minDead is how many are gone before the list is made anew.
const minDead = 64

// search returns where the message of that id is, or would be.
func (x *index[T]) search(id ID) (int, bool) {
	// Most often it is the newest.
	if n := len(x.list); n == 0 || x.list[n-1].id.compare(id) < 0 {
		return n, false
	}
	return sort.Find(len(x.list), func(i int) int { return id.compare(x.list[i].id) })
}

// get returns a message whatever its flags, unless it is gone.
func (x *index[T]) get(id ID) *Message[T] {
	if i, found := x.search(id); found && x.list[i].flags&gone == 0 {
		return x.list[i]
	}
	return nil
}

// insert adds m, and reports whether its id was free.
func (x *index[T]) insert(m *Message[T]) bool {
	i, found := x.search(m.id)
	switch {
	case !found:
		x.list = slices.Insert(x.list, i, m)
	case x.list[i].flags&gone == 0:
		return false
	default:
		x.list[i] = m
		x.dead--
	}
	return true
}

// remove takes m out.
func (x *index[T]) remove(m *Message[T]) {
	m.flags |= gone
	x.dead++
	if x.dead >= minDead && x.dead > len(x.list)/2 {
		x.list = slices.Clip(slices.DeleteFunc(x.list, func(m *Message[T]) bool { return m.flags&gone != 0 }))
		x.dead = 0
	}
}

func (x *index[T]) len() int { return len(x.list) - x.dead }
