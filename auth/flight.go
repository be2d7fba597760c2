package auth

import "sync"

// flights are the proofs that are being hashed at this moment. There are never
// more than logins being answered.
type flights struct {
	mu  sync.Mutex
	all map[mac]*flight
}

// flight is one proof being hashed, for everybody who offers it meanwhile.
type flight struct {
	done chan struct{} // closed when right and err are set
	// right says whether the password matched; err that it was not compared.
	right bool
	err   error
}

// join returns the flight of proof and whether the caller is its pilot, who must
// land it.
func (f *flights) join(proof mac) (_ *flight, pilot bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one, ok := f.all[proof]; ok {
		return one, false
	}
	if f.all == nil {
		f.all = make(map[mac]*flight)
	}
	one := &flight{done: make(chan struct{})}
	f.all[proof] = one
	return one, true
}

func (f *flights) land(proof mac, one *flight) {
	f.mu.Lock()
	delete(f.all, proof)
	f.mu.Unlock()
	close(one.done)
}
