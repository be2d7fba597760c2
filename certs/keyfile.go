package certs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxKeyFile is the largest PEM file that is read, in bytes: chains and keys are
// a few thousand.
const maxKeyFile = 1 << 20

// makeKeyDir makes dir for the gateway alone. In a folder that others may write
// to, no key is safe.
func makeKeyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder for keys: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the folder for keys: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o022 != 0 {
		return fmt.Errorf("the folder for keys %s may be written by others (mode %04o): chmod 700 %s", dir, perm, dir)
	}
	return nil
}

// readKeyFile reads a file that holds a key, if nobody but its owner has any
// permission on it.
func readKeyFile(name string) ([]byte, error) {
	return readFile(name, func(info fs.FileInfo) error {
		if perm := info.Mode().Perm(); perm&0o077 != 0 {
			return fmt.Errorf("key file %s is open to others (mode %04o): chmod 600 %s", name, perm, name)
		}
		return nil
	})
}

// readCertFile reads a file that holds no secret.
func readCertFile(name string) ([]byte, error) {
	return readFile(name, func(fs.FileInfo) error { return nil })
}

func readFile(name string, check func(fs.FileInfo) error) ([]byte, error) {
	info, err := os.Stat(name) // first: the opening of a FIFO would wait
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if err := check(info); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxKeyFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxKeyFile)
	}
	return content, nil
}

// writeKeyFile puts content on stable storage under name, readable by the
// gateway alone. Without replace an existing file stays and is no error: two
// processes that start for the first time then agree on what the first wrote.
func writeKeyFile(name string, content []byte, replace bool) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write key file: %w", err)
		}
	}()
	dir := filepath.Dir(name)
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if replace {
		err = os.Rename(tmp.Name(), name)
	} else if err = os.Link(tmp.Name(), name); errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir puts the names in dir on stable storage.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
