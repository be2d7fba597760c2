package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"gateway/auth"
	"gateway/certs"
	"gateway/limits"
	"gateway/policies"
	"gateway/queue"
	"gateway/session"
	"gateway/smtp/dkim"
)

// ErrUsage is a request that cannot be right whatever the state: a bad name, a
// value out of range.
var ErrUsage = errors.New("usage")

// usageError reads as what is wrong alone, and is an ErrUsage.
type usageError struct{ error }

func (e usageError) Is(target error) bool { return target == ErrUsage }
func (e usageError) Unwrap() error        { return e.error }

// Usage returns an ErrUsage that reads as the text alone.
func Usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// missingError names what is not there, in words of ours instead of those for a
// file, and is a session.ErrNotExist.
type missingError struct{ text string }

func (e missingError) Error() string        { return e.text }
func (e missingError) Is(target error) bool { return target == session.ErrNotExist }

// missing puts the words in the place of an error that says no more than that
// something does not exist.
func missing(err error, format string, args ...any) error {
	if !errors.Is(err, session.ErrNotExist) {
		return err
	}
	return missingError{fmt.Sprintf(format, args...)}
}

// ErrNotRunning is a request that only a running gateway can answer.
var ErrNotRunning = errors.New("the gateway is not running")

// Service answers the commands. Node and Gate are nil when no gateway runs.
type Service struct {
	Accounts *auth.Accounts
	Limits   *limits.Limits
	// OpenQueue returns the mail queue, which the first call opens.
	OpenQueue func(ctx context.Context) (*queue.Queue, error)
	Recorder  session.Recorder
	Rules     Rules
	Kept      Keeper
	DKIM      *dkim.Keys
	// Reserved are folders in which no account may have its files.
	Reserved []string
	// NameKey and CohortKey are those of session.Config.
	NameKey, CohortKey []byte

	Gate         *session.Gate
	Node         Node
	Certificates *certs.Source
	HostKeys     *certs.HostKeys
	// OpenKeys opens the keys when no gateway runs, for as long as the command does.
	OpenKeys func(ctx context.Context) (*certs.Source, *certs.HostKeys, error)

	changing sync.Mutex // one change of the rules at a time
}

// Node is the running gateway as the service sees it.
type Node interface {
	Status() Status
	// Use puts p in force; its record is written first.
	Use(ctx context.Context, p *policies.Policy) error
	// RevertAt calls Service.EndTrial at that time, and at no time that it was told before.
	RevertAt(at time.Time)
}

// Rules are the policy of this installation: the file, and how it is read.
type Rules interface {
	// Load reads the file in place; Parse reads src as if it were that file.
	Load() (*policies.Policy, error)
	Parse(src []byte, name string) (*policies.Policy, error)
	// Install puts src in the place of the file, durably and at once.
	Install(src []byte) error
	// LoadShadow reads the rules that are only recorded, nil if there are none;
	// InstallShadow replaces them, or with nil removes them.
	LoadShadow() (*policies.Policy, error)
	InstallShadow(src []byte) error
}

// Status describes a running gateway.
type Status struct {
	Version   string     `json:"version"`
	PID       int        `json:"pid"`
	Node      string     `json:"node"`
	Policy    string     `json:"policy"` // hash of the rules in force
	Listeners []Listener `json:"listeners"`
}

// Listener is one address that the gateway listens on.
type Listener struct {
	Name     string           `json:"name"`
	Protocol session.Protocol `json:"protocol"`
	Address  string           `json:"address"`
	TLS      string           `json:"tls"`
}

// Nothing is the input or output of methods that have none.
type Nothing struct{}

// methods is everything that can be asked.
func methods() map[string]call {
	return map[string]call{
		"node.status": method((*Service).status),

		"user.add":            method((*Service).userAdd),
		"user.list":           method((*Service).userList),
		"user.show":           method((*Service).userShow),
		"user.set":            method((*Service).userSet),
		"user.passwd":         method((*Service).userPasswd),
		"user.disable":        method((*Service).userDisable),
		"user.enable":         method((*Service).userEnable),
		"user.remove":         method((*Service).userRemove),
		"user.key.add":        method((*Service).keyAdd),
		"user.key.remove":     method((*Service).keyRemove),
		"user.key.offered":    method((*Service).keyOffered),
		"user.key.accept":     method((*Service).keyAccept),
		"user.totp.add":       method((*Service).totpAdd),
		"user.totp.remove":    method((*Service).totpRemove),
		"user.address.add":    method((*Service).addressAdd),
		"user.address.remove": method((*Service).addressRemove),

		"auth.test": method((*Service).authTest),

		"user.export":  method((*Service).userExport),
		"import.plan":  method((*Service).importPlan),
		"import.apply": method((*Service).importApply),

		"token.add":    method((*Service).tokenAdd),
		"token.remove": method((*Service).tokenRemove),

		"group.list":   method((*Service).groupList),
		"group.show":   method((*Service).groupShow),
		"group.set":    method((*Service).groupSet),
		"group.remove": method((*Service).groupRemove),

		"group.trust":     method((*Service).groupTrust),
		"group.ca.add":    method((*Service).groupCAAdd),
		"group.ca.remove": method((*Service).groupCARemove),
		"group.krl.set":   method((*Service).groupKRLSet),

		"exposed.list": method((*Service).exposedList),
		"hashes.list":  method((*Service).hashesList),

		"policy.explain": method((*Service).policyExplain),
		"policy.apply":   method((*Service).policyApply),
		"policy.check":   method((*Service).policyWarnings),
		"policy.confirm": method((*Service).policyConfirm),

		"policy.shadow":     method((*Service).policyShadow),
		"policy.shadow.set": method((*Service).policyShadowSet),

		"sessions.list": method((*Service).sessionsList),
		"sessions.kill": method((*Service).sessionsKill),
		"bans.list":     method((*Service).bansList),
		"bans.add":      method((*Service).bansAdd),
		"bans.remove":   method((*Service).bansRemove),

		"queue.list":    method((*Service).queueList),
		"queue.show":    method((*Service).queueShow),
		"queue.hold":    queueChange(verbHold, (*queue.Queue).Hold),
		"queue.release": queueChange(verbRelease, (*queue.Queue).Release),
		"queue.retry":   queueChange(verbRetry, (*queue.Queue).Retry),
		"queue.remove":  queueChange(session.Remove, (*queue.Queue).Remove),

		"mail.key.list":    method((*Service).mailKeyList),
		"mail.key.add":     method((*Service).mailKeyAdd),
		"mail.key.prepare": method((*Service).mailKeyPrepare),
		"mail.key.rotate":  method((*Service).mailKeyRotate),
		"mail.key.remove":  method((*Service).mailKeyRemove),

		"cert.list":  method((*Service).certList),
		"cert.show":  method((*Service).certShow),
		"cert.renew": method((*Service).certRenew),

		"hostkey.list":  method((*Service).hostKeyList),
		"hostkey.renew": method((*Service).hostKeyRenew),

		"audit.read": method((*Service).auditRead),
	}
}

func (s *Service) status(context.Context, Nothing) (Status, error) {
	if s.Node == nil {
		return Status{}, ErrNotRunning
	}
	return s.Node.Status(), nil
}

// Verbs of the admin event that no other package has a word for.
const (
	verbAdd     session.Verb = "add"
	verbSet     session.Verb = "set"
	verbPasswd  session.Verb = "passwd"
	verbDisable session.Verb = "disable"
	verbEnable  session.Verb = "enable"
	verbKill    session.Verb = "kill"
	verbBan     session.Verb = "ban"
	verbUnban   session.Verb = "unban"
	verbApply   session.Verb = "apply"
	verbConfirm session.Verb = "confirm"
	verbRevert  session.Verb = "revert"
	verbShadow  session.Verb = "shadow"
	verbHold    session.Verb = "hold"
	verbRelease session.Verb = "release"
	verbRetry   session.Verb = "retry"
	verbRenew   session.Verb = "renew"
	verbAccept  session.Verb = "accept"
	verbRotate  session.Verb = "rotate"
	verbEnrol   session.Verb = "enrol"
	verbImport  session.Verb = "import"
	verbExport  session.Verb = "export"
	verbTest    session.Verb = "test"
)

// record runs one change between its two records: that it begins, without which
// it does not happen, and how it ended, with the object before and after.
func (s *Service) record(ctx context.Context, verb session.Verb, object string, change func() (before, after any, err error)) error {
	return s.recordBy(ctx, session.Event{Protocol: session.CLI, User: actor(ctx)}, verb, object, change)
}

// recordBy is record for a change by whoever e names.
func (s *Service) recordBy(ctx context.Context, e session.Event, verb session.Verb, object string, change func() (before, after any, err error)) error {
	e.Event, e.Verb, e.Object, e.Outcome = session.EventAdmin, verb, object, session.OutcomeBegun
	if err := s.Recorder.Commit(ctx, e); err != nil {
		return fmt.Errorf("nothing was changed, because it cannot be recorded: %w", err)
	}
	before, after, err := change()
	e.Outcome = session.OutcomeDone
	if err != nil {
		e.Outcome, e.Reason = session.OutcomeFailed, err.Error()
	}
	e.Before, e.After = written(before), written(after)
	return errors.Join(err, s.Recorder.Commit(context.WithoutCancel(ctx), e))
}

// written is an object as the record keeps it: JSON in a string.
func written(v any) string {
	if v == nil {
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil || string(text) == "null" {
		return ""
	}
	return string(text)
}

// Reading is what of the record somebody reads.
type Reading struct {
	What string `json:"what"`           // the command with its filters
	User string `json:"user,omitempty"` // the name that is asked for
}

// ReadingNames is how User may be written in the record.
type ReadingNames struct {
	Users []string `json:"users"`
}

// auditRead notes that the record is read. It is called before the reading; once
// it returns, all that happened before is on disk to be read.
func (s *Service) auditRead(ctx context.Context, in Reading) (ReadingNames, error) {
	var names ReadingNames
	if in.User != "" {
		names.Users = []string{in.User, session.UnknownName(s.NameKey, in.User)}
	}
	return names, s.Recorder.Commit(ctx, session.Event{
		Event: session.EventAdmin, Protocol: session.CLI, User: actor(ctx), Verb: session.Read, Object: "audit",
		Reason: in.What, Outcome: session.OutcomeDone,
	})
}
