package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/ftpclient"
	"gateway/storage/remote/ftpfiles"
	"gateway/storage/storagetest"
)

// An ftpBehind is an FTP server of Debian behind the gateway, over TLS, that wants data
// connections to resume the session of the control connection where it can want that.
type ftpBehind struct {
	name  string
	start func(t *testing.T, dir, port string, users map[string]string)
	lacks []storagetest.Ability
}

func ftpServersBehind() []ftpBehind {
	never := []storagetest.Ability{storagetest.FollowFolders, storagetest.ReadBack, storagetest.UploadAttr, storagetest.HoldContent,
		storagetest.Resize, storagetest.Times, storagetest.Room, storagetest.Blanks}
	return []ftpBehind{
		{"vsftpd", startVsftpdBehind, append(slices.Clone(never), storagetest.Permissions)},
		{"proftpd", func(t *testing.T, dir, port string, users map[string]string) {
			startProFTPDBehind(t, dir, port, users, "AllowOverwrite on\nAllowStoreRestart on\n")
		}, never},
		{"proftpd that replaces nothing", func(t *testing.T, dir, port string, users map[string]string) {
			startProFTPDBehind(t, dir, port, users, "")
		}, append(slices.Clone(never), storagetest.ReplaceAtOnce)},
		{"pureftpd", startPureFTPdBehind, append(slices.Clone(never), storagetest.ShutOut, storagetest.Backslashes)},
	}
}

func startVsftpdBehind(t *testing.T, dir, port string, users map[string]string) {
	runVsftpd(t, dir, port, users, fmt.Sprintf(`local_umask=027
ssl_enable=YES
force_local_logins_ssl=YES
force_local_data_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file=%[1]s/cert.pem
rsa_private_key_file=%[1]s/key.pem
`, dir))
}

func startProFTPDBehind(t *testing.T, dir, port string, users map[string]string, more string) {
	runProFTPD(t, dir, port, users, fmt.Sprintf(`Umask 027 027
ModulePath %s
LoadModule mod_tls.c
TLSEngine on
TLSRequired on
TLSECCertificateFile {dir}/cert.pem
TLSECCertificateKeyFile {dir}/key.pem
TLSLog {dir}/tls.log
MaxInstances none
%s`, unpacked(t, "proftpd-mod-crypto/usr/lib/proftpd"), more))
}

func startPureFTPdBehind(t *testing.T, dir, port string, users map[string]string) {
	both := filepath.Join(dir, "both.pem")
	if err := os.WriteFile(both, append(read(t, filepath.Join(dir, "key.pem")), read(t, filepath.Join(dir, "cert.pem"))...), 0o600); err != nil {
		t.Fatal(err)
	}
	cheap := []string{"-C", "200"} // hashes, as if so many logged in at once
	runPureFTPd(t, dir, port, users, cheap, "--maxclientsnumber", "100", "--tls", "2", "--certfile", both, "--umask", "137:027")
}

// start runs the server for the account "gateway", and returns how to get there and where
// its files are.
func (b ftpBehind) run(t *testing.T) (cfg ftpfiles.Config, files string) {
	t.Helper()
	dir, port := daemonDir(t, "ftpd"), unusedPort(t)
	files = filepath.Join(dir, "srv", "gateway")
	if err := os.Mkdir(filepath.Join(dir, "srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	folderOf(t, files, filesOf)
	selfSigned(t, dir)
	b.start(t, dir, port, map[string]string{"gateway": "secret of the gateway"})
	answers(t, port)
	said := must(t, "", "openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", filepath.Join(dir, "cert.pem"))
	_, pin, _ := strings.Cut(strings.TrimSpace(said), "=")
	return ftpfiles.Config{
		Address: "127.0.0.1:" + port, User: "gateway", Password: session.NewSecret("secret of the gateway"),
		Protection: ftpclient.Explicit, Pin: pin, Root: "/", Timeout: 10 * time.Second,
	}, files
}

// The contract of storage, on servers as they are.
func TestContractOnFTPServers(t *testing.T) {
	t.Parallel()
	for _, b := range ftpServersBehind() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			cfg, _ := b.run(t)
			cfg.Connections = 32 // all cases share them
			s := ftpfiles.New(cfg)
			t.Cleanup(func() { _ = s.Close() })
			storagetest.Run(t, func(t *testing.T) storage.FS {
				f, err := s.Open(t.Context(), fmt.Sprintf("tree-%x", time.Now().UnixNano()))
				if err != nil {
					t.Fatal(err)
				}
				return f
			}, b.lacks...)
		})
	}
}
