package ftp

import (
	"context"
	"errors"
	"path"
	"strconv"
	"time"

	"gateway/session"
	"gateway/storage"
)

// maxStatLines bounds a listing on the control connection (STAT with a path).
const maxStatLines = 1000

// shownOwner stands for user and group in a listing: all is the account's own.
const shownOwner = "ftp"

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
		return append(append(r.info.AppendLongLine(b, shownOwner, now), l.opts.mark(r.info)...), crlf...)
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
	first, err := c.files.List(ctx, where)
	if errors.Is(err, session.ErrNotDirectory) {
		return reply{501, "Not a directory."}
	}
	if err != nil {
		return fileReply(err)
	}
	facts, may := c.facts, c.files.Rights(where)
	return c.sendList(ctx, "MLSD", &listing{first: first}, func(b []byte, r row) []byte {
		return append(append(append(facts.append(b, r.info, may(r.info.Name)), ' '), r.info.Name...), crlf...)
	})
}

// mlst describes one file on the control connection.
func (c *conn) mlst(ctx context.Context, arg string) reply {
	var info storage.Info
	return c.onPath(arg, func(where string) (err error) {
		info, err = c.files.Stat(ctx, where)
		return err
	}, func(where string) reply {
		facts := c.facts.append(nil, info, c.files.Rights(path.Dir(where))(path.Base(where)))
		return reply{250, "Listing " + oneLine(where) + "\n" + string(facts) + " " + oneLine(where) + "\nEnd"}
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
		text, err := statText(ctx, l)
		_ = l.close(ctx, err) // its record says if there were more than are shown
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
		text = append(append(r.info.AppendLongLine(text, shownOwner, now), l.opts.mark(r.info)...), '\n')
	}
	return string(append(text, "End of status"...)), nil
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
