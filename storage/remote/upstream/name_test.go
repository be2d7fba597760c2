package upstream

import (
	"errors"
	"path"
	"strings"
	"testing"

	"gateway/session"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"a": true, "a/b": true, ".": true, "-rf": true, "ü": true, strings.Repeat("n", 255): true, ".gateway": true,
		"": false, "/a": false, "..": false, "a/../b": false, "a//b": false, "a\x00": false, "a\nb": false, "a\rb": false, "\xff": false,
		strings.Repeat("n", 256): false, Hidden + "a": false, "d/" + Hidden: false,
	} {
		if err := CheckName(name); (err == nil) != good || err != nil && !errors.Is(err, session.ErrName) {
			t.Errorf("%q: got %v", name, err)
		}
		if entry := good && name != "." && !strings.Contains(name, "/"); Entry(name) != entry {
			t.Errorf("entry %q: got %v", name, !entry)
		}
	}
	for user, good := range map[string]bool{"joe": true, "joe@example.com": true, ".": false, "..": false, "a/b": false, `a\b`: false, "": false, Hidden: false} {
		if full, err := Folder("/srv", user); (err == nil) != good || good && full != "/srv/"+user {
			t.Errorf("folder of %q: got %q, %v", user, full, err)
		}
	}
}

func TestHiddenNames(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"a", strings.Repeat("n", 255), strings.Repeat("n", 254)} {
		part := Part("/srv/" + base)
		if path.Dir(part) != "/srv" || len(path.Base(part)) > MaxNamePart || CheckName(path.Base(part)) == nil {
			t.Errorf("part of %q: %q", base, part)
		}
	}
	if Part("/a/"+strings.Repeat("n", 255)) == Part("/a/"+strings.Repeat("n", 254)) {
		t.Error("two uploads have one hidden name")
	}
	if one, other := OwnPart("/a"), OwnPart("/a"); one == other {
		t.Errorf("two uploads have the hidden name %q", one)
	}
	if got := Whole(Part("/srv/a")); got != "/srv/a" {
		t.Errorf("got %q", got)
	}
	var u Uploads
	if !u.Take("a") || u.Take("a") || !u.Take("b") || !u.UnderWay("a") {
		t.Error("a path is taken twice, or not at all")
	}
	u.Free("a")
	if u.UnderWay("a") || !u.Take("a") {
		t.Error("not freed")
	}
}
