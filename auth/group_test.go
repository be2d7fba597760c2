package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"gateway/session"
)

func setGroup(t testing.TB, a *Accounts, name string, u AllowanceUpdate) GroupChange {
	t.Helper()
	c, err := a.SetGroup(t.Context(), name, u)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A change of a group holds for its members at their next login, and disturbs
// neither their passwords nor a login that is under way.
func TestGroupChangeReachesItsMembers(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	ctx := t.Context()
	add(t, a, "joe", "right", "users", "staff")
	add(t, a, "jim", "right", "users")
	add(t, a, "eve", "right")
	if err := login(t, a, "joe", "right"); err != nil {
		t.Fatal(err)
	}
	b.count()
	before, err := a.Lookup(ctx, netip.Addr{}, "joe")
	if err != nil {
		t.Fatal(err)
	}

	quota := int64(100)
	c := setGroup(t, a, "staff", AllowanceUpdate{Permissions: rules(t, "/in=drop"), QuotaBytes: &quota})
	if c.Before != nil || c.After == nil || c.After.Members != nil || c.After.Quota.Bytes != quota {
		t.Errorf("got %+v, %+v", c.Before, c.After)
	}
	after, err := a.Lookup(ctx, netip.Addr{}, "joe")
	if err != nil {
		t.Fatal(err)
	}
	want := session.Access{Rules: *rules(t, "/=none", "/in=drop"), Shared: []session.GroupQuota{{Group: "staff", Quota: session.Quota{Bytes: quota}}}}
	if !reflect.DeepEqual(after.Identity.Access, want) {
		t.Errorf("got %+v, want %+v", after.Identity.Access, want)
	}
	if !reflect.DeepEqual(before.Identity.Access, session.FullAccess()) {
		t.Errorf("what was given out before has changed: %+v", before.Identity.Access)
	}
	if after.Generation != before.Generation {
		t.Error("a login under way would be refused because of its group")
	}
	for _, name := range []string{"jim", "eve"} {
		if got := access(t, a, name); !reflect.DeepEqual(got, session.FullAccess()) {
			t.Errorf("%s, who is not in it: got %+v", name, got)
		}
	}
	if err := login(t, a, "joe", "right"); err != nil || b.count() != 0 {
		t.Errorf("the password was forgotten: %v", err)
	}

	// Who leaves the group or joins it, and who comes by a restart.
	groups := []string{"users"}
	change, err := a.Set(ctx, "joe", Update{Groups: &groups})
	must(t, change, err)
	groups = []string{"staff"}
	change, err = a.Set(ctx, "eve", Update{Groups: &groups})
	must(t, change, err)
	again, err := Open(ctx, a.db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []*Accounts{a, again} {
		if got := access(t, one, "joe"); !reflect.DeepEqual(got, session.FullAccess()) {
			t.Errorf("who left: got %+v", got)
		}
		if got := access(t, one, "eve"); !reflect.DeepEqual(got, want) {
			t.Errorf("who joined: got %+v, want %+v", got, want)
		}
	}

	// Nothing is said any more; the members stay.
	c, err = a.RemoveGroup(ctx, "staff")
	if err != nil || c.Before == nil || c.After != nil {
		t.Errorf("remove: got %+v, %v", c, err)
	}
	if got := access(t, a, "eve"); !reflect.DeepEqual(got, session.FullAccess()) {
		t.Errorf("after it was removed: got %+v", got)
	}
	if got := a.Members("staff"); !slices.Equal(got, []string{"eve"}) {
		t.Errorf("got members %v, want eve", got)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	ctx := t.Context()
	for _, name := range []string{"zoe", "bob", "amy", "joe"} {
		add(t, a, name, "", "users")
	}
	c, err := a.Disable(ctx, "bob")
	must(t, c, err)
	c, err = a.Remove(ctx, "joe")
	must(t, c, err)
	again, err := Open(ctx, a.db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []*Accounts{a, again} {
		if got, want := one.Members("users"), []string{"amy", "bob", "zoe"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := one.Members("nobody"); got == nil || len(got) != 0 {
			t.Errorf("got %v, want an empty list", got)
		}
	}
	for _, name := range []string{"amy", "bob", "zoe"} {
		c, err := a.Remove(ctx, name)
		must(t, c, err)
	}
	if len(a.members) != 0 {
		t.Errorf("got %v, want nothing kept of groups without members", a.members)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	ctx := t.Context()
	add(t, a, "joe", "", "users")
	bandwidth, none := int64(7), int64(0)
	setGroup(t, a, "partners", AllowanceUpdate{Bandwidth: &bandwidth})
	list, err := a.Groups(ctx)
	want := []Group{
		{Name: "partners", Members: []string{}, Allowance: Allowance{Permissions: []session.PathRule{}, Bandwidth: 7}},
		{Name: "users", Members: []string{"joe"}, Allowance: Allowance{Permissions: []session.PathRule{}}},
	}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v, %v, want %+v", list, err, want)
	}
	for _, g := range want {
		if got, err := a.Group(ctx, g.Name); err != nil || !reflect.DeepEqual(got, g) {
			t.Errorf("got %+v, %v, want %+v", got, err, g)
		}
	}
	// A group of which nothing is left to say is as if nothing had been said.
	if c := setGroup(t, a, "partners", AllowanceUpdate{Bandwidth: &none}); c.Before == nil || c.After != nil {
		t.Errorf("got %+v", c)
	}
	for _, name := range []string{"partners", "nobody"} {
		if _, err := a.Group(ctx, name); !errors.Is(err, ErrNotExist) {
			t.Errorf("show %s: got %v, want %v", name, err, ErrNotExist)
		}
	}
	for _, name := range []string{"users", "nobody"} {
		if _, err := a.RemoveGroup(ctx, name); !errors.Is(err, ErrNotExist) {
			t.Errorf("remove %s: got %v, want %v", name, err, ErrNotExist)
		}
	}
	for _, name := range []string{"", "Users", "a b", "-x", strings.Repeat("x", maxGroupBytes+1)} {
		if _, err := a.SetGroup(ctx, name, AllowanceUpdate{Bandwidth: &bandwidth}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %v, want %v", name, err, ErrInvalid)
		}
	}
}

// What is held in memory ends as what is stored, whichever of account and group
// changed last.
func TestGroupsAndAccountsChangeAtOnce(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "x")
	add(t, a, "jim", "x", "g0", "g1")
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			groups, n := []string{fmt.Sprint("g", i%3)}, int64(i+1)
			if _, err := a.Set(t.Context(), "joe", Update{Groups: &groups}); err != nil {
				t.Error(err)
			}
			if _, err := a.SetGroup(t.Context(), groups[0], AllowanceUpdate{QuotaBytes: &n, Bandwidth: &n}); err != nil {
				t.Error(err)
			}
			a.Members(groups[0])
		})
	}
	wg.Wait()
	fresh, err := Open(t.Context(), a.db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"joe", "jim"} {
		if got, want := access(t, a, name), access(t, fresh, name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	if !reflect.DeepEqual(a.members, fresh.members) || !reflect.DeepEqual(a.groups, fresh.groups) {
		t.Errorf("got %v, %v, want %v, %v", a.members, a.groups, fresh.members, fresh.groups)
	}
}

// A group that cannot be read after its change is answered from no more.
func TestGroupUnreadAfterChangeIsStale(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "right", "users")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.refreshGroup(ctx, "users")
	if _, err := a.Lookup(ctx, netip.Addr{}, "joe"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("got %v, want %v", err, session.ErrUnavailable)
	}
	if _, err := a.Lookup(t.Context(), netip.Addr{}, "joe"); err != nil || a.stale.Load() {
		t.Errorf("once it can be read: got %v, stale %v", err, a.stale.Load())
	}
}
