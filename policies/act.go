package policies

import (
	"slices"
	"strings"

	"gateway/session"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The attributes about what a session does, besides the dimensions operation and
// data_channel. They stand in a require, its when, and the exempts from it.
const (
	attrPath      = "path"             // folders, each with all below
	attrSender    = "sender_domain"    // of the reverse-path
	attrRecipient = "recipient_domain" // of a forward-path
	attrRequest   = "request"          // in the words of the protocol
)

// actNames are all attributes that look at what sessions do.
func actNames() []string {
	return []string{dimOperation.word(), dimDataChannel.word(), attrPath, attrSender, attrRecipient, attrRequest}
}

// nullSender stands in a sender_domain for the null reverse-path (RFC 5321, section 4.5.5).
const nullSender = "<>"

// What acts are about, as a set.
const (
	aboutFiles uint8 = 1 << iota
	aboutMail
	aboutAll = aboutFiles | aboutMail
)

// An actCondition is the part of a condition that looks at what a session does.
type actCondition struct {
	paths, senders, recipients, requests []string
}

func (c *actCondition) empty() bool {
	return c.paths == nil && c.senders == nil && c.recipients == nil && c.requests == nil
}

// actAttribute reads one of paths, domains and requests.
func (d *decoder) actAttribute(c *actCondition, a *hclsyntax.Attribute) {
	values := d.names(d.texts(a))
	at := a.Expr.Range()
	switch a.Name {
	case attrPath:
		for _, v := range values {
			if !folderName(v) {
				d.fault(at, "Not a folder", "%q takes folders as the account sees them, each in its shortest form, such as \"/hr\": %q is none.", a.Name, v)
			}
		}
		c.paths = values
	case attrRequest:
		for _, v := range values {
			if !slices.Contains(requestWords(), v) {
				d.fault(at, "Unknown request", "There is no request %q.%s", v, suggest(v, requestWords()))
			}
		}
		c.requests = values
	default:
		for i, v := range values {
			values[i] = strings.ToLower(v)
			if null := v == nullSender && a.Name == attrSender; !null && !domainPattern(values[i]) {
				d.fault(at, "Not a domain", "%q takes domains such as \"example.com\", or \".example.com\" for all below it: %q is none.", a.Name, v)
			}
		}
		if a.Name == attrSender {
			c.senders = values
		} else {
			c.recipients = values
		}
	}
}

// requestWords are the requests that there are: those of OpenSSH's sftp-server, and the verbs
// of FTP that do something with files.
func requestWords() []string {
	return []string{
		"open", "close", "read", "write", "lstat", "fstat", "setstat", "fsetstat", "opendir", "readdir", "remove", "mkdir", "rmdir",
		"realpath", "stat", "rename", "readlink", "symlink", "posix-rename", "statvfs", "fstatvfs", "hardlink", "fsync", "lsetstat",
		"limits", "expand-path", "copy-data", "home-directory", "users-groups-by-id", "check-file", "vendor-id", "scp", "exec",
		"md5sum", "sha1sum", "sha256sum",
		"RETR", "STOR", "STOU", "APPE", "LIST", "NLST", "MLSD", "MLST", "STAT", "SIZE", "MDTM", "MFMT", "MFF", "DELE", "RMD", "XRMD",
		"MKD", "XMKD", "RNFR", "RNTO", "CWD", "XCWD", "CDUP", "XCUP", "HASH", "AVBL", "XCRC", "XMD5", "XSHA", "XSHA1", "XSHA256", "XSHA512",
		"SITE CHMOD", "SITE UTIME", "SITE SYMLINK",
	}
}

// aboutOf is what acts a condition can look at; nil and one that looks at none say nothing
// against any.
func (c *condition) aboutOf() uint8 {
	about := aboutAll
	if c == nil {
		return about
	}
	if c.act.paths != nil || c.act.requests != nil || c.sets[dimDataChannel] != 0 {
		about &= aboutFiles
	}
	if c.act.senders != nil || c.act.recipients != nil {
		about &= aboutMail
	}
	return about
}

// concerns reports whether a requirement is about such acts, of which all is known that it
// looks at.
func (s *statement) concerns(a *session.Act) bool {
	about := aboutFiles
	if a.Verb == session.Accept {
		about = aboutMail
	}
	return s.about&about != 0 && (a.Recipient != "" || a.Verb != session.Accept || !s.wantsRecipient)
}

// divideActs divides requirements by whether they are about logins or about what sessions do.
func divideActs(list []*statement) (logins, acts []*statement) {
	for _, q := range list {
		if q.phase() != session.PhaseSession {
			logins = append(logins, q)
			continue
		}
		q.about = q.cond.aboutOf() & q.when.aboutOf()
		q.wantsRecipient = q.cond.act.recipients != nil || q.when != nil && q.when.act.recipients != nil
		acts = append(acts, q)
	}
	return logins, acts
}

// looksAtPaths reports whether it matters to a requirement where a file is.
func (s *statement) looksAtPaths() bool {
	return s.cond.act.paths != nil || s.when != nil && s.when.act.paths != nil ||
		slices.ContainsFunc(s.exempts, func(e *statement) bool { return e.cond.act.paths != nil })
}

// resolveActs refuses what looks at acts where none is known, or at acts that there cannot be.
func (d *decoder) resolveActs() {
	for _, q := range d.requires {
		switch {
		case q.phase() != session.PhaseSession:
		case q.settles():
			d.fault(q.at, "Known too late", "Require %q is about what a session does, and demands something that is settled when it begins. Make two of it.", q.name)
		case q.drop || q.rate != (session.Rate{}):
			d.fault(q.at, "Known too late", "Require %q is about what a session does, and %s and %s are about logins.", q.name, attrOtherwise, attrLogins)
		case q.cond.aboutOf()&q.when.aboutOf() == 0:
			d.fault(q.at, "Nothing can be so", "Require %q looks at files and at mail: no session does both at once. Make two of it.", q.name)
		}
	}
	for _, e := range d.exempts {
		if q := e.requirement; q != nil && q.phase() != session.PhaseSession && e.cond.phase() == session.PhaseSession {
			d.fault(e.at, "Known too late", "Require %q is decided at the login; what a session does is known later, so that an exempt cannot look at it.", e.name)
		}
	}
}

// act decides what somebody who is let in is about to do; peer are the conditions that the
// peer satisfies. What no requirement is about is allowed here: what an account may do with
// files is package session's.
func (p *Policy) act(peer *bits, r *session.Request) session.Verdict {
	t := &p.tables
	matched := *peer
	for _, f := range []*facts{&t.own, &t.named, &t.proven} {
		t.applyFacts(&matched, r, f)
	}
	matched.and(t.user.get(r.Subject()))
	group := t.groupBits(r.Groups)
	matched.and(&group)
	matched.and(t.dims[dimDataChannel].get(dimDataChannel.number(r, t.zone)))
	t.senders.narrow(&matched, senderKey(r), false)
	t.recipients.narrow(&matched, domainOf(r.Act.Recipient), false)
	t.requests.narrow(&matched, r.Act.Asked, false)

	operation := t.dims[dimOperation].get(dimOperation.number(r, t.zone))
	moves := r.Act.Verb == session.Rename
	if r.Act.Target != "" && t.paths.at(r.Act.Path, moves) != t.paths.at(r.Act.Target, moves) {
		// It comes under other rules by that, so that all of them must hold, whatever their
		// operation: else a file could be moved to where what is forbidden here is not.
		operation = &t.dims[dimOperation].absent
	}
	out := session.Verdict{Allowed: true, Rule: p.defaultRule, Reason: reasonNoRule}
	for i, path := range [...]string{r.Act.Path, r.Act.Target} {
		if i > 0 && path == "" {
			break
		}
		here := matched
		here.and(operation)
		t.paths.narrow(&here, path, moves)
		if v := p.judgeAct(&here, r, &out); !v.Allowed {
			return v
		}
	}
	return out
}

// judgeAct is what the requirements say of an act at one path; what is only observed is
// added to passed.
func (p *Policy) judgeAct(matched *bits, r *session.Request, passed *session.Verdict) session.Verdict {
	for _, q := range p.acts {
		if !q.concerns(&r.Act) || !q.applies(matched) || matched.has(q.cond.id) && !q.lacking.More(r.Proven) || exemption(q, matched, r.Time) != nil {
			continue
		}
		s := q.standing(matched, r)
		if s.refuses() {
			return session.Verdict{Rule: q.rule, Reason: q.failure(matched), Hint: q.reply, Retry: s.until}
		}
		s.note(passed, q, r)
	}
	return session.Verdict{Allowed: true}
}

// failure is why a requirement refuses: what must hold, or what must be proven.
func (s *statement) failure(matched *bits) string {
	if matched.has(s.cond.id) {
		return s.unproven
	}
	return s.reason
}

// decidesActs says in the rules of a session whether its acts may concern p; matched are the
// conditions that its login satisfies.
func (p *Policy) decidesActs(d *session.DataRules, matched *bits) {
	for _, q := range p.acts {
		if q.applies(matched) {
			d.Acts = true
			d.Paths = d.Paths || q.looksAtPaths()
		}
	}
}

// senderKey is what the reverse-path is looked up by; empty if the act has none.
func senderKey(r *session.Request) string {
	switch {
	case r.Act.Verb != session.Accept:
		return ""
	case r.Act.Sender == "":
		return nullSender
	default:
		return domainOf(r.Act.Sender)
	}
}

// domainOf is the domain of an address, in lower case.
func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}

// lintActs warns of requirements that concern nothing, and of paths that only look safe.
func (p *Policy) lintActs(warn func(s *statement, format string, args ...any)) {
	for _, q := range p.acts {
		switch files, mail := q.when.movesFiles(), q.when.takesMail(); {
		case q.about == aboutFiles && !files:
			warn(q, "require %q is about files and never applies to FTP or SFTP, so it means nothing", q.name)
		case q.about == aboutMail && !mail:
			warn(q, "require %q is about mail and never applies to it, so it means nothing", q.name)
		}
		if q.cond.act.paths != nil && q.about == aboutFiles && q.when == nil && q.cond.sets[dimOperation] == 0 {
			warn(q, "require %q lets nobody do anything outside of %s, to look at the folder above included; "+
				"within = ... holds sessions to a folder", q.name, either(q.cond.act.paths))
		}
	}
}
