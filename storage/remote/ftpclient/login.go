package ftpclient

import (
	"errors"
	"fmt"
	"strings"
)

// Check reports what of a login FTP cannot say.
func (c Config) Check() error {
	switch {
	case c.User == "":
		return errors.New("user: say who logs in there")
	case c.Password.Empty():
		return errors.New("password: say that of user")
	case strings.ContainsAny(c.User+c.Password.Reveal(), "\r\n\x00"):
		return errors.New("user and password: they cannot have an end of line in them")
	}
	return nil
}

// login logs in (RFC 959, section 4.1.1).
func (c *Conn) login() error {
	r, err := c.command("USER", c.cfg.User)
	if err == nil && r.code == 331 {
		r, err = c.command("PASS", c.cfg.Password.Reveal())
	}
	switch {
	case err != nil:
		return err
	case r.code/100 != 2:
		// Its words are not repeated: they may be ours.
		return fmt.Errorf("it does not let user in: it answers with %d", r.code)
	}
	return nil
}
