package local

import (
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// statFd describes what the descriptor fd stands for.
func statFd(fd int) (stat, error) {
	var s unix.Stat_t
	if err := uninterrupted(func() error { return unix.Fstat(fd, &s) }); err != nil {
		return stat{}, err
	}
	return statOf(&s), nil
}

// statFile is statFd for a file that others may use, or close, at the same time.
func statFile(file *os.File) (stat, error) {
	info, err := file.Stat()
	if err != nil {
		return stat{}, err
	}
	return statInfo(info)
}

func statOf(s *unix.Stat_t) stat {
	return stat{
		inode: inode{uint64(s.Dev), s.Ino}, links: uint64(s.Nlink), size: s.Size, mode: modeOf(s.Mode),
		mod: time.Unix(s.Mtim.Unix()), access: time.Unix(s.Atim.Unix()),
	}
}

// statInfo takes over what package os found out.
func statInfo(info fs.FileInfo) (stat, error) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stat{}, unix.ENOSYS
	}
	return stat{
		inode: inode{uint64(s.Dev), s.Ino}, links: uint64(s.Nlink), size: s.Size, mode: info.Mode(),
		mod: info.ModTime(), access: time.Unix(s.Atim.Unix()),
	}, nil
}

// modeOf translates st_mode.
func modeOf(m uint32) fs.FileMode {
	mode := fs.FileMode(m) & fs.ModePerm
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFREG:
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	default:
		mode |= fs.ModeIrregular
	}
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
