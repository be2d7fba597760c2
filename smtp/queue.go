package smtp

import (
	"context"
	"io"
)

// Queue takes accepted mail. *queue.Queue is one by way of QueueFunc.
type Queue interface {
	// Draft begins a message.
	Draft() Draft
}

// Draft is a message on its way into the queue. It is used by one goroutine.
type Draft interface {
	// Writer takes the content, with CRLF line ends.
	io.Writer
	// Commit puts the message into the queue and returns its id once content and
	// envelope are on stable storage. ErrNoSpace and ErrQuota are told apart; any
	// other error is a fault of ours.
	Commit(ctx context.Context, e Envelope) (id string, err error)
	// Discard drops what was written; after Commit it does nothing.
	Discard()
}

// QueueFunc makes a Queue of the method that begins a message:
//
//	smtp.QueueFunc(func() smtp.Draft { return q.Draft() })
type QueueFunc func() Draft

// Draft calls f.
func (f QueueFunc) Draft() Draft { return f() }

// Envelope is what the queue needs to know of a message.
type Envelope struct {
	From, User, Conn, Session, MessageID, Route string
	To                                          []string
	SMTPUTF8                                    bool
}
