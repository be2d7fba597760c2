package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/internal/sheet"
)

// maxNamed is how many names a line of the report has room for.
const maxNamed = 20

func (c *cli) reportHashes() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use: "hashes", Short: "Show how passwords are stored, and who never logged in since an import",
		Long: `Show how passwords are stored: a line for each scheme and price. Hashes that came with an
import are replaced at the first good login; until then weak ones are wrapped, as in
argon2id(md5-crypt).

  WORK        what it takes to compare one password, on the machine of docs/hashes.md
  CLASS       normal; heavy: one at a time, apart from all others
  PER SECOND  how many logins one slot allows, while their passwords are not remembered
  CUT AT      how many bytes of the password count, because the old scheme cut it off there
  NEVER       accounts that never logged in with the password since it was imported

The JSON names all of these accounts. docs/hashes.md says what the schemes are.`,
		Example: "  gateway report hashes\n  gateway report hashes --group users --json",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.report(cmd, f, hashReport) },
	}
	f.add(cmd, "")
	_ = cmd.Flags().MarkHidden("since") // it is about now
	return cmd
}

func hashReport(r reporting) (made, error) {
	who, err := r.concerned()
	if err != nil {
		return made{}, err
	}
	list, err := ask[[]admin.StoredPassword](r.ctx, r.cli, "hashes.list", admin.Nothing{})
	report := admin.Hashes(list, who)
	return made{data: report, sheet: hashSheet(report)}, err
}

func hashSheet(r admin.HashReport) sheet.Sheet {
	s := sheet.Sheet{
		Title: "Password hashes", None: "No account has a password.",
		Columns: []sheet.Column{
			{Name: "Scheme"}, {Name: "Accounts", Kind: sheet.Number}, {Name: "Work", Kind: sheet.Number}, {Name: "Memory", Kind: sheet.Number},
			{Name: "Class", Kind: sheet.Word}, {Name: "Per second", Kind: sheet.Number}, {Name: "Cut at", Kind: sheet.Number}, {Name: "Never", Kind: sheet.Number},
		},
	}
	for _, row := range r.Rows {
		cut := ""
		if row.CutAt > 0 {
			cut = fmt.Sprint(row.CutAt)
		}
		s.Rows = append(s.Rows, []string{
			row.Scheme, fmt.Sprint(row.Accounts), (time.Duration(row.WorkMicros) * time.Microsecond).Round(100 * time.Microsecond).String(),
			fmt.Sprintf("%d KiB", row.MemoryKiB), row.Class, fmt.Sprintf("%.4g", row.PerSecond), cut, fmt.Sprint(row.Never),
		})
	}
	if n := len(r.Never); n > 0 {
		s.Below = append(s.Below, fmt.Sprintf("Never logged in with the imported password: %s", named(r.Never)))
	}
	if n := len(r.Unusable); n > 0 {
		s.Below = append(s.Below, fmt.Sprintf("The hash cannot be used, set another password: %s", named(r.Unusable)))
	}
	return s
}

// named lists names, as far as there is room for them.
func named(names []string) string {
	if rest := len(names) - maxNamed; rest > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), rest)
	}
	return strings.Join(names, ", ")
}
