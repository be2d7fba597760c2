package local

import (
	"os"

	"golang.org/x/sys/unix"
)

// openSafely are the flags that keep the opening of a FIFO or a terminal from
// waiting or from doing something.
const openSafely = unix.O_NONBLOCK | unix.O_NOCTTY

// readFolder opens folders and nothing else.
const readFolder = unix.O_RDONLY | unix.O_DIRECTORY

// beneathTries is how often openat2 is asked again: it gives up where something
// is renamed on the system while it goes up by "..", as a link may say.
const beneathTries = 16

// openBeneath opens what name leads to from the folder at. The kernel follows
// links below at, and refuses all that leads out of it.
func openBeneath(at int, name string, flag int) (fd int, err error) {
	how := unix.OpenHow{
		Flags: uint64(flag | unix.O_CLOEXEC), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flag&unix.O_PATH == 0 {
		how.Flags |= unix.O_LARGEFILE
	}
	for range beneathTries {
		err = uninterrupted(func() (err error) {
			fd, err = unix.Openat2(at, name, &how)
			return err
		})
		if err != unix.EAGAIN {
			break
		}
	}
	return fd, err
}

// ask opens what name leads to by openat2, unless that has to be found out step
// by step: where there is no such call (before Linux 5.6, or not let through),
// and where it gave up.
func (f *FS) ask(name string, flag int) (fd int, answered bool, err error) {
	if !f.beneath {
		return -1, false, nil
	}
	if err := f.top.share(); err != nil {
		return -1, true, err
	}
	defer f.top.Close()
	fd, err = openBeneath(f.top.fd, name, flag)
	if err == unix.EXDEV {
		err = f.escaped()
	}
	return fd, err != unix.EAGAIN, err
}

// open opens what name leads to, following links inside the tree; flag makes
// nothing.
func (f *FS) open(name string, flag int) (int, error) {
	if fd, answered, err := f.ask(name, flag); answered {
		return fd, err
	}
	file, err := f.root.OpenFile(name, flag, 0)
	if err != nil {
		return -1, err
	}
	return detach(file)
}

// stat describes what name leads to.
func (f *FS) stat(name string) (stat, error) {
	fd, answered, err := f.ask(name, unix.O_PATH)
	if err == nil && answered {
		defer unix.Close(fd)
		return statFd(fd)
	}
	if answered {
		return stat{}, err
	}
	info, err := f.root.Stat(name)
	if err != nil {
		return stat{}, err
	}
	return statInfo(info)
}

// detach turns file, which it closes, into a bare descriptor.
func detach(file *os.File) (fd int, err error) {
	defer file.Close()
	return unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// openTop opens the folder that root stands for, and reports whether the kernel
// has openat2 and lets it be used.
func openTop(root *os.Root) (top *folder, beneath bool, err error) {
	file, err := root.Open(".")
	if err != nil {
		return nil, false, err
	}
	fd, err := openBeneath(int(file.Fd()), ".", readFolder)
	if err == nil {
		_ = file.Close()
		return newFolder(fd), true, nil
	}
	if fd, err = detach(file); err != nil {
		return nil, false, err
	}
	return newFolder(fd), false, nil
}
