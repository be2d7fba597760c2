package mtasts

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// tempPrefix begins the names of files that are being written. No domain begins
// with a dot.
const tempPrefix = ".new-"

// kept is a policy as it lies in a file that is named after its domain.
type kept struct {
	ID      string    `json:"id"`
	Mode    Mode      `json:"mode"`
	MX      []string  `json:"mx"`
	MaxAge  int64     `json:"max_age"` // in seconds
	Fetched time.Time `json:"fetched"`
}

// load reads what was kept. What is over, or is no policy, is removed.
func (c *Cache) load(now time.Time) error {
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, tempPrefix) {
			c.remove(name)
			continue
		}
		if !validDomain(name) || !e.Type().IsRegular() {
			continue // not ours
		}
		d, err := c.read(name)
		if err != nil {
			return err
		}
		if d == nil || !d.fresh(now) || len(c.domains) >= maxDomains {
			c.remove(name)
			continue
		}
		c.domains[name] = d
	}
	return nil
}

// read returns nil for a file that holds no policy.
func (c *Cache) read(name string) (*domain, error) {
	text, err := os.ReadFile(filepath.Join(c.cfg.Dir, name))
	if err != nil {
		return nil, err
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, nil //nolint:nilerr // cut off by a crash; it will be fetched again
	}
	age := time.Duration(k.MaxAge) * time.Second
	if k.MaxAge < 0 || age > maxAge || k.Fetched.After(time.Now()) {
		return nil, nil
	}
	return &domain{
		busy:    make(chan struct{}, 1),
		policy:  Policy{ID: k.ID, Mode: k.Mode, MX: k.MX, MaxAge: age},
		fetched: k.Fetched,
	}, nil
}

func (c *Cache) save(name string, d *domain) error {
	if c.cfg.Dir == "" {
		return nil
	}
	text, err := json.Marshal(kept{d.policy.ID, d.policy.Mode, d.policy.MX, int64(d.policy.MaxAge / time.Second), d.fetched.UTC()})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(c.cfg.Dir, tempPrefix)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.cfg.Dir, name))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func (c *Cache) remove(name string) {
	if c.cfg.Dir == "" || name == "" {
		return
	}
	if err := os.Remove(filepath.Join(c.cfg.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.cfg.Log.Warn("MTA-STS policy not removed", "file", name, "err", err)
	}
}
