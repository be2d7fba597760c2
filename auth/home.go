package auth

import (
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// CheckHome returns nil if the files of an account may be in that folder: its path is
// absolute and clean, and is not the whole file system. Empty is the folder of its name.
// Whether it is there is for the caller to find out. The error is an ErrInvalid.
func CheckHome(folder string) error {
	switch {
	case folder == "":
		return nil
	case !filepath.IsAbs(folder):
		return invalid("home", "%q: want the whole path, from / on", clip(folder))
	case len(folder) > maxPathBytes:
		return invalid("home", "%q: it is longer than %d bytes", clip(folder), maxPathBytes)
	case folder == "/":
		return invalid("home", "/ holds everything on this machine, and not the files of an account")
	case strings.ContainsAny(folder, "\x00\r\n") || !utf8.ValidString(folder):
		return invalid("home", "%q: it has a line break or a NUL in it, or is not UTF-8", clip(folder))
	case filepath.Clean(folder) != folder:
		return invalid("home", "%q: write it as %q", clip(folder), clip(filepath.Clean(folder)))
	}
	return nil
}

// Home is the folder of an account's files, empty for that of its name, and so for an
// account that there is not.
func (a *Accounts) Home(user string) string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if r := a.records[user]; r != nil {
		return r.info.Home
	}
	return ""
}

// Homes are the names of the accounts whose files are not in the folder of their name.
func (a *Accounts) Homes() []string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var names []string
	for name, r := range a.records {
		if r.info.Home != "" {
			names = append(names, name)
		}
	}
	return names
}

// GroupsOf are the groups of an account, none for one that there is not.
func (a *Accounts) GroupsOf(user string) []string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if r := a.records[user]; r != nil {
		return r.info.Groups
	}
	return nil
}
