package ftpclient

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what an Entry is.
type Kind int

const (
	Other Kind = iota // a device, or what the server does not tell
	File
	Folder
	Link
)

// Entry is what a server says of a file or folder.
type Entry struct {
	Name    string // as the server says it
	Kind    Kind
	Size    int64       // -1 if it is not said
	ModTime time.Time   // zero if it is not said
	Perm    fs.FileMode // if Moded
	Moded   bool        // permissions are said
}

const (
	// maxListing is how many bytes a listing may have.
	maxListing = 256 << 20
	// listingSteps is how many time-outs all of a listing may take.
	listingSteps = 15
)

// List lists a folder, at most limit of its entries; one with more is an error. "." and ".."
// are left out; names are not judged otherwise.
func (c *Conn) List(ctx context.Context, path string, limit int) ([]Entry, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, listingSteps*c.cfg.Timeout, fmt.Errorf("a listing takes longer than %v", listingSteps*c.cfg.Timeout))
	defer cancel()
	if c.Has("MLST") {
		list, _, err := c.listing(ctx, "MLSD", path, limit, parseFacts)
		return list, err
	}
	// By its own name, LIST would take some for options, others for patterns.
	if err := c.simple(ctx, "CWD", path); err != nil {
		return nil, err
	}
	parse := func(line string) (Entry, bool) { return parseLong(line, time.Now()) }
	list, lines, err := c.listing(ctx, "LIST", "-a", limit, parse)
	if _, no := Code(err); no || err == nil && lines == 0 { // "-a" may be a name to it
		list, _, err = c.listing(ctx, "LIST", "", limit, parse)
	}
	return list, err
}

// listing reads a listing; lines is how many lines it had.
func (c *Conn) listing(ctx context.Context, verb, arg string, limit int, parse func(string) (Entry, bool)) (list []Entry, lines int, err error) {
	t, err := c.transfer(ctx, verb, arg, 0)
	if err != nil {
		return nil, 0, err
	}
	defer context.AfterFunc(ctx, func() { t.Interrupt(); c.abandon() })()
	in, size := newReader(t), 0
	for more := true; more; lines++ {
		line, err := readLine(in)
		if more = err == nil; !more && err != io.EOF {
			t.Abort()
			return nil, lines, err
		}
		if size += len(line); size > maxListing || lines > 2*limit+2 || len(list) > limit {
			t.Abort()
			return nil, lines, fmt.Errorf("the folder has more than %d entries, or a listing of more than %d bytes", limit, maxListing)
		}
		if e, ok := parse(string(line)); ok && e.Name != "." && e.Name != ".." {
			list = append(list, e)
		}
	}
	return list, lines - 1, t.Finish()
}

// facts are those of RFC 3659, section 7.5, and of Unix, that are of use here.
func facts() []string { return []string{"type", "size", "modify", "unix.mode"} }

// wantedFacts is what OPTS MLST is to say, where a server does not send by itself all facts
// that are of use. offered is what FEAT says, with a star behind each fact that is sent.
func wantedFacts(offered string) string {
	var wanted []string
	missing := false
	for fact := range strings.SplitSeq(offered, ";") {
		name, sent := strings.CutSuffix(strings.TrimSpace(fact), "*")
		if slices.Contains(facts(), strings.ToLower(name)) {
			wanted = append(wanted, name+";")
			missing = missing || !sent
		}
	}
	if !missing {
		return ""
	}
	return strings.Join(wanted, "")
}

// parseFacts reads a line of MLSD or MLST (RFC 3659, section 7.2). The folder itself and the
// one above, as MLSD lists them, have the names "." and "..".
func parseFacts(line string) (Entry, bool) {
	list, name, found := strings.Cut(line, " ")
	if !found || name == "" || !strings.HasSuffix(list, ";") && list != "" {
		return Entry{}, false
	}
	e := Entry{Name: name, Size: -1}
	typed := false
	for fact := range strings.SplitSeq(list, ";") {
		key, value, found := strings.Cut(fact, "=")
		if !found {
			continue
		}
		switch strings.ToLower(key) {
		case "type":
			typed = true
			e.kind(strings.ToLower(value))
		case "size":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
				e.Size = n
			}
		case "modify":
			e.ModTime, _ = parseTime(value)
		case "unix.mode":
			if n, err := strconv.ParseUint(value, 8, 16); err == nil {
				e.Perm, e.Moded = fs.FileMode(n).Perm(), true
			}
		}
	}
	return e, typed
}

// kind takes the fact "type".
func (e *Entry) kind(value string) {
	switch {
	case value == "file":
		e.Kind = File
	case value == "dir":
		e.Kind = Folder
	case value == "cdir", value == "pdir":
		e.Kind = Folder
		e.Name = strings.Repeat(".", 1+strings.Count(value, "p"))
	case strings.HasPrefix(value, "os.unix=slink"), strings.HasPrefix(value, "os.unix=symlink"):
		e.Kind = Link
	}
}
