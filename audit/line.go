package audit

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gateway/session"
)

// Style says how events are shown to people. The zero value shows the time of
// day in UTC, without colours.
type Style struct {
	// Date shows the date too.
	Date bool
	// Location is the time zone. Nil means UTC.
	Location *time.Location
	// Colour marks the outcome with the colours of a terminal.
	Colour bool
}

// Line is the event on one line for people, without a newline, in the zero
// Style. What strangers sent cannot break the line or steer the terminal:
// whatever is not printable is escaped.
func Line(e session.Event) string { return Style{}.Line(e) }

// Line is the event on one line for people, without a newline.
func (s Style) Line(e session.Event) string {
	zone := s.Location
	if zone == nil {
		zone = time.UTC
	}
	layout := time.TimeOnly
	if s.Date {
		layout = time.DateTime
	}
	channel := ""
	if e.Channel != nil {
		channel = e.Channel.Kind.String()
	}
	remote := ""
	if e.Remote.IsValid() {
		remote = e.Remote.String()
	}
	columns := []string{
		e.Time.In(zone).Format(layout),
		pad(plain(e.Event), 10),
		s.colour(e.Outcome, pad(plain(outcomeWord(e)), 8)),
		pad(word(e.User), 10),
		pad(plain(string(e.Protocol)), 10),
		pad(plain(channel), 5),
		pad(plain(remote), 21),
	}
	columns = append(columns, details(e)...)
	return strings.TrimRight(strings.Join(columns, "  "), " ")
}

// outcomeWord is what the outcome column shows: events of the record and of the
// rules have a verb instead.
func outcomeWord(e session.Event) string {
	if e.Outcome == "" && (e.Event == session.EventAudit || e.Event == session.EventPolicy) {
		return string(e.Verb)
	}
	return e.Outcome
}

// details is what is particular to the kind of event.
func details(e session.Event) []string {
	var d []string
	add := func(text string) {
		if text != "" {
			d = append(d, text)
		}
	}
	labelled := func(label, text string) {
		if text != "" {
			add(label + " " + text)
		}
	}
	switch e.Event {
	case session.EventConnection:
		if e.Count > 1 {
			add(fmt.Sprintf("%d connections", e.Count))
		}
		add(duration(e.DurationMS))
		if e.BytesIn+e.BytesOut > 0 {
			add("in " + size(e.BytesIn) + ", out " + size(e.BytesOut))
		}
	case session.EventLogin:
		add(plain(string(e.Method)))
		if e.Exposed {
			add("password crossed in clear")
		}
		if len(e.WouldRefuse) > 0 {
			labelled("would be refused by", plain(strings.Join(e.WouldRefuse, ", ")))
		}
	case session.EventFile:
		add(plain(string(e.Verb)))
		add(word(e.Path))
		labelled("->", word(e.Target))
		if e.Verb == session.Read || e.Verb == session.Write || e.Verb == session.Append || e.Bytes > 0 {
			add(size(e.Bytes))
		}
	case session.EventMail:
		add(plain(string(e.Verb)))
		add(mailPath(e))
		if e.Size > 0 {
			add(size(e.Size))
		}
		labelled("by", word(e.Route))
		labelled("at", word(e.RemoteHost))
		labelled("queue", word(e.QueueID))
	case session.EventAudit:
		if e.Bytes > 0 {
			add(size(e.Bytes))
		}
	default:
		if e.Outcome != "" {
			add(plain(string(e.Verb)))
		}
		add(plain(e.Object))
		add(difference(e.Before, e.After))
	}
	add(plain(e.Reason))
	labelled("by", plain(e.Rule))
	labelled("hash", plain(e.Hash))
	return d
}

// difference is what an administrator changed: the keys that differ between two
// JSON objects, or the two texts. What only came or went is named by the object.
func difference(before, after string) string {
	var was, is map[string]json.RawMessage
	if json.Unmarshal([]byte(before), &was) != nil || json.Unmarshal([]byte(after), &is) != nil {
		if before == "" || after == "" {
			return ""
		}
		return word(before) + " -> " + word(after)
	}
	var changes []string
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if key != "changed" && string(was[key]) != string(is[key]) {
			changes = append(changes, plain(fmt.Sprintf("%s %s -> %s", key, was[key], is[key])))
		}
	}
	return strings.Join(changes, ", ")
}

// mailPath is who wrote to whom.
func mailPath(e session.Event) string {
	from := ""
	if e.From != nil {
		from = "<" + plain(*e.From) + ">"
	}
	if len(e.To) == 0 {
		return from
	}
	to := "<" + plain(e.To[0]) + ">"
	if more := len(e.To) - 1; more > 0 {
		to += fmt.Sprintf(" and %d more", more)
	}
	return strings.TrimLeft(from+" -> "+to, " ")
}

// maxShown is how many characters of one value are shown.
const maxShown = 200

// plain makes a text safe to show: escaped where it is not printable, which
// includes the marks that change the direction of writing, and not too long.
func plain(s string) string {
	var b strings.Builder
	shown := 0
	for _, r := range s {
		if shown == maxShown {
			b.WriteString("…")
			break
		}
		shown++
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// word is plain for what must be seen as one piece: quoted if it has a space.
func word(s string) string {
	shown := plain(s)
	if strings.ContainsAny(s, " \"\\") {
		return `"` + strings.ReplaceAll(shown, `"`, `\"`) + `"`
	}
	return shown
}

// pad fills a column; a value that is missing shows as a dash.
func pad(s string, width int) string {
	if s == "" {
		s = "-"
	}
	if n := len([]rune(s)); n < width {
		s += strings.Repeat(" ", width-n)
	}
	return s
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	value, units := float64(n)/1024, "KMGTPE"
	for value >= 1023.95 && len(units) > 1 {
		value, units = value/1024, units[1:]
	}
	return strconv.FormatFloat(value, 'f', 1, 64) + " " + units[:1] + "iB"
}

// duration is a number of milliseconds for people.
func duration(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d >= time.Minute {
		d = d.Round(time.Second)
	}
	return d.String()
}

func (s Style) colour(outcome, text string) string {
	const red, green, yellow, end = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
	if !s.Colour {
		return text
	}
	switch outcome {
	case session.OutcomeRefused, session.OutcomeBanned:
		return red + text + end
	case session.OutcomeGranted:
		return green + text + end
	case session.OutcomeFailed, session.OutcomeError, session.OutcomeHandshakeFailed:
		return yellow + text + end
	default:
		return text
	}
}
