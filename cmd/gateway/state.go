package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A stateLock keeps two processes from one state folder.
type stateLock struct{ file *os.File }

// errLocked is a state folder that another process uses.
var errLocked = errors.New("in use")

// lockState makes the state folder if need be, refuses one that others may
// read, and locks it until release.
func lockState(dir string) (*stateLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the state folder: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the state folder %s can be read by others (mode %04o): chmod 700 %[1]s", dir, info.Mode().Perm())
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the state folder cannot be written: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("the state folder %s is %w by process %s", dir, errLocked, strings.TrimSpace(string(holder[:n])))
		}
		return nil, fmt.Errorf("lock the state folder: %w", err)
	}
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return &stateLock{file: f}, nil
}

// release gives the lock back. To close the file is not enough: a process that is being
// started at this moment has it open, too, until it becomes another program.
func (l *stateLock) release() error {
	return errors.Join(unix.Flock(int(l.file.Fd()), unix.LOCK_UN), l.file.Close())
}

// removeStale removes a control socket that a killed process left behind. The
// state lock is held, so nobody listens on it.
func removeStale(socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the old control socket: %w", err)
	}
	return nil
}
