package sftp

import (
	"encoding/binary"
	"errors"
	"strings"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// extension is a request beyond version 3: of OpenSSH's PROTOCOL, section 4, where
// its name says so; the others are of draft-ietf-secsh-filexfer-13, section 4.4
// (vendor-id), and draft-ietf-secsh-filexfer-extensions-00.
type extension struct {
	name string
	// version is what SSH_FXP_VERSION says of it; it does not mention what has none.
	version string
	operation
}

func extensions() []extension {
	return []extension{
		{"posix-rename@openssh.com", "1", operation{shape: "pt", run: (*files).posixRename}},
		{"statvfs@openssh.com", "2", operation{shape: "p", run: (*files).statvfs}},
		{"fstatvfs@openssh.com", "2", operation{shape: "h", run: (*files).fstatvfs}},
		{"hardlink@openssh.com", "1", operation{shape: "pt", run: (*files).hardlink}},
		{"fsync@openssh.com", "1", operation{shape: "h", run: (*files).fsync}},
		{"lsetstat@openssh.com", "1", operation{shape: "pa", run: (*files).lsetstat}},
		{"limits@openssh.com", "1", operation{run: (*files).limits}},
		{"expand-path@openssh.com", "1", operation{shape: "p", run: (*files).expandPath}},
		{"home-directory", "1", operation{shape: "p", run: (*files).homeDirectory}},
		{"users-groups-by-id@openssh.com", "1", operation{shape: "pt", run: (*files).usersGroups}},
		{"copy-data", "1", operation{shape: "honie", run: (*files).copyData}},
		{"check-file", digestNames(), operation{shape: "hsonl", run: (*files).checkFile}},
		{"check-file-name", "", operation{shape: "psonl", run: (*files).checkFileName}},
		{"check-file-handle", "", operation{shape: "hsonl", run: (*files).checkFileHandle}},
		{"vendor-id", vendorID(), operation{shape: "ptsn", run: (*files).vendor}},
	}
}

func extensionOf(name string) operation {
	for _, e := range extensions() {
		if e.name == name {
			e.operation.name, _, _ = strings.Cut(name, "@")
			return e.operation
		}
	}
	return operation{}
}

// posixRename replaces what is at the new name.
func (f *files) posixRename(r *request) error {
	return f.move(r, true)
}

// hardlink gives a file a second name. That a folder cannot have one is EPERM.
func (f *files) hardlink(r *request) error {
	if err := f.show(r.path); err != nil {
		return err
	}
	_ = f.show(r.target) // whoever closes it is told
	err := f.view().Link(f.ctx, r.path, r.target)
	if errors.Is(err, session.ErrIsDirectory) {
		return session.ErrDenied
	}
	return err
}

// fsync puts what was written on stable storage, still unseen.
func (f *files) fsync(r *request) error {
	open, err := f.file(r)
	if err != nil {
		return errNoHandle
	}
	return open.sync()
}

// lsetstat is SETSTAT without following a link. A size makes no sense then, of
// whatever it is (PROTOCOL, section 4.9).
func (f *files) lsetstat(r *request) error {
	attr, err := r.attrs.change()
	switch {
	case err != nil:
		return err
	case attr.Size != nil:
		return errMalformed
	case f.enrols(r.path):
		return f.enrolSetAttr(attr)
	}
	err = f.view().LsetAttr(f.ctx, r.path, attr)
	if errors.Is(err, session.ErrUnsupported) {
		return errLinkMode
	}
	return err
}

// errLinkMode is a link that was to get permissions, of which links have none.
var errLinkMode = status{codeFailure, "A link has no permissions"}

const (
	// spaceUnit is the unit in which statvfs counts.
	spaceUnit = 4096
	// maxName is the longest part of a path.
	maxName = 255
)

// statvfs says how much room there is; it is the same everywhere in the tree.
func (f *files) statvfs(r *request) error {
	if _, err := transfer.Resolve("/", r.path); err != nil {
		return err
	}
	return f.space(f.view().Space(f.ctx))
}

func (f *files) fstatvfs(r *request) error {
	if _, h := f.handles.get(r.handle); h == nil {
		return errHandle
	}
	return f.space(f.view().Space(f.ctx))
}

func (f *files) space(s storage.Space, err error) error {
	if err != nil {
		return err
	}
	b := begin(f.out.free(), typeExtendedReply, f.id)
	for _, v := range []uint64{
		spaceUnit, spaceUnit, s.Total / spaceUnit, s.Free / spaceUnit, s.Available / spaceUnit,
		s.Files, s.FilesFree, s.FilesFree, 0, 0, maxName,
	} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	f.reply(b)
	return nil
}

// limits tells the longest packet, read and write, and how many files may be
// open.
func (f *files) limits(*request) error {
	b := begin(f.out.free(), typeExtendedReply, f.id)
	for _, v := range []uint64{maxPacket, maxData, maxData, uint64(f.tree.MaxOpen())} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	f.reply(b)
	return nil
}

// expandPath is REALPATH with ~ for home, which is the root of the tree.
func (f *files) expandPath(r *request) error {
	name := r.path
	if rest, ok := strings.CutPrefix(name, "~"); ok {
		user, rest, _ := strings.Cut(rest, "/")
		if !f.own(user) {
			return errNobodysPath
		}
		name = "/" + rest
	}
	return f.realpath(&request{path: name})
}

// homeDirectory is where an account's home is: its root.
func (f *files) homeDirectory(r *request) error {
	if !f.own(r.path) {
		return errNobody
	}
	f.name("/")
	return nil
}

// errNobody is the home of somebody else, of whom nothing is told; errNobodysPath is
// a path there, with the code that OpenSSH has for it.
var (
	errNobody      = status{codeFailure, "No such user"}
	errNobodysPath = status{codeNoSuchFile, "No such user"}
)

func (f *files) own(user string) bool { return user == "" || user == f.session.Identity().User }

// idSize is the length of a number of a user or group.
const idSize = 4

// usersGroups tells the names behind numbers of users and groups. Attributes have no
// numbers here, so that whatever a client takes for one stands for the account, as
// in the long names of a listing.
func (f *files) usersGroups(r *request) error {
	users, groups := len(r.path), len(r.target)
	if users%idSize != 0 || groups%idSize != 0 {
		return errMalformed
	}
	name := f.session.Identity().User
	one := lengthSize + len(name)
	if (users+groups)/idSize*one > maxAnswer-64 {
		return errManyIDs
	}
	b := begin(f.out.free(), typeExtendedReply, f.id)
	for _, size := range []int{users, groups} {
		n := size / idSize
		b = binary.BigEndian.AppendUint32(b, uint32(n*one))
		for range n {
			b = appendString(b, name)
		}
	}
	f.reply(b)
	return nil
}

var errManyIDs = status{codeFailure, "Too many numbers"}

// vendorID is who we are, in the words of the draft: vendor, product, version and
// build, of which the last two are nobody's business.
func vendorID() string {
	b := appendString(appendString(appendString(nil, "Gateway"), "Gateway"), "")
	return string(binary.BigEndian.AppendUint64(b, 0))
}

// vendor takes what the peer calls its software, for the record.
func (f *files) vendor(r *request) error {
	f.session.Vendor(strings.Join(strings.Fields(r.path+" "+r.target+" "+r.list), " "))
	return nil
}
