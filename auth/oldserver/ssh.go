package oldserver

import (
	"fmt"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

// askSSH logs in by the methods password and keyboard-interactive (RFC 4252, RFC 4256).
func (s *Server) askSSH(conn net.Conn, name, password string) (bool, error) {
	known, asked := false, false
	client, channels, requests, err := ssh.NewClientConn(conn, s.cfg.Address, &ssh.ClientConfig{
		User: name,
		Auth: []ssh.AuthMethod{
			ssh.PasswordCallback(func() (string, error) { asked = true; return password, nil }),
			ssh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
				if len(questions) == 0 {
					return nil, nil
				}
				if len(questions) > 1 || echos[0] {
					return nil, fmt.Errorf("it asks for more than a password")
				}
				asked = true
				return []string{password}, nil
			}),
		},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if got := ssh.FingerprintSHA256(key); got != s.cfg.Pin {
				return fmt.Errorf("its host key is %s, and pinned is %s: if it was replaced, change pin; else somebody is between", got, s.cfg.Pin)
			}
			known = true
			return nil
		},
	})
	switch {
	case err == nil:
		go ssh.DiscardRequests(requests)
		go func() {
			for c := range channels {
				_ = c.Reject(ssh.Prohibited, "")
			}
		}()
		_ = client.Close()
		return true, nil
	case known && asked && strings.Contains(err.Error(), "unable to authenticate"):
		return false, nil
	default:
		return false, err
	}
}
