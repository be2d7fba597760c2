package session

import (
	"testing"
	"time"
)

func TestHeldIsTheStricter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ a, b, want Held }{
		{Held{}, Held{}, Held{}},
		{Held{Bandwidth: 5}, Held{Bandwidth: 3, Lifetime: time.Hour}, Held{Bandwidth: 3, Lifetime: time.Hour}},
		{Held{Lifetime: time.Minute}, Held{Lifetime: time.Hour, ReadOnly: true}, Held{Lifetime: time.Minute, ReadOnly: true}},
		{Held{Within: "/a"}, Held{}, Held{Within: "/a"}},
		{Held{Within: "/a"}, Held{Within: "/a/b"}, Held{Within: "/a/b"}},
		{Held{Within: "/a"}, Held{Within: "/ab"}, Held{Within: nowhere}},
	} {
		for _, got := range []Held{test.a.And(test.b), test.b.And(test.a)} {
			if got != test.want {
				t.Errorf("%+v and %+v: got %+v, want %+v", test.a, test.b, got, test.want)
			}
		}
	}
}

func TestHeldNarrows(t *testing.T) {
	t.Parallel()
	full := Access{Rules: []PathRule{{"/", MayAll}, {"/in", MayDrop}, {"/out/secret", 0}}}
	for _, test := range []struct {
		held Held
		path string
		want Permissions
	}{
		{Held{}, "/x", MayAll},
		{Held{ReadOnly: true}, "/x", MayList | MayRead},
		{Held{ReadOnly: true}, "/in", 0},
		{Held{Within: "/out"}, "/x", 0},
		{Held{Within: "/out"}, "/out/x", MayAll},
		{Held{Within: "/out"}, "/out/secret", 0},
		{Held{Within: "/in", ReadOnly: true}, "/in/a", 0},
		{Held{Within: nowhere}, "/out", 0},
	} {
		if got := test.held.narrow(full).At(test.path); got != test.want {
			t.Errorf("%+v at %s: got %s, want %s", test.held, test.path, got, test.want)
		}
	}
	if full.At("/x") != MayAll {
		t.Error("the account's own access was changed")
	}
}
