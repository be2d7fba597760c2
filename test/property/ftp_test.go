package property

import (
	"time"

	"gateway/session"
)

// The words of FTP.
const (
	ftpGreeting  = "220 " + hostname + " FTP ready."
	ftpNotServed = "421 Service not available."
	ftpDenied    = "530 Login incorrect."
	ftpEncrypt   = "530 Encryption required: use AUTH TLS, or SFTP."
	ftpPassword  = "331 Please specify the password."
	ftpSequence  = "503 Bad sequence of commands."
	ftpGranted   = "230 Login successful."
	ftpGrantedBy = "232 Logged in by certificate."
	ftpGoodbye   = "221 Goodbye."
)

// ftpReply is what a client of FTP must hear.
func ftpReply(a answer, welcome string) string {
	switch a.kind {
	case goOn:
		return ftpPassword
	case insecure:
		if a.hint != "" {
			return "530 " + a.hint
		}
		return ftpEncrypt
	case paused:
		return "421 " + a.hint
	case granted:
		if a.notice != "" {
			return welcome[:3] + "-" + a.notice + "\n" + welcome
		}
		return welcome
	default:
		return ftpDenied
	}
}

// refusedFTP is what a client hears that is not served.
func refusedFTP(v session.Verdict) string {
	if a := refusal(denied, v); a.hint != "" {
		return "421 " + a.hint
	}
	return ftpNotServed
}

// speakFTP plays a client of FTP.
func speakFTP(c *client, l *login) {
	c.greeted(l, ftpGreeting, refusedFTP)
	if l.Upgrade {
		if l.Early {
			c.firstFTP(l)
		}
		c.ask("AUTH TLS", "234 Proceed with TLS negotiation.")
		c.secure(l)
	}
	if !l.Upgrade || !l.Early {
		c.firstFTP(l)
	}
	for _, p := range l.Proofs {
		heard := c.userFTP(l, l.User)
		c.before(l.User, heard)
		if heard[:3] != "232" && c.passFTP(l, heard, p) != granted {
			continue
		}
		break
	}
	c.quit(ftpGoodbye)
}

// firstFTP says what software the client is, and the first name.
func (c *client) firstFTP(l *login) {
	if l.Software != "" {
		c.ask("CLNT "+l.Software, "200 Noted.")
		l.said = true
	}
	if l.First != "" {
		c.before(l.First, c.userFTP(l, l.First))
	}
}

// userFTP says a name, and returns what it heard.
func (c *client) userFTP(l *login, user string) string {
	now := time.Now()
	l.forget()
	if l.certified(user) {
		byKey := l.offer(now, user, proof{session.MethodPublicKey, l.TLS.Certificate})
		switch byKey.kind {
		case granted:
			return c.ask("USER "+user, ftpReply(byKey, ftpGrantedBy))
		case paused:
			c.ask("USER "+user, ftpReply(byKey, ""))
			c.ended()
		}
	}
	a := l.claim(now, user, session.MethodPassword)
	heard := c.ask("USER "+user, ftpReply(a, ""))
	if a.kind == paused {
		c.before(user, heard)
		c.ended()
	}
	return heard
}

// passFTP gives the password where it is asked for, or the client insists.
func (c *client) passFTP(l *login, heard string, p proof) answerKind {
	asked := heard == ftpPassword
	if !asked && !l.Insist {
		return insecure
	}
	l.hesitate()
	a := l.offer(time.Now(), l.User, p)
	l.changed = l.changed || l.Slow && asked == (a.kind == insecure || a.kind == paused)
	want := ftpReply(a, ftpGranted)
	if !asked && (a.kind == insecure || a.kind == granted) {
		want, a.kind = ftpSequence, insecure // it was not asked for, whatever the rules say by now
	}
	c.ask("PASS "+p.Secret, want)
	if a.kind == paused {
		c.ended()
	}
	return a.kind
}

// certified reports whether the client shows a certificate that is an account's, which
// nobody may log in to if it is disabled.
func (l *login) certified(user string) bool {
	who := l.world.people[user]
	return who != nil && !who.disabled && who.certificate && l.tls.Certificate && l.TLS.Certificate == knownCertificate
}
