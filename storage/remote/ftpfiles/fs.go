package ftpfiles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/ftpclient"
	"gateway/storage/remote/upstream"
)

// FS is the tree of one account.
type FS struct {
	server *Server
	root   string
}

var _ storage.FS = (*FS)(nil)

// A lease is a connection that is to be returned.
type lease = *upstream.Lease[*ftpclient.Conn]

func (f *FS) lend(ctx context.Context, work upstream.Work) (lease, error) {
	return f.server.pool.Get(ctx, work)
}

// fault is an error as the contract has it: of a kind of package session, and without the
// words of the server, which may hold paths.
func fault(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if code, _ := ftpclient.Code(err); code != 0 && !errors.Is(err, session.ErrUnavailable) {
		err = kind(code, err)
	}
	return fmt.Errorf("%s %q: %w", op, name, err)
}

// kind is what a reply that refuses means, as far as its code says.
func kind(code int, err error) error {
	if errors.Is(err, session.ErrNotExist) {
		return session.ErrNotExist
	}
	switch code {
	case 550, 553, 532:
		return session.ErrDenied
	case 552:
		return session.ErrQuota
	case 452:
		return session.ErrNoSpace
	case 450:
		return session.ErrBusy
	case 500, 501, 502, 503, 504:
		return session.ErrUnsupported
	}
	return session.ErrUnavailable
}

// stat describes a path. Servers say of what they do not have, or do not show, the same: it
// does not exist.
func stat(ctx context.Context, c lease, full string) (ftpclient.Entry, error) {
	e, err := c.Conn.Stat(ctx, full)
	if _, no := ftpclient.Code(err); no {
		err = fmt.Errorf("%w: %w", session.ErrNotExist, err)
	}
	return e, err
}

// lookup describes what has a name that was checked. Where nothing has it, there is false
// and err nil only if it could be made there: its folder exists.
func (f *FS) lookup(ctx context.Context, c lease, name string) (e ftpclient.Entry, there bool, err error) {
	e, err = stat(ctx, c, f.path(name))
	if !errors.Is(err, session.ErrNotExist) {
		return e, err == nil, err
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		above, err := stat(ctx, c, f.path(dir))
		switch {
		case err == nil && above.Kind != ftpclient.Folder:
			return e, false, session.ErrNotDirectory
		case err == nil && dir == path.Dir(name):
			return e, false, nil
		case err == nil:
			return e, false, session.ErrNotExist
		case !errors.Is(err, session.ErrNotExist):
			return e, false, err
		}
	}
	if path.Dir(name) != "." {
		err = session.ErrNotExist
	} else {
		err = nil
	}
	return e, false, err
}

// existing is lookup for what must be there.
func (f *FS) existing(ctx context.Context, c lease, name string) (ftpclient.Entry, error) {
	e, there, err := f.lookup(ctx, c, name)
	if err == nil && !there {
		err = session.ErrNotExist
	}
	return e, err
}

// check refuses names that the contract refuses, and those that end in a blank: some servers
// cut that off, and would take another file.
func check(name string) error {
	if strings.HasSuffix(name, " ") {
		return session.ErrName
	}
	return upstream.CheckName(name)
}

// entry reports whether what a server lists by that name can be asked for.
func entry(name string) bool { return upstream.Entry(name) && check(name) == nil }

func (f *FS) path(name string) string { return path.Join(f.root, name) }

// brief checks a name and lends a connection for what is done with it.
func (f *FS) brief(ctx context.Context, name string) (lease, error) {
	return f.checked(ctx, name, upstream.Brief)
}

func (f *FS) checked(ctx context.Context, name string, work upstream.Work) (lease, error) {
	if err := cmp.Or(check(name), ctx.Err()); err != nil {
		return nil, err
	}
	return f.lend(ctx, work)
}

// notRoot is checked for what may not be done with the tree itself.
func (f *FS) notRoot(ctx context.Context, name string, work upstream.Work) (lease, error) {
	if name == "." {
		return nil, session.ErrDenied
	}
	return f.checked(ctx, name, work)
}

// infoOf is what is said of an entry; what is not said is what the gateway would make.
func infoOf(name string, e ftpclient.Entry) storage.Info {
	out := storage.Info{Name: name, Size: max(e.Size, 0), ModTime: e.ModTime, Mode: upstream.FilePerm}
	if e.ModTime.IsZero() {
		out.ModTime = time.Unix(0, 0)
	}
	var kind fs.FileMode
	switch e.Kind {
	case ftpclient.Folder:
		kind, out.Mode, out.Size = fs.ModeDir, upstream.FolderPerm, 0
	case ftpclient.Link:
		kind, out.Mode = fs.ModeSymlink, fs.ModePerm
	case ftpclient.Other:
		kind = fs.ModeIrregular
	}
	if e.Moded {
		out.Mode = e.Perm
	}
	out.Mode |= kind
	return out
}

// Lstat implements storage.FS.
func (f *FS) Lstat(ctx context.Context, name string) (storage.Info, error) {
	c, err := f.brief(ctx, name)
	if err != nil {
		return storage.Info{}, fault("stat", name, err)
	}
	defer c.Return()
	e, there, err := f.lookup(ctx, c, name)
	if there {
		return infoOf(path.Base(name), e), nil
	}
	if err == nil {
		err = session.ErrNotExist
		if full := f.path(name); name != "." && !f.server.uploads.UnderWay(full) {
			left, partErr := stat(ctx, c, upstream.Part(full))
			if partErr == nil && left.Kind == ftpclient.File {
				out := infoOf(path.Base(name), left)
				out.Partial = true
				return out, nil
			}
		}
	}
	return storage.Info{}, fault("stat", name, err)
}

// Stat implements storage.FS. What is said to be a link is not looked through.
func (f *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	info, err := f.Lstat(ctx, name)
	if err == nil && info.Mode&fs.ModeSymlink != 0 {
		return storage.Info{}, fault("stat", name, session.ErrDenied)
	}
	return info, err
}

// List implements storage.FS.
func (f *FS) List(ctx context.Context, name string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		list, err := f.entries(ctx, name)
		if err != nil {
			yield(storage.Info{}, fault("list", name, err))
			return
		}
		for _, e := range list {
			if entry(e.Name) && !yield(infoOf(e.Name, e), nil) {
				return
			}
		}
	}
}

func (f *FS) entries(ctx context.Context, name string) ([]ftpclient.Entry, error) {
	c, err := f.brief(ctx, name)
	if err != nil {
		return nil, err
	}
	defer c.Return()
	if err := f.folder(ctx, c, name); err != nil {
		return nil, err
	}
	return c.Conn.List(ctx, f.path(name), upstream.MaxEntries)
}

// folder is an error unless a name is that of a folder.
func (f *FS) folder(ctx context.Context, c lease, name string) error {
	e, err := f.existing(ctx, c, name)
	switch {
	case err != nil:
		return err
	case e.Kind == ftpclient.Link:
		return session.ErrDenied
	case e.Kind != ftpclient.Folder:
		return session.ErrNotDirectory
	}
	return nil
}

// regular is an error unless an entry is a file.
func regular(e ftpclient.Entry) error {
	switch e.Kind {
	case ftpclient.File:
		return nil
	case ftpclient.Folder:
		return session.ErrIsDirectory
	}
	return session.ErrDenied
}

// maxUsage is how many names Usage counts: links that a server follows may lead in circles.
const maxUsage = 10 * upstream.MaxEntries

// Usage implements storage.FS.
func (f *FS) Usage(ctx context.Context) (storage.Usage, error) {
	var out storage.Usage
	for folders := []string{"."}; len(folders) > 0; {
		next := folders[len(folders)-1]
		folders = folders[:len(folders)-1]
		list, err := f.entries(ctx, next)
		if err == nil && out.Files+int64(len(list)) > maxUsage {
			err = fmt.Errorf("there are more than %d names", maxUsage)
		}
		if err != nil {
			return out, fault("usage", ".", err)
		}
		for _, e := range list {
			out.Files++
			switch e.Kind {
			case ftpclient.Folder:
				if entry(e.Name) {
					folders = append(folders, path.Join(next, e.Name))
				}
			case ftpclient.File:
				out.Bytes += max(e.Size, 0)
			}
		}
	}
	return out, nil
}

// Space implements storage.FS, where the server has AVBL: it says only what is left.
func (f *FS) Space(ctx context.Context) (storage.Space, error) {
	c, err := f.brief(ctx, ".")
	if err != nil {
		return storage.Space{}, fault("space", ".", err)
	}
	defer c.Return()
	n, err := c.Conn.Available(ctx, f.root)
	return storage.Space{Total: n, Free: n, Available: n}, fault("space", ".", err)
}

// Close implements storage.FS. The connections stay, for others.
func (f *FS) Close() error { return nil }
