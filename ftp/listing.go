package ftp

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// Bounds of a listing.
const (
	// maxStars bounds the wildcards of a pattern, and so the work of matching it. Only
	// the last part of a name may be a pattern, so the folders read are one.
	maxStars = 8
	// maxSorted is how many entries of a folder are kept in memory to be sorted (-t,
	// -r). The rest of a larger folder follows unsorted.
	maxSorted = 10_000
	// maxDepth, maxFolders and maxEntries bound what -R goes through. A listing that
	// would show more ends with errTooLarge: one that looks whole and is not would
	// make a client remove what it does not see.
	maxDepth   = 32
	maxFolders = 4096
	maxEntries = 200_000
)

// errTooLarge is a recursive listing over a bound.
var errTooLarge = errors.New("recursive listing too large")

// listOptions are those of ls that clients send and that change something here.
// Names that begin with a dot are always shown, and LIST is always long.
type listOptions struct {
	recursive, byTime, reversed, classify bool
}

// parseListArgument takes options like "-al" and "-l -R" from the start of an
// argument; "--" ends them. Letters that we do not know are ignored, since
// clients send those of some ls. A name that begins with "-" and exists is no
// option: the caller has looked before.
func parseListArgument(arg string) (opts listOptions, name string) {
	for strings.HasPrefix(arg, "-") {
		var word string
		word, arg, _ = strings.Cut(arg, " ")
		arg = strings.TrimLeft(arg, " ")
		if word == "--" {
			break
		}
		for _, letter := range word[1:] {
			switch letter {
			case 'R':
				opts.recursive = true
			case 't':
				opts.byTime = true
			case 'r':
				opts.reversed = true
			case 'F':
				opts.classify = true
			}
		}
	}
	return opts, arg
}

// listing is what LIST, NLST, MLSD or STAT show: one entry or a folder.
type listing struct {
	opts    listOptions
	prefix  string // before each name, for NLST
	pattern string // if set, only names that match
	one     *storage.Info
	path    string // of the folder
	files   *transfer.Files
	first   folder
	carrier *session.Channel // see carried
}

// folder is a transfer.Listing.
type folder interface {
	Entries(ctx context.Context) iter.Seq2[storage.Info, error]
	Carried(ch session.Channel)
	Close(ctx context.Context, err error) error
}

// row is one line of a listing: an entry and what stands before its name in
// NLST, or the heading of a folder.
type row struct {
	info    storage.Info
	prefix  string
	heading string // if set, info is not
}

// look finds what an argument of LIST or NLST means: a name that exists is taken
// as it is, and a last part with wildcards is a pattern.
func (c *conn) look(ctx context.Context, arg string) (*listing, error) {
	l, name := &listing{files: c.files}, arg
	if strings.HasPrefix(arg, "-") && !c.exists(ctx, arg) {
		l.opts, name = parseListArgument(arg)
	}
	where, err := c.resolve(name)
	if err != nil {
		return nil, err
	}
	info, err := c.files.Stat(ctx, where)
	switch {
	case errors.Is(err, session.ErrNotExist) && isPattern(path.Base(where)):
		l.pattern = path.Base(where)
		l.prefix = before(name, where)
		where = path.Dir(where)
		l.opts.recursive = false
	case err != nil:
		return nil, err
	case !info.IsDir():
		l.one = &info
		l.prefix = before(name, where)
		return l, nil
	case name != "" && name != ".":
		l.prefix = strings.TrimSuffix(name, "/") + "/"
	}
	l.path = where
	first, err := c.files.List(ctx, where)
	if err != nil {
		return nil, err
	}
	l.first = first
	return l, nil
}

// before is what NLST shows in front of the last part of where: what the client said
// there. If it ended otherwise, as in "*/", that is the path.
func before(name, where string) string {
	if prefix, ok := strings.CutSuffix(name, path.Base(where)); ok && (prefix == "" || strings.HasSuffix(prefix, "/")) {
		return prefix
	}
	return where[:strings.LastIndexByte(where, '/')+1]
}

func (c *conn) exists(ctx context.Context, name string) bool {
	where, err := c.resolve(name)
	if err == nil {
		_, err = c.files.Lstat(ctx, where)
	}
	return err == nil
}

// isPattern reports whether a name holds wildcards that we match.
func isPattern(name string) bool {
	if !strings.ContainsAny(name, "*?[") || strings.Count(name, "*") > maxStars || len(name) > 255 {
		return false
	}
	_, err := path.Match(name, "")
	return err == nil
}

// carried notes for the record over which connection the listing goes.
func (l *listing) carried(ch session.Channel) {
	l.carrier = &ch
	if l.first != nil {
		l.first.Carried(ch)
	}
}

// close ends the record of the listing; err is nil if the peer got it.
func (l *listing) close(ctx context.Context, err error) error {
	if l.first == nil {
		return err
	}
	return l.first.Close(context.WithoutCancel(ctx), err)
}

// rows yields what the listing shows. A listing is gone through once; an error
// ends it.
func (l *listing) rows(ctx context.Context) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		if l.one != nil {
			yield(row{info: *l.one, prefix: l.prefix}, nil)
			return
		}
		if l.opts.recursive {
			l.walk(ctx, yield)
			return
		}
		for info, err := range l.sorted(ctx, l.matching(ctx, l.first.Entries(ctx))) {
			if !yield(row{info: info, prefix: l.prefix}, err) || err != nil {
				return
			}
		}
	}
}

// subfolder is a folder that -R has still to show.
type subfolder struct {
	parent string // relative to the first folder, shared with its siblings
	name   string
	depth  int
}

// relative is the path from the first folder, "" for that itself.
func (s subfolder) relative() string { return path.Join(s.parent, s.name) }

// walk yields a folder and all below it, each with a heading as ls has it. Links
// are shown and not followed. A folder that may not be read is shown empty.
func (l *listing) walk(ctx context.Context, yield func(row, error) bool) {
	top := strings.TrimSuffix(cmp.Or(l.prefix, "."), "/")
	waiting := []subfolder{{}}
	seen := 0
	for folders := 1; len(waiting) > 0; folders++ {
		at := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		if folders > maxFolders || at.depth > maxDepth {
			yield(row{}, errTooLarge)
			return
		}
		below, shown, prefix := at.relative(), top, l.prefix
		if below != "" {
			shown, prefix = top+"/"+below, l.prefix+below+"/"
		}
		if !yield(row{heading: cmp.Or(shown, "/")}, nil) {
			return
		}
		var next []subfolder
		for info, err := range l.sorted(ctx, l.below(ctx, below)) {
			if seen++; err == nil && (seen > maxEntries || len(waiting)+len(next) > maxFolders) {
				err = errTooLarge
			}
			if !yield(row{info: info, prefix: prefix}, err) || err != nil {
				return
			}
			if info.IsDir() {
				next = append(next, subfolder{parent: below, name: info.Name, depth: at.depth + 1})
			}
		}
		slices.Reverse(next) // the first is the next
		waiting = append(waiting, next...)
	}
}

// below yields what is in a folder of the tree that is shown, the first itself for
// "". Any other has a record of its own, and is empty if it is gone or may not be
// read.
func (l *listing) below(ctx context.Context, name string) iter.Seq2[storage.Info, error] {
	if name == "" {
		return l.first.Entries(ctx)
	}
	return func(yield func(storage.Info, error) bool) {
		if ctx.Err() != nil {
			yield(storage.Info{}, context.Cause(ctx))
			return
		}
		f, err := l.files.List(ctx, path.Join(l.path, name))
		switch {
		case errors.Is(err, session.ErrUnavailable):
			yield(storage.Info{}, err)
		case errors.Is(err, session.ErrDenied), errors.Is(err, session.ErrNotExist), errors.Is(err, session.ErrNotDirectory), errors.Is(err, session.ErrName):
		case err != nil:
			yield(storage.Info{}, err)
		default:
			if l.carrier != nil {
				f.Carried(*l.carrier)
			}
			f.Entries(ctx)(yield)
			_ = f.Close(context.WithoutCancel(ctx), nil) // its record says how far it went
		}
	}
}

// matching leaves out what the pattern does not match. It ends with ctx, since it
// may find nothing to yield for long.
func (l *listing) matching(ctx context.Context, entries iter.Seq2[storage.Info, error]) iter.Seq2[storage.Info, error] {
	if l.pattern == "" {
		return entries
	}
	return func(yield func(storage.Info, error) bool) {
		for info, err := range entries {
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err == nil {
				if hit, _ := path.Match(l.pattern, info.Name); !hit || strings.HasPrefix(info.Name, ".") && l.pattern[0] != '.' {
					continue
				}
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// sorted yields entries in the order of -t and -r, newest or last first; without
// either as they come.
func (l *listing) sorted(ctx context.Context, entries iter.Seq2[storage.Info, error]) iter.Seq2[storage.Info, error] {
	if !l.opts.byTime && !l.opts.reversed {
		return entries
	}
	return func(yield func(storage.Info, error) bool) {
		var kept []storage.Info
		flush := func() bool {
			slices.SortStableFunc(kept, l.compare)
			for _, info := range kept {
				if !yield(info, nil) {
					return false
				}
			}
			kept = nil
			return true
		}
		flushed := false
		for info, err := range entries {
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			switch {
			case err != nil:
				yield(info, err)
				return
			case flushed:
				if !yield(info, nil) {
					return
				}
				continue
			}
			if kept = append(kept, info); len(kept) >= maxSorted {
				if flushed = true; !flush() {
					return
				}
			}
		}
		flush()
	}
}

func (l *listing) compare(a, b storage.Info) int {
	order := cmp.Compare(a.Name, b.Name)
	if l.opts.byTime {
		order = cmp.Or(b.ModTime.Compare(a.ModTime), order)
	}
	if l.opts.reversed {
		return -order
	}
	return order
}

// mark is what -F puts behind a name.
func (o listOptions) mark(info storage.Info) string {
	switch {
	case !o.classify:
		return ""
	case info.IsDir():
		return "/"
	case info.Mode&fs.ModeSymlink != 0:
		return "@"
	case info.Mode&fs.ModeNamedPipe != 0:
		return "|"
	case info.Mode&fs.ModeSocket != 0:
		return "="
	case info.Mode.IsRegular() && info.Mode.Perm()&0o111 != 0:
		return "*"
	default:
		return ""
	}
}
