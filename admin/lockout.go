package admin

import (
	"errors"
	"fmt"
	"time"

	"gateway/policies"
)

// ErrLockout is rules that would keep those out who must be able to come in.
var ErrLockout = errors.New("these rules would lock out")

// lockout is an ErrLockout if rules let in nobody of a group that their settings name as
// administrators, or nobody at all.
func lockout(p *policies.Policy, now time.Time) error {
	if !p.LetsIn("", now) {
		return fmt.Errorf("%w everybody: no login that there can be is allowed within a week; if that is meant, apply them with --force", ErrLockout)
	}
	for _, group := range p.Administrators() {
		if !p.LetsIn(group, now) {
			return fmt.Errorf("%w the group %q, which their settings name as administrators: no login of a member is allowed within a week; "+
				"if that is meant, apply them with --force", ErrLockout, group)
		}
	}
	return nil
}
