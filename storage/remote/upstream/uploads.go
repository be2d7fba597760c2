package upstream

import "sync"

// Uploads are those under way on one server. The zero value has none.
type Uploads struct {
	// Naming is held from the look at a name to the end of its change, so that two here
	// do not take the same.
	Naming sync.Mutex

	mu   sync.Mutex
	busy map[string]bool // by the path where the file is to appear
}

// Take reserves a path for the upload that can be resumed by it; false if another has it.
func (u *Uploads) Take(path string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.busy[path] {
		return false
	}
	if u.busy == nil {
		u.busy = make(map[string]bool)
	}
	u.busy[path] = true
	return true
}

// Free gives a path back.
func (u *Uploads) Free(path string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.busy, path)
}

// UnderWay reports whether an upload has a path.
func (u *Uploads) UnderWay(path string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.busy[path]
}
