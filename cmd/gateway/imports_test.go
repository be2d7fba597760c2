package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "gateway/"

// importTable is who may import what of ours, without tests. A name ending in
// "/..." stands for all packages below it. Who is not listed may import
// everything.
var importTable = map[string][]string{
	"session":       {},
	"auth/...":      {"session", "store", "internal/pinned", "auth/..."},
	"policies/...":  {"session", "policies/..."},
	"audit/...":     {"session", "store", "audit/..."},
	"limits/...":    {"session", "store", "limits/..."},
	"metrics/...":   {"session", "metrics/..."},
	"storage/...":   {"session", "internal/pinned", "storage/..."},
	"certs/...":     {"session", "certs/..."},
	"store/...":     {"session", "store/..."},
	"internal/...":  {"session", "internal/..."},
	"transfer":      {"session", "storage"},
	"queue/...":     {"session", "store", "queue/..."},
	"devices":       {"session", "store", "queue", "policies"},
	"ftp/...":       {"session", "transfer", "storage", "internal/...", "ftp/..."},
	"sftp/...":      {"session", "transfer", "storage", "internal/...", "sftp/..."},
	"smtp/...":      {"session", "queue", "internal/...", "smtp/..."},
	"migration/...": {"session", "migration/..."},
	// Stand-ins for tests only.
	"session/sessiontest":  {"session"},
	"internal/gatewaytest": {"..."},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// One door (promise 1): a front-end that cannot import accounts, rules, limits
// and the record cannot grow a login of its own.
func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range listPackages(t) {
		name, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue
		}
		rule, allowed := ruleFor(name)
		if rule == "" {
			continue
		}
		seen[rule] = true
		for _, imported := range p.Imports {
			if of, ours := strings.CutPrefix(imported, module); ours {
				if !slices.ContainsFunc(allowed, func(pattern string) bool { return matches(pattern, of) }) {
					t.Errorf("%s imports %s; it may import only %v", name, of, allowed)
				}
			} else if name == "session" && strings.Contains(imported, ".") {
				t.Errorf("session imports %s; it may import the standard library only", imported)
			}
		}
	}
	for rule := range importTable {
		if !seen[rule] && rule != "internal/gatewaytest" {
			t.Errorf("the rule for %s covers no package", rule)
		}
	}
}

// ruleFor finds the most specific rule for a package.
func ruleFor(name string) (rule string, allowed []string) {
	for r, a := range importTable {
		if matches(r, name) && len(r) > len(rule) {
			rule, allowed = r, a
		}
	}
	return rule, allowed
}

func matches(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	if base, tree := strings.CutSuffix(pattern, "/..."); tree {
		return name == base || strings.HasPrefix(name, base+"/")
	}
	return pattern == name
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// revealers are where a secret is read: where it is compared, and where it is said
// to a smart host, or to the server that keeps files.
var revealers = []string{"auth/", "queue/relay/auth.go", "queue/relay/oauth/", "storage/remote/server.go", "storage/remote/ftpclient/login.go"}

// A secret is read where it must be only (promise 7).
func TestRevealIsForAuthOnly(t *testing.T) {
	t.Parallel()
	calls := 0
	eachSource(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Reveal" {
				calls++
				if !slices.ContainsFunc(revealers, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
					t.Errorf("%s calls Reveal; only %v may", path, revealers)
				}
			}
			return true
		})
	})
	if calls == 0 {
		t.Error("nothing calls Reveal: has it another name by now?")
	}
}

// No package-level init: nothing happens before main, and two servers can run in
// one process.
func TestNoInit(t *testing.T) {
	t.Parallel()
	eachSource(t, func(path string, file *ast.File) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s has an init function", path)
			}
		}
	})
}

// eachSource parses every Go file that is not a test.
func eachSource(t *testing.T, visit func(path string, file *ast.File)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root:
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err == nil {
			visit(filepath.ToSlash(rel), file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
