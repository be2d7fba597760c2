package foreign

import (
	"fmt"
	"slices"
	"strings"
)

func iisFormat() Format {
	return Format{
		Name: "iis", Files: "ADMINISTRATION.CONFIG", Short: "IIS Manager users, of whom IIS FTP takes logins",
		Read: ofOneFile(readIIS),
	}
}

// readIIS reads <configuration> ... <credentials><add name password enabled>, with the
// SHA-256 of the password, without salt. There may be one in each <location>.
func readIIS(name string, content []byte) (Found, error) {
	var found Found
	seen := false
	err := readXML(name, content, func(path []string) bool {
		if path[0] != "configuration" {
			return false
		}
		seen = true
		return slices.Equal(path[max(0, len(path)-2):], []string{"credentials", "add"}) && slices.Contains(path, "authentication")
	}, func(e *element) bool {
		iisUser(e, &found)
		return !found.full(e.at)
	})
	if err != nil {
		return Found{}, err
	}
	if !seen {
		return Found{}, fmt.Errorf("%s is no configuration of IIS: want Administration.config, of C:\\Windows\\System32\\inetsrv\\config", name)
	}
	if len(found.Accounts)+len(found.Refused) == 0 {
		found.note("there are no IIS Manager users in it. Users of Windows and of Active Directory have their passwords there, which shows them to nobody")
	} else {
		found.note("which folders they saw is said by the sites (applicationHost.config), which is not read: gateway user set NAME --home FOLDER")
	}
	return found, nil
}

func iisUser(e *element, found *Found) {
	a := Account{Name: e.attributes["name"], At: e.at, Disabled: strings.EqualFold(e.attributes["enabled"], "false")}
	switch hash := e.attributes["password"]; {
	case a.Name == "":
		found.refuse(a.At, "", "<add> has no name")
	case hash == "":
		found.refuse(a.At, clip(a.Name), "%s", emptyPassword)
	case !isHex(hash, 64):
		found.refuse(a.At, clip(a.Name), "its password is not the SHA-256 of one, in 64 hexadecimal digits, as IIS writes it: set it again in IIS Manager")
	default:
		a.Hash = "{SHA256.HEX}" + hash
		found.add(a)
	}
}
