package dane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"gateway/queue/relay/dns"
)

type signed struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign makes a certificate below parent, or one that signs itself.
func sign(t *testing.T, parent *signed, name string, ca bool) *signed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	by := parent
	if by == nil {
		by = &signed{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signed{cert, key}
}

func record(usage, selector, matching uint8, c *x509.Certificate) dns.TLSA {
	data := c.Raw
	if selector == selectorKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case matchingSHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case matchingSHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return dns.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: data}
}

// Every selector and matching type names the certificate itself or its issuer,
// and nobody else.
func TestVerify(t *testing.T) {
	t.Parallel()
	root := sign(t, nil, "root", true)
	middle := sign(t, root, "middle", true)
	leaf := sign(t, middle, "mx.y.test", false)
	other := sign(t, nil, "mx.y.test", false)
	now := time.Now()
	sent := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf.cert, middle.cert}}
	for selector := range uint8(2) {
		for matching := range uint8(3) {
			for name, c := range map[string]struct {
				record dns.TLSA
				names  []string
				now    time.Time
				want   bool
			}{
				"the certificate":              {record(usageEE, selector, matching, leaf.cert), nil, now, true},
				"the certificate, long over":   {record(usageEE, selector, matching, leaf.cert), nil, now.Add(time.Hour * 9999), true},
				"another":                      {record(usageEE, selector, matching, other.cert), []string{"mx.y.test"}, now, false},
				"its issuer as itself":         {record(usageEE, selector, matching, middle.cert), []string{"mx.y.test"}, now, false},
				"its issuer":                   {record(usageTA, selector, matching, middle.cert), []string{"y.test", "mx.y.test"}, now, true},
				"its issuer, another name":     {record(usageTA, selector, matching, middle.cert), []string{"mx.z.test"}, now, false},
				"its issuer, over":             {record(usageTA, selector, matching, middle.cert), []string{"mx.y.test"}, now.Add(2 * time.Hour), false},
				"its issuer, no name":          {record(usageTA, selector, matching, middle.cert), nil, now, false},
				"the root, which was not sent": {record(usageTA, selector, matching, root.cert), []string{"mx.y.test"}, now, selector == selectorCertificate && matching == matchingFull},
				"another's issuer":             {record(usageTA, selector, matching, other.cert), []string{"mx.y.test"}, now, false},
			} {
				usable := Usable([]dns.TLSA{c.record})
				if len(usable) != 1 {
					t.Fatalf("%s %d %d: not usable", name, selector, matching)
				}
				if err := Verify(usable, sent, c.names, c.now); (err == nil) != c.want {
					t.Errorf("%s, selector %d, matching %d: got %v", name, selector, matching, err)
				}
			}
		}
	}
	if err := Verify([]dns.TLSA{record(usageEE, 0, 0, leaf.cert)}, tls.ConnectionState{}, nil, now); err == nil {
		t.Error("a peer without a certificate is verified")
	}
	both := []dns.TLSA{record(usageEE, 0, 1, other.cert), record(usageEE, 1, 2, leaf.cert)}
	if err := Verify(both, sent, nil, now); err != nil {
		t.Errorf("the second of two records: %v", err)
	}
}

func TestUsable(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]dns.TLSA{
		"PKIX-TA":              {Usage: 0, Matching: 1, Data: make([]byte, 32)},
		"PKIX-EE":              {Usage: 1, Matching: 1, Data: make([]byte, 32)},
		"unknown usage":        {Usage: 4, Matching: 1, Data: make([]byte, 32)},
		"unknown selector":     {Usage: 3, Selector: 2, Matching: 1, Data: make([]byte, 32)},
		"unknown matching":     {Usage: 3, Matching: 3, Data: make([]byte, 32)},
		"short digest":         {Usage: 3, Matching: 1, Data: make([]byte, 31)},
		"long digest":          {Usage: 3, Matching: 2, Data: make([]byte, 65)},
		"no certificate":       {Usage: 3, Data: []byte("x")},
		"no key":               {Usage: 3, Selector: 1, Data: []byte("x")},
		"nothing":              {Usage: 3},
		"nothing, with digest": {Usage: 2, Matching: 2},
	} {
		if len(Usable([]dns.TLSA{r})) != 0 {
			t.Errorf("%s is called usable", name)
		}
	}
}

func FuzzUsable(f *testing.F) {
	f.Add(uint8(3), uint8(1), uint8(1), make([]byte, 32))
	f.Add(uint8(2), uint8(0), uint8(0), []byte{0x30, 0x82})
	f.Fuzz(func(t *testing.T, usage, selector, matching uint8, data []byte) {
		usable := Usable([]dns.TLSA{{Usage: usage, Selector: selector, Matching: matching, Data: data}})
		if err := Verify(usable, tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}, []string{"mx.y.test"}, time.Now()); err == nil {
			t.Fatal("an empty certificate is verified")
		}
	})
}
