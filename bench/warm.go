//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
)

// warmed is how many times the size of a transfer is written before anything is
// measured: as much as all servers keep together, and more.
const warmed = 12

// warmMemory fills and empties the folder of the files once, where that is memory. A
// virtual machine gets its memory from the host page by page as it is first touched,
// which costs several times what moving the bytes does, and whoever is measured first
// would pay for all.
func warmMemory(folder string, size int64) error {
	if fileSystem(folder) != "tmpfs" {
		return nil
	}
	name := filepath.Join(folder, "warm")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for left := min(warmed*size, room(folder)/2); left > 0 && err == nil; left -= int64(len(zeros)) {
		_, err = f.Write(zeros)
	}
	return errors.Join(err, f.Close(), os.Remove(name))
}
