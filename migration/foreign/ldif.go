package foreign

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func ldifFormat() Format {
	return Format{
		Name: "ldif", Files: "FILE.LDIF", Short: "accounts and groups of an LDAP directory, as slapcat or ldapsearch -LLL prints them",
		Read: ofOneFile(readDirectory),
	}
}

// readDirectory reads all entries, and then who among them is an account: a group may
// stand after its members.
func readDirectory(name string, content []byte) (Found, error) {
	var found Found
	d := directory{members: make(map[string][]string), byNumber: make(map[string]string)}
	readLDIF(name, content, &found, d.add)
	d.accounts(&found)
	return found, nil
}

// entry is one record of LDIF. Names of attributes are in small letters, without options.
type entry struct {
	at         Position
	dn         string
	attributes map[string][]string
}

func (e *entry) first(name string) string {
	if values := e.attributes[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// is reports whether the entry is of one of the object classes, in small letters.
func (e *entry) is(classes ...string) bool {
	for _, c := range e.attributes["objectclass"] {
		for _, want := range classes {
			if strings.EqualFold(c, want) {
				return true
			}
		}
	}
	return false
}

// name is what somebody logs in by.
func (e *entry) name() string {
	if uid := e.first("uid"); uid != "" {
		return uid
	}
	return e.first("cn")
}

// readLDIF reads records (RFC 2849), with empty lines between them. A line that begins
// with a space goes on with the one before. What is longer than a line may be is left out:
// a picture is nothing to log in with. A record that only changes another is refused.
func readLDIF(name string, content []byte, found *Found, each func(*entry)) {
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	var e *entry
	var pending []byte
	var at Position
	number := 0
	flush := func() {
		if len(pending) > 0 && pending[0] != '#' {
			e = e.line(at, pending, found)
		}
		pending = nil
	}
	end := func() {
		flush()
		if e != nil && e.dn != "" {
			each(e)
		}
		e = nil
	}
	for raw := range bytes.Lines(content) {
		number++
		raw = bytes.TrimRight(raw, "\r\n")
		switch {
		case len(raw) == 0:
			end()
		case raw[0] == ' ' && pending != nil:
			if len(pending) <= maxLineBytes {
				pending = append(pending, raw[1:]...)
			}
		default:
			flush()
			at, pending = Position{name, number}, bytes.Clone(raw[:min(len(raw), maxLineBytes+1)])
		}
		if found.full(at) {
			return
		}
	}
	end()
}

// line adds one line to the entry, which it may begin, and returns it.
func (e *entry) line(at Position, raw []byte, found *Found) *entry {
	attribute, value, ok := bytes.Cut(raw, []byte(":"))
	key := strings.ToLower(string(attribute))
	key, _, _ = strings.Cut(key, ";") // options, such as a language
	switch {
	case e != nil && e.dn == "", len(raw) > maxLineBytes:
		return e
	case !ok:
		found.refuse(at, "", "the line is not NAME: VALUE, as in LDIF")
		return e
	case e == nil && key == "version":
		return nil
	case e == nil && key == "search": // how ldapsearch ends
		return &entry{at: at}
	case e == nil && key != "dn":
		found.refuse(at, "", "the record does not begin with dn: it is not read")
		return &entry{at: at} // without a name: nothing comes of it
	case bytes.HasPrefix(value, []byte("<")):
		found.refuse(at, "", "%s stands in another file (:<), which is not read: put it in here", clip(key))
		return e
	}
	plain, err := ldifValue(value)
	if err != nil {
		found.refuse(at, "", "%s: %v", clip(key), err)
		return e
	}
	switch {
	case e == nil:
		return &entry{at: at, dn: plain, attributes: make(map[string][]string)}
	case key == "changetype" && !strings.EqualFold(plain, "add"):
		found.refuse(at, "", "the record changes another (changetype: %s): export the directory as it is, with slapcat", clip(plain))
		e.dn = ""
	default:
		e.attributes[key] = append(e.attributes[key], plain)
	}
	return e
}

// ldifValue reads what follows the colon: a second colon says that it is in base64.
func ldifValue(raw []byte) (string, error) {
	encoded, is64 := bytes.CutPrefix(raw, []byte(":"))
	if !is64 {
		return text(bytes.TrimLeft(raw, " ")), nil
	}
	value, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(encoded)))
	if err != nil {
		return "", errors.New("what follows :: is not base64")
	}
	return text(value), nil
}

// directory is the entries that matter here.
type directory struct {
	people []*entry
	// members are the groups by what they call their members: the DN in small letters, or
	// the uid after a NUL.
	members  map[string][]string
	byNumber map[string]string // gidNumber to name
}

func (d *directory) add(e *entry) {
	switch {
	case e.is("posixgroup", "groupofnames", "groupofuniquenames", "group"):
		group := e.first("cn")
		if group == "" {
			return
		}
		if n := e.first("gidnumber"); n != "" {
			d.byNumber[n] = group
		}
		for _, uid := range e.attributes["memberuid"] {
			d.members["\x00"+uid] = append(d.members["\x00"+uid], group)
		}
		for _, attribute := range []string{"member", "uniquemember"} {
			for _, dn := range e.attributes[attribute] {
				key := foldDN(dn)
				d.members[key] = append(d.members[key], group)
			}
		}
	case len(e.attributes["userpassword"]) > 0,
		e.is("posixaccount", "shadowaccount", "person", "organizationalperson", "inetorgperson", "account", "user", "ldappublickey"):
		d.people = append(d.people, e)
	}
}

// foldDN makes DNs alike that differ by case and by spaces around commas.
func foldDN(dn string) string {
	parts := strings.Split(strings.ToLower(dn), ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return strings.Join(parts, ",")
}

// accounts adds everybody who can log in.
func (d *directory) accounts(found *Found) {
	var cards []string
	for _, e := range d.people {
		if found.full(e.at) {
			return
		}
		name := e.name()
		bare := len(e.attributes["userpassword"])+len(e.attributes["sshpublickey"]) == 0
		switch {
		case name == "":
			found.refuse(e.at, "", "%s has neither uid nor cn: it has no name to log in by", clip(e.dn))
			continue
		case bare && !e.is("posixaccount", "shadowaccount", "account"):
			cards = append(cards, clip(name))
			continue
		case e.is("organizationalrole"):
			found.refuse(e.at, clip(name), "it is who runs the directory (organizationalRole), not a person: if it shall transfer files, add it by hand (gateway user add)")
			continue
		case bare:
			found.refuse(e.at, clip(name), "it has no userPassword and no sshPublicKey: %s", ldifExport)
			continue
		}
		a := Account{Name: name, At: e.at, Home: e.first("homedirectory"), Addresses: e.attributes["mail"], Keys: e.attributes["sshpublickey"], Groups: d.groups(e)}
		if err := a.ldapLogin(e); err != nil {
			found.refuse(e.at, clip(name), "%v", err)
			continue
		}
		found.add(a)
	}
	if n := len(cards); n > 0 {
		found.note("left out are people without a password and a key (%d, such as %s); if they have one: %s", n, cards[0], ldifExport)
	}
	d.notTaken(found)
}

const ldifExport = "export as root with slapcat, since ldapsearch shows passwords to the rootdn only; Active Directory shows them to nobody"

// notTaken names the attributes of people of which nothing comes.
func (d *directory) notTaken(found *Found) {
	taken := strings.Fields(`objectclass uid cn userpassword sshpublickey homedirectory mail uidnumber gidnumber loginshell shadowexpire shadowmax
		memberof ou pwdaccountlockedtime structuralobjectclass entryuuid creatorsname createtimestamp entrycsn modifiersname modifytimestamp entrydn subschemasubentry hassubordinates`)
	var names []string
	for _, e := range d.people {
		for name := range e.attributes {
			if !slices.Contains(taken, name) && !slices.Contains(names, clip(name)) && len(names) < maxNotTaken {
				names = append(names, clip(name))
			}
		}
	}
	if names = sortedSet(names); len(names) > 0 {
		found.note("attributes of which nothing is taken: %s", strings.Join(names, " "))
	}
}

// maxNotTaken is how many attributes are named.
const maxNotTaken = 100

// groups are those that name the entry, and those that it names.
func (d *directory) groups(e *entry) []string {
	var all []string
	for _, uid := range e.attributes["uid"] {
		all = append(all, d.members["\x00"+uid]...)
	}
	all = append(all, d.members[foldDN(e.dn)]...)
	if own := d.byNumber[e.first("gidnumber")]; own != "" {
		all = append(all, own)
	}
	for _, dn := range e.attributes["memberof"] {
		rdn, _, _ := strings.Cut(dn, ",")
		if _, value, ok := strings.Cut(rdn, "="); ok {
			all = append(all, strings.TrimSpace(value))
		}
	}
	all = append(all, e.attributes["ou"]...)
	return sortedSet(all)
}

// ldapLogin reads how and how long the account may log in.
func (a *Account) ldapLogin(e *entry) error {
	if number := e.first("uidnumber"); number != "" {
		if err := uidNotRoot(number, "number"); err != nil {
			return err
		}
	}
	shell := e.first("loginshell")
	a.Disabled = strings.HasSuffix(shell, "/nologin") || strings.HasSuffix(shell, "/false") || e.first("pwdaccountlockedtime") != ""
	if days, err := strconv.ParseInt(e.first("shadowexpire"), 10, 32); err == nil && days >= 0 {
		a.Expires = time.Unix(days*24*60*60, 0).UTC()
	}
	if days, err := strconv.ParseInt(e.first("shadowmax"), 10, 32); err == nil && days > 0 && days < 9999 {
		a.lose(`the age of its password, at most %d days: a rule says that for all, require "..." { password_age = "less than %dd" }`, days, days)
	}
	return a.ldapPassword(e.attributes["userpassword"])
}

// ldapPassword takes the first value that can be verified. Any of them may be right in
// LDAP (RFC 4519, section 2.41), so the others are named. What is in no braces is the
// password itself.
func (a *Account) ldapPassword(values []string) error {
	if len(values) == 0 {
		a.lose("no password: it had none; it comes in by its key")
		return nil
	}
	taken := false
	var reason error // why the last one that cannot be taken is not
	for _, value := range values {
		scheme, data, labelled := cutLabel(value)
		bare := strings.TrimLeft(data, "!")
		switch {
		case taken:
			a.lose("another password, of %s: an account has one", ldapScheme(scheme, labelled))
		case data == "":
			reason = errors.New(emptyPassword)
		case labelled && (scheme == "SASL" || scheme == "KERBEROS"):
			reason = fmt.Errorf("its password {%s} is kept by another server: import it from there, or give it a new one", scheme)
		case labelled && scheme == "CRYPT" && noPassword(data):
			reason = errors.New("it has no password that could be used: give it one")
		case labelled && scheme == "CRYPT" && bare != data: // locked
			a.Disabled, taken = true, a.setPassword("{CRYPT}"+bare)
		case labelled:
			taken = a.setPassword(value)
		default:
			taken = a.setPassword("{CLEARTEXT}" + value)
		}
	}
	switch {
	case !taken:
		return reason
	case reason != nil:
		a.lose("another of its passwords: %v", reason)
	}
	return nil
}

func ldapScheme(scheme string, labelled bool) string {
	if !labelled {
		return "plain text"
	}
	return "the scheme {" + clip(scheme) + "}"
}
