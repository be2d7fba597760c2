//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"golang.org/x/crypto/ssh"
)

const (
	// requestSize and inFlight are those of OpenSSH's client: 32 KiB, 64 at once.
	requestSize = 32 << 10
	inFlight    = 64
	// batch is how many requests are sent by one write.
	batch = 8
	// maxReply is the longest packet taken.
	maxReply = requestSize + 1<<10
)

// Packet types and flags (draft-ietf-secsh-filexfer-02, sections 3 and 6.3).
const (
	typeInit    = 1
	typeVersion = 2
	typeOpen    = 3
	typeClose   = 4
	typeRead    = 5
	typeWrite   = 6
	typeStatus  = 101
	typeHandle  = 102
	typeData    = 103

	openRead  = 0x01
	openWrite = 0x02 | 0x08 | 0x10 // write, create, truncate
)

// sftpClient is the least that moves a file, so that the server is the bound: it
// keeps a window of requests open and neither reorders nor keeps what comes.
type sftpClient struct {
	conn   *ssh.Client
	w      io.WriteCloser
	r      *bufio.Reader
	packet []byte
}

// sftpTarget is where sessions are opened.
type sftpTarget struct {
	server
	addr, user, cipher string
	auth               ssh.AuthMethod
	local              string // the folder that sessions begin in, on disk
}

// bufferedConn spares the client a system call for each SSH packet.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// open logs in and starts the subsystem. buffer is that of the connection.
func (t sftpTarget) open(ctx context.Context, buffer int) (_ *sftpClient, err error) {
	config := &ssh.ClientConfig{
		User: t.user, Auth: []ssh.AuthMethod{t.auth},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // it is ours, on loopback
	}
	config.Ciphers = []string{t.cipher}
	raw, err := dial(ctx, t.addr)
	if err != nil {
		return nil, err
	}
	conn, channels, requests, err := ssh.NewClientConn(bufferedConn{raw, bufio.NewReaderSize(raw, buffer)}, t.addr, config)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	c := &sftpClient{conn: ssh.NewClient(conn, channels, requests)}
	defer func() {
		if err != nil {
			_ = c.conn.Close()
		}
	}()
	session, err := c.conn.NewSession()
	if err != nil {
		return nil, err
	}
	if c.w, err = session.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.r = bufio.NewReaderSize(out, min(buffer, 64<<10))
	if err := session.RequestSubsystem("sftp"); err != nil {
		return nil, fmt.Errorf("start the sftp subsystem: %w", err)
	}
	if _, err := c.w.Write([]byte{0, 0, 0, 5, typeInit, 0, 0, 0, 3}); err != nil {
		return nil, err
	}
	kind, _, err := c.reply()
	if err == nil && kind != typeVersion {
		err = fmt.Errorf("answer to INIT is of type %d", kind)
	}
	return c, err
}

// reply reads one packet; it is valid until the next call.
func (c *sftpClient) reply() (kind byte, rest []byte, err error) {
	var length [4]byte
	if _, err := io.ReadFull(c.r, length[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxReply {
		return 0, nil, fmt.Errorf("packet of %d bytes", n)
	}
	if cap(c.packet) < int(n) {
		c.packet = make([]byte, n)
	}
	c.packet = c.packet[:n]
	_, err = io.ReadFull(c.r, c.packet)
	return c.packet[0], c.packet[1:], err
}

// request appends a packet; its fields are numbers and strings.
func request(p []byte, kind byte, fields ...any) []byte {
	at := len(p)
	p = append(p, 0, 0, 0, 0, kind, 0, 0, 0, 0) // the length; all have the same id
	for _, field := range fields {
		switch v := field.(type) {
		case uint32:
			p = binary.BigEndian.AppendUint32(p, v)
		case uint64:
			p = binary.BigEndian.AppendUint64(p, v)
		case string:
			p = append(binary.BigEndian.AppendUint32(p, uint32(len(v))), v...)
		}
	}
	binary.BigEndian.PutUint32(p[at:], uint32(len(p)-at-4))
	return p
}

// status reads a reply that must be a status of OK.
func (c *sftpClient) status() error {
	kind, rest, err := c.reply()
	if err != nil {
		return err
	}
	if kind != typeStatus || len(rest) < 8 || binary.BigEndian.Uint32(rest[4:]) != 0 {
		return fmt.Errorf("answer of type %d: %q", kind, rest)
	}
	return nil
}

// openFile returns a handle.
func (c *sftpClient) openFile(name string, flags uint32) (string, error) {
	if _, err := c.w.Write(request(nil, typeOpen, name, flags, uint32(0))); err != nil {
		return "", err
	}
	kind, rest, err := c.reply()
	if err != nil {
		return "", err
	}
	if kind != typeHandle || len(rest) < 8 {
		return "", fmt.Errorf("open %s: answer of type %d: %q", name, kind, rest)
	}
	return string(rest[8:]), nil
}

func (c *sftpClient) closeFile(handle string) error {
	if _, err := c.w.Write(request(nil, typeClose, handle)); err != nil {
		return err
	}
	return c.status()
}

// get reads size bytes of a file.
func (c *sftpClient) get(name string, size int64) error {
	handle, err := c.openFile(name, openRead)
	if err != nil {
		return err
	}
	var asked, got int64
	var packets []byte
	for waiting := 0; got < size; {
		if waiting <= inFlight-batch && asked < size {
			packets = packets[:0]
			for waiting < inFlight && asked < size {
				packets = request(packets, typeRead, handle, uint64(asked), uint32(min(requestSize, size-asked)))
				asked += requestSize
				waiting++
			}
			if _, err := c.w.Write(packets); err != nil {
				return err
			}
		}
		kind, rest, err := c.reply()
		if err != nil {
			return err
		}
		if kind != typeData || len(rest) < 8 {
			return fmt.Errorf("read %s: answer of type %d: %q", name, kind, rest)
		}
		got += int64(len(rest) - 8)
		waiting--
		if waiting == 0 && asked >= size && got != size {
			return fmt.Errorf("read %s: %d bytes of %d", name, got, size)
		}
	}
	return c.closeFile(handle)
}

// put writes size zeros to a file, and returns when the server has closed it.
func (c *sftpClient) put(name string, size int64) error {
	handle, err := c.openFile(name, openWrite)
	if err != nil {
		return err
	}
	zeros := make([]byte, requestSize)
	var packets []byte
	waiting := 0
	for sent := int64(0); sent < size; {
		packets = packets[:0]
		for range batch {
			n := min(requestSize, size-sent)
			if n == 0 {
				break
			}
			at := len(packets)
			packets = request(packets, typeWrite, handle, uint64(sent), uint32(n))
			packets = append(packets, zeros[:n]...)
			binary.BigEndian.PutUint32(packets[at:], uint32(len(packets)-at-4))
			sent += n
			waiting++
		}
		if _, err := c.w.Write(packets); err != nil {
			return err
		}
		for waiting > inFlight-batch {
			if err := c.status(); err != nil {
				return fmt.Errorf("write %s: %w", name, err)
			}
			waiting--
		}
	}
	for ; waiting > 0; waiting-- {
		if err := c.status(); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return c.closeFile(handle)
}

func (c *sftpClient) Close() error { return c.conn.Close() }
