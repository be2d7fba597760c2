package policies

import (
	"os"
	"strings"
	"testing"
)

// The examples of docs/policy.md load, and what they expect is so. They are in the
// usual layout.
func TestExamples(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "\n## Examples\n")
	if !found {
		t.Fatal("the page has no examples")
	}
	examples := strings.Split(text, "\n### ")[1:]
	if len(examples) < 20 {
		t.Errorf("got %d examples, want 20 or more", len(examples))
	}
	for _, example := range examples {
		title, rest, _ := strings.Cut(example, "\n")
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			_, rest, _ := strings.Cut(rest, "```hcl\n")
			src, _, closed := strings.Cut(rest, "```")
			if !closed || !strings.Contains(src, "\nexpect ") {
				t.Fatal("no example with an expect")
			}
			p, err := Parse([]byte(src), "example.hcl", testOptions())
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range p.Warnings() {
				if !strings.Contains(w.Text, "on all networks") && !strings.Contains(w.Text, "ends on") {
					t.Errorf("warning: %s", w)
				}
			}
			if formatted, err := Format([]byte(src), "example.hcl"); err != nil || string(formatted) != src {
				t.Errorf("not in the usual layout, %v; want\n%s", err, formatted)
			}
		})
	}
}
