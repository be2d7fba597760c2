package ftp

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gateway/session"
)

// argument is what a verb takes behind it.
type argument uint8

const (
	optional argument = iota
	required
	word // required, and blanks around it mean nothing: no name begins or ends there
	forbidden
)

// command is what the dispatcher checks before a verb runs, so that run need not.
type command struct {
	in  state // states in which the verb is accepted
	arg argument
	// keeps says that the verb may stand between REST and the transfer without
	// making the offset void.
	keeps bool
	run   func(*conn, context.Context, string) reply
}

// commandTable follows the order of RFC 959, section 4.1, and then that of the
// later documents.
func commandTable() map[string]command {
	return map[string]command{
		"USER": {in: always, arg: required, run: (*conn).userName},
		"PASS": {in: always, run: (*conn).pass},
		"ACCT": {in: always, run: fixed(reply{202, "No account needed."})},
		"CWD":  {in: ready, arg: required, run: (*conn).cwdTo},
		"CDUP": {in: ready, run: (*conn).cdup},
		"SMNT": {in: ready, run: fixed(replyNotImplemented)},
		"QUIT": {in: always, run: fixed(replyGoodbye)},
		"REIN": {in: always, run: (*conn).rein},
		"PORT": {in: ready, arg: required, keeps: true, run: (*conn).portCmd},
		"PASV": {in: ready, keeps: true, run: (*conn).pasv},
		"TYPE": {in: ready, arg: word, keeps: true, run: (*conn).typeCmd},
		"STRU": {in: ready, arg: word, keeps: true, run: only("F", "Structure set to F.")},
		"MODE": {in: ready, arg: word, keeps: true, run: only("S", "Mode set to S.")},
		"RETR": {in: ready, arg: required, run: (*conn).retr},
		"STOR": {in: ready, arg: required, run: (*conn).stor},
		"STOU": {in: ready, run: (*conn).stou},
		"APPE": {in: ready, arg: required, run: (*conn).appe},
		"ALLO": {in: ready, arg: word, keeps: true, run: (*conn).allo},
		"REST": {in: ready, arg: word, keeps: true, run: (*conn).restart},
		"RNFR": {in: ready, arg: required, run: (*conn).rnfr},
		"RNTO": {in: ready, arg: required, run: (*conn).rnto},
		"ABOR": {in: ready, run: fixed(reply{226, "No transfer to abort."})},
		"DELE": {in: ready, arg: required, run: (*conn).dele},
		"RMD":  {in: ready, arg: required, run: (*conn).rmd},
		"MKD":  {in: ready, arg: required, run: (*conn).mkd},
		"PWD":  {in: ready, run: (*conn).pwd},
		"LIST": {in: ready, run: (*conn).list},
		"NLST": {in: ready, run: (*conn).nlst},
		"SITE": {in: ready, arg: required, run: (*conn).site},
		"SYST": {in: always, run: fixed(reply{215, "UNIX Type: L8"})},
		"STAT": {in: ready, run: (*conn).stat},
		"HELP": {in: always, run: (*conn).help},
		"NOOP": {in: always, keeps: true, run: fixed(replyOK)},
		// RFC 1123, section 4.1.3.1
		"XCWD": {in: ready, arg: required, run: (*conn).cwdTo},
		"XCUP": {in: ready, run: (*conn).cdup},
		"XPWD": {in: ready, run: (*conn).pwd},
		"XMKD": {in: ready, arg: required, run: (*conn).mkd},
		"XRMD": {in: ready, arg: required, run: (*conn).rmd},
		// RFC 2228
		"AUTH": {in: always, arg: word, run: (*conn).auth},
		"PBSZ": {in: always, arg: word, keeps: true, run: (*conn).pbszCmd},
		"PROT": {in: always, arg: word, keeps: true, run: (*conn).prot},
		"CCC":  {in: always, arg: forbidden, run: (*conn).ccc},
		"ADAT": {in: always, run: fixed(replyNotImplemented)},
		"MIC":  {in: always, run: fixed(replyNotImplemented)},
		"CONF": {in: always, run: fixed(replyNotImplemented)},
		"ENC":  {in: always, run: fixed(replyNotImplemented)},
		// RFC 2389
		"FEAT": {in: always, run: (*conn).feat},
		"OPTS": {in: always, arg: required, run: (*conn).opts},
		// RFC 2428, and RFC 1639, which clients fall back to and must hear 502 for
		"EPRT": {in: ready, arg: required, keeps: true, run: (*conn).eprt},
		"EPSV": {in: ready, keeps: true, run: (*conn).epsv},
		"LPRT": {in: ready, run: fixed(replyNotImplemented)},
		"LPSV": {in: ready, run: fixed(replyNotImplemented)},
		// RFC 2640
		"LANG": {in: always, run: (*conn).lang},
		// RFC 3659
		"MDTM": {in: ready, arg: required, run: (*conn).mdtm},
		"SIZE": {in: ready, arg: required, keeps: true, run: (*conn).size},
		"MLST": {in: ready, run: (*conn).mlst},
		"MLSD": {in: ready, run: (*conn).mlsd},
		// draft-somers-ftp-mfxx
		"MFMT": {in: ready, arg: required, run: (*conn).mfmt},
		"MFF":  {in: ready, arg: required, run: (*conn).mff},
		// RFC 7151
		"HOST": {in: always, arg: word, run: (*conn).host},
		// draft-bryan-ftpext-hash, draft-bryan-ftp-range, and the verbs before them
		"HASH":    {in: ready, arg: required, run: (*conn).hashCmd},
		"RANG":    {in: ready, arg: word, keeps: true, run: (*conn).rang},
		"XCRC":    {in: ready, arg: required, run: checksum("XCRC", "CRC32")},
		"XMD5":    {in: ready, arg: required, run: checksum("XMD5", "MD5")},
		"XSHA":    {in: ready, arg: required, run: checksum("XSHA", "SHA-1")},
		"XSHA1":   {in: ready, arg: required, run: checksum("XSHA1", "SHA-1")},
		"XSHA256": {in: ready, arg: required, run: checksum("XSHA256", "SHA-256")},
		"XSHA512": {in: ready, arg: required, run: checksum("XSHA512", "SHA-512")},
		// draft-peterson-streamlined-ftp-command-extensions
		"AVBL": {in: ready, run: (*conn).avbl},
		// what ncftp says it is
		"CLNT": {in: always, arg: required, run: (*conn).clnt},
	}
}

// foreign reports whether a verb is one of HTTP or SMTP: some browser or mail
// server was talked into speaking to us (ALPACA, CVE-2021-3618).
func foreign(verb string) bool {
	switch verb {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "HELO", "EHLO", "MAIL", "RCPT", "DATA":
		return true
	default:
		return strings.HasPrefix(verb, "HOST:")
	}
}

// dispatch checks a command and runs it. pipelined says that more was sent in
// one piece with it.
func (c *conn) dispatch(ctx context.Context, verb, arg string, pipelined bool) reply {
	cmd, known := c.table[verb]
	if known { // an unknown verb may be anything, and any argument a password
		c.log.Debug("command", "verb", verb)
	}
	if cmd.arg == word {
		arg = strings.TrimSpace(arg)
	}
	switch {
	case foreign(verb):
		return c.cutOff("This is an FTP server.", "foreign protocol")
	case verb == "CCC" && pipelined:
		return replySequence // it was encrypted, and must not be taken for what comes in clear
	case verb == "AUTH" && pipelined && c.tls == nil:
		// CVE-2011-1575: what stands behind AUTH was sent in clear and would be executed
		// as if it had been protected.
		c.sayLast(replySequence, fmt.Errorf("%w: plaintext behind AUTH", session.ErrProtocol))
		return none
	case !known && c.state != ready:
		if c.unknown++; c.unknown >= maxUnknown {
			return c.cutOff("Too many unknown commands.", "too many unknown commands")
		}
		return replyNotLoggedIn
	case !known:
		return reply{500, "Unknown command."}
	case cmd.in&c.state == 0:
		return replyNotLoggedIn
	case (cmd.arg == required || cmd.arg == word) && arg == "", cmd.arg == forbidden && arg != "":
		return replySyntax
	}
	c.asks(verb)
	r := cmd.run(c, ctx, arg)
	if !cmd.keeps {
		c.rest, c.until = 0, 0
	}
	if verb != "RNFR" { // RNTO must follow it at once (RFC 959, section 4.1.3)
		c.renameFrom = ""
	}
	return r
}

// cutOff ends the connection of a peer that does not speak our protocol.
func (c *conn) cutOff(text, reason string) reply {
	c.cause = fmt.Errorf("%w: %s", session.ErrProtocol, reason)
	return reply{421, text}
}

// fixed is a command whose reply is always the same.
func fixed(r reply) func(*conn, context.Context, string) reply {
	return func(*conn, context.Context, string) reply { return r }
}

// only is a command that takes one value of those that RFC 959 lists for it.
func only(value, text string) func(*conn, context.Context, string) reply {
	return func(_ *conn, _ context.Context, arg string) reply {
		if strings.EqualFold(arg, value) {
			return reply{200, text}
		}
		return replyParameter
	}
}

// typeCmd is lenient: scanners fail a whole job on a type that is refused.
func (c *conn) typeCmd(_ context.Context, arg string) reply {
	switch strings.ToUpper(arg) {
	case "A", "A N", "A T", "A C":
		c.ascii = true
		return reply{200, "Switching to ASCII mode."}
	case "I", "L 8", "L8":
		c.ascii = false
		return reply{200, "Switching to Binary mode."}
	default:
		return replyParameter
	}
}

func (c *conn) feat(context.Context, string) reply {
	var lines []string
	if c.cfg.TLS != nil {
		lines = append(lines, "AUTH TLS", "PBSZ", "PROT")
	}
	lines = append(lines, "AVBL", "CLNT", "EPRT", "EPSV", "HASH "+c.hashFeature(), "HOST", "LANG EN*", "MDTM",
		"MFF Modify;UNIX.mode;", "MFMT", "MLST "+c.facts.feature(), "RANG STREAM", "REST STREAM",
		"SITE CHMOD", "SITE IDLE", "SITE SYMLINK", "SITE UTIME", "SIZE", "TVFS", "UTF8",
		"XCRC", "XMD5", "XSHA", "XSHA1", "XSHA256", "XSHA512")
	return reply{211, "Features:\n" + strings.Join(lines, "\n") + "\nEnd"}
}

func (c *conn) opts(_ context.Context, arg string) reply {
	name, value, _ := strings.Cut(arg, " ")
	switch strings.ToUpper(name) {
	case "UTF8", "UTF-8":
		if v := strings.ToUpper(value); v == "" || v == "ON" || v == "NLST" {
			return reply{200, "UTF8 is always on."}
		}
		return replyParameter
	case "MLST":
		c.facts = parseFacts(value)
		return reply{200, strings.TrimRight("MLST OPTS "+c.facts.names(), " ")}
	case "HASH":
		return c.optsHash(value)
	default:
		return replySyntax
	}
}

func (c *conn) help(ctx context.Context, arg string) reply {
	if arg != "" {
		verb, rest := parse(arg)
		if verb == "SITE" {
			return c.siteHelp(ctx, rest)
		}
		if _, known := c.table[verb]; !known {
			return replyParameter
		}
		return reply{214, verb + " is recognized."}
	}
	verbs := make([]string, 0, len(c.table))
	for verb, cmd := range c.table {
		if cmd.run != nil {
			verbs = append(verbs, verb)
		}
	}
	slices.Sort(verbs)
	var b strings.Builder
	b.WriteString("The following commands are recognized.")
	for line := range slices.Chunk(verbs, 12) {
		b.WriteString("\n" + strings.Join(line, " "))
	}
	b.WriteString("\nHelp OK.")
	return reply{214, b.String()}
}

func (c *conn) lang(_ context.Context, arg string) reply {
	if arg == "" || strings.EqualFold(arg, "en") || strings.HasPrefix(strings.ToLower(arg), "en-") {
		return reply{200, "Responses are in English."}
	}
	return replyParameter
}

func (c *conn) clnt(_ context.Context, arg string) reply {
	c.attempt.Client(arg)
	return reply{200, "Noted."}
}

// status answers STAT without an argument, also in the middle of a transfer.
func (c *conn) status() reply {
	lines := []string{"FTP server status:"}
	if c.sess != nil {
		lines = append(lines, "Logged in as "+oneLine(c.sess.Identity().User))
	}
	if c.secured() {
		lines = append(lines, "Control connection is encrypted")
	} else {
		lines = append(lines, "Control connection is plain text")
	}
	if t := c.transfer; t != nil {
		lines = append(lines, fmt.Sprintf("%s in progress, %d bytes moved", t.verb, t.moved.Load()))
	}
	return reply{211, strings.Join(append(lines, "End of status"), "\n")}
}

// asks tells the rules what is asked for from now on.
func (c *conn) asks(verb string) {
	if c.files != nil {
		c.files = c.files.For(verb, c.carrier(verb))
	}
}

// carrier is how the connection is protected that carries what a verb moves: the data
// connection as it would be opened now, or the control connection.
func (c *conn) carrier(verb string) session.ChannelKind {
	private := c.secured()
	switch verb {
	case "RETR", "STOR", "STOU", "APPE", "LIST", "NLST", "MLSD":
		private = c.tls != nil && c.private
	}
	if private {
		return session.TLS
	}
	return session.Plain
}
