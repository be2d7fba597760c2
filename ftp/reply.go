package ftp

import (
	"errors"
	"strings"

	"gateway/session"
)

// A reply is a code and its text (RFC 959, section 4.2). A text of several lines
// is divided by "\n". After a 421 or 221 the connection is closed.
type reply struct {
	code int
	text string
}

// none is the reply of a command that is answered later.
var none = reply{}

// The replies that more than one command gives.
var (
	replyOK             = reply{200, "Command okay."}
	replySyntax         = reply{501, "Syntax error in parameters or arguments."}
	replyNotImplemented = reply{502, "Command not implemented."}
	replyParameter      = reply{504, "Command not implemented for that parameter."}
	replySequence       = reply{503, "Bad sequence of commands."}
	replyNotLoggedIn    = reply{530, "Please login with USER and PASS."}
	replyGoodbye        = reply{221, "Goodbye."}
	replyComplete       = reply{226, "Transfer complete."}
	replyNoClear        = reply{522, "Data connection must be encrypted: use PROT P."}
)

// The faults of data connections, as the record shows them.
var (
	errNoData    = errors.New("no data connection")
	errNotSent   = errors.New("refused before its data connection")
	errNoPort    = errors.New("no passive port free")
	errBroken    = errors.New("data connection broke off")
	errStalled   = errors.New("transfer stalled")
	errSlow      = errors.New("transfer slower than the least rate")
	errTruncated = errors.New("upload ended without close_notify")
	errUnbound   = errors.New("data connection did not resume the TLS session of its control connection")
	errAborted   = errors.New("aborted by the client")
	errGone      = errors.New("control connection lost during the transfer")
	errHandshake = errors.New("handshake of the data connection")
)

// transferReply is the final reply of a transfer.
func transferReply(err error) reply {
	switch {
	case err == nil:
		return replyComplete
	case errors.Is(err, errNoData), errors.Is(err, errNoPort):
		return reply{425, "Can't open data connection."}
	case errors.Is(err, errUnbound):
		return reply{522, "Data connection refused: it did not resume the TLS session of the control connection."}
	case errors.Is(err, errHandshake):
		return reply{522, "TLS handshake on the data connection was not completed."}
	case errors.Is(err, errTruncated):
		return reply{426, "Upload not complete: connection closed without TLS close_notify."}
	case errors.Is(err, errStalled):
		return reply{426, "Transfer stalled; aborted."}
	case errors.Is(err, errSlow):
		return reply{426, "Transfer too slow; aborted."}
	case errors.Is(err, errTooLarge):
		return reply{451, "Listing not complete: too many entries; list the folders one by one."}
	case errors.Is(err, errAborted), errors.Is(err, errBroken), errors.Is(err, errGone),
		errors.Is(err, session.ErrKilled), errors.Is(err, session.ErrDisabled), errors.Is(err, session.ErrShutdown):
		return reply{426, "Connection closed; transfer aborted."}
	default:
		return fileReply(err)
	}
}

// fileReply is what the peer is told of a fault with a file: the words of the rule that
// refuses it, if it has any, or those of the table. That follows RFC 959, section 4.2, and
// RFC 3659, section 5.4, for 554.
func fileReply(err error) reply {
	if hint := session.Hint(err); hint != "" && errors.Is(err, session.ErrDenied) {
		return reply{550, oneLine(hint)}
	}
	for _, row := range [...]struct {
		kind error
		reply
	}{
		{session.ErrUnavailable, reply{451, "Requested action aborted: local error."}},
		{session.ErrDenied, reply{550, "Permission denied."}},
		{session.ErrNotExist, reply{550, "No such file or directory."}},
		{session.ErrExist, reply{550, "File exists."}},
		{session.ErrIsDirectory, reply{550, "Is a directory."}},
		{session.ErrNotDirectory, reply{550, "Not a directory."}},
		{session.ErrNotEmpty, reply{550, "Directory not empty."}},
		{session.ErrUnsupported, reply{550, "Not supported for this file."}},
		{session.ErrName, reply{553, "File name not allowed."}},
		{session.ErrQuota, reply{552, "Storage allocation exceeded."}},
		{session.ErrNoSpace, reply{452, "Insufficient storage space."}},
		{session.ErrBusy, reply{450, "File is busy."}},
		{session.ErrTooMany, reply{450, "Too many open files."}},
		{session.ErrRange, reply{554, "Restart offset is past the end of the file."}},
	} {
		if errors.Is(err, row.kind) {
			return row.reply
		}
	}
	return reply{451, "Requested action aborted: local error."}
}

// refusal is what a peer is told that is not served at all.
func refusal(err error) reply {
	switch {
	case errors.Is(err, session.ErrTooMany), errors.Is(err, session.ErrUnavailable), errors.Is(err, session.ErrShutdown):
		return loginReply(err)
	case session.Hint(err) != "":
		return reply{421, oneLine(session.Hint(err))}
	default:
		return reply{421, "Service not available."}
	}
}

// loginReply is what the peer is told of a login that was not granted. All refusals read the same (DESIGN.md, section 1, promise 6).
func loginReply(err error) reply {
	switch {
	case errors.Is(err, session.ErrPaused):
		return reply{421, oneLine(session.Hint(err))}
	case errors.Is(err, session.ErrTooMany):
		return reply{421, "Too many connections or logins; try again later."}
	case errors.Is(err, session.ErrUnavailable):
		return reply{421, "Service not available; try again later."}
	case errors.Is(err, session.ErrShutdown):
		return reply{421, "Service shutting down."}
	case errors.Is(err, session.ErrInsecure):
		if hint := session.Hint(err); hint != "" {
			return reply{530, oneLine(hint)}
		}
		return reply{530, "Encryption required: use AUTH TLS, or SFTP."}
	default:
		return reply{530, "Login incorrect."}
	}
}

// goodbye is the last word to a peer whose connection ends for cause.
func goodbye(cause error) reply {
	switch {
	case errors.Is(cause, session.ErrGrace):
		return reply{421, "Login timeout."}
	case errors.Is(cause, session.ErrIdle):
		return reply{421, "Idle timeout."}
	case errors.Is(cause, session.ErrShutdown):
		return reply{421, "Service shutting down."}
	default:
		return reply{421, "Session ended; closing control connection."}
	}
}

// quote writes a path as 257 demands it: in quotes, those inside doubled
// (RFC 959, appendix II). Control characters become "?".
func quote(path string) string {
	return `"` + strings.ReplaceAll(oneLine(path), `"`, `""`) + `"`
}

// oneLine keeps a name or a hint on its line, so that it cannot forge a reply.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "?") }
