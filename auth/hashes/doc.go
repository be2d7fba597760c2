// Package hashes holds the password hashes that the gateway stores: what they look
// like, what one costs, and how a password is compared with it. Nothing else in the
// tree parses a hash.
//
// New hashes are argon2id (RFC 9106). Those of other programs are read by Foreign, and
// replaced by a new one (Renew) when the password is known. Until then one that is
// Weak is to be wrapped (Wrap). The parameters of a hash are read and priced before
// anything is computed, and a hash that would take over 5 s of a processor or over
// 128 MiB is refused with ErrCost. What is not known is refused: nothing is guessed.
//
// # What Foreign accepts
//
// Forms of crypt(3) and of programs that followed it, without a label:
//
//	$argon2id$ $argon2i$ $argon2d$  argon2 in the PHC string format, version 19
//	$y$j                            yescrypt, as libxcrypt makes it
//	$7$                             scrypt, of libxcrypt and libsodium
//	$2a$ $2b$ $2y$                  bcrypt
//	$6$ $5$                         sha512-crypt, sha256-crypt
//	$1$ $apr1$                      md5-crypt, Apache's apr1
//	$3$$                            NT
//	_ and 19 characters             bsdi-crypt
//	13 characters                   des-crypt
//	$pbkdf2-DIGEST$ITERATIONS$SALT$BASE64
//	$pbkdf2-b64salt-DIGEST$...      PBKDF2 of SFTPGo, DIGEST sha1, sha256, sha512
//
// With a label, of which capitals do not matter. HEX and BASE64 are the hash; to a
// label marked with * an encoding may be added, as in {SSHA.HEX}: .HEX, .B64, .BASE64.
// A digest without salt (+) is hexadecimal if it has the length of that, otherwise
// base64.
//
//	{CRYPT} {DES-CRYPT} {MD5-CRYPT} {SHA256-CRYPT} {SHA512-CRYPT} {BLF-CRYPT}
//	{ARGON2} {ARGON2I} {ARGON2D} {ARGON2ID}   any form above, except that of SFTPGo
//	{MD5}*+                                   md5-crypt if it begins with $1$, else MD5
//	{PLAIN-MD5}*+ {LDAP-MD5}*+ {PLAIN-MD4}*+  MD5, MD4
//	{SHA}*+ {SHA1}*+ {SHA256}*+ {SHA384}*+ {SHA512}*+
//	{SMD5}* {SSHA}* {SSHA256}* {SSHA384}* {SSHA512}*   hash and salt together
//	{CRAM-MD5}* {HMAC-MD5}*                   64 hexadecimal digits, of Dovecot
//	{DIGEST-MD5}user:realm:HEX                MD5 of user:realm:password; also htdigest
//	{NT}HEX {NTLM}HEX                         MD4 of the password in UTF-16
//	{MYSQL41}*HEX                             of MySQL 4.1, and ProFTPD's Backend
//	{SERVU}abHEX                              two letters, MD5 of them and the password
//	{PBKDF2}ITERATIONS$SALT$HASH              of OpenLDAP, with SHA-1; also {PBKDF2-SHA1}
//	{PBKDF2-SHA256}... {PBKDF2-SHA512}...     salt and hash in base64 with . for +
//	{PBKDF2}$1$SALT$ITERATIONS$HEX            of Dovecot, with SHA-1; the salt is text
//	{SCRAM-SHA-1} {SCRAM-SHA-256}             ITERATIONS,SALT,STOREDKEY,SERVERKEY
//	{FILEZILLA-SHA512}HEX:SALT                FileZilla Server from 0.9.54; the salt is text
//	{FILEZILLA-PBKDF2}ITERATIONS$SALT$HASH    FileZilla Server 1.x, in base64
//	{PLAIN}* {CLEAR}* {CLEARTEXT}*            the password itself: hashed at once
//	{PLAIN-TRUNC}*N-PASSWORD                  Dovecot: of which N bytes count
//
// Refused by name: {SASL}, {OTP}, {SKEY}, {LANMAN}, {LM}, {RPA}, {EMPTY}, $gy$, $2x$,
// $2$, $md5, $sha1$, $scrypt$, and a text that begins with "!" or "*".
//
// # What is stored
//
// Parse reads what Encode writes, which for the forms of crypt(3) is those, and for
// others "$x-SCHEME$PARAMETERS$HASH". Behind an argon2id "$first=8" may say that it is
// of the first 8 bytes of the password. Wrap documents the form of a wrapped hash.
package hashes
