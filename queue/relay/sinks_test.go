package relay

import (
	"net"
	"os/exec"
	"os/user"
	"strings"
	"testing"
	"time"
)

// Postfix's own sink with each of its faults. It is a peer that was not written
// to please us.
func TestSMTPSink(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("smtp-sink")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/smtp-sink"); err != nil {
			t.Skip("smtp-sink (package postfix) is not installed")
		}
	}
	for args, c := range map[string]struct {
		lmtp bool
		slow bool       // one message has to do
		want [3]Outcome // of three messages in turn
	}{
		"":             {want: [3]Outcome{Delivered, Delivered, Delivered}},
		"-p":           {want: [3]Outcome{Delivered, Delivered, Delivered}},
		"-8 -p -N":     {want: [3]Outcome{Delivered, Delivered, Delivered}},
		"-e":           {want: [3]Outcome{Delivered, Delivered, Delivered}},
		"-L":           {lmtp: true, want: [3]Outcome{Delivered, Delivered, Delivered}},
		"-L -p":        {lmtp: true, want: [3]Outcome{Delivered, Delivered, Delivered}},
		"-r CONNECT":   {},
		"-r EHLO":      {},
		"-r MAIL":      {},
		"-r RCPT":      {},
		"-r DATA":      {},
		"-r .":         {},
		"-f CONNECT":   {},                                                  // about the host, not about the message
		"-f EHLO":      {want: [3]Outcome{Delivered, Delivered, Delivered}}, // HELO remains
		"-f EHLO,HELO": {},
		"-f MAIL":      {want: [3]Outcome{Failed, Failed, Failed}},
		"-f RCPT":      {want: [3]Outcome{Failed, Failed, Failed}},
		"-f DATA":      {want: [3]Outcome{Failed, Failed, Failed}},
		"-f .":         {want: [3]Outcome{Failed, Failed, Failed}},
		"-q CONNECT":   {},
		"-q EHLO":      {},
		"-q MAIL":      {},
		"-q RCPT":      {},
		"-q DATA":      {},
		"-q .":         {},
		"-Q CONNECT":   {},
		"-Q EHLO":      {},
		"-Q MAIL":      {},
		"-Q RCPT":      {},
		"-Q DATA":      {},
		"-Q .":         {},
		"-p -q MAIL":   {},
		"-p -Q RCPT":   {},
		"-p -f DATA":   {want: [3]Outcome{Failed, Failed, Failed}},
		"-L -f .":      {lmtp: true, want: [3]Outcome{Failed, Failed, Failed}},
		"-L -q .":      {lmtp: true},
		"-A 1":         {slow: true, want: [3]Outcome{Failed}}, // refuses in the middle of the content
		"-H 1":         {slow: true, want: [3]Outcome{Delivered}},
		"-w 1":         {slow: true, want: [3]Outcome{Delivered}},
		"-P -E":        {want: [3]Outcome{Delivered, Delivered, Delivered}},
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			address := runSink(t, program, strings.Fields(args))
			client := &Client{Hostname: "gw.example.com"}
			for i, want := range c.want {
				if c.slow && i > 0 {
					break
				}
				m := letter("b@y.test", "c@y.test")
				r := client.Deliver(t.Context(), Target{Endpoint: Endpoint{Network: "tcp", Address: address, LMTP: c.lmtp}}, m)
				for n, s := range r.Statuses {
					if s.Outcome != want || s.Text == "" {
						t.Errorf("message %d, recipient %d: got %+v, want outcome %d", i, n, s, want)
					}
				}
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func runSink(t *testing.T, program string, args []string) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = ln.Addr().String()
	_ = ln.Close() // the sink takes no socket: the port is free again for it
	if u, err := user.Current(); err == nil && u.Uid == "0" {
		args = append([]string{"-u", "root"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), program, append(args, address, "20")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("smtp-sink does not listen: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // another process: nothing else to wait for
	}
}
