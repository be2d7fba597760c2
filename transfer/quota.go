package transfer

import (
	"math"

	"gateway/session"
	"gateway/storage"
)

// amount is a number of bytes and of names.
type amount struct{ bytes, names int64 }

func (a amount) plus(b amount) amount  { return amount{a.bytes + b.bytes, a.names + b.names} }
func (a amount) minus(b amount) amount { return amount{a.bytes - b.bytes, a.names - b.names} }

// balance is what there is beside what there may be.
type balance struct {
	quota session.Quota
	total amount
}

// left is how much more there may be; negative if there is too much already.
func (b *balance) left() amount {
	left := amount{math.MaxInt64, math.MaxInt64}
	if b.quota.Bytes > 0 {
		left.bytes = b.quota.Bytes - b.total.bytes
	}
	if b.quota.Files > 0 {
		left.names = b.quota.Files - b.total.names
	}
	return left
}

// The ledger of an account. The lock that storage.Ledger has is held through a
// change of the tree; the numbers have that of Shares, which is taken within it
// and never for long.
var _ storage.Ledger = (*share)(nil)

// Lock implements storage.Ledger.
func (s *share) Lock() { s.step.Lock() }

// Unlock implements storage.Ledger.
func (s *share) Unlock() { s.step.Unlock() }

// Take implements storage.Ledger.
func (s *share) Take(bytes, files int64) error {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	return s.take(amount{bytes, files})
}

// Add implements storage.Ledger.
func (s *share) Add(bytes, files int64) {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	s.add(amount{bytes, files})
}

// Lost implements storage.Ledger: an upload that was to replace the file cannot
// count on its room any more.
func (s *share) Lost(id uint64) {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	if c := s.credits[id]; c != nil {
		c.forget()
		c.settle(c.held())
	}
}

// take adds d unless that is too much. What makes less of something is never
// refused.
func (s *share) take(d amount) error {
	left := s.left()
	if d.bytes > 0 && d.bytes > left.bytes || d.names > 0 && d.names > left.names {
		return session.ErrQuota
	}
	s.add(d)
	return nil
}

func (s *share) add(d amount) {
	s.own.total = s.own.total.plus(d)
	for _, g := range s.groups {
		g.total = g.total.plus(d)
	}
}

// left is how much more there may be by every quota that covers the account.
func (s *share) left() amount {
	left := s.own.left()
	for _, g := range s.groups {
		l := g.left()
		left.bytes, left.names = min(left.bytes, l.bytes), min(left.names, l.names)
	}
	return left
}

// A claim is the part of an upload under way in what its account has. It is the
// ledger of that upload: what is told of it is in the account's numbers at once.
// What the upload may write beyond that is reserved before it is written, and
// what it is about to replace is left out, so that replacing a file does not need
// room for both.
type claim struct {
	share *share

	// Under the lock of Shares:
	known    amount // of the hidden file, as told
	reserved int64  // bytes on top of that
	credit   amount // of the file to be replaced
	id       uint64 // of that file
	excess   amount // what held was when it was last added to the share
	ending   bool   // what is told from now on is how it ended
}

var _ storage.Ledger = (*claim)(nil)

// newClaim returns the claim of an upload that is about to begin. The caller
// must release it.
func (s *share) newClaim() *claim {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	s.uploads++
	return &claim{share: s}
}

// replaces says that the upload is going to replace the file that info
// describes. The room of a file is given to one upload at a time; replaces reports
// whether this one has got it.
func (c *claim) replaces(info storage.Info) bool {
	c.share.shares.mu.Lock()
	defer c.share.shares.mu.Unlock()
	if info.ID == 0 || c.share.credits[info.ID] != nil {
		return false
	}
	c.id, c.credit = info.ID, amount{0, 1}
	if info.Links <= 1 {
		c.credit.bytes = info.Size
	}
	c.share.credits[info.ID] = c
	c.settle(c.held())
	return true
}

// forgets is replaces taken back.
func (c *claim) forgets() {
	c.share.shares.mu.Lock()
	defer c.share.shares.mu.Unlock()
	c.forget()
	c.settle(c.held())
}

func (c *claim) forget() {
	if c.share.credits[c.id] == c {
		delete(c.share.credits, c.id)
	}
	c.credit = amount{}
}

// held is what the claim adds to what was told of the upload: what is reserved,
// less what is going to be replaced, as far as the upload weighs that much.
func (c *claim) held() amount {
	if c.ending {
		return amount{}
	}
	known := amount{max(c.known.bytes, 0), max(c.known.names, 0)}
	return amount{
		c.reserved - min(c.credit.bytes, known.bytes+c.reserved),
		-min(c.credit.names, known.names),
	}
}

// settle makes held the claim's part of the share, without asking.
func (c *claim) settle(held amount) {
	c.share.add(held.minus(c.excess))
	c.excess = held
}

// Lock implements storage.Ledger.
func (c *claim) Lock() { c.share.Lock() }

// Unlock implements storage.Ledger.
func (c *claim) Unlock() { c.share.Unlock() }

// Lost implements storage.Ledger.
func (c *claim) Lost(id uint64) { c.share.Lost(id) }

// Take implements storage.Ledger.
func (c *claim) Take(bytes, files int64) error {
	c.share.shares.mu.Lock()
	defer c.share.shares.mu.Unlock()
	d, before := amount{bytes, files}, c.known
	c.known = c.known.plus(d)
	held := c.held()
	if err := c.share.take(d.plus(held).minus(c.excess)); err != nil {
		c.known = before
		return err
	}
	c.excess = held
	return nil
}

// Add implements storage.Ledger.
func (c *claim) Add(bytes, files int64) {
	c.share.shares.mu.Lock()
	defer c.share.shares.mu.Unlock()
	d := amount{bytes, files}
	c.known = c.known.plus(d)
	c.share.add(d)
	c.settle(c.held())
}

// began says how large the upload is at its beginning, all of which was told.
func (c *claim) began(size int64) {
	c.share.shares.mu.Lock()
	defer c.share.shares.mu.Unlock()
	c.known = amount{size, 1}
	c.settle(c.held())
}

// reserve makes room for the bytes from next on, want of them or as many as
// there is room for, and returns how many. It fails with session.ErrQuota, and
// reserves nothing, if that is less than least.
func (c *claim) reserve(next, want, least int64) (int64, error) {
	c.share.shares.mu.Lock()
	defer c.share.shares.mu.Unlock()
	// More than is replaced takes room one by one; up to that, nothing.
	most := c.credit.bytes - c.known.bytes
	if left := c.share.left().bytes; left >= 0 {
		most = max(most, c.excess.bytes+min(left, math.MaxInt64/4)+c.credit.bytes)
	}
	most = max(most, c.reserved)
	n := min(want, c.known.bytes+most-next)
	if n < least {
		return 0, session.ErrQuota
	}
	c.reserved = max(c.reserved, next+n-c.known.bytes)
	c.settle(c.held())
	return n, nil
}

// end says that what is told from now on is how the upload ended.
func (c *claim) end() {
	c.share.shares.mu.Lock()
	defer c.share.shares.mu.Unlock()
	c.ending = true
}

// release gives up what the upload still holds when it is over.
func (c *claim) release() {
	c.share.shares.mu.Lock()
	defer c.share.shares.mu.Unlock()
	c.ending = true
	c.forget()
	c.settle(amount{})
	c.share.uploads--
}

// within makes the room no larger than the quotas leave it.
func (s *share) within(space *storage.Space) {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	bound := func(to *uint64, most int64) { *to = min(*to, uint64(max(most, 0))) }
	for _, b := range s.balances() {
		if b.quota.Bytes > 0 {
			bound(&space.Total, b.quota.Bytes)
		}
		if b.quota.Files > 0 {
			bound(&space.Files, b.quota.Files)
		}
	}
	left := s.left()
	bound(&space.Free, left.bytes)
	bound(&space.Available, left.bytes)
	bound(&space.FilesFree, left.names)
}

// balances are those that cover the account.
func (s *share) balances() []*balance {
	all := []*balance{&s.own}
	for _, g := range s.groups {
		all = append(all, &g.balance)
	}
	return all
}
