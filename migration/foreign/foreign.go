// Package foreign reads the account files of other servers.
//
// What it finds is what the files say, not yet what the gateway makes of it: a hash is
// kept as text, and nothing is computed. Each account, and each line that is no account,
// has the place where it stands. What a file says and no account here can have is named
// (Account.Lost), never dropped in silence.
package foreign

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// Account is one account as another server's files have it. What they do not say is zero.
type Account struct {
	Name string
	At   Position

	// Hash of the password, in a form that hashes.Foreign (auth/hashes) reads; Plain is the password
	// itself, where the source keeps that. Neither means that there is no password.
	Hash     string
	Plain    session.Secret
	Disabled bool

	Home      string // the folder of its files, as the source has it
	Groups    []string
	Keys      []string // lines of authorized_keys
	Addresses []string // of mail that it may send as

	Quota session.Quota
	// Bandwidth is in bytes a second, for each direction.
	Bandwidth   int64
	Permissions []session.PathRule // none for everything
	Expires     time.Time          // the first moment at which it is over; zero for never
	Mail        session.MailLimits // how much mail it may send

	// From are the networks from which it may come, but for NotFrom. No From is everywhere.
	From, NotFrom []netip.Prefix
	// Hours are when it may log in, such as "09:00-18:00". None is always.
	Hours []string

	// Lost is what the account had and will not have, each with why, in a sentence
	// without a full stop: "upload ratio 1:5: the gateway has no ratios".
	Lost []string
}

// Position is where something stands in a file.
type Position struct {
	File string
	Line int // from 1 on; 0 if the file has no lines
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Refusal is an account, or a line, that is not taken.
type Refusal struct {
	At     Position
	Name   string // may be empty, if there is none to be read
	Reason string // what is wrong and what to do, in a sentence without a full stop
}

// Found is what the files of a source hold.
type Found struct {
	Accounts []Account
	Refused  []Refusal
	// Notes are about the source as a whole: settings that the operator has to repeat in
	// the gateway's own files.
	Notes []string
}

// add takes an account, unless nobody could name it.
func (f *Found) add(a Account) {
	if a.Name == "" {
		f.refuse(a.At, "", "there is no name")
		return
	}
	f.Accounts = append(f.Accounts, a)
}

func (f *Found) refuse(at Position, name, format string, args ...any) {
	f.Refused = append(f.Refused, Refusal{At: at, Name: name, Reason: fmt.Sprintf(format, args...)})
}

// full reports, and says, that so much is refused that the rest is not to be read.
func (f *Found) full(at Position) bool {
	if len(f.Refused) <= maxRefusals {
		return false
	}
	f.refuse(at, "", "more than %d lines are not taken: the rest is not read. Is it another kind of file?", maxRefusals)
	return true
}

func (f *Found) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(f.Notes, text) {
		f.Notes = append(f.Notes, text)
	}
}

func (a *Account) lose(format string, args ...any) {
	a.Lost = append(a.Lost, fmt.Sprintf(format, args...))
}

// Format is one kind of source.
type Format struct {
	Name  string // of the command line
	Files string // which files it takes, as usage: "PASSWD SHADOW [GROUP]"
	Short string // what it is, in a line
	// Read reads the files named, and those that they name. An error is about a file
	// that cannot be read at all; whatever is wrong with a line is in Found.
	Read func(files Files, names []string) (Found, error)
}

// Formats lists all of them, by name.
func Formats() []Format {
	list := []Format{
		authorizedKeysFormat(), csvFormat(), dovecotFormat(), fileZillaFormat(), gatewayFormat(), htpasswdFormat(), iisFormat(), ldifFormat(), passwdFormat(),
		proFTPDFormat(), pureFTPdFormat(), sasldbFormat(), sftpgoFormat(), vsftpdFormat(),
	}
	slices.SortFunc(list, func(x, y Format) int { return cmp.Compare(x.Name, y.Name) })
	return list
}

// ofOneFile is the Read of a format with one file.
func ofOneFile(read func(name string, content []byte) (Found, error)) func(Files, []string) (Found, error) {
	return func(files Files, names []string) (Found, error) {
		if err := oneFile(names); err != nil {
			return Found{}, err
		}
		content, err := files.Read(names[0])
		if err != nil {
			return Found{}, err
		}
		return read(names[0], content)
	}
}

// oneFile is an error unless one file was given.
func oneFile(names []string) error { return someFiles(names, 1, 1) }

// someFiles is an error unless the number of files is within the bounds.
func someFiles(names []string, least, most int) error {
	switch {
	case len(names) < least:
		return fmt.Errorf("%d files are too few", len(names))
	case len(names) > most:
		return fmt.Errorf("%d files are too many: %s", len(names), strings.Join(names, " "))
	default:
		return nil
	}
}

// sortedSet sorts a list and leaves out what comes twice, and what is empty.
func sortedSet(list []string) []string {
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(s string) bool { return s == "" })
}

// sortedKeys are those of a map, in their order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// cleanPath is a path as a client sees it: absolute, with slashes.
func cleanPath(p string) string { return path.Clean("/" + strings.ReplaceAll(p, `\`, "/")) }
