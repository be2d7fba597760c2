// Package ftp serves the File Transfer Protocol.
//
// It follows RFC 959 and RFC 1123, section 4.1, with RFC 2228 and RFC 4217
// (TLS), RFC 2389 (FEAT, OPTS), RFC 2428 (EPSV, EPRT), RFC 2577 (security),
// RFC 2640 (UTF-8 names) and RFC 3659 (MLSD, SIZE, MDTM, REST).
// docs/protocols/ftp.md lists each section and what is left out.
//
// It knows the protocol only: a session.Gate decides who may enter and what
// they may do, and files are reached through transfer.Files.
package ftp
