package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// folderToList is one in which only this client changes anything, or the common
// one, of which it knows its own names only.
func (w *walker) folderToList() (p, own string) {
	switch w.r.IntN(5) {
	case 0:
		return "/common", w.own()
	case 1:
		return fmt.Sprintf("/half %d", w.number), ""
	default:
		return w.pick(), ""
	}
}

// entry is what is told of a name in a listing.
type entry struct {
	name, kind string
	size       int64
	mode       fs.FileMode
	stamp      string // if it was set
}

// plainEntries lists a folder of the plain tree.
func (w *walker) plainEntries(p, own string) (list []entry, isFolder bool, err error) {
	info, err := os.Stat(w.at(p))
	if err != nil {
		return nil, false, err
	}
	if !info.IsDir() {
		return []entry{describe(info)}, false, nil
	}
	all, err := os.ReadDir(w.at(p))
	if err != nil {
		return nil, true, err
	}
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), own) {
			continue // the other client's, and perhaps gone already
		}
		info, err := e.Info()
		if err != nil {
			return nil, true, err
		}
		list = append(list, describe(info))
	}
	return list, true, nil
}

func describe(info fs.FileInfo) entry {
	e := entry{name: info.Name(), kind: "file", size: info.Size(), mode: info.Mode().Perm(), stamp: stampIfSet(info)}
	if info.IsDir() {
		e.kind, e.size = "dir", 0 // sizes of folders are not those of another file system
	}
	return e
}

func (w *walker) mlsd() error {
	p, own := w.folderToList()
	want, isFolder, model := w.plainEntries(p, own)
	if model == nil && !isFolder || errors.Is(model, syscall.ENOTDIR) {
		model = refusal(501) // RFC 3659, section 7.2.1
	}
	said := "MLSD " + w.say(p)
	text, code, err := w.c.fetch(said)
	if err := w.agree(said, code, err, 226, model); err != nil || model != nil {
		return err
	}
	var got []entry
	for line := range strings.Lines(string(text)) {
		facts, name, ok := strings.Cut(strings.TrimSuffix(line, "\r\n"), " ")
		if !ok {
			return fmt.Errorf("%s: %q", said, line)
		}
		e := entry{name: name}
		for fact := range strings.SplitSeq(facts, ";") {
			key, value, _ := strings.Cut(fact, "=")
			switch strings.ToLower(key) {
			case "type":
				e.kind = value
			case "size":
				e.size, _ = strconv.ParseInt(value, 10, 64)
			case "unix.mode":
				mode, _ := strconv.ParseUint(value, 8, 32)
				e.mode = fs.FileMode(mode)
			case "modify":
				e.stamp = value
			}
		}
		if e.kind == "cdir" || e.kind == "pdir" || !strings.HasPrefix(name, own) {
			continue
		}
		if e.kind == "dir" {
			e.size = 0
		}
		if i := slices.IndexFunc(want, func(o entry) bool { return o.name == name }); i >= 0 && want[i].stamp == "" {
			e.stamp = ""
		}
		got = append(got, e)
	}
	return sameEntries(said, got, want)
}

func sameEntries(said string, got, want []entry) error {
	for _, list := range [][]entry{got, want} {
		slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s:\ngot  %+v\nwant %+v", said, got, want)
	}
	return nil
}

func (w *walker) nlst() error {
	p, own := w.folderToList()
	list, isFolder, model := w.plainEntries(p, own)
	asked := w.say(p)
	said := "NLST " + asked
	text, code, err := w.c.fetch(said)
	if err := w.agree(said, code, err, 226, model); err != nil || model != nil {
		return err
	}
	prefix := asked + "/"
	if !isFolder {
		prefix = asked[:strings.LastIndexByte(asked, '/')+1]
	}
	var want []entry
	for _, e := range list {
		want = append(want, entry{name: prefix + e.name})
	}
	var got []entry
	for line := range strings.Lines(string(text)) {
		if name := strings.TrimSuffix(line, "\r\n"); strings.HasPrefix(name, prefix+own) {
			got = append(got, entry{name: name})
		}
	}
	return sameEntries(said, got, want)
}

func (w *walker) list() error {
	p, own := w.folderToList()
	want, _, model := w.plainEntries(p, own)
	said := "LIST " + w.say(p)
	text, code, err := w.c.fetch(said)
	if err := w.agree(said, code, err, 226, model); err != nil || model != nil {
		return err
	}
	for i := range want {
		want[i].mode, want[i].stamp = 0, ""
	}
	var got []entry
	for line := range strings.Lines(string(text)) {
		// mode, links, owner, group, size, month, day, time or year, name
		fields, rest := []string{}, strings.TrimSuffix(line, "\r\n")
		for range 8 {
			var field string
			field, rest, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
			fields = append(fields, field)
		}
		if !strings.HasPrefix(rest, own) {
			continue
		}
		e := entry{name: rest, kind: "file"}
		if e.size, err = strconv.ParseInt(fields[4], 10, 64); err != nil {
			return fmt.Errorf("%s: %q: %w", said, line, err)
		}
		if strings.HasPrefix(line, "d") {
			e.kind, e.size = "dir", 0
		}
		got = append(got, e)
	}
	return sameEntries(said, got, want)
}
