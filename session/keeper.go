package session

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

const (
	// maxSignOns and maxProfiles bound what is kept ready for use.
	maxSignOns  = 20_000
	maxProfiles = 20_000
	// shelfSize is the bytes that more sign-ons take, and as many more users: some
	// 150,000 sign-ons, and 100,000 users with a few groups. If there are more of
	// them, each shelf grows up to a 32nd of the memory that the process may use, but
	// to largestShelf at most. What doesn't fit is read from the store.
	shelfSize    = 16 << 20
	largestShelf = 256 << 20

	// promptness is the time within which every node learns of a change. A
	// node that heard of no heartbeat for longer counts as cut off.
	promptness = 2 * time.Second
	// maxRetries bounds how often a change that came in between is followed.
	maxRetries = 3
)

// ErrCutOff says that this node has not heard for too long what has changed, so
// that it can't tell whether a sign-on still counts.
var ErrCutOff = errors.New("cut off from the changes of the store for too long")

// Profile is a user as apps are told of them. Nobody changes one.
type Profile struct {
	User
	// GroupList is the groups joined by commas.
	GroupList string
}

// Keeper answers whether a sign-on or a device still counts, notes when it is
// used, and ends the connections of one that has ended. There is one for each
// store in a process, for as long as the store is open.
//
// It follows the store's feed of changes: see the methods of store.Follower.
type Keeper struct {
	store    Store
	clock    func() time.Time
	warn     Warn
	signOns  *rows[keptSignOn]
	profiles *rows[Profile]
	devices  *rows[keptDevice] // by certificate
	// accessTokens are by selector.
	accessTokens *rows[keptAccessToken]
	knownTokens  knownTokens
	activity     *activity
	shelfMost    int // bytes that a shelf may grow to
	// deviceActivity and tokenActivity are activity of devices and access tokens.
	deviceActivity *activity
	tokenActivity  *activity
	connections    *connections

	// heard is the sending time of the newest heartbeat, in nanoseconds since began
	// by the monotonic clock: setting the wall clock doesn't change it. lost is
	// whether changes were lost since.
	heard atomic.Int64
	began time.Time
	lost  atomic.Bool
	// resolving is true while doubts that were left are looked into again.
	resolving atomic.Bool
	// closed says that nobody watches over connections any more.
	closed atomic.Bool
}

// keptSignOn is what is needed of a sign-on with each request. The times are in
// nanoseconds since 1970.
type keptSignOn struct {
	user     string // id
	expires  int64
	lastSeen int64 // as of the reading
	idle     time.Duration
	seen     *sighting
}

// Warn logs what went wrong without anybody being told.
type Warn func(message string, fields ...zap.Field)

// NewKeeper returns a Keeper that is to follow the store's feed. Until it does,
// it answers ErrCutOff.
func NewKeeper(s Store, clock func() time.Time, warn Warn) *Keeper {
	k := &Keeper{
		store: s, clock: clock, began: clock(), warn: warn, activity: newActivity(), deviceActivity: newActivity(), tokenActivity: newActivity(),
		connections: newConnections(), shelfMost: shelfMost(debug.SetMemoryLimit(-1)),
	}
	k.heard.Store(never)
	ended := func(err error) bool { return errors.Is(err, ErrEnded) }
	k.signOns = newRows(maxSignOns, k.readSignOn, k.current, ended).shelve(k.shelvedSignOns())
	k.profiles = newRows(maxProfiles, k.readProfile, k.current, ended).shelve(k.shelvedProfiles())
	k.devices = newRows(maxDevices, k.readDevice, k.current, func(error) bool { return false })
	k.accessTokens = newRows(maxAccessTokens, k.readAccessToken, k.current, func(error) bool { return false })
	k.accessTokens.isLikely = k.knownTokens.has
	return k
}

// shelfMost is how many bytes a shelf may take in a process whose memory is limited
// to so many. Caddy sets that limit by what the system has. Where none is set, it
// isn't known what there is, and shelves stay as they are.
func shelfMost(limit int64) int {
	if limit == math.MaxInt64 {
		return shelfSize
	}
	return int(min(max(limit/32, shelfSize), largestShelf))
}

// Run writes activity down once a Granularity and when the context ends, and
// holds connections against the clock. When the context has ended it ends all
// connections, since nobody watches over them any more, and returns once all is
// written.
func (k *Keeper) Run(ctx context.Context) {
	watch, flush := time.NewTicker(watchEvery), time.NewTicker(Granularity)
	defer watch.Stop()
	defer flush.Stop()
	k.learnTokens(ctx)
	for {
		select {
		case <-ctx.Done():
			k.endAll()
			k.Flush(context.WithoutCancel(ctx))
			return
		case <-watch.C:
			k.Watch()
		case <-flush.C:
			k.Flush(ctx)
			k.learnTokens(ctx)
		}
	}
}

func (k *Keeper) readSignOn(ctx context.Context, id string) (keptSignOn, error) {
	s, err := readLive(ctx, k.store, id, k.clock())
	if err != nil {
		return keptSignOn{}, err
	}
	return keptSignOn{
		user: s.UserID, expires: s.Expires.UnixNano(), lastSeen: s.LastSeen.UnixNano(), idle: s.Idle,
		seen: k.activity.learn(id, s.LastSeen),
	}, nil
}

func (k *Keeper) readProfile(ctx context.Context, id string) (Profile, error) {
	u, err := k.store.UserByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return Profile{}, ErrEnded
	}
	if err != nil {
		return Profile{}, fmt.Errorf("reading the user of a sign-on: %w", err)
	}
	return Profile{User: u, GroupList: joinGroups(u.Groups)}, nil
}

// SignOnLookup says which sign-on is asked about, and how.
type SignOnLookup struct {
	// Session names the sign-on, and remembers where the Keeper found it, so
	// that it needn't be searched for again; nil: SignOn names it.
	Session *Session
	SignOn  string // id
	// Passive says that this doesn't count as activity.
	Passive bool
	// MaxStaleness is how long answers from memory count while this
	// process is cut off from the changes.
	MaxStaleness time.Duration
}

// LiveSignOn returns the sign-on and its user if both count now, and notes the
// activity. ErrEnded is a definite no; any other error means that it could not
// be told, and nobody may be let in on it.
func (k *Keeper) LiveSignOn(ctx context.Context, l SignOnLookup) (LiveSignOn, error) {
	var last *found
	if l.Session != nil {
		l.SignOn, last = l.Session.SignOn, l.Session.found
	}
	if last == nil {
		last = new(found) // nobody remembers
	}
	s, err := k.findSignOn(ctx, l, last)
	if err != nil {
		return LiveSignOn{}, err
	}
	p, err := active(k.profiles.get(ctx, s.value.user, &last.profile))
	if err != nil {
		return LiveSignOn{}, err
	}
	return LiveSignOn{ID: l.SignOn, User: &p.value, keeper: k, signOn: s, profile: p}, nil
}

// findSignOn returns a sign-on that counts now, and notes that it is used.
func (k *Keeper) findSignOn(ctx context.Context, l SignOnLookup, last *found) (*row[keptSignOn], error) {
	now := k.clock()
	if k.stale(now, l.MaxStaleness) {
		return nil, ErrCutOff
	}
	s, err := k.signOns.get(ctx, l.SignOn, &last.signOn)
	if err != nil {
		return nil, err
	}
	if now.UnixNano() >= s.value.expires {
		return nil, ErrEnded
	}
	if !s.value.seen.within(now, s.value.idle) {
		if err := k.askIdle(ctx, l.SignOn); err != nil {
			return nil, err
		}
	}
	if !l.Passive && !s.value.seen.raise(now.UnixNano()) {
		k.activity.note(l.SignOn, now)
	}
	return s, nil
}

// askIdle asks the store whether a sign-on that was not used here lately was
// used elsewhere, and ends it if not.
func (k *Keeper) askIdle(ctx context.Context, id string) error {
	return k.endIfIdle(ctx, id, func() (time.Time, time.Duration, error) {
		s, err := k.signOns.again(ctx, id)
		if err != nil {
			return time.Time{}, 0, err
		}
		return time.Unix(0, s.value.lastSeen), s.value.idle, nil
	})
}

// endIfIdle ends a sign-on that neither this process nor the store has seen for
// longer than its idle limit. read reads the two from the store, once more
// whenever the sign-on changed since.
func (k *Keeper) endIfIdle(ctx context.Context, id string, read func() (lastSeen time.Time, idle time.Duration, err error)) error {
	for range maxRetries {
		lastSeen, idle, err := read()
		if err != nil {
			return err
		}
		seen := lastSeen
		if here, known := k.activity.last(id); known && here.After(seen) {
			seen = here
		}
		now := k.clock()
		if now.Sub(seen) <= idle+Granularity {
			return nil
		}
		err = k.store.EndUnseenSignOn(ctx, id, lastSeen, now, EndedIdle)
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return ErrEnded
		}
		if !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("ending an idle sign-on: %w", err)
		}
	}
	return errors.New("a sign-on changed each time it was read")
}

// active passes on a user who may sign in.
func active(p *row[Profile], err error) (*row[Profile], error) {
	if err == nil && p.value.Status != store.UserActive {
		return nil, ErrEnded
	}
	return p, err
}

// LivePortal is LiveSignOn for the portal's cookie, by the store itself: its secret
// must be the one that the sign-on names.
func (k *Keeper) LivePortal(ctx context.Context, p PortalSession) (SignOn, User, error) {
	var s SignOn
	err := k.endIfIdle(ctx, p.SignOn, func() (lastSeen time.Time, idle time.Duration, err error) {
		s, err = readLive(ctx, k.store, p.SignOn, k.clock())
		return s.LastSeen, s.Idle, err
	})
	if err != nil {
		return SignOn{}, User{}, err
	}
	if subtle.ConstantTimeCompare([]byte(token.Hash(p.Secret)), []byte(s.PortalSession)) != 1 {
		return SignOn{}, User{}, ErrEnded
	}
	u, err := readActive(ctx, k.store, s.UserID)
	if err != nil {
		return SignOn{}, User{}, err
	}
	k.activity.note(s.ID, k.clock())
	return s, u, nil
}

// End ends a sign-on and returns its owner. It returns the zero User, and changes
// nothing, if the sign-on is unknown or no longer counts.
func (k *Keeper) End(ctx context.Context, id, reason string) (User, error) {
	s, err := readLive(ctx, k.store, id, k.clock())
	if errors.Is(err, ErrEnded) {
		return User{}, nil
	}
	if err != nil {
		return User{}, err
	}
	owner, err := k.store.UserByID(ctx, s.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return User{}, nil // deleted just now, with their sign-ons
	}
	if err != nil {
		return User{}, fmt.Errorf("reading the user of a sign-on: %w", err)
	}
	err = k.store.EndSignOn(ctx, id, k.clock(), reason)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return User{}, fmt.Errorf("ending a sign-on: %w", err)
	}
	return owner, nil
}

// Flush writes down what was seen to be used. What can't be written stays to be
// written.
func (k *Keeper) Flush(ctx context.Context) {
	if err := k.flushDevices(ctx); err != nil {
		k.warn("recording when devices were last seen", zap.Error(err))
	}
	if err := k.flushAccessTokens(ctx); err != nil {
		k.warn("recording when access tokens were last used", zap.Error(err))
	}
	pending := k.activity.takePending(k.clock())
	if len(pending) == 0 {
		return
	}
	if err := k.store.TouchSignOns(ctx, pending); err != nil {
		k.activity.putBack(pending)
		k.warn("recording when sign-ons were last used", zap.Error(err), zap.Int("sign_ons", len(pending)))
	}
}

// IsCurrent reports whether changes in the store become known as soon as they should.
func (k *Keeper) IsCurrent() bool { return k.current() }

// current reports whether changes are known as soon as they are to be.
func (k *Keeper) current() bool { return !k.stale(k.clock(), promptness) && !k.lost.Load() }

// never stands in for the sending time until the first heartbeat comes.
const never = math.MinInt64 / 2

// stale reports whether the newest heartbeat is older than allowed.
func (k *Keeper) stale(now time.Time, allowed time.Duration) bool {
	return int64(now.Sub(k.began))-k.heard.Load() > int64(allowed)
}
