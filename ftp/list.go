package ftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"gateway/session"
	"gateway/storage"
)

// maxStatLines bounds a listing on the control connection (STAT with a path).
const maxStatLines = 1000

const crlf = "\r\n"

func (c *conn) list(ctx context.Context, arg string) reply {
	l, err := c.look(ctx, arg)
	if err != nil {
		return fileReply(err)
	}
	now := time.Now()
	first := true // folder of -R
	return c.sendList(ctx, "LIST", l, func(b []byte, r row) []byte {
		if r.heading != "" {
			if !first {
				b = append(b, crlf...)
			}
			first = false
			return append(append(append(b, r.heading...), ':'), crlf...)
		}
		return append(append(appendUnix(b, r.info, now), l.opts.mark(r.info)...), crlf...)
	})
}

// nlst sends names that RETR takes as they are, so -R shows no headings.
func (c *conn) nlst(ctx context.Context, arg string) reply {
	l, err := c.look(ctx, arg)
	if err != nil {
		return fileReply(err)
	}
	return c.sendList(ctx, "NLST", l, func(b []byte, r row) []byte {
		if r.heading != "" {
			return b
		}
		return append(append(append(append(b, r.prefix...), r.info.Name...), l.opts.mark(r.info)...), crlf...)
	})
}

// mlsd lists a folder (RFC 3659, section 7); it takes no patterns and no files.
func (c *conn) mlsd(ctx context.Context, arg string) reply {
	where, err := c.resolve(arg)
	if err != nil {
		return fileReply(err)
	}
	entries, err := openFolder(ctx, c.files, where)
	if errors.Is(err, session.ErrNotDirectory) {
		return reply{501, "Not a directory."}
	}
	if err != nil {
		return fileReply(err)
	}
	facts := c.facts
	return c.sendList(ctx, "MLSD", &listing{entries: entries}, func(b []byte, r row) []byte {
		return append(append(append(facts.append(b, r.info), ' '), r.info.Name...), crlf...)
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
	return c.background(ctx, "STAT", func(ctx context.Context, _ func(int)) reply {
		defer l.drop()
		text, err := statText(ctx, l)
		if err != nil {
			return transferReply(err)
		}
		code := 212
		if l.one != nil {
			code = 213
		}
		return reply{code, text}
	})
}

func statText(ctx context.Context, l *listing) (string, error) {
	text := []byte("Status follows:\n")
	lines, now := 0, time.Now()
	for r, err := range l.rows(ctx) {
		switch {
		case err != nil:
			return "", err
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		}
		if lines++; lines > maxStatLines {
			text = append(text, "(more entries; use LIST)\n"...)
			break
		}
		if r.heading != "" {
			text = append(text, oneLine(r.heading)+":\n"...)
			continue
		}
		r.info.Name = oneLine(r.info.Name)
		text = append(append(appendUnix(text, r.info, now), l.opts.mark(r.info)...), '\n')
	}
	return string(append(text, "End of status"...)), nil
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

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
