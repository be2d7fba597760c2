package foreign

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

func pureFTPdFormat() Format {
	return Format{
		Name: "pureftpd", Files: "PUREFTPD.PASSWD", Short: "virtual users of Pure-FTPd (pure-pw)",
		Read: ofOneFile(readPureFTPd),
	}
}

// readPureFTPd reads a file in which a # begins a comment.
func readPureFTPd(name string, content []byte) (Found, error) {
	var found Found
	for l := range lines(name, content, &found) {
		if !strings.HasPrefix(l.Text, "#") {
			pureFTPdLine(l, &found)
		}
	}
	return found, nil
}

// pureFTPdFields is how many fields a line has; those at the end may be missing, up to the
// folder.
const (
	pureFTPdFields = 18
	pureFTPdLeast  = 6
)

// pureFTPdLine reads account:pwd:uid:gid:gecos:home:upload_bw:download_bw:ul_ratio:dl_ratio:
// max_conn:files_quota:size_quota:allow_local:deny_local:allow_client:deny_client:time
// (README.Virtual-Users of Pure-FTPd).
func pureFTPdLine(l line, found *Found) {
	f := strings.Split(l.Text, ":")
	if len(f) < pureFTPdLeast || len(f) > pureFTPdFields {
		found.refuse(l.At, f[0], "the line has %d fields, and a file of pure-pw %d to %d", len(f), pureFTPdLeast, pureFTPdFields)
		return
	}
	f = append(f, make([]string, pureFTPdFields-len(f))...)
	if bad := firstError(uidNotRoot(f[2], "number"), uidNotRoot(f[3], "group number")); bad != nil {
		found.refuse(l.At, f[0], "%v", bad)
		return
	}
	if noPassword(f[1]) {
		found.refuse(l.At, f[0], "it has no password: give it one")
		return
	}
	a := Account{Name: f[0], At: l.At, Hash: f[1]}
	var jailed bool
	if a.Home, _, jailed = strings.Cut(f[5], "/./"); !jailed {
		a.lose("its way out of its folder %s: here nobody leaves theirs", clip(f[5]))
	}
	if err := pureFTPdLimits(&a, f); err != nil {
		found.refuse(l.At, a.Name, "%v", err)
		return
	}
	if err := pureFTPdPlaces(&a, f); err != nil {
		found.refuse(l.At, a.Name, "%v", err)
		return
	}
	found.add(a)
	if len(a.Hours) > 0 {
		found.note(`hours are of the old server's clock: settings { time_zone = "..." } in policy.hcl says which that was`)
	}
}

// pureFTPdLimits reads the fields that are numbers.
func pureFTPdLimits(a *Account, f []string) error {
	var up, down, upRatio, downRatio, sessions int64
	for _, n := range []struct {
		what string
		text string
		to   *int64
	}{
		{"upload bandwidth", f[6], &up}, {"download bandwidth", f[7], &down}, {"upload ratio", f[8], &upRatio}, {"download ratio", f[9], &downRatio},
		{"number of connections", f[10], &sessions}, {"number of files", f[11], &a.Quota.Files}, {"size", f[12], &a.Quota.Bytes},
	} {
		if n.text == "" {
			continue
		}
		v, err := strconv.ParseInt(n.text, 10, 64)
		if err != nil || v < 0 {
			return fmt.Errorf("its %s %q is no number", n.what, clip(n.text))
		}
		*n.to = v
	}
	a.setSpeeds(up, down)
	if upRatio != 0 || downRatio != 0 {
		a.lose("ratio of uploads to downloads %d:%d: there are none here", upRatio, downRatio)
	}
	if sessions != 0 {
		a.lose("at most %d connections at once: here the limit is the same for all accounts (limits in gateway.hcl)", sessions)
	}
	return nil
}

// setSpeeds makes one bandwidth of two in bytes a second, of which 0 is none.
func (a *Account) setSpeeds(up, down int64) {
	if a.Bandwidth = max(up, down); up != 0 && down != 0 && up != down {
		a.Bandwidth = min(up, down)
		a.lose("different speeds up (%d bytes/s) and down (%d bytes/s): there is one for both, the lower", up, down)
	} else if (up == 0) != (down == 0) {
		a.lose("its speed was limited in one direction only, to %d bytes/s: here it is in both", a.Bandwidth)
	}
}

// pureFTPdPlaces reads from where and when the account may come.
func pureFTPdPlaces(a *Account, f []string) error {
	if f[13] != "" || f[14] != "" {
		a.lose("the addresses of the server at which it may come in (%s): a rule says that by listener", clip(f[13]+" "+f[14]))
	}
	var err error
	if a.From, err = networks(strings.Split(f[15], ",")); err != nil {
		return err
	}
	if a.NotFrom, err = networks(strings.Split(f[16], ",")); err != nil {
		return err
	}
	if f[17] == "" {
		return nil
	}
	from, to, ok := strings.Cut(f[17], "-")
	begin, err1 := clock(from)
	end, err2 := clock(to)
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("its hours %q are not HHMM-HHMM", clip(f[17]))
	}
	a.Hours = []string{begin + "-" + end}
	return nil
}

// clock reads HHMM, whose first digits may be missing if they are 0, as "HH:MM".
func clock(text string) (string, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n/100 > 23 || n%100 > 59 {
		return "", fmt.Errorf("%q is no time of day", clip(text))
	}
	return fmt.Sprintf("%02d:%02d", n/100, n%100), nil
}

// networks reads networks and addresses. A host name is an error: without it the account
// would be let in from elsewhere than it was.
func networks(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range list {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		p, err := network(text)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func network(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	base, bits, masked := strings.Cut(text, "/")
	if addr, err := netip.ParseAddr(bits); err == nil && masked && addr.Is4() { // 10.0.0.0/255.0.0.0
		if n, ok := maskBits(addr); ok {
			text = fmt.Sprintf("%s/%d", base, n)
		}
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q, from where it may or may not come, is no address and no network; names of hosts are not looked up: put the address in its place", clip(text))
	}
	return p.Masked(), nil
}

// maskBits is the length of a netmask.
func maskBits(mask netip.Addr) (int, bool) {
	b := mask.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	bits := 0
	for ; n&(1<<31) != 0; n <<= 1 {
		bits++
	}
	return bits, n == 0
}

// uidNotRoot refuses number 0, and what is no number.
func uidNotRoot(text, what string) error {
	n, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err != nil:
		return fmt.Errorf("its %s %q is none", what, clip(text))
	case n == 0:
		return fmt.Errorf("its %s is 0, that of root, which does not come in from outside", what)
	default:
		return nil
	}
}

func firstError(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}
