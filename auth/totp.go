package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"database/sql"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"sync"
	"time"

	"gateway/session"
)

// One-time codes (RFC 6238) with the values that every authenticator knows:
// HMAC-SHA-1, six digits, a new code every 30 seconds.
const (
	totpSecretBytes = 20 // RFC 4226, section 4, R6
	totpDigits      = 6
	totpStep        = 30 * time.Second
	// totpDrift is how many steps a clock may be off, either way.
	totpDrift = 1

	// maxWrongCodes in wrongCodesTime: then no code of the account is right for the
	// rest of it. Who gets there has proven something else already.
	maxWrongCodes  = 10
	wrongCodesTime = 15 * time.Minute
)

// A TOTP is the secret of an account's codes, as it is shown once: when it is made.
type TOTP struct {
	Secret string `json:"secret"` // base32, for who types it in
	URI    string `json:"uri"`    // otpauth://, for a QR code
}

func newTOTP(secret []byte, issuer, name string) TOTP {
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
	u := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + name,
		RawQuery: "secret=" + text + "&issuer=" + url.PathEscape(issuer),
	}
	return TOTP{Secret: text, URI: u.String()}
}

// totpCode is the code of one step (RFC 4226, section 5.3).
func totpCode(secret []byte, step int64) string {
	h := hmac.New(sha1.New, secret)
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	sum := h.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%0*d", totpDigits, binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}

// matchCode returns the step whose code that is, of those around now.
func matchCode(secret []byte, code string, now time.Time) (step int64, right bool) {
	current := now.Unix() / int64(totpStep/time.Second)
	for s := current - totpDrift; s <= current+totpDrift; s++ {
		if subtle.ConstantTimeCompare([]byte(totpCode(secret, s)), []byte(code)) == 1 {
			step, right = s, true
		}
	}
	return step, right
}

// verifyCode checks a one-time code. The step that it is of is on stable storage
// as used before the answer: it is not right a second time, nor is an earlier one,
// whatever happens to the process.
func (a *Accounts) verifyCode(ctx context.Context, c session.Credential) error {
	r, err := a.find(ctx, c.User)
	if err != nil {
		return err
	}
	if r == nil || r.totp == nil || !a.codes.mayTry(r.id, time.Now()) {
		return session.ErrDenied
	}
	secret, err := a.openTOTP(r.id, r.totp)
	if err != nil {
		a.cfg.Log.Error("one-time codes cannot be checked; restore the key, or give the account new codes", "user", c.User, "err", err)
		return fmt.Errorf("check the code: %w: %w", session.ErrUnavailable, err)
	}
	step, right := matchCode(secret, c.Secret.Reveal(), time.Now())
	if !right {
		a.codes.wrong(r.id, time.Now())
		return session.ErrDenied
	}
	through := context.WithoutCancel(ctx)
	var used bool
	err = a.db.Write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(through, `UPDATE account_totp SET used_step = $3 WHERE account = $1 AND secret = $2 AND used_step < $3`, r.id, r.totp, step)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		used = n == 1
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("note the code as used: %w: %w", session.ErrUnavailable, err)
	case !used:
		a.codes.wrong(r.id, time.Now())
		return session.ErrDenied
	}
	return nil
}

// wrongCodes counts wrong codes by account. Only accounts that have a secret, and
// whose client has proven something else, come in.
type wrongCodes struct {
	mu  sync.Mutex
	all map[int64]wrongCount
}

type wrongCount struct {
	n     int
	until time.Time
}

func (w *wrongCodes) mayTry(account int64, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.all[account]
	return c.n < maxWrongCodes || !now.Before(c.until)
}

func (w *wrongCodes) wrong(account int64, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[int64]wrongCount)
	}
	c := w.all[account]
	if !now.Before(c.until) {
		c = wrongCount{until: now.Add(wrongCodesTime)}
	}
	c.n++
	w.all[account] = c
}

// AddTOTP gives the account a secret for one-time codes, in place of the one it
// had, and returns it: it is never shown again. issuer is how an authenticator
// names the gateway. Errors: ErrNotExist.
func (a *Accounts) AddTOTP(ctx context.Context, name, issuer string) (TOTP, Change, error) {
	secret := make([]byte, totpSecretBytes)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	c, err := a.edit(ctx, "add one-time codes to", name, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM account_totp WHERE account = $1`, before.id); err != nil {
			return err
		}
		sealed, err := a.sealTOTP(before.id, secret)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO account_totp (account, secret, used_step, added) VALUES ($1, $2, 0, $3)`, before.id, sealed, now)
		return err
	})
	if err != nil {
		return TOTP{}, Change{}, err
	}
	return newTOTP(secret, issuer, name), c, nil
}

// RemoveTOTP takes the secret away: where the rules ask for a code, nothing is
// right any more. Errors: ErrNotExist.
func (a *Accounts) RemoveTOTP(ctx context.Context, name string) (Change, error) {
	return a.edit(ctx, "remove one-time codes of", name, func(ctx context.Context, tx *sql.Tx, before *record, _ int64) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM account_totp WHERE account = $1`, before.id)
		return oneRow(res, err, errNoTOTP)
	})
}
