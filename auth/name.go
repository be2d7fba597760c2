package auth

import (
	"fmt"
	"strings"
)

const (
	maxNameBytes  = 64
	maxGroupBytes = 64
	maxGroups     = 64 // of one account
	maxRouteBytes = 1024
)

// CheckName returns nil if an account may have that name, and otherwise an
// ErrName that says why not. A name is also the name of the account's folder,
// on any file system, so it is 1 to 64 of a-z 0-9 . _ @ + - and begins with a
// letter or digit. Case is not folded: "Joe" is no other way to write "joe",
// and cannot be an account.
func CheckName(name string) error {
	if reason := badName(name); reason != "" {
		return fmt.Errorf("%q: %w: %s", clip(name), ErrName, reason)
	}
	return nil
}

func badName(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > maxNameBytes:
		return fmt.Sprintf("it is longer than %d bytes", maxNameBytes)
	case !isLower(name[0]) && !isDigit(name[0]) && !isUpper(name[0]):
		return "it must begin with a letter a-z or a digit"
	case strings.Contains(name, ".."):
		return `".." is a way out of a folder`
	case strings.HasSuffix(name, "."):
		return "some file systems drop a dot at the end"
	case name == "lost+found":
		return "it is a folder of the file system"
	}
	for _, c := range []byte(name) {
		switch {
		case isLower(c), isDigit(c), strings.IndexByte("._@+-", c) >= 0:
		case isUpper(c):
			return "upper case is not used, so that no two names differ by case alone"
		default:
			return fmt.Sprintf("%q is not one of a-z 0-9 . _ @ + -", c)
		}
	}
	if isDevice(name) {
		return "it is a device on Windows file systems"
	}
	return ""
}

// isDevice reports whether Windows takes the name, with whatever extension, for
// a device. A "superscript" digit cannot occur in a name.
func isDevice(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(stem) == 4 && (stem[:3] == "com" || stem[:3] == "lpt") && isDigit(stem[3])
}

// CheckGroup returns nil if a group may have that name, and otherwise an ErrInvalid.
func CheckGroup(name string) error {
	if name == "" || len(name) > maxGroupBytes {
		return invalid("group", "%q: want 1 to %d bytes", clip(name), maxGroupBytes)
	}
	for i, c := range []byte(name) {
		if !isLower(c) && !isDigit(c) && (i == 0 || strings.IndexByte("._-", c) < 0) {
			return invalid("group", "%q: want a-z 0-9 . _ - with a letter or digit first", name)
		}
	}
	return nil
}

// checkGroups returns groups sorted and without repetitions.
func checkGroups(groups []string) ([]string, error) {
	if len(groups) > maxGroups {
		return nil, invalid("groups", "%d are more than %d", len(groups), maxGroups)
	}
	for _, g := range groups {
		if err := CheckGroup(g); err != nil {
			return nil, err
		}
	}
	return sortedSet(groups), nil
}

// checkRoute bounds a route; what it means is for the queue to say.
func checkRoute(route string) error {
	if len(route) > maxRouteBytes {
		return invalid("route", "longer than %d bytes", maxRouteBytes)
	}
	for _, c := range []byte(route) {
		if c <= ' ' || c > '~' {
			return invalid("route", "%q: spaces, control and non-ASCII characters are not allowed", route)
		}
	}
	return nil
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// clip shortens what an error quotes.
func clip(s string) string {
	const limit = 80
	if len(s) > limit {
		return s[:limit] + "..."
	}
	return s
}
