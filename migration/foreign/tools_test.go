package foreign

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"gateway/auth/hashes"
)

// What the tools of the servers made of "correct horse" lets in whoever knows it.
func TestToolsPasswords(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]int{"dovecot.txtar": 14, "ldif.txtar": 2, "iis.txtar": 2, "sftpgo.txtar": 3, "filezilla-0.9.txtar": 3, "filezilla-1.txtar": 3} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(filepath.Join("testdata", source))
			if err != nil {
				t.Fatal(err)
			}
			files := memory{}
			for _, f := range ar.Files {
				files[f.Name] = string(f.Data)
			}
			command := strings.Fields(string(ar.Comment))
			found, err := read(command[0], files, command[1:])
			if err != nil {
				t.Fatal(err)
			}
			right := 0
			for _, a := range found.Accounts {
				if a.Plain.Reveal() == "correct horse" {
					right++
				}
				if h, err := hashes.Foreign(a.Hash); err == nil && h.Matches("correct horse") {
					right++
				}
			}
			if right < want {
				t.Errorf("%d accounts have the password, want %d", right, want)
			}
		})
	}
}
