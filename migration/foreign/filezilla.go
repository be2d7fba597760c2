package foreign

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gateway/session"
)

func fileZillaFormat() Format {
	return Format{
		Name: "filezilla", Files: "USERS.XML", Short: `users of FileZilla Server: users.xml of 1.x, "FileZilla Server.xml" of 0.9`,
		Read: ofOneFile(readFileZilla),
	}
}

// readFileZilla tells the two kinds by the element that all is in.
func readFileZilla(name string, content []byte) (Found, error) {
	z := fileZilla{groups: make(map[string]*element)}
	root := ""
	// Groups may stand after users, so they are read before.
	err := readXML(name, content, func(path []string) bool {
		root = path[0]
		return slices.Equal(path, []string{"FileZillaServer", "Groups", "Group"}) && len(z.groups) < maxFileZillaGroups
	}, func(e *element) bool {
		z.groups[e.attributes["Name"]] = e
		return true
	})
	if err != nil {
		return Found{}, err
	}
	users, add := []string{"FileZillaServer", "Users", "User"}, z.oldUser
	switch root {
	case "FileZillaServer":
	case "filezilla":
		users, add = []string{"filezilla", "user"}, z.newUser
	default:
		return Found{}, fmt.Errorf("%s is of no FileZilla Server: want users.xml (1.x) or \"FileZilla Server.xml\" (0.9), and not <%s>", name, clip(root))
	}
	err = readXML(name, content, func(path []string) bool { return slices.Equal(path, users) }, func(e *element) bool {
		add(e)
		return !z.found.full(e.at)
	})
	if err != nil {
		return Found{}, err
	}
	if z.forced > 0 {
		z.found.note("%d accounts had to use TLS (ForceSsl): the rules of gateway init demand that of all", z.forced)
	}
	if z.grouped {
		z.found.note("what groups say of folders, limits and addresses (groups.xml) is not read: gateway group set")
	}
	return z.found, nil
}

const maxFileZillaGroups = 1000

// fileZilla is a source that is being read.
type fileZilla struct {
	groups  map[string]*element // of 0.9, by name
	found   Found
	forced  int  // accounts that had to use TLS
	grouped bool // there are groups of 1.x
}

// fileZillaFolder is a folder as clients saw it, where it is, and what they could do there.
type fileZillaFolder struct {
	seen, native string
	may          session.Permissions
}

// setFolders makes a home of the folder that was seen as "/", and rules of what may be done
// in it and in those that are below it on the disk too. Others cannot be had.
func (a *Account) setFolders(folders []fileZillaFolder) {
	i := slices.IndexFunc(folders, func(f fileZillaFolder) bool { return f.seen == "/" })
	if i < 0 {
		a.lose("its folders: none of them was its root")
		return
	}
	root := folders[i]
	a.Home = root.native
	rules := map[string]session.Permissions{"/": root.may}
	for j, f := range folders {
		if j == i {
			continue
		}
		if native, below := fileZillaBelow(root.native, f.native); !below || f.seen != "" && f.seen != native {
			a.lose("folder %s, seen as %s: move it into its folder", clip(f.native), clip(f.seen))
		} else {
			rules[native] = f.may
		}
	}
	if len(rules) == 1 && root.may == session.MayAll {
		return
	}
	for _, p := range sortedKeys(rules) {
		a.Permissions = append(a.Permissions, session.PathRule{Path: p, May: rules[p]})
	}
}

// fileZillaBelow is the path of a folder as it is seen from another, in which it lies.
func fileZillaBelow(root, folder string) (string, bool) {
	root = strings.TrimRight(strings.ReplaceAll(root, `\`, "/"), "/") + "/"
	folder = strings.TrimRight(strings.ReplaceAll(folder, `\`, "/"), "/")
	if len(folder) <= len(root) || !strings.EqualFold(folder[:len(root)], root) {
		return "", false
	}
	return cleanPath(folder[len(root):]), true
}

// setFilters reads addresses from which the account may not come, and those that may all
// the same. "*" is everywhere.
func (a *Account) setFilters(disallowed, allowed []string) error {
	all := slices.Contains(disallowed, "*")
	from, err := networks(slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "*" }))
	if err != nil {
		return err
	}
	not, err := networks(slices.DeleteFunc(slices.Clone(disallowed), func(s string) bool { return s == "*" }))
	if err != nil {
		return err
	}
	all = all || slices.ContainsFunc(not, func(p netip.Prefix) bool { return p.Bits() == 0 })
	switch {
	case slices.Contains(allowed, "*"):
		return nil
	case all && len(from) == 0:
		return fmt.Errorf("it may come from nowhere: all addresses are disallowed, and none is allowed")
	case all:
		a.From = from
		return nil
	}
	a.NotFrom = not
	for _, p := range from {
		if slices.ContainsFunc(not, p.Overlaps) {
			a.lose("that it may come from %v, which is in what is disallowed: now it may not", p)
		}
	}
	return nil
}

// setFileZillaHash reads a digest of the password, with the salt behind the password.
func (a *Account) setFileZillaHash(digest, salt string) error {
	switch {
	case digest == "":
		return fmt.Errorf("%s", emptyPassword)
	case salt == "" && isHex(digest, 32):
		a.Hash = "{PLAIN-MD5}" + digest
	case salt != "" && isHex(digest, 128):
		a.Hash = "{FILEZILLA-SHA512}" + digest + ":" + salt
	default:
		return fmt.Errorf("its password is neither MD5 nor SHA-512 with a salt, in hexadecimal: set it again in FileZilla Server")
	}
	return nil
}
