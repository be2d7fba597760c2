package session

// Verb is what is done to an object.
type Verb string

// Verbs of the file, mail, admin, policy and audit events.
const (
	Read    Verb = "read"
	Write   Verb = "write"
	Append  Verb = "append"
	List    Verb = "list"
	Stat    Verb = "stat"
	Remove  Verb = "remove"
	Rename  Verb = "rename"
	Mkdir   Verb = "mkdir"
	Rmdir   Verb = "rmdir"
	SetAttr Verb = "setattr"
	Link    Verb = "link"
	// Exec is a program that a peer asks for, and that is never run: its record says
	// that it was refused.
	Exec Verb = "exec"

	Accept  Verb = "accept"
	Reject  Verb = "reject"
	Deliver Verb = "deliver"
	Defer   Verb = "defer"
	Bounce  Verb = "bounce"
	Expire  Verb = "expire"

	Start      Verb = "start"
	Stop       Verb = "stop"
	Gap        Verb = "gap"
	Checkpoint Verb = "checkpoint"
	Erase      Verb = "erase"
)

// Action is one thing that a session is about to do.
type Action struct {
	Verb Verb
	// Object is the path of a file as the peer sees it, or for mail the reverse-path.
	Object string
	// Target is the second path of Rename and Link.
	Target string
	// To are the forward-paths of Accept.
	To []string
	// Request is what the peer asked for, in the words of its protocol: for SFTP the
	// names that OpenSSH's sftp-server has for -p and -P ("open", "posix-rename"), for
	// FTP the verb, for a command over SSH its name. It is there for rules; the record
	// has Verb.
	Request string
	// Over is how the connection is protected that carries the action: for FTP that is the
	// data connection as it is about to be opened, where there is one. It is there for rules.
	Over ChannelKind
}

// changes reports whether the action leaves a trace outside the gateway, so
// that it is recorded before it begins as well as after it ended.
func (v Verb) changes() bool {
	switch v {
	case Write, Append, Remove, Rename, Mkdir, Rmdir, SetAttr, Link:
		return true
	default:
		return false
	}
}

// Verbs are those of what a session does: the words for it in the rules.
func Verbs() []Verb {
	return []Verb{Read, Write, Append, List, Stat, Remove, Rename, Mkdir, Rmdir, SetAttr, Link, Exec, Accept}
}

// mail reports whether the verb belongs to the mail event.
func (v Verb) mail() bool {
	switch v {
	case Accept, Reject, Deliver, Defer, Bounce, Expire:
		return true
	default:
		return false
	}
}
