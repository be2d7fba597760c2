package sftp

import (
	"errors"
	"io"
	"syscall"

	"gateway/session"
)

// status is an answer of SSH_FXP_STATUS (draft-ietf-secsh-filexfer-02, section
// 7). Its text is fixed: what an error says of our side is for the record only.
type status struct {
	code uint32
	text string
}

func (s status) Error() string { return s.text }

// Codes of SSH_FXP_STATUS.
const (
	codeOK               = 0
	codeEOF              = 1
	codeNoSuchFile       = 2
	codePermissionDenied = 3
	codeFailure          = 4
	codeBadMessage       = 5
	codeUnsupported      = 8
)

// statusTable turns the kinds of error into answers; the first that matches
// counts. Version 3 knows few codes, so that most are told apart by their text;
// which code it is follows OpenSSH.
func statusTable() []struct {
	kind   error
	answer status
} {
	return []struct {
		kind   error
		answer status
	}{
		{syscall.EXDEV, status{codeFailure, "Not on the same file system"}},
		{syscall.EINVAL, status{codeBadMessage, "Invalid argument"}},
		{session.ErrNotExist, status{codeNoSuchFile, "No such file"}},
		{session.ErrNotDirectory, status{codeNoSuchFile, "Not a directory"}},
		{session.ErrDenied, status{codePermissionDenied, "Permission denied"}},
		{session.ErrUnsupported, status{codeUnsupported, "Operation unsupported"}},
		{session.ErrName, status{codeBadMessage, "Name not allowed"}},
		{session.ErrExist, status{codeFailure, "File exists"}},
		{session.ErrIsDirectory, status{codeFailure, "Is a directory"}},
		{session.ErrNotEmpty, status{codeFailure, "Directory not empty"}},
		{session.ErrQuota, status{codeFailure, "Over quota"}},
		{session.ErrNoSpace, status{codeFailure, "No space left"}},
		{session.ErrBusy, status{codeFailure, "File is in use"}},
		{session.ErrRange, status{codeBadMessage, "Offset out of range"}},
		{session.ErrTooMany, status{codeFailure, "Too many open files"}},
		{session.ErrUnavailable, status{codeFailure, "Temporarily unavailable"}},
		{session.ErrShutdown, status{codeFailure, "Shutting down"}},
		{session.ErrClosed, status{codeFailure, "Session is over"}},
	}
}

// answer is what the peer is told of err.
func answer(err error) status {
	switch err {
	case nil:
		return status{codeOK, "Success"}
	case io.EOF:
		return status{codeEOF, "End of file"}
	}
	if s, ok := errors.AsType[status](err); ok {
		return s
	}
	if hint := session.Hint(err); hint != "" && errors.Is(err, session.ErrDenied) {
		return status{codePermissionDenied, hint} // what the rule that refuses it says
	}
	for _, row := range statusTable() {
		if errors.Is(err, row.kind) {
			return row.answer
		}
	}
	return status{codeFailure, "Failure"}
}
