package foreign

import (
	"strings"
	"testing"
)

// Fields of a megabyte, and lists without an end, are refused in a few words.
func TestBounds(t *testing.T) {
	t.Parallel()
	mega := strings.Repeat("a", 1<<20)
	for name, source := range map[string]struct{ format, content string }{
		"dovecot field":      {"dovecot", "joe:{PLAIN}" + mega + "\n"},
		"sasldb value":       {"sasldb", "VERSION=3\nformat=print\nHEADER=END\n joe\\00r\\00userPassword\n " + mega + "\nDATA=END\n"},
		"ldif value":         {"ldif", "dn: uid=joe\nobjectClass: account\nuid: joe\nuserPassword: " + mega + "\n"},
		"ldif folded":        {"ldif", "dn: uid=joe\nobjectClass: account\nuid: joe\nuserPassword: a" + strings.Repeat("\n aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1<<15) + "\n"},
		"csv cell":           {"csv", "name,hash\njoe," + mega + "\n"},
		"csv header":         {"csv", mega + ",hash\n"},
		"iis attribute":      {"iis", "<configuration><authentication><credentials><add name='joe' password='" + mega + "'/></credentials></authentication></configuration>"},
		"sftpgo field":       {"sftpgo", `{"users":[{"username":"joe","password":"` + mega + `"}]}`},
		"sftpgo depth":       {"sftpgo", `{"x":` + strings.Repeat("[", 1<<20)},
		"filezilla text":     {"filezilla", `<filezilla><user name="joe"><password index="1"><hash>` + mega + `</hash></password></user></filezilla>`},
		"filezilla elements": {"filezilla", `<filezilla><user name="joe">` + strings.Repeat("<a/>", 1<<18) + `</user></filezilla>`},
		"iis depth":          {"iis", strings.Repeat("<configuration>", 1<<16)},
		"iis name":           {"iis", "<" + mega + ">"},
		"iis entity":         {"iis", "<configuration>&" + mega + ";</configuration>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, err := read(source.format, memory{"file": source.content}, []string{"file"})
			if len(found.Accounts) != 0 {
				t.Errorf("got %d accounts, want none", len(found.Accounts))
			}
			said := render(found, err)
			if said == "" || len(said) > 2000 {
				t.Errorf("said %d bytes, want a few words", len(said))
			}
		})
	}
}
