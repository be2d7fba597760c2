package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// hostRSABits is the size of the RSA host key.
	hostRSABits = 3072
	// defaultOverlap is the default of HostKeyConfig.Overlap.
	defaultOverlap = 30 * 24 * time.Hour
	// nextSuffix ends the name of a key that has not taken over yet.
	nextSuffix = ".next"
	// rotationFile tells since when the next keys are there.
	rotationFile = "ssh_host_keys.json"
)

// hostKey is one kind of host key.
type hostKey struct {
	file string
	kind string // the public key's algorithm
	make func() (crypto.Signer, error)
}

// hostKeyTable lists the host keys in the order in which they are offered.
func hostKeyTable() []hostKey {
	return []hostKey{
		{"ssh_host_ed25519_key", ssh.KeyAlgoED25519, func() (crypto.Signer, error) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		}},
		{"ssh_host_ecdsa_key", ssh.KeyAlgoECDSA256, func() (crypto.Signer, error) {
			return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}},
		{"ssh_host_rsa_key", ssh.KeyAlgoRSA, func() (crypto.Signer, error) {
			return rsa.GenerateKey(rand.Reader, hostRSABits)
		}},
	}
}

// HostKeyConfig says where host keys are, and for how long old ones serve.
type HostKeyConfig struct {
	Dir string
	// Overlap is how long next keys are told to clients before they take over. Zero
	// means 720h (30 days).
	Overlap time.Duration
	// Log may be nil for slog.Default.
	Log *slog.Logger
}

// HostKeys are the SSH host keys of an installation: ed25519, ECDSA P-256 and RSA.
//
// Renew makes the next ones. For the time of the overlap the old keys still prove
// the server, and clients that ask can learn the next ones over connections that
// they can trust; then those take over. The files are as ssh-keygen writes them, so
// that the keys of an OpenSSH server can be taken over.
//
// The methods may be called from any goroutine.
type HostKeys struct {
	cfg HostKeyConfig

	mu       sync.Mutex
	set      HostKeySet
	onChange func(HostKeySet)
	changed  chan struct{} // holds one when Run must look again
}

// HostKeySet is the keys at a moment.
type HostKeySet struct {
	Serving []ssh.Signer
	// Next take over at Takeover. Both are zero if there are none.
	Next     []ssh.Signer
	Takeover time.Time
}

// rotation is what rotationFile holds.
type rotation struct {
	Since time.Time `json:"since"`
}

// ErrRotating is the refusal to begin a rotation while one is under way.
var ErrRotating = errors.New("the next host keys are there already")

// OpenHostKeys reads the host keys, makes those that are missing, and lets next
// ones take over whose time has come. A file that others may read is refused. What
// an RSA key signs with is up to who uses it.
func OpenHostKeys(cfg HostKeyConfig) (*HostKeys, error) {
	if cfg.Overlap == 0 {
		cfg.Overlap = defaultOverlap
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := makeKeyDir(cfg.Dir); err != nil {
		return nil, err
	}
	h := &HostKeys{cfg: cfg, changed: make(chan struct{}, 1)}
	if err := h.load(); err != nil {
		return nil, err
	}
	if err := h.takeoverIfDue(); err != nil {
		return nil, err
	}
	return h, nil
}

// Set returns the keys as they are now.
func (h *HostKeys) Set() HostKeySet {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.set
}

// OnChange has f called with the keys, now and whenever they change. f must not
// call methods of h.
func (h *HostKeys) OnChange(f func(HostKeySet)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onChange = f
	f(h.set)
}

// Renew makes next keys, which take over after the overlap, or now. With now, next
// keys that are there already take over; else that is ErrRotating.
func (h *HostKeys) Renew(now bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.set.Next) > 0 && !now {
		return fmt.Errorf("%w, and take over at %s", ErrRotating, h.set.Takeover.UTC().Format(time.DateTime+" UTC"))
	}
	if len(h.set.Next) == 0 {
		for _, k := range hostKeyTable() {
			if err := makeHostKey(h.path(k)+nextSuffix, k, true); err != nil {
				return err
			}
		}
		since, err := json.Marshal(rotation{time.Now().UTC()})
		if err != nil {
			return err
		}
		// Written last: without it, next keys are not looked at.
		if err := writeKeyFile(filepath.Join(h.cfg.Dir, rotationFile), since, true); err != nil {
			return err
		}
	}
	if now {
		return h.takeover()
	}
	return h.load()
}

// takeoverInterval is how often Run looks at the clock, which may be set, and how
// long it waits after a failure.
const takeoverInterval = time.Hour

// Run lets next keys take over when it is time, until done is closed.
func (h *HostKeys) Run(done <-chan struct{}) {
	for failed := false; ; {
		wait := takeoverInterval
		if t := h.Set().Takeover; !t.IsZero() && !failed {
			wait = min(wait, max(time.Until(t), 0))
		}
		timer := time.NewTimer(wait)
		select {
		case <-done:
			timer.Stop()
			return
		case <-h.changed:
			timer.Stop()
		case <-timer.C:
			err := h.takeoverIfDue()
			if failed = err != nil; failed {
				h.cfg.Log.Error("host keys cannot take over", "err", err)
			}
		}
	}
}

func (h *HostKeys) takeoverIfDue() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.set.Takeover; t.IsZero() || time.Now().Before(t) {
		return nil
	}
	if err := h.takeover(); err != nil {
		return err
	}
	h.cfg.Log.Info("the next host keys have taken over", "keys", Fingerprints(h.set.Serving))
	return nil
}

// load reads the files. It is called with the lock held, or by OpenHostKeys before
// anybody else knows h.
func (h *HostKeys) load() error {
	var set HostKeySet
	for _, k := range hostKeyTable() {
		signer, err := openHostKey(h.path(k), k, true)
		if err != nil {
			return fmt.Errorf("host key: %w", err)
		}
		set.Serving = append(set.Serving, signer)
	}
	since, err := h.since()
	if err != nil {
		return fmt.Errorf("next host keys: %w", err)
	}
	if !since.IsZero() {
		set.Takeover = since.Add(h.cfg.Overlap)
		for _, k := range hostKeyTable() {
			signer, err := openHostKey(h.path(k)+nextSuffix, k, false)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it took over before a crash
			}
			if err != nil {
				return fmt.Errorf("next host key: %w", err)
			}
			set.Next = append(set.Next, signer)
		}
	}
	h.set = set
	if h.onChange != nil {
		h.onChange(set)
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
	return nil
}

// since is when the rotation that is under way began; zero if there is none.
func (h *HostKeys) since() (time.Time, error) {
	name := filepath.Join(h.cfg.Dir, rotationFile)
	content, err := readKeyFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	var r rotation
	if err := json.Unmarshal(content, &r); err != nil || r.Since.IsZero() {
		return time.Time{}, fmt.Errorf("%s does not tell since when there are next keys; remove it to do without them", name)
	}
	return r.Since, nil
}

// takeover puts the next keys in the place of the old ones. Cut short anywhere, it
// goes on at the next start.
func (h *HostKeys) takeover() error {
	for _, k := range hostKeyTable() {
		if err := os.Rename(h.path(k)+nextSuffix, h.path(k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put the next host key in place: %w", err)
		}
	}
	if err := syncDir(h.cfg.Dir); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(h.cfg.Dir, rotationFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(syncDir(h.cfg.Dir), h.load())
}

func (h *HostKeys) path(k hostKey) string { return filepath.Join(h.cfg.Dir, k.file) }

// Fingerprints describes host keys as ssh-keygen -l prints them: kind and
// SHA-256.
func Fingerprints(keys []ssh.Signer) []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.PublicKey().Type() + " " + ssh.FingerprintSHA256(k.PublicKey())
	}
	return list
}

// HostKeyInfo describes a host key for those who publish or compare it.
type HostKeyInfo struct {
	Type        string `json:"type"`
	Fingerprint string `json:"fingerprint"`
	PublicKey   string `json:"public_key"` // as in a known_hosts file, without names
	// SSHFP is the content of a record for DNS (RFC 4255).
	SSHFP string `json:"sshfp"`
	// From is when the key takes over; nil for one that serves.
	From *time.Time `json:"from,omitempty"`
}

// Describe describes all keys, those that serve first.
func (s HostKeySet) Describe() []HostKeyInfo {
	var out []HostKeyInfo
	for _, k := range slices.Concat(s.Serving, s.Next) {
		public := k.PublicKey()
		info := HostKeyInfo{
			Type: public.Type(), Fingerprint: ssh.FingerprintSHA256(public), SSHFP: sshfp(public),
			PublicKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))),
		}
		if len(out) >= len(s.Serving) {
			from := s.Takeover.UTC()
			info.From = &from
		}
		out = append(out, info)
	}
	return out
}

// sshfp is the content of the SSHFP record of a key: its algorithm by RFC 4255
// (RSA), RFC 6594 (ECDSA) or RFC 7479 (Ed25519), and its SHA-256, which is type 2.
func sshfp(key ssh.PublicKey) string {
	algorithm := map[string]int{ssh.KeyAlgoRSA: 1, ssh.KeyAlgoECDSA256: 3, ssh.KeyAlgoED25519: 4}[key.Type()]
	sum := sha256.Sum256(key.Marshal())
	return fmt.Sprintf("%d 2 %s", algorithm, hex.EncodeToString(sum[:]))
}

// openHostKey reads a key, and makes it first if it is missing and may be made.
func openHostKey(name string, k hostKey, mayMake bool) (ssh.Signer, error) {
	content, err := readKeyFile(name)
	if errors.Is(err, fs.ErrNotExist) && mayMake {
		if err := makeHostKey(name, k, false); err != nil {
			return nil, err
		}
		content, err = readKeyFile(name)
	}
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(content)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if got := signer.PublicKey().Type(); got != k.kind {
		return nil, fmt.Errorf("%s holds a key of kind %s, not %s", name, got, k.kind)
	}
	return signer, nil
}

func makeHostKey(name string, k hostKey, replace bool) error {
	key, err := k.make()
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	block, err := ssh.MarshalPrivateKey(key, "gateway")
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	return writeKeyFile(name, pem.EncodeToMemory(block), replace)
}
