package foreign

import (
	"path"
	"path/filepath"
	"strings"
)

func authorizedKeysFormat() Format {
	return Format{
		Name: "authorized_keys", Files: "FILE...", Short: "SSH keys: /home/*/.ssh/authorized_keys, or files NAME or NAME.pub",
		Read: func(files Files, names []string) (Found, error) {
			var found Found
			for _, name := range names {
				content, err := files.Read(name)
				if err != nil {
					found.refuse(Position{File: name}, ownerOfKeys(name), "%v", err)
					continue
				}
				readKeys(name, content, &found)
			}
			return found, nil
		},
	}
}

// maxKeys is of one account, far above what the gateway takes.
const maxKeys = 1000

// readKeys makes an account of a file. What is wrong with a key is seen later.
func readKeys(name string, content []byte, found *Found) {
	a := Account{Name: ownerOfKeys(name), At: Position{File: name}}
	for l := range lines(name, content, found) {
		text := strings.TrimSpace(l.Text)
		switch {
		case text == "" || text[0] == '#':
		case len(a.Keys) >= maxKeys:
			found.refuse(l.At, a.Name, "it has more than %d keys", maxKeys)
			return
		default:
			a.Keys = append(a.Keys, text)
		}
	}
	switch {
	case a.Name == "":
		found.refuse(a.At, "", "whose keys they are is not in the name of the file: want .../NAME/.ssh/authorized_keys, NAME or NAME.pub")
	case len(a.Keys) == 0:
		found.refuse(a.At, a.Name, "there is no key in the file")
	default:
		found.add(a)
	}
}

// ownerOfKeys is whose keys a file has by its name: the folder that .ssh is in, or else the
// name of the file without its ending.
func ownerOfKeys(name string) string {
	name = path.Clean(filepath.ToSlash(name))
	base := path.Base(name)
	switch {
	case strings.HasPrefix(base, "authorized_keys"):
		folder := path.Dir(name)
		if path.Base(folder) == ".ssh" {
			folder = path.Dir(folder)
		}
		if base = path.Base(folder); base == "." || base == "/" {
			return ""
		}
		return base
	default:
		return strings.TrimSuffix(strings.TrimSuffix(base, ".pub"), ".keys")
	}
}
