package dkim

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// Lifetime is how long a signature is valid (the tag x): a message is tried for
// days by us, and by each host that it passes.
const Lifetime = 14 * 24 * time.Hour

// signedFields are the fields that are signed as often as they occur, in the
// order of RFC 6376, section 5.4.1, with those that say how the body is to be
// read. oversignedFields are signed once more than they occur, so that none of
// them can be added to a signed message (RFC 6376, section 8.15). Sender and the
// List fields are not among those: mailing lists add them.
func signedFields() []string {
	return []string{
		"From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "MIME-Version", "Content-Type",
		"Content-Transfer-Encoding", "Content-ID", "Content-Description", "In-Reply-To", "References",
		"Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID",
		"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
		"Autocrypt", "TLS-Required",
	}
}

func oversignedFields() []string {
	return []string{
		"From", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
	}
}

// maxHeaderKeys bounds the list of signed fields in bytes: it is written on one
// line. What does not fit is not signed; From, Subject and the like come first.
const maxHeaderKeys = 900

// headerKeys is the list of fields to sign (the tag h) of a message that has
// fields of these names.
func headerKeys(names []string) []string {
	count := make(map[string]int)
	for _, n := range names {
		count[strings.ToLower(n)]++
	}
	for _, n := range oversignedFields() {
		count[strings.ToLower(n)]++
	}
	var keys []string
	size := 0
	for _, n := range signedFields() {
		for range count[strings.ToLower(n)] {
			if size += len(n) + 1; size > maxHeaderKeys {
				return keys
			}
			keys = append(keys, n)
		}
	}
	return keys
}

// signing finds the keys that sign for a domain: its own, or those of the nearest
// domain above it that has any.
func (k *Keys) signing(domain string) (signer string, keys []key) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for {
		for _, one := range k.domains[domain] {
			if one.State == Active {
				keys = append(keys, one)
			}
		}
		_, parent, found := strings.Cut(domain, ".")
		if len(keys) > 0 || !found {
			return domain, keys
		}
		domain = parent
	}
}

// Signature is the signatures of one message while it is written. A nil Signature
// signs nothing. It is used by one goroutine, which calls Close at the end.
type Signature struct {
	buffer  *bufio.Writer
	signers []*msgauth.Signer
	open    int // signers that are not closed
}

// Sign begins the signatures of a message whose author is in domain, and whose
// header has fields of these names. It is nil if no key is held for the domain or
// one above it. The message is then written to it, with CRLF line ends.
func (k *Keys) Sign(domain string, names []string) (*Signature, error) {
	canonical, err := Canonical(domain)
	if err != nil {
		return nil, nil // an address literal or such: nobody can publish a key for it
	}
	by, keys := k.signing(canonical)
	if len(keys) == 0 {
		return nil, nil
	}
	s := &Signature{}
	fields := headerKeys(names)
	writers := make([]io.Writer, 0, len(keys))
	for _, one := range keys {
		signer, err := msgauth.NewSigner(&msgauth.SignOptions{
			Domain: by, Selector: one.Selector, Signer: one.signer, HeaderKeys: fields,
			HeaderCanonicalization: msgauth.CanonicalizationRelaxed, BodyCanonicalization: msgauth.CanonicalizationRelaxed,
			Expiration: k.now().Add(Lifetime),
		})
		if err != nil {
			s.Close()
			return nil, err
		}
		s.signers = append(s.signers, signer)
		s.open++
		writers = append(writers, signer)
	}
	// Each write to a signer hands over to its goroutine, so they are made few.
	s.buffer = bufio.NewWriterSize(io.MultiWriter(writers...), bufferSize)
	return s, nil
}

const bufferSize = 32 << 10

// Write takes the message.
func (s *Signature) Write(p []byte) (int, error) {
	if s == nil {
		return len(p), nil
	}
	return s.buffer.Write(p)
}

// Header ends the message and returns the signatures as header fields, to be put
// in front of it.
func (s *Signature) Header() (string, error) {
	if s == nil {
		return "", nil
	}
	if err := s.buffer.Flush(); err != nil {
		return "", err
	}
	if err := s.Close(); err != nil {
		return "", err
	}
	var fields strings.Builder
	for _, signer := range s.signers {
		fields.WriteString(signer.Signature())
	}
	return fields.String(), nil
}

// Close gives back what the signatures hold. After Header it does nothing.
func (s *Signature) Close() error {
	if s == nil {
		return nil
	}
	var errs []error
	for ; s.open > 0; s.open-- {
		errs = append(errs, s.signers[len(s.signers)-s.open].Close())
	}
	return errors.Join(errs...)
}
