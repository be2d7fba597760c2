package auth

import (
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gateway/session"
)

// rules reads PATH=WORDS.
func rules(t testing.TB, texts ...string) *[]session.PathRule {
	t.Helper()
	list := []session.PathRule{}
	for _, text := range texts {
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return &list
}

func access(t testing.TB, a *Accounts, name string) session.Access {
	t.Helper()
	account, err := a.Lookup(t.Context(), netip.Addr{}, name)
	if err != nil {
		t.Fatal(err)
	}
	return account.Identity.Access
}

func TestParseRule(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]session.PathRule{
		"/=all":            {Path: "/", May: session.MayAll},
		"/in=drop":         {Path: "/in", May: session.MayDrop},
		"/a=b/c=list,read": {Path: "/a=b/c", May: session.MayList | session.MayRead},
		"/no=none":         {Path: "/no"},
	} {
		if got, err := ParseRule(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for text, reason := range map[string]string{
		"":                          "want PATH=WORDS",
		"/in":                       "want PATH=WORDS",
		"=read":                     "must begin with /",
		"in=read":                   "must begin with /",
		"/in/=read":                 `write it as "/in"`,
		"/in/../out=read":           `write it as "/out"`,
		"//=read":                   `write it as "/"`,
		"/a\nb=read":                "line break",
		"/a\x00b=read":              "NUL",
		"/a\xffb=read":              "UTF-8",
		"/in=":                      "take all, none, drop",
		"/in=reed":                  `"reed" is not a permission`,
		"/" + long(4096) + "=read":  "longer than 4096",
		"/" + long(4095) + "=write": "",
	} {
		_, err := ParseRule(text)
		if reason == "" && err == nil {
			continue
		}
		if !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), reason) {
			t.Errorf("%.20q: got %v, want %v with %q", text, err, ErrInvalid, reason)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// What an account may do comes of its own rules, or else of its groups' that
// have any, or else is everything; "/" is always among the paths.
func TestAccessComesOfAccountAndGroups(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		groups map[string]Allowance
		own    Allowance
		in     []string
		want   session.Access
	}{
		{name: "nothing said", want: session.FullAccess()},
		{name: "group without a row", in: []string{"a"}, want: session.FullAccess()},
		{
			name: "group with a quota only", in: []string{"a"},
			groups: map[string]Allowance{"a": {Quota: session.Quota{Bytes: 5}}},
			want:   session.Access{Rules: session.FullAccess().Rules, Shared: []session.GroupQuota{{Group: "a", Quota: session.Quota{Bytes: 5}}}},
		},
		{
			name: "own without /", own: Allowance{Permissions: *rules(t, "/in=drop")},
			want: session.Access{Rules: *rules(t, "/=none", "/in=drop")},
		},
		{
			name: "own in place of the group's", in: []string{"a"},
			groups: map[string]Allowance{"a": {Permissions: *rules(t, "/=all", "/secret=read"), Bandwidth: 7}},
			own:    Allowance{Permissions: *rules(t, "/=list"), Quota: session.Quota{Files: 3}, Bandwidth: 9},
			want:   session.Access{Rules: *rules(t, "/=list"), Quota: session.Quota{Files: 3}, Bandwidth: 9},
		},
		{
			name: "groups together", in: []string{"a", "b", "c", "d"},
			groups: map[string]Allowance{
				"a": {Permissions: *rules(t, "/=list", "/a=read", "/a/b/c=delete"), Bandwidth: 8},
				"b": {Permissions: *rules(t, "/a/b=drop"), Bandwidth: 5, Quota: session.Quota{Bytes: 1}},
				"c": {Permissions: *rules(t, "/=rename", "/a=none", "/a-b=mkdir")},
				"d": {Quota: session.Quota{Files: 2}},
				"e": {Permissions: *rules(t, "/=all"), Bandwidth: 1, Quota: session.Quota{Bytes: 1}},
			},
			want: session.Access{
				Rules: *rules(t, "/=list,rename", "/a=read", "/a-b=list,mkdir", "/a/b=read,create", "/a/b/c=delete,create"),
				Shared: []session.GroupQuota{
					{Group: "b", Quota: session.Quota{Bytes: 1}}, {Group: "d", Quota: session.Quota{Files: 2}},
				},
				Bandwidth: 5,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			work := newAccesses(tt.groups)
			for range 2 { // worked out, then shared
				got := work.of(&Info{Groups: tt.in, Allowance: tt.own})
				if !reflect.DeepEqual(got, tt.want) {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
			}
		})
	}
}

// A merged list allows at every path what one of the groups would have.
func TestMergeIsTheUnionEverywhere(t *testing.T) {
	t.Parallel()
	one := *rules(t, "/=list", "/a=read", "/a/b=none", "/c=all")
	two := *rules(t, "/a/b/c=delete", "/c/d=none", "/cc=link")
	merged := session.Access{Rules: merge(one, two)}
	for _, name := range []string{"/", "/x", "/a", "/a/x", "/a/b", "/a/b/x", "/a/b/c", "/a/b/c/d", "/c", "/c/d", "/c/d/e", "/cc", "/ccc"} {
		want := session.Access{Rules: one}.At(name) | session.Access{Rules: two}.At(name)
		if got := merged.At(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestAllowanceLife(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	ctx := t.Context()
	quota, files, bandwidth, none := int64(10<<30), int64(500), int64(5<<20), int64(0)
	c, err := a.Add(ctx, "joe", New{Groups: []string{"users"}, Allowance: Allowance{Permissions: *rules(t, "/in=drop", "/=list"), Bandwidth: 1}})
	must(t, c, err)
	c, err = a.Set(ctx, "joe", Update{AllowanceUpdate: AllowanceUpdate{QuotaBytes: &quota, QuotaFiles: &files, Bandwidth: &bandwidth}})
	must(t, c, err)
	want := Allowance{Permissions: *rules(t, "/=list", "/in=drop"), Quota: session.Quota{Bytes: quota, Files: files}, Bandwidth: bandwidth}
	if !reflect.DeepEqual(c.After.Allowance, want) || c.Before.Bandwidth != 1 {
		t.Errorf("set: got %+v, %+v, want %+v", c.Before.Allowance, c.After.Allowance, want)
	}
	again, err := Open(ctx, a.db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []*Accounts{a, again} {
		if got := access(t, one, "joe"); !reflect.DeepEqual(got, session.Access{Rules: want.Permissions, Quota: want.Quota, Bandwidth: bandwidth}) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	// What is not named stays, and none of it is allowed.
	c, err = a.Set(ctx, "joe", Update{AllowanceUpdate: AllowanceUpdate{Permissions: rules(t), QuotaBytes: &none}})
	must(t, c, err)
	if got := c.After.Allowance; got.Permissions == nil || len(got.Permissions) != 0 || got.Quota != (session.Quota{Files: files}) || got.Bandwidth != bandwidth {
		t.Errorf("removed: got %+v", got)
	}
	c, err = a.Remove(ctx, "joe")
	must(t, c, err)
	c, err = a.Add(ctx, "joe", New{})
	must(t, c, err)
	if got := access(t, a, "joe"); !reflect.DeepEqual(got, session.FullAccess()) {
		t.Errorf("made again: got %+v, want everything", got)
	}
}

func TestAllowanceRefused(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	ctx := t.Context()
	add(t, a, "joe", "x")
	many, large, less := make([]session.PathRule, maxRules+1), make([]session.PathRule, 9), int64(-1)
	for i := range many {
		many[i] = session.PathRule{Path: fmt.Sprint("/", i)}
	}
	for i := range large {
		large[i] = session.PathRule{Path: fmt.Sprint("/", i, long(4000))}
	}
	for _, tt := range []struct {
		name, reason string
		u            AllowanceUpdate
	}{
		{"many", "65 rules are more than 64", AllowanceUpdate{Permissions: &many}},
		{"large", "bytes together, more than 32768", AllowanceUpdate{Permissions: &large}},
		{"twice", "two rules for \"/in\"", AllowanceUpdate{Permissions: rules(t, "/in=read", "/=all", "/in=list")}},
		{"not clean", `write it as "/in"`, AllowanceUpdate{Permissions: &[]session.PathRule{{Path: "/in/"}}}},
		{"unknown bits", "not known", AllowanceUpdate{Permissions: &[]session.PathRule{{Path: "/", May: session.MayAll + 1}}}},
		{"quota", "less than nothing", AllowanceUpdate{QuotaBytes: &less}},
		{"files", "less than nothing", AllowanceUpdate{QuotaFiles: &less}},
		{"bandwidth", "less than nothing", AllowanceUpdate{Bandwidth: &less}},
	} {
		_, add := a.Add(ctx, "new", New{Allowance: tt.u.Of(Allowance{})})
		_, set := a.Set(ctx, "joe", Update{AllowanceUpdate: tt.u})
		_, group := a.SetGroup(ctx, "users", tt.u)
		for _, err := range []error{add, set, group} {
			if !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), tt.reason) {
				t.Errorf("%s: got %v, want %v with %q", tt.name, err, ErrInvalid, tt.reason)
			}
		}
	}
	if list, err := a.Groups(ctx); err != nil || len(list) != 0 {
		t.Errorf("refused changes left a trace: got %v, %v", list, err)
	}
}

// Words that no gateway wrote allow nothing.
func TestUnreadableRuleAllowsNothing(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "x")
	c, err := a.Set(t.Context(), "joe", Update{AllowanceUpdate: AllowanceUpdate{Permissions: rules(t, "/=all")}})
	must(t, c, err)
	err = a.db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE account_permissions SET may = 'al'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), a.db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := access(t, again, "joe"); !slices.Equal(got.Rules, *rules(t, "/=none")) {
		t.Errorf("got %v, want nothing allowed", got)
	}
}

func FuzzParseRule(f *testing.F) {
	for _, seed := range []string{"/=all", "/in=drop", "/a=b=list,read", "/in/=x", "=", "/\xff=read"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v, want %v", err, ErrInvalid)
			}
			return
		}
		again, err := ParseRule(r.Path + "=" + r.May.String())
		if err != nil || again != r {
			t.Errorf("%q: got %v, then %v, %v", text, r, again, err)
		}
		if _, err := (Allowance{Permissions: []session.PathRule{r}}).checked(); err != nil {
			t.Errorf("%q was read and is not taken: %v", text, err)
		}
	})
}
