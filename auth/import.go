package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"gateway/session"
	"gateway/store"
)

// Imported is an account of another server, as it is to be here.
type Imported struct {
	Name   string
	Groups []string
	Allowance
	Home      string
	Expires   time.Time
	Disabled  bool
	Keys      []Key
	Addresses []string
	// Secret is what the source holds of the password, a hash or the password itself: by
	// it a later import finds out whether it changed. Empty is no password.
	Secret session.Secret
	// Stored is what is stored for it. PlanImport does without.
	Stored Stored
}

// ImportAction is what an import does with an account.
type ImportAction string

// The actions.
const (
	ImportAdd    ImportAction = "add"
	ImportChange ImportAction = "change"
	ImportSame   ImportAction = "same"   // nothing, for nothing changed
	ImportRefuse ImportAction = "refuse" // nothing, for a reason
)

// ImportPlan is what an import does, or did, with one account.
type ImportPlan struct {
	Name   string       `json:"name"`
	Action ImportAction `json:"action"`
	Reason string       `json:"reason,omitempty"` // of a refusal
	// Password says that the password is set, so that a hash is needed. Kept says why it is
	// not, although the source has another.
	Password bool   `json:"password,omitempty"`
	Kept     string `json:"kept,omitempty"`
	// Before and After are the account.
	Before *Info `json:"before,omitempty"`
	After  *Info `json:"after,omitempty"`
}

// PlanImport says what Import would do with the accounts, by the same rules. Nothing is
// changed.
func (a *Accounts) PlanImport(ctx context.Context, format string, list []Imported) ([]ImportPlan, error) {
	var plans []ImportPlan
	err := a.db.Read(ctx, func(tx *sql.Tx) error {
		im, err := a.newImporter(ctx, tx, format)
		if err != nil {
			return err
		}
		for _, in := range list {
			plans = append(plans, im.plan(in).ImportPlan)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("plan the import: %w", err)
	}
	return plans, nil
}

// Import makes the accounts, or changes them to what the source says now, all in one
// transaction. Those that are refused are left as they are; an error means that nothing
// was changed. A password that was changed here since it was imported stays. To end the
// sessions of who was changed is for the caller (session.Gate.Redecide).
func (a *Accounts) Import(ctx context.Context, format string, list []Imported) ([]ImportPlan, error) {
	var plans []ImportPlan
	through := context.WithoutCancel(ctx)
	err := a.db.Write(ctx, func(tx *sql.Tx) error {
		im, err := a.newImporter(through, tx, format)
		if err != nil {
			return err
		}
		plans = nil
		for _, in := range list {
			p := im.plan(in)
			if err := im.apply(p, in); err != nil {
				return about(in.Name, err)
			}
			plans = append(plans, p.ImportPlan)
		}
		return nil
	})
	for _, p := range plans {
		a.memo.forget(a.memo.name(p.Name))
	}
	if err := a.refreshAll(through, true); err != nil {
		a.stale.Store(true)
		a.cfg.Log.Error("accounts cannot be read", "err", err)
	}
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	a.lookForWeak()
	for _, p := range plans {
		if p.Action == ImportChange && len(p.After.Keys) > len(p.Before.Keys) {
			a.forgetExposure(p.Name)
		}
	}
	return plans, nil
}

// importer plans and applies one import.
type importer struct {
	ctx     context.Context
	tx      *sql.Tx
	format  string
	key     []byte
	now     int64
	there   map[string]*record
	owner   map[string]string // of mail addresses
	before  map[int64]imports // of earlier imports of the format, by account
	planned map[string]bool   // names of this import
}

// imports is what is known of an earlier import of an account.
type imports struct {
	source, password []byte
	at               int64
}

func (a *Accounts) newImporter(ctx context.Context, tx *sql.Tx, format string) (*importer, error) {
	im := &importer{
		ctx: ctx, tx: tx, format: format, key: a.key, now: time.Now().UnixMicro(), owner: make(map[string]string), before: make(map[int64]imports),
		planned: make(map[string]bool),
	}
	var err error
	if im.there, err = loadAll(ctx, tx); err != nil {
		return nil, err
	}
	for name, r := range im.there {
		for _, address := range r.info.Addresses {
			im.owner[address] = name
		}
	}
	rows, err := tx.QueryContext(ctx, `SELECT account, source, password, imported FROM account_imports WHERE format = $1`, format)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var was imports
		if err := rows.Scan(&id, &was.source, &was.password, &was.at); err != nil {
			return nil, err
		}
		im.before[id] = was
	}
	return im, rows.Err()
}

// keyed is a hash that says nothing to who has not the key.
func (im *importer) keyed(what string, content []byte) []byte {
	h := hmac.New(sha256.New, im.key)
	fmt.Fprintf(h, "import %s\x00", what)
	h.Write(content)
	return h.Sum(nil)
}

// plannedImport is a plan with what applying it takes.
type plannedImport struct {
	ImportPlan
	record *record // that is there
	marks  imports
}

// plan decides what is done with an account. It takes note of names and addresses, so that
// what comes later in the same import sees it.
func (im *importer) plan(in Imported) plannedImport {
	p := plannedImport{ImportPlan: ImportPlan{Name: in.Name}, record: im.there[in.Name]}
	if err := im.check(&in); err != nil {
		p.Action, p.Reason = ImportRefuse, err.Error()
		return p
	}
	im.planned[in.Name] = true
	p.marks = im.marksOf(in)
	if p.record == nil {
		p.Action, p.Password = ImportAdd, !in.Secret.Empty()
		im.become(&p, (&Info{Name: in.Name, Created: fromMicros(im.now)}).clone(), in)
		return p
	}
	p.Before = describe(p.record)
	if from := p.record.info.Source; from != "" {
		p.Action, p.Reason = ImportRefuse, fmt.Sprintf("there is an account of that name from the source %q (gateway.hcl): give the imported one another name (--map), or remove that first (gateway user remove)", from)
		return p
	}
	was, imported := im.before[p.record.id]
	switch {
	case imported && bytes.Equal(was.source, p.marks.source):
		p.Action = ImportSame
		return p
	case !imported && !in.Secret.Empty() && p.record.password != 0:
		p.Action, p.Reason = ImportRefuse, "there is an account of that name, with a password of its own: give the imported one another name (--map), or remove it first (gateway user remove)"
		return p
	case in.Secret.Empty() || imported && bytes.Equal(was.password, p.marks.password):
	case imported && p.record.info.PasswordChanged.UnixMicro() != was.at && p.record.password != 0:
		p.Kept = "its password here was changed since it was imported, and stays"
	default:
		p.Password = true
	}
	p.Action = ImportChange
	im.become(&p, describe(p.record), in)
	return p
}

// check refuses what cannot be stored.
func (im *importer) check(in *Imported) error {
	if im.planned[in.Name] {
		return invalid("account", "the name comes twice in this import")
	}
	if len(im.there)+len(im.planned) >= maxAccounts {
		return invalid("account", "there are %d accounts, which is the most", maxAccounts)
	}
	groups, err := checkGroups(in.Groups)
	if err != nil {
		return err
	}
	in.Groups = groups
	if err := errors.Join(CheckName(in.Name), CheckHome(in.Home)); err != nil {
		return err
	}
	if in.Allowance, err = in.Allowance.checked(); err != nil {
		return err
	}
	if len(in.Keys) > maxKeys || len(in.Addresses) > maxAddresses {
		return invalid("account", "it has more than %d keys or %d addresses", maxKeys, maxAddresses)
	}
	for _, address := range in.Addresses {
		if owner, taken := im.owner[address]; taken && owner != in.Name {
			return fmt.Errorf("%s: %w, %q", address, errAddressUsed, owner)
		}
	}
	return nil
}

// marksOf are by what the next import tells whether the source changed.
func (im *importer) marksOf(in Imported) imports {
	secret := []byte(in.Secret.Reveal())
	var fingerprints []string
	for _, k := range in.Keys {
		fingerprints = append(fingerprints, k.Fingerprint)
	}
	content, _ := json.Marshal([]any{in.Name, in.Groups, in.Allowance, in.Home, in.Expires, in.Disabled, in.Addresses, fingerprints}) // plain values
	return imports{source: im.keyed("source", append(content, secret...)), password: im.keyed("password", secret), at: im.now}
}

// become makes i what the account becomes. What the source does not say stays; groups, keys
// and addresses are added to those that there are.
func (im *importer) become(p *plannedImport, i *Info, in Imported) {
	i.Changed = fromMicros(im.now)
	if p.Password {
		i.PasswordChanged = i.Changed
	}
	i.Groups = sortedSet(append(i.Groups, in.Groups...))
	i.Addresses = sortedSet(append(i.Addresses, in.Addresses...))
	for _, address := range in.Addresses {
		im.owner[address] = in.Name
	}
	if i.Keys == nil {
		i.Keys = []Key{} // [] in JSON, not null
	}
	for _, k := range in.Keys {
		if !slices.ContainsFunc(i.Keys, func(has Key) bool { return has.id() == k.id() }) {
			k.Added = i.Changed
			i.Keys = append(i.Keys, k)
		}
	}
	if len(in.Permissions) > 0 {
		i.Permissions = in.Permissions
	}
	for _, n := range []struct{ to, from *int64 }{
		{&i.Quota.Bytes, &in.Quota.Bytes}, {&i.Quota.Files, &in.Quota.Files}, {&i.Bandwidth, &in.Bandwidth},
	} {
		if *n.from != 0 {
			*n.to = *n.from
		}
	}
	if !reflect.ValueOf(in.Mail).IsZero() {
		i.Mail = in.Mail
	}
	// An account that has its files in the folder of its name keeps them there.
	if in.Home != "" && (p.record == nil || i.Home != "") {
		i.Home = in.Home
	}
	if !in.Expires.IsZero() {
		i.Expires = in.Expires
	}
	i.Disabled = in.Disabled
	p.After = i
}

// apply stores what was planned.
func (im *importer) apply(p plannedImport, in Imported) error {
	if p.Action != ImportAdd && p.Action != ImportChange {
		return nil
	}
	id, err := im.applyAccount(p)
	if err != nil {
		return err
	}
	if err := im.applyLists(id, p); err != nil {
		return err
	}
	if p.Password {
		if err := in.Stored.put(im.ctx, im.tx, id, im.now); err != nil {
			return err
		}
	}
	if was, imported := im.before[id]; imported && !p.Password {
		p.marks.at = was.at // of the password that it still has
	}
	_, err = im.tx.ExecContext(im.ctx, `INSERT INTO account_imports (account, format, source, password, imported) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account, format) DO UPDATE SET source = excluded.source, password = excluded.password, imported = excluded.imported`,
		id, im.format, p.marks.source, p.marks.password, p.marks.at)
	return err
}

func (im *importer) applyAccount(p plannedImport) (id int64, err error) {
	i := p.After
	if p.record == nil {
		err = im.tx.QueryRowContext(im.ctx, `INSERT INTO accounts (name, disabled, route, home, expires, created, changed) VALUES ($1, $2, '', $3, $4, $5, $5) RETURNING id`,
			i.Name, i.Disabled, i.Home, toMicros(i.Expires), im.now).Scan(&id)
	} else {
		id = p.record.id
		_, err = im.tx.ExecContext(im.ctx, `UPDATE accounts SET disabled = $2, home = $3, expires = $4, changed = $5 WHERE id = $1`,
			id, i.Disabled, i.Home, toMicros(i.Expires), im.now)
	}
	if err != nil {
		return 0, err
	}
	return id, putAccountAllowance(im.ctx, im.tx, id, i.Allowance)
}

// applyLists stores groups, keys and addresses.
func (im *importer) applyLists(id int64, p plannedImport) error {
	if _, err := im.tx.ExecContext(im.ctx, `DELETE FROM account_groups WHERE account = $1`, id); err != nil {
		return err
	}
	if err := putGroups(im.ctx, im.tx, id, p.After.Groups); err != nil {
		return err
	}
	var had []Key
	if p.Before != nil {
		had = p.Before.Keys
	}
	if added := p.After.Keys[len(had):]; len(added) > 0 {
		at := &record{id: id}
		at.info.Keys = had
		if err := putKeys(im.ctx, im.tx, at, im.now, added...); err != nil {
			return err
		}
	}
	for _, address := range p.After.Addresses {
		if p.Before != nil && slices.Contains(p.Before.Addresses, address) {
			continue
		}
		_, err := im.tx.ExecContext(im.ctx, `INSERT INTO account_addresses (address, account) VALUES ($1, $2)`, address, id)
		if store.Conflict(err) {
			return fmt.Errorf("%s: %w", address, errAddressUsed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// HashOf returns the hash of the account's password, as hashes.Parse reads it, for another
// gateway to have; empty if it has none. Errors: ErrNotExist.
func (a *Accounts) HashOf(ctx context.Context, name string) (string, error) {
	r, err := a.find(ctx, name)
	switch {
	case err != nil:
		return "", err
	case r == nil:
		return "", about(name, errNoAccount)
	case r.password == 0 || r.unreadable != nil:
		return "", nil
	default:
		return r.hash.Encode(), nil
	}
}
