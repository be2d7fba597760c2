// Package local keeps each account's files in a folder of the operating system.
//
// Every name is resolved by the kernel (openat2) or by an os.Root, so that neither
// "..", nor a link, nor a folder that is swapped for a link at the wrong moment
// leads out of the folder. What they do not look at is refused here: names that
// hold line ends, devices, sockets and FIFOs, setuid bits, links that would leave
// the tree.
//
// An upload is written to a hidden name in the folder where the file is to
// appear, and becomes visible by one rename when it is complete and on stable
// storage. A file is never changed in place by an upload: whoever reads the old
// content reads it to its end. See partial.go for the hidden names.
//
// It needs Linux: open file description locks, renameat2, utimensat.
package local

import (
	"io/fs"
	"os"
	"time"

	"gateway/storage"
)

// Config says how a tree is kept. The zero value is ready for use.
type Config struct {
	// KeepPartial is how long an interrupted upload stays resumable before Sweep
	// removes it. Zero means 168h (7 days).
	KeepPartial time.Duration
	// FileMode and FolderMode are the permission bits of what a peer makes without
	// asking for others. Zero means 0640 and 0750.
	FileMode, FolderMode fs.FileMode
	// Umask are the bits that nothing gets when it is made, whoever asks for them.
	// What is there already can be given any permission bits.
	Umask fs.FileMode
	// Ledger is told of what comes into the tree and goes. Nil means that nobody
	// counts.
	Ledger storage.Ledger
}

// defaultKeepPartial is the KeepPartial of the zero Config.
const defaultKeepPartial = 7 * 24 * time.Hour

// FileMode and FolderMode of the zero Config.
const (
	fileMode   fs.FileMode = 0o640
	folderMode fs.FileMode = 0o750
)

// Open opens the tree in the folder dir, which must exist and belong to the
// account alone.
func Open(dir string, cfg Config) (*FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err // dir is the operator's word, so it may be in the text
	}
	f, err := newFS(root, cfg)
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return f, nil
}
