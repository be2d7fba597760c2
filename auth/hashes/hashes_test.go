package hashes

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const (
	salt = "c29tZXNhbHRzb21lc2FsdA"                      // 16 bytes
	sum  = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" // 32 bytes

	argonNew = "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum
)

func TestNewMatchesOnlyItsPassword(t *testing.T) {
	t.Parallel()
	h, err := Parse(New("right").Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !h.Matches("right") {
		t.Error("right password does not match")
	}
	for _, wrong := range []string{"", "righ", "right ", "Right", "right\x00"} {
		if h.Matches(wrong) {
			t.Errorf("%q matches", wrong)
		}
	}
	if h.Price().MemoryKiB != 19456 {
		t.Errorf("got %d KiB, want %d", h.Price().MemoryKiB, 19456)
	}
	if New("right").Encode() == h.Encode() {
		t.Error("two hashes have one salt")
	}
}

// TestKnownAnswer compares with hashes made by the reference implementation,
// the argon2 command line tool and its test vectors.
func TestKnownAnswer(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
	} {
		h, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if !h.Matches("password") {
			t.Errorf("%s: does not match", text)
		}
		if h.Encode() != text {
			t.Errorf("got %s, want %s", h.Encode(), text)
		}
	}
}

func TestDummyAndZero(t *testing.T) {
	t.Parallel()
	if d := Dummy(); d.Matches("") || d.Price().MemoryKiB != 19456 {
		t.Errorf("dummy: got a match or %d KiB, want none and %d", d.Price().MemoryKiB, 19456)
	}
	var zero Hash
	if zero.Matches("") {
		t.Error("the zero hash matches")
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	with := func(price string) string { return "$argon2id$v=19$" + price + "$" + salt + "$" + sum }
	tests := []struct {
		text string
		want error
	}{
		{"", ErrScheme},
		{"password", ErrScheme},
		{"$", ErrScheme},
		{"$2y$10$abcdefghijklmnopqrstuv", ErrMalformed},
		{"{SSHA}abcd", ErrScheme}, // that is for Foreign
		{"$gy$j9T$abc$def", ErrScheme},
		{"$wrapped$22$argon2id", ErrMalformed},
		{"$wrapped$22" + argonNew + "$$6$salt$", ErrMalformed},                       // has 86
		{"$wrapped$43" + argonNew + "$" + argonNew[:len(argonNew)-43], ErrMalformed}, // is not weak
		{"$wrapped$22$argon2id$v=19$m=8192,t=1023,p=1$" + salt + "$" + sum + "$$1$salt$", ErrCost},
		{"$x-md5$$0123456789ABCDEF0123456789ABCDEF", ErrMalformed}, // not canonical
		{"$x-ssha$$" + strings.Repeat("0", 40), ErrMalformed},
		{argonNew + "$first=0", ErrMalformed},
		{argonNew + "$first=08", ErrMalformed},
		{argonNew + "$first=1025", ErrCost},
		{"$6$salt$" + strings.Repeat("a", 86) + "$first=8", ErrMalformed},
		{"x$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + sum, ErrScheme},
		{"$argon2id$v=16$m=256,t=2,p=1$" + salt + "$" + sum, ErrMalformed},
		{"$argon2id$m=256,t=2,p=1$" + salt + "$" + sum, ErrMalformed},
		{with("m=256,t=2"), ErrMalformed},
		{with("t=2,m=256,p=1"), ErrMalformed},
		{with("m=256,t=2,p=1,x=1"), ErrMalformed},
		{with("m=+256,t=2,p=1"), ErrMalformed},
		{with("m=-256,t=2,p=1"), ErrMalformed},
		{with("m=0256,t=2,p=1"), ErrMalformed},
		{with("m=256,t=0,p=1"), ErrMalformed},
		{with("m=15,t=2,p=2"), ErrMalformed},
		{with("m=4194304,t=1,p=1"), ErrCost},
		{with("m=256,t=4294967295,p=1"), ErrCost},
		{with("m=99999999999999999999999,t=1,p=1"), ErrCost},
		{with("m=131072,t=256,p=1"), ErrCost},
		{with("m=256,t=2,p=255"), ErrCost},
		{"$argon2id$v=19$m=256,t=2,p=1$c2FsdA$" + sum, ErrMalformed},
		{"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$c2FsdA", ErrMalformed},
		{"$argon2id$v=19$m=256,t=2,p=1$" + salt + "==$" + sum, ErrMalformed},
		{"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + sum + "\n", ErrMalformed},
		{"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + sum + "$", ErrMalformed},
		{"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + strings.Repeat("A", 1<<20), ErrMalformed},
	}
	for _, tt := range tests {
		_, err := Parse(tt.text)
		if !errors.Is(err, tt.want) {
			t.Errorf("%.60q: got %v, want %v", tt.text, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), salt) {
			t.Errorf("%.60q: the error quotes the hash: %v", tt.text, err)
		}
	}
}

func TestHashDoesNotPrint(t *testing.T) {
	t.Parallel()
	h, err := Parse("$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + sum)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if got := fmt.Sprintf(verb, h); got != "[hash]" {
			t.Errorf("%s: got %s, want [hash]", verb, got)
		}
	}
}
