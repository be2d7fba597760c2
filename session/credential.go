package session

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
)

// Method is a way to prove who one is.
type Method string

const (
	MethodPassword            Method = "password"
	MethodPublicKey           Method = "publickey"
	MethodKeyboardInteractive Method = "keyboard-interactive"
	// MethodSCRAM is a password that is proven by challenge and response (Exchange),
	// and does not cross the wire.
	MethodSCRAM Method = "scram"
	// MethodToken is an app token, which is sent in the place of a password (IsToken).
	MethodToken Method = "token"
	// MethodCode is a one-time code. It only ever follows another proof.
	MethodCode Method = "code"
	// MethodDevice is no proof: the rules know the device by where it is
	// (Attempt.Device).
	MethodDevice Method = "device"
)

// Methods lists every Method that can be offered for the beginning of a login, in
// that order. A token is not offered: it comes where a password is asked for.
func Methods() []Method {
	return []Method{MethodPublicKey, MethodSCRAM, MethodPassword, MethodKeyboardInteractive}
}

// guessable reports whether trying often enough leads anywhere: keys and tokens are
// too long for it, and a device with an old one must not keep its owner out.
func (m Method) guessable() bool { return m != MethodPublicKey && m != MethodToken }

// Key is a public key: as SSH writes it on the wire (RFC 4253, section 6.6), or
// that of a certificate (CertificateKey). A key of one kind is none of the other,
// whatever its bytes.
type Key struct {
	Algorithm string // "ssh-ed25519", or KeyX509
	Blob      string // encoding; a string so that Key can be compared
	// Fingerprint is "SHA256:..." as OpenSSH prints it.
	Fingerprint string
}

// KeyAnswer is what is said of a key before its proof. The zero value is no.
type KeyAnswer struct {
	Known bool
	// NoTouch says that a security key need not have been touched to sign.
	NoTouch bool
	// Why says, for the record alone, what is wrong with a key of the account.
	Why string
}

// KeyX509 is the Algorithm of a certificate's key.
const KeyX509 = "x509"

// CertificateKey is the public key of a certificate, as its subjectPublicKeyInfo
// (RFC 5280, section 4.1) has it: a certificate that was renewed for the same key
// is the same key. The caller must have seen the certificate in a TLS handshake
// that is complete, which verified the signature, to offer it with PublicKey.
func CertificateKey(cert *x509.Certificate) Key {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return Key{
		Algorithm: KeyX509, Blob: string(cert.RawSubjectPublicKeyInfo),
		Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]),
	}
}

// Credential is a claimed name with one proof of it. Make one with Password,
// KeyboardInteractive, Code, PublicKey or SCRAM; the zero value proves nothing.
type Credential struct {
	User   string
	Method Method
	// Secret is what the peer typed, for all methods but MethodPublicKey and
	// MethodSCRAM.
	Secret Secret
	// Key is a key whose signature the front-end has verified, for
	// MethodPublicKey.
	Key Key
	// Exchange is the conversation of MethodSCRAM.
	Exchange *Exchange
	// Protocol and Listener are where it is offered; the Attempt sets them.
	Protocol Protocol
	Listener string
}

// Password is a name with a password, or with a token in its place.
func Password(user, password string) Credential {
	return typed(user, MethodPassword, password)
}

// KeyboardInteractive is a name with the answer to the password prompt of SSH
// keyboard-interactive (RFC 4256).
func KeyboardInteractive(user, answer string) Credential {
	return typed(user, MethodKeyboardInteractive, answer)
}

// typed tells a token from a password by its form alone, so that it says nothing
// about the account.
func typed(user string, m Method, secret string) Credential {
	if IsToken(secret) {
		m = MethodToken
	}
	return Credential{User: user, Method: m, Secret: NewSecret(secret)}
}

// Code is a name with a one-time code.
func Code(user, code string) Credential {
	return Credential{User: user, Method: MethodCode, Secret: NewSecret(code)}
}

// PublicKey is a name with a key. The caller must have verified the signature
// that was made with it over this connection's session identifier, or over the
// TLS handshake.
func PublicKey(user string, key Key) Credential {
	return Credential{User: user, Method: MethodPublicKey, Key: key}
}

// carriesSecret reports whether the proof itself crossed the wire, so that
// whoever listened has it.
func (c Credential) carriesSecret() bool {
	return c.Method != MethodPublicKey && c.Method != MethodSCRAM
}

// repeatable reports whether the proof may be checked twice.
func (c Credential) repeatable() bool { return c.Method != MethodCode && c.Method != MethodSCRAM }

// Proof is what is known of a proof that was checked.
type Proof struct {
	// Again says that the same proof was checked a while ago, with the same result: a
	// device that retries, not one more guess.
	Again bool
	// Changed says that the proof was right and that the account was made or changed by it,
	// so that what was known of the name before is not what is known now: all is asked again.
	Changed bool
	// Token is the id of the token that it was, and Senders the mail senders that it is
	// good for; nil means all of the account's.
	Token   string
	Senders []string
}

// tokenPrefix begins a token, so that it is known for one wherever it turns up.
const (
	tokenPrefix = "gwt-"
	tokenDigits = 26 // of base32: 130 bits
)

// NewToken makes the text of a token. With 30 characters it fits into what devices
// take as a password.
func NewToken() Secret { return NewSecret(tokenPrefix + strings.ToLower(rand.Text())) }

// IsToken reports whether a secret has the form of a token, which no password has.
func IsToken(secret string) bool {
	digits, ok := strings.CutPrefix(secret, tokenPrefix)
	return ok && len(digits) == tokenDigits && strings.Trim(digits, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// Identity is who logged in, as the rest of the gateway knows them.
type Identity struct {
	User   string
	Groups []string
	// Addresses are the mail senders that the account owns, in lower case:
	// "joe@example.com", "@example.com" for every address of a domain, or
	// "scan-*@example.com", in which * stands for any text.
	Addresses []string
	// Senders are those of them that the credential is good for; nil means all.
	Senders []string
	// Mail is how much mail the account may send, and to whom.
	Mail MailLimits
	// Route is where the account's mail goes; empty means the default route.
	Route string
	// Access is what the account may do with files.
	Access Access
}

// Account is what is known of a name before any proof. The zero value is the
// answer for a name that does not exist.
type Account struct {
	Known    bool
	Disabled bool
	// As is, for a name that does not exist, the account whose facts stand for its own:
	// Identity has its groups. Empty if there is none.
	As       string
	Identity Identity
	// PasswordSet is when its password was set; zero if it has none.
	PasswordSet time.Time
	// Generation changes with every change of the account or its credentials. A
	// login during which it changed is refused: what was proven may no longer count.
	Generation int64
}

// groups are those of the account; nil for a name that does not exist.
func (a Account) groups() []string {
	if !a.Known {
		return nil
	}
	return a.Identity.Groups
}

// NewID returns 16 random hexadecimal digits, for a connection or a session.
func NewID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
