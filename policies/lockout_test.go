package policies

import "testing"

func TestLetsIn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		src, group string
		want       bool
	}{
		"anybody":           {office, "", true},
		"a group":           {office, "users", true},
		"of no allow":       {office, "strangers", false},
		"nobody":            {`require "e" { channel = "encrypted" }`, "", false},
		"never together":    {"allow \"a\" {\n protocol = \"ftp\"\n channel = \"plain\"\n}\nrequire \"e\" { channel = \"encrypted\" }", "", false},
		"from inside only":  {"allow \"a\" {\n protocol = \"ftp\"\n from = \"10.9.0.0/16\"\n}", "", true},
		"at one listener":   {"allow \"a\" { listener = \"inner\" }", "", true},
		"on Sundays only":   {"allow \"a\" {\n protocol = \"ftp\"\n weekday = \"sunday\"\n}", "", true},
		"one user":          {"allow \"a\" {\n protocol = \"sftp\"\n user = \"root-of-it\"\n}", "", true},
		"with a key":        {"allow \"a\" { protocol = \"sftp\" }\nrequire \"k\" { factors = \"publickey+password+code\" }", "", true},
		"two groups needed": {"allow \"a\" { group = \"x\" }\nrequire \"g\" { group = \"y\" }", "", true},
		"one is too few":    {"allow \"a\" { group = \"x\" }\nrequire \"g\" { group = \"y\" }", "x", false},
		"paused at noon":    {"allow \"a\" {\n protocol = \"ftp\"\n time = \"08:00-18:00\"\n}\nrequire \"n\" { time = \"17:00-06:00\" }", "", true},
	} {
		if got := mustParse(t, tc.src).LetsIn(tc.group, noon()); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
	if got := mustParse(t, "settings { administrators = [\"admins\", \"root\"] }\n"+office).Administrators(); len(got) != 2 || got[0] != "admins" {
		t.Errorf("got %q, want the groups of the settings", got)
	}
}
