package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gateway/admin"
)

// wrapTime is for how long an import wraps weak hashes. What is left then, some thousands of
// them, goes bare into the store, from which the running gateway takes them one by one: ten
// thousand accounts must not take minutes, and who holds up an import is not safer for it.
const wrapTime = 15 * time.Second

// storeSecrets makes what is stored of the passwords that are set, on all processors: first of
// those that must be hashed, then of the hashes that are the cheapest to guess at. It returns how
// many weak ones are left bare.
func storeSecrets(ctx context.Context, accounts []admin.PreparedAccount, plans []admin.ImportPlan, progress io.Writer) (bare int, err error) {
	var todo []int
	for i, p := range plans {
		if p.Password {
			todo = append(todo, i)
		}
	}
	slices.SortStableFunc(todo, func(i, j int) int {
		return cmp.Or(order(accounts[i].Plain, accounts[j].Plain), order(accounts[i].Slow(), accounts[j].Slow()),
			cmp.Compare(accounts[i].Hash.Price().Work, accounts[j].Hash.Price().Work))
	})
	began := time.Now()
	var left atomic.Int64
	var next, done atomic.Int64
	var workers sync.WaitGroup
	failed := make([]error, runtime.GOMAXPROCS(0))
	for w := range failed {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(todo) {
					return
				}
				a := &accounts[todo[i]]
				late := !a.Plain && a.Slow() && time.Since(began) > wrapTime
				if late {
					left.Add(1)
				}
				if err := a.StoreSecret(late); err != nil {
					failed[w] = fmt.Errorf("%s: %w", a.Name, err)
					return
				}
				done.Add(1)
			}
		})
	}
	finished := make(chan struct{})
	go func() { workers.Wait(); close(finished) }()
	for tick := time.NewTicker(2 * time.Second); ; {
		select {
		case <-tick.C:
			fmt.Fprintf(progress, "%d of %d passwords are hashed\n", done.Load(), len(todo))
		case <-finished:
			tick.Stop()
			return int(left.Load()), errors.Join(append(failed, ctx.Err())...)
		}
	}
}

// order puts what is so before what is not.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}
