package admin

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gateway/auth"
	"gateway/auth/hashes"
	"gateway/migration/foreign"
)

// PrepareOptions say how the accounts of a source become accounts here.
type PrepareOptions struct {
	Format string
	Groups []string          // that all of them are in, beside their own
	Rename map[string]string // new names by old ones
	// WithoutPassword takes accounts whose password cannot be taken without one, for an old
	// server to be asked about it.
	WithoutPassword bool
	// Folder reports whether a home that a source names is a folder of this machine.
	Folder func(path string) bool
}

// Prepared is what an import is made from.
type Prepared struct {
	Accounts []PreparedAccount
	Refused  []foreign.Refusal
	Notes    []string
	// Rules are statements for policy.hcl that say what no account can: from where and
	// when some may come. Empty for none.
	Rules string
}

// PreparedAccount is an account with where it comes from.
type PreparedAccount struct {
	ImportEntry
	At   foreign.Position
	Lost []string
	// Hash is that of the source; Plain says that the source has the password itself.
	Hash  hashes.Hash
	Plain bool

	source foreign.Account
}

// PrepareImport makes entries of what was found, or says why it cannot. It computes no
// hash and looks at nothing that there is here.
func PrepareImport(found foreign.Found, o PrepareOptions) Prepared {
	out := Prepared{Refused: found.Refused, Notes: found.Notes}
	folded := make(map[string][]string)
	for _, a := range found.Accounts {
		key := strings.ToLower(cmp.Or(o.Rename[a.Name], a.Name))
		folded[key] = append(folded[key], a.Name)
	}
	used := make(map[string]bool)
	for _, a := range found.Accounts {
		used[a.Name] = true
		p, err := prepare(a, o)
		if err == nil {
			err = alone(a, folded[strings.ToLower(p.Name)])
		}
		if err != nil {
			out.Refused = append(out.Refused, foreign.Refusal{At: a.At, Name: a.Name, Reason: err.Error()})
			continue
		}
		out.Accounts = append(out.Accounts, p)
	}
	for old := range o.Rename {
		if !used[old] {
			out.Notes = append(out.Notes, fmt.Sprintf("--map %s=%s: no account of the source has that name", old, o.Rename[old]))
		}
	}
	slices.Sort(out.Notes)
	out.Rules = importRules(out.Accounts)
	return out
}

// alone refuses names that differ by case only, or come twice.
func alone(a foreign.Account, others []string) error {
	if len(others) < 2 {
		return nil
	}
	other := others[0]
	if other == a.Name {
		other = others[1]
	}
	if other == a.Name {
		return errors.New("the name comes twice in the source: take one out, or import each by itself with --map")
	}
	return fmt.Errorf("it differs from %q by upper and lower case only, which no two accounts here do: give it another name with --map %s=NEW", other, a.Name)
}

func prepare(a foreign.Account, o PrepareOptions) (p PreparedAccount, err error) {
	p = PreparedAccount{At: a.At, Lost: slices.Clone(a.Lost), source: a}
	p.Name, p.Disabled, p.Expires, p.Addresses = cmp.Or(o.Rename[a.Name], a.Name), a.Disabled, a.Expires, slices.Clone(a.Addresses)
	switch strings.ToLower(a.Name) {
	case "anonymous", "ftp":
		return p, errors.New("it stands for everybody, and nobody logs in here without a name of their own")
	}
	if err = auth.CheckName(p.Name); err != nil {
		return p, fmt.Errorf("%w; give it another with --map %s=NEW, by which it then has to log in", err, a.Name)
	}
	p.Quota, p.Bandwidth, p.Permissions, p.Mail = a.Quota, a.Bandwidth, a.Permissions, a.Mail
	p.groups(a, o.Groups)
	p.keys(a)
	p.addresses(a)
	p.home(a, o)
	if err = p.password(a); err != nil && o.WithoutPassword {
		p.lose("%v; an old_server of its groups is asked about it", err)
		err = nil
	}
	return p, err
}

func (p *PreparedAccount) lose(format string, args ...any) {
	p.Lost = append(p.Lost, fmt.Sprintf(format, args...))
}

// groups are those of all and its own, as far as they can be names of groups here.
func (p *PreparedAccount) groups(a foreign.Account, all []string) {
	p.Groups = slices.Clone(all)
	for _, g := range a.Groups {
		if name := strings.ToLower(g); auth.CheckGroup(name) == nil {
			p.Groups = append(p.Groups, name)
		} else {
			p.lose("group %q: want a-z 0-9 . _ - with a letter or digit first", g)
		}
	}
	slices.Sort(p.Groups)
	p.Groups = slices.Compact(p.Groups)
}

// keys are those that can be had; each that cannot is lost by name.
func (p *PreparedAccount) keys(a foreign.Account) {
	seen := make(map[string]bool)
	for i, text := range a.Keys {
		list, err := auth.ParseKeys([]byte(text), time.Now())
		switch {
		case err != nil:
			p.lose("key %d: %s", i+1, strings.TrimPrefix(err.Error(), "line 1: "))
		case !seen[list[0].Fingerprint]:
			seen[list[0].Fingerprint] = true
			p.Keys = append(p.Keys, text)
		}
	}
}

func (p *PreparedAccount) addresses(a foreign.Account) {
	p.Addresses = nil
	for _, text := range a.Addresses {
		address, err := auth.ParseAddress(text)
		if err != nil {
			p.lose("mail address: %v", err)
			continue
		}
		p.Addresses = append(p.Addresses, address)
	}
	slices.Sort(p.Addresses)
	p.Addresses = slices.Compact(p.Addresses)
}

// home is the folder that the account has, if this machine has it.
func (p *PreparedAccount) home(a foreign.Account, o PrepareOptions) {
	if a.Home == "" {
		return
	}
	home := filepath.Clean(a.Home)
	switch {
	case auth.CheckHome(home) != nil:
		p.lose("its folder: %v", auth.CheckHome(home))
	case o.Folder != nil && !o.Folder(home):
		p.lose("its folder %s, which this machine has not: it gets an empty one", home)
	default:
		p.Home = home
	}
}

// password reads the hash, which is priced by that, or refuses it by its name.
func (p *PreparedAccount) password(a foreign.Account) error {
	p.Plain = !a.Plain.Empty()
	switch {
	case p.Plain:
		p.Secret = auth.PlainSource(a.Plain)
	case a.Hash != "":
		h, err := readHash(a.Hash)
		if err != nil {
			return fmt.Errorf("its password cannot be taken: %w", err)
		}
		p.Hash, p.Secret = h, auth.HashSource(a.Hash)
	}
	return nil
}

// readHash reads a hash of another program, or of another gateway.
func readHash(text string) (hashes.Hash, error) {
	if h, err := hashes.Parse(text); err == nil {
		return h, nil
	}
	return hashes.Foreign(text)
}

// Slow reports whether StoreSecret takes the time of a hash.
func (p *PreparedAccount) Slow() bool { return p.Plain || p.Hash.Weak() }

// StoreSecret makes what is stored of the password, in about 50 ms if it is Slow. With bare a
// weak hash is not wrapped, which the running gateway then does. The error is an
// auth.ErrInvalid.
func (p *PreparedAccount) StoreSecret(bare bool) (err error) {
	if p.Plain {
		p.Stored, err = auth.StorePassword(p.source.Plain)
		return err
	}
	hash := p.Hash
	if !bare {
		if hash, err = hash.Wrap(); err != nil && p.Hash.Weak() {
			return fmt.Errorf("%w: wrap its hash: %w", auth.ErrInvalid, err)
		}
	}
	p.Stored = auth.StoreHash(hash)
	return nil
}
