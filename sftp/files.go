package sftp

import (
	"context"
	"encoding/binary"
	"math"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// open answers SSH_FXP_OPEN (section 6.3).
func (f *files) open(r *request) error {
	writes := r.flags&(openWrite|openAppend|openCreate|openTruncate) != 0
	switch {
	case writes && f.enrols(r.path):
		return f.opened(f.openEnrolment)
	case f.enrols(r.path):
		return session.ErrNotExist
	case writes:
		return f.opened(func() (handle, error) { return f.openWriting(r) })
	case r.flags&openRead != 0:
		return f.opened(func() (handle, error) { return f.openReading(r) })
	default:
		return errMalformed
	}
}

func (f *files) openReading(r *request) (handle, error) {
	clean, err := transfer.Resolve("/", r.path)
	if err != nil {
		return nil, err
	}
	if u := f.underWay(clean); u != nil {
		return &writing{files: f, path: clean, flags: openRead, upload: u}, nil
	}
	return f.download(clean)
}

func (f *files) download(name string) (handle, error) {
	reader, err := f.view().Open(f.ctx, name)
	if err != nil {
		return nil, err
	}
	return &download{r: reader}, nil
}

// read answers SSH_FXP_READ: the data is read to where it is sent from.
func (f *files) read(r *request) error {
	from, err := f.file(r)
	if err != nil {
		return err
	}
	length := min(r.length, maxData)
	if r.offset > math.MaxInt64-uint64(length) {
		return session.ErrRange
	}
	if length, err = f.paced(from, length); err != nil {
		return err
	}
	free := f.out.free()
	b := free[:dataHeader+int(length)]
	n, err := from.readAt(b[dataHeader:], int64(r.offset))
	if n == 0 && err != nil {
		return err
	}
	b = begin(free, typeData, f.id)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	f.reply(b[:dataHeader+n])
	return nil
}

// paced waits until some of the length bytes to be read may go, and returns how
// many: where the bandwidth is limited, an answer may be short.
func (f *files) paced(from file, length uint32) (uint32, error) {
	d, ok := from.(*download)
	if !ok {
		return length, nil
	}
	if err := f.beforeWait(); err != nil {
		return 0, err
	}
	may, err := d.r.Allow(f.pace, int64(length))
	return uint32(may), err
}

// beforeWait sends the answers to earlier requests, which must not wait with
// this one.
func (f *files) beforeWait() error {
	if !f.tree.Paced() {
		return nil
	}
	return f.out.send()
}

// write answers SSH_FXP_WRITE.
func (f *files) write(r *request) error {
	_, h := f.handles.get(r.handle)
	switch h := h.(type) {
	case *writing:
		return h.write(r.data, r.offset)
	case *enrolment:
		return h.write(r.data, r.offset)
	case *download:
		return errReadOnly
	default:
		return errHandle
	}
}

// fstat answers SSH_FXP_FSTAT, of the open file, whatever its name shows by now.
func (f *files) fstat(r *request) error {
	open, err := f.file(r)
	if err != nil {
		return err
	}
	return f.describe(open.stat())
}

// fsetstat answers SSH_FXP_FSETSTAT.
func (f *files) fsetstat(r *request) error {
	open, err := f.file(r)
	if err != nil {
		return err
	}
	attr, err := r.attrs.change()
	if err != nil {
		return err
	}
	return open.setAttr(attr)
}

// download is a file open for reading.
type download struct{ r *transfer.Reader }

func (d *download) stat() (storage.Info, error)             { return d.r.Stat() }
func (d *download) readAt(p []byte, off int64) (int, error) { return d.r.ReadAt(p, off) }
func (d *download) sync() error                             { return nil }

// setAttr refuses: the tree can change a file by its name only, and that may be
// another's by now.
func (d *download) setAttr(storage.Attr) error { return session.ErrDenied }

func (d *download) close(ctx context.Context, cause error) error {
	return d.r.Close(ctx, cause)
}
