package hashes

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// maxLabel bounds what stands between braces, which errors quote.
const maxLabel = 24

// Foreign reads a hash as the file of another program holds it: in one of the forms of
// crypt(3), or as "{SCHEME}DATA" or "{SCHEME.ENCODING}DATA". The table of the package
// comment has all that is accepted. A password in clear ({PLAIN}) is hashed at once,
// which takes the time of New; nothing else is computed. The error is ErrScheme,
// ErrMalformed or ErrCost; it names the scheme and does not quote the hash.
func Foreign(text string) (Hash, error) {
	if len(text) > maxTextBytes {
		return Hash{}, malformed("longer than %d bytes", maxTextBytes)
	}
	label, body, labelled := cutLabel(text)
	if !labelled {
		canonical, err := bare(text)
		if err != nil {
			return Hash{}, err
		}
		return parseBare(canonical)
	}
	name, suffix, _ := strings.Cut(strings.ToUpper(label), ".")
	in, ok := textForms()[suffix]
	if !ok {
		return Hash{}, fmt.Errorf("%w: scheme {%s} is in an encoding that is not known", ErrScheme, label)
	}
	if why, ok := refusedLabels()[name]; ok {
		return Hash{}, fmt.Errorf("%w: scheme {%s} %s", ErrScheme, label, why)
	}
	if made, ok := plain(name, body, in); ok {
		return made.hash, about(label, made.err)
	}
	translate, ok := translators()[name]
	if !ok {
		return Hash{}, fmt.Errorf("%w: scheme {%s} is not known", ErrScheme, label)
	}
	canonical, err := translate(body, in)
	if err != nil {
		return Hash{}, about(label, err)
	}
	h, err := parseBare(canonical)
	return h, about(label, err)
}

func about(label string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("scheme {%s}: %w", label, err)
}

// cutLabel takes "{SCHEME}" off, if the text begins with one.
func cutLabel(text string) (label, body string, found bool) {
	inner, ok := strings.CutPrefix(text, "{")
	if !ok {
		return "", text, false
	}
	label, body, ok = strings.Cut(inner, "}")
	if !ok || label == "" || len(label) > maxLabel || strings.Trim(strings.ToUpper(label), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return "", text, false
	}
	return label, body, true
}

// translator makes the canonical text of what follows a label.
type translator func(body string, in textForm) (string, error)

// translators are by the label, in capitals, without its encoding.
func translators() map[string]translator {
	return map[string]translator{
		"CRYPT": labelledCrypt, "DES-CRYPT": labelledCrypt, "MD5-CRYPT": labelledCrypt, "BLF-CRYPT": labelledCrypt,
		"SHA256-CRYPT": labelledCrypt, "SHA512-CRYPT": labelledCrypt,
		"ARGON2": labelledCrypt, "ARGON2I": labelledCrypt, "ARGON2D": labelledCrypt, "ARGON2ID": labelledCrypt,

		"MD5":       md5OrCrypt,
		"PLAIN-MD4": raw("md4"), "PLAIN-MD5": raw("md5"), "LDAP-MD5": raw("md5"), "SHA": raw("sha"), "SHA1": raw("sha"),
		"SHA256": raw("sha256"), "SHA384": raw("sha384"), "SHA512": raw("sha512"),
		"SMD5": salted("smd5"), "SSHA": salted("ssha"), "SSHA256": salted("ssha256"), "SSHA384": salted("ssha384"),
		"SSHA512":  salted("ssha512"),
		"CRAM-MD5": inHexOnly(raw("cram-md5")), "HMAC-MD5": inHexOnly(raw("cram-md5")),
		"DIGEST-MD5": as(digestMD5), "SERVU": as(servU), "MYSQL41": as(mysql41), "NT": as(nt), "NTLM": as(nt),

		"PBKDF2": as(pbkdf2SHA1), "PBKDF2-SHA1": as(ldapPBKDF2("pbkdf2-sha1")),
		"PBKDF2-SHA256": as(ldapPBKDF2("pbkdf2-sha256")), "PBKDF2-SHA512": as(ldapPBKDF2("pbkdf2-sha512")),
		"SCRAM-SHA-1": as(scram("scram-sha-1")), "SCRAM-SHA-256": as(scram("scram-sha-256")),

		"FILEZILLA-SHA512": as(fileZillaSHA512), "FILEZILLA-PBKDF2": as(fileZillaPBKDF2),
	}
}

// refusedLabels say why a known scheme is not verified here.
func refusedLabels() map[string]string {
	return map[string]string{
		"SASL":   "only points to another server",
		"OTP":    "is of one-time passwords",
		"SKEY":   "is of one-time passwords",
		"LANMAN": "knows 14 letters in capitals only; set another password",
		"LM":     "knows 14 letters in capitals only; set another password",
		"RPA":    "is not verified here; set another password",
		"EMPTY":  "lets any password in",
	}
}

// as is a translator of what is written in one way only.
func as(translate func(body string) (string, error)) translator {
	return func(body string, in textForm) (string, error) {
		if in != unsaid {
			return "", malformed("it is written in one way only; leave the encoding out")
		}
		return translate(body)
	}
}

func inHexOnly(translate translator) translator {
	return func(body string, in textForm) (string, error) {
		if in == unsaid {
			in = inHex
		}
		return translate(body, in)
	}
}

// bare checks a text without a label: it is canonical for crypt(3), or of SFTPGo.
func bare(text string) (string, error) {
	if strings.HasPrefix(text, "$pbkdf2-") {
		return sftpgoPBKDF2(text)
	}
	s, err := schemeOf(text)
	if err != nil {
		return "", err
	}
	if !s.crypt {
		return "", fmt.Errorf("%w: it is in the form of the store, which no other program writes", ErrScheme)
	}
	return text, nil
}

func labelledCrypt(body string, in textForm) (string, error) { return as(bare)(body, in) }

// md5OrCrypt is Dovecot's {MD5}, which is md5-crypt or else a digest.
func md5OrCrypt(body string, in textForm) (string, error) {
	if strings.HasPrefix(body, "$1$") {
		return labelledCrypt(body, in)
	}
	return raw("md5")(body, in)
}

// digestMD5 reads "user:realm:HEX": user and realm are hashed with the password.
func digestMD5(body string) (string, error) {
	who, text, ok := cutLast(body, ":")
	if !ok || !strings.Contains(who, ":") {
		return "", malformed("want user:realm:HEX, since user and realm are in the hash")
	}
	sum, err := inHex.decode(text)
	if err != nil {
		return "", err
	}
	return digestNamed("digest-md5").canonical(sum, []byte(who+":"))
}

// servU reads two letters and the MD5, in hexadecimal, of them and the password.
func servU(body string) (string, error) {
	const letters = 2
	if len(body) < letters {
		return "", malformed("want two letters and HEX")
	}
	sum, err := inHex.decode(body[letters:])
	if err != nil {
		return "", err
	}
	return digestNamed("servu").canonical(sum, []byte(body[:letters]))
}

// mysql41 reads "*HEX", of MySQL 4.1 and the Backend of ProFTPD.
func mysql41(body string) (string, error) {
	text, ok := strings.CutPrefix(body, "*")
	if !ok {
		return "", malformed("want * and HEX")
	}
	sum, err := inHex.decode(text)
	if err != nil {
		return "", err
	}
	return digestNamed("mysql41").canonical(sum, nil)
}

func nt(body string) (string, error) {
	if strings.HasPrefix(body, "$3$$") {
		return body, nil
	}
	return "$3$$" + strings.ToLower(body), nil
}

// textForm is how bytes are written.
type textForm int

const (
	unsaid textForm = iota // base64, where nothing else is usual
	inHex
	inBase64
)

// textForms are by the end of a label.
func textForms() map[string]textForm {
	return map[string]textForm{"": unsaid, "HEX": inHex, "B64": inBase64, "BASE64": inBase64}
}

func (in textForm) decode(text string) ([]byte, error) {
	if in != inHex {
		return decodeStd(text)
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, malformed("it is not hexadecimal")
	}
	return b, nil
}

// decodeStd reads base64 with or without its padding.
func decodeStd(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, malformed("it has a line break")
	}
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, malformed("it is not base64")
	}
	return b, nil
}
