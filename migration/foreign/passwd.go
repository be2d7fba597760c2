package foreign

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func passwdFormat() Format {
	return Format{
		Name: "passwd", Files: "PASSWD SHADOW [GROUP]", Short: "accounts of the operating system: /etc/passwd /etc/shadow /etc/group",
		Read: func(files Files, names []string) (Found, error) {
			if err := someFiles(names, 1, 3); err != nil {
				return Found{}, err
			}
			var found Found
			var users unixUsers
			for _, name := range names {
				content, err := files.Read(name)
				if err != nil {
					return Found{}, err
				}
				if err := users.read(name, content, &found); err != nil {
					return Found{}, err
				}
			}
			if users.entries == nil {
				return Found{}, fmt.Errorf("none of the files is a passwd, with seven fields a line: %s", strings.Join(names, " "))
			}
			users.accounts(&found)
			return found, nil
		},
	}
}

// The number of fields of a line, by which the files are told from each other (passwd(5),
// shadow(5), group(5)).
const (
	passwdFields = 7
	shadowFields = 9
	groupFields  = 4
)

// firstPersonUID is where the accounts of people begin (login.defs(5), UID_MIN).
const firstPersonUID = 1000

// unixUsers are the accounts of passwd with what its companions say of them.
type unixUsers struct {
	entries []passwdEntry
	shadow  map[string]shadowEntry // by name; nil if the file was not given
	groups  map[string][]string    // of each name, by name
	named   map[string]string      // names of groups, by number
}

type passwdEntry struct {
	at                       Position
	name, password, uid, gid string
	home, shell              string
}

type shadowEntry struct {
	at               Position
	password         string
	changed, maximum string // days
	expires          string // days since 1970
}

// read takes a file in, whichever of the three it is.
func (u *unixUsers) read(name string, content []byte, found *Found) error {
	fields := 0
	for l := range lines(name, content, new(Found)) {
		if !strings.HasPrefix(l.Text, "#") {
			fields = strings.Count(l.Text, ":") + 1
			break
		}
	}
	switch fields {
	case passwdFields:
		u.readPasswd(name, content, found)
	case shadowFields:
		u.readShadow(name, content, found)
	case groupFields:
		u.readGroup(name, content)
	default:
		return fmt.Errorf("%s is neither a passwd, nor a shadow, nor a group: its first line has %d fields, which are divided by colons, and not %d, %d or %d",
			name, fields, passwdFields, shadowFields, groupFields)
	}
	return nil
}

func (u *unixUsers) readPasswd(name string, content []byte, found *Found) {
	for l := range lines(name, content, found) {
		if strings.HasPrefix(l.Text, "#") {
			continue
		}
		f := strings.Split(l.Text, ":")
		if strings.HasPrefix(l.Text, "+") || strings.HasPrefix(l.Text, "-") {
			found.refuse(l.At, "", "the line stands for accounts of another service (nsswitch.conf, compat)")
			continue
		}
		if len(f) != passwdFields {
			found.refuse(l.At, f[0], "the line has %d fields, and a passwd %d", len(f), passwdFields)
			continue
		}
		u.entries = append(u.entries, passwdEntry{at: l.At, name: f[0], password: f[1], uid: f[2], gid: f[3], home: f[5], shell: f[6]})
	}
}

func (u *unixUsers) readShadow(name string, content []byte, found *Found) {
	if u.shadow == nil {
		u.shadow = make(map[string]shadowEntry)
	}
	for l := range lines(name, content, found) {
		if strings.HasPrefix(l.Text, "#") {
			continue
		}
		f := strings.Split(l.Text, ":")
		if len(f) != shadowFields {
			found.refuse(l.At, f[0], "the line has %d fields, and a shadow %d", len(f), shadowFields)
			continue
		}
		u.shadow[f[0]] = shadowEntry{at: l.At, password: f[1], changed: f[2], maximum: f[4], expires: f[7]}
	}
}

func (u *unixUsers) readGroup(name string, content []byte) {
	if u.groups == nil {
		u.groups, u.named = make(map[string][]string), make(map[string]string)
	}
	for l := range lines(name, content, new(Found)) {
		f := strings.Split(l.Text, ":")
		if len(f) != groupFields || strings.HasPrefix(l.Text, "#") {
			continue
		}
		u.named[f[2]] = f[0]
		for member := range strings.SplitSeq(f[3], ",") {
			if member = strings.TrimSpace(member); member != "" {
				u.groups[member] = append(u.groups[member], f[0])
			}
		}
	}
}

// accounts adds them to found. What nobody logs in with is said in one note.
func (u *unixUsers) accounts(found *Found) {
	var system []string
	for _, e := range u.entries {
		hash, at, missing := e.password, e.at, false
		if hash == "x" || hash == "*NP*" {
			s, ok := u.shadow[e.name]
			if missing = !ok; ok {
				hash, at = s.password, s.at
			}
		}
		uid, err := strconv.ParseUint(e.uid, 10, 32)
		switch {
		case err != nil:
			found.refuse(e.at, e.name, "its number %q is none", clip(e.uid))
		case uid == 0:
			found.refuse(e.at, e.name, "it is root (number 0), which does not come in from outside")
		case uid < firstPersonUID && (missing || noPassword(hash)):
			system = append(system, e.name)
		case missing && u.shadow == nil:
			found.refuse(e.at, e.name, "its password is kept in shadow, which was not given: add /etc/shadow")
		case missing:
			found.refuse(e.at, e.name, "its password is kept in shadow, which has no such line")
		case hash == "":
			found.refuse(at, e.name, "it has an empty password, so that everybody could come in: give it one")
		default:
			found.add(u.account(e, hash, at))
		}
	}
	if len(system) > 0 {
		found.note("left out are accounts of the system without a password: %s", strings.Join(system, " "))
	}
}

// noPassword reports whether what stands in place of a hash is none.
func noPassword(hash string) bool { return strings.Trim(hash, "!*") == "" }

func (u *unixUsers) account(e passwdEntry, hash string, at Position) Account {
	a := Account{Name: e.name, At: at, Home: e.home, Groups: u.groupsOf(e)}
	if bare, locked := strings.CutPrefix(hash, "!"); locked && !noPassword(hash) {
		a.Disabled, hash = true, strings.TrimLeft(bare, "!")
	}
	if noPassword(hash) {
		a.lose("no password: it had none that could be used; give it one (gateway user passwd %s) or a key", e.name)
	} else {
		a.Hash = hash
	}
	s := u.shadow[e.name]
	if days, err := strconv.ParseInt(s.expires, 10, 32); err == nil && days >= 0 {
		a.Expires = time.Unix(days*24*60*60, 0).UTC()
	}
	if s.changed == "0" {
		a.lose("the demand to change the password at the next login")
	}
	if days, err := strconv.ParseInt(s.maximum, 10, 32); err == nil && days > 0 && days < 9999 {
		a.lose(`the age of its password, at most %d days: a rule says that for all, require "..." { password_age = "less than %dd" }`, days, days)
	}
	return a
}

// groupsOf are those that the account is in, but for the one of its own name.
func (u *unixUsers) groupsOf(e passwdEntry) []string {
	groups := slices.Clone(u.groups[e.name])
	if own := u.named[e.gid]; own != "" {
		groups = append(groups, own)
	}
	slices.Sort(groups)
	return slices.DeleteFunc(slices.Compact(groups), func(g string) bool { return g == e.name })
}

// clip shortens what a message quotes.
func clip(s string) string {
	const limit = 60
	if len(s) > limit {
		return s[:limit] + "..."
	}
	return s
}
