package admin

import (
	"context"
	"errors"
	"strings"
	"sync"

	"gateway/queue"
	"gateway/session"
)

// QueueQuery asks for one page of the queue.
type QueueQuery struct {
	Filter queue.Filter `json:"filter"`
	After  string       `json:"after,omitempty"` // Next of the page before
}

func (s *Service) queueList(ctx context.Context, in QueueQuery) (queue.Page, error) {
	q, err := s.OpenQueue(ctx)
	if err != nil {
		return queue.Page{}, err
	}
	return q.List(ctx, in.Filter, in.After)
}

func (s *Service) queueShow(ctx context.Context, in ID) (queue.Detail, error) {
	q, err := s.OpenQueue(ctx)
	if err != nil {
		return queue.Detail{}, err
	}
	d, err := q.Show(ctx, in.ID)
	return d, noMessage(err, in.ID)
}

func noMessage(err error, id string) error {
	return missing(err, "there is no message %q in the queue; see 'gateway queue list'", id)
}

// MaxQueueChange is how many messages one request changes.
const MaxQueueChange = 500

// QueueChange names the messages that are to be changed. Each request is one change in
// the record.
type QueueChange struct {
	IDs []string `json:"ids"`
	// Gone says that those that are not in the queue any more are passed over.
	Gone bool `json:"gone,omitempty"`
}

// QueueChanged says how many were.
type QueueChanged struct {
	Changed int `json:"changed"`
}

// queueChange makes a method of what is done to one message.
func queueChange(verb session.Verb, do func(*queue.Queue, context.Context, string) error) call {
	return method(func(s *Service, ctx context.Context, in QueueChange) (QueueChanged, error) {
		if n := len(in.IDs); n == 0 || n > MaxQueueChange {
			return QueueChanged{}, Usage("%d messages in one request, want 1 to %d", n, MaxQueueChange)
		}
		q, err := s.OpenQueue(ctx)
		if err != nil {
			return QueueChanged{}, err
		}
		var out QueueChanged
		err = s.record(ctx, verb, objectOf(in.IDs), func() (any, any, error) {
			out, err = changeAll(in, func(id string) error { return do(q, ctx, id) })
			return nil, out, err
		})
		return out, err
	})
}

// objectOf names messages in the record.
func objectOf(ids []string) string {
	if len(ids) == 1 {
		return "message " + ids[0]
	}
	return "messages " + strings.Join(ids, " ")
}

// changesAtOnce is how many are under way at once, so that they share their syncs.
const changesAtOnce = 32

func changeAll(in QueueChange, do func(id string) error) (out QueueChanged, err error) {
	errs := make([]error, len(in.IDs))
	slots := make(chan struct{}, changesAtOnce)
	var wg sync.WaitGroup
	for i, id := range in.IDs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(id)
		})
	}
	wg.Wait()
	for i, each := range errs {
		switch {
		case each == nil:
			out.Changed++
		case in.Gone && errors.Is(each, session.ErrNotExist):
		default:
			err = errors.Join(err, noMessage(each, in.IDs[i]))
		}
	}
	return out, err
}
