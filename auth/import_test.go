package auth

import (
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// Accounts that are there get keys and addresses from a further source, but no password;
// what cannot be stored is refused alone.
func TestImportJoins(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	ctx := t.Context()
	if _, err := a.Add(ctx, "joe", New{Groups: []string{"users"}, Password: session.NewSecret("secret of joe")}); err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3MRPnUMsb6JHYxgGWHmI0lUKbCm0VI2qIjyMJcnvfR joe"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	list := []Imported{
		{Name: "joe", Keys: keys, Groups: []string{"more"}, Addresses: []string{"joe@example.com"}},
		{Name: "ann", Addresses: []string{"joe@example.com"}},
		{Name: "Bad"},
	}
	for _, want := range []ImportAction{ImportChange, ImportSame} {
		plans, err := a.Import(ctx, "authorized_keys", list)
		if err != nil {
			t.Fatal(err)
		}
		if plans[0].Action != want || plans[1].Action != ImportRefuse || plans[2].Action != ImportRefuse {
			t.Fatalf("got %+v", plans)
		}
		if !strings.Contains(plans[1].Reason, "joe@example.com") {
			t.Errorf("ann: %s", plans[1].Reason)
		}
	}
	joe, err := a.Show(ctx, "joe")
	if err != nil || len(joe.Keys) != 1 || strings.Join(joe.Groups, ",") != "more,users" || joe.PasswordChanged.IsZero() {
		t.Errorf("joe: %+v, %v", joe, err)
	}
	if _, err := a.Show(ctx, "ann"); err == nil {
		t.Error("ann was made")
	}
}
