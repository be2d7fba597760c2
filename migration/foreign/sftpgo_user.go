package foreign

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// sftpgoUser is what is taken of one.
type sftpgoUser struct {
	Name        string                  `json:"username"`
	Password    string                  `json:"password"`
	Keys        []string                `json:"public_keys"`
	Email       string                  `json:"email"`
	Status      *int                    `json:"status"`          // 1 is active
	Expires     int64                   `json:"expiration_date"` // milliseconds since 1970; 0 is never
	Home        string                  `json:"home_dir"`
	QuotaSize   int64                   `json:"quota_size"` // bytes; 0 is no limit
	QuotaFiles  int64                   `json:"quota_files"`
	Upload      int64                   `json:"upload_bandwidth"` // KB/s
	Download    int64                   `json:"download_bandwidth"`
	Permissions map[string][]string     `json:"permissions"` // by path
	Groups      []struct{ Name string } `json:"groups"`
	Folders     []struct {
		Name string `json:"name"`
		Path string `json:"virtual_path"`
	} `json:"virtual_folders"`
	Filesystem struct {
		Provider int `json:"provider"`
	} `json:"filesystem"`
	Filters map[string]json.RawMessage `json:"filters"`
}

// maxSFTPGoUser is of one, in bytes.
const maxSFTPGoUser = 1 << 20

// sftpgoKnown are the other fields of a user, which say nothing that is lost.
func sftpgoKnown() []string {
	return strings.Fields(`id username password has_password public_keys email status expiration_date home_dir quota_size quota_files upload_bandwidth
		download_bandwidth permissions groups virtual_folders filesystem filters description uid gid created_at updated_at last_login last_password_change
		first_download first_upload used_quota_size used_quota_files last_quota_update used_upload_data_transfer used_download_data_transfer`)
}

func (s *sftpgoDump) user(at Position, raw json.RawMessage) {
	if len(raw) > maxSFTPGoUser {
		s.found.refuse(at, "", "the user has more than %d bytes", maxSFTPGoUser)
		return
	}
	var u sftpgoUser
	if err := json.Unmarshal(raw, &u); err != nil {
		s.found.refuse(at, clip(u.Name), "it is not as SFTPGo writes it: %s", clipLong(err.Error()))
		return
	}
	if u.Name == "" {
		s.found.refuse(at, "", "the user has no name")
		return
	}
	a := Account{Name: u.Name, At: at, Home: u.Home, Disabled: u.Status != nil && *u.Status != 1}
	err := firstError(a.sftpgoPassword(u), a.sftpgoFilters(u.Filters))
	if err != nil {
		s.found.refuse(at, clip(a.Name), "%v", err)
		return
	}
	a.sftpgoLimits(u)
	a.sftpgoFiles(u)
	for _, g := range u.Groups {
		a.Groups = append(a.Groups, g.Name)
	}
	a.Groups = sortedSet(a.Groups)
	if u.Email != "" {
		a.Addresses = append(a.Addresses, u.Email)
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) == nil {
		a.sftpgoLost("", all, sftpgoKnown())
	}
	s.found.add(a)
}

// sftpgoPassword reads the hash. Digests in braces are in hexadecimal there, which is
// written into their names. What is in no known form SFTPGo would take as a password.
func (a *Account) sftpgoPassword(u sftpgoUser) error {
	a.Keys = u.Keys
	scheme, data, labelled := cutLabel(u.Password)
	switch {
	case u.Password == "" && len(u.Keys) == 0:
		return errors.New("it has no password and no key: export with the maintenance page or dumpdata, since lists of users leave the passwords out")
	case u.Password == "":
		a.lose("no password: it had none; it comes in by its key")
	case labelled && (scheme == "MD5" || scheme == "SHA256" || scheme == "SHA512"):
		a.Hash = "{" + scheme + ".HEX}" + data
	case labelled, strings.HasPrefix(u.Password, "$"):
		a.Hash = u.Password
	default:
		return errors.New("its password is in no form that is known: set it again on the old server")
	}
	return nil
}

func (a *Account) sftpgoLimits(u sftpgoUser) {
	if u.Expires > 0 {
		a.Expires = time.UnixMilli(u.Expires).UTC()
	}
	a.Quota = session.Quota{Bytes: max(u.QuotaSize, 0), Files: max(u.QuotaFiles, 0)}
	const most = math.MaxInt64 >> 10
	a.setSpeeds(min(max(u.Upload, 0), most)<<10, min(max(u.Download, 0), most)<<10)
}

// sftpgoFiles reads where the files are, and what may be done with them.
func (a *Account) sftpgoFiles(u sftpgoUser) {
	if u.Filesystem.Provider != 0 {
		kind := map[int]string{1: "S3", 2: "Google Cloud Storage", 3: "Azure", 4: "encrypted local files", 5: "another SFTP server", 6: "an HTTP service"}[u.Filesystem.Provider]
		a.lose("its files, which are in %s: copy them", cmp.Or(kind, "a place that is not known"))
		a.Home = ""
	}
	for _, f := range u.Folders {
		a.lose("virtual folder %s (%s): there are none here; move it into its folder", clip(f.Path), clip(f.Name))
	}
	rules := make(map[string]session.Permissions)
	for _, name := range sortedKeys(u.Permissions) {
		rules[path.Clean("/"+name)] = a.sftpgoPermissions(name, u.Permissions[name])
	}
	if len(rules) == 1 && rules["/"] == session.MayAll {
		return
	}
	for _, name := range sortedKeys(rules) {
		a.Permissions = append(a.Permissions, session.PathRule{Path: name, May: rules[name]})
	}
}

// sftpgoPermissions reads the words of one folder. What here is one permission and there
// two is given to who had both.
func (a *Account) sftpgoPermissions(folder string, words []string) session.Permissions {
	if slices.Contains(words, "*") {
		return session.MayAll
	}
	var may session.Permissions
	for _, p := range []struct {
		words string
		may   session.Permissions
	}{
		{"list", session.MayList}, {"download", session.MayRead}, {"upload", session.MayCreate},
		{"upload overwrite", session.MayOverwrite | session.MayAppend}, {"create_dirs", session.MayMkdir},
		{"rename", session.MayRename}, {"rename_files rename_dirs", session.MayRename},
		{"delete", session.MayDelete}, {"delete_files delete_dirs", session.MayDelete},
		{"chmod chtimes", session.MaySetAttr}, {"create_symlinks", session.MayLink},
	} {
		if !slices.ContainsFunc(strings.Fields(p.words), func(w string) bool { return !slices.Contains(words, w) }) {
			may |= p.may
		}
	}
	for _, w := range []struct {
		word string
		may  session.Permissions
		why  string
	}{
		{"rename_files", session.MayRename, "renaming is one permission for files and folders"},
		{"rename_dirs", session.MayRename, "renaming is one permission for files and folders"},
		{"delete_files", session.MayDelete, "deleting is one permission for files and folders"},
		{"delete_dirs", session.MayDelete, "deleting is one permission for files and folders"},
		{"chmod", session.MaySetAttr, "modes and times are one permission"},
		{"chtimes", session.MaySetAttr, "modes and times are one permission"},
		{"chown", 0, "nobody gives files to others here"},
	} {
		if slices.Contains(words, w.word) && (w.may == 0 || may&w.may == 0) {
			a.lose("permission %s in %s: %s", w.word, clip(folder), w.why)
		}
	}
	return may
}

// sftpgoFilters reads from where it may come, and names what else restricted it.
func (a *Account) sftpgoFilters(filters map[string]json.RawMessage) (err error) {
	list := func(name string) []string {
		var words []string
		if raw := filters[name]; len(raw) > 0 && err == nil && json.Unmarshal(raw, &words) != nil {
			err = fmt.Errorf("its filter %s is no list of words", name)
		}
		return words
	}
	allowed, denied, more := list("allowed_ip"), list("denied_ip"), list("additional_emails")
	if err != nil {
		return err
	}
	if string(filters["is_anonymous"]) == "true" {
		return errors.New("it is anonymous, so that everybody could come in: nobody logs in here without a name of their own")
	}
	if a.From, err = networks(allowed); err != nil {
		return err
	}
	if a.NotFrom, err = networks(denied); err != nil {
		return err
	}
	a.Addresses = more
	a.sftpgoLost("filters.", filters, strings.Fields("allowed_ip denied_ip additional_emails is_anonymous hooks user_type password_strength web_client"))
	return nil
}

// sftpgoLost names all fields that are not known and say something.
func (a *Account) sftpgoLost(before string, fields map[string]json.RawMessage, known []string) {
	why := map[string]string{
		"max_sessions":     "here the limit is the same for all accounts (limits in gateway.hcl)",
		"denied_protocols": "a rule says that: who may come in by which protocol is said by allow in policy.hcl", "denied_login_methods": "a rule says that: require factors in policy.hcl",
		"two_factor_protocols": "a rule says that: require factors in policy.hcl", "ftp_security": "the rules of gateway init demand TLS of all",
		"totp_config": "its secret is sealed; enrol it again (gateway user totp add)", "recovery_codes": "new ones come with gateway user totp add",
		"tls_certs": "add its certificate as a key (gateway user key add)", "require_password_change": "there is no such demand here",
		"role": "roles are of administrators there",
	}
	for _, name := range sortedKeys(fields) {
		if slices.Contains(known, name) || isZeroJSON(fields[name]) || string(fields[name]) == `"None"` || len(a.Lost) >= maxNotTaken {
			continue
		}
		// What it says is shown, but for what may be secret.
		said := " " + clip(string(fields[name]))
		if strings.ContainsAny(said, "{\n") || strings.Contains(name, "code") {
			said = ""
		}
		a.lose("%s%s%s: %s", before, clip(name), said, cmp.Or(why[name], "there is nothing like it here"))
	}
}
