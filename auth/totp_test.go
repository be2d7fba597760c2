package auth

import (
	"encoding/base32"
	"errors"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/session"
	"gateway/store"
)

// The vectors of RFC 6238, appendix B, for SHA-1; six digits of their eight.
func TestCodes(t *testing.T) {
	t.Parallel()
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471",
		1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got := totpCode(secret, at/30); got != want[2:] {
			t.Errorf("at %d: got %s, want %s", at, got, want[2:])
		}
	}
}

func TestCodesAroundNow(t *testing.T) {
	t.Parallel()
	secret := []byte("12345678901234567890")
	now := time.Unix(1234567890, 0)
	for steps, want := range map[int64]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		code := totpCode(secret, now.Unix()/30+steps)
		if step, right := matchCode(secret, code, now); right != want || right && step != now.Unix()/30+steps {
			t.Errorf("%d steps off: %v, step %d", steps, right, step)
		}
	}
	for _, code := range []string{"", "00592", "0005924", "005924 ", "x05924"} {
		if _, right := matchCode(secret, code, now); right {
			t.Errorf("%q is right", code)
		}
	}
}

func addTOTP(t testing.TB, a *Accounts, name string) []byte {
	t.Helper()
	made, c, err := a.AddTOTP(t.Context(), name, "Files of Example")
	if err != nil {
		t.Fatal(err)
	}
	if c.After.TOTPAdded.IsZero() {
		t.Error("not shown as having codes")
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(made.Secret)
	if err != nil || len(secret) != totpSecretBytes {
		t.Fatalf("secret %q: %v", made.Secret, err)
	}
	u, err := url.Parse(made.URI)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Files of Example:"+name ||
		u.Query().Get("secret") != made.Secret || u.Query().Get("issuer") != "Files of Example" || strings.Contains(made.URI, "+") {
		t.Errorf("address %q, %v", made.URI, err)
	}
	return secret
}

func offerCode(t testing.TB, a *Accounts, name, code string) bool {
	t.Helper()
	_, err := a.Verify(t.Context(), source, session.Code(name, code))
	if err != nil && !errors.Is(err, session.ErrDenied) {
		t.Fatal(err)
	}
	return err == nil
}

// A code is right once: not again, not after an older one would be asked for, and
// not by a gateway that was started anew.
func TestCodeIsRightOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openStore(t, path)
	cfg := Config{Sealer: store.NewSealer(filepath.Join(t.TempDir(), "secrets.key")), Log: slog.New(slog.DiscardHandler)}
	a, err := Open(t.Context(), db, cfg)
	if err != nil {
		t.Fatal(err)
	}
	add(t, a, "joe", "secret")
	if offerCode(t, a, "joe", "000000") || offerCode(t, a, "nobody", "000000") {
		t.Error("a code is right where there is none")
	}
	secret := addTOTP(t, a, "joe")
	step := time.Now().Unix() / 30
	if !offerCode(t, a, "joe", totpCode(secret, step)) {
		t.Fatal("the code of now is wrong")
	}
	if offerCode(t, a, "joe", totpCode(secret, step)) {
		t.Error("right twice")
	}
	if offerCode(t, a, "joe", totpCode(secret, step-1)) {
		t.Error("an older one is right after a newer one")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openStore(t, path)
	defer db.Close()
	if a, err = Open(t.Context(), db, cfg); err != nil {
		t.Fatal(err)
	}
	if offerCode(t, a, "joe", totpCode(secret, step)) {
		t.Error("right twice, over a restart")
	}
	if !offerCode(t, a, "joe", totpCode(secret, step+1)) {
		t.Error("the next one is wrong")
	}
	if _, err := a.RemoveTOTP(t.Context(), "joe"); err != nil {
		t.Fatal(err)
	}
	if offerCode(t, a, "joe", totpCode(secret, step+1)) {
		t.Error("right after it was removed")
	}
	if _, err := a.RemoveTOTP(t.Context(), "joe"); !errors.Is(err, ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
}

// Whoever has the password cannot go through all codes.
func TestCodesCannotBeGuessed(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	secret := addTOTP(t, a, "joe")
	for range maxWrongCodes {
		offerCode(t, a, "joe", "x")
	}
	if offerCode(t, a, "joe", totpCode(secret, time.Now().Unix()/30)) {
		t.Error("right after too many wrong ones")
	}
	var w wrongCodes
	now := time.Now()
	for range maxWrongCodes {
		w.wrong(1, now)
	}
	if w.mayTry(1, now.Add(wrongCodesTime-1)) || !w.mayTry(1, now.Add(wrongCodesTime)) || !w.mayTry(2, now) {
		t.Error("the wrong ones are shut out, or for the wrong time")
	}
}
