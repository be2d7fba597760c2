package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gateway/auth"
	"gateway/session"
)

// ImportEntry is an account of another server, as PrepareImport made it.
type ImportEntry struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
	auth.Allowance
	Home      string    `json:"home,omitempty"`
	Expires   time.Time `json:"expires,omitzero"`
	Disabled  bool      `json:"disabled,omitempty"`
	Keys      []string  `json:"keys,omitempty"` // lines of authorized_keys
	Addresses []string  `json:"addresses,omitempty"`
	// Secret is what the source has of the password; Stored what becomes of it, which a
	// plan does without.
	Secret string      `json:"secret,omitempty"`
	Stored auth.Stored `json:"stored,omitzero"`
}

// ImportRequest is a request to import accounts.
type ImportRequest struct {
	Format   string        `json:"format"`
	Accounts []ImportEntry `json:"accounts"`
}

// ImportPlan is what an import does with one account, and what the operator has to see to.
type ImportPlan struct {
	auth.ImportPlan
	Warnings []string `json:"warnings,omitempty"`
}

func (s *Service) importPlan(ctx context.Context, in ImportRequest) ([]ImportPlan, error) {
	list, err := in.imported()
	if err != nil {
		return nil, err
	}
	plans, err := s.Accounts.PlanImport(ctx, in.Format, list)
	if err != nil {
		return nil, err
	}
	shared := make(map[string][]string)
	for _, e := range in.Accounts {
		shared[e.Home] = append(shared[e.Home], e.Name)
	}
	out := make([]ImportPlan, len(plans))
	for i, p := range plans {
		out[i].ImportPlan = p
		home := in.Accounts[i].Home
		if home == "" || p.Action == auth.ImportRefuse || p.Action == auth.ImportSame {
			continue
		}
		if err := s.checkHome(home); err != nil {
			out[i].Warnings = append(out[i].Warnings, err.Error())
		}
		if above := folderAbove(home, shared); above != "" {
			out[i].Warnings = append(out[i].Warnings, fmt.Sprintf("%s lies in %s, the folder of %s, who reaches all of it", home, above, shared[above][0]))
		}
		if others := shared[home]; len(others) > 1 {
			other := others[0]
			if other == p.Name {
				other = others[1]
			}
			out[i].Warnings = append(out[i].Warnings, fmt.Sprintf("%s is the folder of %s too (%d accounts): each counts for its quota only what it changes itself", home, other, len(others)))
		}
	}
	return out, nil
}

// folderAbove is the folder of another account in which a home lies, "" for none.
func folderAbove(home string, homes map[string][]string) string {
	for dir := filepath.Dir(home); dir != "/"; dir = filepath.Dir(dir) {
		if len(homes[dir]) > 0 {
			return dir
		}
	}
	return ""
}

// importApply records the import, then makes it, then records each account as it is.
func (s *Service) importApply(ctx context.Context, in ImportRequest) ([]auth.ImportPlan, error) {
	list, err := in.imported()
	if err != nil {
		return nil, err
	}
	for _, e := range in.Accounts {
		if err := s.reserved(e.Home); err != nil {
			return nil, Usage("account %q: %w", e.Name, err)
		}
	}
	var plans []auth.ImportPlan
	err = s.record(ctx, verbImport, "accounts from "+in.Format, func() (any, any, error) {
		defer s.redecide(ctx)
		var err error
		if plans, err = s.Accounts.Import(ctx, in.Format, list); err != nil {
			return nil, nil, err
		}
		count := make(map[auth.ImportAction]int)
		for _, p := range plans {
			count[p.Action]++
			if p.Action == auth.ImportAdd || p.Action == auth.ImportChange {
				err = errors.Join(err, s.Recorder.Append(session.Event{
					Event: session.EventAdmin, Protocol: session.CLI, User: actor(ctx), Verb: verbImport, Object: "user " + p.Name,
					Outcome: session.OutcomeDone, Before: written(p.Before), After: written(p.After),
				}))
			}
		}
		return nil, count, err
	})
	return plans, err
}

// imported are the entries as package auth takes them.
func (in ImportRequest) imported() ([]auth.Imported, error) {
	if in.Format == "" {
		return nil, Usage("the import names no format")
	}
	list := make([]auth.Imported, 0, len(in.Accounts))
	for _, e := range in.Accounts {
		a := auth.Imported{
			Name: e.Name, Groups: e.Groups, Allowance: e.Allowance, Home: e.Home, Expires: e.Expires, Disabled: e.Disabled,
			Addresses: e.Addresses, Secret: session.NewSecret(e.Secret), Stored: e.Stored,
		}
		if len(e.Keys) > 0 {
			var err error
			if a.Keys, err = auth.ParseKeys([]byte(strings.Join(e.Keys, "\n")), time.Now()); err != nil {
				return nil, fmt.Errorf("account %q: %w", e.Name, err)
			}
		}
		list = append(list, a)
	}
	return list, nil
}

// reserved refuses a folder that holds what is the gateway's own, or is in it.
func (s *Service) reserved(home string) error {
	for _, own := range s.Reserved {
		if home != "" && (within(home, own) || within(own, home)) {
			return fmt.Errorf("home %s: the gateway keeps its own files in %s", home, own)
		}
	}
	return nil
}

// within reports whether a path is folder, or lies in it.
func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// checkHome reports why the gateway could not use a folder as an account's, and what to
// do. It looks with the rights of this process, which are those of the gateway where one
// runs.
func (s *Service) checkHome(home string) error {
	if err := errors.Join(auth.CheckHome(home), s.reserved(home)); err != nil || home == "" {
		return err
	}
	info, err := os.Stat(home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("home %s is not there: make it, or take another with gateway user set NAME --home FOLDER", home)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("home %s cannot be reached: a folder above it lets nobody through; see namei -l %s", home, home)
	case err != nil:
		return fmt.Errorf("home %s: %w", home, err)
	case !info.IsDir():
		return fmt.Errorf("home %s is no folder", home)
	}
	if unix.Faccessat(unix.AT_FDCWD, home, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS) != nil {
		me := userName(os.Geteuid())
		return fmt.Errorf("home %s belongs to somebody else, and %s may not write there: setfacl -R -m u:%s:rwX,d:u:%s:rwX %s", home, me, me, me, home)
	}
	return nil
}

// ExportedUser is an account with all that another gateway needs to have it too.
type ExportedUser struct {
	User
	KeyLines []string `json:"key_lines,omitempty"` // of authorized_keys
	Hash     string   `json:"hash,omitempty"`      // of the password, if it was asked for
}

// Export asks for the accounts; with Hashes their passwords too.
type Export struct {
	Hashes bool `json:"hashes"`
}

// userExport also records that it was asked for.
func (s *Service) userExport(ctx context.Context, in Export) ([]ExportedUser, error) {
	what := "all accounts"
	if in.Hashes {
		what = "all accounts with the hashes of their passwords"
	}
	if err := s.Recorder.Commit(ctx, session.Event{
		Event: session.EventAdmin, Protocol: session.CLI, User: actor(ctx), Verb: verbExport, Object: what, Outcome: session.OutcomeDone,
	}); err != nil {
		return nil, err
	}
	users, err := s.Accounts.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]ExportedUser, 0, len(users))
	for _, u := range users {
		e := ExportedUser{User: u}
		for _, k := range u.Keys {
			if text := k.Line(); text != "" {
				e.KeyLines = append(e.KeyLines, text)
			}
		}
		if in.Hashes {
			if e.Hash, err = s.Accounts.HashOf(ctx, u.Name); err != nil {
				return nil, err
			}
		}
		out = append(out, e)
	}
	return slices.Clip(out), nil
}
