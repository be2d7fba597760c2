package transfer

import (
	"context"

	"golang.org/x/time/rate"
)

const (
	// leastPiece and mostPiece bound how much of a transfer goes at once where
	// bandwidth is limited; between them it is what moves in a quarter of a second.
	// Smaller pieces let those who share a limit take turns.
	leastPiece = 4 << 10
	mostPiece  = 256 << 10
	// saved is how much of a limit that was not used may be used later, as a part of
	// a second.
	saved = 4
)

// Bandwidth is how many bytes a second may move, in each direction for itself,
// through all that share it. Nil is no limit.
type Bandwidth struct {
	perSecond int64
	in, out   *rate.Limiter
}

// NewBandwidth returns a limit of so many bytes a second; nil for zero.
func NewBandwidth(perSecond int64) *Bandwidth {
	if perSecond <= 0 {
		return nil
	}
	burst := int(min(max(perSecond/saved, leastPiece), 1<<30))
	return &Bandwidth{
		perSecond: perSecond,
		in:        rate.NewLimiter(rate.Limit(perSecond), burst), out: rate.NewLimiter(rate.Limit(perSecond), burst),
	}
}

// pace is what bytes in one direction must wait for.
type pace []*rate.Limiter

// wait returns how many of the next want bytes may move, at least one, when
// they may. It returns the cause if ctx is over before.
func (p pace) wait(ctx context.Context, want int64) (int64, error) {
	if len(p) == 0 || want <= 0 {
		return want, nil
	}
	for _, l := range p {
		want = min(want, int64(l.Burst()), mostPiece)
	}
	for _, l := range p {
		if err := l.WaitN(ctx, int(want)); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return 0, err
		}
	}
	return want, nil
}

// paces returns what the bytes of a session wait for.
func paces(limits ...*Bandwidth) (in, out pace) {
	for _, b := range limits {
		if b != nil {
			in, out = append(in, b.in), append(out, b.out)
		}
	}
	return in, out
}
