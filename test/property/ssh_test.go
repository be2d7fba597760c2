package property

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

const sshNotServed = "Service not available.\r\n"

// offered is a proof that the library's client gave.
type offered struct {
	proof proof
	at    time.Time
}

// speakSSH lets the library's client log in with the proofs of the situation, and
// then looks whether what it did and heard is what the policy demands.
func speakSSH(c *client, l *login) {
	if v := l.policy.Decide(l.peer(l.At)); !v.Allowed {
		if got, _ := c.r.ReadString('\n'); got != sshNotServed {
			c.fault("heard %q, want %q", got, sshNotServed)
		}
		c.ended()
	}
	var gave []offered
	var banners strings.Builder
	note := func(p proof) { gave = append(gave, offered{p, time.Now()}) }
	cfg := &ssh.ClientConfig{
		User: l.User, ClientVersion: l.Software, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		Config:         ssh.Config{KeyExchanges: []string{ssh.KeyExchangeCurve25519}},
		BannerCallback: func(m string) error { banners.WriteString(m); return nil },
	}
	for _, p := range l.Proofs {
		cfg.Auth = append(cfg.Auth, authMethod(p, note))
	}
	conn, channels, requests, err := ssh.NewClientConn(c.conn, hostname, cfg)
	if err == nil {
		go ssh.DiscardRequests(requests)
		go func() {
			for range channels {
			}
		}()
		_ = conn.Close()
	}
	fmt.Fprintf(&c.dialogue, "user %q gave %v\nbanners %q, %v\n", l.User, gave, banners.String(), err)
	loggedIn, want := l.ssh(c, gave, time.Now())
	if loggedIn != (err == nil) {
		c.fault("logged in is %v, want %v", err == nil, loggedIn)
	}
	if got := banners.String(); got != want {
		c.fault("banners are %q, want %q", got, want)
	}
}

// ssh is what must come of a login with the proofs of the situation: whether there is
// a session, and what is said in banners. gave is when the client gave which proof, so
// that one that it was not asked for, or that it was and did not give, is a fault.
func (l *login) ssh(c *client, gave []offered, end time.Time) (loggedIn bool, banners string) {
	l.channel = session.SSH
	offer := l.methods(l.At)
	l.said = true
	if len(offer) == 0 {
		if a := l.claim(l.At, l.User, session.MethodPassword, session.MethodPublicKey, session.MethodKeyboardInteractive); a.hint != "" {
			banners = a.hint + "\r\n"
		}
		if len(gave) > 0 {
			c.fault("gave %v, and nothing may be offered", gave)
		}
		return false, banners
	}
	strangers := 0
	tried := make(map[session.Method]bool)
	for {
		i := slices.IndexFunc(l.Proofs, func(p proof) bool { return !tried[onWire(p.Method)] && asked(offer, p.Method) })
		if i < 0 {
			break
		}
		p := l.Proofs[i]
		if p.Method == session.MethodPublicKey && !l.knows(p) {
			strangers++
			tried[p.Method] = true
			continue
		}
		if len(gave) == 0 || gave[0].proof != p {
			c.fault("gave %v, want %v", gave, p)
		}
		if onWire(p.Method) == session.MethodKeyboardInteractive { // whatever the client takes the question for
			if p.Method = session.MethodKeyboardInteractive; slices.Contains(offer, session.MethodCode) {
				p.Method = session.MethodCode
			}
		}
		strangers = 0
		a := l.offer(gave[0].at, l.User, p)
		gave = gave[1:]
		if a.hint != "" {
			banners += a.hint + "\r\n"
		}
		switch a.kind {
		case granted:
			if a.notice != "" {
				banners += a.notice + "\r\n"
			}
			return true, banners
		case paused:
			return false, banners
		case more:
			offer = a.more
		default:
			tried[onWire(p.Method)] = true
		}
	}
	if len(gave) > 0 {
		c.fault("gave %v after all was tried", gave)
	}
	if strangers > 0 {
		l.unproven(end, strangers)
	}
	return false, banners
}

// onWire is the method of SSH by which a proof is given.
func onWire(m session.Method) session.Method {
	switch m {
	case session.MethodCode:
		return session.MethodKeyboardInteractive
	case session.MethodToken:
		return session.MethodPassword
	default:
		return m
	}
}

// asked reports whether a proof may be given where those methods are offered.
func asked(offer []session.Method, m session.Method) bool {
	return slices.ContainsFunc(offer, func(o session.Method) bool { return onWire(o) == onWire(m) })
}

// knows reports whether the account has the key of a proof.
func (l *login) knows(p proof) bool {
	who := l.world.people[l.User]
	return who != nil && !who.disabled && who.key == p.Secret
}

// unproven is the record of a client that had no key of the account.
func (l *login) unproven(at time.Time, keys int) {
	r := l.facts(at, l.User, session.MethodPublicKey)
	v := session.Verdict{
		WouldRefuse: l.policy.Decide(r).WouldRefuse,
		Reason:      fmt.Sprintf("none of %d keys is one of the account; the last was %s", keys, ssh.FingerprintSHA256(signerOf(l.Proofs[0].Secret).PublicKey())),
	}
	l.expect(r, v, session.MethodPublicKey, session.OutcomeRefused, session.CredentialProtected)
}

// authMethod gives one proof to the library's client, which answers any question with it.
func authMethod(p proof, note func(proof)) ssh.AuthMethod {
	switch p.Method {
	case session.MethodPublicKey:
		return ssh.PublicKeys(&noting{signerOf(p.Secret).(ssh.AlgorithmSigner), func() { note(p) }})
	case session.MethodKeyboardInteractive, session.MethodCode:
		return ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			if len(questions) == 0 {
				return nil, nil
			}
			note(p)
			return []string{p.Secret}, nil
		})
	default:
		return ssh.PasswordCallback(func() (string, error) { note(p); return p.Secret, nil })
	}
}

// noting is a signer that tells when it signs.
type noting struct {
	ssh.AlgorithmSigner
	signs func()
}

// SignWithAlgorithm implements ssh.AlgorithmSigner.
func (n *noting) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	n.signs()
	return n.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
}
