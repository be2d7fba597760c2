package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gateway/config"
	"gateway/policies"
)

// rules are the policy of an installation: they implement admin.Rules.
type rules struct{ cfg *config.Config }

func (r rules) options() policies.Options {
	return policies.Options{Hostname: r.cfg.Hostname, Listeners: r.cfg.Listens(), Relays: r.cfg.Relays()}
}

// Load reads the policy file.
func (r rules) Load() (*policies.Policy, error) { return policies.Load(r.cfg.Policy, r.options()) }

// Parse reads src as the policy file.
func (r rules) Parse(src []byte, name string) (*policies.Policy, error) {
	return policies.Parse(src, name, r.options())
}

// Install replaces the policy file, whole or not at all.
func (r rules) Install(src []byte) error {
	if err := replaceFile(r.cfg.Policy, src); err != nil {
		return fmt.Errorf("replace the policy: %w", err)
	}
	return nil
}

// shadowFile holds the rules that are only recorded.
func (r rules) shadowFile() string { return filepath.Join(r.cfg.State, "shadow.hcl") }

// LoadShadow reads the rules that are only recorded; nil if there are none.
func (r rules) LoadShadow() (*policies.Policy, error) {
	p, err := policies.Load(r.shadowFile(), r.options())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return p, err
}

// InstallShadow replaces them; nil removes them.
func (r rules) InstallShadow(src []byte) error {
	var err error
	if src != nil {
		err = replaceFile(r.shadowFile(), src)
	} else if err = os.Remove(r.shadowFile()); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("replace the shadow policy: %w", err)
	}
	return nil
}

// replaceFile puts a file on stable storage, whole or not at all.
func replaceFile(name string, content []byte) error {
	dir := filepath.Dir(name)
	tmp, err := os.CreateTemp(dir, ".policy-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err == nil {
		err = syncDir(dir)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
