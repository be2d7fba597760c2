package policies

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// What an Explanation says of a statement.
const (
	resultMatches    = "matches"        // allow, exempt
	resultNoMatch    = "does not match" // allow, exempt
	resultHolds      = "holds"          // require
	resultNotMet     = "NOT MET"        // require
	resultExempted   = "exempted"       // require
	resultNoApply    = "does not apply" // require
	resultStaged     = "not met yet"    // require: a rollout does not enforce it
	resultExpired    = "expired"        // exempt: matches, too late
	resultNotNeeded  = "not needed"     // exempt: matches, the requirement holds anyway
	verdictInsecure  = "refuse before the credential"
	verdictPaused    = "refuse for a while"
	alternativeLimit = 16
)

// An Explanation says what a policy decides and why.
type Explanation struct {
	Request session.Request `json:"request"`
	// Verdict is "allow", "refuse", "refuse before the credential", "refuse for a while", or
	// "drop".
	Verdict string `json:"verdict"`
	// Phase is where the verdict fell: the first refusal, or the last phase asked.
	Phase  session.Phase `json:"phase"`
	Policy string        `json:"policy"` // hash
	Rule   string        `json:"rule"`
	Reason string        `json:"reason"`
	Reply  string        `json:"reply,omitempty"`
	// Retry is when a refusal for a while is over.
	Retry time.Time `json:"retry,omitzero"`
	// WouldRefuse are the rules that will refuse it, and Notice what the client is told
	// of that.
	WouldRefuse []string `json:"would_refuse,omitempty"`
	Notice      string   `json:"notice,omitempty"`
	// Data is what holds for the data connections of FTP over TLS that is allowed.
	Data *DataFinding `json:"data,omitempty"`
	// Held is what a session that is allowed is held to, in words.
	Held []string `json:"held,omitempty"`
	// Logins is how often such a login may be tried from one source; empty is no limit.
	Logins string `json:"logins,omitempty"`
	// SSHProfile is which algorithms SFTP that is allowed is offered, by what the
	// listener offers by itself.
	SSHProfile map[string]string `json:"ssh_profile,omitempty"`
	// EnrolKeys says that an SFTP session that a password opened may bring keys.
	EnrolKeys bool `json:"enrol_keys,omitempty"`
	// EnrolOffered says that keys which such a session's client offered become the
	// account's.
	EnrolOffered bool `json:"enrol_offered,omitempty"`
	// Device is the name of the device that it is, if it is one.
	Device string `json:"device,omitempty"`
	// Statements are all allows, requires, exempts and devices in the order of the file.
	Statements []Finding `json:"statements"`
	// AllowedIf are the smallest changes of the request that would be allowed:
	// all single ones, or if there are none, pairs. Empty if it is allowed.
	AllowedIf []Alternative `json:"allowed_if,omitempty"`
}

// A Finding is what one statement has to say of the request.
type Finding struct {
	Statement string   `json:"statement"` // with file and line
	File      string   `json:"file"`
	Line      int      `json:"line"`
	Result    string   `json:"result"`
	Why       []string `json:"why,omitempty"`
	Decided   bool     `json:"decided,omitempty"`
}

// An Alternative is a set of changes that together would be allowed.
type Alternative struct {
	Changes []string `json:"changes"`
	Rule    string   `json:"rule"` // that would decide
}

// Explain says what the policy decides of r and why. All phases up to r.Phase are
// decided, as for a login; an empty Phase means up to PhaseVerified.
func (p *Policy) Explain(r session.Request) Explanation {
	if r.Phase == "" {
		r.Phase = session.PhaseVerified
	}
	if r.Proven == 0 {
		r.Proven = r.Method.Factor()
	}
	r.Local = assumedLocal(r)
	if r.Act != (session.Act{}) {
		r.Phase = session.PhaseSession
	}
	verdict, phase := p.run(r)
	e := Explanation{
		Request: r, Verdict: verdictRefuse, Phase: phase, Policy: p.hash,
		Rule: verdict.Rule, Reason: verdict.Reason, Reply: verdict.Hint,
		Retry: verdict.Retry, WouldRefuse: verdict.WouldRefuse, Notice: verdict.Notice,
	}
	if named := p.named(r); named.Rate != (session.Rate{}) {
		e.Logins = rateWords(named.Rate)
	}
	switch {
	case verdict.Allowed:
		e.Verdict = verdictAllow
		if verdict.Device != nil {
			e.Device = verdict.Device.Name
		}
		e.Held = heldWords(verdict.Data.Held)
		if phase == session.PhaseVerified && r.Protocol == session.FTP && r.Channel == session.TLS {
			e.Data = newDataFinding(verdict.Data)
		}
		if r.Protocol == session.SFTP {
			peer := r
			peer.Phase = session.PhaseConnect
			e.SSHProfile = sshFinding(p.Decide(peer).SSH)
			byPassword := r.Method.SendsPassword()
			e.EnrolKeys, e.EnrolOffered = byPassword && verdict.Data.EnrolKeys, byPassword && verdict.Data.EnrolOffered
		}
	case verdict.Drop:
		e.Verdict = otherwiseDrop
	case !verdict.Retry.IsZero():
		e.Verdict = verdictPaused
	case verdict.Insecure:
		e.Verdict = verdictInsecure
	}
	for _, s := range slices.Concat(p.allows, p.everyRequire(), p.exempts) {
		f := p.findingOf(s, r)
		f.Statement, f.File, f.Line = s.rule, p.filename, s.line
		f.Decided = s.rule == verdict.Rule
		e.Statements = append(e.Statements, f)
	}
	for _, d := range p.devices {
		f := d.finding(r)
		f.Statement, f.File, f.Line, f.Decided = d.rule, p.filename, d.line, d.rule == verdict.Rule
		e.Statements = append(e.Statements, f)
	}
	slices.SortStableFunc(e.Statements, func(a, b Finding) int { return a.Line - b.Line })
	if !verdict.Allowed {
		e.AllowedIf = p.alternatives(r)
	}
	return e
}

// finding judges one statement by the plain reading of its conditions.
func (p *Policy) finding(s *statement, r session.Request) Finding {
	unmet := s.cond.unmet(r)
	switch s.kind {
	case kindRequire:
		if r.Method == session.MethodDevice && !s.peerOnly() {
			return Finding{Result: resultNoApply, Why: []string{"it is about logins"}}
		}
		if s.late && r.Phase == session.PhaseNamed {
			return Finding{Result: resultNoApply, Why: []string{"it is decided after the proof"}}
		}
		if s.about != 0 && r.Phase != session.PhaseSession {
			return Finding{Result: resultNoApply, Why: []string{"it is about what sessions do"}}
		}
		if s.about != 0 && !s.concerns(&r.Act) {
			return Finding{Result: resultNoApply, Why: []string{"it is not about a " + string(r.Act.Verb) + ", or what it looks at is not known yet"}}
		}
		if why := s.outside(r); len(why) > 0 {
			return Finding{Result: resultNoApply, Why: why}
		}
		short := s.short(r)
		waived := slices.Concat(unmet, short, s.says())
		for _, e := range s.exempts {
			if len(waived) > 0 && len(e.cond.unmet(r)) == 0 && !e.expired(r.Time) {
				return Finding{Result: resultExempted, Why: append(waived, "by "+e.rule)}
			}
		}
		unmet = append(unmet, short...)
		if len(unmet) == 0 {
			return Finding{Result: resultHolds, Why: s.says()}
		}
		if len(s.exempts) > 0 {
			unmet = append(unmet, "no exempt matches")
		}
		result := resultNotMet
		if at := s.plainStanding(&r); at.by != nil {
			unmet = append(unmet, at.by.text(at.stage, at.until, cohortOf(&r)))
			if !at.refuses() {
				result = resultStaged
			}
		}
		return Finding{Result: result, Why: unmet}
	case kindExempt:
		switch {
		case len(unmet) > 0:
			return Finding{Result: resultNoMatch, Why: unmet}
		case s.expired(r.Time):
			return Finding{Result: resultExpired, Why: []string{"held until " + s.untilText}}
		case len(s.requirement.outside(r)) > 0 || len(s.requirement.cond.unmet(r)) == 0 && len(s.requirement.short(r)) == 0 && !s.requirement.settles():
			return Finding{Result: resultNotNeeded}
		}
		return Finding{Result: resultMatches, Why: slices.Concat(s.says(), []string{"until " + s.untilText, "owner " + s.owner, s.because})}
	default:
		if len(unmet) > 0 {
			return Finding{Result: resultNoMatch, Why: unmet}
		}
		return Finding{Result: resultMatches, Why: s.says()}
	}
}

// findingOf is that of the act at the worse of its two paths, if it has two.
func (p *Policy) findingOf(s *statement, r session.Request) Finding {
	if r.Phase != session.PhaseSession || r.Act.Target == "" {
		return p.finding(s, r)
	}
	moves := r.Act.Verb == session.Rename
	if p.tables.paths.at(r.Act.Path, moves) != p.tables.paths.at(r.Act.Target, moves) {
		r.Act.Verb = "" // it comes under other rules, whatever these are about: Policy.act
	}
	from, to := r, r
	from.Act.Target, to.Act.Path, to.Act.Target = "", r.Act.Target, ""
	if f := p.finding(s, from); f.Result != resultHolds && f.Result != resultNoApply || s.about == 0 {
		return f
	}
	return p.finding(s, to)
}

// plainStanding is standing by the plain reading of the rollouts' conditions.
func (s *statement) plainStanding(r *session.Request) standing {
	out := standing{stage: session.StageEnforce}
	for _, w := range s.rollouts {
		if len(w.cond.unmet(*r)) > 0 {
			continue
		}
		if stage, until := w.stage(r.Time, cohortOf(r)); out.by == nil || rank(stage) < rank(out.stage) {
			out = standing{stage, until, w}
		}
	}
	return out
}

// outside says why a requirement does not apply to r; nothing if it does. What is
// not known counts as matching.
func (s *statement) outside(r session.Request) []string {
	if s.when == nil {
		return nil
	}
	known := *s.when
	for d := range dimensions {
		if d.number(&r, known.zone) < 0 {
			known.sets[d] = 0
		}
	}
	if r.Listener == "" {
		known.listener = nil
	}
	if !r.Remote.IsValid() {
		known.from = nil
	}
	if r.User == "" {
		known.user, known.group = nil, nil
	}
	if r.Time.IsZero() {
		known.spans[scaleTime] = nil
	}
	if r.Act.Path == "" {
		known.act.paths = nil
	}
	if r.Act.Verb != session.Accept {
		known.act.senders = nil
	}
	if r.Act.Recipient == "" {
		known.act.recipients = nil
	}
	if r.Act.Asked == "" {
		known.act.requests = nil
	}
	return known.unmet(r)
}

// WriteText writes the explanation for people to read.
func (e Explanation) WriteText(w io.Writer) error {
	var b strings.Builder
	r := e.Request
	remote := "an address that is not known"
	if r.Remote.IsValid() {
		remote = r.Remote.Unmap().String()
	}
	user := r.User
	if user == "" {
		user = "somebody"
	}
	fmt.Fprintf(&b, "%s over %s (%s) from %s", user, orUnknown(string(r.Protocol)), r.Channel, remote)
	if r.Listener != "" {
		fmt.Fprintf(&b, " at listener %s", r.Listener)
	}
	if r.Method != "" {
		fmt.Fprintf(&b, " with %s", r.Method)
	}
	if r.Proven != r.Method.Factor() {
		fmt.Fprintf(&b, ", %s proven", r.Proven)
	}
	groups := "in no group"
	if len(r.Groups) > 0 {
		groups = "in " + strings.Join(r.Groups, ", ")
	}
	if r.Act != (session.Act{}) {
		fmt.Fprintf(&b, ", %s", r.Act)
	}
	fmt.Fprintf(&b, ", %s, %s\n", groups, r.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	fmt.Fprintf(&b, "verdict  %s, at phase %s\n", e.Verdict, e.Phase)
	fmt.Fprintf(&b, "by       %s\nbecause  %s\n", e.Rule, e.Reason)
	if e.Reply != "" {
		fmt.Fprintf(&b, "reply    %s\n", e.Reply)
	}
	if !e.Retry.IsZero() {
		fmt.Fprintf(&b, "until    %s\n", e.Retry.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	for _, rule := range e.WouldRefuse {
		fmt.Fprintf(&b, "later    will be refused by %s\n", rule)
	}
	if e.Notice != "" {
		fmt.Fprintf(&b, "notice   %s\n", e.Notice)
	}
	if e.Data != nil {
		lines := e.Data.lines()
		fmt.Fprintf(&b, "data     %s\n", strings.Join(lines, "\n         "))
	}
	if len(e.Held) > 0 {
		fmt.Fprintf(&b, "session  %s\n", strings.Join(e.Held, ", "))
	}
	if e.Logins != "" {
		fmt.Fprintf(&b, "logins   at most %s from one source\n", e.Logins)
	}
	if e.SSHProfile != nil {
		fmt.Fprintf(&b, "ssh      %s\n", sshLine(e.SSHProfile))
	}
	if e.EnrolKeys {
		b.WriteString("keys     may be put as .ssh/authorized_keys\n")
	}
	if e.EnrolOffered {
		b.WriteString("keys     that the client offers before are enrolled\n")
	}
	if e.Device != "" {
		fmt.Fprintf(&b, "device   %s\n", e.Device)
	}
	fmt.Fprintf(&b, "policy   %s\n\n", e.Policy)
	for _, f := range e.Statements {
		mark := " "
		if f.Decided {
			mark = "*"
		}
		fmt.Fprintf(&b, "%s %-14s %s\n", mark, f.Result, f.Statement)
		for _, why := range f.Why {
			fmt.Fprintf(&b, "                   %s\n", why)
		}
	}
	if len(e.AllowedIf) > 0 {
		b.WriteString("\nwould be allowed with\n")
		for _, a := range e.AllowedIf {
			fmt.Fprintf(&b, "  %s\n", strings.Join(a.Changes, " and "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
