package ftp

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"gateway/session"
)

// algorithm is a way to compute a digest. The old ones tell a file that was
// damaged on its way, not one that somebody forged.
type algorithm struct {
	name string
	new  func() hash.Hash
}

// algorithms are those of HASH; the first is the default. The names are those of
// draft-bryan-ftpext-hash-02, section 3.1.
func algorithms() [5]algorithm {
	return [...]algorithm{
		{"SHA-256", sha256.New}, {"SHA-512", sha512.New}, {"SHA-1", sha1.New}, {"MD5", md5.New},
		{"CRC32", func() hash.Hash { return crc32.NewIEEE() }},
	}
}

// algorithmIndex finds an algorithm by its name in any case.
func algorithmIndex(name string) (int, bool) {
	for i, a := range algorithms() {
		if strings.EqualFold(a.name, name) {
			return i, true
		}
	}
	return 0, false
}

// hashFeature lists the algorithms, the one in use with a star.
func (c *conn) hashFeature() string {
	var names []string
	for i, a := range algorithms() {
		if i == c.hash {
			a.name += "*"
		}
		names = append(names, a.name)
	}
	return strings.Join(names, ";")
}

// optsHash tells or chooses the algorithm of HASH.
func (c *conn) optsHash(name string) reply {
	if name != "" {
		i, known := algorithmIndex(name)
		if !known {
			return reply{501, "Unknown algorithm, current selection not changed."}
		}
		c.hash = i
	}
	return reply{200, algorithms()[c.hash].name}
}

// rang makes the next RETR or HASH concern the bytes from start to end, both
// included (draft-bryan-ftp-range-04); "1 0" is the whole file again.
func (c *conn) rang(_ context.Context, arg string) reply {
	c.rest, c.until = 0, 0
	from, until, ok := parseRange(arg)
	switch {
	case !ok:
		return replySyntax
	case until == 0:
		return reply{350, "Range reset."}
	}
	c.rest, c.until = from, until
	return reply{350, "Next transfer goes from " + decimal(from) + " to " + decimal(until-1) + "."}
}

// parseRange reads "start end". until is the offset behind the last byte, 0 for
// the whole file.
func parseRange(arg string) (from, until int64, ok bool) {
	first, second, found := strings.Cut(arg, " ")
	if !found || !allDigits(first) || !allDigits(second) {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	last, err := strconv.ParseInt(second, 10, 64)
	switch {
	case err != nil, last+1 < 0:
		return 0, 0, false
	case from == 1 && last == 0:
		return 0, 0, true
	case last < from:
		return 0, 0, false
	default:
		return from, last + 1, true
	}
}

// hashCmd implements HASH (draft-bryan-ftpext-hash-02).
func (c *conn) hashCmd(ctx context.Context, name string) reply {
	a := algorithms()[c.hash]
	from, until := c.rest, c.until
	path, err := c.resolve(name)
	if err != nil {
		return fileReply(err)
	}
	return c.digest(ctx, "HASH", path, a, from, until, func(until int64, sum []byte) reply {
		last := max(until-1, from) // end-point must not be below start-point, even of an empty file
		return reply{213, a.name + " " + decimal(from) + "-" + decimal(last) + " " + hex.EncodeToString(sum) + " " + oneLine(path)}
	})
}

// checksum is one of the commands that clients had before HASH.
func checksum(verb, name string) func(*conn, context.Context, string) reply {
	i, _ := algorithmIndex(name)
	a := algorithms()[i]
	return func(c *conn, ctx context.Context, arg string) reply {
		name, from, until, ok := parseChecksum(arg, func(name string) bool { return c.exists(ctx, name) })
		if !ok {
			return replySyntax
		}
		path, err := c.resolve(name)
		if err != nil {
			return fileReply(err)
		}
		return c.digest(ctx, verb, path, a, from, until, func(_ int64, sum []byte) reply {
			return reply{250, strings.ToUpper(hex.EncodeToString(sum))}
		})
	}
}

// parseChecksum reads a name, which may be in quotes, and after it an offset to
// begin at and one to end before. Without quotes what looks like offsets belongs
// to the name if such a file exists.
func parseChecksum(arg string, exists func(name string) bool) (name string, from, until int64, ok bool) {
	var numbers []string
	if quoted, found := strings.CutPrefix(arg, `"`); found {
		var rest string
		if name, rest, found = strings.Cut(quoted, `"`); !found || rest != "" && rest[0] != ' ' {
			return "", 0, 0, false
		}
		numbers = strings.Fields(rest)
	} else {
		name = arg
		words := strings.Split(arg, " ")
		if n := len(words); n > 2 && allDigits(words[n-1]) && allDigits(words[n-2]) && !exists(arg) {
			name, numbers = strings.Join(words[:n-2], " "), words[n-2:]
		}
	}
	if name == "" || len(numbers) > 2 {
		return "", 0, 0, false
	}
	for i, text := range numbers {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || !allDigits(text) {
			return "", 0, 0, false
		}
		if i == 0 {
			from = n
		} else {
			until = n
		}
	}
	return name, from, until, len(numbers) < 2 || from < until
}

// digest reads a file and answers with done. It counts as reading it: a digest
// tells what is in a file. While it runs the connection answers ABOR, NOOP and
// STAT; a connection computes one at a time.
func (c *conn) digest(ctx context.Context, verb, path string, a algorithm, from, until int64, done func(until int64, sum []byte) reply) reply {
	file, err := c.files.Open(ctx, path)
	if errors.Is(err, session.ErrIsDirectory) {
		return reply{553, "A directory has no digest."}
	}
	if err != nil {
		return fileReply(err)
	}
	info, err := file.Stat()
	if err == nil && from > info.Size {
		err = session.ErrRange
	}
	if err != nil {
		return fileReply(file.Close(ctx, err))
	}
	if until == 0 || until > info.Size {
		until = info.Size
	}
	return c.background(ctx, verb, func(ctx context.Context, count func(int)) reply {
		h, err := a.new(), session.ErrPanic
		defer func() { // also of a panic
			if err != nil {
				_ = file.Close(context.WithoutCancel(ctx), err)
			}
		}()
		loan := c.srv.buffers.Get().(*[]byte)
		defer c.srv.buffers.Put(loan)
		failed := c.srv.readRange(ctx, file, from, until, *loan, func(p []byte) {
			h.Write(p)
			count(len(p))
		})
		err = nil
		if err := file.Close(context.WithoutCancel(ctx), failed); err != nil {
			return transferReply(err)
		}
		return done(until, h.Sum(nil))
	})
}

// readRange reads src piece by piece until ctx is done. For each piece it waits
// for its turn, so that digests together keep no more processors busy than there
// are, and a short one need not wait for the end of a long one.
func (s *Server) readRange(ctx context.Context, src io.ReaderAt, from, until int64, buf []byte, piece func([]byte)) error {
	for from < until {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := s.turn(ctx, func() (int, error) {
			n, err := src.ReadAt(buf[:min(int64(len(buf)), until-from)], from)
			piece(buf[:n])
			return n, err
		})
		from += int64(n)
		if err != nil && !(err == io.EOF && from == until) {
			return fault(err)
		}
	}
	return nil
}

// turn runs work when fewer digests than processors are at it.
func (s *Server) turn(ctx context.Context, work func() (int, error)) (int, error) {
	select {
	case s.digests <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-s.digests }()
	return work()
}
