package relay

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// maxResults bounds what TLSResults tells apart.
const maxResults = 20_000

// The kinds of policy of RFC 8460, section 4.2.
const (
	policyTLSA = "tlsa"
	policySTS  = "sts"
	policyNone = "no-policy-found"
)

// The results of RFC 8460, section 4.3, that are found here; package mtasts has
// those of its policies.
const (
	resultNoStartTLS = "starttls-not-supported"
	resultName       = "certificate-host-mismatch"
	resultExpired    = "certificate-expired"
	resultTrust      = "certificate-not-trusted"
	resultFailed     = "validation-failure"
	resultTLSA       = "tlsa-invalid"
	resultDNSSEC     = "dnssec-invalid"
)

// TLSCount is how often connections for a domain ended in one way.
type TLSCount struct {
	Domain string // of the recipients, whose policy it is
	Policy string // "tlsa", "sts" or "no-policy-found"
	Host   string // the mail exchanger; "" if it did not come to one
	Result string // a result type of RFC 8460, section 4.3; "" is success
	Count  int64
}

// TLSResults counts how TLS went with domains found by MX, for the reports of RFC
// 8460. It counts connections, not messages. Its methods may be called from any
// goroutine, and on nil, which counts nothing.
type TLSResults struct {
	mu     sync.Mutex
	since  time.Time
	counts map[TLSCount]int64 // keys without Count
	left   int64
}

// NewTLSResults begins to count.
func NewTLSResults() *TLSResults {
	return &TLSResults{since: time.Now(), counts: make(map[TLSCount]int64)}
}

func (r *TLSResults) add(key TLSCount) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.counts[key]; !known && len(r.counts) >= maxResults {
		r.left++
		return
	}
	r.counts[key]++
}

// TLSSnapshot is what was counted up to now. The counts only grow: a report about
// a day is the difference of two snapshots.
type TLSSnapshot struct {
	Since  time.Time
	Counts []TLSCount // by domain, policy, host and result
	// LeftOut is how many connections are in no count because there were too many
	// different ones.
	LeftOut int64
}

// Snapshot returns a copy of the counts.
func (r *TLSResults) Snapshot() TLSSnapshot {
	if r == nil {
		return TLSSnapshot{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := TLSSnapshot{Since: r.since, LeftOut: r.left}
	for key, n := range r.counts {
		key.Count = n
		s.Counts = append(s.Counts, key)
	}
	slices.SortFunc(s.Counts, func(a, b TLSCount) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Result, b.Result))
	})
	return s
}
