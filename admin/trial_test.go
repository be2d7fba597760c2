package admin

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/policies"
	"gateway/session"
)

// trialNode is a node of which only the rules matter.
type trialNode struct {
	service  *Service
	reverted *time.Timer

	mu      sync.Mutex
	source  string // the policy file
	inForce string // hash
	kept    []byte
	fails   error // of Install
	verbs   []string
}

// with is f under the lock.
func (n *trialNode) with(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// file is the policy file.
func (n *trialNode) file() (source string) {
	n.with(func() { source = n.source })
	return source
}

func (n *trialNode) Load() (*policies.Policy, error) { return n.Parse([]byte(n.file()), "policy.hcl") }

func (n *trialNode) Parse(src []byte, name string) (*policies.Policy, error) {
	return policies.Parse(src, name, policies.Options{})
}

func (n *trialNode) Install(src []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fails == nil {
		n.source = string(src)
	}
	return n.fails
}

func (n *trialNode) LoadShadow() (*policies.Policy, error) { return nil, nil }
func (n *trialNode) InstallShadow([]byte) error            { return nil }

func (n *trialNode) Status() Status { return Status{} }

func (n *trialNode) Use(_ context.Context, p *policies.Policy) error {
	n.with(func() { n.inForce = p.Hash() })
	return nil
}

func (n *trialNode) RevertAt(at time.Time) {
	if n.reverted != nil {
		n.reverted.Stop()
	}
	n.reverted = time.AfterFunc(time.Until(at), func() { _ = n.service.EndTrial(context.Background()) })
}

func (n *trialNode) Kept(context.Context, string) (value []byte, err error) {
	n.with(func() { value = n.kept })
	return value, nil
}

func (n *trialNode) Keep(_ context.Context, _ string, value []byte) error {
	n.with(func() { n.kept = slices.Clone(value) })
	return nil
}

func (n *trialNode) Commit(_ context.Context, e session.Event) error {
	n.with(func() { n.verbs = append(n.verbs, string(e.Verb)+" "+e.Outcome) })
	return nil
}

func (n *trialNode) Append(session.Event) error { return nil }

// start is what a start does: whatever was in memory is gone.
func (n *trialNode) start(t *testing.T) {
	t.Helper()
	if n.reverted != nil {
		n.reverted.Stop()
		n.reverted = nil
	}
	n.service = &Service{Rules: n, Node: n, Kept: n, Recorder: n}
	p, err := n.Load()
	if err == nil {
		_ = n.Use(t.Context(), p)
		err = n.service.ResumeTrial(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

const (
	rulesA = "allow \"a\" { protocol = \"ftp\" }\n"
	rulesB = "allow \"b\" { protocol = \"ftp\" }\n"
	rulesC = "allow \"c\" { protocol = \"ftp\" }\n"
)

func TestTrial(t *testing.T) {
	t.Parallel()
	const minutes = 10 * time.Minute
	apply := func(t *testing.T, n *trialNode, src string, confirm time.Duration) error {
		t.Helper()
		out, err := n.service.policyApply(t.Context(), Policy{Name: "new.hcl", Source: src, Confirm: confirm})
		if err == nil && (confirm != 0) != out.Until.After(time.Now()) {
			t.Errorf("applied until %v", out.Until)
		}
		return err
	}
	for name, tc := range map[string]struct {
		do   func(t *testing.T, n *trialNode)
		want string // an hour later
	}{
		"goes back": {func(t *testing.T, n *trialNode) { _ = apply(t, n, rulesB, minutes) }, rulesA},
		"confirmed": {func(t *testing.T, n *trialNode) {
			_ = apply(t, n, rulesB, minutes)
			time.Sleep(minutes - time.Second)
			if _, err := n.service.policyConfirm(t.Context(), Nothing{}); err != nil {
				t.Error(err)
			}
			if _, err := n.service.policyConfirm(t.Context(), Nothing{}); !errors.Is(err, errNoTrial) {
				t.Errorf("confirmed twice: got %v", err)
			}
		}, rulesB},
		"a restart before the end": {func(t *testing.T, n *trialNode) {
			_ = apply(t, n, rulesB, minutes)
			n.start(t)
			if got := n.file(); got != rulesB {
				t.Errorf("in force: %s", got)
			}
		}, rulesA},
		"a start after the end": {func(t *testing.T, n *trialNode) {
			_ = apply(t, n, rulesB, minutes)
			n.reverted.Stop()
			time.Sleep(time.Hour)
			n.start(t)
			if got := n.file(); got != rulesA {
				t.Errorf("in force: %s", got)
			}
		}, rulesA},
		"others meanwhile": {func(t *testing.T, n *trialNode) {
			_ = apply(t, n, rulesB, minutes)
			_ = apply(t, n, rulesC, 0)
		}, rulesC},
		"the file was changed meanwhile": {func(t *testing.T, n *trialNode) {
			_ = apply(t, n, rulesB, minutes)
			n.with(func() { n.source = rulesC })
		}, rulesC},
		"two, one after the other": {func(t *testing.T, n *trialNode) {
			_ = apply(t, n, rulesB, minutes)
			time.Sleep(minutes / 2)
			_ = apply(t, n, rulesC, minutes)
			time.Sleep(minutes - time.Second)
			if got := n.file(); got != rulesC {
				t.Errorf("in force: %s", got)
			}
		}, rulesA},
		"the second cannot be put in force": {func(t *testing.T, n *trialNode) {
			_ = apply(t, n, rulesB, minutes)
			n.with(func() { n.fails = errors.New("disk full") })
			if err := apply(t, n, rulesC, minutes); err == nil {
				t.Error("applied")
			}
			n.with(func() { n.fails = nil })
		}, rulesA},
		"too long": {func(t *testing.T, n *trialNode) {
			if err := apply(t, n, rulesB, maxTrial+1); !errors.Is(err, ErrUsage) {
				t.Errorf("got %v", err)
			}
		}, rulesA},
		"not running": {func(t *testing.T, n *trialNode) {
			n.service.Node = nil
			if err := apply(t, n, rulesB, minutes); !errors.Is(err, ErrNotRunning) {
				t.Errorf("got %v", err)
			}
		}, rulesA},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := &trialNode{source: rulesA}
				n.start(t)
				tc.do(t, n)
				time.Sleep(time.Hour)
				synctest.Wait()
				p, err := n.Load()
				n.with(func() {
					if n.source != tc.want {
						t.Errorf("in force an hour later: %s, want %s; recorded %q", n.source, tc.want, n.verbs)
					}
					if err != nil || name != "the file was changed meanwhile" && p.Hash() != n.inForce {
						t.Errorf("in force is not what the file says: %v", err)
					}
					if len(n.kept) != 0 {
						t.Errorf("still on trial: %s", n.kept)
					}
					if goesBack := n.source == rulesA && len(n.verbs) > 2; goesBack != slices.Contains(n.verbs, "revert done") {
						t.Errorf("recorded %q", n.verbs)
					}
				})
			})
		})
	}
}
