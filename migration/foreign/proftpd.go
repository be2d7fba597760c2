package foreign

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"gateway/session"
)

func proFTPDFormat() Format {
	return Format{
		Name: "proftpd", Files: "[PROFTPD.CONF] [FILE]...", Short: "proftpd.conf, its AuthUserFile and AuthGroupFile, or users of mod_sql as CSV or SQLite",
		Read: func(files Files, names []string) (Found, error) {
			if err := someFiles(names, 1, 8); err != nil {
				return Found{}, err
			}
			p := proFTPD{files: files}
			if err := p.open(names); err != nil {
				return Found{}, err
			}
			p.accounts()
			return p.found, nil
		},
	}
}

// proFTPD is a source that is being read.
type proFTPD struct {
	files Files
	conf  []directive
	found Found
	users unixUsers
	rows  []sqlRow

	databases []database
	sqlGroup  map[string]string   // names of groups of mod_sql, by number
	sqlMember map[string][]string // and by the names of members
}

// open reads the files that are given, and those that the configuration names.
func (p *proFTPD) open(names []string) error {
	given := make(map[string]bool)
	for _, name := range names {
		content, err := p.files.Read(name)
		if err == nil {
			given[name] = true
			err = p.file(name, content)
		}
		if err != nil {
			return err
		}
	}
	for _, d := range p.conf {
		if !d.is("AuthUserFile") && !d.is("AuthGroupFile") || len(d.args) == 0 || given[d.args[0]] {
			continue
		}
		if p.users.entries != nil && d.is("AuthUserFile") || p.users.groups != nil && d.is("AuthGroupFile") {
			continue // another copy was given
		}
		content, err := p.files.Read(d.args[0])
		if err == nil {
			given[d.args[0]] = true
			err = p.users.read(d.args[0], content, &p.found)
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w", d.at, d.name, err)
		}
	}
	if err := p.readDatabases(); err != nil {
		return err
	}
	if p.users.entries == nil && p.rows == nil {
		return fmt.Errorf("no users: give the AuthUserFile (made by ftpasswd), or users of mod_sql: its SQLite file, or CSV with the columns userid,passwd,uid,gid,homedir; those of the system are imported by: gateway import passwd")
	}
	return nil
}

// file takes in one file, told by what is in it.
func (p *proFTPD) file(name string, content []byte) error {
	if isDatabase(content) {
		p.databases = append(p.databases, database{name, content})
		return nil
	}
	first := ""
	for l := range lines(name, content, new(Found)) {
		if first = l.Text; !strings.HasPrefix(strings.TrimSpace(first), "#") {
			break
		}
	}
	switch n := strings.Count(first, ":") + 1; {
	case isSQLHeader(first):
		rows, err := readSQLRows(name, content, &p.found)
		p.rows = append(p.rows, rows...)
		return err
	case n == passwdFields, n == groupFields:
		return p.users.read(name, content, &p.found)
	default:
		conf, err := readDirectives(p.files, name, content, &p.found)
		p.conf = append(p.conf, conf...)
		return err
	}
}

// accounts adds the users of both kinds, and what the configuration says of all.
func (p *proFTPD) accounts() {
	var found Found
	p.authUsers(&found)
	p.sqlUsers(&found)
	p.found.Refused = append(p.found.Refused, found.Refused...)
	p.found.Notes = append(p.found.Notes, found.Notes...)
	for _, a := range found.Accounts {
		p.adjust(&a)
		p.found.add(a)
	}
	p.remarks()
}

// authUsers adds those of the AuthUserFile, of whatever number: numbers below 1000 mean
// nothing there.
func (p *proFTPD) authUsers(found *Found) {
	for _, e := range p.users.entries {
		switch bad := uidNotRoot(e.uid, "number"); {
		case bad != nil:
			found.refuse(e.at, e.name, "%v", bad)
		case e.password == "":
			found.refuse(e.at, e.name, "it has an empty password, so that everybody could come in: give it one")
		case e.password == "x":
			found.refuse(e.at, e.name, "its password is kept elsewhere: for users of the system use gateway import passwd")
		default:
			found.add(p.users.account(e, e.password, e.at))
		}
	}
}

// adjust applies the directives that are about everybody.
func (p *proFTPD) adjust(a *Account) {
	for _, d := range p.conf {
		switch {
		case d.is("TransferRate") && d.section == "" && len(d.args) >= 2:
			// TransferRate cmds kilobytes-per-second[:free-bytes] [user|group|class expression]
			rate, _, _ := strings.Cut(d.args[1], ":")
			if k, err := strconv.ParseFloat(rate, 64); err == nil && k > 0 && k < 1<<30 && p.about(a, d.args[2:]) {
				if n := int64(k * 1024); a.Bandwidth == 0 || n < a.Bandwidth {
					a.Bandwidth = n
				}
			}
		case d.is("DefaultChdir") && len(d.args) > 0 && strings.HasPrefix(d.args[0], "/"):
			a.lose("it began in %s (DefaultChdir): here it begins in its folder", clip(d.args[0]))
		}
	}
	root, jailed := p.root(a)
	switch {
	case root == "" || !jailed:
	case strings.HasPrefix(root, "~"):
		a.Home = path.Join(a.Home, root[1:])
	default:
		a.Home = strings.ReplaceAll(root, "%u", a.Name)
	}
}

// root is the first DefaultRoot that holds for the account.
func (p *proFTPD) root(a *Account) (root string, found bool) {
	for _, d := range p.conf {
		if !d.is("DefaultRoot") || len(d.args) == 0 {
			continue
		}
		in := true
		for _, group := range d.args[1:] {
			for one := range strings.SplitSeq(group, ",") {
				bare, not := strings.CutPrefix(one, "!")
				in = in && slices.Contains(a.Groups, bare) != not
			}
		}
		if in {
			return d.args[0], true
		}
	}
	return "", false
}

// about reports whether what follows a directive ("user joe", "group a,b") means the account.
func (p *proFTPD) about(a *Account, words []string) bool {
	if len(words) < 2 {
		return len(words) == 0
	}
	for one := range strings.SplitSeq(words[1], ",") {
		bare, not := strings.CutPrefix(one, "!")
		switch words[0] {
		case "user":
			if (bare == a.Name) == not {
				return false
			}
		case "group":
			if slices.Contains(a.Groups, bare) == not {
				return false
			}
		default: // classes are networks
			return false
		}
	}
	return true
}

// remarks are about what is said for the whole server.
func (p *proFTPD) remarks() {
	jailed := false
	for _, d := range p.conf {
		arg := ""
		if len(d.args) > 0 {
			arg = d.args[0]
		}
		switch {
		case d.is("DefaultRoot"):
			jailed = true
		case d.is("PassivePorts") && len(d.args) == 2:
			p.found.note("passive ports, which firewalls may know: ftp { passive_ports = %q } in gateway.hcl", d.args[0]+"-"+d.args[1])
		case d.is("MasqueradeAddress"):
			p.found.note("the address told to clients behind NAT was %s: public_address of the listener in gateway.hcl", clip(arg))
		case d.is("Port") && arg != "21" && arg != "0":
			p.found.note("it listened on port %s: address of the listener in gateway.hcl", clip(arg))
		case d.is("TLSRequired") && (strings.EqualFold(arg, "on") || strings.HasPrefix(arg, "auth")):
			p.found.note("logins were over TLS only: the policy of 'gateway init' demands that too")
		case d.is("Anonymous") || d.is("UserAlias"):
			p.found.note("%s: %s %s: there is nothing like it here; make an account for who needs one", d.at, d.name, clip(arg))
		case d.is("SQLUserWhereClause") && p.databases != nil:
			p.found.note("%s: SQLUserWhereClause is not asked: all rows of the table are taken", d.at)
		case d.is("QuotaEngine") && strings.EqualFold(arg, "on"):
			p.found.note("%s: quotas of mod_quotatab are in tables of their own, which are not read: gateway user set NAME --quota-bytes SIZE", d.at)
		case d.is("AllowUser"), d.is("DenyUser"), d.is("AllowGroup"), d.is("DenyGroup"), d.is("Allow"), d.is("Deny"), d.is("DenyAll"), d.is("AllowAll"):
			p.found.note("%s: %s in <%s>: who may do what is said by the policy and by permissions here; look whether somebody may do more than before",
				d.at, clip(strings.Join(append([]string{d.name}, d.args...), " ")), clip(d.section))
		}
	}
	if !jailed && p.conf != nil && len(p.found.Accounts) > 0 {
		p.found.note("accounts could leave their folders (no DefaultRoot): here nobody does; who needs another folder gets it as home")
	}
}

// sqlUsers adds those of mod_sql.
func (p *proFTPD) sqlUsers(found *Found) {
	if len(p.rows) == 0 {
		return
	}
	types, reason, salted := p.sqlAuthTypes()
	if reason != "" {
		found.note("passwords of mod_sql are not taken: %s", reason)
		if !salted {
			return
		}
	}
	for _, r := range p.rows {
		switch {
		case r.uid != "" && uidNotRoot(r.uid, "number") != nil:
			found.refuse(r.at, r.name, "%v", uidNotRoot(r.uid, "number"))
		case r.password == "":
			found.refuse(r.at, r.name, "it has an empty password, so that everybody could come in: give it one")
		default:
			a := Account{Name: r.name, At: r.at, Home: r.home, Groups: p.groupsOf(r)}
			if salted {
				a.Hash = saltedSQL
			} else if err := a.setSQLPassword(r.password, types); err != nil {
				found.refuse(r.at, r.name, "%v", err)
				continue
			}
			found.add(a)
		}
	}
}

// saltedSQL stands for hashes that lack what was put into them, and so for nothing that can
// be verified.
const saltedSQL = "{PROFTPD-SALTED}"

// sqlAuthTypes are the words of SQLAuthTypes, in small letters, with the encoding of
// mod_sql_passwd at the end; or why hashes cannot be read, and whether that is for a salt.
func (p *proFTPD) sqlAuthTypes() (types []string, reason string, salted bool) {
	encoding := "base64"
	for _, d := range p.conf {
		switch {
		case d.is("SQLAuthTypes"):
			types = nil
			for _, t := range d.args {
				types = append(types, strings.ToLower(t))
			}
		case d.is("SQLPasswordEncoding") && len(d.args) > 0:
			encoding = strings.ToLower(d.args[0])
		case d.is("SQLPasswordUserSalt"), d.is("SQLPasswordSaltFile"), d.is("SQLPasswordRounds"), d.is("SQLPasswordOptions"):
			return nil, fmt.Sprintf("%s: %s puts something into the hashes that is not in them; with --ask, these users keep their passwords by an old_server that is asked", d.at, d.name), true
		}
	}
	if types == nil {
		return nil, "how passwords are stored is said by SQLAuthTypes in proftpd.conf: give that file too", false
	}
	if slices.Contains(types, "empty") {
		return nil, "SQLAuthTypes has Empty, by which any password is right for some: take it out, and give those users a password", false
	}
	return append(types, encoding), "", false
}

// setSQLPassword tells which of the types a password is stored in by its form.
func (a *Account) setSQLPassword(stored string, types []string) error {
	encoding, types := types[len(types)-1], types[:len(types)-1]
	has := func(t string) bool { return slices.Contains(types, t) }
	switch {
	case has("openssl") && strings.HasPrefix(stored, "{"):
		a.Hash = stored
		return nil
	case has("backend") && len(stored) == 41 && stored[0] == '*' && isHex(stored[1:], 40):
		a.Hash = "{MYSQL41}" + stored
		return nil
	case has("crypt") && (strings.HasPrefix(stored, "$") || len(stored) == 13),
		has("bcrypt") && strings.HasPrefix(stored, "$2"), has("argon2") && strings.HasPrefix(stored, "$argon2"):
		a.Hash = stored
		return nil
	}
	for _, t := range types {
		switch t {
		case "md5", "sha1", "sha256", "sha512":
			name := map[string]string{"md5": "PLAIN-MD5", "sha1": "SHA", "sha256": "SHA256", "sha512": "SHA512"}[t]
			switch {
			case t == "md5" && encoding == "hex":
				a.Hash = "{PLAIN-MD5}" + strings.ToLower(stored)
			case encoding == "hex":
				a.Hash = "{" + name + ".HEX}" + strings.ToLower(stored)
			case encoding == "base64" && t == "md5":
				a.Hash = "{LDAP-MD5}" + stored
			case encoding == "base64":
				a.Hash = "{" + name + "}" + stored
			default:
				return fmt.Errorf("SQLPasswordEncoding %s is not known", clip(encoding))
			}
			return nil
		case "plaintext":
			a.Plain = session.NewSecret(stored)
			return nil
		}
	}
	return fmt.Errorf("its password is stored in none of the SQLAuthTypes (%s) that can be read", strings.Join(types, " "))
}
