package foreign

import (
	"encoding/json"
	"fmt"
	"time"

	"gateway/session"
)

func gatewayFormat() Format {
	return Format{
		Name: "gateway", Files: "USERS.JSON", Short: "what gateway export users --hashes prints on another gateway",
		Read: ofOneFile(readGateway),
	}
}

// exported is what another gateway prints, as far as it is taken.
type exported struct {
	Gateway int            `json:"gateway"`
	Users   []exportedUser `json:"users"`
}

type exportedUser struct {
	Name        string             `json:"name"`
	Groups      []string           `json:"groups"`
	Permissions []session.PathRule `json:"permissions"`
	Quota       session.Quota      `json:"quota"`
	Bandwidth   int64              `json:"bandwidth"`
	Mail        session.MailLimits `json:"mail"`
	Disabled    bool               `json:"disabled"`
	Home        string             `json:"home"`
	Expires     time.Time          `json:"expires"`
	Route       string             `json:"route"`
	Addresses   []string           `json:"addresses"`
	KeyLines    []string           `json:"key_lines"`
	Keys        []json.RawMessage  `json:"keys"`
	Tokens      []json.RawMessage  `json:"tokens"`
	Hash        string             `json:"hash"`
	PasswordSet time.Time          `json:"password_changed"`
	TOTPAdded   time.Time          `json:"totp_added"`
}

func readGateway(name string, content []byte) (Found, error) {
	var file exported
	if err := json.Unmarshal(content, &file); err != nil {
		return Found{}, fmt.Errorf("%s is not what gateway export users prints: %w", name, err)
	}
	if file.Gateway != 1 {
		return Found{}, fmt.Errorf("%s is not what gateway export users prints, or of a newer gateway", name)
	}
	var found Found
	for i, u := range file.Users {
		at := Position{File: fmt.Sprintf("%s, user %d", name, i+1)}
		if u.Name == "" {
			found.refuse(at, "", "it has no name")
			continue
		}
		a := Account{
			Name: u.Name, At: at, Hash: u.Hash, Disabled: u.Disabled, Home: u.Home, Groups: u.Groups, Keys: u.KeyLines, Addresses: u.Addresses,
			Quota: u.Quota, Bandwidth: u.Bandwidth, Permissions: u.Permissions, Expires: u.Expires, Mail: u.Mail,
		}
		if u.Hash == "" && !u.PasswordSet.IsZero() {
			a.lose("its password: export with --hashes")
		}
		if n := len(u.Keys) - len(u.KeyLines); n > 0 {
			a.lose("%d certificates of TLS clients: add each by gateway user key add", n)
		}
		if len(u.Tokens) > 0 {
			a.lose("%d tokens, which are not exported: make new ones", len(u.Tokens))
		}
		if !u.TOTPAdded.IsZero() {
			a.lose("its one-time codes, whose secret is not exported: gateway user totp add")
		}
		if u.Route != "" {
			a.lose("the route of its mail: gateway user set %s --route %s", u.Name, u.Route)
		}
		found.add(a)
	}
	return found, nil
}
