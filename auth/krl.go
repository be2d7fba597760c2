package auth

import (
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	maxKRLBytes = 1 << 20
	krlMagic    = "SSHKRL\n\x00"
	krlFormat   = 1
)

// Sections of a key revocation list (PROTOCOL.krl of OpenSSH).
const (
	krlCertificates = 1
	krlKeys         = 2
	krlSHA1         = 3
	krlSignature    = 4
	krlSHA256       = 5
	krlExtension    = 255

	krlSerialList   = 0x20
	krlSerialRange  = 0x21
	krlSerialBitmap = 0x22
	krlKeyID        = 0x23
	krlCertExt      = 0x39
)

// krl is a key revocation list.
type krl struct {
	info   KRL
	keys   map[string]bool // by their encoding (RFC 4253, section 6.6)
	sha1   map[string]bool // by a hash of it
	sha256 map[string]bool
	certs  []revokedCerts
}

// KRL describes a key revocation list.
type KRL struct {
	Version   uint64    `json:"version"`
	Generated time.Time `json:"generated"`
	Comment   string    `json:"comment,omitempty"`
	Bytes     int       `json:"bytes"`
}

// revokedCerts are the certificates of one authority; of any, if it is empty.
type revokedCerts struct {
	authority string
	serials   []serialRange // sorted, apart from each other
	bitmaps   []serialBitmap
	ids       map[string]bool
}

type serialRange struct{ low, high uint64 }

type serialBitmap struct {
	offset uint64
	bits   []byte // the last bit of the last byte is that of offset
}

var errKRL = errors.New("it ends in the middle of something")

// krlReader takes values off the front of a list.
type krlReader struct {
	rest []byte
	err  error
}

func (r *krlReader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.err = cmp.Or(r.err, errKRL)
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *krlReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *krlReader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *krlReader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *krlReader) string() []byte { return r.take(uint64(r.uint32())) }

// section takes one section: its type, and a reader of what is in it.
func (r *krlReader) section() (kind byte, in krlReader) {
	kind = r.byte()
	return kind, krlReader{rest: r.string()}
}

// more reports whether something follows, and nothing was wrong so far.
func (r *krlReader) more() bool { return r.err == nil && len(r.rest) > 0 }

// parseKRL reads a list whole: what cannot be understood might revoke something,
// and is an error.
func parseKRL(data []byte) (*krl, error) {
	if len(data) > maxKRLBytes {
		return nil, invalid("revocation list", "it is larger than %d bytes", maxKRLBytes)
	}
	r := krlReader{rest: data}
	if string(r.take(8)) != krlMagic || r.uint32() != krlFormat {
		return nil, invalid("revocation list", "it is none of OpenSSH in format %d; make one with ssh-keygen -k", krlFormat)
	}
	k := &krl{keys: map[string]bool{}, sha1: map[string]bool{}, sha256: map[string]bool{}}
	k.info.Version = r.uint64()
	k.info.Generated = time.Unix(int64(r.uint64()&(1<<40-1)), 0).UTC()
	_ = r.uint64() // flags
	_ = r.string() // reserved
	k.info.Comment = cleanComment(string(r.string()))
	k.info.Bytes = len(data)
	for r.more() {
		kind, in := r.section()
		if r.err != nil {
			break
		}
		if err := k.section(kind, in); err != nil {
			return nil, invalid("revocation list", "%v", err)
		}
	}
	if r.err != nil {
		return nil, invalid("revocation list", "%v", r.err)
	}
	return k, nil
}

func (k *krl) section(kind byte, r krlReader) error {
	into := func(set map[string]bool, size int) {
		for r.more() {
			one := r.string()
			if r.err == nil && size > 0 && len(one) != size {
				r.err = fmt.Errorf("a fingerprint has %d bytes", len(one))
			}
			set[string(one)] = true
		}
	}
	switch kind {
	case krlCertificates:
		return k.certificates(r)
	case krlKeys:
		into(k.keys, 0)
	case krlSHA1:
		into(k.sha1, sha1.Size)
	case krlSHA256:
		into(k.sha256, sha256.Size)
	case krlExtension:
		return krlSkip(r)
	case krlSignature:
		return errors.New("it is signed, and nobody checks that: give one without a signature")
	default:
		return fmt.Errorf("it has a section of kind %d, which is not known", kind)
	}
	return r.err
}

// krlSkip passes over an extension that may be passed over.
func krlSkip(r krlReader) error {
	name := r.string()
	if critical := r.byte() != 0; critical && r.err == nil {
		return fmt.Errorf("it has the extension %q, which is not known and must be", clip(cleanComment(string(name))))
	}
	return r.err
}

func (k *krl) certificates(r krlReader) error {
	c := revokedCerts{authority: string(r.string()), ids: map[string]bool{}}
	_ = r.string() // reserved
	for r.more() {
		kind, in := r.section()
		if r.err != nil {
			break
		}
		switch kind {
		case krlSerialList:
			for in.more() {
				n := in.uint64()
				c.serials = append(c.serials, serialRange{n, n})
			}
		case krlSerialRange:
			s := serialRange{in.uint64(), in.uint64()}
			if in.err == nil && s.low > s.high {
				return errors.New("a range of serial numbers ends before it begins")
			}
			c.serials = append(c.serials, s)
		case krlSerialBitmap:
			b := serialBitmap{in.uint64(), in.string()}
			if len(b.bits) > 0 && b.bits[0]&0x80 != 0 {
				return errors.New("a bitmap of serial numbers is negative")
			}
			c.bitmaps = append(c.bitmaps, b)
		case krlKeyID:
			for in.more() {
				c.ids[string(in.string())] = true
			}
		case krlCertExt:
			if err := krlSkip(in); err != nil {
				return err
			}
		default:
			return fmt.Errorf("it has certificates of kind %#x, which is not known", kind)
		}
		if in.err != nil {
			return in.err
		}
	}
	c.serials = mergeRanges(c.serials)
	k.certs = append(k.certs, c)
	return r.err
}

// mergeRanges sorts ranges and joins those that touch.
func mergeRanges(list []serialRange) []serialRange {
	slices.SortFunc(list, func(a, b serialRange) int { return cmp.Compare(a.low, b.low) })
	var out []serialRange
	for _, s := range list {
		if n := len(out); n > 0 && s.low <= out[n-1].high {
			out[n-1].high = max(out[n-1].high, s.high)
			continue
		}
		out = append(out, s)
	}
	return out
}

// revokesKey reports whether a key by itself is revoked.
func (k *krl) revokesKey(blob string) bool {
	one, two := sha1.Sum([]byte(blob)), sha256.Sum256([]byte(blob))
	return k.keys[blob] || k.sha1[string(one[:])] || k.sha256[string(two[:])]
}

// revokes says why a certificate is revoked, "" if it is not. The certificate of
// a key or an authority that is revoked is so too.
func (k *krl) revokes(cert *ssh.Certificate) string {
	signer := string(cert.SignatureKey.Marshal())
	switch {
	case k.revokesKey(string(cert.Key.Marshal())):
		return "its key"
	case k.revokesKey(signer):
		return "its authority"
	}
	for _, c := range k.certs {
		if c.authority != "" && c.authority != signer {
			continue
		}
		// An authority that gives no numbers writes 0, which therefore means nothing.
		if cert.Serial != 0 && c.revokesSerial(cert.Serial) {
			return fmt.Sprintf("its serial number %d", cert.Serial)
		}
		if c.ids[cert.KeyId] {
			return "its id"
		}
	}
	return ""
}

func (c *revokedCerts) revokesSerial(n uint64) bool {
	i, found := slices.BinarySearchFunc(c.serials, n, func(s serialRange, n uint64) int { return cmp.Compare(s.low, n) })
	if found || i > 0 && n <= c.serials[i-1].high {
		return true
	}
	return slices.ContainsFunc(c.bitmaps, func(b serialBitmap) bool {
		bit := n - b.offset
		if n < b.offset || bit/8 >= uint64(len(b.bits)) {
			return false
		}
		return b.bits[uint64(len(b.bits))-1-bit/8]&(1<<(bit%8)) != 0
	})
}
