package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"gateway/session"
)

const (
	// entriesBuffer is how many bytes of the entries of a folder are in memory at
	// once; the longest entry takes 280.
	entriesBuffer = 16 << 10
	// entriesAtOnce is how many of them are taken apart at once.
	entriesAtOnce = 256
)

// entry is what a folder tells of a name in it.
type entry struct {
	name string
	mode fs.FileMode // the type only
}

// each calls visit for what is in d until it fails. It reads from the beginning
// with the offset of the descriptor, so d must be the caller's alone.
func (d *folder) each(visit func(entry) error) error {
	return d.some(func(list []entry) error {
		for _, e := range list {
			if err := visit(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// some is each for up to entriesAtOnce of them at once, in a list that visit may change
// and that is valid until it returns.
func (d *folder) some(visit func([]entry) error) error {
	if _, err := unix.Seek(d.fd, 0, unix.SEEK_SET); err != nil {
		return err
	}
	buf := make([]byte, entriesBuffer)
	var list []entry
	for {
		var n int
		err := uninterrupted(func() (err error) {
			n, err = unix.Getdents(d.fd, buf)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		for rest := buf[:n]; len(rest) > 0; {
			list, rest, err = d.take(list[:0], rest)
			if stopped := visit(list); stopped != nil {
				return stopped
			}
			if err != nil {
				return err
			}
		}
	}
}

// take appends entries that buf holds, and returns what is left of buf.
func (d *folder) take(list []entry, buf []byte) (_ []entry, rest []byte, err error) {
	for len(buf) > 0 && len(list) < entriesAtOnce {
		name, kind, size := dirent(buf)
		buf = buf[size:]
		if len(name) == 0 || string(name) == "." || string(name) == ".." {
			continue
		}
		e := entry{name: string(name)}
		if e.mode, err = d.typeOf(e.name, kind); errors.Is(err, session.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return list, nil, err
		}
		list = append(list, e)
	}
	return list, buf, nil
}

// Where the fields of a linux_dirent64 are: see getdents64(2).
const (
	direntReclen = 16
	direntType   = 18
	direntName   = 19
)

// dirent takes the first entry of buf apart, of which it takes size bytes.
func dirent(buf []byte) (name []byte, kind byte, size int) {
	if len(buf) < direntName {
		return nil, 0, len(buf)
	}
	size = int(binary.NativeEndian.Uint16(buf[direntReclen:]))
	if size < direntName || size > len(buf) {
		return nil, 0, len(buf)
	}
	name, _, _ = bytes.Cut(buf[direntName:size], []byte{0})
	return name, buf[direntType], size
}

// typeOf translates d_type, which some file systems leave unknown.
func (d *folder) typeOf(name string, kind byte) (fs.FileMode, error) {
	if kind == unix.DT_UNKNOWN {
		s, err := d.lstat(name)
		return s.mode.Type(), err
	}
	return modeOf(uint32(kind) << 12).Type(), nil // DTTOIF of dirent.h
}
