package ftpfiles

import (
	"context"
	"io"
	"os"
	"path"

	"gateway/storage"
	"gateway/storage/remote/ftpclient"
	"gateway/storage/remote/upstream"
)

// Open implements storage.FS. A connection is taken when something is read, and given back
// at the end of the file, or when nobody reads on. What is read is what has the name then: a
// file that is replaced meanwhile is not kept.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	c, err := f.brief(ctx, name)
	if err != nil {
		return nil, fault("open", name, err)
	}
	defer c.Return()
	e, err := f.existing(ctx, c, name)
	if err == nil {
		err = regular(e)
	}
	if err != nil {
		return nil, fault("open", name, err)
	}
	full := f.path(name)
	return &opened{name: name, info: infoOf(path.Base(name), e), content: upstream.NewAhead(e.Size, f.server.cfg.Timeout,
		func(off int64) (upstream.Stream, error) { return f.retrieve(full, off, upstream.Lasting) })}, nil
}

// opened is a storage.File.
type opened struct {
	name    string
	info    storage.Info
	content *upstream.Ahead
}

func (o *opened) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.content.ReadAt(p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, fault("read", o.name, err)
}

// Stat describes the file as it was when it was opened.
func (o *opened) Stat() (storage.Info, error) { return o.info, nil }
func (o *opened) OS() *os.File                { return nil }
func (o *opened) Close() error                { return fault("close", o.name, o.content.Close()) }

// stream is a file that is being retrieved.
type stream struct {
	*ftpclient.Transfer
	lease lease
}

func (f *FS) retrieve(full string, off int64, work upstream.Work) (*stream, error) {
	ctx := context.Background() // each step has a time-out of its own
	c, err := f.lend(ctx, work)
	if err != nil {
		return nil, err
	}
	t, err := c.Conn.Retrieve(ctx, full, off)
	if err != nil {
		c.Return()
		return nil, err
	}
	return &stream{t, c}, nil
}

// End implements upstream.Stream.
func (s *stream) End(all bool) error {
	defer s.lease.Return()
	if all {
		return s.Finish()
	}
	s.Abort()
	return nil
}
