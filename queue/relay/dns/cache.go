package dns

import (
	"encoding/hex"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxEntries bounds what is remembered.
	maxEntries = 4096
	// maxTTL bounds for how long, whatever a record says.
	maxTTL = time.Hour
	// maxAbsentTTL is the same for what does not exist (RFC 2308, section 5): who
	// has just repaired a domain does not want to wait.
	maxAbsentTTL = 5 * time.Minute
)

type question struct {
	name  string
	qtype uint16
}

type entry struct {
	result
	until time.Time
}

// cache remembers answers for as long as they allow. The zero cache is empty.
type cache struct {
	mu      sync.Mutex
	entries map[question]entry
}

func (c *cache) get(q question, now time.Time) (result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	return e.result, ok && now.Before(e.until)
}

func (c *cache) put(q question, r result, now time.Time) {
	if r.ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[question]entry)
	}
	if len(c.entries) >= maxEntries {
		c.makeRoom(now)
	}
	c.entries[q] = entry{r, now.Add(r.ttl)}
}

// makeRoom drops what is over, and at least an eighth of all.
func (c *cache) makeRoom(now time.Time) {
	for q, e := range c.entries {
		if !now.Before(e.until) || len(c.entries) > maxEntries-maxEntries/8 {
			delete(c.entries, q)
		}
	}
}

// messageTTL is how long an answer may be remembered: as long as all of its
// records, or for what the zone says of absent ones.
func messageTTL(msg *dns.Msg) time.Duration {
	if len(msg.Answer) == 0 || msg.Rcode == dns.RcodeNameError {
		for _, rr := range msg.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				return min(seconds(soa.Hdr.Ttl), seconds(soa.Minttl), maxAbsentTTL)
			}
		}
		return 0
	}
	ttl := maxTTL
	for _, rr := range msg.Answer {
		ttl = min(ttl, seconds(rr.Header().Ttl))
	}
	return ttl
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// unhex is nil for what is no hexadecimal, which the library does not produce.
func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}
