package foreign

import (
	"cmp"
	"strconv"
	"strings"

	"gateway/session"
)

// oldUser reads a <User> of FileZilla Server 0.9. What it leaves to its group is read there.
func (z *fileZilla) oldUser(e *element) {
	a := Account{Name: e.attributes["Name"], At: e.at}
	if a.Name == "" {
		z.found.refuse(a.At, "", "<User> has no Name")
		return
	}
	group := &element{at: e.at}
	if name := fileZillaOption(e, "Group"); name != "" {
		a.Groups = []string{name}
		if g := z.groups[name]; g != nil {
			group = g
		} else {
			z.found.refuse(a.At, clip(a.Name), "its group %q is not in the file", clip(name))
			return
		}
	}
	err := firstError(
		a.setFileZillaHash(fileZillaOption(e, "Pass"), fileZillaOption(e, "Salt")),
		a.setFilters(fileZillaIPs(e, group, "Disallowed"), fileZillaIPs(e, group, "Allowed")),
	)
	if err != nil {
		z.found.refuse(a.At, clip(a.Name), "%v", err)
		return
	}
	a.Disabled = ofGroup(e, group, "Enabled") == "0"
	if ofGroup(e, group, "ForceSsl") == "1" {
		z.forced++
	}
	for _, limit := range []string{"User Limit", "IP Limit"} {
		if n := fileZillaOption(e, limit); n != "" && n != "0" {
			a.lose("%s of %s connections: here the limit is the same for all accounts (limits in gateway.hcl)", limit, clip(n))
		}
	}
	a.oldSpeeds(e, group)
	a.oldFolders(e, group)
	z.found.add(a)
}

// fileZillaOption is the text of <Option Name="...">.
func fileZillaOption(e *element, name string) string {
	for _, o := range e.children {
		if o.name == "Option" && o.attributes["Name"] == name {
			return o.text
		}
	}
	return ""
}

// ofGroup is an option of the account, or of its group where it is 2.
func ofGroup(e, group *element, name string) string {
	if v := fileZillaOption(e, name); v != "2" {
		return v
	}
	return fileZillaOption(group, name)
}

// fileZillaIPs are those of the account and of its group.
func fileZillaIPs(e, group *element, list string) []string {
	var out []string
	for _, from := range []*element{e, group} {
		for _, ip := range from.child("IpFilter").child(list).all("IP") {
			out = append(out, strings.TrimSpace(ip.text))
		}
	}
	return out
}

// oldSpeeds reads limits, which are of a kind: by the group, none, a constant in KiB/s, or
// rules by time.
func (a *Account) oldSpeeds(e, group *element) {
	var speeds [2]int64
	for i, way := range []string{"Ul", "Dl"} {
		limits := e.child("SpeedLimits").attributes
		if cmp.Or(limits[way+"Type"], "0") == "0" {
			limits = group.child("SpeedLimits").attributes
		}
		switch limits[way+"Type"] {
		case "2":
			if k, err := strconv.ParseInt(limits[way+"Limit"], 10, 32); err == nil && k > 0 {
				speeds[i] = k << 10
			}
		case "3":
			a.lose("speeds by time of day: there is one for all the day, gateway user set %s --bandwidth", clip(a.Name))
		}
	}
	a.setSpeeds(speeds[0], speeds[1])
}

// oldFolders reads the folders of the account, and those of its group that it has not.
func (a *Account) oldFolders(e, group *element) {
	var folders []fileZillaFolder
	seen := make(map[string]bool)
	rooted := false
	for _, p := range append(e.child("Permissions").all("Permission"), group.child("Permissions").all("Permission")...) {
		native := strings.ReplaceAll(p.attributes["Dir"], ":u", a.Name)
		if native == "" || seen[strings.ToLower(native)] {
			continue
		}
		seen[strings.ToLower(native)] = true
		f := fileZillaFolder{native: native, may: a.oldPermissions(p, native)}
		if alias := p.child("Aliases").child("Alias").text; alias != "" {
			f.seen = cleanPath(alias)
		}
		if fileZillaOption(p, "IsHome") == "1" && !rooted {
			f.seen, rooted = "/", true
		}
		folders = append(folders, f)
	}
	a.setFolders(folders)
}

// oldPermissions reads what may be done in a folder. What is one permission here and two
// there is given to who had both.
func (a *Account) oldPermissions(p *element, native string) session.Permissions {
	on := func(names ...string) bool {
		for _, name := range names {
			if fileZillaOption(p, name) != "1" {
				return false
			}
		}
		return true
	}
	var may session.Permissions
	for _, r := range []struct {
		on  bool
		may session.Permissions
	}{
		{on("DirList"), session.MayList}, {on("FileRead"), session.MayRead},
		{on("FileWrite"), session.MayCreate | session.MaySetAttr}, {on("FileWrite", "FileDelete"), session.MayOverwrite | session.MayRename},
		{on("FileAppend"), session.MayAppend}, {on("FileDelete", "DirDelete"), session.MayDelete}, {on("DirCreate"), session.MayMkdir},
	} {
		if r.on {
			may |= r.may
		}
	}
	if on("FileDelete") != on("DirDelete") {
		a.lose("in %s that it could delete files or folders only: that is one permission, and it has it not", clip(native))
	}
	if on("FileWrite") && !on("FileDelete") {
		a.lose("in %s that it may have replaced files: it could not delete them", clip(native))
	}
	if !on("DirSubdirs") {
		a.lose("that folders below %s were closed: here what may be done in a folder may be done below it; say more with gateway user set %s --permit", clip(native), clip(a.Name))
	}
	if may == session.MayAll&^session.MayLink {
		may = session.MayAll // links it did not know
	}
	return may
}
