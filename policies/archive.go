package policies

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// maxArchived is how many policies an Archive holds; the one that came into force
	// before all others goes first.
	maxArchived = 1000
	// hashLength is that of a Policy's hash, in hex.
	hashLength = 64
)

// ErrNotArchived is a policy that an Archive does not hold.
var ErrNotArchived = errors.New("the policy is not kept")

// An Archive keeps every policy that was in force, so that decisions of then can be
// made again. Its methods may be called from any goroutine.
type Archive struct {
	// Dir is the folder: of each policy there is a folder named by its hash, and in that
	// the file, by its name. It is made when something is kept.
	Dir string
}

// Keep puts p on stable storage, and notes that it came into force now.
func (a Archive) Keep(p *Policy, now time.Time) error {
	dir := filepath.Join(a.Dir, p.Hash())
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = writeDurably(filepath.Join(dir, p.filename), p.source)
	}
	if err == nil {
		err = os.Chtimes(dir, now, now)
	}
	if err == nil {
		err = a.trim()
	}
	if err != nil {
		return fmt.Errorf("keep the policy for replays: %w", err)
	}
	return nil
}

// Load returns the policy with that hash, as it was read when it came into force last:
// opts say of which node, and may name listeners that it had then. It is an
// ErrNotArchived if it is not there, or not as it was.
func (a Archive) Load(hash string, opts Options) (*Policy, error) {
	if len(hash) != hashLength || strings.Trim(hash, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("%w: %q is no hash", ErrNotArchived, hash)
	}
	dir := filepath.Join(a.Dir, hash)
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNotArchived, hash)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		return nil, fmt.Errorf("%w: %s holds %d files, want one", ErrNotArchived, dir, len(entries))
	}
	opts.Now, opts.Listeners = info.ModTime(), nil // names of listeners are not checked
	p, err := Load(filepath.Join(dir, entries[0].Name()), opts)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNotArchived, hash, err)
	}
	if p.Hash() != hash {
		return nil, fmt.Errorf("%w: %s is not what came into force: it was changed, or the host name was", ErrNotArchived, dir)
	}
	return p, nil
}

// trim removes the oldest.
func (a Archive) trim() error {
	entries, err := os.ReadDir(a.Dir)
	if err != nil || len(entries) <= maxArchived {
		return err
	}
	type kept struct {
		name string
		at   time.Time
	}
	var all []kept
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		all = append(all, kept{e.Name(), info.ModTime()})
	}
	slices.SortFunc(all, func(x, y kept) int { return cmp.Or(x.at.Compare(y.at), strings.Compare(x.name, y.name)) })
	for _, k := range all[:max(len(all)-maxArchived, 0)] {
		if err := os.RemoveAll(filepath.Join(a.Dir, k.name)); err != nil {
			return err
		}
	}
	return nil
}

// writeDurably makes a file, whole or not at all.
func writeDurably(name string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(filepath.Dir(name)), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
