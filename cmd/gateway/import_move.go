package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"gateway/admin"
	"gateway/auth"
	"gateway/migration/move"
)

// moveHomes copies the folders of the accounts into the storage, and then lets the accounts
// have their files there. A folder of several accounts stays where it is.
func (c *cli) moveHomes(ctx context.Context, client *admin.Client, out *importResult, progress io.Writer) error {
	cfg, err := c.loadConfig()
	if err != nil {
		return err
	}
	owners := make(map[string]int)
	for _, a := range out.Accounts {
		owners[a.home]++
	}
	options, err := ownersOf(cfg.Storage.Path)
	if err != nil {
		return err
	}
	for i := range out.Accounts {
		a := &out.Accounts[i]
		if a.home == "" || a.Action == auth.ImportRefuse {
			continue
		}
		if owners[a.home] > 1 {
			a.Left = append(a.Left, fmt.Sprintf("%s is the folder of %d accounts, and stays where it is", a.home, owners[a.home]))
			continue
		}
		user, err := admin.Call[admin.User](ctx, client, "user.show", admin.Name{Name: a.Name})
		if err != nil {
			return err
		}
		if user.Home != a.home {
			continue // it was moved before, or has another by now
		}
		report := every(2*time.Second, func(files int64) { fmt.Fprintf(progress, "%s: %d files are copied\n", a.Name, files) })
		options.Progress = func(files, _ int64) { report(files) }
		if err := c.moveHome(ctx, client, a, cfg.Storage.Path, options); err != nil {
			return fmt.Errorf("move the files of %s, which stay where they are: %w", a.Name, err)
		}
	}
	return nil
}

func (c *cli) moveHome(ctx context.Context, client *admin.Client, a *importedAccount, storage string, options move.Options) error {
	to := filepath.Join(storage, a.Name)
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if options.Chown {
		if err := os.Lchown(to, options.UID, options.GID); err != nil {
			return err
		}
	}
	r, err := move.Copy(ctx, a.home, to, options)
	if err != nil {
		return err
	}
	none := ""
	if _, err := admin.Call[admin.User](ctx, client, "user.set", admin.UserUpdate{Name: a.Name, Home: &none}); err != nil {
		return err
	}
	a.Moved = fmt.Sprintf("%d files (%d bytes) from %s, %d were there", r.Files, r.Bytes, a.home, r.Same)
	a.Left = append(a.Left, r.Left...)
	return nil
}

// ownersOf lets copies belong to whom a folder belongs, if this process may give them away.
func ownersOf(folder string) (move.Options, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return move.Options{}, err
	}
	info, err := os.Stat(folder)
	if err != nil {
		return move.Options{}, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return move.Options{}, nil
	}
	return move.Options{Chown: true, UID: int(s.Uid), GID: int(s.Gid)}, nil
}
