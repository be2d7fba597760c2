package auth

import (
	"testing"
	"unicode/utf8"
)

func TestOtherForm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		password, want string
		ok             bool
	}{
		{"", "", false},
		{"correct horse", "", false},
		{"p\u00e4ss", "p\xe4ss", true},
		{"p\xe4ss", "p\u00e4ss", true},
		{"5 \u20ac", "5 \x80", true}, // which Latin-1 has not, and Windows-1252 has
		{"5 \x80", "5 \u20ac", true},
		{"\x81\x9f\xff", "\u0081\u0178\u00ff", true},
		{"пароль", "", false},
		{"p\u00e4ss пароль", "", false},
	} {
		got, ok := otherForm(tt.password)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%q: got %q, %v, want %q, %v", tt.password, got, ok, tt.want, tt.ok)
		}
	}
}

// Every byte has a character, and back.
func FuzzOtherForm(f *testing.F) {
	f.Add("p\xe4ss")
	f.Add("\x80\x81\x8d\x8f\x90\x9d\xa0\xff")
	f.Add("p\u00e4ss\u20ac")
	f.Fuzz(func(t *testing.T, password string) {
		other, ok := otherForm(password)
		if !ok {
			return
		}
		if !utf8.ValidString(password) {
			if back, ok := otherForm(other); !ok || back != password {
				t.Errorf("%q: got back %q, %v", password, back, ok)
			}
		} else if len(other) != utf8.RuneCountInString(password) {
			t.Errorf("%q: got %q, want a byte for a character", password, other)
		}
	})
}
