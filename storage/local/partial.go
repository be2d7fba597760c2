//go:build linux

package local

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"gateway/session"
	"gateway/storage"
)

// Hidden names. An upload of "a" is written to partPrefix + key("a"), so that
// its owner finds it again after an interruption. Who writes it holds a lock on
// it, which the kernel gives back when the process dies: a hidden file without a
// lock is an interrupted upload. While the name is taken by an upload under way,
// another upload of "a" is written to the same name with a random suffix; nobody
// can resume that one.
const (
	partPrefix = reserved + "part-"
	partKey    = 8 // bytes of the hash in the name, and of the random suffix
)

// errLocked is a hidden file that somebody is writing.
var errLocked = errors.New("upload under way")

// partName is where an upload of base can be found again.
func partName(base string) string {
	sum := sha256.Sum256([]byte(base))
	return partPrefix + hex.EncodeToString(sum[:partKey])
}

// randomPartName is where an upload of base is written that cannot be.
func randomPartName(base string) string {
	var suffix [partKey]byte
	_, _ = rand.Read(suffix[:]) // never fails
	return partName(base) + "-" + hex.EncodeToString(suffix[:])
}

// partFile is the name of a hidden file in the errors of package os, which whoever
// is handed the file may tell the peer.
const partFile = "upload"

// part is a hidden file that is open, and locked by us.
type part struct {
	file *os.File
	name string // in its folder
	size int64  // as it was locked
}

// takePart opens the hidden file name and locks it. It returns errLocked if
// somebody else writes it, and session.ErrNotExist if there is none.
func takePart(dir *folder, name string) (part, error) {
	fd, err := dir.open(name, unix.O_RDWR|openSafely, 0)
	if err == unix.ELOOP {
		return part{}, errLocked // a link is none of ours
	}
	if err != nil {
		return part{}, err
	}
	if err := clearFlags(fd); err != nil {
		_ = unix.Close(fd)
		return part{}, err
	}
	return lockPart(dir, name, fd)
}

// makePart makes the hidden file name and locks it. It returns session.ErrExist
// if there is one.
func makePart(dir *folder, name string, l storage.Ledger) (part, error) {
	fd, err := dir.open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return part{}, err
	}
	if err := l.Take(0, 1); err != nil {
		_ = dir.unlink(name)
		_ = unix.Close(fd)
		return part{}, err
	}
	return lockPart(dir, name, fd)
}

// cut cuts the hidden file, as it was locked, to keep bytes; fewer is an error.
func (p part) cut(keep int64, l storage.Ledger) error {
	if keep > p.size {
		return session.ErrRange
	}
	if p.size == 0 {
		return nil
	}
	if err := p.file.Truncate(keep); err != nil {
		return err
	}
	l.Add(keep-p.size, 0)
	return nil
}

// lockPart locks the hidden file behind fd, which it takes over, and makes sure
// that it still is what name shows: whoever held the lock before may have renamed
// or removed it in between. For the same reason it asks for the size only now.
func lockPart(dir *folder, name string, fd int) (part, error) {
	err := tryLock(fd)
	var opened, named stat
	if err == nil {
		opened, err = statFd(fd)
	}
	if err == nil && !opened.isRegular() {
		err = session.ErrDenied
	}
	if err == nil {
		var gone error
		if named, gone = dir.lstat(name); gone != nil || named.inode != opened.inode {
			err = errLocked
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return part{}, err
	}
	return part{file: os.NewFile(uintptr(fd), partFile), name: name, size: opened.size}, nil
}

// takeTries is how often the resumable name is tried for before it counts as
// taken; each further try means that another upload of the name ended just then.
const takeTries = 4

// freshPart opens an empty, locked hidden file for base: under the resumable
// name if nobody is writing that, else under a random one. What an interrupted
// upload left there is thrown away.
func freshPart(dir *folder, base string, l storage.Ledger) (part, error) {
	p, err := resumablePart(dir, base, l)
	if errors.Is(err, errLocked) {
		return makePart(dir, randomPartName(base), l)
	}
	if err != nil {
		return part{}, err
	}
	return p, p.empty(l)
}

// empty throws away what an interrupted upload left in the hidden file, and
// closes that if it cannot.
func (p part) empty(l storage.Ledger) error {
	err := p.cut(0, l)
	if err != nil {
		_ = p.file.Close()
	}
	return err
}

// resumablePart opens and locks the hidden file for base that can be found
// again, making it if need be. It returns errLocked if somebody else writes it.
func resumablePart(dir *folder, base string, l storage.Ledger) (p part, err error) {
	name := partName(base)
	for range takeTries {
		p, err = makePart(dir, name, l)
		if errors.Is(err, session.ErrExist) {
			p, err = takePart(dir, name)
		}
		if !errors.Is(err, session.ErrNotExist) && !errors.Is(err, errLocked) {
			break
		}
	}
	if errors.Is(err, session.ErrNotExist) {
		err = errLocked // it came and went every time
	}
	return p, err
}

// dropPart removes the hidden file name unless somebody writes it. The ledger is
// locked.
func dropPart(dir *folder, name string, l storage.Ledger) (gone bool, err error) {
	p, err := takePart(dir, name)
	switch {
	case errors.Is(err, session.ErrNotExist), errors.Is(err, errLocked):
		return false, nil
	case err != nil:
		return false, err
	}
	defer p.file.Close()
	if err := dir.unlink(name); err != nil {
		return false, err
	}
	l.Add(-p.size, -1)
	return true, nil
}

// partInfo describes the interrupted upload of base. While it is being written
// there is none: session.ErrNotExist.
func (f *FS) partInfo(dir *folder, base string) (storage.Info, error) {
	fd, err := dir.open(partName(base), unix.O_RDONLY|openSafely, 0)
	if err == unix.ELOOP {
		err = session.ErrNotExist // a link is none of ours
	}
	if err != nil {
		return storage.Info{}, err
	}
	defer unix.Close(fd)
	left, err := statFd(fd)
	if err != nil {
		return storage.Info{}, err
	}
	if locked, err := isLocked(fd); err != nil || locked || !left.isRegular() {
		return storage.Info{}, errors.Join(session.ErrNotExist, err)
	}
	info := f.info(base, &left)
	info.Partial = true
	return info, nil
}
