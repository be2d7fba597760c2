package hashes

import "strings"

// fileZillaSHA512 reads "HEX:SALT", of FileZilla Server from 0.9.54 on: SHA-512 over
// password and salt, which is text.
func fileZillaSHA512(body string) (string, error) {
	text, salt, ok := strings.Cut(body, ":")
	if !ok {
		return "", malformed("want HEX:SALT")
	}
	sum, err := inHex.decode(text)
	if err != nil {
		return "", err
	}
	return digestNamed("ssha512").canonical(sum, []byte(salt))
}

// fileZillaPBKDF2 reads "ITERATIONS$SALT$HASH", of FileZilla Server 1.x, salt and hash
// in base64: PBKDF2 with HMAC-SHA256.
func fileZillaPBKDF2(body string) (string, error) {
	part := strings.Split(body, "$")
	if len(part) != 3 {
		return "", malformed("want ITERATIONS$SALT$HASH")
	}
	return pbkdf2Of("pbkdf2-sha256", part[0], part[1], part[2], decodeStd)
}
