//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

const usage = `Measures the gateway beside OpenSSH (sshd), ProFTPD's mod_sftp, vsftpd, Pure-FTPd,
ProFTPD, pyftpdlib and Postfix, and prints tables.

A peer is left out, with a line that says why, where it cannot be had or the user
is not root. SSH and FTP servers that are not installed are downloaded from Debian,
once, and unpacked in $GATEWAY_TOOLS (default .tools). At the default size a whole run
takes tens of minutes. MB/s are 10^6 bytes a second, end to end; client and servers
share the machine, so compare the ratios, and the CPU time that a server needs,
rather than MB/s.

`

// options are what the flags say.
type options struct {
	size     int64 // bytes of one transfer in all
	messages int
	logins   int
	guessing int // seconds
	accounts int
	small    int
	entries  int
	idle     int
	uploads  int
	rounds   int
	peers    []string // by name, in small letters; or all
	cipher   string
	binary   string
	dir      string
	files    string
	only     []string
}

// wants tells whether a protocol's part of a subject is to be measured.
func (o options) wants(protocol, subject string) bool {
	return len(o.only) == 0 || slices.ContainsFunc(o.only, func(word string) bool {
		return word == protocol || word == subject || word == protocol+"-"+subject
	})
}

// The words of -peers that are no names.
const (
	allPeers = "all"
	noPeers  = "none"
)

// wantsPeer tells whether anything is to be measured beside the peer of that name,
// which speaks some of the protocols.
func (o options) wantsPeer(name string, protocols ...string) bool {
	if !slices.Contains(o.peers, allPeers) && !slices.Contains(o.peers, strings.ToLower(name)) {
		return false
	}
	for _, s := range subjects() {
		for _, p := range s.parts {
			if !s.alone && slices.Contains(protocols, p.protocol) && o.wants(p.protocol, s.name) {
				return true
			}
		}
	}
	return false
}

// subject is one table, and what each protocol adds to it.
type subject struct {
	name  string
	unit  unit
	alone bool // the gateway is measured without peers
	parts []part
}

type part struct {
	protocol string
	run      func(context.Context, *bench) error
}

func subjects() []subject {
	return []subject{
		{"transfers", transfers, false, append([]part{{"sftp", sftpTransfers}}, overFTP(ftpTransfers)...)},
		{"client", clientTransfers, false, []part{{"sftp", sftpClientTransfers}}},
		{"small", smallFiles, false, []part{{"sftp", sftpSmallFiles}, {"ftp", ftpSmallFiles}}},
		{"list", listings, false, []part{{"sftp", sftpListing}, {"ftp", ftpListing}}},
		{"logins", logins, false, append([]part{{"sftp", sftpLogins}}, overFTP(ftpLogins)...)},
		{"mail", messages, false, []part{{"smtp", smtpMail}}},
		{"idle", idling, false, append(append([]part{{"sftp", sftpIdle}}, overFTP(ftpIdle)...), part{"smtp", mailIdle})},
		{"uploads", uploading, false, overFTP(ftpUploads)},
		{"copies", copies, true, []part{{"ftp", ftpCopies}}},
		{"guessing", guessing, true, []part{{"ftp", ftpGuessing}}},
	}
}

// words are what -only takes: a protocol, a subject, or both with a hyphen.
func words() (names, whole []string) {
	for _, s := range subjects() {
		names = append(names, s.name)
		for _, p := range s.parts {
			if !slices.Contains(names, p.protocol) {
				names = append(names, p.protocol)
			}
			whole = append(whole, p.protocol+"-"+s.name)
		}
	}
	return names, whole
}

// parse reads the flags.
func parse(args []string, stderr io.Writer) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o options
	var only, peers string
	names, whole := words()
	mib := flags.Int64("size", 1024, "`MiB` moved by each transfer, shared by its sessions")
	flags.IntVar(&o.rounds, "rounds", 3, "times that each row is measured; the median is printed")
	flags.IntVar(&o.messages, "messages", 4000, "messages sent in a round")
	flags.IntVar(&o.logins, "logins", 300, "logins made in a round")
	flags.IntVar(&o.accounts, "accounts", 64, "accounts whose password is hashed in a round")
	flags.IntVar(&o.guessing, "guessing", 30, "`seconds` of logins in a round while costly hashes are guessed")
	flags.IntVar(&o.small, "small", 5000, "small files moved in a round")
	flags.IntVar(&o.entries, "entries", 20000, "entries of the folder that is listed")
	flags.IntVar(&o.idle, "idle", 1000, fmt.Sprintf("idle sessions held; by a peer %d at most", maxPeerIdle))
	flags.IntVar(&o.uploads, "uploads", 200, "uploads held in flight")
	flags.StringVar(&peers, "peers", allPeers, "`names` of the peers to measure too, by comma; all, or none")
	flags.StringVar(&only, "only", "", "`parts` to measure, by comma (default all): "+strings.Join(whole, ", ")+
		"; or the first or the last word of several")
	flags.StringVar(&o.cipher, "cipher", "aes128-gcm@openssh.com", "the SSH `cipher`, the same for all servers")
	flags.StringVar(&o.binary, "gateway", "", "gateway `binary` to measure (default: built from this tree)")
	flags.StringVar(&o.dir, "dir", "", "`folder` for databases, records and mail, which are made durable (default the temporary one)")
	flags.StringVar(&o.files, "files", "", "`folder` for the files that are moved (default /dev/shm, which leaves the disk out, else -dir)")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q; see -h", flags.Arg(0))
	}
	o.size = *mib << 20
	o.peers = strings.Split(strings.ToLower(peers), ",")
	for _, name := range o.peers {
		if known := append(peerNames(), allPeers, noPeers); !slices.Contains(known, name) {
			return o, fmt.Errorf("unknown peer %q: use %s", name, strings.Join(known, ", "))
		}
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, word := range o.only {
		if !slices.Contains(names, word) && !slices.Contains(whole, word) {
			return o, fmt.Errorf("unknown part %q: use %s", word, strings.Join(whole, ", "))
		}
	}
	return o, o.validate(*mib)
}

// validate refuses counts of which there is nothing to measure, and sizes that no
// machine holds.
func (o options) validate(mib int64) error {
	for _, count := range []struct {
		name  string
		value int64
		most  int64
	}{
		{"size", mib, 1 << 20}, {"rounds", int64(o.rounds), 1000}, {"messages", int64(o.messages), 1e6},
		{"logins", int64(o.logins), 1e6}, {"accounts", int64(o.accounts), 1e4}, {"guessing", int64(o.guessing), 3600}, {"small", int64(o.small), 1e6},
		{"entries", int64(o.entries), 1e6}, {"idle", int64(o.idle), maxSessions}, {"uploads", int64(o.uploads), maxSessions},
	} {
		if count.value < 1 || count.value > count.most {
			return fmt.Errorf("-%s is from 1 to %d", count.name, count.most)
		}
	}
	return nil
}
