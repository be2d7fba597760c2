package hashes

import (
	"errors"
	"strings"
	"testing"
)

// absurd are hashes that would take hours, or all of the memory.
func absurd() []string {
	return []string{
		"$argon2id$v=19$m=4194304,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=4194304,t=4294967295,p=1$" + salt + "$" + sum,
		"$argon2i$v=19$m=8192,t=99999999999999999999,p=1$" + salt + "$" + sum,
		"$argon2d$v=19$m=131072,t=16777216,p=8$" + salt + "$" + sum,
		"$6$rounds=999999999$salt$" + strings.Repeat("a", 86),
		"$5$rounds=4294967296$salt$" + strings.Repeat("a", 43),
		"$2y$31$" + strings.Repeat("a", 53),
		"$2b$17$" + strings.Repeat("a", 53),
		"$2a$99$" + strings.Repeat("a", 53),
		"$y$jzT$" + strings.Repeat("a", 22) + "$" + strings.Repeat("a", 43), // ln=63
		"$7$z6..../....salt$" + strings.Repeat("a", 43),
		"$7$Czzzzz/....salt$" + strings.Repeat("a", 43),
		"$7$C6....zzzzzsalt$" + strings.Repeat("a", 43),
		"$7$zzzzzzzzzzzsalt$" + strings.Repeat("a", 43),
		"{PBKDF2}4294967296$c2FsdA$" + strings.Repeat("A", 27),
		"{PBKDF2-SHA512}2000000000$c2FsdA$" + strings.Repeat("A", 86),
		"{PBKDF2}$1$salt$2147483647$" + strings.Repeat("0", 40),
		"{SCRAM-SHA-256}2147483647,c2FsdA==," + sum + "," + sum,
		"{FILEZILLA-PBKDF2}999999999$" + sum + "$" + sum,
		"$pbkdf2-sha256$999999999$salt$" + sum,
		"{CRYPT}$2b$31$" + strings.Repeat("a", 53),
	}
}

// Whatever the parameters say, they are read and refused, not obeyed.
func TestAbsurdPrices(t *testing.T) {
	t.Parallel()
	for _, text := range absurd() {
		if _, err := Foreign(text); !errors.Is(err, ErrCost) {
			t.Errorf("%.60s: got %v, want %v", text, err, ErrCost)
		}
	}
}

func TestForeignRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want error
		says string
	}{
		{"", ErrScheme, "no password"},
		{"!", ErrScheme, "locked"},
		{"!$6$salt$secret", ErrScheme, "locked"},
		{"*", ErrScheme, "locked"},
		{"x", ErrScheme, "begins like none"},
		{"hunter2hunter2", ErrScheme, "begins like none"},
		{"hunter2", ErrScheme, "begins like none"},
		{"{SASL}joe@example.com", ErrScheme, "scheme {SASL} only points to another server"},
		{"{OTP}md5 1 secret", ErrScheme, "{OTP}"},
		{"{ROT13}secret", ErrScheme, "scheme {ROT13} is not known"},
		{"{SSHA.ROT13}secret", ErrScheme, "{SSHA.ROT13}"},
		{"{secret secret}secret", ErrScheme, "begins like none"},
		{"{" + strings.Repeat("A", 25) + "}secret", ErrScheme, "begins like none"},
		{"$gy$j9T$secret", ErrScheme, "gost-yescrypt"},
		{"$2x$05$secret", ErrScheme, "$2x$"},
		{"$md5,rounds=5$secret", ErrScheme, "SunMD5"},
		{"$sha1$1$secret", ErrScheme, "NetBSD"},
		{"$x-md5$$00000000000000000000000000000000", ErrScheme, "form of the store"},
		{"$pbkdf2-md5$1$secret$c2VjcmV0", ErrScheme, "digest"},
		{"{SSHA}c2VjcmV0", ErrMalformed, "{SSHA}"},
		{"{SSHA}secret!", ErrMalformed, "base64"},
		{"{SHA}c2Vj\ncmV0", ErrMalformed, "line break"},
		{"{MD5}c2VjcmV0", ErrMalformed, "want 16"},
		{"{MD5.HEX}secret", ErrMalformed, "hexadecimal"},
		{"{DIGEST-MD5}0af4b28a2141affc9f5acf4a77e7989e", ErrMalformed, "user:realm:HEX"},
		{"{MYSQL41}secret", ErrMalformed, "*"},
		{"{CRYPT.B64}secret", ErrMalformed, "one way"},
		{"{CRYPT}{SSHA}secret", ErrScheme, "begins like none"},
		{"{PLAIN}", ErrMalformed, "empty"},
		{"{PLAIN}" + strings.Repeat("a", 1025), ErrMalformed, "1024"},
		{"{PLAIN}a\nb", ErrMalformed, "line break"},
		{"{PLAIN-TRUNC}secret", ErrMalformed, "LENGTH"},
		{"$1$much-too-long-salt$IfI/mw4YSCwcQoW.D.DSu1", ErrMalformed, "salt"},
		{"$5$rounds=999$salt$" + strings.Repeat("a", 43), ErrMalformed, "below 1000"},
		{"$6$rounds=05000$salt$" + strings.Repeat("a", 86), ErrMalformed, "rounds"},
		{"$6$salt$" + strings.Repeat("a", 85), ErrMalformed, "sha512-crypt"},
		{"$2b$03$" + strings.Repeat("a", 53), ErrMalformed, "below 4"},
		{"$2b$+5$" + strings.Repeat("a", 53), ErrMalformed, "two digits"},
		{"_....rasmDiLRGIlI80c", ErrMalformed, "no passes"},
		{"$3$x$00000000000000000000000000000000", ErrScheme, "begins like none"},
		{strings.Repeat("a", 1<<20), ErrMalformed, "longer"},
	} {
		_, err := Foreign(tt.text)
		switch {
		case !errors.Is(err, tt.want):
			t.Errorf("%.60q: got %v, want %v", tt.text, err, tt.want)
		case !strings.Contains(err.Error(), tt.says):
			t.Errorf("%.60q: got %v, want it to say %q", tt.text, err, tt.says)
		case strings.Contains(err.Error(), "secret"):
			t.Errorf("%.60q: the error quotes the hash: %v", tt.text, err)
		}
	}
}

// What a scheme did not look at of a password, the hash that replaces it does not look
// at either.
func TestRenewKeepsWhereAPasswordIsCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, password, other string
		first                 int
	}{
		{"zzD/pw812DVCk", "correct horse", "correct donkey", 8},
		{"{PLAIN-TRUNC}7-correct", "correct horse", "correct", 7},
	} {
		h, err := Foreign(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		renewed, err := Parse(h.Renew(tt.password).Encode())
		if err != nil {
			t.Fatal(err)
		}
		if renewed.Scheme() != "argon2id" || !renewed.Current() || renewed.Truncates() != tt.first {
			t.Errorf("%s: got %s, current %v, truncates %d", tt.text, renewed.Scheme(), renewed.Current(), renewed.Truncates())
		}
		for password, want := range map[string]bool{tt.password: true, tt.other: true, "wrong": false, "": false} {
			if got := renewed.Matches(password); got != want {
				t.Errorf("%s: %q: got %v, want %v", tt.text, password, got, want)
			}
		}
	}
	des, err := Foreign("zzD/pw812DVCk")
	if err != nil {
		t.Fatal(err)
	}
	if short := des.Renew("short"); short.Truncates() != 0 || !short.Matches("short") || short.Matches("shorter") {
		t.Error("a password of five bytes was cut at eight")
	}
}

// A string in C ends at NUL, and is not as long as one may wish.
func TestTextSchemesTakeStrings(t *testing.T) {
	t.Parallel()
	h, err := Foreign("$1$$IfI/mw4YSCwcQoW.D.DSu1")
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"correct horse\x00", "correct horse\x00x", strings.Repeat("a", maxTextPassword+1)} {
		if h.Matches(password) {
			t.Errorf("%.20q matches", password)
		}
	}
	empty := h
	empty.output = h.derive("")
	if empty.Matches("\x00") || !empty.Matches("") {
		t.Error("what is no string matches the hash of none")
	}
}

func TestDovecotMD5IsEither(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{MD5}$1$$IfI/mw4YSCwcQoW.D.DSu1":       "md5-crypt",
		"{MD5}12841e4ba5e37d2fbfc78458c6714ade": "md5",
		"{md5}EoQeS6XjfS+/x4RYxnFK3g==":         "md5",
	} {
		h, err := Foreign(text)
		if err != nil || h.Scheme() != want {
			t.Errorf("%s: got %s, %v, want %s", text, h.Scheme(), err, want)
		}
	}
}

func TestWeakAndClass(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text  string
		weak  bool
		class Class
	}{
		{argonNew, false, Normal},
		{"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + sum, true, Normal},
		{"$argon2id$v=19$m=65536,t=3,p=1$" + salt + "$" + sum, false, Heavy},
		{"$argon2id$v=19$m=8192,t=1023,p=1$" + salt + "$" + sum, false, Heavy},
		{"$2b$09$" + strings.Repeat("a", 53), true, Normal},
		{"$2b$10$" + strings.Repeat("a", 53), false, Normal},
		{"$2b$12$" + strings.Repeat("a", 53), false, Heavy},
		{"$2b$16$" + strings.Repeat("a", 53), false, Heavy},
		{"$y$j9T$" + strings.Repeat("a", 20) + ".." + "$" + strings.Repeat("a", 43), false, Normal},
		{"$6$salt$" + strings.Repeat("a", 86), true, Normal},
		{"zzD/pw812DVCk", true, Normal},
		{"$3$$cfc43211ba8dc470832267827cac1407", true, Normal},
	} {
		h, err := Foreign(tt.text)
		if err != nil {
			t.Errorf("%.60s: %v", tt.text, err)
			continue
		}
		if h.Weak() != tt.weak || h.Price().Class() != tt.class {
			t.Errorf("%.60s: got weak %v, class %d at %v, want %v, %d", tt.text, h.Weak(), h.Price().Class(), h.Price().Work, tt.weak, tt.class)
		}
	}
	if (Hash{}).Weak() || (Hash{}).Current() {
		t.Error("the zero hash is weak or current")
	}
	if _, err := (Hash{}).Wrap(); err == nil {
		t.Error("the zero hash was wrapped")
	}
}

// checkRead is what holds of every hash that is accepted.
func checkRead(t *testing.T, h Hash, err error) {
	t.Helper()
	if err != nil {
		if !errors.Is(err, ErrScheme) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrCost) {
			t.Errorf("got %v, want one of the named errors", err)
		}
		return
	}
	// A wrapped one costs what it would without, and a new one around it.
	if p := h.Price(); p.Work > maxWork+normalWork || p.MemoryKiB > maxMemoryKiB || p.Work <= 0 {
		t.Errorf("accepted a price of %v and %d KiB", p.Work, p.MemoryKiB)
	}
	text := h.Encode()
	again, err := Parse(text)
	if err != nil || again.Encode() != text {
		t.Errorf("%q: %v, is read as %q", text, err, again.Encode())
	}
}

// The fuzz tests compute nothing: a thousand hashes a second show it.

func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Parse(text)
		checkRead(t, h, err)
		if err == nil && h.Encode() != text {
			t.Errorf("got %q, want %q", h.Encode(), text)
		}
	})
}

func FuzzForeign(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text string) {
		if label, _, ok := cutLabel(text); ok {
			if _, is := plain(strings.ToUpper(strings.SplitN(label, ".", 2)[0]), "", unsaid); is {
				return // the one that is hashed
			}
		}
		h, err := Foreign(text)
		checkRead(t, h, err)
	})
}

func seed(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.text)
		if h, err := Foreign(v.text); err == nil {
			f.Add(h.Encode())
		}
	}
	for _, text := range absurd() {
		f.Add(text)
	}
	f.Add("$wrapped$22" + argonNew + "$$1$salt$")
	f.Add(argonNew + "$first=8")
	f.Add("{MD5}")
	f.Add("$")
}

// BenchmarkPrices shows how far a price is from what it is on this machine, where
// BenchmarkMatches says what a new hash takes, which is priced at some 30 ms.
func BenchmarkPrices(b *testing.B) {
	for name, text := range map[string]string{
		"argon2id-new":     argonNew,
		"argon2id-wide":    "$argon2id$v=19$m=65536,t=3,p=1$" + salt + "$" + sum,
		"argon2id-long":    "$argon2id$v=19$m=8192,t=102,p=1$" + salt + "$" + sum,
		"argon2d":          "$argon2d$v=19$m=19456,t=2,p=1$" + salt + "$" + sum,
		"bcrypt10":         "$2b$10$" + strings.Repeat("a", 53),
		"yescrypt":         "$y$j9T$" + strings.Repeat("a", 20) + ".." + "$" + strings.Repeat("a", 43),
		"scrypt7":          "$7$CU..../....SIOHsyemIHbdozHYV26X20$" + strings.Repeat("a", 43),
		"sha512-crypt":     "$6$saltsalt$" + strings.Repeat("a", 86),
		"sha256-crypt":     "$5$saltsalt$" + strings.Repeat("a", 43),
		"md5-crypt":        "$1$saltsalt$" + strings.Repeat("a", 22),
		"des-crypt":        "zzD/pw812DVCk",
		"bsdi-crypt":       "_J9..rasmDiLRGIlI80c",
		"pbkdf2-sha1":      "{PBKDF2}10000$c2FsdA$" + strings.Repeat("A", 27),
		"pbkdf2-sha256":    "{PBKDF2-SHA256}10000$c2FsdA$" + sum,
		"pbkdf2-sha512":    "{PBKDF2-SHA512}10000$c2FsdA$" + strings.Repeat("A", 86),
		"filezilla-sha512": "{FILEZILLA-SHA512}" + strings.Repeat("0", 128) + ":salt",
	} {
		h, err := Foreign(text)
		if err != nil {
			b.Fatal(name, err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				h.Matches("correct horse")
			}
			b.ReportMetric(float64(h.Price().Work.Nanoseconds()), "priced-ns")
		})
	}
}
