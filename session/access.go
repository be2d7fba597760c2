package session

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Permissions are what an account may do with the files below a folder. The
// zero value is nothing.
type Permissions uint16

const (
	MayList      Permissions = 1 << iota // see what is in a folder, and describe it
	MayRead                              // read files
	MayCreate                            // make a file that was not there
	MayOverwrite                         // replace a file, or change it in place
	MayAppend                            // add to the end of a file
	MayDelete                            // remove files and empty folders
	MayRename                            // give files and folders another name
	MayMkdir                             // make folders
	MaySetAttr                           // change times and modes
	MayLink                              // make symbolic and hard links

	MayAll = MayLink<<1 - 1
	// MayWrite is everything that changes the content of files.
	MayWrite = MayCreate | MayOverwrite | MayAppend
	// MayDrop is all that an upload-only folder allows: what was once written there
	// can be neither read nor replaced.
	MayDrop = MayCreate
)

// permissionWords are the words of Permissions, longest meaning first so that
// they read well, then one for each bit.
func permissionWords() []struct {
	word string
	set  Permissions
} {
	return []struct {
		word string
		set  Permissions
	}{
		{"all", MayAll}, {"write", MayWrite},
		{"list", MayList}, {"read", MayRead}, {"create", MayCreate}, {"overwrite", MayOverwrite}, {"append", MayAppend},
		{"delete", MayDelete}, {"rename", MayRename}, {"mkdir", MayMkdir}, {"setattr", MaySetAttr}, {"link", MayLink},
	}
}

// ParsePermissions reads words such as "list,read"; "write" stands for create,
// overwrite and append, "all" for everything, "none" for nothing, "drop" for an
// upload-only folder.
func ParsePermissions(text string) (Permissions, error) {
	switch text {
	case "none":
		return 0, nil
	case "drop":
		return MayDrop, nil
	}
	var p Permissions
	for word := range strings.SplitSeq(text, ",") {
		known := false
		for _, w := range permissionWords() {
			if w.word == word {
				p, known = p|w.set, true
			}
		}
		if !known {
			return 0, fmt.Errorf("%q is not a permission; take all, none, drop, or some of write, list, read, create, overwrite, append, delete, rename, mkdir, setattr, link, divided by commas", word)
		}
	}
	return p, nil
}

// String writes the words that ParsePermissions reads.
func (p Permissions) String() string {
	if p == 0 {
		return "none"
	}
	var words []string
	for _, w := range permissionWords() {
		if p&w.set == w.set {
			words = append(words, w.word)
			p &^= w.set
		}
	}
	return strings.Join(words, ",")
}

// MarshalText and UnmarshalText are String and ParsePermissions.
func (p Permissions) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p *Permissions) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePermissions(string(text))
	return err
}

// A PathRule says what may be done in the folder Path and below it, as far as no
// rule for a longer path does. Path is absolute and clean, as the peer sees it.
type PathRule struct {
	Path string      `json:"path"`
	May  Permissions `json:"may"`
}

// Quota is how much may be kept. Zero is no limit.
type Quota struct {
	Bytes int64 `json:"bytes,omitempty"`
	// Files counts whatever has a name: files, folders and links.
	Files int64 `json:"files,omitempty"`
}

// GroupQuota is what the members of a group may keep together.
type GroupQuota struct {
	Group string `json:"group"`
	Quota
}

// Access is what an account may do with files, and how much. The zero value may
// do nothing.
type Access struct {
	// Rules are in the order of their paths, one for each path.
	Rules []PathRule
	// Quota is the account's own, Shared those of its groups.
	Quota  Quota
	Shared []GroupQuota
	// Bandwidth is how many bytes a second all sessions of the account may move
	// together in each direction. Zero is no limit.
	Bandwidth int64
	// Straight says that it matters where a file is, whatever Rules say.
	Straight bool
}

// FullAccess is that of an account about which nothing was said.
func FullAccess() Access { return Access{Rules: []PathRule{{Path: "/", May: MayAll}}} }

// At returns what may be done with the content at name, and, for a folder, with
// what is in it. name is absolute and clean.
func (a Access) At(name string) Permissions {
	var may Permissions
	longest := -1
	for _, r := range a.Rules {
		if len(r.Path) > longest && within(name, r.Path) {
			may, longest = r.May, len(r.Path)
		}
	}
	return may
}

// Entry returns what may be done with the name itself: it is an entry of the
// folder that it is in.
func (a Access) Entry(name string) Permissions { return a.At(path.Dir(name)) }

// Visible reports whether the folder name leads to where something may be done,
// so that it may be passed through.
func (a Access) Visible(name string) bool {
	return a.At(name) != 0 || slices.ContainsFunc(a.Rules, func(r PathRule) bool { return r.May != 0 && within(r.Path, name) })
}

// Fixed reports whether a rule hangs on name or on something below it. Such a
// name must not be moved: what it holds would come under another rule.
func (a Access) Fixed(name string) bool {
	return !a.Uniform() && slices.ContainsFunc(a.Rules, func(r PathRule) bool { return within(r.Path, name) })
}

// Uniform reports whether the same holds everywhere. Elsewhere links are neither
// made nor followed: they would give a file a second place, under another rule.
func (a Access) Uniform() bool {
	return !a.Straight && (len(a.Rules) == 0 || len(a.Rules) == 1 && a.Rules[0].Path == "/")
}

// within reports whether name is folder or below it.
func within(name, folder string) bool {
	if folder == "/" {
		return true
	}
	return strings.HasPrefix(name, folder) && (len(name) == len(folder) || name[len(folder)] == '/')
}

// allows decides an action by the rules for its paths. For Write it is enough
// that a file may be created or replaced: which of the two it is shows only when
// it is done, and is seen to by package transfer.
func (a Access) allows(act Action) bool {
	switch act.Verb {
	case Read:
		return a.At(act.Object)&MayRead != 0
	case List:
		return a.At(act.Object)&MayList != 0
	case Write:
		return a.Entry(act.Object)&(MayCreate|MayOverwrite) != 0
	case Append:
		return a.Entry(act.Object)&(MayCreate|MayAppend) != 0
	case Remove, Rmdir:
		return a.Entry(act.Object)&MayDelete != 0 && !a.Fixed(act.Object)
	case Mkdir:
		return a.Entry(act.Object)&MayMkdir != 0
	case SetAttr:
		return a.Entry(act.Object)&MaySetAttr != 0
	case Rename:
		return a.Entry(act.Object)&MayRename != 0 && !a.Fixed(act.Object) &&
			a.Entry(act.Target)&MayRename != 0 && !a.Fixed(act.Target) &&
			(a.At(act.Object)&MayRead != 0 || a.At(act.Target)&MayRead == 0) // it must not become readable by that
	case Link:
		return a.Uniform() && a.Entry(act.Target)&MayLink != 0
	case Exec:
		return false
	case Stat:
		return true // package transfer hides what may be neither listed nor read
	default:
		return true // no action on files
	}
}
