package main

import (
	"errors"
	"fmt"
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
	dir := filepath.Dir(r.cfg.Policy)
	tmp, err := os.CreateTemp(dir, ".policy-*")
	if err != nil {
		return fmt.Errorf("replace the policy: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(src)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), r.cfg.Policy)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("replace the policy: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
