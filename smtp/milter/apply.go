package milter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"gateway/smtp"
)

// apply makes the changes that a filter asks for, in their order. leading says that
// values come with the blank behind the colon.
func apply(m *smtp.Message, changes []gomilter.ModifyAction, leading bool) error {
	var body bytes.Buffer
	replaced := false
	for _, c := range changes {
		var err error
		switch c.Code {
		case gomilter.ActAddHeader, gomilter.ActInsertHeader, gomilter.ActChangeHeader:
			err = applyHeader(m, c, leading)
		case gomilter.ActReplBody:
			replaced = true
			body.Write(c.Body)
		case gomilter.ActQuarantine:
			m.Hold = "quarantined by a milter: " + c.Reason
		default:
			err = errors.New("it asks for a change that was not offered")
		}
		if err != nil {
			return err
		}
	}
	if !replaced {
		return nil
	}
	if err := m.ReplaceBody(&body); err != nil {
		return fmt.Errorf("the body that it put in place: %w", err)
	}
	return nil
}

func applyHeader(m *smtp.Message, c gomilter.ModifyAction, leading bool) error {
	f, err := field(c.HeaderName, c.HeaderValue, leading)
	if err != nil {
		return err
	}
	switch c.Code {
	case gomilter.ActAddHeader:
		m.Header = append(m.Header, f)
	case gomilter.ActInsertHeader:
		// Position 0 is in front of the trace field that we add, 1 behind it, which is
		// where our part of the header begins.
		at := min(max(int64(c.HeaderIndex), 1)-1, int64(len(m.Header)))
		m.Header = slices.Insert(m.Header, int(at), f)
	default:
		change(m, f, c.HeaderIndex, c.HeaderValue == "")
	}
	return nil
}

// change replaces or removes the field that is the n-th of its name, counted from
// 1. One that there is not is added.
func change(m *smtp.Message, f smtp.Field, n uint32, remove bool) {
	for i, have := range m.Header {
		if !strings.EqualFold(have.Name, f.Name) {
			continue
		}
		if n > 1 {
			n--
			continue
		}
		if remove {
			m.Header = slices.Delete(m.Header, i, i+1)
		} else {
			m.Header[i].Value = f.Value
		}
		return
	}
	if !remove {
		m.Header = append(m.Header, f)
	}
}

// field makes a field of what a filter says: lines end in LF or CRLF, and those
// behind the first must be continuations. smtp refuses what is none all the same.
func field(name, value string, leading bool) (smtp.Field, error) {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return smtp.Field{}, errors.New("it names a header field that cannot be one")
	}
	value = strings.ReplaceAll(value, "\r\n", "\n")
	value = strings.TrimRight(value, "\n")
	for i, line := range strings.Split(value, "\n") {
		if i > 0 && (strings.TrimSpace(line) == "" || line[0] != ' ' && line[0] != '\t') {
			return smtp.Field{}, fmt.Errorf("its value for the field %s has a line that is no continuation", name)
		}
	}
	if strings.ContainsAny(value, "\r\x00") {
		return smtp.Field{}, fmt.Errorf("its value for the field %s has a CR or NUL in it", name)
	}
	if !leading {
		value = " " + value
	}
	return smtp.Field{Name: name, Value: strings.ReplaceAll(value, "\n", "\r\n")}, nil
}
