package sftp

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// files is one run of the subsystem: the tree, what is open in it, and what
// comes and goes in its channel. One goroutine takes the requests in their order
// and answers each before the next (section 6), so that nothing of it is locked.
type files struct {
	ctx       context.Context // of the connection
	pace      context.Context // ends with the connection: nothing waits for bandwidth then
	gone      context.Context // ends with the channel: nobody waits for an answer then
	tree      *transfer.Files
	busy      *activity
	session   *session.Session
	panicked  func(any)
	linkFirst bool // SYMLINK names the link first, as in the draft

	enrol    func(context.Context, *session.Session, []byte) error // Config.Enrol
	enrolled *storage.Info                                         // the file of keys that was taken last

	in      input
	out     output
	handles handles

	begun    bool    // SSH_FXP_INIT came
	asked    request // the one being answered
	asking   string  // its operation.name
	id       uint32
	answered bool // the request has its answer
}

// newFiles returns a run over ch; pool lends the buffers.
func newFiles(ctx context.Context, s *session.Session, tree *transfer.Files, busy *activity, pool *buffers, ch io.ReadWriter) *files {
	return &files{
		ctx: ctx, pace: ctx, gone: ctx, tree: tree, busy: busy, session: s,
		in: input{ch: ch, pool: pool}, out: output{ch: ch, pool: pool},
		handles: newHandles(),
	}
}

// errOrder is a request before SSH_FXP_INIT.
var errOrder = errors.New("request before initialisation")

// serve answers requests until the channel ends. Files still open then are
// aborted. A panic ends in panicked.
func (f *files) serve() {
	defer f.in.release()
	defer f.out.release()
	cause := session.ErrPanic
	defer func() {
		if v := recover(); v != nil {
			f.panicked(v)
		}
		f.closeAll(cause)
	}()
	cause = f.loop()
}

// loop returns why there are no more requests.
func (f *files) loop() error {
	for {
		for {
			packet, err := f.in.packet()
			if err != nil {
				return errors.Join(err, f.out.flush()) // what came before is answered
			}
			if packet == nil {
				break
			}
			if err := f.request(packet); err != nil {
				return errors.Join(err, f.out.flush())
			}
		}
		if err := f.out.flush(); err != nil {
			return err
		}
		if err := f.in.fill(f.handles.writing > 0); err != nil {
			return err
		}
	}
}

// request answers one packet. An error ends the subsystem.
func (f *files) request(packet []byte) error {
	kind, p := packet[0], parser{rest: packet[1:]}
	f.id = p.uint32() // of SSH_FXP_INIT, the version
	if p.bad {
		return errMalformed
	}
	if kind != typeInit && !f.begun {
		return errOrder
	}
	r := &f.asked
	*r = request{}
	op := operationOf(kind)
	if kind == typeExtended {
		op = extensionOf(string(p.bytes()))
	}
	err := r.decode(op.shape, p.rest)
	if p.bad {
		err = errMalformed
	}
	room := maxAnswer
	if kind == typeRead {
		room = dataHeader + int(min(r.length, maxData))
	}
	// The peer may take its time: that is not part of the request.
	if err := f.out.reserve(room); err != nil {
		return err
	}
	f.busy.begin()
	defer f.busy.end()
	f.answered = false
	if err == nil {
		err = f.run(op, r)
	}
	if !f.answered {
		f.status(err)
	}
	return nil
}

func (f *files) run(op operation, r *request) error {
	f.asking = op.name
	switch {
	case op.run == nil:
		return session.ErrUnsupported
	case f.over() && !op.ends:
		return session.ErrClosed
	default:
		return op.run(f, r)
	}
}

// view is the tree as the request being answered sees it.
func (f *files) view() *transfer.Files { return f.tree.For(f.asking, session.SSH) }

// step is called between the pieces of a long request; it fails when there is
// nobody left for whom to go on.
func (f *files) step() error {
	if f.over() {
		return session.ErrClosed
	}
	return context.Cause(f.gone)
}

// over reports whether the session ended, by whomever.
func (f *files) over() bool {
	select {
	case <-f.session.Done():
		return true
	default:
		return false
	}
}

// operation is how one kind of request is answered.
type operation struct {
	// name is what OpenSSH's sftp-server calls the request, for its options -p and -P,
	// and what the rules know it by.
	name  string
	shape string // its fields, see request.decode
	// run does what is asked. If it does not answer, the status of its error is the
	// answer.
	run  func(*files, *request) error
	ends bool // it is also done when the session is over
}

// operationOf follows section 3 of the draft; the zero operation is an unknown
// request.
func operationOf(kind byte) operation {
	switch kind {
	case typeInit:
		return operation{run: (*files).init}
	case typeOpen:
		return operation{name: "open", shape: "pfa", run: (*files).open}
	case typeClose:
		return operation{name: "close", shape: "h", run: (*files).close, ends: true}
	case typeRead:
		return operation{name: "read", shape: "hol", run: (*files).read}
	case typeWrite:
		return operation{name: "write", shape: "hod", run: (*files).write}
	case typeLstat:
		return operation{name: "lstat", shape: "p", run: (*files).lstat}
	case typeFstat:
		return operation{name: "fstat", shape: "h", run: (*files).fstat}
	case typeSetstat:
		return operation{name: "setstat", shape: "pa", run: (*files).setstat}
	case typeFsetstat:
		return operation{name: "fsetstat", shape: "ha", run: (*files).fsetstat}
	case typeOpendir:
		return operation{name: "opendir", shape: "p", run: (*files).opendir}
	case typeReaddir:
		return operation{name: "readdir", shape: "h", run: (*files).readdir}
	case typeRemove:
		return operation{name: "remove", shape: "p", run: (*files).remove}
	case typeMkdir:
		return operation{name: "mkdir", shape: "pa", run: (*files).mkdir}
	case typeRmdir:
		return operation{name: "rmdir", shape: "p", run: (*files).rmdir}
	case typeRealpath:
		return operation{name: "realpath", shape: "p", run: (*files).realpath}
	case typeStat:
		return operation{name: "stat", shape: "p", run: (*files).stat}
	case typeRename:
		return operation{name: "rename", shape: "pt", run: (*files).rename}
	case typeReadlink:
		return operation{name: "readlink", shape: "p", run: (*files).readlink}
	case typeSymlink:
		return operation{name: "symlink", shape: "pt", run: (*files).symlink}
	default:
		return operation{}
	}
}

// init answers with our version and what we can beyond it (section 4).
func (f *files) init(*request) error {
	f.begun = true
	f.answered = true
	b := begin(f.out.free(), typeVersion, fileVersion)
	for _, e := range extensions() {
		if e.version != "" {
			b = appendString(appendString(b, e.name), e.version)
		}
	}
	f.out.add(finish(b))
	return nil
}

const (
	// dataHeader is what comes before the data in an answer to SSH_FXP_READ.
	dataHeader = 13
	// maxData is the most data in one answer or request: OpenSSH's 255 KiB.
	maxData = 255 << 10
	// maxNames is the most bytes in one answer with names; sshfs gives up at 128 KiB.
	maxNames = 64 << 10
	// namesHeader is what comes before the number of names in it.
	namesHeader = 9
	// maxAnswer is the most bytes in any answer without data.
	maxAnswer = maxNames
)

// status answers with the status of err.
func (f *files) status(err error) {
	s := answer(err)
	b := begin(f.out.free(), typeStatus, f.id)
	b = binary.BigEndian.AppendUint32(b, s.code)
	b = appendString(appendString(b, s.text), "")
	f.reply(b)
}

func (f *files) reply(b []byte) {
	f.out.add(finish(b))
	f.answered = true
}

// name answers with one name and no attributes.
func (f *files) name(name string) {
	b := begin(f.out.free(), typeName, f.id)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = appendString(appendString(b, name), name)
	f.reply(binary.BigEndian.AppendUint32(b, 0))
}

func (f *files) describe(info storage.Info, err error) error {
	if err == nil {
		f.reply(appendAttrs(begin(f.out.free(), typeAttrs, f.id), info))
	}
	return err
}
