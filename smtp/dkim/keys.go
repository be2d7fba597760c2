package dkim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// fileSuffix ends the name of the file that holds a domain's keys.
	fileSuffix = ".json"
	// maxFile is the largest such file that is read.
	maxFile = 1 << 20
	// maxDomains bounds the domains that are signed for, and maxKeys the keys of one.
	maxDomains, maxKeys = 10_000, 32
)

// Errors about keys that are, or are not, there.
var (
	ErrNoKey   = errors.New("there is no such key")
	ErrHasKeys = errors.New("the domain has keys of this kind")
)

// Keys are the keys of an installation: a file for each domain in a folder that
// nobody else may read. The methods may be called from any goroutine; no two Keys
// may have one folder open.
type Keys struct {
	dir string
	now func() time.Time

	mu      sync.RWMutex
	domains map[string][]key // never changed: replaced
}

// Open reads the keys in dir, and makes the folder if it is missing. A file that
// others may read, or that holds what is no key, is an error.
func Open(dir string) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the DKIM keys: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the DKIM keys: %w", err)
	}
	k := &Keys{dir: dir, now: time.Now, domains: make(map[string][]key)}
	for _, e := range entries {
		domain, ours := strings.CutSuffix(e.Name(), fileSuffix)
		if !ours || strings.HasPrefix(domain, ".") {
			continue // what a writer left behind
		}
		if len(k.domains) == maxDomains {
			return nil, fmt.Errorf("read the DKIM keys: more than %d domains in %s", maxDomains, dir)
		}
		list, err := load(filepath.Join(dir, e.Name()))
		if err == nil {
			err = checkLabels(domain, maxNameBytes)
		}
		if err != nil {
			return nil, fmt.Errorf("read the DKIM keys of %s: %w", clip(domain), err)
		}
		k.domains[domain] = list
	}
	return k, nil
}

// file is what the file of a domain holds.
type file struct {
	Keys []key `json:"keys"`
}

func load(name string) ([]key, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s is open to others (mode %04o): chmod 600 %[1]s", name, info.Mode().Perm())
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return parseFile(content)
}

// parseFile reads the file of a domain. It is strict: a file that somebody broke
// must not lead to mail without a signature.
func parseFile(content []byte) ([]key, error) {
	if len(content) > maxFile {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxFile)
	}
	var f file
	if err := json.Unmarshal(content, &f); err != nil {
		return nil, err
	}
	if len(f.Keys) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	for i := range f.Keys {
		k := &f.Keys[i]
		if err := k.parse(); err != nil {
			return nil, err
		}
		if !slices.Contains(Algorithms(), k.Algorithm) || !slices.Contains([]State{Next, Active, Retired}, k.State) {
			return nil, fmt.Errorf("selector %s: state %q, algorithm %q", k.Selector, clip(string(k.State)), clip(string(k.Algorithm)))
		}
		if slices.ContainsFunc(f.Keys[:i], func(o key) bool { return o.Selector == k.Selector }) {
			return nil, fmt.Errorf("selector %s is there twice", k.Selector)
		}
	}
	return f.Keys, nil
}

// save puts the keys of a domain on stable storage, and then in force. The lock is
// held.
func (k *Keys) save(domain string, list []key) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the DKIM keys of %s: %w", domain, err)
		}
	}()
	name := filepath.Join(k.dir, domain+fileSuffix)
	if len(list) == 0 {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(k.domains, domain)
		return syncDir(k.dir)
	}
	content, err := json.MarshalIndent(file{list}, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(k.dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = tmp.Write(content)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return err
	}
	k.domains[domain] = list
	return syncDir(k.dir)
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// List returns the keys of all domains, in the order of their names.
func (k *Keys) List() []Key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	list := []Key{}
	for domain, keys := range k.domains {
		for _, one := range keys {
			list = append(list, one.shown(domain))
		}
	}
	slices.SortStableFunc(list, func(a, b Key) int { return strings.Compare(a.Domain, b.Domain) })
	return list
}

// Of returns the keys of one domain, in the order in which they were made.
func (k *Keys) Of(domain string) []Key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	list := []Key{}
	for _, one := range k.domains[domain] {
		list = append(list, one.shown(domain))
	}
	return list
}

// Add makes keys for a domain that has none of these algorithms, and signs by them
// from now on. selector is the name of a single key, and how the names of several
// begin; empty takes the day. It returns the new keys.
//
// Errors: ErrInvalid, ErrHasKeys.
func (k *Keys) Add(domain, selector string, algorithms []Algorithm) ([]Key, error) {
	return k.make(domain, selector, algorithms, Active, func(have []key) error {
		for _, one := range have {
			if one.State != Retired && slices.Contains(algorithms, one.Algorithm) {
				return fmt.Errorf("%w: %s has the %s key %s; replace it with 'gateway mail key rotate %[2]s'", ErrHasKeys, domain, one.Algorithm, one.Selector)
			}
		}
		return nil
	})
}

// Prepare makes the next keys of a domain, of the algorithms that sign now, to be
// published before Rotate. selector is as for Add.
//
// Errors: ErrInvalid, ErrNoKey, and ErrHasKeys if they are there already.
func (k *Keys) Prepare(domain, selector string) ([]Key, error) {
	var algorithms []Algorithm
	for _, one := range k.Of(domain) {
		if one.State == Active && !slices.Contains(algorithms, one.Algorithm) {
			algorithms = append(algorithms, one.Algorithm)
		}
	}
	if len(algorithms) == 0 {
		return nil, noKeys(domain)
	}
	return k.make(domain, selector, algorithms, Next, func(have []key) error {
		if slices.ContainsFunc(have, func(one key) bool { return one.State == Next }) {
			return fmt.Errorf("%w: the next keys of %s were made already", ErrHasKeys, domain)
		}
		return nil
	})
}

func noKeys(domain string) error {
	return fmt.Errorf("%w: nothing is signed for %s; begin with 'gateway mail key add %[2]s'", ErrNoKey, clip(domain))
}

// make adds keys, if check has no objection to those that there are.
func (k *Keys) make(domain, selector string, algorithms []Algorithm, state State, check func(have []key) error) ([]Key, error) {
	if name, err := Canonical(domain); err != nil || name != domain {
		return nil, fmt.Errorf("%w: domain %q is not in its canonical form", ErrInvalid, clip(domain))
	}
	if selector != "" {
		if err := checkSelector(selector); err != nil {
			return nil, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	have := k.domains[domain]
	switch {
	case len(have) == 0 && len(k.domains) >= maxDomains:
		return nil, fmt.Errorf("%w: %d domains have keys, and more cannot", ErrInvalid, maxDomains)
	case len(have)+len(algorithms) > maxKeys:
		return nil, fmt.Errorf("%w: %s has %d keys; remove retired ones first", ErrInvalid, domain, len(have))
	}
	if err := check(have); err != nil {
		return nil, err
	}
	list := slices.Clone(have)
	var made []Key
	now := k.now().UTC().Truncate(time.Second)
	for _, a := range algorithms {
		name, err := newSelector(list, selector, a, len(algorithms) == 1, now)
		if err != nil {
			return nil, err
		}
		one, err := newKey(name, a, now)
		if err != nil {
			return nil, fmt.Errorf("make a DKIM key: %w", err)
		}
		one.State = state
		list, made = append(list, one), append(made, one.shown(domain))
	}
	if err := k.save(domain, list); err != nil {
		return nil, err
	}
	return made, nil
}

// newSelector is the name of a new key: the one that was asked for, or a free one
// that tells day and algorithm.
func newSelector(have []key, asked string, a Algorithm, single bool, now time.Time) (string, error) {
	taken := func(s string) bool {
		return slices.ContainsFunc(have, func(o key) bool { return o.Selector == s })
	}
	base := asked
	if base == "" {
		base = now.Format("20060102")
	}
	selector := base + "-" + string(a)
	if asked != "" && single {
		selector = asked
	}
	if asked != "" {
		if taken(selector) {
			return "", fmt.Errorf("%w: selector %s; a selector is not used twice, take another", ErrHasKeys, selector)
		}
		return selector, checkSelector(selector)
	}
	for n := 2; taken(selector); n++ {
		selector = fmt.Sprintf("%s-%d-%s", base, n, a)
	}
	return selector, nil
}

// Rotate lets the next keys of a domain take over. Those that they replace are
// retired. It returns the keys that sign now.
//
// Errors: ErrNoKey if there are no next keys.
func (k *Keys) Rotate(domain string) ([]Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := slices.Clone(k.domains[domain])
	var replaced []Algorithm
	for _, one := range list {
		if one.State == Next {
			replaced = append(replaced, one.Algorithm)
		}
	}
	if len(replaced) == 0 {
		return nil, fmt.Errorf("%w: %s has no next keys", ErrNoKey, clip(domain))
	}
	now := k.now().UTC().Truncate(time.Second)
	for i, one := range list {
		switch {
		case one.State == Active && slices.Contains(replaced, one.Algorithm):
			list[i] = key{Selector: one.Selector, Algorithm: one.Algorithm, Made: one.Made, Public: one.Public, State: Retired, Since: now}
		case one.State == Next:
			list[i].State, list[i].Since = Active, now
		}
	}
	if err := k.save(domain, list); err != nil {
		return nil, err
	}
	var signing []Key
	for _, one := range list {
		if one.State == Active {
			signing = append(signing, one.shown(domain))
		}
	}
	return signing, nil
}

// Remove removes a key, whatever its state, and returns what it was. Mail of a
// domain without an active key is not signed.
//
// Errors: ErrNoKey.
func (k *Keys) Remove(domain, selector string) (Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.domains[domain]
	i := slices.IndexFunc(list, func(one key) bool { return one.Selector == selector })
	if i < 0 {
		return Key{}, fmt.Errorf("%w: %s of %s; see 'gateway mail key list'", ErrNoKey, clip(selector), clip(domain))
	}
	removed := list[i].shown(domain)
	return removed, k.save(domain, slices.Delete(slices.Clone(list), i, i+1))
}
