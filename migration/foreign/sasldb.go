package foreign

import (
	"strings"

	"gateway/session"
)

func sasldbFormat() Format {
	return Format{
		Name: "sasldb", Files: "DUMP.TXT", Short: "the text that db5.3_dump -p prints of /etc/sasldb2 (Cyrus SASL)",
		Read: ofOneFile(readSASLDB),
	}
}

// readSASLDB reads a dump of the database.
func readSASLDB(name string, content []byte) (Found, error) {
	var found Found
	pairs, err := readDump(name, content, &found)
	if err != nil {
		return Found{}, err
	}
	sasldbPairs(pairs, &found)
	return found, nil
}

// sasldbUser is all entries of one user of a realm.
type sasldbUser struct {
	at          Position
	name, realm string
	found       bool // a password
	password    string
	others      []string // properties
}

// sasldbPairs reads entries whose key is "user NUL realm NUL property". The property
// userPassword is the password itself; others are secrets made of it for one mechanism.
func sasldbPairs(pairs []pair, found *Found) {
	users, realms := sasldbUsers(pairs, found)
	for _, u := range users {
		if found.full(u.at) {
			return
		}
		a := Account{Name: u.name, At: u.at, Plain: session.NewSecret(u.password)}
		if len(realms) > 1 && u.realm != "" {
			a.Name += "@" + u.realm
		}
		switch {
		case !u.found:
			found.refuse(u.at, clip(a.Name), "it has only %s, made for one mechanism, and no password: set it again with saslpasswd2, and dump again", clip(strings.Join(u.others, ", ")))
			continue
		case u.password == "":
			found.refuse(u.at, clip(a.Name), "%s", emptyPassword)
			continue
		case len(u.others) > 0:
			a.lose("%s: secrets made for one mechanism; they are made again from the password", clip(strings.Join(u.others, ", ")))
		}
		found.add(a)
	}
	if len(realms) == 1 && len(found.Accounts) > 0 {
		for realm := range realms {
			found.note("all accounts are of the realm %s, which is left out of their names: with --map USER=USER@%s it is kept", clip(realm), clip(realm))
		}
	}
	if len(found.Accounts) > 0 {
		found.note("the file has passwords in clear: when all is moved, shred it and every copy, this dump too (shred -u FILE)")
	}
}

func sasldbUsers(pairs []pair, found *Found) (users []*sasldbUser, realms map[string]bool) {
	realms = make(map[string]bool)
	type key struct{ name, realm string }
	known := make(map[key]*sasldbUser)
	for _, p := range pairs {
		if found.full(p.At) {
			return nil, nil
		}
		f := strings.Split(p.Key, "\x00")
		if len(f) != 3 || f[0] == "" {
			found.refuse(p.At, "", "the key is not user, realm and property: is it a dump of another database?")
			continue
		}
		realms[f[1]] = true
		u := known[key{f[0], f[1]}]
		if u == nil {
			u = &sasldbUser{at: p.At, name: text([]byte(f[0])), realm: text([]byte(f[1]))}
			known[key{f[0], f[1]}] = u
			users = append(users, u)
		}
		if f[2] == "userPassword" {
			u.found, u.password, u.at = true, strings.TrimSuffix(p.Value, "\x00"), p.At
		} else {
			u.others = append(u.others, f[2])
		}
	}
	return users, realms
}
