// Package upstream is what servers behind the gateway have in common, whatever their
// protocol: what names they may be given, the hidden names of uploads, which of those are
// under way, a pool of connections, and reading ahead.
//
// Package remote and package ftpfiles make a storage.FS of it.
package upstream

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"gateway/session"
)

const (
	// Hidden is what the names of uploads begin with that are no files yet.
	Hidden = ".gateway-part-"
	// MaxNamePart is how long one part of a name may be, in bytes.
	MaxNamePart = 255
	// MaxEntries bounds a folder.
	MaxEntries = 1_000_000

	FolderPerm fs.FileMode = 0o750 // of a new folder
	FilePerm   fs.FileMode = 0o640 // of a new file for which nothing else is asked
	// OwnerMayWrite is the bit without which a file is not changed, whatever the server
	// makes of it.
	OwnerMayWrite fs.FileMode = 0o200
)

// CheckName refuses, with session.ErrName, names that the contract refuses.
func CheckName(name string) error {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\x00\r\n") {
		return session.ErrName
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > MaxNamePart || strings.HasPrefix(part, Hidden) {
			return session.ErrName
		}
	}
	return nil
}

// Entry reports whether a server may have called something in a folder so.
func Entry(name string) bool {
	return name != "." && !strings.Contains(name, "/") && CheckName(name) == nil
}

// Folder is the path of the folder of an account below root. A name that is no plain folder
// name is refused with session.ErrName.
func Folder(root, user string) (string, error) {
	if user == "." || strings.ContainsAny(user, `/\`) || CheckName(user) != nil {
		return "", fmt.Errorf("open the folder of account %q: %w", user, session.ErrName)
	}
	return path.Join(root, user), nil
}

// Part is the hidden name of the upload of a path that can be resumed.
func Part(full string) string {
	base := path.Base(full)
	if len(Hidden)+len(base) > MaxNamePart {
		sum := sha256.Sum256([]byte(base))
		base = fmt.Sprintf("%x", sum[:16])
	}
	return path.Join(path.Dir(full), Hidden+base)
}

// OwnPart is a hidden name in the folder of a path that nothing else has.
func OwnPart(full string) string { return path.Join(path.Dir(full), Hidden+rand.Text()) }

// Whole is the path that has a hidden name for its upload.
func Whole(part string) string {
	return path.Join(path.Dir(part), strings.TrimPrefix(path.Base(part), Hidden))
}
