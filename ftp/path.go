package ftp

import (
	"context"
	"strings"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// resolve returns the path that a client means by name. "~" is the home, which
// is the root. A name with the byte that begins a telnet command is refused: it
// could be said in no reply.
func (c *conn) resolve(name string) (string, error) {
	if strings.IndexByte(name, 0xff) >= 0 {
		return "", session.ErrName
	}
	if name == "~" || strings.HasPrefix(name, "~/") {
		name = "/" + name[1:]
	}
	return transfer.Resolve(c.cwd, name)
}

// onPath runs act on the path that name means.
func (c *conn) onPath(name string, act func(path string) error, done func(path string) reply) reply {
	path, err := c.resolve(name)
	if err == nil {
		err = act(path)
	}
	if err != nil {
		return fileReply(err)
	}
	return done(path)
}

// okay is the reply 250 to whatever path.
func okay(text string) func(string) reply {
	return func(string) reply { return reply{250, text} }
}

func (c *conn) pwd(context.Context, string) reply {
	return reply{257, quote(c.cwd) + " is the current directory"}
}

func (c *conn) cwdTo(ctx context.Context, name string) reply {
	return c.onPath(name, func(path string) error {
		info, err := c.files.Stat(ctx, path)
		if err == nil && !info.IsDir() {
			err = session.ErrNotDirectory
		}
		if err == nil {
			c.cwd = path
		}
		return err
	}, okay("Directory successfully changed."))
}

func (c *conn) cdup(ctx context.Context, _ string) reply { return c.cwdTo(ctx, "..") }

// mkd answers with the path first, as clients parse it (RFC 959, appendix II).
func (c *conn) mkd(ctx context.Context, name string) reply {
	return c.onPath(name, func(path string) error { return c.files.Mkdir(ctx, path) },
		func(path string) reply { return reply{257, quote(path) + " created"} })
}

func (c *conn) rmd(ctx context.Context, name string) reply {
	return c.onPath(name, func(path string) error { return c.files.RemoveDir(ctx, path) },
		okay("Remove directory operation successful."))
}

func (c *conn) dele(ctx context.Context, name string) reply {
	return c.onPath(name, func(path string) error { return c.files.Remove(ctx, path) },
		okay("Delete operation successful."))
}

func (c *conn) rnfr(ctx context.Context, name string) reply {
	c.renameFrom = ""
	return c.onPath(name, func(path string) error {
		_, err := c.files.Lstat(ctx, path)
		if err == nil {
			c.renameFrom = path
		}
		return err
	}, func(string) reply { return reply{350, "Ready for RNTO."} })
}

// rnto replaces what is at the new name: clients upload under a temporary name
// and rename over the old file.
func (c *conn) rnto(ctx context.Context, name string) reply {
	from := c.renameFrom
	if from == "" {
		return replySequence
	}
	return c.onPath(name, func(path string) error { return c.files.Rename(ctx, from, path, true) },
		okay("Rename successful."))
}

// size answers in bytes whatever the type: clients ask before they set it, and
// RFC 3659's size in ASCII would mean reading the file.
func (c *conn) size(ctx context.Context, name string) reply {
	var info storage.Info
	return c.onPath(name, func(path string) (err error) {
		info, err = c.files.Stat(ctx, path)
		if err == nil && !info.Mode.IsRegular() {
			err = session.ErrIsDirectory
		}
		return err
	}, func(string) reply { return reply{213, decimal(info.Size)} })
}

// mdtm tells the time of a file, or sets it: "MDTM 20260102030405 name" is how
// old clients say MFMT.
func (c *conn) mdtm(ctx context.Context, arg string) reply {
	if at, name, ok := timeAndName(arg); ok {
		if path, err := c.resolve(arg); err == nil {
			if _, err := c.files.Stat(ctx, path); err != nil {
				return c.setTime(ctx, at, name)
			}
		}
	}
	var info storage.Info
	return c.onPath(arg, func(path string) (err error) {
		info, err = c.files.Stat(ctx, path)
		return err
	}, func(string) reply { return reply{213, stamp(info.ModTime)} })
}

func (c *conn) mfmt(ctx context.Context, arg string) reply {
	at, name, ok := timeAndName(arg)
	if !ok {
		return replySyntax
	}
	return c.setTime(ctx, at, name)
}

func (c *conn) setTime(ctx context.Context, at time.Time, name string) reply {
	return c.onPath(name, func(path string) error {
		return c.files.SetAttr(ctx, path, storage.Attr{ModTime: &at})
	}, func(path string) reply { return reply{213, "Modify=" + stamp(at) + "; " + oneLine(path)} })
}

const stampLayout = "20060102150405"

// stamp writes a time as RFC 3659, section 2.3, has it: UTC.
func stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

// timeAndName divides "20260102030405[.fraction] name".
func timeAndName(arg string) (at time.Time, name string, ok bool) {
	digits, name, found := strings.Cut(arg, " ")
	if !found || name == "" {
		return time.Time{}, "", false
	}
	at, ok = parseStamp(digits)
	return at, name, ok
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
