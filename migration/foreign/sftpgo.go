package foreign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

func sftpgoFormat() Format {
	return Format{
		Name: "sftpgo", Files: "DUMP.JSON", Short: "a backup of SFTPGo (maintenance page, or the API's dumpdata)",
		Read: ofOneFile(readSFTPGo),
	}
}

// readSFTPGo reads a dump.
func readSFTPGo(name string, content []byte) (Found, error) {
	s := sftpgoDump{name: name, content: bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))}
	if !utf8.Valid(s.content) {
		s.content = []byte(text(s.content))
	}
	if err := s.read(); err != nil {
		return Found{}, fmt.Errorf("%v: %s", s.at(s.in.InputOffset()), clipLong(err.Error()))
	}
	return s.found, nil
}

// sftpgoDump is a dump that is being read.
type sftpgoDump struct {
	name    string
	content []byte
	in      *json.Decoder
	found   Found

	offset int64 // up to which lines are counted
	lines  int
}

// at is the line of an offset, which is not before the one asked for last.
func (s *sftpgoDump) at(offset int64) Position {
	offset = min(max(offset, s.offset), int64(len(s.content)))
	s.lines += bytes.Count(s.content[s.offset:offset], []byte("\n"))
	s.offset = offset
	return Position{s.name, s.lines + 1}
}

// read reads the object at the top, user by user.
func (s *sftpgoDump) read() error {
	s.in = json.NewDecoder(bytes.NewReader(s.content))
	if token, err := s.in.Token(); err != nil || token != json.Delim('{') {
		return errors.New("it is no backup of SFTPGo: want JSON, {\"users\": [...], ...}")
	}
	seen := false
	var left []string
	for s.in.More() {
		key, err := s.in.Token()
		if err != nil {
			return whole(err)
		}
		if key == "users" {
			seen = true
			if err := s.users(); err != nil {
				return err
			}
			continue
		}
		var rest json.RawMessage
		if err := s.in.Decode(&rest); err != nil {
			return whole(err)
		}
		if name, ok := key.(string); ok && !isZeroJSON(rest) && name != "version" && len(left) < maxNotTaken {
			left = append(left, clip(name))
		}
	}
	if _, err := s.in.Token(); err != nil {
		return whole(err)
	}
	if !seen {
		return errors.New("it has no \"users\": it is no backup of SFTPGo, or one without users")
	}
	if left = sortedSet(left); len(left) > 0 {
		s.found.note("of the dump only the users are taken, not %s; what groups say for their members (folders, quotas, permissions) has to be said again: gateway group set", strings.Join(left, ", "))
	}
	return nil
}

// users reads the list of users. One that has another form is refused; where JSON itself
// is broken, nothing after it can be read.
func (s *sftpgoDump) users() error {
	token, err := s.in.Token()
	if err != nil {
		return whole(err)
	}
	if token == nil { // null
		return nil
	}
	if token != json.Delim('[') {
		return errors.New("\"users\" is no list")
	}
	for s.in.More() {
		var raw json.RawMessage
		if err := s.in.Decode(&raw); err != nil {
			return whole(err)
		}
		at := s.at(s.in.InputOffset() - int64(len(raw)))
		if s.user(at, raw); s.found.full(at) {
			return errors.New("too much of it is not taken")
		}
	}
	_, err = s.in.Token()
	return whole(err)
}

// whole says of an error of JSON what may be the matter.
func whole(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: the dump is not whole; make it again", err)
}

// isZeroJSON reports whether a value says nothing.
func isZeroJSON(raw json.RawMessage) bool {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return false
	}
	return isZeroValue(v)
}

func isZeroValue(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, inner := range v {
			if !isZeroValue(inner) {
				return false
			}
		}
		return true
	default:
		return false
	}
}
