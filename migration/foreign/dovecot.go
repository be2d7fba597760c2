package foreign

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

func dovecotFormat() Format {
	return Format{
		Name: "dovecot", Files: "PASSWD-FILE", Short: "a passwd-file of Dovecot",
		Read: ofOneFile(readDovecot),
	}
}

// readDovecot reads a passwd-file, in which a # begins a comment.
func readDovecot(name string, content []byte) (Found, error) {
	var found Found
	for l := range lines(name, content, &found) {
		if !strings.HasPrefix(l.Text, "#") {
			dovecotLine(l, &found)
		}
	}
	return found, nil
}

// dovecotFields is how many fields a line has. Those at the end may be missing, and the
// last may have colons in it.
const dovecotFields = 8

// dovecotLine reads user:password:uid:gid:gecos:home:shell:extra_fields.
func dovecotLine(l line, found *Found) {
	f := strings.SplitN(l.Text, ":", dovecotFields)
	if f[0] == "" {
		found.refuse(l.At, "", "there is no name before the colon")
		return
	}
	f = append(f, make([]string, dovecotFields-len(f))...)
	a := Account{Name: f[0], At: l.At}
	if err := firstError(dovecotUID(f[2]), a.dovecotPassword(f[1]), a.dovecotExtra(f[7])); err != nil {
		found.refuse(l.At, clip(a.Name), "%v", err)
		return
	}
	if strings.Contains(a.Name, "@") {
		a.Addresses = []string{a.Name} // that of its mailbox
	}
	var rooted bool
	if a.Home, _, rooted = strings.Cut(f[5], "/./"); !rooted {
		a.Home = f[5]
	}
	if strings.Contains(a.Home, "%") {
		a.lose("its folder %s, which has variables of dovecot.conf in it", clip(a.Home))
		a.Home = ""
	}
	found.add(a)
}

// dovecotUID refuses root. Dovecot takes names too, and none at all.
func dovecotUID(text string) error {
	if text == "root" {
		return errors.New("its user is root, which does not come in from outside")
	}
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return nil
	}
	return uidNotRoot(text, "number")
}

// dovecotPassword reads the password, of which the scheme is CRYPT if it has none.
func (a *Account) dovecotPassword(stored string) error {
	switch scheme, data, labelled := cutLabel(stored); {
	case stored == "":
		return errors.New(emptyPassword)
	case !labelled && noPassword(stored):
		return errors.New("it has no password: give it one")
	case !labelled && !strings.HasPrefix(stored, "$"):
		stored = "{CRYPT}" + stored
	case scheme == "DIGEST-MD5" && isHex(data, 32):
		// The name and what follows its @ are in the hash.
		user, realm, _ := strings.Cut(a.Name, "@")
		stored = "{DIGEST-MD5}" + user + ":" + realm + ":" + data
	}
	if !a.setPassword(stored) {
		return errors.New(emptyPassword)
	}
	return nil
}

// dovecotExtra reads the extra fields, which have spaces between them, as they are for
// logins (nologin) and, with userdb_ before them, for mailboxes.
func (a *Account) dovecotExtra(text string) error {
	for field := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(field, "=")
		switch name = strings.ToLower(strings.TrimPrefix(name, "userdb_")); {
		case name == "nopassword":
			return errors.New("its extra field nopassword lets everybody in: take it out, and give it a password")
		case name == "nologin":
			a.Disabled = true
		case name == "allow_nets":
			if err := a.dovecotNets(value); err != nil {
				return err
			}
		case name == "quota_rule", name == "quota_storage_size":
			if err := a.dovecotQuota(name, value); err != nil {
				return err
			}
		case name == "nodelay", name == "reason", name == "mail", name == "uid", name == "gid", name == "home":
			// About how Dovecot answers, and where it keeps mail.
		default:
			a.lose("extra field %s: there is nothing like it here", clip(field))
		}
	}
	return nil
}

// dovecotNets reads networks with commas between them; "local" are connections that do
// not come by a network.
func (a *Account) dovecotNets(value string) error {
	list := strings.Split(value, ",")
	kept := list[:0]
	for _, net := range list {
		if net == "local" {
			a.lose("allow_nets=local: nobody comes in here but by a network")
			continue
		}
		kept = append(kept, net)
	}
	from, err := networks(kept)
	if err != nil {
		return err
	}
	if len(from) == 0 {
		return fmt.Errorf("allow_nets=%s has no network from which it may come: put one there, or take it out", clip(value))
	}
	a.From = append(a.From, from...)
	return nil
}

// dovecotQuota reads "*:storage=1G:messages=1000", or "1G" (Dovecot 2.4).
func (a *Account) dovecotQuota(name, value string) error {
	if name == "quota_storage_size" {
		value = "*:storage=" + value
	}
	mailbox, limits, _ := strings.Cut(value, ":")
	if mailbox != "*" {
		a.lose("the quota %s of some mailboxes: there is one for all", clip(value))
		return nil
	}
	for limit := range strings.SplitSeq(limits, ":") {
		switch what, size, _ := strings.Cut(limit, "="); what {
		case "storage", "bytes":
			n, err := dovecotSize(size, what == "storage")
			if err != nil {
				return err
			}
			a.Quota.Bytes = n
		default:
			a.lose("the quota %s: only bytes and files are counted", clip(limit))
		}
	}
	return nil
}

// dovecotSize reads a size with a unit, or one of bytes or KiB.
func dovecotSize(text string, kib bool) (int64, error) {
	digits := strings.TrimRight(text, "bBkKmMgGtT")
	unit := strings.ToLower(text[len(digits):])
	if unit != "b" {
		unit = strings.TrimSuffix(unit, "b")
	}
	shift, known := map[string]int{"b": 0, "k": 10, "m": 20, "g": 30, "t": 40}[unit]
	switch {
	case unit == "" && kib:
		shift, known = 10, true
	case unit == "":
		known = true
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || !known || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("its quota %q is no size such as 500M", clip(text))
	}
	return n << shift, nil
}
