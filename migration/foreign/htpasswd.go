package foreign

import "strings"

func htpasswdFormat() Format {
	return Format{
		Name: "htpasswd", Files: "FILE", Short: "a password file of Apache or nginx (htpasswd, htdigest)",
		Read: ofOneFile(readHtpasswd),
	}
}

// readHtpasswd reads a file in which a # begins a comment.
func readHtpasswd(name string, content []byte) (Found, error) {
	var found Found
	for l := range lines(name, content, &found) {
		if !strings.HasPrefix(strings.TrimSpace(l.Text), "#") {
			htpasswdLine(l, &found)
		}
	}
	return found, nil
}

// htpasswdLine reads NAME:HASH, which nginx lets a comment follow, after another colon; or
// NAME:REALM:HASH of htdigest.
func htpasswdLine(l line, found *Found) {
	f := strings.Split(l.Text, ":")
	switch {
	case len(f) < 2:
		found.refuse(l.At, "", "the line has no colon: want NAME:HASH")
	case f[0] == "":
		found.refuse(l.At, "", "there is no name before the colon")
	case f[1] == "":
		found.refuse(l.At, f[0], "it has an empty password, so that everybody could come in: give it one")
	case len(f) == 3 && isHex(f[2], 32):
		found.add(Account{Name: f[0], At: l.At, Hash: "{DIGEST-MD5}" + l.Text})
	default:
		found.add(Account{Name: f[0], At: l.At, Hash: f[1]})
	}
}

// isHex reports whether s is so many hexadecimal digits.
func isHex(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}
