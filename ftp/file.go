package ftp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// retr sends a file from the restart offset on. The file is opened, and so
// decided and recorded, before the data connection: what opens is what is sent,
// whatever is said meanwhile.
func (c *conn) retr(ctx context.Context, name string) reply {
	if r, ok := c.mayTransfer(); !ok {
		return r
	}
	rest, end := c.rest, c.until
	ascii := c.converts()
	if rest+end > 0 && ascii {
		return reply{554, "Restart needs TYPE I."}
	}
	path, err := c.resolve(name)
	if err != nil {
		return fileReply(err)
	}
	file, err := c.files.Open(ctx, path)
	if err != nil {
		return fileReply(err)
	}
	info, err := file.Stat()
	if err == nil && rest > info.Size {
		err = session.ErrRange
	}
	if err != nil {
		return fileReply(file.Close(ctx, err))
	}
	size := info.Size
	var src io.ReaderAt = file
	if end > 0 {
		src, size = io.NewSectionReader(file, 0, end), min(size, end)
	} else {
		end = math.MaxInt64 // it may grow meanwhile
	}
	return c.begin(ctx, job{
		verb: "RETR", sends: true,
		opening: fmt.Sprintf("Opening %s mode data connection for %s (%d bytes).", typeName(c.ascii), oneLine(name), size-rest),
		move: func(ctx context.Context, d *dataConn) error {
			d.allow = func(want int64) (int64, error) { return file.Allow(ctx, want) }
			switch f := file.OS(); {
			case ascii:
				return d.sendASCII(file) // whole
			case f != nil && d.tls == nil:
				moved := d.count
				d.count = func(n int) { moved(n); file.Count(int64(n)) }
				return d.sendFile(f, rest, end)
			default:
				return d.send(src, rest)
			}
		},
		carried: file.Carried,
		end:     file.Close,
	})
}

func (c *conn) stor(ctx context.Context, name string) reply {
	return c.upload(ctx, "STOR", name, "", storage.CreateOptions{Keep: c.rest})
}

// appe always begins at the end; an offset from REST is ignored.
func (c *conn) appe(ctx context.Context, name string) reply {
	return c.upload(ctx, "APPE", name, "", storage.CreateOptions{Keep: storage.KeepAll})
}

// stou makes up a name and says it as RFC 1123, section 4.1.2.9, asks for.
func (c *conn) stou(ctx context.Context, _ string) reply {
	name := "upload." + strings.ToLower(rand.Text()[:12])
	return c.upload(ctx, "STOU", name, "FILE: "+name, storage.CreateOptions{Exclusive: true})
}

// upload receives a file. Nobody sees it under its name before it is whole and on
// stable storage; one that broke off is kept for its owner to resume.
func (c *conn) upload(ctx context.Context, verb, name, opening string, opts storage.CreateOptions) reply {
	if r, ok := c.mayTransfer(); !ok {
		return r
	}
	ascii := c.converts()
	switch {
	case opts.Keep > 0 && ascii:
		return reply{554, "Restart needs TYPE I."}
	case c.until > 0:
		return reply{504, "RANG is for RETR and HASH; use REST."}
	}
	path, err := c.resolve(name)
	if err != nil {
		return fileReply(err)
	}
	begin := c.files.Create
	if verb == "APPE" {
		begin = c.files.Append
	}
	var file *transfer.Writer
	var kept int64
	if opening == "" {
		opening = fmt.Sprintf("Opening %s mode data connection for %s.", typeName(c.ascii), oneLine(name))
	}
	return c.begin(ctx, job{
		verb: verb, opening: opening,
		// What is kept of a file is copied first, and the larger it is the longer that
		// takes: not while the client waits for an answer to ABOR.
		prepare: func(ctx context.Context) (err error) {
			if file, err = begin(ctx, path, opts); err != nil || opts.Keep == 0 {
				return err
			}
			info, err := file.Stat()
			if err != nil {
				return file.Abort(ctx, err, true)
			}
			kept = info.Size
			return nil
		},
		carried: func(ch session.Channel) { file.Carried(ch) },
		move: func(ctx context.Context, d *dataConn) error {
			d.allow = func(want int64) (int64, error) { return file.Allow(ctx, want) }
			switch f := file.OS(); {
			case ascii:
				return d.receiveASCII(file, kept)
			case f != nil && d.tls == nil:
				moved := d.count
				d.count = func(n int) { moved(n); file.Count(int64(n)) }
				if _, err := f.Seek(kept, io.SeekStart); err != nil {
					return fault(err)
				}
				return d.receiveFile(f)
			default:
				return d.receive(file, kept)
			}
		},
		end: func(ctx context.Context, err error) error { return settleUpload(ctx, file, kept, err) },
	})
}

// settleUpload commits what arrived whole. An upload of which nothing ever came
// leaves nothing to resume.
func settleUpload(ctx context.Context, file *transfer.Writer, kept int64, err error) error {
	if err == nil {
		return file.Commit(ctx)
	}
	resumable := kept > 0
	if info, statErr := file.Stat(); statErr == nil && info.Size > 0 {
		resumable = true
	}
	return file.Abort(ctx, err, resumable)
}

// converts reports whether line ends are translated. Otherwise both types move
// the bytes as they are, as most servers have it: a client that sends a text file
// in TYPE A and fetches it so has it back unchanged either way.
func (c *conn) converts() bool { return c.ascii && c.cfg.ConvertASCII }

func typeName(ascii bool) string {
	if ascii {
		return "ASCII"
	}
	return "BINARY"
}

// restart makes the next transfer of the session begin offset bytes into the
// file (RFC 3659, section 5).
func (c *conn) restart(_ context.Context, arg string) reply {
	c.rest, c.until = 0, 0
	if !allDigits(arg) {
		return replySyntax
	}
	offset, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		return replySyntax
	}
	c.rest = offset
	return reply{350, "Restart position accepted (" + decimal(offset) + ")."}
}

// allo checks that there is room (RFC 959, section 4.1.3: "n", or "n R m" with a
// record size).
func (c *conn) allo(ctx context.Context, arg string) reply {
	fields := strings.Fields(arg)
	if len(fields) != 1 && (len(fields) != 3 || !strings.EqualFold(fields[1], "R") || !allDigits(fields[2])) || !allDigits(fields[0]) {
		return replySyntax
	}
	size, err := strconv.ParseUint(fields[0], 10, 63)
	if err != nil {
		return replySyntax
	}
	space, err := c.files.Space(ctx)
	switch {
	case errors.Is(err, session.ErrUnsupported):
		return reply{202, "No storage allocation necessary."}
	case err != nil:
		return fileReply(err)
	case size > space.Available:
		return fileReply(session.ErrQuota)
	default:
		return reply{200, "There is room for that."}
	}
}
