package policies

import (
	"path"
	"strconv"
	"strings"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The attributes of a require about what a session is held to.
const (
	attrReadOnly  = "read_only"
	attrWithin    = "within"
	attrBandwidth = "bandwidth"
	attrLifetime  = "lifetime"
)

const (
	// maxLifetime and minLifetime are the bounds of lifetime: a session of seconds would only
	// be begun again and again.
	minLifetime = time.Minute
	maxLifetime = 365 * 24 * time.Hour
)

// held reads what a require holds sessions to.
func (d *decoder) held(s *statement, a *hclsyntax.Attribute) {
	h := &s.data.Held
	if a.Name == attrReadOnly {
		if h.ReadOnly = d.flag(a); !h.ReadOnly {
			d.fault(a.Expr.Range(), "Nothing asked for", "%s = false holds nobody to anything; leave it out.", attrReadOnly)
		}
		return
	}
	t, ok := d.one(a)
	if !ok {
		return
	}
	switch a.Name {
	case attrWithin:
		if h.Within = t.value; !strings.HasPrefix(t.value, "/") || path.Clean(t.value) != t.value || t.value == "/" || strings.ContainsAny(t.value, "\x00\r\n") {
			d.fault(t.at, "Not a folder", "%q takes a folder as the account sees it, in its shortest form, such as \"/in\".", attrWithin)
		}
	case attrBandwidth:
		if h.Bandwidth, ok = bytesOf(t.value); !ok {
			d.fault(t.at, "Not a number of bytes", "%q takes bytes a second, such as \"500KiB\" or \"5MiB\".", attrBandwidth)
		}
	default:
		life, err := time.ParseDuration(t.value)
		if h.Lifetime = life; err != nil || life < minLifetime || life > maxLifetime {
			d.fault(t.at, "Not a lifetime", "%q takes a time from 1m to 8760h, such as \"8h\".", attrLifetime)
		}
	}
}

// bytesOf reads a size such as "500KiB".
func bytesOf(text string) (int64, bool) {
	for _, unit := range []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"", 1}} {
		if digits, ok := strings.CutSuffix(text, unit.suffix); ok {
			n, err := strconv.ParseInt(digits, 10, 64)
			return n * unit.bytes, err == nil && n > 0 && n <= 1<<40/unit.bytes
		}
	}
	return 0, false
}

// heldWords says what a session is held to.
func heldWords(h session.Held) []string {
	var out []string
	if h.ReadOnly {
		out = append(out, "holds to reading")
	}
	if h.Within != "" {
		out = append(out, "holds within "+h.Within)
	}
	if h.Bandwidth != 0 {
		out = append(out, "holds to "+strconv.FormatInt(h.Bandwidth, 10)+" bytes a second")
	}
	if h.Lifetime != 0 {
		out = append(out, "holds for "+h.Lifetime.String())
	}
	return out
}

// movesFiles reports whether the condition can match a session that moves files.
func (c *condition) movesFiles() bool {
	if c == nil {
		return true
	}
	for _, p := range []session.Protocol{session.FTP, session.SFTP} {
		for channel := range channels() {
			if kind := session.ChannelKind(channel); exists(p, kind, session.MethodPassword) && c.admits(way{protocolNumber(p), channel, methodNumber(session.MethodPassword)}) {
				return true
			}
		}
	}
	return false
}
