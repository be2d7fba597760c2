package ftpclient

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"gateway/session"
)

// timeLayout is that of RFC 3659, section 2.3, in UTC; fractions of a second may follow.
const timeLayout = "20060102150405"

func parseTime(s string) (time.Time, bool) {
	whole, _, _ := strings.Cut(s, ".")
	t, err := time.Parse(timeLayout, whole)
	return t, err == nil
}

// Stat describes what is at a path. A server without MLST says of a file its size and time,
// and of a folder that it is one.
func (c *Conn) Stat(ctx context.Context, path string) (Entry, error) {
	defer context.AfterFunc(ctx, c.abandon)()
	if c.Has("MLST") {
		return c.facts(path)
	}
	size, err := c.size(path)
	if err == nil {
		return c.dated(path, Entry{Kind: File, Size: size})
	}
	if _, no := Code(err); !no {
		return Entry{}, err
	}
	if _, err := c.ask(2, "CWD", path); err != nil {
		return Entry{}, err
	}
	return Entry{Kind: Folder}, nil
}

func (c *Conn) facts(path string) (Entry, error) {
	r, err := c.ask(2, "MLST", path)
	if err != nil {
		return Entry{}, err
	}
	for _, line := range r.lines {
		e, ok := parseFacts(strings.TrimLeft(line, " "))
		if ok && e.Kind == File && e.Size < 0 {
			e.Size, err = c.size(path)
		}
		if ok {
			return e, err
		}
	}
	return Entry{}, c.fail("MLST", errNoFTP)
}

// dated adds the time of a file, if the server says it.
func (c *Conn) dated(path string, e Entry) (Entry, error) {
	r, err := c.command("MDTM", path)
	if err == nil && r.code == 213 {
		e.ModTime, _ = parseTime(strings.TrimSpace(r.text()))
	}
	return e, err
}

// WorkingFolder is the folder in which relative names are now: after the login, where that
// begins.
func (c *Conn) WorkingFolder(ctx context.Context) (string, error) {
	defer context.AfterFunc(ctx, c.abandon)()
	r, err := c.ask(2, "PWD", "")
	if err != nil {
		return "", err
	}
	folder, ok := quotedPath(r.text())
	if !ok {
		return "", fmt.Errorf("PWD: it names no folder in %q", clip(r.text()))
	}
	return folder, nil
}

// quotedPath reads the path of a 257, in quotes, of which those within are written twice (RFC
// 959, appendix II). It must be a whole one.
func quotedPath(text string) (string, bool) {
	rest, found := strings.CutPrefix(strings.TrimSpace(text), `"`)
	if !found {
		return "", false
	}
	var out strings.Builder
	for {
		part, after, closed := strings.Cut(rest, `"`)
		out.WriteString(part)
		if !closed {
			return "", false
		}
		if rest, found = strings.CutPrefix(after, `"`); !found {
			return out.String(), strings.HasPrefix(out.String(), "/")
		}
		out.WriteByte('"')
	}
}

// Size is how many bytes a file has.
func (c *Conn) Size(ctx context.Context, path string) (int64, error) {
	defer context.AfterFunc(ctx, c.abandon)()
	return c.size(path)
}

func (c *Conn) size(path string) (int64, error) {
	r, err := c.ask(2, "SIZE", path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(r.text()), 10, 64)
	if err != nil || n < 0 {
		return 0, c.fail("SIZE", errNoFTP)
	}
	return n, nil
}

// SetModTime changes the time of a file or folder. It fails with session.ErrUnsupported
// where the server has no MFMT.
func (c *Conn) SetModTime(ctx context.Context, path string, t time.Time) error {
	if !c.Has("MFMT") {
		return session.ErrUnsupported
	}
	return c.simple(ctx, "MFMT", t.UTC().Format(timeLayout)+" "+path)
}

// Chmod changes permissions, where the server has SITE CHMOD; else it fails with
// session.ErrUnsupported.
func (c *Conn) Chmod(ctx context.Context, path string, perm fs.FileMode) error {
	return c.simple(ctx, "SITE", fmt.Sprintf("CHMOD %03o %s", perm.Perm(), path))
}

// MakeFolder makes a folder.
func (c *Conn) MakeFolder(ctx context.Context, path string) error { return c.simple(ctx, "MKD", path) }

// RemoveFolder removes an empty folder.
func (c *Conn) RemoveFolder(ctx context.Context, path string) error {
	return c.simple(ctx, "RMD", path)
}

// Remove removes a file.
func (c *Conn) Remove(ctx context.Context, path string) error { return c.simple(ctx, "DELE", path) }

// simple is a command to which the server says only yes or no.
func (c *Conn) simple(ctx context.Context, verb, arg string) error {
	defer context.AfterFunc(ctx, c.abandon)()
	_, err := c.ask(2, verb, arg)
	if unknown(err) {
		return fmt.Errorf("%w: %w", session.ErrUnsupported, err)
	}
	return err
}

// Rename moves a file or folder. Whether it replaces what is at to is the server's affair.
func (c *Conn) Rename(ctx context.Context, from, to string) error {
	defer context.AfterFunc(ctx, c.abandon)()
	if _, err := c.ask(3, "RNFR", from); err != nil {
		return err
	}
	_, err := c.ask(2, "RNTO", to)
	return err
}

// Available is how many bytes fit into a folder. It fails with session.ErrUnsupported where
// the server has no AVBL.
func (c *Conn) Available(ctx context.Context, path string) (uint64, error) {
	if !c.Has("AVBL") {
		return 0, session.ErrUnsupported
	}
	defer context.AfterFunc(ctx, c.abandon)()
	r, err := c.ask(2, "AVBL", path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(r.text()), 10, 64)
	if err != nil {
		return 0, c.fail("AVBL", errNoFTP)
	}
	return n, nil
}
