package certs

import (
	"crypto/tls"
	"fmt"
	"os"
	"time"
)

// fileStamp tells whether files have changed since they were read.
type fileStamp struct {
	certTime, keyTime time.Time
	certSize, keySize int64
}

// stampOf is the zero stamp for a file that is not there.
func stampOf(files *Files) (s fileStamp) {
	if info, err := os.Stat(files.Cert); err == nil {
		s.certTime, s.certSize = info.ModTime(), info.Size()
	}
	if info, err := os.Stat(files.Key); err == nil {
		s.keyTime, s.keySize = info.ModTime(), info.Size()
	}
	return s
}

// loadFiles puts the certificate in the files in force, if it is good.
func (s *Source) loadFiles() error {
	s.seen = stampOf(s.cfg.Files) // before they are read, so that no change is missed
	pair, err := readFiles(s.cfg.Files)
	if err != nil {
		return err
	}
	s.current.Store(pair)
	return nil
}

func readFiles(files *Files) (*tls.Certificate, error) {
	cert, err := readCertFile(files.Cert)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	key, err := readKeyFile(files.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", files.Cert, files.Key, err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("certificate %s expired on %s", files.Cert, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	} else if now.Before(pair.Leaf.NotBefore) {
		return nil, fmt.Errorf("certificate %s is not valid before %s", files.Cert, pair.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return &pair, nil
}
