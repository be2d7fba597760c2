package foreign

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
)

// fuzzFormat holds for every format of one file: what is found has a name and a place, and
// is no more than the file could hold.
func fuzzFormat(f *testing.F, format string, seeds ...string) {
	sources, _ := filepath.Glob("testdata/*.txtar")
	for _, source := range sources {
		ar, err := txtar.ParseFile(source)
		if err != nil {
			f.Fatal(err)
		}
		if strings.Fields(string(ar.Comment))[0] == format {
			f.Add(ar.Files[0].Data)
		}
	}
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		found, err := read(format, memory{"file": string(content)}, []string{"file"})
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		if len(found.Accounts) > len(content) || len(found.Refused) > 2*(maxRefusals+1) {
			t.Errorf("%d accounts and %d refusals of %d bytes", len(found.Accounts), len(found.Refused), len(content))
		}
		for _, a := range found.Accounts {
			if a.Name == "" || !utf8.ValidString(a.Name) || a.At.File == "" {
				t.Errorf("account %q at %v", a.Name, a.At)
			}
		}
		for _, r := range found.Refused {
			if len(r.Reason) > 1000 || r.Reason == "" || r.At.File == "" {
				t.Errorf("refusal at %v of %d bytes", r.At, len(r.Reason))
			}
		}
	})
}

func FuzzDovecot(f *testing.F) { fuzzFormat(f, "dovecot", "joe:{PLAIN}x:1:1::::allow_nets=\r\n") }
func FuzzSASLDB(f *testing.F)  { fuzzFormat(f, "sasldb") }
func FuzzLDIF(f *testing.F) {
	fuzzFormat(f, "ldif", "version: 1\r\ndn: uid=joe\r\nuid: joe\r\nuserPassword:: e1NTSEF9\r\n", "dn:: !\n x\nuid:< file:///etc/passwd\n\nchangetype: modify\n")
}
func FuzzCSV(f *testing.F) {
	fuzzFormat(f, "csv", "\xef\xbb\xbfname;hash\r\njoe;$6$x$y\r\n", "name,keys\njoe,\"a\nb\"\n", "user\njoe\n", "name,quota_bytes\njoe,-1\n\"")
}
func FuzzIIS(f *testing.F) {
	fuzzFormat(f, "iis", `<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]><configuration>&c;</configuration>`, strings.Repeat("<configuration>", 40))
}
func FuzzSFTPGo(f *testing.F) {
	fuzzFormat(f, "sftpgo", `{"users":null}`, `{"users":[{"username":"joe","filters":{"allowed_ip":1}},{"username":1}],"x":{}}`, strings.Repeat("[", 20000))
}
func FuzzFileZilla(f *testing.F) {
	fuzzFormat(f, "filezilla", `<filezilla><user name="joe"><password index="0"/></user></filezilla>`, `<FileZillaServer><Users><User Name="joe"/></Users></FileZillaServer>`)
}
func FuzzPasswd(f *testing.F) {
	fuzzFormat(f, "passwd", "joe:$6$a$b:1000:1000::/home/joe:/bin/sh\n", "joe:x:1000:1000::/home/joe:/bin/sh\n", "::::::\n")
}
func FuzzVsftpd(f *testing.F) {
	fuzzFormat(f, "vsftpd", "local_enable=YES\nuserlist_file=/x\n", "guest_enable=YES\nuser_config_dir=/c\nuser_sub_token=$USER\nlocal_root=/srv/$USER\n")
}
func FuzzProFTPD(f *testing.F) {
	fuzzFormat(f, "proftpd", "<Global>\nInclude /*\n</Global>\n", "userid,passwd\njoe,x\n", "DefaultRoot ~ !a,b\nTransferRate RETR 1:2 user joe\n")
}
func FuzzPureFTPd(f *testing.F) {
	fuzzFormat(f, "pureftpd", "joe:$argon2id$v=19$m=4194304,t=4294967295,p=1$a$b:1:1::/srv/./:1:1:1:1:1:1:1:1:1:1:1:9900-1\n")
}
func FuzzHtpasswd(f *testing.F) {
	fuzzFormat(f, "htpasswd", "joe:$apr1$a$b\n", "joe:realm:0123456789abcdef0123456789abcdef\n")
}
func FuzzAuthorizedKeys(f *testing.F) {
	fuzzFormat(f, "authorized_keys", "ssh-ed25519 AAAA joe\n", `from="1.2.3.4",command="x" ssh-rsa AAAA`+"\n")
}
func FuzzGateway(f *testing.F) {
	fuzzFormat(f, "gateway", `{"gateway":1,"users":[{"name":"joe","hash":"$6$a$b","mail":{"domains":["x"]},"quota":{"bytes":-1}}]}`, `{"gateway":2}`)
}
