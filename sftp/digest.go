package sftp

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"io"
	"math"
	"strings"

	"gateway/session"
	"gateway/transfer"
)

// digest is a way to check what is in a file. MD5 and SHA-1 tell a file that was
// damaged on its way, not one that somebody forged.
type digest struct {
	name string // of check-file
	size int
	new  func() hash.Hash
}

func digests() []digest {
	return []digest{
		{"sha256", sha256.Size, sha256.New}, {"sha512", sha512.Size, sha512.New}, {"sha1", sha1.Size, sha1.New}, {"md5", md5.Size, md5.New},
	}
}

// digestNames are all, as a list of check-file has them.
func digestNames() string {
	var names []string
	for _, d := range digests() {
		names = append(names, d.name)
	}
	return strings.Join(names, ",")
}

// firstDigest is the first of a list that is known here.
func firstDigest(list string) (digest, error) {
	for name := range strings.SplitSeq(list, ",") {
		for _, d := range digests() {
			if d.name == name {
				return d, nil
			}
		}
	}
	return digest{}, session.ErrUnsupported
}

const (
	// minBlock is the shortest block of check-file that is not the whole.
	minBlock = 256
	// maxDigests is the most bytes of digests in one answer.
	maxDigests = maxAnswer - 256
)

// errManyBlocks is a block size for which there would be too many of them.
var errManyBlocks = status{codeFailure, "Too many blocks"}

// checkFileName answers with digests of a file, or of a part of it
// (draft-ietf-secsh-filexfer-extensions-00, section 3). It counts as reading it: a
// digest tells what is in a file.
func (f *files) checkFileName(r *request) error {
	reader, err := f.view().Open(f.ctx, r.path)
	if err != nil {
		return err
	}
	closed := session.ErrPanic
	defer func() {
		if closed != nil {
			_ = reader.Close(context.WithoutCancel(f.ctx), closed)
		}
	}()
	d, sums, err := f.digest(r, reader)
	closed = nil
	if err := reader.Close(context.WithoutCancel(f.ctx), err); err != nil {
		return err
	}
	f.digested("", d, sums)
	return nil
}

func (f *files) checkFileHandle(r *request) error { return f.checkOpen(r, "") }

// checkFile is what paramiko asks for, by a name that no draft has for a request; and
// it wants that name in the answer.
func (f *files) checkFile(r *request) error { return f.checkOpen(r, "check-file") }

func (f *files) checkOpen(r *request, prefix string) error {
	open, err := f.file(r)
	if err != nil {
		return err
	}
	source, err := sourceOf(open)
	if err != nil {
		return err
	}
	d, sums, err := f.digest(r, source)
	if err != nil {
		return err
	}
	f.digested(prefix, d, sums)
	return nil
}

func (f *files) digested(prefix string, d digest, sums []byte) {
	b := begin(f.out.free(), typeExtendedReply, f.id)
	if prefix != "" {
		b = appendString(b, prefix)
	}
	f.reply(append(appendString(b, d.name), sums...))
}

// digest computes what r asks for.
func (f *files) digest(r *request, source transfer.Source) (digest, []byte, error) {
	d, err := firstDigest(r.list)
	if err != nil {
		return d, nil, err
	}
	info, err := source.Stat()
	if err != nil {
		return d, nil, err
	}
	switch {
	case r.length != 0 && r.length < minBlock:
		return d, nil, errMalformed
	case r.offset > math.MaxInt64, int64(r.offset) > info.Size:
		return d, nil, session.ErrRange
	}
	from, end := int64(r.offset), info.Size
	if r.count != 0 && r.count < uint64(end-from) {
		end = from + int64(r.count)
	}
	block := int64(r.length)
	if block == 0 {
		block = max(end-from, 1) // one, of nothing if there is nothing
	}
	if (end-from+block-1)/block > int64(maxDigests/d.size) {
		return d, nil, errManyBlocks
	}
	if err := f.out.send(); err != nil { // what was answered must not wait
		return d, nil, err
	}
	var sums []byte
	h := d.new()
	for first := r.length == 0; first || from < end; first = false {
		h.Reset()
		n := min(block, end-from)
		if err := f.pool().readAll(source, from, n, f.step, func(p []byte) { h.Write(p) }); err != nil {
			return d, nil, err
		}
		sums = h.Sum(sums)
		from += n
	}
	return d, sums, nil
}

func (f *files) pool() *buffers { return f.in.pool }

// readAll reads the n bytes from on, piece by piece, each when it is its turn: no more
// goroutines compute digests at once than there are processors, and a short file need
// not wait for the end of a long one. step is called before each piece.
func (b *buffers) readAll(source io.ReaderAt, from, n int64, step func() error, piece func([]byte)) error {
	buf := b.block()
	defer b.giveBlock(buf)
	for end := from + n; from < end; {
		if err := step(); err != nil {
			return err
		}
		got, err := b.inTurn(func() (int, error) {
			got, err := source.ReadAt(buf[:min(int64(len(buf)), end-from)], from)
			piece(buf[:got])
			return got, err
		})
		from += int64(got)
		if err != nil && !(err == io.EOF && from == end) {
			if err == io.EOF {
				err = session.ErrRange // cut short meanwhile
			}
			return err
		}
	}
	return nil
}

func (b *buffers) inTurn(work func() (int, error)) (int, error) {
	b.turns <- struct{}{}
	defer func() { <-b.turns }()
	return work()
}
