package ftpclient

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// parseLong reads a line of LIST, for which there is no standard: as "ls -l" writes it, or
// as DIR does on Windows. Times are taken for UTC.
func parseLong(line string, now time.Time) (Entry, bool) {
	if len(line) > 0 && '0' <= line[0] && line[0] <= '9' {
		return parseDOS(line)
	}
	return parseUnix(line, now)
}

// A word is a part of a line between blanks.
type word struct {
	text string
	end  int // where it ends in the line
}

// words cuts off the first words of a line, n at most.
func words(line string, n int) []word {
	var out []word
	for at := 0; len(out) < n; {
		for at < len(line) && line[at] == ' ' {
			at++
		}
		start := at
		for at < len(line) && line[at] != ' ' {
			at++
		}
		if at == start {
			break
		}
		out = append(out, word{line[start:at], at})
	}
	return out
}

// parseUnix reads "-rw-r--r-- 1 owner group 17 Jan 2 15:04 name", with or without the group.
func parseUnix(line string, now time.Time) (Entry, bool) {
	const longest = 9 // words before the name, and the name
	w := words(line, longest)
	if len(w) < 7 || len(w[0].text) < 10 {
		return Entry{}, false
	}
	for size := 3; size <= 4 && size+3 < len(w); size++ {
		n, err := strconv.ParseInt(w[size].text, 10, 64)
		when, ok := unixTime(w[size+1].text, w[size+2].text, w[size+3].text, now)
		if err != nil || n < 0 || !ok {
			continue
		}
		rest := line[w[size+3].end:]
		if len(rest) < 2 { // the blank, and what is behind it
			return Entry{}, false
		}
		e := Entry{Name: rest[1:], Size: n, ModTime: when}
		return e, e.mode(w[0].text)
	}
	return Entry{}, false
}

// mode takes the first word of a line.
func (e *Entry) mode(text string) bool {
	switch text[0] {
	case '-':
		e.Kind = File
	case 'd':
		e.Kind, e.Size = Folder, 0
	case 'l':
		e.Kind = Link
		e.Name, _, _ = strings.Cut(e.Name, " -> ")
	case 'b', 'c', 'p', 's':
		e.Size = 0
	default:
		return false
	}
	for i, c := range []byte(text[1:10]) {
		switch c {
		case 'r', 'w', 'x', 's', 't':
			e.Perm |= fs.FileMode(0o400) >> i
		case '-', 'S', 'T':
		default:
			return false
		}
	}
	e.Moded = true
	return e.Name != ""
}

// unixTime reads "Jan 2 15:04", of the year before now, or "Jan 2 2006".
func unixTime(month, day, clock string, now time.Time) (time.Time, bool) {
	if t, err := time.Parse("Jan 2 2006", month+" "+day+" "+clock); err == nil {
		return t, true
	}
	now = now.UTC()
	t, err := time.Parse("2006 Jan 2 15:04", strconv.Itoa(now.Year())+" "+month+" "+day+" "+clock)
	if err != nil { // the 29th of February, seen from the year after
		t, err = time.Parse("2006 Jan 2 15:04", strconv.Itoa(now.Year()-1)+" "+month+" "+day+" "+clock)
		return t, err == nil
	}
	const ahead = 24 * time.Hour // clocks and zones differ
	if t.After(now.Add(ahead)) {
		t = t.AddDate(-1, 0, 0)
	}
	return t, true
}

// parseDOS reads "01-02-06  03:04PM  <DIR>  name" and "01-02-2006  03:04PM  17 name".
func parseDOS(line string) (Entry, bool) {
	w := words(line, 3)
	if len(w) < 3 {
		return Entry{}, false
	}
	var when time.Time
	var err error
	for _, layout := range []string{"01-02-06 03:04PM", "01-02-2006 03:04PM", "01-02-06 15:04", "01-02-2006 15:04"} {
		if when, err = time.Parse(layout, w[0].text+" "+w[1].text); err == nil {
			break
		}
	}
	if err != nil {
		return Entry{}, false
	}
	e := Entry{ModTime: when, Kind: File}
	if w[2].text == "<DIR>" {
		e.Kind = Folder
		e.Name = strings.TrimLeft(line[w[2].end:], " ")
		return e, e.Name != ""
	}
	if e.Size, err = strconv.ParseInt(w[2].text, 10, 64); err != nil || e.Size < 0 || len(line) < w[2].end+2 {
		return Entry{}, false
	}
	e.Name = line[w[2].end+1:]
	return e, true
}
