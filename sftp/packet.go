package sftp

import (
	"encoding/binary"
	"io/fs"
	"math"
	"time"

	"gateway/session"
	"gateway/storage"
)

// Types of packets (draft-ietf-secsh-filexfer-02, section 3).
const (
	typeInit          = 1
	typeVersion       = 2
	typeOpen          = 3
	typeClose         = 4
	typeRead          = 5
	typeWrite         = 6
	typeLstat         = 7
	typeFstat         = 8
	typeSetstat       = 9
	typeFsetstat      = 10
	typeOpendir       = 11
	typeReaddir       = 12
	typeRemove        = 13
	typeMkdir         = 14
	typeRmdir         = 15
	typeRealpath      = 16
	typeStat          = 17
	typeRename        = 18
	typeReadlink      = 19
	typeSymlink       = 20
	typeStatus        = 101
	typeHandle        = 102
	typeData          = 103
	typeName          = 104
	typeAttrs         = 105
	typeExtended      = 200
	typeExtendedReply = 201
)

// fileVersion is that of the file protocol that is spoken, whatever a client asks for.
const fileVersion = 3

// Flags of attributes (section 5).
const (
	attrSize        = 1
	attrUIDGID      = 2
	attrPermissions = 4
	attrTimes       = 8
	attrExtended    = 1 << 31
)

// maxExtendedAttrs is the most pairs of extended attributes that are skipped.
const maxExtendedAttrs = 64

// Flags of SSH_FXP_OPEN (section 6.3).
const (
	openRead      = 1
	openWrite     = 2
	openAppend    = 4
	openCreate    = 8
	openTruncate  = 0x10
	openExclusive = 0x20
)

// errMalformed is a packet that lacks a part.
var errMalformed = status{codeBadMessage, "Bad message"}

// request is what a packet asks for; fields that its kind does not have are
// zero. Slices point into the packet.
type request struct {
	handle       []byte
	path, target string
	offset       uint64
	length       uint32
	count        uint64 // of bytes
	into         []byte // a second handle
	at           uint64 // an offset in what that stands for
	list         string // of algorithms
	data         []byte
	flags        uint32 // of SSH_FXP_OPEN
	attrs        attrs
}

// decode reads the fields of a request, which shape names in their order: h a
// handle, p a path, t a second path, o an offset, l a length, d data, f flags, a
// attributes, n a long length, s a list, i a second handle, e an offset for that. What
// follows them is ignored, as OpenSSH does.
func (r *request) decode(shape string, body []byte) error {
	p := parser{rest: body}
	for _, field := range []byte(shape) {
		switch field {
		case 'h':
			r.handle = p.bytes()
		case 'p':
			r.path = string(p.bytes())
		case 't':
			r.target = string(p.bytes())
		case 'o':
			r.offset = p.uint64()
		case 'l':
			r.length = p.uint32()
		case 'd':
			r.data = p.bytes()
		case 'f':
			r.flags = p.uint32()
		case 'a':
			r.attrs = p.attrs()
		case 'n':
			r.count = p.uint64()
		case 's':
			r.list = string(p.bytes())
		case 'i':
			r.into = p.bytes()
		case 'e':
			r.at = p.uint64()
		}
	}
	if p.bad {
		return errMalformed
	}
	return nil
}

// attrs are attributes as they came.
type attrs struct {
	flags            uint32
	size             uint64
	perm             uint32
	access, modified uint32
}

// change says what storage is to change.
func (a attrs) change() (storage.Attr, error) {
	var attr storage.Attr
	if a.flags&attrUIDGID != 0 {
		return attr, session.ErrUnsupported // there is nobody to give a file to
	}
	if a.flags&attrSize != 0 {
		if a.size > math.MaxInt64 {
			return attr, session.ErrRange
		}
		size := int64(a.size)
		attr.Size = &size
	}
	if a.flags&attrPermissions != 0 {
		perm, err := a.permissions()
		if err != nil {
			return attr, err
		}
		attr.Perm = &perm
	}
	if a.flags&attrTimes != 0 {
		access, modified := time.Unix(int64(a.access), 0), time.Unix(int64(a.modified), 0)
		attr.Access, attr.ModTime = &access, &modified
	}
	return attr, nil
}

// permissions are the permission bits, zero if there are none.
func (a attrs) permissions() (fs.FileMode, error) {
	if a.flags&attrPermissions == 0 {
		return 0, nil
	}
	if a.perm&modeSpecial != 0 {
		return 0, session.ErrDenied
	}
	return fs.FileMode(a.perm) & fs.ModePerm, nil
}

// parser reads the fields of one packet, in place. After a field that is not
// whole it is bad and yields nothing.
type parser struct {
	rest []byte
	bad  bool
}

func (p *parser) take(n uint32) []byte {
	if p.bad || uint64(n) > uint64(len(p.rest)) {
		p.bad = true
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

func (p *parser) uint32() uint32 {
	if b := p.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (p *parser) uint64() uint64 {
	if b := p.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (p *parser) bytes() []byte { return p.take(p.uint32()) }

func (p *parser) attrs() attrs {
	a := attrs{flags: p.uint32()}
	if a.flags&attrSize != 0 {
		a.size = p.uint64()
	}
	if a.flags&attrUIDGID != 0 {
		p.take(8)
	}
	if a.flags&attrPermissions != 0 {
		a.perm = p.uint32()
	}
	if a.flags&attrTimes != 0 {
		a.access, a.modified = p.uint32(), p.uint32()
	}
	if a.flags&attrExtended != 0 {
		n := p.uint32()
		if n > maxExtendedAttrs {
			p.bad = true
			return a
		}
		for range n {
			p.bytes()
			p.bytes()
		}
	}
	return a
}

// begin appends the start of an answer; finish sets its length.
func begin(b []byte, kind byte, id uint32) []byte {
	b = append(b, 0, 0, 0, 0, kind)
	return binary.BigEndian.AppendUint32(b, id)
}

func finish(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)-lengthSize))
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// appendAttrs appends what is known of a file.
func appendAttrs(b []byte, info storage.Info) []byte {
	b = binary.BigEndian.AppendUint32(b, attrSize|attrPermissions|attrTimes)
	b = binary.BigEndian.AppendUint64(b, uint64(info.Size))
	b = binary.BigEndian.AppendUint32(b, wireMode(info.Mode))
	access := info.Access
	if access.IsZero() {
		access = info.ModTime
	}
	b = binary.BigEndian.AppendUint32(b, wireTime(access))
	return binary.BigEndian.AppendUint32(b, wireTime(info.ModTime))
}

// wireTime is t in the 32 bits that version 3 has for it, or what comes nearest.
func wireTime(t time.Time) uint32 {
	return uint32(min(max(t.Unix(), 0), math.MaxUint32))
}

// Bits of a file's mode as POSIX has them.
const (
	modeFolder  = 0o040000
	modeRegular = 0o100000
	modeLink    = 0o120000
	modeFIFO    = 0o010000
	modeSocket  = 0o140000
	modeBlock   = 0o060000
	modeChar    = 0o020000
	modeSpecial = 0o007000 // setuid, setgid, sticky
)

func wireMode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	switch m.Type() {
	case 0:
		bits |= modeRegular
	case fs.ModeDir:
		bits |= modeFolder
	case fs.ModeSymlink:
		bits |= modeLink
	case fs.ModeNamedPipe:
		bits |= modeFIFO
	case fs.ModeSocket:
		bits |= modeSocket
	case fs.ModeDevice:
		bits |= modeBlock
	case fs.ModeDevice | fs.ModeCharDevice:
		bits |= modeChar
	}
	for i, special := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if m&special != 0 {
			bits |= 0o1000 << i
		}
	}
	return bits
}
