package local

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"

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

// takePart opens the hidden file name and locks it. It returns errLocked if
// somebody else writes it, and session.ErrNotExist if there is none.
func takePart(dir *os.Root, name string) (*os.File, error) {
	file, err := dir.OpenFile(name, os.O_RDWR|openSafely, 0)
	if err != nil {
		return nil, err
	}
	return lockPart(dir, name, file)
}

// makePart makes the hidden file name and locks it. It returns session.ErrExist
// if there is one.
func makePart(dir *os.Root, name string, l storage.Ledger) (*os.File, error) {
	file, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := l.Take(0, 1); err != nil {
		_ = dir.Remove(name)
		_ = file.Close()
		return nil, err
	}
	return lockPart(dir, name, file)
}

// cutPart cuts a hidden file to keep bytes; fewer is an error.
func cutPart(file *os.File, keep int64, l storage.Ledger) error {
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	if keep > stat.Size() {
		return session.ErrRange
	}
	if err := file.Truncate(keep); err != nil {
		return err
	}
	l.Add(keep-stat.Size(), 0)
	return nil
}

// lockPart locks file and makes sure that it still is what name shows: whoever
// held the lock before may have renamed or removed it in between.
func lockPart(dir *os.Root, name string, file *os.File) (*os.File, error) {
	if err := tryLock(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	opened, err := file.Stat()
	if err == nil && !opened.Mode().IsRegular() {
		err = session.ErrDenied
	}
	if err == nil {
		named, lerr := dir.Lstat(name)
		if lerr != nil || !os.SameFile(named, opened) {
			err = errLocked
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// takeTries is how often the resumable name is tried for before it counts as
// taken; each further try means that another upload of the name ended just then.
const takeTries = 4

// freshPart opens an empty, locked hidden file for base: under the resumable
// name if nobody is writing that, else under a random one. What an interrupted
// upload left there is thrown away.
func freshPart(dir *os.Root, base string, l storage.Ledger) (file *os.File, name string, err error) {
	file, name, err = resumablePart(dir, base, l)
	if err == nil {
		err = cutPart(file, 0, l)
		if err != nil {
			_ = file.Close()
			return nil, "", err
		}
		return file, name, nil
	}
	if !errors.Is(err, errLocked) {
		return nil, "", err
	}
	name = randomPartName(base)
	file, err = makePart(dir, name, l)
	return file, name, err
}

// resumablePart opens and locks the hidden file for base that can be found
// again, making it if need be. It returns errLocked if somebody else writes it.
func resumablePart(dir *os.Root, base string, l storage.Ledger) (file *os.File, name string, err error) {
	name = partName(base)
	for range takeTries {
		file, err = makePart(dir, name, l)
		if errors.Is(err, session.ErrExist) {
			file, err = takePart(dir, name)
		}
		if !errors.Is(err, session.ErrNotExist) && !errors.Is(err, errLocked) {
			break
		}
	}
	if errors.Is(err, session.ErrNotExist) {
		err = errLocked // it came and went every time
	}
	return file, name, err
}

// dropPart removes the hidden file name unless somebody writes it. The ledger is
// locked.
func dropPart(dir *os.Root, name string, l storage.Ledger) (gone bool, err error) {
	file, err := takePart(dir, name)
	switch {
	case errors.Is(err, session.ErrNotExist), errors.Is(err, errLocked):
		return false, nil
	case err != nil:
		return false, err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err == nil {
		err = dir.Remove(name)
	}
	if err != nil {
		return false, err
	}
	l.Add(-stat.Size(), -1)
	return true, nil
}

// partInfo describes the interrupted upload of base. While it is being written
// there is none: session.ErrNotExist.
func (f *FS) partInfo(dir *os.Root, base string) (storage.Info, error) {
	file, err := dir.OpenFile(partName(base), os.O_RDONLY|openSafely, 0)
	if err != nil {
		return storage.Info{}, err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return storage.Info{}, err
	}
	if locked, err := isLocked(file); err != nil || locked || !stat.Mode().IsRegular() {
		return storage.Info{}, errors.Join(session.ErrNotExist, err)
	}
	info := f.info(base, stat)
	info.Partial = true
	return info, nil
}
