package ftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strconv"
	"strings"
	"time"

	"gateway/session"
	"gateway/storage"
)

const (
	// maxStars bounds the wildcards of a pattern, and so the work of matching it.
	maxStars = 8
	// maxStatLines bounds a listing on the control connection (STAT with a path).
	maxStatLines = 1000
)

// listing is what LIST, NLST, MLSD or STAT show: one entry or a folder.
type listing struct {
	prefix  string // before each name, for NLST
	pattern string // if set, only names that match
	one     *storage.Info
	entries iter.Seq2[storage.Info, error]
	used    bool
}

// all yields what the listing shows. A listing is gone through once.
func (l *listing) all() iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if l.one != nil {
			yield(*l.one, nil)
			return
		}
		l.used = true
		for info, err := range l.entries {
			if err == nil && l.pattern != "" {
				if hit, _ := path.Match(l.pattern, info.Name); !hit || strings.HasPrefix(info.Name, ".") && l.pattern[0] != '.' {
					continue
				}
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// drop ends the record of a listing that was never gone through.
func (l *listing) drop() {
	if l.one == nil && !l.used {
		for range l.entries {
			break
		}
	}
}

// look finds what an argument of LIST or NLST means: options are ignored, a name
// that exists is taken as it is, and a last part with wildcards is a pattern.
func (c *conn) look(ctx context.Context, arg string) (*listing, error) {
	name := arg
	if strings.HasPrefix(arg, "-") && !c.exists(ctx, arg) {
		name = withoutOptions(arg)
	}
	where, err := c.resolve(name)
	if err != nil {
		return nil, err
	}
	l := &listing{}
	info, err := c.files.Stat(ctx, where)
	switch {
	case errors.Is(err, session.ErrNotExist) && isPattern(path.Base(where)):
		l.pattern = path.Base(where)
		where = path.Dir(where)
		l.prefix = name[:strings.LastIndexByte(name, '/')+1]
	case err != nil:
		return nil, err
	case !info.IsDir():
		l.one = &info
		l.prefix = name[:strings.LastIndexByte(name, '/')+1]
		return l, nil
	case name != "" && name != ".":
		l.prefix = strings.TrimSuffix(name, "/") + "/"
	}
	l.entries, err = c.files.List(ctx, where)
	return l, err
}

func (c *conn) exists(ctx context.Context, name string) bool {
	where, err := c.resolve(name)
	if err == nil {
		_, err = c.files.Lstat(ctx, where)
	}
	return err == nil
}

// withoutOptions drops words like "-al" from the start of an argument.
func withoutOptions(arg string) string {
	for strings.HasPrefix(arg, "-") {
		_, arg, _ = strings.Cut(arg, " ")
		arg = strings.TrimLeft(arg, " ")
	}
	return arg
}

// isPattern reports whether a name holds wildcards that we match.
func isPattern(name string) bool {
	if !strings.ContainsAny(name, "*?[") || strings.Count(name, "*") > maxStars || len(name) > 255 {
		return false
	}
	_, err := path.Match(name, "")
	return err == nil
}

func (c *conn) list(ctx context.Context, arg string) reply {
	l, err := c.look(ctx, arg)
	if err != nil {
		return fileReply(err)
	}
	now := time.Now()
	return c.sendList(ctx, "LIST", l, func(b []byte, info storage.Info) []byte { return appendUnix(b, info, now) })
}

func (c *conn) nlst(ctx context.Context, arg string) reply {
	l, err := c.look(ctx, arg)
	if err != nil {
		return fileReply(err)
	}
	return c.sendList(ctx, "NLST", l, func(b []byte, info storage.Info) []byte {
		return append(append(b, l.prefix...), info.Name...)
	})
}

// mlsd lists a folder (RFC 3659, section 7); it takes no patterns and no files.
func (c *conn) mlsd(ctx context.Context, arg string) reply {
	where, err := c.resolve(arg)
	if err != nil {
		return fileReply(err)
	}
	entries, err := c.files.List(ctx, where)
	if errors.Is(err, session.ErrNotDirectory) {
		return reply{501, "Not a directory."}
	}
	if err != nil {
		return fileReply(err)
	}
	facts := c.facts
	return c.sendList(ctx, "MLSD", &listing{entries: entries}, func(b []byte, info storage.Info) []byte {
		return append(append(facts.append(b, info), ' '), info.Name...)
	})
}

// mlst describes one file on the control connection.
func (c *conn) mlst(ctx context.Context, arg string) reply {
	var info storage.Info
	return c.onPath(arg, func(path string) (err error) {
		info, err = c.files.Stat(ctx, path)
		return err
	}, func(path string) reply {
		return reply{250, "Listing " + oneLine(path) + "\n" + string(c.facts.append(nil, info)) + " " + oneLine(path) + "\nEnd"}
	})
}

// stat tells of the server, or lists a path on the control connection.
func (c *conn) stat(ctx context.Context, arg string) reply {
	if arg == "" {
		return c.status()
	}
	l, err := c.look(ctx, arg)
	if err != nil {
		return fileReply(err)
	}
	code := 212
	if l.one != nil {
		code = 213
	}
	text := []byte("Status follows:\n")
	lines, now := 0, time.Now()
	for info, err := range l.all() {
		if err != nil {
			return fileReply(err)
		}
		if lines++; lines > maxStatLines {
			text = append(text, "(more entries; use LIST)\n"...)
			break
		}
		info.Name = oneLine(info.Name)
		text = append(appendUnix(text, info, now), '\n')
	}
	return reply{code, string(append(text, "End of status"...))}
}

// appendUnix writes an entry as ls -l does, which is what clients parse.
func appendUnix(b []byte, info storage.Info, now time.Time) []byte {
	when := info.ModTime.UTC().Format("Jan _2 15:04")
	if age := now.Sub(info.ModTime); age > 180*24*time.Hour || age < -24*time.Hour {
		when = info.ModTime.UTC().Format("Jan _2  2006")
	}
	return fmt.Appendf(b, "%s %4d ftp      ftp      %12d %s %s", unixMode(info.Mode), max(info.Links, 1), info.Size, when, info.Name)
}

// unixMode writes type and permissions in the ten columns of ls.
func unixMode(m fs.FileMode) string {
	s := []byte("-rwxrwxrwx")
	switch {
	case m.IsDir():
		s[0] = 'd'
	case m&fs.ModeSymlink != 0:
		s[0] = 'l'
	case m&fs.ModeNamedPipe != 0:
		s[0] = 'p'
	case m&fs.ModeSocket != 0:
		s[0] = 's'
	case m&fs.ModeCharDevice != 0:
		s[0] = 'c'
	case m&fs.ModeDevice != 0:
		s[0] = 'b'
	}
	for i := range 9 {
		if m&(1<<(8-i)) == 0 {
			s[i+1] = '-'
		}
	}
	for _, special := range []struct {
		bit  fs.FileMode
		at   int
		mark byte
	}{{fs.ModeSetuid, 3, 's'}, {fs.ModeSetgid, 6, 's'}, {fs.ModeSticky, 9, 't'}} {
		if m&special.bit != 0 {
			if s[special.at] == 'x' {
				s[special.at] = special.mark
			} else {
				s[special.at] = special.mark - 'a' + 'A'
			}
		}
	}
	return string(s)
}

// factSet says which facts MLST and MLSD show, as bits in the order of
// factNames.
type factSet uint8

const allFacts factSet = 1<<6 - 1

// factNames are the facts of RFC 3659, section 7.5, that we know.
func factNames() [6]string {
	return [...]string{"Type", "Size", "Modify", "Perm", "Unique", "UNIX.mode"}
}

// parseFacts takes the list that OPTS MLST gives; unknown facts are left out
// (RFC 3659, section 7.9).
func parseFacts(list string) factSet {
	var set factSet
	for fact := range strings.SplitSeq(list, ";") {
		for i, name := range factNames() {
			if strings.EqualFold(strings.TrimSpace(fact), name) {
				set |= 1 << i
			}
		}
	}
	return set
}

// feature lists all facts, those in use with a star (RFC 3659, section 7.8).
func (f factSet) feature() string {
	var b strings.Builder
	for i, name := range factNames() {
		b.WriteString(name)
		if f&(1<<i) != 0 {
			b.WriteByte('*')
		}
		b.WriteByte(';')
	}
	return b.String()
}

// names lists the facts in use.
func (f factSet) names() string {
	var b strings.Builder
	for i, name := range factNames() {
		if f&(1<<i) != 0 {
			b.WriteString(name + ";")
		}
	}
	return b.String()
}

// append writes the facts of one entry.
func (f factSet) append(b []byte, info storage.Info) []byte {
	regular := info.Mode.IsRegular()
	kind, perm := "file", "adfrw"
	switch {
	case info.IsDir():
		kind, perm = "dir", "cdeflmp"
	case info.Mode&fs.ModeSymlink != 0:
		kind, perm = "OS.unix=symlink", "df"
	case !regular:
		kind, perm = "OS.unix=other", "df"
	}
	for i, name := range factNames() {
		if f&(1<<i) == 0 {
			continue
		}
		var value string
		switch name {
		case "Type":
			value = kind
		case "Size":
			if !regular {
				continue
			}
			value = decimal(info.Size)
		case "Modify":
			value = stamp(info.ModTime)
		case "Perm":
			value = perm
		case "Unique":
			if info.ID == 0 {
				continue
			}
			value = strconv.FormatUint(info.ID, 16)
		case "UNIX.mode":
			value = fmt.Sprintf("0%03o", info.Mode.Perm())
		}
		b = append(b, name+"="+value+";"...)
	}
	return b
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
