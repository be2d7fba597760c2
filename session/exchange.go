package session

import "strings"

// Exchange is a proof by challenge and response, SCRAM-SHA-256 (RFC 5802, RFC
// 7677): whoever verifies it speaks with the peer meanwhile, and the password
// crosses in neither direction. It is used once.
type Exchange struct {
	// First is the client's first message.
	First string
	// Bound says that the mechanism was the one with channel binding (-PLUS).
	Bound bool
	// Bindings are what the channel can be told by, under the names of the kinds (RFC
	// 5929, RFC 9266). Where there are any, the mechanism with binding was offered.
	Bindings map[string][]byte
	// Ask sends a challenge and waits for the response. Its error is ErrAborted if
	// the peer gives up.
	Ask func(challenge string) (response string, err error) `json:"-"`
	// Final is the server's own proof, set when the peer's was right. It may be told
	// only after the login is granted: it says that the password is right.
	Final string
}

// SCRAM is the name in an exchange with the proof that it will be; ok is false if
// the first message cannot be read, or asks to act for somebody else.
func SCRAM(x *Exchange) (c Credential, ok bool) {
	parts := strings.Split(x.First, ",")
	if len(parts) < 4 {
		return Credential{}, false
	}
	user, ok := saslName(parts[2], "n=")
	if !ok || user == "" {
		return Credential{}, false
	}
	if parts[1] != "" {
		if other, ok := saslName(parts[1], "a="); !ok || other != user {
			return Credential{}, false
		}
	}
	return Credential{User: user, Method: MethodSCRAM, Exchange: x}, true
}

// saslName reads a name with its commas and equal signs escaped (RFC 5802,
// section 5.1).
func saslName(part, prefix string) (string, bool) {
	text, ok := strings.CutPrefix(part, prefix)
	if !ok || strings.ContainsRune(text, 0) {
		return "", false
	}
	plain := strings.NewReplacer("=2C", "", "=3D", "").Replace(text)
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(text), !strings.Contains(plain, "=")
}
