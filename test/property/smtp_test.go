package property

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// The words of SMTP.
const (
	smtpGreeting    = "220 " + hostname + " ESMTP Service Ready"
	smtpNotServed   = "421 4.7.0 Service not available to you"
	smtpUnavailable = "421 4.3.0 Service temporarily unavailable"
	smtpDenied      = "535 5.7.8 Authentication failed"
	smtpEncrypt     = "538 5.7.11 Encryption required for authentication"
	smtpMechanism   = "504 5.5.4 Mechanism not offered"
	smtpGranted     = "235 2.7.0 Authentication succeeded"
	smtpAborted     = "501 5.0.0 Negotiation cancelled"
	smtpGoodbye     = "221 2.0.0 Bye"
)

// smtpReply is what a client of SMTP must hear, where it is not asked for more.
func smtpReply(a answer) string {
	switch a.kind {
	case insecure:
		if a.hint != "" {
			return "538 5.7.11 " + a.hint
		}
		return smtpEncrypt
	case paused:
		return "454 4.7.0 " + a.hint
	case granted:
		return smtpGranted
	default:
		return smtpDenied
	}
}

// refusedSMTP is what a client hears that is not served.
func refusedSMTP(v session.Verdict) string {
	if v.Retry.IsZero() {
		return smtpNotServed
	}
	return smtpUnavailable
}

// speakSMTP plays a client of SMTP.
func speakSMTP(c *client, l *login) {
	c.greeted(l, smtpGreeting, refusedSMTP)
	early := l.Upgrade && l.Early
	if l.Upgrade {
		c.hello(l)
		if early {
			c.firstSMTP(l)
		}
		c.ask("STARTTLS", "220 2.0.0 Ready to start TLS")
		c.secure(l)
	}
	c.hello(l)
	if !early {
		c.firstSMTP(l)
	}
	for i, way := range l.Ways {
		if l.granted == nil {
			c.authSMTP(l, way, l.Proofs[i])
		}
	}
	c.quit(smtpGoodbye)
}

// authSMTP logs in by one mechanism.
func (c *client) authSMTP(l *login, way string, p proof) {
	mechanism, when, _ := strings.Cut(way, " ")
	initial := when == "initial"
	prove := func() string {
		if !initial || mechanism == "LOGIN" {
			l.hesitate()
		}
		return smtpReply(l.offer(time.Now(), l.User, p))
	}
	plain := func() string { return encoded("\x00" + l.User + "\x00" + p.Secret) }
	switch {
	case mechanism == "PLAIN" && initial:
		c.ask("AUTH PLAIN "+plain(), prove())
	case mechanism == "PLAIN" && c.prompted(l, "AUTH PLAIN", "334 ", session.MethodPassword):
		c.ask(plain(), prove())
	case mechanism == "LOGIN" && (initial || c.prompted(l, "AUTH LOGIN", "334 "+encoded("Username:"), session.MethodPassword)):
		if heard := c.loginSMTP(l, l.User, initial); strings.HasPrefix(heard, "334 ") {
			c.ask(encoded(p.Secret), prove())
		}
	case mechanism == "EXTERNAL" && initial:
		c.ask("AUTH EXTERNAL "+encoded(l.User), prove())
	case mechanism == "EXTERNAL" && c.prompted(l, "AUTH EXTERNAL", "334 ", session.MethodPublicKey):
		c.ask(encoded(l.User), prove())
	case mechanism == "SCRAM-SHA-256" && (initial || c.prompted(l, "AUTH SCRAM-SHA-256", "334 ", session.MethodSCRAM)):
		c.scramSMTP(l, p, initial)
	}
}

// firstSMTP says the first name, and goes no further.
func (c *client) firstSMTP(l *login) {
	if l.First == "" {
		return
	}
	if heard := c.loginSMTP(l, l.First, true); strings.HasPrefix(heard, "334 ") {
		c.ask("*", smtpAborted)
	}
}

// hello says EHLO and looks at what is offered.
func (c *client) hello(l *login) {
	l.said = true
	heard := c.ask("EHLO "+l.Software, "")
	got := ""
	for line := range strings.Lines(heard) {
		if len(line) > 4 && strings.HasPrefix(line[4:], "AUTH ") {
			got = strings.TrimSpace(line[4:])
		}
	}
	want := []string{"AUTH"}
	for _, m := range l.methods(time.Now()) {
		switch {
		case m == session.MethodSCRAM && l.channel == session.TLS:
			want = append(want, "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")
		case m == session.MethodSCRAM:
			want = append(want, "SCRAM-SHA-256")
		case m == session.MethodPassword:
			want = append(want, "PLAIN", "LOGIN")
		case m == session.MethodPublicKey && l.tls.Certificate:
			want = append(want, "EXTERNAL")
		}
	}
	if len(want) == 1 {
		want = nil
	}
	if got != strings.Join(want, " ") {
		c.fault("offers %q, want %q", got, strings.Join(want, " "))
	}
}

// prompted begins a login of which nobody is named yet, and reports whether the
// credential is asked for.
func (c *client) prompted(l *login, line, challenge string, m session.Method) bool {
	before := l.claim(time.Now(), "", m)
	want := challenge
	switch {
	case before.kind != goOn:
		want = smtpReply(before)
	case !slices.Contains(l.methods(time.Now()), m):
		want = smtpMechanism
	}
	c.ask(line, want)
	return want == challenge
}

// loginSMTP says the name of AUTH LOGIN, and returns what it heard.
func (c *client) loginSMTP(l *login, user string, initial bool) string {
	line := encoded(user)
	if initial {
		line = "AUTH LOGIN " + line
	}
	now := time.Now()
	want := "334 " + encoded("Password:")
	if a := l.claim(now, user, session.MethodPassword); a.kind != goOn {
		want = smtpReply(a)
	} else if initial {
		if a := l.claim(now, "", session.MethodPassword); a.kind != goOn {
			want = smtpReply(a)
		} else if !slices.Contains(l.methods(now), session.MethodPassword) {
			want = smtpMechanism
		}
	}
	heard := c.ask(line, want)
	c.before(user, heard)
	return heard
}

// scramSMTP plays SCRAM as the world's accounts verify it.
func (c *client) scramSMTP(l *login, p proof, initial bool) {
	line := encoded("n,,n=" + l.User + ",r=x")
	if initial {
		line = "AUTH SCRAM-SHA-256 " + line
	}
	before := len(l.verified)
	a := l.offer(time.Now(), l.User, p)
	if len(l.verified) == before { // refused before the challenge
		c.ask(line, smtpReply(a))
		return
	}
	c.ask(line, "334 "+encoded("challenge"))
	if a.kind == granted {
		c.ask(encoded(p.Secret), "334 "+encoded("final"))
		c.ask("", smtpReply(a))
		return
	}
	c.ask(encoded(p.Secret), smtpReply(a))
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
