package policies

import (
	"fmt"
	"net/mail"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const kindDevice = "device"

// Bounds of devices.
const (
	// maxDevices is how many a policy may have.
	maxDevices = 256
	// maxDeviceNetworks is how many networks one may be in.
	maxDeviceNetworks = 64
	// maxDeviceName is the length in bytes of the longest name: it stands in replies,
	// in a header field and in the record.
	maxDeviceName = 64
	// maxDeviceLife is how far ahead a device may end when the policy is loaded. What
	// was good once stays good, since its end comes nearer; but nobody keeps a device
	// for longer than this without touching its statement.
	maxDeviceLife = 180 * 24 * time.Hour
	// warnAhead is how long before its end the owner of a device is told, if the
	// statement says nothing else.
	warnAhead = 30 * 24 * time.Hour
)

// The words of allow in a device.
const (
	waiveAuth    = "no-auth"        // mail is taken without a login
	waiveClear   = "plaintext-auth" // the password of user may be sent in clear
	waiveTLS     = "tls-1.0"        // TLS before 1.2 is offered
	waivePrivate = "public-address" // it, or we, may be at a public address
)

func waivers() []string { return []string{waiveAuth, waiveClear, waiveTLS, waivePrivate} }

// A device is a peer that is let in otherwise than anybody else, for a while.
type device struct {
	name string
	line int
	at   hcl.Range

	place  condition  // where it is
	login  *statement // the same with its user, for the logins of it; nil without
	waives []string   // of waivers, as written

	fixed     session.Stage // that it is kept in; empty for what the dates say
	warn      time.Time     // when StageWarn begins
	until     time.Time     // the first moment at which nothing is waived any more
	untilText string

	owner, because string
	held           session.Device

	rule     string   // for Verdict.Rule
	reason   string   // for Verdict.Reason while it is let in
	ended    string   // the same afterwards
	reply    string   // for the peer then
	observed []string // for Verdict.WouldRefuse
}

func (d *device) waiver(word string) bool { return slices.Contains(d.waives, word) }

// stage is how near its end the device is. Of a time that is not known, nothing is
// waived.
func (d *device) stage(now time.Time) session.Stage {
	switch {
	case now.IsZero(), !now.Before(d.until), d.fixed == session.StageEnforce:
		return session.StageEnforce
	case d.fixed == session.StageWarn, d.fixed == "" && !now.Before(d.warn):
		return session.StageWarn
	default:
		return session.StageObserve
	}
}

// device reads one device.
func (d *decoder) device(b *hclsyntax.Block) {
	d.noBlocks("A device", b.Body)
	dev := &device{line: b.TypeRange.Start.Line, at: b.DefRange()}
	if d.labels(b, "name") {
		dev.name = b.Labels[0]
		if !atomic(dev.name) || len(dev.name) > maxDeviceName {
			d.fault(b.LabelRanges[0], "Bad name", "The name of a device is up to %d of a-z A-Z 0-9 . _ -: it stands in replies and in mail.", maxDeviceName)
		}
		dev.held.Name = dev.name
	}
	dev.place.sets[dimProtocol] = 1 << protocolNumber(session.Relay)
	var user string
	known := []string{
		"from", "listener", "allow", "user", "sender", "recipients", "messages", "size", "line_endings",
		"stage", "warn", "expires", "owner", "because",
	}
	d.attributes("A device", b.Body, known, func(a *hclsyntax.Attribute) {
		switch a.Name {
		case "from", "listener":
			d.condition(&dev.place, a)
		case "user":
			if t, ok := d.one(a); ok {
				user = t.value
			}
		case "allow":
			dev.waives = d.waivers(a)
		case "stage", "warn", "expires", "owner", "because":
			d.deviceLife(dev, a)
		default:
			d.deviceBounds(&dev.held, a)
		}
	})
	d.required(b, "A device", map[string]string{
		"from":       "its address, or the name of a network",
		"allow":      "what it is let do, of " + strings.Join(waivers(), ", "),
		"recipients": "the domains that it may send to, or \"*\" for all",
		"expires":    "the last day on which it is let in, \"2027-06-30\"",
		"owner":      "the mail address of who answers for it, who is told before the end",
		"because":    "why it is needed",
	})
	dev.place.inside = !dev.waiver(waivePrivate)
	d.deviceSense(b, dev, user)
	if user != "" {
		dev.login = &statement{kind: kindDevice, name: dev.name, line: dev.line, at: dev.at, cond: dev.place}
		dev.login.cond.user = []string{user}
	}
	if len(d.devices) == maxDevices {
		d.fault(b.DefRange(), "Too many devices", "A policy may have %d.", maxDevices)
		return
	}
	d.room(b, 2)
	d.devices = append(d.devices, dev)
}

// deviceSense refuses what does not go together.
func (d *decoder) deviceSense(b *hclsyntax.Block, dev *device, user string) {
	at := b.DefRange()
	if a := b.Body.Attributes["listener"]; a != nil && d.opts.Listeners != nil {
		for _, name := range dev.place.listener {
			if slices.Contains(d.opts.Listeners, name) && !slices.Contains(d.opts.Relays, name) {
				d.fault(a.Expr.Range(), "Not a relay listener", "Listener %q does not have protocol = \"relay\": devices are served on those only.", name)
			}
		}
	}
	if a := b.Body.Attributes["from"]; a != nil {
		if len(dev.place.from) > maxDeviceNetworks {
			d.fault(a.Expr.Range(), "Too many networks", "A device may be in %d networks. Write one for each device.", maxDeviceNetworks)
		}
		for _, p := range dev.place.from {
			if dev.place.inside && !privateNetwork(p) {
				d.fault(a.Expr.Range(), "Not a private network", "%s is not within the networks of RFC 1918, RFC 4193, link-local or loopback addresses: "+
					"anybody may be behind it. If it is meant, add \"%s\" to allow.", p, waivePrivate)
				break
			}
		}
	}
	if dev.waives == nil {
		return
	}
	needsUser := dev.waiver(waiveClear) || !dev.waiver(waiveAuth)
	switch {
	case needsUser && user == "":
		d.fault(at, "Device without a user", "A device that logs in needs user: whose password it has. One that cannot log in needs \"%s\" in allow.", waiveAuth)
	case !needsUser && user != "":
		d.fault(at, "User that cannot log in", "user is for a device that logs in: add \"%s\" to allow, or leave it out.", waiveClear)
	case !dev.waiver(waiveAuth) && !dev.waiver(waiveClear) && !dev.waiver(waiveTLS):
		d.fault(at, "Device that needs nothing", "\"%s\" lets nobody in by itself: add what else is waived, of %s.", waivePrivate, strings.Join(waivers(), ", "))
	}
	if dev.waiver(waiveAuth) && b.Body.Attributes["sender"] == nil {
		d.fault(at, "Missing attribute", "A device without a login needs sender: the address that its mail is from, whatever it says itself.")
	}
}

func (d *decoder) waivers(a *hclsyntax.Attribute) []string {
	out := []string{}
	for _, t := range d.texts(a) {
		if !slices.Contains(waivers(), t.value) {
			d.fault(t.at, "Unknown waiver", "There is nothing like %q that a device can be let do.%s", t.value, suggest(t.value, waivers()))
			continue
		}
		out = append(out, t.value)
	}
	return out
}

// deviceLife reads what says how long the device is let in, and who answers for it.
func (d *decoder) deviceLife(dev *device, a *hclsyntax.Attribute) {
	t, ok := d.one(a)
	if !ok {
		return
	}
	switch a.Name {
	case "stage":
		words := []string{string(session.StageObserve), string(session.StageWarn), string(session.StageEnforce)}
		if !slices.Contains(words, t.value) {
			d.fault(t.at, "Unknown stage", "There is no stage %q.%s", t.value, suggest(t.value, words))
		}
		dev.fixed = session.Stage(t.value)
	case "warn":
		if day, err := time.Parse(time.DateOnly, t.value); err == nil {
			dev.warn = day
		} else {
			dev.warn, _, _ = d.date(a)
		}
	case "expires":
		if dev.until, dev.untilText, ok = d.date(a); ok && dev.until.After(d.opts.Now.Add(maxDeviceLife)) {
			d.fault(t.at, "Too far ahead", "A device may end at most 180 days after the policy is loaded, %s now: an end that nobody lives to see is none. "+
				"When it comes near and the device is still needed, write a later one.", d.opts.Now.UTC().Add(maxDeviceLife).Format(time.DateOnly))
		}
	case "owner":
		dev.owner = d.mailbox(t)
	case "because":
		dev.because = t.value
	}
}

// deviceBounds reads what the device is held to.
func (d *decoder) deviceBounds(held *session.Device, a *hclsyntax.Attribute) {
	switch a.Name {
	case "recipients":
		d.recipients(held, a)
		return
	case "messages":
		d.messages(held, a)
		return
	}
	t, ok := d.one(a)
	if !ok {
		return
	}
	switch a.Name {
	case "sender":
		held.Sender = d.mailbox(t)
	case "size":
		if held.Mail.Bytes = parseSize(t.value); held.Mail.Bytes == 0 {
			d.fault(t.at, "Not a size", "%q is not a size such as \"512KiB\" or \"25MiB\".", t.value)
		}
	case "line_endings":
		switch t.value {
		case "repair":
			held.Lines = session.LinesRepair
		case "refuse":
			held.Lines = session.LinesRefuse
		default:
			d.fault(t.at, "Unknown line_endings", "There is no line_endings %q.%s", t.value, suggest(t.value, []string{"repair", "refuse"}))
		}
	}
}

func (d *decoder) recipients(held *session.Device, a *hclsyntax.Attribute) {
	list := d.texts(a)
	for _, t := range list {
		switch domain := strings.ToLower(t.value); {
		case t.value == "*" && len(list) > 1:
			d.fault(t.at, "Everybody and somebody", "\"*\" is all domains; leave the others out.")
		case t.value == "*":
			held.Anywhere = true
		case !domainName(domain):
			d.fault(t.at, "Not a domain", "%q is not a domain such as \"example.com\".", t.value)
		default:
			held.Mail.Domains = append(held.Mail.Domains, domain)
		}
	}
}

// messages reads "20/hour", "200/day" or both.
func (d *decoder) messages(held *session.Device, a *hclsyntax.Attribute) {
	for _, t := range d.texts(a) {
		number, per, _ := strings.Cut(t.value, "/")
		n, err := strconv.ParseInt(number, 10, 32)
		to := map[string]*int64{"hour": &held.Mail.MessagesPerHour, "day": &held.Mail.MessagesPerDay}[per]
		switch {
		case err != nil || n <= 0 || to == nil:
			d.fault(t.at, "Not a limit", "%q is not a number of messages such as \"20/hour\" or \"200/day\".", t.value)
		case *to != 0:
			d.fault(t.at, "Limit written twice", "There is a limit for each %s already.", per)
		default:
			*to = n
		}
	}
}

// mailbox reads a mail address without anything around it.
func (d *decoder) mailbox(t text) string {
	parsed, err := mail.ParseAddress(t.value)
	local, domain, _ := strings.Cut(t.value, "@")
	if err != nil || parsed.Address != t.value || !atomic(strings.ReplaceAll(local, "+", "")) || !domainName(strings.ToLower(domain)) {
		d.fault(t.at, "Not a mail address", "%q is not a plain mail address such as \"facilities@example.com\".", t.value)
		return ""
	}
	return t.value
}

// atomic reports whether s is made of letters, digits and . _ - only.
func atomic(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// domainName reports whether s is a domain in lower case, in its ASCII form.
func domainName(s string) bool {
	if len(s) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(label, "-") != label {
			return false
		}
	}
	return true
}

// parseSize reads a number of bytes; zero if it is none.
func parseSize(s string) int64 {
	for _, unit := range []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		if number, found := strings.CutSuffix(s, unit.suffix); found {
			if n, err := strconv.ParseInt(number, 10, 32); err == nil && n > 0 {
				return n * unit.bytes
			}
			return 0
		}
	}
	return 0
}

// resolveDevices fills in what depends on other attributes, and refuses devices
// that could not be told apart.
func (d *decoder) resolveDevices() {
	for i, dev := range d.devices {
		if dev.warn.IsZero() {
			dev.warn = dev.until.Add(-warnAhead)
		} else if dev.fixed != "" {
			d.fault(dev.at, "Stage and dates", "stage keeps device %q where it is until it ends; leave it out, or leave warn out.", dev.name)
		} else if !dev.until.IsZero() && !dev.warn.Before(dev.until) {
			d.fault(dev.at, "Warning after the end", "Device %q is to warn from a day on that comes after its end.", dev.name)
		}
		for _, other := range d.devices[:i] {
			if dev.confusable(other) {
				d.fault(dev.at, "Devices that cannot be told apart",
					"Device %q, in line %d, may be at the same address and listener, so that which of the two it is would be chance. "+
						"Give each its own address, or make them one.", other.name, other.line)
			}
		}
	}
}

// confusable reports whether one peer could be both devices.
func (d *device) confusable(other *device) bool {
	if disjoint(d.place.listener, other.place.listener) || len(d.place.from) == 0 || len(other.place.from) == 0 || apart(d.place.from, other.place.from) {
		return false
	}
	return d.waiver(waiveAuth) && other.waiver(waiveAuth) ||
		d.login != nil && other.login != nil && d.login.cond.user[0] == other.login.cond.user[0]
}

// insidePrefixes are the addresses that a network outside cannot reach: loopback,
// link-local (RFC 3927, RFC 4291), RFC 1918 and RFC 4193.
func insidePrefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"127.0.0.0/8", "169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fe80::/10", "fc00::/7",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func privateNetwork(p netip.Prefix) bool {
	return slices.ContainsFunc(insidePrefixes(), func(q netip.Prefix) bool {
		return q.Bits() <= p.Bits() && q.Contains(p.Addr())
	})
}

// insideAddress is privateNetwork for one address, without allocating.
func insideAddress(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
}

// setTexts fills in what deciding must not build. file is the base name of the
// policy file.
func (d *device) setTexts(file, hostname string) {
	d.rule = fmt.Sprintf("device %q (%s:%d)", d.name, file, d.line)
	d.reason = fmt.Sprintf("let in until %s by %s", d.untilText, d.owner)
	d.ended = fmt.Sprintf("ended on %s", d.untilText)
	when := "ended on " + d.untilText
	if d.fixed == session.StageEnforce {
		d.ended, when = "stage enforce", "is over"
	}
	d.reply = fmt.Sprintf("The exception for %s %s: use a login over TLS 1.2 or later at %s, or ask %s", d.name, when, hostname, d.owner)
	d.held.Notice = fmt.Sprintf("%s may send like this until %s only; ask %s", d.name, d.untilText, d.owner)
	d.observed = []string{d.rule}
	if s := d.login; s != nil {
		s.rule, s.reason, s.untilText, s.owner, s.because = d.rule, d.reason, d.untilText, d.owner, d.because
		if d.fixed != session.StageEnforce {
			s.until = d.until // else the zero time: it never holds
		}
	}
}
