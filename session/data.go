package session

import "fmt"

// Resumption says what a data connection over TLS must show to belong to its
// control connection (FTP). The values are ordered from strict to loose; the zero
// value is one that nobody chose, and counts as required.
type Resumption uint8

const (
	ResumptionUnset Resumption = iota
	// ResumptionRequired: the data connection must resume the TLS session of its own
	// control connection. Nobody else can take or plant a file by being first at the
	// port.
	ResumptionRequired
	// ResumptionPreferred also takes a full handshake, if it shows the same client
	// certificate as the control connection. Which of the two it was is recorded.
	ResumptionPreferred
	// ResumptionOff checks the address of the peer only.
	ResumptionOff
)

// resumptionWords are those of the configuration and the rules, by value.
func resumptionWords() []string { return []string{"", "required", "preferred", "off"} }

func (r Resumption) String() string {
	if words := resumptionWords(); int(r) < len(words) {
		return words[r]
	}
	return ""
}

// ParseResumption reads required, preferred or off.
func ParseResumption(text string) (Resumption, error) {
	for i, word := range resumptionWords() {
		if i > 0 && word == text {
			return Resumption(i), nil
		}
	}
	return ResumptionUnset, fmt.Errorf("%q is not one of: required, preferred, off", text)
}

// DataRules are what the rules say of a session after its login: of its connections,
// and of what it may do beside moving files. The zero value grants nothing beyond
// what the listener does.
type DataRules struct {
	// Granted is the loosest resumption that an allow of the session grants,
	// Demanded the strictest that a require asks for. Either may be unset.
	Granted, Demanded Resumption
	// ClearData lets data connections of a protected control connection be clear
	// (PROT C).
	ClearData bool
	// ClearControl lets the control connection go back to clear text after the login
	// (CCC).
	ClearControl bool
	// SCP lets the session use the old protocol of scp (scp -O).
	SCP bool
	// EnrolKeys lets a session that a password opened bring keys for its own account
	// (SFTP).
	EnrolKeys bool
	// EnrolOffered takes keys of which such a session's client only said that it has
	// them, until they have logged in from the same place (SFTP).
	EnrolOffered bool
	// Journal are the copies that are to be kept of mail that the session sends; see
	// JournalRule. Which place a rule has says nothing.
	Journal [MaxJournals]string
	// Held is what every require that applies holds the session to.
	Held Held
	// Acts says that what the session does is decided too, act by act (PhaseSession), and
	// Paths that it matters where a file is.
	Acts, Paths bool
}

// Resumption is what data connections must show on a listener that asks for
// listener by itself. A rule that restricts goes before one that permits.
func (d DataRules) Resumption(listener Resumption) Resumption {
	r := max(listener, ResumptionRequired, d.Granted)
	if d.Demanded != ResumptionUnset {
		r = min(r, d.Demanded)
	}
	return r
}
