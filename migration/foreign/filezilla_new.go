package foreign

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"gateway/session"
)

// newUser reads a <user> of FileZilla Server 1.x.
func (z *fileZilla) newUser(e *element) {
	a := Account{Name: e.attributes["name"], At: e.at, Disabled: e.attributes["enabled"] == "false"}
	switch {
	case a.Name == "":
		z.found.refuse(a.At, "", "<user> has no name")
		return
	case strings.HasPrefix(a.Name, "<"): // <system user>
		z.found.note("left out is %s, which stands for the users of the system: their passwords are kept there", clip(a.Name))
		return
	}
	err := firstError(
		a.newPassword(e),
		a.setFilters(strings.Fields(e.child("disallowed_ips").text), strings.Fields(e.child("allowed_ips").text)),
	)
	if err != nil {
		z.found.refuse(a.At, clip(a.Name), "%v", err)
		return
	}
	for _, g := range e.all("group") {
		a.Groups = append(a.Groups, cmp.Or(g.attributes["name"], strings.TrimSpace(g.text)))
	}
	a.Groups = sortedSet(a.Groups)
	z.grouped = z.grouped || len(a.Groups) > 0
	a.newLimits(e)
	a.newFolders(e)
	z.found.add(a)
}

// newPassword reads <password index="N">: 0 is none, by which anything lets in.
func (a *Account) newPassword(e *element) error {
	p := e.child("password")
	hash, salt := strings.TrimSpace(p.child("hash").text), p.child("salt").text
	methods := strings.TrimSpace(e.child("methods").text)
	switch index := p.attributes["index"]; {
	case index == "0", methods == "0", methods == "none":
		return errors.New("it has no password (index 0, or methods 0), so that everybody could come in: give it one")
	case index == "1":
		iterations := strings.TrimSpace(p.child("iterations").text)
		if iterations == "" || hash == "" || strings.TrimSpace(salt) == "" {
			return errors.New("its password has not all of hash, salt and iterations: set it again in FileZilla Server")
		}
		a.Hash = "{FILEZILLA-PBKDF2}" + iterations + "$" + strings.TrimSpace(salt) + "$" + hash
		return nil
	case index == "2":
		return a.setFileZillaHash(hash, "")
	case index == "3":
		return a.setFileZillaHash(hash, salt)
	case index == "":
		return errors.New("it has no password of its own (that of the system, or none at all): give it one")
	default:
		return fmt.Errorf("its password is of a kind (index %s) that is not known: set it again in FileZilla Server", clip(index))
	}
}

// newLimits names what is limited: in which unit is not said in the file.
func (a *Account) newLimits(e *element) {
	for _, limits := range []string{"rate_limits", "session_open_limits"} {
		l := e.child(limits)
		for _, name := range sortedKeys(l.attributes) {
			if v := l.attributes[name]; v != "unlimited" && v != "" {
				why := "there is no such limit here"
				if limits == "rate_limits" {
					why = fmt.Sprintf("set it as the panel of FileZilla Server shows it, with gateway user set %s --bandwidth", clip(a.Name))
				}
				a.lose("%s %s of %s: %s", limits, clip(name), clip(v), why)
			}
		}
	}
	if n := strings.TrimSpace(e.child("session_count_limit").text); n != "unlimited" && n != "" {
		a.lose("at most %s sessions: here the limit is the same for all accounts (limits in gateway.hcl)", clip(n))
	}
}

// newFolders reads mount points: where they are, and what may be done there. access is 0 for
// reading, 1 for writing too, 2 for nothing; recursive is 0 for that folder alone, 1 for those
// below it too, 2 if these may also be made, removed and renamed. What the server writes for
// "read and write, and below" is access="1" recursive="2" (FileZilla Server 1.8.0).
func (a *Account) newFolders(e *element) {
	var folders []fileZillaFolder
	for _, m := range e.all("mount_point") {
		f := fileZillaFolder{seen: cleanPath(m.attributes["tvfs_path"]), native: cmp.Or(m.attributes["new_native_path"], m.attributes["native_path"])}
		if !strings.ContainsAny(a.Name, `/\`) {
			f.native = strings.ReplaceAll(f.native, "%<user>", a.Name) // the panel, "placeholders"
		}
		if strings.Contains(f.native, "%<") || f.native == "" {
			a.lose("its folder %s, which has variables in it", clip(f.native))
			continue
		}
		switch m.attributes["access"] {
		case "0":
			f.may = session.MayList | session.MayRead
		case "1":
			f.may = session.MayAll
		default: // disabled
		}
		switch m.attributes["recursive"] {
		case "0":
			a.lose("that folders below %s were closed: here what may be done in a folder may be done below it; say more with gateway user set %s --permit", clip(f.seen), clip(a.Name))
		case "1":
			f.may &^= session.MayMkdir
			if f.may != 0 && m.attributes["access"] == "1" {
				a.lose("that folders below %s could not be removed or renamed: only that none are made is kept", clip(f.seen))
			}
		}
		folders = append(folders, f)
	}
	a.setFolders(folders)
}
