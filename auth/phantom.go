package auth

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// phantomKeySize is the length of the key in the store.
const phantomKeySize = 32

// phantoms says which account a name that does not exist is like. Names and accounts
// are put on a circle by a keyed hash, and a name is like the account that follows it:
// so unknown names are spread over the accounts as these are, nobody without the key
// can tell who is like whom, and a new account changes that for few names only.
type phantoms struct {
	key  []byte
	ring []place // in the order of at
}

// A place is where an account is on the circle.
type place struct {
	at   uint64
	name string
}

func (a place) compare(b place) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.name, b.name))
}

func (p *phantoms) place(name string) place {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(name))
	return place{binary.BigEndian.Uint64(mac.Sum(nil)), name}
}

// like returns the account that name is like; empty if there is none.
func (p *phantoms) like(name string) string {
	if len(p.ring) == 0 {
		return ""
	}
	i, _ := slices.BinarySearchFunc(p.ring, p.place(name), place.compare)
	return p.ring[i%len(p.ring)].name
}

// set puts the accounts on the circle in place of those before.
func (p *phantoms) set(accounts map[string]*record) {
	p.ring = make([]place, 0, len(accounts))
	for name := range accounts {
		p.ring = append(p.ring, p.place(name))
	}
	slices.SortFunc(p.ring, place.compare)
}

// put adds or removes one account.
func (p *phantoms) put(name string, exists bool) {
	at := p.place(name)
	i, found := slices.BinarySearchFunc(p.ring, at, place.compare)
	switch {
	case exists && !found:
		p.ring = slices.Insert(p.ring, i, at)
	case !exists && found:
		p.ring = slices.Delete(p.ring, i, i+1)
	}
}
