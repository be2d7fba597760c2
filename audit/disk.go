package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	dirMode  = 0o700
	fileMode = 0o600
)

// lockName is the file whose lock says that somebody writes the record. The
// kernel drops the lock when the process ends, however it ends.
const lockName = "lock"

// disk is what the writer asks of the folder of the record. Tests put one in
// between that fails.
type disk interface {
	// create makes a file that does not exist, open takes one that does.
	create(name string) (file, error)
	open(name string) (file, error)
	remove(name string) error
	// replace writes a small file, whole or not at all.
	replace(name string, data []byte) error
	// sync makes created and removed names durable.
	sync() error
}

// file is a segment that is written.
type file interface {
	WriteAt(b []byte, offset int64) (int, error)
	Truncate(size int64) error
	Close() error
	size() (int64, error)
	// datasync puts content and length on stable storage.
	datasync() error
	// allocate takes space up to size without changing the length. It returns
	// errors.ErrUnsupported where that cannot be done.
	allocate(size int64) error
}

// folder is the real disk.
type folder string

func (d folder) create(name string) (file, error) {
	return d.openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (d folder) open(name string) (file, error) { return d.openFile(name, os.O_RDWR) }

func (d folder) openFile(name string, flag int) (file, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), flag, fileMode)
	if err != nil {
		return nil, err
	}
	return segmentFile{f}, nil
}

func (d folder) remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d folder) replace(name string, data []byte) error {
	path := filepath.Join(string(d), name)
	if err := os.WriteFile(path+".new", data, fileMode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (d folder) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type segmentFile struct{ *os.File }

func (f segmentFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// makeFolder makes the folder of the record and everything above it, and makes
// its name durable.
func makeFolder(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a folder", dir)
		}
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	return folder(filepath.Dir(dir)).sync()
}
