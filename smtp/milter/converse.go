package milter

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"gateway/smtp"
)

// errOver is an answer that ends the dialogue, and lets the message go on as it is.
var errOver = errors.New("the filter has seen enough")

// converse shows m to the filter. It returns nil if the message may go on.
func converse(s *gomilter.ClientSession, m *smtp.Message) error {
	if more := s.ActionOpts &^ actions; more != 0 {
		return fmt.Errorf("it asks for actions that are not offered (%#x): recipients and the sender are not its to change", uint32(more))
	}
	if more := s.ProtocolOpts &^ protocol; more != 0 {
		return fmt.Errorf("it asks for protocol options that are not offered (%#x)", uint32(more))
	}
	d := dialogue{s, m}
	for _, step := range []func() error{d.connection, d.envelope, d.header, d.body} {
		switch err := step(); {
		case errors.Is(err, errOver):
			return nil
		case err != nil:
			return err
		}
	}
	return d.end()
}

// dialogue is one message before one filter.
type dialogue struct {
	*gomilter.ClientSession
	m *smtp.Message
}

// connection tells who sends, and by what connection.
func (d dialogue) connection() error {
	m := d.m
	remote := m.Peer.Remote
	address, family := remote.Addr().Unmap().WithZone(""), gomilter.FamilyInet
	text := address.String()
	if address.Is6() {
		family, text = gomilter.FamilyInet6, "IPv6:"+text
	}
	if !address.IsValid() {
		family, text = gomilter.FamilyUnknown, ""
	}
	macros := []string{"j", m.Hostname, "_", "[" + text + "]", "v", "gateway", "{daemon_name}", m.Peer.Listener,
		"{client_addr}", text, "{client_name}", "[" + text + "]", "{client_port}", strconv.Itoa(int(remote.Port()))}
	if err := d.Macros(gomilter.CodeConn, macros...); err != nil {
		return err
	}
	if err := d.said(d.Conn("["+text+"]", family, remote.Port(), text)); err != nil {
		return err
	}
	if err := d.Macros(gomilter.CodeHelo, tlsMacros(m.TLS)...); err != nil {
		return err
	}
	return d.said(d.Helo(m.Helo))
}

func tlsMacros(state *tls.ConnectionState) []string {
	if state == nil {
		return nil
	}
	cipher := tls.CipherSuiteName(state.CipherSuite)
	bits := "256"
	if strings.Contains(cipher, "AES_128") {
		bits = "128"
	}
	macros := []string{"{tls_version}", strings.ReplaceAll(tls.VersionName(state.Version), "TLS ", "TLSv"), "{cipher}", cipher, "{cipher_bits}", bits}
	if len(state.PeerCertificates) > 0 {
		c := state.PeerCertificates[0]
		macros = append(macros, "{cert_subject}", c.Subject.String(), "{cert_issuer}", c.Issuer.String())
	}
	return macros
}

// envelope tells sender and recipients.
func (d dialogue) envelope() error {
	m := d.m
	var args []string
	if m.SMTPUTF8 {
		args = []string{"SMTPUTF8"}
	}
	err := d.Macros(gomilter.CodeMail, "i", m.ID, "{auth_authen}", m.User, "{auth_type}", string(m.Method), "{mail_addr}", m.From)
	if err == nil {
		err = d.said(d.Mail(m.From, args))
	}
	for _, to := range m.To {
		if err == nil {
			err = d.Macros(gomilter.CodeRcpt, "i", m.ID, "{rcpt_addr}", to)
		}
		if err == nil {
			err = d.said(d.Rcpt(to, nil))
		}
	}
	return err
}

func (d dialogue) header() error {
	for _, f := range d.m.Header {
		value := f.Value
		if !d.ProtocolOption(gomilter.OptHeaderLeadingSpace) {
			value = strings.TrimPrefix(value, " ")
		}
		// Folded lines are told apart by LF, as Sendmail does.
		if err := d.said(d.HeaderField(f.Name, strings.ReplaceAll(value, "\r\n", "\n"))); err != nil {
			return err
		}
	}
	if err := d.Macros(gomilter.CodeEOH, "i", d.m.ID); err != nil {
		return err
	}
	return d.said(d.HeaderEnd())
}

func (d dialogue) body() error {
	if d.ProtocolOption(gomilter.OptNoBody) {
		return nil
	}
	r := d.m.Body()
	chunk := make([]byte, gomilter.MaxBodyChunk)
	for {
		n, err := io.ReadFull(r, chunk)
		if n > 0 {
			if err := d.said(d.BodyChunk(chunk[:n])); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the body: %w", err)
		}
	}
}

// end asks for the verdict and makes the changes that come with it.
func (d dialogue) end() error {
	if err := d.Macros(gomilter.CodeEOB, "i", d.m.ID); err != nil {
		return err
	}
	changes, verdict, err := d.End()
	if err == nil {
		err = d.said(verdict, nil)
	}
	if err != nil && !errors.Is(err, errOver) {
		return err
	}
	return apply(d.m, changes, d.ProtocolOption(gomilter.OptHeaderLeadingSpace))
}

// said makes an error of an answer that is not to go on.
func (d dialogue) said(a *gomilter.Action, err error) error {
	if err != nil {
		return err
	}
	switch a.Code {
	case gomilter.ActContinue:
		return nil
	case gomilter.ActAccept:
		return errOver
	case gomilter.ActDiscard:
		// The sender is going to be told that the message was accepted, and what was
		// acknowledged is not lost: somebody looks at it.
		d.m.Hold = "a milter wants it discarded"
		return errOver
	case gomilter.ActReject:
		return &smtp.Rejection{Code: 550, Enhanced: "5.7.1", Text: "Message refused by a content filter", Reason: "reject"}
	case gomilter.ActTempFail:
		return &smtp.Rejection{Code: 451, Enhanced: "4.7.1", Text: "Message deferred by a content filter, try again later", Reason: "tempfail"}
	case gomilter.ActReplyCode:
		return replied(a)
	default:
		return fmt.Errorf("it answers %q", rune(a.Code))
	}
}

// replied is a refusal in the filter's own words: "5.7.1 Spam message rejected".
func replied(a *gomilter.Action) error {
	if a.SMTPCode < 400 || a.SMTPCode > 599 {
		return fmt.Errorf("it answers with the reply code %d", a.SMTPCode)
	}
	r := &smtp.Rejection{Code: a.SMTPCode, Text: a.SMTPText, Reason: fmt.Sprintf("%d %s", a.SMTPCode, a.SMTPText)}
	if enhanced, text, found := strings.Cut(a.SMTPText, " "); found && strings.Count(enhanced, ".") == 2 && strings.Trim(enhanced, "0123456789.") == "" {
		r.Enhanced, r.Text = enhanced, text
	}
	return r
}
