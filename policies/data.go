package policies

import (
	"slices"
	"strings"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The attributes about the data connections of FTP, and of what a session may do
// beyond files.
const (
	attrResumption = "tls_resumption" // allow, require
	attrGrants     = "grants"         // allow
)

// The words of grants.
const (
	grantClearData    = "clear-data"    // PROT C
	grantClearControl = "clear-control" // CCC
	grantSCP          = "scp"           // scp -O
	grantEnrolKeys    = "enrol-keys"    // SFTP: a file of keys for the own account
	grantEnrolOffered = "enrol-offered" // SFTP: keys that were offered before the password
)

func grantWords() []string {
	return []string{grantClearData, grantClearControl, grantSCP, grantEnrolKeys, grantEnrolOffered}
}

func resumptions() []string {
	return []string{session.ResumptionRequired.String(), session.ResumptionPreferred.String(), session.ResumptionOff.String()}
}

// resumption reads tls_resumption.
func (d *decoder) resumption(a *hclsyntax.Attribute) session.Resumption {
	t, ok := d.one(a)
	if !ok {
		return session.ResumptionUnset
	}
	r, err := session.ParseResumption(t.value)
	if err != nil {
		d.fault(t.at, "Unknown "+attrResumption, "There is no %s %q.%s", attrResumption, t.value, suggest(t.value, resumptions()))
	}
	return r
}

// grants reads what an allow grants beyond the entry.
func (d *decoder) grants(s *statement, a *hclsyntax.Attribute) {
	if list, ok := a.Expr.(*hclsyntax.TupleConsExpr); ok && len(list.Exprs) == 0 {
		d.fault(a.Expr.Range(), "Empty list", "An empty list grants nothing. Leave the attribute out.")
		return
	}
	for _, t := range d.texts(a) {
		switch t.value {
		case grantClearData:
			s.data.ClearData = true
		case grantClearControl:
			s.data.ClearControl = true
		case grantSCP:
			s.data.SCP = true
		case grantEnrolKeys:
			s.data.EnrolKeys = true
		case grantEnrolOffered:
			s.data.EnrolOffered = true
		default:
			d.fault(t.at, "Unknown grant", "There is no grant %q.%s", t.value, suggest(t.value, grantWords()))
		}
	}
}

// aboutData reports whether an allow or a require says something of the session
// after the login.
func (s *statement) aboutData() bool { return s.data != session.DataRules{} }

// sayingData lists the statements that say something of data connections.
func sayingData(list []*statement) []*statement {
	return slices.DeleteFunc(slices.Clone(list), func(s *statement) bool { return !s.aboutData() })
}

// data is what the rules say of the connections of a session that is let in.
// Every allow that matches grants, not only the one that is said to have decided.
func (p *Policy) data(matched *bits, now time.Time) session.DataRules {
	var out session.DataRules
	for _, a := range p.grants {
		if matched.has(a.cond.id) {
			out.Granted = max(out.Granted, a.data.Granted)
			out.ClearData = out.ClearData || a.data.ClearData
			out.ClearControl = out.ClearControl || a.data.ClearControl
			out.SCP = out.SCP || a.data.SCP
			out.EnrolKeys = out.EnrolKeys || a.data.EnrolKeys
			out.EnrolOffered = out.EnrolOffered || a.data.EnrolOffered
		}
	}
	for _, q := range p.demands {
		if q.applies(matched) && exemption(q, matched, now) == nil {
			out.Demanded = stricter(out.Demanded, q.data.Demanded)
			out = withJournals(out, q.data)
			out.Held = out.Held.And(q.data.Held)
		}
	}
	return out
}

// stricter is the stricter of two demands, of which either may be unset.
func stricter(a, b session.Resumption) session.Resumption {
	if a == session.ResumptionUnset || b == session.ResumptionUnset {
		return max(a, b)
	}
	return min(a, b)
}

// says is what a statement says of connections beyond the login, in words;
// nothing if it says nothing.
func (s *statement) says() []string {
	var out []string
	if r := max(s.data.Granted, s.data.Demanded); r != session.ResumptionUnset {
		verb := "grants "
		if s.kind == kindRequire {
			verb = "demands "
		}
		out = append(out, verb+attrResumption+" "+r.String())
	}
	for _, rule := range s.data.Journals() {
		out = append(out, "demands "+attrJournal+" "+rule)
	}
	out = append(out, heldWords(s.data.Held)...)
	if s.rate != (session.Rate{}) {
		out = append(out, "lets try "+rateWords(s.rate)+" from one source")
	}
	if words := grantedWords(s.data); len(words) > 0 {
		out = append(out, "grants "+strings.Join(words, ", "))
	}
	if s.ssh.Demanded != session.SSHUnset {
		out = append(out, "demands "+attrSSHProfile+" "+s.ssh.Demanded.String())
	}
	if s.ssh.Granted != session.SSHUnset {
		out = append(out, "grants "+attrSSHProfile+" "+s.ssh.Granted.String())
	}
	return out
}

// grantedWords are the grants that are given.
func grantedWords(d session.DataRules) []string {
	var out []string
	if d.ClearData {
		out = append(out, grantClearData)
	}
	if d.ClearControl {
		out = append(out, grantClearControl)
	}
	if d.SCP {
		out = append(out, grantSCP)
	}
	if d.EnrolKeys {
		out = append(out, grantEnrolKeys)
	}
	if d.EnrolOffered {
		out = append(out, grantEnrolOffered)
	}
	return out
}

// overFTPS reports whether the condition can match FTP over TLS, the only way in
// for which rules about data connections mean anything.
func (c *condition) overFTPS() bool {
	return c.admits(way{protocolNumber(session.FTP), int(session.TLS), methodNumber(session.MethodPassword)})
}

// byPasswordOverSFTP reports whether the condition can match the sessions that
// may bring keys.
func (c *condition) byPasswordOverSFTP() bool {
	sftp := protocolNumber(session.SFTP)
	return c.admits(way{sftp, int(session.SSH), methodNumber(session.MethodPassword)}) ||
		c.admits(way{sftp, int(session.SSH), methodNumber(session.MethodKeyboardInteractive)})
}

// ofFTP is d without what it says of other protocols.
func ofFTP(d session.DataRules) session.DataRules {
	d.SCP, d.EnrolKeys, d.EnrolOffered, d.Journal, d.Held = false, false, false, [session.MaxJournals]string{}, session.Held{}
	return d
}

// lintData warns of rules about data connections that change nothing.
func (p *Policy) lintData(warn func(s *statement, format string, args ...any)) {
	for _, a := range p.grants {
		if a.data.SCP && !a.cond.overSSH() {
			warn(a, "allow %q grants scp and can never match SFTP, so it means nothing", a.name)
		}
		if (a.data.EnrolKeys || a.data.EnrolOffered) && !a.cond.byPasswordOverSFTP() {
			words := grantedWords(session.DataRules{EnrolKeys: a.data.EnrolKeys, EnrolOffered: a.data.EnrolOffered})
			warn(a, "allow %q grants %s and can never match SFTP with a password, so it means nothing", a.name, strings.Join(words, " and "))
		}
		if ofFTP(a.data) != (session.DataRules{}) && !a.cond.overFTPS() {
			warn(a, "allow %q says something of data connections and can never match FTP over TLS, so it means nothing", a.name)
		}
		if a.data.Granted == session.ResumptionRequired {
			warn(a, "allow %q grants tls_resumption \"required\", which is the strictest and loosens nothing; "+
				"to demand it, write it in a require", a.name)
		}
	}
	for _, q := range p.demands {
		if len(q.data.Journals()) > 0 && !q.when.takesMail() {
			warn(q, "require %q demands a journal and never applies to mail, so it means nothing", q.name)
		}
		if files := (session.Held{Lifetime: q.data.Held.Lifetime}); q.data.Held != files && !q.when.movesFiles() {
			warn(q, "require %q holds sessions to something of files and never applies to FTP or SFTP, so it means nothing", q.name)
		}
		if ofFTP(q.data) != (session.DataRules{}) && !q.when.overFTPS() {
			warn(q, "require %q says something of data connections and never applies to FTP over TLS, so it means nothing", q.name)
		}
		if q.data.Demanded == session.ResumptionOff {
			warn(q, "require %q demands tls_resumption \"off\", which is the loosest and restricts nothing; "+
				"to grant it, write it in an allow", q.name)
		}
	}
}

// A DataFinding is what holds for the data connections of an FTP session.
type DataFinding struct {
	// Resumption is what data connections over TLS must show, by what the listener
	// asks for by itself.
	Resumption map[string]string `json:"tls_resumption"`
	// Granted is the loosest that an allow grants, Demanded the strictest that a
	// require demands. Empty if none says it.
	Granted      string `json:"granted,omitempty"`
	Demanded     string `json:"demanded,omitempty"`
	ClearData    bool   `json:"clear_data"`
	ClearControl bool   `json:"clear_control"`
}

func newDataFinding(d session.DataRules) *DataFinding {
	out := &DataFinding{
		Resumption: make(map[string]string), Granted: d.Granted.String(), Demanded: d.Demanded.String(),
		ClearData: d.ClearData, ClearControl: d.ClearControl,
	}
	for _, word := range resumptions() {
		listener, _ := session.ParseResumption(word) // one of its own words
		out.Resumption[word] = d.Resumption(listener).String()
	}
	return out
}

// lines says the finding for people to read.
func (f *DataFinding) lines() []string {
	strict := f.Resumption[session.ResumptionRequired.String()]
	loose := f.Resumption[session.ResumptionOff.String()]
	resumption := attrResumption + " " + strict
	switch {
	case strict == loose:
	case strict == session.ResumptionRequired.String() && loose == session.ResumptionOff.String():
		resumption = attrResumption + " as the listener asks"
	default:
		resumption += ", or " + loose + " where the listener asks for no more"
	}
	inClear := "clear data connections (PROT C) and clear control (CCC) not granted"
	switch {
	case f.ClearData && f.ClearControl:
		inClear = "clear data connections (PROT C) and clear control (CCC) granted"
	case f.ClearData:
		inClear = "clear data connections (PROT C) granted"
	case f.ClearControl:
		inClear = "clear control (CCC) granted"
	}
	return []string{resumption, inClear}
}
