package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"strings"
	"sync/atomic"
	"time"
)

const (
	mailClients = 32
	mailSize    = 4096
)

// measureSMTP submits messages over implicit TLS, each client on a connection
// that it keeps. An answer of 250 means that the message is on stable storage.
func measureSMTP(_ context.Context, g *gateway, o options, out io.Writer) error {
	clients := make([]*smtp.Client, mailClients)
	for i := range clients {
		c, err := dialSMTP(g)
		if err != nil {
			return err
		}
		defer c.Close()
		clients[i] = c
	}
	from := benchUser + "@example.com"
	head := "From: <" + from + ">\r\nTo: <x@example.net>\r\nSubject: bench\r\nDate: " + time.Now().Format(time.RFC1123Z) + "\r\n\r\n"
	message := head + strings.Repeat(strings.Repeat("x", 62)+"\r\n", (mailSize-len(head))/64)
	var left atomic.Int64
	left.Store(int64(o.messages))
	took, cpu, err := g.measure(func() error {
		return parallel(mailClients, func(i int) error {
			for left.Add(-1) >= 0 {
				if err := sendMail(clients[i], from, message); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	rateRow(out, "submission", mailClients, o.messages, took, cpu)
	return nil
}

// dialSMTP logs in over implicit TLS.
func dialSMTP(g *gateway) (*smtp.Client, error) {
	addr := g.addrs["submissions"]
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if err != nil {
		return nil, err
	}
	c, err := smtp.NewClient(conn, host)
	if err == nil {
		err = c.Auth(smtp.PlainAuth("", benchUser, benchPassword, host))
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

func sendMail(c *smtp.Client, from, message string) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt("x@example.net"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, message); err != nil {
		return err
	}
	return w.Close()
}

// rateRow prints how many of something were done.
func rateRow(out io.Writer, what string, clients, n int, took, cpu time.Duration) {
	fmt.Fprintf(out, "%s\t%d\t%.0f\t%.2f\t\n", what, clients,
		float64(n)/took.Seconds(), float64(cpu.Milliseconds())/float64(n))
}
