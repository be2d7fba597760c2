package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"gateway/session"
)

// maxLine bounds one line of the record, in bytes, its newline included. The
// longest honest event is a mail with some thousands of recipients.
const maxLine = 1 << 20

// maxStamp is the room that a line needs for its seq and time.
const maxStamp = 80

// timeFormat is RFC 3339 in UTC with exactly microseconds, so that times have
// one width and sort as text.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// body is an event without seq and time, which the writer puts in front when
// it knows them. The empty fields hide those of the embedded Event.
type body struct {
	Seq  *struct{} `json:"seq,omitempty"`
	Time *struct{} `json:"time,omitempty"`
	session.Event
}

// encodeBody writes everything of e but its seq and time, as a JSON object
// without the opening brace and with a newline. Bytes that are not UTF-8 are
// recorded as U+FFFD.
func encodeBody(e session.Event) ([]byte, error) {
	if e.Event == "" {
		return nil, errors.New("encode event: it has no kind")
	}
	if !e.Remote.IsValid() {
		e.Remote = netip.AddrPort{}
	}
	if !e.Local.IsValid() {
		e.Local = netip.AddrPort{}
	}
	if e.Facts != nil {
		facts := *e.Facts
		facts.Time = facts.Time.UTC()
		e.Facts = &facts
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body{Event: e}); err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	line := b.Bytes()
	if bytes.Contains(line, []byte(`\ufffd`)) {
		// encoding/json escapes what was no UTF-8, but writes U+FFFD itself as it is.
		// One form only, so that a line can be checked by encoding it again.
		var again session.Event
		if err := json.Unmarshal(line, &again); err != nil {
			return nil, fmt.Errorf("encode event: %w", err)
		}
		b.Reset()
		if err := enc.Encode(body{Event: again}); err != nil {
			return nil, fmt.Errorf("encode event: %w", err)
		}
		line = b.Bytes()
	}
	if len(line)+maxStamp > maxLine {
		return nil, fmt.Errorf("encode event: %d bytes, more than the %d of a line", len(line), maxLine-maxStamp)
	}
	return line[1:], nil
}

// appendLine appends the line of an encoded body, with its newline.
func appendLine(b []byte, seq int64, at time.Time, body []byte) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, `,"time":"`...)
	b = at.UTC().AppendFormat(b, timeFormat)
	b = append(b, `",`...)
	return append(b, body...)
}

// encode is the one way to write e as a line, with its newline.
func encode(e session.Event) ([]byte, error) {
	b, err := encodeBody(e)
	if err != nil {
		return nil, err
	}
	if y := e.Time.UTC().Year(); y < 0 || y > 9999 {
		return nil, fmt.Errorf("encode event: year %d", y)
	}
	return appendLine(nil, e.Seq, e.Time, b), nil
}

// decode reads a line, without its newline. Keys that it does not know are
// ignored: they are of a later version.
func decode(line []byte) (session.Event, error) {
	var e session.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return session.Event{}, fmt.Errorf("not an event: %w", err)
	}
	switch {
	case e.Seq < 1:
		return session.Event{}, errors.New("not an event: it has no seq")
	case e.Time.IsZero():
		return session.Event{}, errors.New("not an event: it has no time")
	case e.Event == "":
		return session.Event{}, errors.New("not an event: it has no kind")
	}
	return e, nil
}

// canonical reports whether line, without its newline, is exactly what encode
// makes of e.
func canonical(line []byte, e session.Event) bool {
	again, err := encode(e)
	return err == nil && bytes.Equal(again[:len(again)-1], line)
}

// quickSeq reads the seq of a line, without its newline, and reports whether
// the line is JSON that begins as every line of the record does. It is for the
// scan at the start, which has a whole segment to read.
func quickSeq(line []byte) (int64, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	if !ok {
		return 0, false
	}
	digits, _, ok := bytes.Cut(rest, []byte(`,"time":"`))
	if !ok || len(digits) > 19 {
		return 0, false
	}
	seq, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || seq < 1 || !json.Valid(line) {
		return 0, false
	}
	return seq, true
}
