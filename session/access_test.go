package session

import "testing"

func TestPermissionsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for p := range MayAll + 1 {
		again, err := ParsePermissions(p.String())
		if err != nil || again != p {
			t.Fatalf("%q: got %v, %v", p.String(), again, err)
		}
	}
	if p, err := ParsePermissions("drop"); err != nil || p != MayCreate {
		t.Errorf("drop: got %v, %v", p, err)
	}
	for _, bad := range []string{"", "reed", "read,", "read, list", "READ"} {
		if _, err := ParsePermissions(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// The longest path decides, a name belongs to the folder that it is in, and
// nothing that carries a rule can be moved out of its reach.
func TestAccessByPath(t *testing.T) {
	t.Parallel()
	a := Access{Rules: []PathRule{{"/", MayList | MayRead | MayRename | MayDelete}, {"/in", MayDrop}, {"/in/own", MayAll}, {"/secret", 0}, {"/blind", MayRename}}}
	for _, c := range []struct {
		act  Action
		want bool
	}{
		{Action{Verb: Read, Object: "/a"}, true},
		{Action{Verb: Read, Object: "/in/a"}, false},
		{Action{Verb: Read, Object: "/inner"}, true},
		{Action{Verb: Read, Object: "/in/own/a"}, true},
		{Action{Verb: Read, Object: "/in/ownx"}, false},
		{Action{Verb: List, Object: "/in"}, false},
		{Action{Verb: List, Object: "/in/own"}, true},
		{Action{Verb: List, Object: "/"}, true},
		{Action{Verb: Write, Object: "/a"}, false},
		{Action{Verb: Write, Object: "/in/a"}, true},
		{Action{Verb: Append, Object: "/in/a"}, true},
		{Action{Verb: Remove, Object: "/a"}, true},
		{Action{Verb: Remove, Object: "/in/a"}, false},
		{Action{Verb: Rmdir, Object: "/secret"}, false},
		{Action{Verb: Mkdir, Object: "/in/own/d"}, true},
		{Action{Verb: Mkdir, Object: "/in/d"}, false},
		{Action{Verb: Rename, Object: "/a", Target: "/b"}, true},
		{Action{Verb: Rename, Object: "/secret", Target: "/b"}, false},
		{Action{Verb: Rename, Object: "/a", Target: "/in/b"}, false},
		{Action{Verb: Rename, Object: "/a", Target: "/in"}, false},
		{Action{Verb: Rename, Object: "/in", Target: "/out"}, false},
		{Action{Verb: Rename, Object: "/blind/a", Target: "/b"}, false}, // it would become readable
		{Action{Verb: Rename, Object: "/blind/a", Target: "/blind/b"}, true},
		{Action{Verb: Link, Object: "/secret/a", Target: "/in/own/a"}, false},
		{Action{Verb: Stat, Object: "/secret/a"}, true},
	} {
		if got := a.allows(c.act); got != c.want {
			t.Errorf("%+v: got %v, want %v", c.act, got, c.want)
		}
	}
	for name, want := range map[string]bool{"/": true, "/in": true, "/secret": false, "/secret/a": false} {
		if got := a.Visible(name); got != want {
			t.Errorf("Visible(%q): got %v, want %v", name, got, want)
		}
	}
	if (Access{}).allows(Action{Verb: Read, Object: "/"}) {
		t.Error("the zero value allows something")
	}
}

func TestTheStricterResumptionHolds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rules    DataRules
		listener Resumption
		want     Resumption
	}{
		{DataRules{}, ResumptionUnset, ResumptionRequired},
		{DataRules{}, ResumptionPreferred, ResumptionPreferred},
		{DataRules{Granted: ResumptionOff}, ResumptionPreferred, ResumptionOff},
		{DataRules{Granted: ResumptionRequired}, ResumptionPreferred, ResumptionPreferred},
		{DataRules{Demanded: ResumptionRequired}, ResumptionOff, ResumptionRequired},
		{DataRules{Granted: ResumptionOff, Demanded: ResumptionPreferred}, ResumptionRequired, ResumptionPreferred},
		{DataRules{Demanded: ResumptionOff}, ResumptionPreferred, ResumptionPreferred},
	} {
		if got := c.rules.Resumption(c.listener); got != c.want {
			t.Errorf("%+v on %v: got %v, want %v", c.rules, c.listener, got, c.want)
		}
	}
}

// One rule for a part of the tree is not one for all of it: a link in it could
// lead to the rest.
func TestOneRuleForAPart(t *testing.T) {
	t.Parallel()
	for path, uniform := range map[string]bool{"/": true, "/in": false} {
		a := Access{Rules: []PathRule{{Path: path, May: MayAll}}}
		link := Action{Verb: Link, Object: "../secret", Target: "/in/link"}
		if a.Uniform() != uniform || a.allows(link) != uniform {
			t.Errorf("a rule for %s: uniform %v, links %v; want %v", path, a.Uniform(), a.allows(link), uniform)
		}
	}
	if a := (Access{Rules: []PathRule{{Path: "/a/b", May: MayAll}}}); a.allows(Action{Verb: Rmdir, Object: "/a/b"}) || !a.Fixed("/a") {
		t.Error("the folder that the only rule hangs on could be moved")
	}
}
