package limits

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gateway/session"
)

// Messages implements session.DeviceMeter. Hours and days are those of the clock, in
// UTC. It counts in memory: a restart of the gateway begins anew.
type Messages struct {
	mu    sync.Mutex
	spans map[messageSpan]*messageCount
}

// messageSpan is the hours or the days of a device.
type messageSpan struct {
	device string
	length time.Duration
}

// messageCount is how many messages there were in the hour or day that began.
type messageCount struct {
	began time.Time
	sent  int64
}

// NewMessages returns a meter with nothing counted.
func NewMessages() *Messages { return &Messages{spans: make(map[messageSpan]*messageCount)} }

// Count implements session.DeviceMeter. A message is counted when it begins, whatever
// becomes of it.
func (m *Messages) Count(_ context.Context, d *session.Device) error {
	now := time.Now().UTC()
	m.mu.Lock()
	defer m.mu.Unlock()
	var counts []*messageCount
	for _, limit := range []struct {
		length time.Duration
		most   int64
		word   string
	}{{time.Hour, d.Hourly, "hour"}, {24 * time.Hour, d.Daily, "day"}} {
		if limit.most == 0 {
			continue
		}
		c := m.span(messageSpan{d.Name, limit.length}, now)
		if c.sent >= limit.most {
			return &session.Refusal{Kind: session.ErrTooMany, Hint: fmt.Sprintf("More than %d messages in the %s, try again after %s",
				limit.most, limit.word, c.began.Add(limit.length).Format("2006-01-02 15:04 UTC"))}
		}
		counts = append(counts, c)
	}
	for _, c := range counts {
		c.sent++
	}
	return nil
}

// span is the count of the hour or day that now is in. Those of the past are
// forgotten with the first message of a new one.
func (m *Messages) span(of messageSpan, now time.Time) *messageCount {
	began := now.Truncate(of.length)
	if c := m.spans[of]; c != nil && c.began.Equal(began) {
		return c
	}
	for s, c := range m.spans {
		if !now.Before(c.began.Add(s.length)) {
			delete(m.spans, s)
		}
	}
	c := &messageCount{began: began}
	m.spans[of] = c
	return c
}
