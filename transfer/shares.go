package transfer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"gateway/session"
	"gateway/storage"
)

// recountAfter is how old a count may be when the first session of an account
// begins. What the gateway itself does is in the numbers at once; a count finds
// what others did to the files meanwhile.
const recountAfter = time.Hour

// SharesConfig says where the trees are and who belongs together.
type SharesConfig struct {
	// Open opens the tree of an account. What changes in it is told to ledger, unless
	// that is nil.
	Open func(whose Owner, ledger storage.Ledger) (storage.FS, error)
	// Members returns the accounts in a group. It is asked when a member of a group
	// with a quota opens its files. Nil means that a group is whoever came.
	Members func(group string) []string
}

// Owner is whose tree is opened.
type Owner struct {
	User string
	// Password is that of the session for which it is opened, where it is to be handed on to
	// the server that has the tree (session.Session.Password); empty for none.
	Password session.Secret
}

// Shares is what sessions share, over all protocols of the process: the quota and
// the bandwidth of their account, and the quotas of its groups. Its methods may be
// called at the same time from any goroutine.
type Shares struct {
	cfg SharesConfig

	mu       sync.Mutex
	accounts map[string]*share
	groups   map[string]*group
}

// NewShares returns the Shares of a node.
func NewShares(cfg SharesConfig) *Shares {
	return &Shares{cfg: cfg, accounts: make(map[string]*share), groups: make(map[string]*group)}
}

// group is a group with a quota.
type group struct {
	name string
	balance
	members map[*share]bool
}

// share is what the sessions of one account share. It is kept as long as the
// process lives.
type share struct {
	shares *Shares
	user   string
	// counting is held by who counts or is about to begin a session.
	counting chan struct{}
	// step is the lock of the ledger, held through a change of the tree.
	step sync.Mutex

	// Under the lock of Shares:
	own       balance
	groups    []*group
	credits   map[uint64]*claim // by the file that is going to be replaced
	uploads   int
	sessions  int       // that tell what they change
	blind     int       // that do not, having no quota
	counted   time.Time // zero: never, or not to be relied on
	bandwidth *Bandwidth
}

// share returns that of an account. The lock is not held.
func (s *Shares) share(user string) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.accounts[user]
	if sh == nil {
		sh = &share{shares: s, user: user, counting: make(chan struct{}, 1), credits: make(map[uint64]*claim)}
		s.accounts[user] = sh
	}
	return sh
}

// Ledger is told of what is changed in the tree of an account outside of its
// sessions, such as by a sweep.
func (s *Shares) Ledger(user string) storage.Ledger { return s.share(user) }

// Open opens the files of whoever logged in. What its account has is counted if
// it has a quota and nobody has counted yet. Without a quota nothing is counted.
func (s *Shares) Open(ctx context.Context, sess *session.Session, limits Limits) (*Files, error) {
	id := sess.Identity()
	sh := s.share(id.User)
	limited := hasQuota(id.Access)
	if err := sh.enter(ctx, id.Access, limited); err != nil {
		return nil, fmt.Errorf("count the files of account %q: %w", id.User, err)
	}
	leave := sync.OnceFunc(func() { sh.leave(limited) })
	var ledger storage.Ledger
	if limited {
		for _, q := range id.Access.Shared {
			if err := s.gather(ctx, q, sh); err != nil {
				leave()
				return nil, fmt.Errorf("count the files of group %q: %w", q.Group, err)
			}
		}
		ledger = sh
	}
	tree, err := s.cfg.Open(Owner{id.User, sess.Password()}, ledger)
	if err != nil {
		leave()
		return nil, err
	}
	f := New(sess, tree, limits)
	f.leave = leave
	if limited {
		f.share = sh
	}
	f.in, f.out = paces(sh.limited(id.Access.Bandwidth), NewBandwidth(sess.Data().Held.Bandwidth), limits.Bandwidth)
	return f, nil
}

// hasQuota reports whether anything must be counted.
func hasQuota(a session.Access) bool {
	return a.Quota != session.Quota{} || slices.ContainsFunc(a.Shared, func(q session.GroupQuota) bool { return q.Quota != session.Quota{} })
}

// enter begins a session of the account, by the quotas that it has now.
func (s *share) enter(ctx context.Context, access session.Access, limited bool) error {
	if !limited {
		s.shares.mu.Lock()
		defer s.shares.mu.Unlock()
		s.follow(access)
		s.blind++
		s.counted = time.Time{}
		return nil
	}
	return s.exclusively(ctx, func() error {
		if s.stale() {
			if err := s.count(ctx); err != nil {
				return err
			}
		}
		s.shares.mu.Lock()
		defer s.shares.mu.Unlock()
		s.follow(access)
		s.sessions++
		return nil
	})
}

// exclusively keeps others from counting and from beginning a session.
func (s *share) exclusively(ctx context.Context, do func() error) error {
	select {
	case s.counting <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.counting }()
	return do()
}

// follow takes over the quotas that the account has now. The lock is held.
func (s *share) follow(access session.Access) {
	s.own.quota = access.Quota
	for _, g := range slices.Clone(s.groups) {
		if !slices.ContainsFunc(access.Shared, func(q session.GroupQuota) bool { return q.Group == g.name && q.Quota != session.Quota{} }) {
			g.remove(s)
		}
	}
}

// leave ends a session.
func (s *share) leave(limited bool) {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	if limited {
		s.sessions--
	} else {
		s.blind--
	}
}

// stale reports whether the account must be counted. While it is in use a number
// once counted is right but for what others do to the files.
func (s *share) stale() bool {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	return s.sessions == 0 && s.uploads == 0 && time.Since(s.counted) > recountAfter
}

// count counts the account's tree, which does not change meanwhile but for what
// sessions do that had no quota when they began: then it is counted again as soon
// as it can be.
func (s *share) count(ctx context.Context) error {
	tree, err := s.shares.cfg.Open(Owner{User: s.user}, nil)
	if err != nil {
		return err
	}
	defer tree.Close()
	s.step.Lock()
	defer s.step.Unlock()
	usage, err := tree.Usage(ctx)
	if err != nil {
		return err
	}
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	s.add(amount{usage.Bytes, usage.Files}.minus(s.own.total))
	if s.blind == 0 {
		s.counted = time.Now()
	}
	return nil
}

// gather makes the group of a quota out of its members and the account first.
// Who was never counted is counted.
func (s *Shares) gather(ctx context.Context, q session.GroupQuota, first *share) error {
	if q.Quota == (session.Quota{}) {
		return nil
	}
	var users []string
	if s.cfg.Members != nil {
		users = s.cfg.Members(q.Group)
	}
	members := map[*share]bool{first: true}
	for _, user := range users {
		sh := s.share(user)
		members[sh] = true
		err := sh.exclusively(ctx, func() error {
			if !sh.uncounted() {
				return nil
			}
			return sh.count(ctx)
		})
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[q.Group]
	if g == nil {
		g = &group{name: q.Group, members: make(map[*share]bool)}
		s.groups[q.Group] = g
	}
	g.quota = q.Quota
	for sh := range g.members {
		if !members[sh] && s.cfg.Members != nil {
			g.remove(sh)
		}
	}
	for sh := range members {
		g.insert(sh)
	}
	return nil
}

// uncounted reports whether nothing is known of the account and nobody is there
// who would know.
func (s *share) uncounted() bool {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	return s.counted.IsZero() && s.sessions == 0 && s.uploads == 0
}

func (g *group) insert(s *share) {
	if !g.members[s] {
		g.members[s] = true
		g.total = g.total.plus(s.own.total)
		s.groups = append(s.groups, g)
	}
}

func (g *group) remove(s *share) {
	if g.members[s] {
		delete(g.members, s)
		g.total = g.total.minus(s.own.total)
		s.groups = slices.DeleteFunc(s.groups, func(other *group) bool { return other == g })
	}
}

// limited returns what all sessions of the account share that may move so many
// bytes a second.
func (s *share) limited(perSecond int64) *Bandwidth {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	if perSecond <= 0 {
		return nil
	}
	if s.bandwidth == nil || s.bandwidth.perSecond != perSecond {
		s.bandwidth = NewBandwidth(perSecond)
	}
	return s.bandwidth
}
