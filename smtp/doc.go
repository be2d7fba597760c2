// Package smtp serves mail submission: port 587 with STARTTLS, port 465 with
// implicit TLS, and the listener on which devices relay.
//
// It follows RFC 5321, RFC 6409 (submission), RFC 8314 and RFC 3207 (TLS),
// RFC 4954 (AUTH), RFC 2920 (PIPELINING), RFC 3030 (CHUNKING), RFC 1870 (SIZE),
// RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8) and RFC 2034 (enhanced status codes).
// docs/protocols/smtp.md lists each section and what is left out.
//
// The commands are parsed and answered by github.com/emersion/go-smtp, which
// sees one command at a time and only those that its state has a place for: a
// wire between it and the connection owns the framing, the deadlines, the end
// of the content and the wording. So nothing of a message can be taken for a
// command. It has a connection for a turn only, from a command to the end of the
// transaction that the command begins: while nothing is under way there is none, and
// after STARTTLS none that has seen the bytes sent in clear.
//
// The package knows the protocol only: a session.Gate decides who may enter and
// what they may do, and mail goes into a Queue before it is acknowledged.
package smtp
