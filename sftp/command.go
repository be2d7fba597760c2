package sftp

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/transfer"
)

// sftpOnly is the answer to a shell and to every command but those of commandTable.
// By the words of OpenSSH's internal-sftp in it, ssh-copy-id -s knows that a key has
// logged in.
const sftpOnly = "SFTP only: this service allows sftp connections only. (scp: leave out -O.)\r\n"

// errCommand is a command line that a shell would have something to do for, or whose
// words are not what the command takes.
var errCommand = errors.New("command not understood")

// command is a program that a client asks for (RFC 4254, section 6.5), and that is
// done here, by what the session may do with files. There is no shell and no process.
type command struct {
	ctx, pace, gone context.Context // as in files
	session         *session.Session
	tree            *transfer.Files // for this command
	busy            *activity
	pool            *buffers
	in              io.Reader
	out, messages   io.Writer
}

// commandTable are the commands of clients that have no other way: rclone compares
// digests, others begin with pwd or cd.
func commandTable() map[string]func(*command, []string) error {
	table := map[string]func(*command, []string) error{
		"pwd": (*command).pwd,
		"cd":  (*command).cd,
		"scp": (*command).scp,
	}
	for _, d := range digests() {
		table[d.name+"sum"] = func(c *command, args []string) error { return c.sum(d, args) }
	}
	return table
}

// exec runs the command in line and says how it ended.
func (c *conn) exec(ctx, gone context.Context, ch ssh.Channel, line string) {
	words, err := splitCommand(line)
	if err != nil {
		c.refuse(ctx, ch, line)
		return
	}
	run := commandTable()[words[0]]
	if run == nil || words[0] == "scp" && !c.session.Data().SCP {
		c.refuse(ctx, ch, line)
		return
	}
	c.busy.begin()
	tree, err := c.tree(ctx)
	c.busy.end()
	if err != nil {
		c.noTree(ch, err)
		return
	}
	name := words[0]
	cmd := &command{
		ctx: ctx, pace: c.pace, gone: gone, session: c.session, tree: tree.For(name, session.SSH), busy: &c.busy, pool: c.server.pool,
		in: touching{ch, &c.busy}, out: ch, messages: ch.Stderr(),
	}
	err = run(cmd, words[1:])
	switch {
	case errors.Is(err, errCommand):
		c.refuse(ctx, ch, line)
	case err != nil:
		_, _ = fmt.Fprintf(cmd.messages, "%s: %s\n", name, answer(err).text)
		exit(ch, 1)
	default:
		exit(ch, 0)
	}
}

// refuse answers and records what is not done here.
func (c *conn) refuse(ctx context.Context, ch ssh.Channel, line string) {
	if op, err := c.session.Begin(ctx, session.Action{Verb: session.Exec, Object: program(line), Request: "exec", Over: session.SSH}); err == nil {
		_ = op.End(ctx, session.ErrDenied)
	}
	_, _ = io.WriteString(ch.Stderr(), sftpOnly)
	exit(ch, 1)
}

// maxProgram is the most of a program's name that the record has.
const maxProgram = 64

// program is the program that a command line names. Nothing else of the line is
// recorded: it may hold a password.
func program(line string) string {
	name, _, _ := strings.Cut(line, " ")
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._/-", r)
	}
	if name == "" || len(name) > maxProgram || strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return "?"
	}
	return name
}

// splitCommand cuts a command line into words, as a shell does where it has nothing
// else to do. What a shell would act upon is refused: it was meant to be done.
func splitCommand(line string) (words []string, err error) {
	var word []byte
	begun, quote := false, byte(0)
	end := func() {
		if begun {
			words = append(words, string(word))
			word, begun = nil, false
		}
	}
	for i := 0; i < len(line); i++ {
		b := line[i]
		switch {
		case b == 0 || b == '\n' && quote == 0 || b == '\r':
			return nil, errCommand
		case quote == '\'' && b != quote, quote == '"' && strings.IndexByte("\"$`\\", b) < 0:
			word = append(word, b)
		case quote != 0 && b == quote:
			quote = 0
		case b == '\\':
			if i++; i == len(line) || strings.IndexByte("\n\r\x00", line[i]) >= 0 {
				return nil, errCommand
			}
			if quote == '"' && strings.IndexByte("\"$`\\", line[i]) < 0 {
				word = append(word, b)
			}
			word, begun = append(word, line[i]), true
		case quote != 0: // $ or `
			return nil, errCommand
		case b == '\'' || b == '"':
			quote, begun = b, true
		case b == ' ' || b == '\t':
			end()
		case b == '~' && !begun:
			// Home is the root of the tree; that of others is not told.
			if i+1 < len(line) && line[i+1] != '/' && line[i+1] != ' ' {
				return nil, errCommand
			}
			word, begun = append(word, '/'), true
		case strings.IndexByte("|&;<>()$`*?[{", b) >= 0, b == '#' && !begun:
			return nil, errCommand
		default:
			word, begun = append(word, b), true
		}
	}
	if end(); quote != 0 || len(words) == 0 {
		return nil, errCommand
	}
	return words, nil
}

// operand is the one path that a command may have.
func operand(args []string) (name string, given bool, err error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	} else if len(args) > 0 && strings.HasPrefix(args[0], "-") {
		return "", false, errCommand
	}
	switch len(args) {
	case 0:
		return "", false, nil
	case 1:
		return args[0], true, nil
	default:
		return "", false, errCommand
	}
}

func (c *command) pwd(args []string) error {
	if len(args) > 0 {
		return errCommand
	}
	_, err := io.WriteString(c.out, "/\n")
	return err
}

// cd says whether one could go there. Every command begins in the root again.
func (c *command) cd(args []string) error {
	name, _, err := operand(args)
	if err != nil {
		return err
	}
	info, err := c.tree.Stat(c.ctx, name)
	if err == nil && !info.IsDir() {
		err = session.ErrNotDirectory
	}
	return err
}

// sum prints the digest of a file, or of what comes in, as coreutils do. It counts as
// reading the file.
func (c *command) sum(d digest, args []string) error {
	name, given, err := operand(args)
	if err != nil {
		return err
	}
	h := d.new()
	if !given {
		name = "-"
		if _, err := io.Copy(h, bufio.NewReader(c.in)); err != nil {
			return err
		}
	} else if err := c.digestFile(name, h); err != nil {
		return err
	}
	escape := ""
	if strings.Contains(name, `\`) {
		escape, name = `\`, strings.ReplaceAll(name, `\`, `\\`)
	}
	_, err = fmt.Fprintf(c.out, "%s%s  %s\n", escape, hex.EncodeToString(h.Sum(nil)), name)
	return err
}

func (c *command) digestFile(name string, to io.Writer) error {
	c.busy.begin()
	defer c.busy.end()
	r, err := c.tree.Open(c.ctx, name)
	if err != nil {
		return err
	}
	closed := session.ErrPanic
	defer func() {
		if closed != nil {
			_ = r.Close(c.late(), closed)
		}
	}()
	info, err := r.Stat()
	if err == nil {
		err = c.pool.readAll(r, 0, info.Size, c.step, func(p []byte) { _, _ = to.Write(p) })
	}
	closed = nil
	return r.Close(c.late(), err)
}

// step is that of files.
func (c *command) step() error {
	if err := c.over(); err != nil {
		return err
	}
	return context.Cause(c.gone)
}

// over fails when the session has ended.
func (c *command) over() error {
	select {
	case <-c.session.Done():
		return session.ErrClosed
	default:
		return nil
	}
}

// late is a context for what must be done although it is over.
func (c *command) late() context.Context { return context.WithoutCancel(c.ctx) }

// touching is what comes in a channel: whatever comes shows that the connection is
// in use.
type touching struct {
	io.Reader
	busy *activity
}

func (t touching) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if n > 0 {
		t.busy.touch()
	}
	return n, err
}
