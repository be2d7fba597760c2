package remote

import (
	"context"
	"crypto/sha256"
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
)

const (
	// hidden is what the names of uploads begin with that are no files yet.
	hidden = ".gateway-part-"
	// maxNamePart is how long one part of a name may be, in bytes.
	maxNamePart = 255
	// maxEntries bounds a folder.
	maxEntries = 1_000_000

	folderPerm fs.FileMode = 0o750
	filePerm   fs.FileMode = 0o640
)

// FS is the tree of one account.
type FS struct {
	server *Server
	root   string
}

var _ storage.FS = (*FS)(nil)

// Open opens the folder of the account user, and makes it at its first use. A name that is
// no plain folder name is refused with session.ErrName.
func (s *Server) Open(ctx context.Context, user string) (*FS, error) {
	f := &FS{server: s, root: path.Join(s.cfg.Root, user)}
	if user == "." || strings.ContainsAny(user, `/\`) || check(user) != nil {
		return nil, fmt.Errorf("open the folder of account %q: %w", user, session.ErrName)
	}
	c, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	info, err := c.Lstat(f.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := c.Mkdir(f.root); err != nil {
			return nil, fmt.Errorf("make the folder of account %q on the server of the files: %w", user, err)
		}
	case err != nil:
		return nil, fmt.Errorf("open the folder of account %q on the server of the files: %w", user, err)
	case !info.IsDir():
		return nil, fmt.Errorf("open the folder of account %q on the server of the files: it is none", user)
	}
	return f, nil
}

// check refuses names that the contract refuses.
func check(name string) error {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\x00\r\n") {
		return session.ErrName
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxNamePart || strings.HasPrefix(part, hidden) {
			return session.ErrName
		}
	}
	return nil
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

// at returns the client and the path of a name whose folders are no links.
func (f *FS) at(ctx context.Context, name string) (*sftp.Client, string, error) {
	if err := check(name); err != nil {
		return nil, "", err
	}
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	c, err := f.server.connected(ctx)
	if err != nil {
		return nil, "", err
	}
	full := f.root
	parts := strings.Split(name, "/")
	for _, part := range parts[:len(parts)-1] {
		full = path.Join(full, part)
		info, err := c.Lstat(full)
		switch {
		case err != nil:
			return nil, "", err
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, "", session.ErrDenied
		case !info.IsDir():
			return nil, "", session.ErrNotDirectory
		}
	}
	return c, path.Join(f.root, name), nil
}

// notRoot is at for what may not be done with the tree itself.
func (f *FS) notRoot(ctx context.Context, name string) (*sftp.Client, string, error) {
	if name == "." {
		return nil, "", session.ErrDenied
	}
	return f.at(ctx, name)
}

// part is the hidden name of an upload of that path.
func part(full string) string {
	base := path.Base(full)
	if len(hidden)+len(base) > maxNamePart {
		sum := sha256.Sum256([]byte(base))
		base = fmt.Sprintf("%x", sum[:16])
	}
	return path.Join(path.Dir(full), hidden+base)
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
	info, err := c.Lstat(full)
	if err == nil {
		return infoOf(path.Base(name), info), nil
	}
	if errors.Is(err, fs.ErrNotExist) && name != "." && !f.server.underWay(full) {
		if left, partErr := c.Lstat(part(full)); partErr == nil && left.Mode().IsRegular() {
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
		c, full, err := f.at(ctx, name)
		if err == nil {
			err = f.folder(c, full)
		}
		var list []os.FileInfo
		if err == nil {
			list, err = c.ReadDirContext(ctx, full)
		}
		if err == nil && len(list) > maxEntries {
			err = fmt.Errorf("the folder has more than %d entries", maxEntries)
		}
		if err != nil {
			yield(storage.Info{}, fault("list", name, err))
			return
		}
		for _, i := range list {
			if n := i.Name(); check(n) == nil && n != "." && !strings.Contains(n, "/") && !yield(infoOf(n, i), nil) {
				return
			}
		}
	}
}

// folder is an error unless a path is a folder, and no link to one.
func (f *FS) folder(c *sftp.Client, full string) error {
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
	var info os.FileInfo
	if err == nil {
		info, err = c.Lstat(full)
	}
	switch {
	case err != nil:
	case info.IsDir():
		err = session.ErrIsDirectory
	case !info.Mode().IsRegular():
		err = session.ErrDenied
	}
	if err != nil {
		return nil, fault("open", name, err)
	}
	file, err := c.Open(full)
	if err != nil {
		return nil, fault("open", name, err)
	}
	return &opened{name, file}, nil
}

// opened is a storage.File.
type opened struct {
	name string
	file *sftp.File
}

func (o *opened) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault("read", o.name, session.ErrRange)
	}
	n, err := o.file.ReadAt(p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, fault("read", o.name, err)
}

func (o *opened) Stat() (storage.Info, error) {
	info, err := o.file.Stat()
	if err != nil {
		return storage.Info{}, fault("stat", o.name, err)
	}
	return infoOf(path.Base(o.name), info), nil
}

func (o *opened) OS() *os.File { return nil }
func (o *opened) Close() error { return fault("close", o.name, o.file.Close()) }

// Close implements storage.FS. The connection stays, for others.
func (f *FS) Close() error { return nil }
