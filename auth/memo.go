package auth

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

const (
	// proofTime is how long a proof is remembered after it was last offered; a right
	// one as long as a wrong one, so that what a repetition costs tells nothing.
	proofTime = 5 * time.Minute
	// memoTime is how long it is remembered in all: then it is hashed again.
	memoTime = time.Hour
	// maxWrong is how many wrong passwords are remembered of one name, so that
	// guesses do not push out the stale password of a device for long.
	maxWrong = 8
	// maxMemoNames is how many names are remembered. To push out one takes that
	// many hashes.
	maxMemoNames = 16384
)

// mac stands for a name, a password and the id of the credential that they were
// compared with. When the credential changes, no mac of before is ever met
// again.
type mac [sha256.Size]byte

// nameMAC stands for a name. A name that does not exist is often a mistyped
// password, so that it is not kept as it is either.
type nameMAC [sha256.Size]byte

// memo remembers what recent proofs came to, under a key that lives and dies
// with the process. It is bounded by maxMemoNames times maxWrong+1 entries.
// Names that do not exist are remembered in the same way as others.
type memo struct {
	key []byte

	mu    sync.Mutex
	names map[nameMAC]*list.Element // of *remembered
	order *list.List                // the name used last is in front
}

// remembered is what is known of one name.
type remembered struct {
	name  nameMAC
	right outcome
	wrong []outcome // the one used last is last
}

// outcome is one proof. The zero value is none.
type outcome struct {
	proof mac
	made  time.Time
	used  time.Time
}

func newMemo() memo {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return memo{key: key, names: make(map[nameMAC]*list.Element), order: list.New()}
}

// name and proof begin with a letter of their own, and every part but the last
// has a fixed length, so that no two of them can be alike.

func (m *memo) name(user string) nameMAC {
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte("n"))
	h.Write([]byte(user))
	return nameMAC(h.Sum(nil))
}

func (m *memo) proof(name nameMAC, credential int64, password string) mac {
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte("p"))
	h.Write(name[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(credential)))
	h.Write([]byte(password))
	return mac(h.Sum(nil))
}

// recall returns what the proof came to, if that is remembered.
func (m *memo) recall(name nameMAC, proof mac, now time.Time) (right, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.names[name]
	if !ok {
		return false, false
	}
	m.order.MoveToFront(e)
	r := e.Value.(*remembered)
	if hmac.Equal(r.right.proof[:], proof[:]) && r.right.fresh(now, proofTime) {
		r.right.used = now
		return true, true
	}
	for i, w := range r.wrong {
		if hmac.Equal(w.proof[:], proof[:]) && w.fresh(now, proofTime) {
			w.used = now
			r.wrong = append(append(r.wrong[:i:i], r.wrong[i+1:]...), w)
			return false, true
		}
	}
	return false, false
}

// wrongSince reports whether the proof was wrong within that time, however often it was
// offered since.
func (m *memo) wrongSince(name nameMAC, proof mac, limit time.Duration, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.names[name]
	return ok && slices.ContainsFunc(e.Value.(*remembered).wrong, func(w outcome) bool {
		return hmac.Equal(w.proof[:], proof[:]) && now.Sub(w.made) < limit
	})
}

func (o outcome) fresh(now time.Time, limit time.Duration) bool {
	return !o.made.IsZero() && now.Sub(o.used) < limit && now.Sub(o.made) < memoTime
}

// remember notes what the proof came to.
func (m *memo) remember(name nameMAC, proof mac, right bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.entry(name)
	o := outcome{proof: proof, made: now, used: now}
	if right {
		r.right = o
		return
	}
	kept := r.wrong[:0]
	for _, w := range r.wrong {
		if w.proof != proof && w.fresh(now, proofTime) {
			kept = append(kept, w)
		}
	}
	if len(kept) == maxWrong {
		kept = append(kept[:0], kept[1:]...)
	}
	r.wrong = append(kept, o)
}

// entry returns what is known of name, making room for it.
func (m *memo) entry(name nameMAC) *remembered {
	if e, ok := m.names[name]; ok {
		m.order.MoveToFront(e)
		return e.Value.(*remembered)
	}
	if m.order.Len() >= maxMemoNames {
		oldest := m.order.Back()
		m.order.Remove(oldest)
		delete(m.names, oldest.Value.(*remembered).name)
	}
	r := &remembered{name: name}
	m.names[name] = m.order.PushFront(r)
	return r
}

// forget drops what is known of name.
func (m *memo) forget(name nameMAC) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.names[name]; ok {
		m.order.Remove(e)
		delete(m.names, name)
	}
}
