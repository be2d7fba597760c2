package local

import (
	"io/fs"
	"strings"

	"gateway/session"
)

// maxPart is the longest part of a name, in bytes: NAME_MAX of Linux.
const maxPart = 255

// reserved begins the names that are ours alone.
const reserved = ".gateway-"

// checkName refuses what storage.FS says no backend takes.
func checkName(name string) error {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\x00\r\n") {
		return session.ErrName
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxPart || strings.HasPrefix(part, reserved) {
			return session.ErrName
		}
	}
	return nil
}

// sayable reports whether an entry of a folder has a name that a peer could
// use; the others are not listed. Other programs may have made them, and a line
// end in a name would forge lines of a listing.
func sayable(base string) bool { return checkName(base) == nil }
