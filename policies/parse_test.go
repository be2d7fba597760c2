package policies

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gateway/session"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/errors/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %v, %v; want test files", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			opts := testOptions()
			opts.Listeners, opts.Relays = []string{"ftp", "sftp", "submission", "relay"}, []string{"relay"}
			_, err = Parse(src, "policy.hcl", opts)
			fault, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v, want an *Error", err)
			}
			if len(fault.Diagnostics) == 0 {
				t.Error("got no diagnostics")
			}
			golden(t, strings.TrimSuffix(file, ".hcl")+".txt", fault.Error()+"\n")
		})
	}
}

func TestLimitsOfTheLanguage(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range maxConditions + 1 {
		many.WriteString("allow \"a" + strings.Repeat("x", i%200) + string(rune('a'+i/200)) + "\" { protocol = \"ftp\" }\n")
	}
	var expects strings.Builder
	for i := range maxExpects + 1 {
		fmt.Fprintf(&expects, "expect \"x%d\" {\n user = \"u\"\n protocol = \"ftp\"\n channel = \"tls\"\n verdict = \"refuse\"\n}\n", i)
	}
	for name, tc := range map[string]struct{ src, want string }{
		"too large":       {strings.Repeat("#\n", maxSource), "Policy too large"},
		"nested":          {"a = " + strings.Repeat("[", 100_000), "Nested too deeply"},
		"negated":         {"a = " + strings.Repeat("!", 100_000), "Not a plain value"},
		"template":        {`allow "x" { user = "${a}" }`, "Not a plain value"},
		"many":            {many.String(), "Too many statements"},
		"long list":       {"allow \"x\" {\n user = [" + strings.Repeat("\"a\",", maxList+1) + "]\n}", "List too long"},
		"expects":         {expects.String(), "Too many expectations"},
		"control":         {`allow "x" { user = "a\u0007" }`, "Bad text"},
		"for expression":  {"allow \"x\" {\n user = [for a in b : a]\n}", "Not a plain value"},
		"variable":        {"allow \"x\" {\n user = alice\n}", "Wrong type"},
		"number":          {"allow \"x\" {\n user = [1]\n}", "Wrong type"},
		"name of network": {"network \"a/b\" {\n cidrs = \"10.0.0.0/8\"\n}", "named like an address"},
	} {
		_, err := Parse([]byte(tc.src), "policy.hcl", testOptions())
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %.300v, want %q", name, err, tc.want)
		}
	}
	src := "require \"x\" {\n channel = \"tls\"\n reply = \"" + strings.Repeat("{hostname}", 39) + "\"\n}"
	if _, err := Parse([]byte(src), "policy.hcl", testOptions()); err == nil || !strings.Contains(err.Error(), "Bad reply") {
		t.Errorf("long reply: got %v, want a fault", err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "policy.hcl")
	if _, err := Load(file, testOptions()); !errors.Is(err, session.ErrNotExist) {
		t.Errorf("no file: got %v, want not exist", err)
	}
	if err := os.WriteFile(file, Default(), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(file, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.Source(), Default()) {
		t.Error("got another source")
	}
}

// The examples of docs/policy.md are one policy that works.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	doc, _, _ = bytes.Cut(doc, []byte("\n## Examples\n")) // each a policy of its own
	var src strings.Builder
	for i, block := range strings.Split(string(doc), "```hcl\n") {
		if example, _, _ := strings.Cut(block, "```"); i > 0 {
			src.WriteString(example)
		}
	}
	p := mustParse(t, src.String())
	for _, w := range p.Warnings() {
		if !strings.Contains(w.Text, "on all networks") { // as the page says
			t.Errorf("warning: %s", w)
		}
	}
	if formatted, _ := Format(p.Source(), "policy.hcl"); !bytes.Equal(formatted, p.Source()) {
		t.Errorf("the examples are not formatted; want\n%s", formatted)
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	p := mustParse(t, "allow \"a\" {\n  protocol = \"ftp\"\n}\n")
	if q := mustParse(t, "allow \"a\" {\nprotocol=\"ftp\"\n}\n"); p.Hash() != q.Hash() {
		t.Error("the same text, formatted, has another hash")
	}
	if q := mustParse(t, "allow \"a\" {\n  protocol = \"sftp\"\n}\n"); p.Hash() == q.Hash() {
		t.Error("another policy has the same hash")
	}
	opts := testOptions()
	opts.Hostname = "other"
	if q, err := Parse(p.Source(), "policy.hcl", opts); err != nil || p.Hash() == q.Hash() {
		t.Errorf("another host name: got the same hash or %v", err)
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	got, err := Format([]byte("allow \"a\" {\nprotocol=\"ftp\"\n   group = \"g\"\n}\n"), "policy.hcl")
	if want := "allow \"a\" {\n  protocol = \"ftp\"\n  group    = \"g\"\n}\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if _, err := Format([]byte("allow {"), "policy.hcl"); err == nil || !strings.Contains(err.Error(), "policy.hcl line 1") {
		t.Errorf("got %v, want an error with the line", err)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	const owner = "  until   = \"2027-06-30\"\n  owner   = \"o\"\n  because = \"b\"\n}\n"
	for name, tc := range map[string]struct{ src, want string }{
		"clean": {office, ""},
		"answered as some account would be": {`require "e" {
  channel = "encrypted"
  when { group = "office" }
}`, "policy.hcl:1: require \"e\" is for some users only"},
		"narrowed": {`require "e" {
  channel = "encrypted"
  when {
    group    = "office"
    listener = "ftp"
  }
}`, ""},
		"ended": {strings.ReplaceAll(office, "2027-06-30", "2027-02-28"), "ended on 2027-02-28"},
		"soon":  {strings.ReplaceAll(office, "2027-06-30", "2027-03-14"), "ends on 2027-03-14"},
		"impossible allow": {`allow "a" {
  protocol = "sftp"
  channel  = "plain"
}`, "allow \"a\" can never let anybody in"},
		"excluded allow": {`allow "a" { channel = "plain" }
require "e" { channel = "encrypted" }`, "allow \"a\" can never let anybody in"},
		"needless exempt, protocol": {`require "e" {
  channel = "encrypted"
  when { protocol = "ftp" }
}
exempt "e" "x" {
  protocol = "sftp"
  listener = "sftp"
` + owner, "exempt \"e\" \"x\" is never needed"},
		"needless exempt, network": {`require "e" {
  channel = "encrypted"
  when { from = "10.0.0.0/8" }
}
exempt "e" "x" {
  from    = "192.0.2.0/24"
` + owner, "exempt \"e\" \"x\" is never needed"},
	} {
		w := mustParse(t, tc.src).Warnings()
		if tc.want == "" && len(w) > 0 || tc.want != "" && (len(w) != 1 || !strings.Contains(w[0].String(), tc.want)) {
			t.Errorf("%s: got %v, want %q", name, w, tc.want)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	p := mustParse(t, office)
	for name, r := range map[string]session.Request{
		"clear":    request(plain),
		"exempt":   request(scanner),
		"expired":  request(scanner, at("2027-08-01T00:00:00Z")),
		"stranger": request(named, unknown, over(session.Submission)),
		"connect":  request(listener("internal"), from("198.51.100.1")),
		"two":      request(plain, groups("admins"), func(r *session.Request) { r.Phase = "" }),
	} {
		e := p.Explain(r)
		var text bytes.Buffer
		if err := e.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/explain-"+name+".txt", text.String())
		decided := slices.ContainsFunc(e.Statements, func(f Finding) bool { return f.Decided })
		if !decided && !strings.HasPrefix(e.Rule, "default deny") {
			t.Errorf("%s: no statement decided", name)
		}
	}
}

// What an explanation says would be allowed is allowed.
func TestAlternativesAreExact(t *testing.T) {
	t.Parallel()
	p := mustParse(t, office)
	e := p.Explain(request(plain))
	if len(e.AllowedIf) != 1 || e.AllowedIf[0].Changes[0] != "channel tls" {
		t.Errorf("got %+v, want channel tls alone", e.AllowedIf)
	}
	if e := p.Explain(request()); e.Verdict != verdictAllow || e.AllowedIf != nil {
		t.Errorf("got %+v, want allow without alternatives", e)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(office))
	f.Add(Default())
	files, _ := filepath.Glob("testdata/errors/*.hcl")
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(fortyRules()))
	f.Add([]byte(dataRules))
	f.Add([]byte(devices))
	f.Add([]byte(migration))
	f.Add([]byte(withFloors))
	requests := []session.Request{request(unproven), request(relayed), request(relayed, tlsOf(true)), request(), request(plain, named), request(nameless), request(connecting), request(scanner), request(unknown)}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := Parse(src, "policy.hcl", testOptions())
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok || err.Error() == "" {
				t.Errorf("got %T %v, want an *Error with a text", err, err)
			}
			return
		}
		for _, r := range requests {
			v := p.Decide(r)
			if v.Allowed && v.Insecure {
				t.Errorf("got %+v: allowed and insecure", v)
			}
			if v.Data != (session.DataRules{}) && (!v.Allowed || r.Phase != session.PhaseVerified) {
				t.Errorf("got %+v: rules for data connections of nobody", v)
			}
			e := p.Explain(r)
			if err := e.WriteText(new(bytes.Buffer)); err != nil {
				t.Error(err)
			}
		}
		formatted, err := Format(src, "policy.hcl")
		if err != nil {
			t.Fatalf("format: %v", err)
		}
		q, err := Parse(formatted, "policy.hcl", testOptions())
		if err != nil || q.Hash() != p.Hash() {
			t.Errorf("formatted: got %v or another hash", err)
		}
	})
}
