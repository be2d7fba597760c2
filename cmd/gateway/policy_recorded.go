package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gateway/policies"
	"gateway/session"
)

// recordedExplanation is a login of the record, and why it was decided so.
type recordedExplanation struct {
	Seq     int64  `json:"seq"`
	Outcome string `json:"outcome"`
	// DecidedBy is the rule in the record; empty where the rules were not the cause.
	DecidedBy string `json:"decided_by,omitempty"`
	policies.Explanation
}

// explainRecorded explains a login of the record by the rules that were in force then.
func (c *cli) explainRecorded(cmd *cobra.Command, seq int64) error {
	cfg, err := c.loadConfig()
	if err != nil {
		return err
	}
	reader, _, err := c.reading(cmd.Context(), fmt.Sprintf("%s --seq %d", cmd.CommandPath(), seq), "")
	if err != nil {
		return err
	}
	rec, err := reader.At(cmd.Context(), seq)
	if err != nil {
		return err
	}
	e := rec.Event
	if e.Event != session.EventLogin || e.Facts == nil {
		return fmt.Errorf("seq %d is no login with its facts; see 'gateway audit query --event login'", seq)
	}
	policy, err := policyArchive(cfg).Load(e.Policy, rules{cfg}.options())
	if err != nil {
		return err
	}
	out := recordedExplanation{Seq: seq, Outcome: e.Outcome, DecidedBy: e.Rule, Explanation: policy.Explain(*e.Facts)}
	return c.print(out, func(w io.Writer) {
		by := "by something else than the rules"
		if e.Rule != "" {
			by = "by " + e.Rule
		}
		fmt.Fprintf(w, "seq %d   %s, %s\n", seq, e.Outcome, by)
		_ = out.WriteText(w)
	})
}
