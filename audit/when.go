package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxAgo bounds relative times, in hours: a hundred years.
const maxAgo = 100 * 366 * 24

// ParseSince reads the beginning of a time span: a time as RFC 3339 writes it,
// a date (its beginning, UTC), or how long before now, such as 90m, 2h, 30d or
// 4w.
func ParseSince(s string, now time.Time) (time.Time, error) {
	if t, ok := parseDate(s); ok {
		return t, nil
	}
	return parseTime(s, now)
}

// ParseUntil reads the end of a time span as ParseSince does its beginning; of
// a date it means the end.
func ParseUntil(s string, now time.Time) (time.Time, error) {
	if t, ok := parseDate(s); ok {
		return t.AddDate(0, 0, 1), nil
	}
	return parseTime(s, now)
}

func parseDate(s string) (time.Time, bool) {
	t, err := time.Parse(time.DateOnly, s)
	return t, err == nil
}

func parseTime(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	if ago, ok := parseAgo(s); ok {
		return now.UTC().Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("time %q: want 2026-11-23T07:14:02Z, 2026-11-23, or a time ago such as 90m, 2h or 30d", s)
}

// parseAgo reads a whole number with its unit.
func parseAgo(s string) (time.Duration, bool) {
	if s == "" || strings.Trim(s[:len(s)-1], "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s[:len(s)-1], 10, 64)
	if err != nil {
		return 0, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 's':
		unit = time.Second
	case 'm':
		unit = time.Minute
	case 'h':
		unit = time.Hour
	case 'd':
		unit = 24 * time.Hour
	case 'w':
		unit = 7 * 24 * time.Hour
	default:
		return 0, false
	}
	if n > int64(maxAgo*time.Hour/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}
