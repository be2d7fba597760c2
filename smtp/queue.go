package smtp

import (
	"context"
	"io"

	"gateway/queue"
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
	// ID is the queue id that the message will have.
	ID() string
	// Commit puts the message into the queue and returns its ID once content and
	// envelope are on stable storage. ErrNoSpace and ErrQuota are told apart; any
	// other error is a fault of ours.
	Commit(ctx context.Context, e queue.Envelope) (id string, err error)
	// Discard drops what was written; after Commit it does nothing.
	Discard()
}

// QueueFunc makes a Queue of the method that begins a message:
//
//	smtp.QueueFunc(func() smtp.Draft { return q.Draft() })
type QueueFunc func() Draft

// Draft calls f.
func (f QueueFunc) Draft() Draft { return f() }

var _ Draft = (*queue.Draft)(nil)
