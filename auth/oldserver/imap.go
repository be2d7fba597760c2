package oldserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
)

// askIMAP logs in (RFC 9051, sections 6.2.1 and 6.2.3), with literals, which take any
// password.
func (s *Server) askIMAP(ctx context.Context, conn net.Conn, name, password string) (bool, error) {
	in := lines(conn)
	greeting, err := in.ReadLine()
	if err != nil || !strings.HasPrefix(greeting, "* OK") {
		return false, answered("greeting", greeting, err)
	}
	if s.cfg.Kind == IMAP {
		if _, err := io.WriteString(conn, "a STARTTLS\r\n"); err != nil {
			return false, err
		}
		if text, err := tagged(in, "a"); err != nil || !strings.HasPrefix(text, "OK") {
			return false, answered("STARTTLS", text, err)
		}
		if conn, err = s.secure(ctx, conn); err != nil {
			return false, err
		}
		in = lines(conn)
	}
	if _, err := fmt.Fprintf(conn, "b LOGIN {%d}\r\n", len(name)); err != nil {
		return false, err
	}
	for _, part := range []string{fmt.Sprintf("%s {%d}\r\n", name, len(password)), password + "\r\n"} {
		text, err := tagged(in, "b")
		if err != nil || text != "+" {
			return false, answered("LOGIN", text, err)
		}
		if _, err := io.WriteString(conn, part); err != nil {
			return false, err
		}
	}
	text, err := tagged(in, "b")
	code := strings.ToUpper(text)
	switch {
	case err != nil:
		return false, err
	case strings.HasPrefix(code, "OK"):
		_, _ = io.WriteString(conn, "c LOGOUT\r\n")
		return true, nil
	case strings.HasPrefix(code, "NO") && !strings.Contains(code, "[UNAVAILABLE]") && !strings.Contains(code, "[INUSE]") && !strings.Contains(code, "[LIMIT]"):
		return false, nil
	default:
		return false, answered("LOGIN", text, nil)
	}
}

// tagged reads up to the answer to a command, without its tag, or to a "+" that asks for
// more, which it returns alone.
func tagged(in *textproto.Reader, tag string) (string, error) {
	for {
		text, err := in.ReadLine()
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(text, "+") {
			return "+", nil
		}
		if rest, ok := strings.CutPrefix(text, tag+" "); ok {
			return rest, nil
		}
	}
}
