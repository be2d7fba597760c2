//go:build linux

package local

import (
	"io/fs"
	"time"

	"gateway/storage"
)

// stat is what the kernel tells of a file, folder or link.
type stat struct {
	inode
	links       uint64
	size        int64
	mode        fs.FileMode
	mod, access time.Time
}

// inode tells a file from every other of the system.
type inode struct{ dev, ino uint64 }

func (s *stat) isDir() bool     { return s.mode.IsDir() }
func (s *stat) isLink() bool    { return s.mode&fs.ModeSymlink != 0 }
func (s *stat) isRegular() bool { return s.mode.IsRegular() }

// writable reports whether the file's owner, as whom the gateway acts, may write
// it. It is asked explicitly because an upload replaces the file, for which the
// kernel asks the folder only.
func (s *stat) writable() bool { return s.mode&0o200 != 0 }

// weight is how many bytes go with the name that was looked at: those of a file
// that has no other.
func (s *stat) weight() int64 {
	if !s.isRegular() || s.links > 1 {
		return 0
	}
	return s.size
}

// id is the storage.Info.ID of what s describes.
func (f *FS) id(s *stat) uint64 {
	if s.dev != f.dev {
		return 0 // on another device the number may be one of ours
	}
	return s.ino
}

// info words s under the name that the peer uses.
func (f *FS) info(name string, s *stat) storage.Info {
	return storage.Info{
		Name: name, Size: s.size, Mode: s.mode, ModTime: s.mod, Access: s.access, ID: f.id(s), Links: s.links,
	}
}
