package transfer

import (
	"path"
	"strings"

	"gateway/session"
)

// MaxPath is the longest path taken from a peer, in bytes.
const MaxPath = 4096

// Resolve returns the absolute path that name means to a peer whose working
// directory is cwd: clean, beginning with "/", never above the root. It fails
// with session.ErrName for a path that is too long or holds NUL, CR or LF.
func Resolve(cwd, name string) (string, error) {
	if len(name) > MaxPath || strings.ContainsAny(name, "\x00\r\n") {
		return "", session.ErrName
	}
	if !strings.HasPrefix(name, "/") {
		name = cwd + "/" + name
	}
	clean := path.Clean("/" + name)
	if len(clean) > MaxPath {
		return "", session.ErrName
	}
	return clean, nil
}

// inTree turns a peer's path into the name that storage knows.
func inTree(name string) (clean, tree string, err error) {
	clean, err = Resolve("/", name)
	if err != nil {
		return "", "", err
	}
	if clean == "/" {
		return clean, ".", nil
	}
	return clean, clean[1:], nil
}
