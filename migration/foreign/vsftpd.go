package foreign

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"gateway/session"
)

func vsftpdFormat() Format {
	return Format{
		Name: "vsftpd", Files: "VSFTPD.CONF [FILE]...", Short: "vsftpd.conf, with the files of its users: passwd shadow group, a dump of pam_userdb, a pam_pwdfile",
		Read: func(files Files, names []string) (Found, error) {
			if len(names) == 0 {
				return Found{}, someFiles(names, 2, 8)
			}
			v := vsftpd{files: files, pwdfile: make(map[string]line)}
			if err := v.open(names); err != nil {
				return Found{}, err
			}
			v.accounts()
			v.remarks()
			return v.found, nil
		},
	}
}

// vsftpd is a source that is being read.
type vsftpd struct {
	files Files
	conf  vsftpdSettings
	found Found

	users   unixUsers
	pairs   []pair
	pwdfile map[string]line // NAME:HASH, by name
	order   []string        // of pwdfile
	pam     []string        // lines of its service

	lists []userList
}

// open reads the files: the configuration first, the others in any order, each told by what
// is in it.
func (v *vsftpd) open(names []string) error {
	content, err := v.files.Read(names[0])
	if err != nil {
		return err
	}
	v.conf = readVsftpdSettings(names[0], content, &v.found)
	if len(v.conf.value) == 0 {
		return fmt.Errorf("%s is no vsftpd.conf: it has no line NAME=VALUE", names[0])
	}
	for _, name := range names[1:] {
		if content, err = v.files.Read(name); err == nil {
			err = v.companion(name, content)
		}
		if err != nil {
			return err
		}
	}
	if v.pam == nil {
		// Where nobody gives it, it is looked for where vsftpd itself would.
		if content, err = v.files.Read("/etc/pam.d/" + v.conf.text("pam_service_name", "ftp")); err == nil {
			v.pam = pamLines(content)
		}
	}
	if v.users.entries == nil && v.pairs == nil && len(v.pwdfile) == 0 {
		return fmt.Errorf("which users vsftpd has is said by PAM, not by %s: add /etc/passwd /etc/shadow /etc/group, or what db5.3_dump -p prints of the pam_userdb, or the pam_pwdfile", names[0])
	}
	return v.userLists()
}

// companion takes in one of the other files.
func (v *vsftpd) companion(name string, content []byte) error {
	switch {
	case isDump(content) || isBerkeleyDB(content):
		pairs, err := readDump(name, content, &v.found)
		v.pairs = append(v.pairs, pairs...)
		return err
	case bytes.Contains(content, []byte(".so")):
		v.pam = append(v.pam, pamLines(content)...)
		return nil
	}
	for l := range lines(name, content, new(Found)) {
		if strings.HasPrefix(l.Text, "#") {
			continue
		}
		if n := strings.Count(l.Text, ":") + 1; n == passwdFields || n == shadowFields || n == groupFields {
			return v.users.read(name, content, &v.found)
		}
		break
	}
	for l := range lines(name, content, &v.found) {
		if user, _, ok := strings.Cut(l.Text, ":"); ok && !strings.HasPrefix(l.Text, "#") {
			v.pwdfile[user] = l
			v.order = append(v.order, user)
		}
	}
	return nil
}

func pamLines(content []byte) []string {
	var out []string
	for l := range lines("", content, new(Found)) {
		if text := strings.TrimSpace(l.Text); !strings.HasPrefix(text, "#") {
			out = append(out, text)
		}
	}
	return out
}

// userList is a file of names: of those who are let in, or of those who are not.
type userList struct {
	file  string
	names map[string]bool
	deny  bool
}

// userLists reads those of vsftpd itself and of pam_listfile.
func (v *vsftpd) userLists() error {
	if v.conf.yes("userlist_enable", false) {
		if err := v.addList(v.conf.text("userlist_file", "/etc/vsftpd.user_list"), v.conf.yes("userlist_deny", true)); err != nil {
			return fmt.Errorf("userlist_file, which says who may log in: %w", err)
		}
	}
	for _, l := range v.pam {
		_, options, ok := strings.Cut(l, "pam_listfile.so")
		if !ok || !strings.Contains(options, "item=user") {
			continue
		}
		for _, word := range strings.Fields(options) {
			name, given := strings.CutPrefix(word, "file=")
			if !given {
				continue
			}
			deny := strings.Contains(options, "sense=deny")
			if err := v.addList(name, deny); err != nil && !(deny && strings.Contains(options, "onerr=succeed")) {
				return fmt.Errorf("the file of pam_listfile.so, which says who may log in: %w", err)
			}
		}
	}
	return nil
}

func (v *vsftpd) addList(name string, deny bool) error {
	content, err := v.files.Read(name)
	if err != nil {
		return err
	}
	list := userList{file: name, names: make(map[string]bool), deny: deny}
	for l := range lines(name, content, &v.found) {
		if user := strings.TrimSpace(l.Text); !strings.HasPrefix(user, "#") {
			list.names[user] = true
		}
	}
	v.lists = append(v.lists, list)
	return nil
}

// keptOut is the list by which a user was not let in, "" for none.
func (v *vsftpd) keptOut(user string) string {
	for _, l := range v.lists {
		if l.names[user] == l.deny {
			return l.file
		}
	}
	return ""
}

// accounts adds those of all files, as far as vsftpd let them in.
func (v *vsftpd) accounts() {
	var found Found
	if v.users.entries != nil {
		v.users.accounts(&found)
		v.found.Notes = append(v.found.Notes, found.Notes...)
	}
	for _, name := range v.order {
		htpasswdLine(v.pwdfile[name], &found)
	}
	v.database(&found)
	v.found.Refused = append(v.found.Refused, found.Refused...)
	for _, a := range found.Accounts {
		if list := v.keptOut(a.Name); list != "" {
			v.found.refuse(a.At, a.Name, "the old server did not let it in either, by %s", list)
			continue
		}
		if err := v.adjust(&a); err != nil {
			v.found.refuse(a.At, a.Name, "%v", err)
			continue
		}
		v.found.add(a)
	}
}

// database adds the users of pam_userdb. Whether it holds hashes or passwords is said by
// PAM alone.
func (v *vsftpd) database(found *Found) {
	if len(v.pairs) == 0 {
		return
	}
	crypt, known, options := "", false, ""
	for _, l := range v.pam {
		if _, rest, ok := strings.Cut(l, "pam_userdb.so"); ok {
			known, options, crypt = true, rest, "none"
			for _, word := range strings.Fields(rest) {
				if value, ok := strings.CutPrefix(word, "crypt="); ok {
					crypt = value
				}
			}
		}
	}
	switch {
	case !known:
		v.found.note("the users of the dump are not taken: whether it holds passwords or hashes is said by the file of PAM with pam_userdb.so; add it, such as /etc/pam.d/vsftpd")
		return
	case strings.Contains(options, "key_only"):
		v.found.note("the users of the dump are not taken: with key_only, a name cannot be told from its password")
		return
	case strings.Contains(options, "icase"):
		v.found.note("passwords were right in upper and lower case (icase): here as they are stored only")
	}
	for _, p := range v.pairs {
		switch {
		case p.Value == "":
			found.refuse(p.At, p.Key, "it has an empty password, so that everybody could come in: give it one")
		case crypt == "none":
			found.add(Account{Name: p.Key, At: p.At, Plain: session.NewSecret(p.Value)})
			v.found.note("the old server keeps these passwords in clear: shred the database, the dump and their backups when it is off")
		default:
			found.add(Account{Name: p.Key, At: p.At, Hash: p.Value})
		}
	}
}

// adjust applies the settings, with those of the user's own file.
func (v *vsftpd) adjust(a *Account) error {
	s := v.conf
	if dir := s.text("user_config_dir", ""); dir != "" && fs.ValidPath(a.Name) {
		name := path.Join(dir, a.Name)
		if content, err := v.files.Read(name); err == nil {
			s = readVsftpdSettings(name, content, &v.found).over(s)
		}
	}
	guest := s.yes("guest_enable", false)
	v.home(a, s, guest)
	rate := "local_max_rate"
	if guest && !s.yes("virtual_use_local_privs", false) {
		rate = "anon_max_rate"
	}
	if text := s.text(rate, "0"); text != "0" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("its %s=%q is no number", rate, clip(text))
		}
		a.Bandwidth = n
	}
	if may := vsftpdMay(s, guest); may != session.MayAll {
		a.Permissions = []session.PathRule{{Path: "/", May: may}}
	}
	for _, name := range []string{"cmds_allowed", "cmds_denied", "deny_file", "hide_file"} {
		if text := s.text(name, ""); text != "" {
			a.lose("%s=%s: what it may do is said by permissions here", name, clip(text))
		}
	}
	return nil
}

// home is where the account's files are.
func (v *vsftpd) home(a *Account, s vsftpdSettings, guest bool) {
	if guest {
		a.Home = ""
		for _, e := range v.users.entries {
			if e.name == s.text("guest_username", "ftp") {
				a.Home = e.home
			}
		}
	}
	if root := s.text("local_root", ""); root != "" {
		a.Home = root
	}
	if token := s.text("user_sub_token", ""); token != "" {
		a.Home = strings.ReplaceAll(a.Home, token, a.Name)
	}
	if s.yes("passwd_chroot_enable", false) {
		a.Home, _, _ = strings.Cut(a.Home, "/./")
	}
	if a.Home == "" {
		a.lose("its folder is not known: neither local_root nor the line of guest_username in passwd says it")
	}
}

// vsftpdMay is what the settings allow (vsftpd.conf(5)).
func vsftpdMay(s vsftpdSettings, guest bool) session.Permissions {
	may := session.MayList | session.MayRead
	if s.yes("write_enable", false) {
		if !guest || s.yes("virtual_use_local_privs", false) {
			may = session.MayAll
		} else {
			for name, adds := range map[string]session.Permissions{
				"anon_upload_enable":      session.MayCreate,
				"anon_mkdir_write_enable": session.MayMkdir,
				"anon_other_write_enable": session.MayDelete | session.MayRename | session.MayOverwrite | session.MayAppend,
			} {
				if s.yes(name, false) {
					may |= adds
				}
			}
		}
	}
	if !s.yes("download_enable", true) {
		may &^= session.MayRead
	}
	if !s.yes("dirlist_enable", true) {
		may &^= session.MayList
	}
	return may
}

// remarks are about what is said for the whole server.
func (v *vsftpd) remarks() {
	s := v.conf
	if s.yes("anonymous_enable", true) {
		v.found.note("anonymous_enable: there are no anonymous logins here; make an account for who needs one")
	}
	if s.yes("local_enable", false) && !s.yes("chroot_local_user", false) && !s.yes("guest_enable", false) {
		v.found.note("accounts could leave their folders (chroot_local_user=NO): here nobody does; who needs another folder gets it as home")
	}
	if low, high := s.text("pasv_min_port", "0"), s.text("pasv_max_port", "0"); low != "0" && high != "0" {
		v.found.note("passive ports, which firewalls may know: ftp { passive_ports = %q } in gateway.hcl", low+"-"+high)
	}
	if address := s.text("pasv_address", ""); address != "" {
		v.found.note("the address told to clients behind NAT was %s: public_address of the listener in gateway.hcl", clip(address))
	}
	if s.yes("force_local_logins_ssl", true) && s.yes("ssl_enable", false) {
		v.found.note("logins were over TLS only: the policy of 'gateway init' demands that too")
	}
	if port := s.text("listen_port", "21"); port != "21" {
		v.found.note("it listened on port %s: address of the listener in gateway.hcl", clip(port))
	}
	slices.Sort(v.found.Notes)
}

// vsftpdSettings are those of one file, and what they are laid over.
type vsftpdSettings struct {
	value map[string]string
	under *vsftpdSettings
}

// readVsftpdSettings reads NAME=VALUE lines, without spaces around the equals sign.
func readVsftpdSettings(name string, content []byte, found *Found) vsftpdSettings {
	s := vsftpdSettings{value: make(map[string]string)}
	for l := range lines(name, content, found) {
		if k, value, ok := strings.Cut(l.Text, "="); ok && !strings.HasPrefix(l.Text, "#") {
			s.value[k] = strings.TrimRight(value, " \t")
		}
	}
	return s
}

func (s vsftpdSettings) over(under vsftpdSettings) vsftpdSettings {
	s.under = &under
	return s
}

func (s vsftpdSettings) text(name, unset string) string {
	if value, ok := s.value[name]; ok {
		return value
	}
	if s.under != nil {
		return s.under.text(name, unset)
	}
	return unset
}

func (s vsftpdSettings) yes(name string, unset bool) bool {
	switch strings.ToUpper(s.text(name, "")) {
	case "YES", "TRUE", "1":
		return true
	case "NO", "FALSE", "0":
		return false
	default:
		return unset
	}
}
