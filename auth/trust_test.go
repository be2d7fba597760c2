package auth

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// serialsKRL is a list that revokes serial numbers of any authority.
func serialsKRL(serials ...uint64) []byte {
	str := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	var list []byte
	for _, s := range serials {
		list = binary.BigEndian.AppendUint64(list, s)
	}
	certs := append(str(nil), str(nil)...)
	certs = append(append(certs, krlSerialList), str(list)...)
	return append(append(emptyKRL(), krlCertificates), str(certs)...)
}

func emptyKRL() []byte {
	out := append([]byte(krlMagic), 0, 0, 0, krlFormat)
	return append(out, make([]byte, 3*8+2*4)...)
}

// keysKRL is a list that revokes keys.
func keysKRL(blobs ...string) []byte {
	var list []byte
	for _, b := range blobs {
		list = append(binary.BigEndian.AppendUint32(list, uint32(len(b))), b...)
	}
	return append(append(append(emptyKRL(), krlKeys), binary.BigEndian.AppendUint32(nil, uint32(len(list)))...), list...)
}

func TestGroupAuthorities(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret", "staff", "users")
	add(t, a, "ann", "secret", "users")
	ca := newSigner(t)
	line := ssh.MarshalAuthorizedKey(ca.PublicKey())
	key := userCert(t, ca, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"joe", "ann"} })
	good := func(user string) bool {
		t.Helper()
		known, err := knows(t.Context(), a, user, key)
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	if good("joe") {
		t.Error("good before there is an authority")
	}
	c, err := a.AddAuthorities(t.Context(), "staff", line)
	if err != nil || len(c.Before.Authorities) != 0 || len(c.After.Authorities) != 1 || c.After.Authorities[0].Options[0] != "cert-authority" {
		t.Fatalf("got %+v, %v", c, err)
	}
	if !good("joe") || good("ann") {
		t.Errorf("joe %v, ann %v; want the member of the group alone", good("joe"), good("ann"))
	}
	if _, err := a.AddAuthorities(t.Context(), "staff", line); !errors.Is(err, ErrExist) {
		t.Errorf("twice: %v", err)
	}
	if g, err := a.Group(t.Context(), "staff"); err != nil || g.Name != "staff" {
		t.Errorf("group: %+v, %v", g, err)
	}

	// The list of any group of the account revokes.
	for name, tt := range map[string]struct {
		list []byte
		want bool
	}{
		"nothing": {emptyKRL(), true}, "another serial": {serialsKRL(6, 8), true}, "its serial": {serialsKRL(7), false},
		"its authority": {keysKRL(string(ca.PublicKey().Marshal())), false},
	} {
		if _, err := a.SetKRL(t.Context(), "users", tt.list); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := good("joe"); got != tt.want {
			t.Errorf("%s: good %v, want %v", name, got, tt.want)
		}
	}
	if _, err := a.SetKRL(t.Context(), "users", []byte("garbage")); !errors.Is(err, ErrInvalid) {
		t.Errorf("garbage: %v", err)
	}
	if c, err := a.SetKRL(t.Context(), "users", nil); err != nil || c.Before.Revoked == nil || c.After.Revoked != nil || !good("joe") {
		t.Errorf("taken away: %+v, %v", c, err)
	}
	if _, err := a.SetKRL(t.Context(), "users", nil); !errors.Is(err, ErrNotExist) {
		t.Errorf("taken away twice: %v", err)
	}
	if _, err := a.RemoveAuthority(t.Context(), "staff", "SHA256:x"); !errors.Is(err, ErrNotExist) {
		t.Errorf("unknown: %v", err)
	}
	if _, err := a.RemoveAuthority(t.Context(), "staff", ssh.FingerprintSHA256(ca.PublicKey())); err != nil || good("joe") {
		t.Errorf("removed: %v, good %v", err, good("joe"))
	}
}

// A plain key of an account can be revoked too, and a list that cannot be read
// leaves no key good, as with sshd.
func TestRevokedKeys(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret", "staff")
	text := ed25519Key(t)
	if _, err := a.AddKeys(t.Context(), "joe", []byte(text)); err != nil {
		t.Fatal(err)
	}
	key := sessionKey(t, text)
	if _, err := a.SetKRL(t.Context(), "staff", keysKRL(key.Blob)); err != nil {
		t.Fatal(err)
	}
	if answer, _ := a.Knows(t.Context(), source, "joe", key); answer.Known || answer.Why != "it is revoked" {
		t.Errorf("revoked: %+v", answer)
	}
	if _, err := a.SetKRL(t.Context(), "staff", emptyKRL()); err != nil {
		t.Fatal(err)
	}
	if answer, _ := a.Knows(t.Context(), source, "joe", key); !answer.Known {
		t.Errorf("not revoked: %+v", answer)
	}
	err := a.db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(context.Background(), `UPDATE group_revocations SET list = x'00'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, err = Open(t.Context(), a.db, Config{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	if answer, _ := a.Knows(t.Context(), source, "joe", key); answer.Known || !strings.Contains(answer.Why, "cannot be read") {
		t.Errorf("unreadable: %+v", answer)
	}
	if err := login(t, a, "joe", "secret"); err != nil {
		t.Errorf("the password: %v", err)
	}
	if trust, err := a.GroupTrust(t.Context(), "staff"); err != nil || trust.Revoked == nil || trust.Revoked.Comment != "cannot be read" {
		t.Errorf("shown %+v, %v", trust, err)
	}
}
