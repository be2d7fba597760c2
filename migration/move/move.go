// Package move copies the folder of an account to another place: every file is read back
// and compared, a copy that was cut off goes on where it was, and what is not copied is said
// by name. The folder it comes from is only read.
package move

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// Result is what became of a folder.
type Result struct {
	Files, Folders, Links int64
	Bytes                 int64 // copied now
	Same                  int64 // files that were there already
	// Left are files that are none (sockets, devices), and links that lead out of the
	// folder, with why.
	Left []string
}

// Options of a copy. The zero value is ready for use.
type Options struct {
	// UID and GID are whose the copies are, if Chown is set.
	Chown    bool
	UID, GID int
	// Progress is told how many files and bytes were looked at, again and again. May be nil.
	Progress func(files, bytes int64)
}

// partial is the name of a file that is being copied, beside where it belongs.
const partial = ".gateway-moving"

// Copy copies all that is in the folder from into the folder to, which must exist. What is
// there already, with the same size and time, is not copied again. An error is about
// something that could not be copied: what was stays, and the next call goes on from there.
func Copy(ctx context.Context, from, to string, o Options) (Result, error) {
	source, err := os.OpenRoot(from)
	if err != nil {
		return Result{}, err
	}
	defer source.Close()
	target, err := os.OpenRoot(to)
	if err != nil {
		return Result{}, err
	}
	defer target.Close()
	c := copying{ctx: ctx, source: source, target: target, options: o}
	err = fs.WalkDir(source.FS(), ".", c.entry)
	return c.result, err
}

type copying struct {
	ctx            context.Context
	source, target *os.Root
	options        Options
	result         Result
}

func (c *copying) entry(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	if path.Base(name) == partial {
		return nil // of a move from there that was cut off
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case name == ".":
		return nil
	case info.IsDir():
		err = c.folder(name, info)
	case info.Mode()&fs.ModeSymlink != 0:
		err = c.link(name)
	case info.Mode().IsRegular():
		err = c.file(name, info)
	default:
		c.result.Left = append(c.result.Left, name+": it is no file but "+info.Mode().Type().String())
	}
	if c.options.Progress != nil {
		c.options.Progress(c.result.Files+c.result.Same, c.result.Bytes)
	}
	return err
}

func (c *copying) folder(name string, info fs.FileInfo) error {
	err := c.target.Mkdir(name, info.Mode().Perm()|0o700)
	if err == nil {
		c.result.Folders++
		err = c.own(name)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// link makes a link anew, if it leads to something within the folder.
func (c *copying) link(name string) error {
	to, err := c.source.Readlink(name)
	if err != nil {
		return err
	}
	// What a root does not follow leads out of it, or nowhere.
	if _, err := c.source.Stat(name); err != nil || path.IsAbs(to) {
		c.result.Left = append(c.result.Left, name+": the link leads to "+to+", which is not in the folder")
		return nil
	}
	if err := c.target.Symlink(to, name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	c.result.Links++
	return nil
}

// file copies a file under another name, reads it back, and only then gives it its own.
func (c *copying) file(name string, info fs.FileInfo) error {
	if there, err := c.target.Lstat(name); err == nil && there.Mode().IsRegular() && there.Size() == info.Size() && there.ModTime().Equal(info.ModTime()) {
		c.result.Same++
		return nil
	}
	temporary := path.Join(path.Dir(name), partial)
	want, n, err := c.copy(name, temporary, info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	got, err := c.sum(temporary)
	switch {
	case err != nil:
		return fmt.Errorf("read the copy of %s: %w", name, err)
	case !bytes.Equal(got, want):
		return fmt.Errorf("the copy of %s is not like it: look at the disk", name)
	case n != info.Size():
		return fmt.Errorf("%s changed while it was copied: do it again", name)
	}
	err = errors.Join(c.own(temporary), c.target.Chtimes(temporary, time.Time{}, info.ModTime()))
	if err == nil {
		err = c.target.Rename(temporary, name)
	}
	if err == nil {
		c.result.Files, c.result.Bytes = c.result.Files+1, c.result.Bytes+n
	}
	return err
}

// copy returns the sum of what it read.
func (c *copying) copy(name, to string, perm fs.FileMode) (sum []byte, n int64, err error) {
	in, err := c.source.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer in.Close()
	_ = c.target.Remove(to)
	out, err := c.target.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, 0, err
	}
	h := sha256.New()
	n, err = io.Copy(out, io.TeeReader(&stoppable{c.ctx, in}, h))
	return h.Sum(nil), n, errors.Join(err, out.Sync(), out.Close())
}

func (c *copying) sum(name string) ([]byte, error) {
	f, err := c.target.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var h hash.Hash = sha256.New()
	_, err = io.Copy(h, &stoppable{c.ctx, f})
	return h.Sum(nil), err
}

func (c *copying) own(name string) error {
	if !c.options.Chown {
		return nil
	}
	return c.target.Lchown(name, c.options.UID, c.options.GID)
}

// stoppable ends reading when a context does.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
