package foreign

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// pair is one entry of a Berkeley DB.
type pair struct {
	At         Position // of the key
	Key, Value string
}

// isBerkeleyDB reports whether content is a Berkeley DB itself: its magic numbers stand at
// byte 12, in either order of bytes.
func isBerkeleyDB(content []byte) bool {
	if len(content) < 16 {
		return false
	}
	for _, magic := range [][]byte{{0x61, 0x15, 0x06, 0x00}, {0x00, 0x06, 0x15, 0x61}, {0x62, 0x31, 0x05, 0x00}, {0x00, 0x05, 0x31, 0x62}} {
		if bytes.Equal(content[12:16], magic) {
			return true
		}
	}
	return false
}

// isDump reports whether content is what db_dump writes; an editor may have put a mark before.
func isDump(content []byte) bool {
	return bytes.HasPrefix(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), []byte("VERSION="))
}

// readDump reads what "db_dump -p" or "db_dump" prints of a Berkeley DB: a header up to
// HEADER=END, then keys and values by turns, a line each with a space before it, up to
// DATA=END.
func readDump(name string, content []byte, found *Found) ([]pair, error) {
	if isBerkeleyDB(content) {
		return nil, fmt.Errorf("%s is a Berkeley DB, which is read as text: db5.3_dump -p %s > dump.txt (Debian: package db5.3-util), and give dump.txt", name, name)
	}
	if !isDump(content) {
		return nil, fmt.Errorf("%s is not what db5.3_dump -p prints", name)
	}
	var pairs []pair
	var key *line
	header, printed, ended := true, false, false
	for l := range lines(name, content, found) {
		switch {
		case header:
			printed = printed || l.Text == "format=print"
			header = l.Text != "HEADER=END"
		case l.Text == "DATA=END":
			ended = true
		case !strings.HasPrefix(l.Text, " "):
			found.refuse(l.At, "", "the line is neither a key nor a value")
		case key == nil:
			key = &l
		default:
			k, err1 := undump(key.Text[1:], printed)
			v, err2 := undump(l.Text[1:], printed)
			if err := errors.Join(err1, err2); err != nil {
				found.refuse(key.At, "", "%v", err)
			} else {
				pairs = append(pairs, pair{key.At, k, v})
			}
			key = nil
		}
	}
	if !ended || key != nil {
		return nil, fmt.Errorf("%s ends too early: it has no DATA=END, so accounts may be missing; dump it again", name)
	}
	return pairs, nil
}

// undump reads a line of a dump: printed, with \xx for what cannot be and \\ for itself,
// or all in hexadecimal.
func undump(text string, printed bool) (string, error) {
	var out []byte
	for i := 0; i < len(text); i++ {
		switch {
		case printed && text[i] != '\\':
			out = append(out, text[i])
			continue
		case printed && strings.HasPrefix(text[i:], `\\`):
			out = append(out, '\\')
			i++
			continue
		case printed:
			i++
		}
		if i+2 > len(text) || !isHex(text[i:i+2], 2) {
			return "", errors.New("the line is not as db_dump prints it")
		}
		out = append(out, unhex(text[i])<<4|unhex(text[i+1]))
		i++
	}
	return string(out), nil
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}
