package oldserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
)

// lines reads what a server says, of maxAnswer bytes in all.
func lines(conn net.Conn) *textproto.Reader {
	return textproto.NewReader(bufio.NewReader(io.LimitReader(conn, maxAnswer)))
}

// askFTP logs in (RFC 959; RFC 4217 for ftp-tls).
func (s *Server) askFTP(ctx context.Context, conn net.Conn, name, password string) (bool, error) {
	in := lines(conn)
	if _, text, err := in.ReadResponse(220); err != nil {
		return false, answered("greeting", text, err)
	}
	say := func(command string) (code int, text string, err error) {
		if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
			return 0, "", err
		}
		return in.ReadResponse(0)
	}
	if s.cfg.Kind == FTPTLS {
		code, text, err := say("AUTH TLS")
		if err != nil || code != 234 {
			return false, answered("AUTH TLS", fmt.Sprint(code, " ", text), err)
		}
		if conn, err = s.secure(ctx, conn); err != nil {
			return false, err
		}
		in = lines(conn)
	}
	code, text, err := say("USER " + name)
	switch {
	case err != nil:
		return false, err
	case code == 230:
		return false, errors.New("it lets the user in without a password, which proves nothing")
	case code == 530:
		return false, fmt.Errorf("it wants no password of this user, or not over this channel: 530 %s", clip(text))
	case code != 331:
		return false, answered("USER", fmt.Sprint(code, " ", text), nil)
	}
	code, text, err = say("PASS " + password)
	switch {
	case err != nil:
		return false, err
	case code == 230:
		_, _ = io.WriteString(conn, "QUIT\r\n")
		return true, nil
	case code == 530:
		return false, nil
	default: // 421 too many, 332 account, 500 it cannot
		return false, answered("PASS", fmt.Sprint(code, " ", text), nil)
	}
}

// answered is the error of an answer that is neither yes nor no.
func answered(to, text string, err error) error {
	if err != nil {
		return fmt.Errorf("it answers %s with %q: %w", to, clip(text), err)
	}
	return fmt.Errorf("it answers %s with %q", to, clip(text))
}

// clip shortens what an error quotes.
func clip(s string) string {
	const limit = 100
	if len(s) > limit {
		return s[:limit] + "..."
	}
	return s
}
