package policies

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

const (
	// maxDiagnostics is how many faults of one policy are reported.
	maxDiagnostics = 50
	// diagnosticWidth is the width in columns to which explanations are wrapped.
	diagnosticWidth = 100
)

// An Error is everything that is wrong with a policy. Its text shows each fault
// with file, line and the line itself.
type Error struct {
	// Diagnostics are the faults, in the order of the file.
	Diagnostics hcl.Diagnostics
	text        string
}

func (e *Error) Error() string { return e.text }

func newError(diags hcl.Diagnostics, file *hcl.File, filename string) *Error {
	dropped := 0
	if len(diags) > maxDiagnostics {
		dropped = len(diags) - maxDiagnostics
		diags = diags[:maxDiagnostics]
	}
	var text bytes.Buffer
	files := map[string]*hcl.File{}
	if file != nil {
		files[filename] = file
	}
	// Writing to a buffer cannot fail.
	_ = hcl.NewDiagnosticTextWriter(&text, files, diagnosticWidth, false).WriteDiagnostics(diags)
	if dropped > 0 {
		fmt.Fprintf(&text, "and %d more faults\n", dropped)
	}
	return &Error{Diagnostics: diags, text: strings.TrimRight(text.String(), "\n")}
}

// maxSuggested is how many known words are listed.
const maxSuggested = 32

// suggest returns " Did you mean ...?" if one of the known words is close to
// what was written, and otherwise lists them if there are few.
func suggest(word string, known []string) string {
	best, distance := "", len(word)/3+1
	for _, k := range known {
		if d := editDistance(word, k); d <= distance && (best == "" || d < editDistance(word, best)) {
			best = k
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf(" Did you mean %q?", best)
	case len(known) == 0:
		return ""
	case len(known) <= maxSuggested:
		return fmt.Sprintf(" Known are %s.", strings.Join(known, ", "))
	default:
		return ""
	}
}

// maxCompared is the length in bytes up to which words are compared.
const maxCompared = 64

// editDistance is how many letters must be changed, added or left out to make b
// of a.
func editDistance(a, b string) int {
	if len(a) > maxCompared || len(b) > maxCompared {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
