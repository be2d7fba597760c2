package smtp

import (
	"errors"
	"strconv"
	"strings"

	"gateway/session"
)

// verb is a command's name in upper case.
type verb string

// state is how far a transaction is, as a set of bits.
type state uint8

const (
	fresh     state = 1 << iota // nobody said EHLO
	greeted                     // no transaction
	begun                       // MAIL was accepted
	addressed                   // and at least one RCPT
	always    = fresh | greeted | begun | addressed
)

// Bounds of a dialogue.
const (
	// maxErrors is how many refusals a connection may earn before a message is
	// accepted on it.
	maxErrors = 20
	// maxIdleCommands is how many commands may pass without a login or an accepted
	// message; RCPT, of which a transaction has many, is not counted.
	maxIdleCommands = 100
	// maxHello bounds the name that a peer calls itself (RFC 5321, section
	// 4.5.3.1.2).
	maxHello = 255
	// maxChunkDigits bounds the size of a BDAT chunk as text.
	maxChunkDigits = 12
)

// command is what the wire needs to know of a verb. run gets the argument and
// returns what go-smtp shall read; nil if the command was answered.
type command struct {
	in       state // states in which it is accepted
	bare     bool  // takes no argument
	uncount  bool  // does not count as idle
	notReady reply // the answer in other states
	run      func(c *conn, w *wire, arg string) []byte
}

// commandTable follows the order of RFC 5321, section 4.1.1.
func commandTable() map[verb]command {
	return map[verb]command{
		"EHLO":     {in: always, run: (*conn).hello},
		"HELO":     {in: always, run: (*conn).hello},
		"MAIL":     {in: greeted, run: (*conn).mail},
		"RCPT":     {in: begun | addressed, notReady: replyNeedsMail, uncount: true, run: (*conn).rcpt},
		"DATA":     {in: addressed, notReady: replyNeedsRcpt, bare: true, run: (*conn).pass},
		"BDAT":     {in: always, uncount: true, run: (*conn).bdat},
		"RSET":     {in: always, bare: true, run: (*conn).pass},
		"VRFY":     {in: always, run: answer(replyCannotVerify)},
		"HELP":     {in: always, run: answer(replyHelp)},
		"NOOP":     {in: always, run: answer(replyNoop)},
		"QUIT":     {in: always, bare: true, run: (*conn).pass},
		"STARTTLS": {in: always, bare: true, run: (*conn).startTLS},
		"AUTH":     {in: greeted, run: (*conn).auth},
	}
}

// foreignVerbs begin what a browser sends when it was sent to a mail port
// (cross-protocol attacks, ALPACA): nothing after them is looked at.
var foreignVerbs = map[verb]bool{
	"GET": true, "POST": true, "PUT": true, "HEAD": true, "OPTIONS": true, "CONNECT": true, "PATCH": true,
	"DELETE": true, "TRACE": true, "PRI": true, "HOST:": true, "USER-AGENT:": true,
}

// command checks one line against the table. It returns what go-smtp shall read,
// or nil after the command was answered or the connection ended.
func (c *conn) command(w *wire, line []byte) []byte {
	name, arg, ok := split(line)
	w.last = name
	if !ok {
		w.say(replyControl)
		return nil
	}
	cmd, known := c.commands[name]
	if !known {
		if foreignVerbs[name] {
			_ = w.fail(session.ErrProtocol, replyNotSMTP)
			return nil
		}
		w.say(replyUnknown)
		return nil
	}
	if !cmd.uncount && !c.idleCommand(w) {
		return nil
	}
	if cmd.in&c.state == 0 {
		w.say(c.outOfPlace(cmd))
		return nil
	}
	if cmd.bare && arg != "" {
		w.say(replyNoArgument)
		return nil
	}
	return cmd.run(c, w, arg)
}

// split takes a line apart; ok is false if it holds control characters.
func split(line []byte) (name verb, arg string, ok bool) {
	text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return "", "", false
		}
	}
	first, rest, _ := strings.Cut(text, " ")
	return verb(strings.ToUpper(first)), strings.Trim(rest, " "), true
}

// isAuth reports whether a line that may be incomplete is AUTH, whose initial
// response may be as long as any response.
func isAuth(line []byte) bool {
	const auth = "AUTH "
	return len(line) > len(auth) && strings.EqualFold(string(line[:len(auth)]), auth)
}

// idleCommand counts a command that brings no message nearer, and hangs up at
// the bound.
func (c *conn) idleCommand(w *wire) bool {
	c.idle++
	if c.idle > maxIdleCommands {
		_ = w.fail(session.ErrProtocol, replyTooManyIdle)
		return false
	}
	return true
}

func (c *conn) outOfPlace(cmd command) reply {
	switch {
	case c.state == fresh:
		return replyNeedsHello
	case cmd.notReady.code != 0:
		return cmd.notReady
	default:
		return replyNested
	}
}

// pass gives the command to go-smtp as it is.
func (c *conn) pass(w *wire, arg string) []byte {
	line := string(w.last)
	if arg != "" {
		line += " " + arg
	}
	return []byte(line + "\r\n")
}

// answer makes a command that always has the same reply.
func answer(r reply) func(*conn, *wire, string) []byte {
	return func(_ *conn, w *wire, _ string) []byte {
		w.say(r)
		return nil
	}
}

// hello cleans the name that the peer calls itself: it goes into the trace field
// and the log. Devices call themselves odd things, so bytes that may not stand
// there are replaced rather than refused.
func (c *conn) hello(w *wire, arg string) []byte {
	name, _, _ := strings.Cut(arg, " ")
	if name == "" || len(name) > maxHello {
		w.say(replyBadHello)
		return nil
	}
	c.helo = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-._:[]", r):
			return r
		default:
			return '?'
		}
	}, name)
	c.extended = w.last == "EHLO"
	c.attempt.Client(c.helo)
	return c.pass(w, c.helo)
}

// mail and rcpt read the parameters, and refuse what go-smtp would silently drop: a
// source route.
func (c *conn) mail(w *wire, arg string) []byte {
	path, rest, ok := argument(arg, "FROM:")
	if !ok {
		w.say(replyMalformedArg)
		return nil
	}
	if sourceRoute(path) {
		w.say(reply{replyBadSender.code, replyBadSender.enhanced, replySourceRoute.text})
		return nil
	}
	p, refused := readParameters(rest, mailParameters())
	switch {
	case refused.code != 0:
		w.say(refused)
		return nil
	case p.requireTLS && c.tls == nil:
		w.say(replyNoRequireTLS)
		return nil
	case p.size > c.maxBytes():
		w.say(replyTooBig)
		return nil
	}
	c.said = p
	return c.pass(w, strings.Join(append([]string{"FROM:" + path}, p.passed...), " "))
}

func (c *conn) rcpt(w *wire, arg string) []byte {
	path, rest, ok := argument(arg, "TO:")
	if !ok {
		w.say(replyMalformedArg)
		return nil
	}
	if sourceRoute(path) {
		w.say(replySourceRoute)
		return nil
	}
	p, refused := readParameters(rest, rcptParameters())
	if refused.code != 0 {
		w.say(refused)
		return nil
	}
	if strings.EqualFold(path, "<postmaster>") {
		// RFC 5321, section 4.5.1: postmaster is accepted without a domain.
		path = "<postmaster@" + c.cfg.Hostname + ">"
	}
	c.said = p
	return c.pass(w, "TO:"+path)
}

// argument takes the argument of MAIL or RCPT apart.
func argument(arg, keyword string) (path, parameters string, ok bool) {
	after, ok := cutFold(arg, keyword)
	path, parameters = cutPath(after)
	return path, parameters, ok && path != "" && (parameters == "" || parameters[0] == ' ')
}

func sourceRoute(path string) bool {
	return strings.HasPrefix(path, "<@") || strings.HasPrefix(path, "@")
}

// cutFold returns what stands after prefix, in whatever case, and blanks.
func cutFold(arg, prefix string) (rest string, ok bool) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return "", false
	}
	return strings.TrimLeft(arg[len(prefix):], " "), true
}

// bdat announces a chunk. go-smtp is told DATA for the first one and never sees
// a chunk. A size that cannot be read leaves the length of what follows unknown,
// so that nothing after it may be taken for a command.
func (c *conn) bdat(w *wire, arg string) []byte {
	size, last, err := parseChunk(arg)
	if err != nil {
		_ = w.fail(session.ErrProtocol, replyFraming)
		return nil
	}
	w.chunk, w.chunkLast = size, last
	if size == 0 && !c.idleCommand(w) {
		return nil
	}
	if c.state != addressed {
		w.say(c.outOfPlace(command{notReady: replyNeedsRcpt}))
		return nil
	}
	return []byte("DATA\r\n")
}

// parseChunk reads the argument of BDAT (RFC 3030, section 2).
func parseChunk(arg string) (size int64, last bool, err error) {
	digits, rest, found := strings.Cut(arg, " ")
	last = strings.EqualFold(rest, "LAST")
	if found && !last {
		return 0, false, errors.New("chunk: want LAST or nothing after the size")
	}
	if len(digits) == 0 || len(digits) > maxChunkDigits || strings.Trim(digits, "0123456789") != "" {
		return 0, false, errors.New("chunk: want a size in octets")
	}
	size, err = strconv.ParseInt(digits, 10, 64)
	return size, last, err
}

// startTLS ends the dialogue in clear. What the peer sent behind the command is
// in the wire, which is thrown away with it (RFC 3207, section 4.2).
func (c *conn) startTLS(w *wire, _ string) []byte {
	switch {
	case c.tls != nil:
		w.say(replyHasTLS)
	case c.cfg.TLS == nil:
		w.say(replyNoTLS)
	default:
		w.say(replyReady)
		if w.flush() == nil {
			w.err, w.mute = errStartTLS, true
		}
	}
	return nil
}

// auth refuses a second login; the exchange itself is go-smtp's.
func (c *conn) auth(w *wire, arg string) []byte {
	if c.sess != nil {
		w.say(replyHasAuth)
		return nil
	}
	return c.pass(w, arg)
}
