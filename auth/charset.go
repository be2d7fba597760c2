package auth

import (
	"strings"
	"unicode/utf8"
)

// windows1252 are the characters of the bytes 0x80 to 0x9f. Where Windows-1252 has none
// the control character of Latin-1 stands, as in the Encoding standard of WHATWG.
const windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

// otherForm is the password as a client would send it that writes characters in another
// way: in Latin-1, as many FTP clients do (Windows-1252, to be exact), if it is in UTF-8,
// and in UTF-8, as SSH has it (RFC 4252, section 8), if it is not. One that is all ASCII
// has no other form, nor one with characters that Latin-1 has not.
func otherForm(password string) (other string, ok bool) {
	if isASCII(password) {
		return "", false
	}
	high := []rune(windows1252)
	var b strings.Builder
	if !utf8.ValidString(password) {
		for i := range len(password) {
			c := rune(password[i])
			if 0x80 <= c && c <= 0x9f {
				c = high[c-0x80]
			}
			b.WriteRune(c)
		}
		return b.String(), true
	}
	for _, c := range password {
		switch i := strings.IndexRune(windows1252, c); {
		case i >= 0:
			b.WriteByte(byte(0x80 + utf8.RuneCountInString(windows1252[:i])))
		case c > 0xff:
			return "", false
		default:
			b.WriteByte(byte(c))
		}
	}
	return b.String(), true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// matches compares a password with the hash, and if that fails, once its other form:
// which is one attempt. as is the form that matched. The one that is known to match, if
// one is, comes first.
func (s stored) matches(password string) (as string, right bool) {
	forms := []string{password}
	if other, ok := otherForm(password); ok {
		if forms = append(forms, other); s.from.wasIn != "" && !utf8.ValidString(password) {
			forms[0], forms[1] = forms[1], forms[0]
		}
	}
	for _, form := range forms {
		right := s.hash.Matches(form)
		_ = s.beside.Matches(form)
		if right {
			return form, true
		}
	}
	return "", false
}
