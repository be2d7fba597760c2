// Package sftp serves the SSH File Transfer Protocol.
//
// SSH (RFC 4251 to 4254, 4256, 8308, 8332) is spoken by golang.org/x/crypto/ssh
// with every list of algorithms set here; the subsystem is version 3 of the file
// protocol (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions.
// docs/protocols/sftp.md lists each section and what is left out.
//
// It knows the protocol only: a session.Gate decides who may enter and what
// they may do, and files are reached through transfer.Files. There is no shell, no
// process and no forwarding; the few commands that clients need, scp among them,
// are done here.
package sftp
