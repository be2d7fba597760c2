package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gateway/auth/hashes"
)

// StoredPassword is how the password of one account is stored.
type StoredPassword struct {
	User       string `json:"user"`
	Scheme     string `json:"scheme"`
	WorkMicros int64  `json:"work_us"`
	MemoryKiB  int    `json:"memory_kib"`
	Heavy      bool   `json:"heavy"`
	CutAt      int    `json:"cut_at,omitempty"`
	// Imported is the scheme that its hash had when it was imported; Proven the first good
	// login since.
	Imported string    `json:"imported,omitempty"`
	Proven   time.Time `json:"proven,omitzero"`
	// Unusable says that the hash cannot be read.
	Unusable bool `json:"unusable,omitempty"`
}

// hashesList says how all passwords are stored.
func (s *Service) hashesList(ctx context.Context, _ Nothing) ([]StoredPassword, error) {
	list, err := s.Accounts.Hashes(ctx)
	out := make([]StoredPassword, 0, len(list))
	for _, h := range list {
		out = append(out, StoredPassword{
			User: h.User, Scheme: h.Scheme, WorkMicros: h.Price.Work.Microseconds(), MemoryKiB: h.Price.MemoryKiB, Heavy: h.Price.Class() == hashes.Heavy,
			CutAt: h.Truncates, Imported: h.Imported, Proven: h.Proven, Unusable: h.Unreadable != nil,
		})
	}
	return out, err
}

// HashReport is what the stored passwords are, by scheme and price.
type HashReport struct {
	Rows []HashRow `json:"rows"`
	// Never are the accounts that never logged in with an imported password, Unusable those
	// whose hash cannot be read.
	Never    []string `json:"never"`
	Unusable []string `json:"unusable"`
}

// HashRow are the accounts whose passwords are stored in one way.
type HashRow struct {
	Scheme     string  `json:"scheme"`
	Accounts   int     `json:"accounts"`
	WorkMicros int64   `json:"work_us"`
	MemoryKiB  int     `json:"memory_kib"`
	Class      string  `json:"class"`
	PerSecond  float64 `json:"per_second"` // logins that one slot allows
	CutAt      int     `json:"cut_at,omitempty"`
	Never      int     `json:"never"`
}

// way is what the passwords of a row have in common.
type way struct {
	scheme           string
	work             int64
	memoryKiB, cutAt int
	heavy            bool
}

// Hashes makes the report about those that are concerned: those with the most work first.
func Hashes(list []StoredPassword, who Concerned) HashReport {
	r := HashReport{Rows: []HashRow{}, Never: []string{}, Unusable: []string{}}
	rows := make(map[way]*HashRow)
	for _, p := range list {
		if who != nil && !who(p.User) {
			continue
		}
		if p.Unusable {
			r.Unusable = append(r.Unusable, p.User)
			continue
		}
		w := way{p.Scheme, p.WorkMicros, p.MemoryKiB, p.CutAt, p.Heavy}
		if rows[w] == nil {
			rows[w] = w.row()
		}
		rows[w].Accounts++
		if p.Imported != "" && p.Proven.IsZero() {
			rows[w].Never++
			r.Never = append(r.Never, p.User)
		}
	}
	for _, row := range rows {
		r.Rows = append(r.Rows, *row)
	}
	slices.SortFunc(r.Rows, func(a, b HashRow) int {
		return cmp.Or(cmp.Compare(b.WorkMicros, a.WorkMicros), cmp.Compare(a.Scheme, b.Scheme), cmp.Compare(a.MemoryKiB, b.MemoryKiB), cmp.Compare(a.CutAt, b.CutAt))
	})
	return r
}

func (w way) row() *HashRow {
	class := "normal"
	if w.heavy {
		class = "heavy"
	}
	return &HashRow{
		Scheme: w.scheme, WorkMicros: w.work, MemoryKiB: w.memoryKiB, Class: class, CutAt: w.cutAt,
		PerSecond: float64(time.Second.Microseconds()) / float64(max(w.work, 1)),
	}
}
