package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"time"

	"github.com/pkg/sftp"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/upstream"
)

// FS is the tree of one account.
type FS struct {
	server *Server
	root   string
}

var _ storage.FS = (*FS)(nil)

// OpenFolder opens a folder that is there, whoever's it is; "." is where the login begins.
func (s *Server) OpenFolder(ctx context.Context, folder string) (storage.FS, error) {
	c, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer c.giveBack()
	root := path.Clean(folder)
	switch info, err := c.Lstat(root); {
	case err != nil:
		return nil, fmt.Errorf("open folder %q on the server of the files: %w", folder, err)
	case !info.IsDir():
		return nil, fmt.Errorf("open folder %q on the server of the files: %w", folder, session.ErrNotDirectory)
	}
	return &FS{server: s, root: root}, nil
}

// Open opens the folder of the account user, and makes it at its first use. A name that is
// no plain folder name is refused with session.ErrName.
func (s *Server) Open(ctx context.Context, user string) (storage.FS, error) {
	root, err := upstream.Folder(s.cfg.Root, user)
	if err != nil {
		return nil, err
	}
	c, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer c.giveBack()
	info, err := c.Lstat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := c.Mkdir(root); err != nil {
			return nil, fmt.Errorf("make the folder of account %q on the server of the files: %w", user, err)
		}
	case err != nil:
		return nil, fmt.Errorf("open the folder of account %q on the server of the files: %w", user, err)
	case !info.IsDir():
		return nil, fmt.Errorf("open the folder of account %q on the server of the files: it is none", user)
	}
	return &FS{server: s, root: root}, nil
}

// fault is an error as the contract has it: of a kind of package session, and without the
// words of the server, which may hold paths.
func fault(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var status *sftp.StatusError
	kind := err
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = session.ErrNotExist
	case errors.Is(err, fs.ErrPermission):
		kind = session.ErrDenied
	case errors.Is(err, fs.ErrExist):
		kind = session.ErrExist
	case errors.Is(err, sftp.ErrSSHFxConnectionLost), errors.Is(err, sftp.ErrSSHFxNoConnection), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		kind = session.ErrUnavailable
	case errors.Is(err, sftp.ErrSSHFxOpUnsupported):
		kind = session.ErrUnsupported
	case errors.As(err, &status):
		kind = errors.New("the server of the files refuses it")
	}
	return fmt.Errorf("%s %q: %w", op, name, kind)
}

// at returns a connection, to be given back, and the path of a name whose folders are no
// links.
func (f *FS) at(ctx context.Context, name string) (*client, string, error) {
	if err := upstream.CheckName(name); err != nil {
		return nil, "", err
	}
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	c, err := f.server.connected(ctx)
	if err != nil {
		return nil, "", err
	}
	full, err := f.path(c, name)
	if err != nil {
		c.giveBack()
		return nil, "", err
	}
	return c, full, nil
}

// path returns the path of a name that was checked, and whose folders are no links.
func (f *FS) path(c *client, name string) (string, error) {
	full := f.root
	parts := strings.Split(name, "/")
	for _, part := range parts[:len(parts)-1] {
		full = path.Join(full, part)
		info, err := c.Lstat(full)
		switch {
		case err != nil:
			return "", err
		case info.Mode()&fs.ModeSymlink != 0:
			return "", session.ErrDenied
		case !info.IsDir():
			return "", session.ErrNotDirectory
		}
	}
	return path.Join(f.root, name), nil
}

// notRoot is at for what may not be done with the tree itself.
func (f *FS) notRoot(ctx context.Context, name string) (*client, string, error) {
	if name == "." {
		return nil, "", session.ErrDenied
	}
	return f.at(ctx, name)
}

func infoOf(name string, i os.FileInfo) storage.Info {
	out := storage.Info{Name: name, Size: i.Size(), Mode: i.Mode(), ModTime: i.ModTime()}
	if s, ok := i.Sys().(*sftp.FileStat); ok && s.Atime != 0 {
		out.Access = time.Unix(int64(s.Atime), 0)
	}
	return out
}

// Lstat implements storage.FS.
func (f *FS) Lstat(ctx context.Context, name string) (storage.Info, error) {
	info, err := f.lstat(ctx, name)
	return info, fault("stat", name, err)
}

func (f *FS) lstat(ctx context.Context, name string) (storage.Info, error) {
	c, full, err := f.at(ctx, name)
	if err != nil {
		return storage.Info{}, err
	}
	defer c.giveBack()
	info, err := c.Lstat(full)
	if err == nil {
		return infoOf(path.Base(name), info), nil
	}
	if errors.Is(err, fs.ErrNotExist) && name != "." && !f.server.uploads.UnderWay(full) {
		if left, partErr := c.Lstat(upstream.Part(full)); partErr == nil && left.Mode().IsRegular() {
			out := infoOf(path.Base(name), left)
			out.Partial = true
			return out, nil
		}
	}
	return storage.Info{}, err
}

// Stat implements storage.FS. What a link leads to is not looked at.
func (f *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	info, err := f.lstat(ctx, name)
	if err == nil && info.Mode&fs.ModeSymlink != 0 {
		err = session.ErrDenied
	}
	if err != nil {
		return storage.Info{}, fault("stat", name, err)
	}
	return info, nil
}

// List implements storage.FS.
func (f *FS) List(ctx context.Context, name string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		list, err := f.entries(ctx, name)
		if err != nil {
			yield(storage.Info{}, fault("list", name, err))
			return
		}
		for _, i := range list {
			if n := i.Name(); upstream.Entry(n) && !yield(infoOf(n, i), nil) {
				return
			}
		}
	}
}

func (f *FS) entries(ctx context.Context, name string) ([]os.FileInfo, error) {
	c, full, err := f.at(ctx, name)
	if err != nil {
		return nil, err
	}
	defer c.giveBack()
	if err := f.folder(c, full); err != nil {
		return nil, err
	}
	list, err := c.ReadDirContext(ctx, full)
	if err == nil && len(list) > upstream.MaxEntries {
		err = fmt.Errorf("the folder has more than %d entries", upstream.MaxEntries)
	}
	return list, err
}

// folder is an error unless a path is a folder, and no link to one.
func (f *FS) folder(c *client, full string) error {
	info, err := c.Lstat(full)
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return session.ErrDenied
	case !info.IsDir():
		return session.ErrNotDirectory
	}
	return nil
}

// Open implements storage.FS.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	c, full, err := f.at(ctx, name)
	if err != nil {
		return nil, fault("open", name, err)
	}
	info, err := c.Lstat(full)
	switch {
	case err != nil:
	case info.IsDir():
		err = session.ErrIsDirectory
	case !info.Mode().IsRegular():
		err = session.ErrDenied
	}
	var file *sftp.File
	if err == nil {
		file, err = c.Open(full)
	}
	if err == nil { // another may have the name by now
		if info, err = file.Stat(); err != nil {
			_ = file.Close()
		}
	}
	if err != nil {
		c.giveBack()
		return nil, fault("open", name, err)
	}
	return newOpened(name, c, file, info.Size(), f.server.cfg.Timeout), nil
}

// Close implements storage.FS. The connections stay, for others.
func (f *FS) Close() error { return nil }
