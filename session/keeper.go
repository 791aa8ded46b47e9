package session

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

const (
	// maxSignOns and maxProfiles bound what is kept in memory; what doesn't
	// fit is read from the store.
	maxSignOns  = 100_000
	maxProfiles = 100_000

	// promptness is within which time every node is to know of a change. A
	// node that heard of no heartbeat for longer counts as cut off.
	promptness = 2 * time.Second
	// watchEvery is how often connections are held against the clock.
	watchEvery = time.Second
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
	activity *activity
	// deviceActivity is activity of devices.
	deviceActivity *activity
	connections    *connections

	// heard is the sending time of the newest heartbeat, in nanoseconds since
	// 1970, and lost whether changes were lost since.
	heard atomic.Int64
	lost  atomic.Bool
	// checkingIdle is true while idle connections are looked up.
	checkingIdle atomic.Bool
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
		store: s, clock: clock, warn: warn, activity: newActivity(), deviceActivity: newActivity(), connections: newConnections(),
	}
	ended := func(err error) bool { return errors.Is(err, ErrEnded) }
	k.signOns = newRows(maxSignOns, k.readSignOn, k.current, ended)
	k.profiles = newRows(maxProfiles, k.readProfile, k.current, ended)
	k.devices = newRows(maxDevices, k.readDevice, k.current, func(error) bool { return false })
	return k
}

// Run writes activity down once a Granularity and when the context ends, and
// holds connections against the clock. It returns when the context has ended
// and all is written.
func (k *Keeper) Run(ctx context.Context) {
	watch, flush := time.NewTicker(watchEvery), time.NewTicker(Granularity)
	defer watch.Stop()
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			k.Flush(context.WithoutCancel(ctx))
			return
		case <-watch.C:
			k.Watch()
		case <-flush.C:
			k.Flush(ctx)
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

// Lookup says which sign-on is asked about, and how.
type Lookup struct {
	// Session names the sign-on, and remembers where the Keeper found it, so
	// that it needn't be searched for again; nil: SignOn names it.
	Session *Session
	SignOn  string // id
	// For is the connection that is to be opened; nil: none.
	For *Connection
	// Passive says that this doesn't count as activity.
	Passive bool
	// MaxStaleness is for how long answers from memory count while this
	// process is cut off from the changes.
	MaxStaleness time.Duration
}

// Live returns the user of the sign-on if both count now, and notes the
// activity. ErrEnded is a definite no; any other error means that it could not
// be told, and nobody may be let in on it.
func (k *Keeper) Live(ctx context.Context, l Lookup) (*Profile, error) {
	var last *found
	if l.Session != nil {
		l.SignOn, last = l.Session.SignOn, l.Session.found
	}
	if last == nil {
		last = new(found) // nobody remembers
	}
	s, err := k.live(ctx, l, last)
	if err != nil {
		return nil, err
	}
	p, err := active(k.profiles.get(ctx, s.value.user, &last.profile))
	if err != nil {
		return nil, err
	}
	if l.For != nil {
		l.For.signOn, l.For.profile = s, p
	}
	return &p.value, nil
}

func (k *Keeper) live(ctx context.Context, l Lookup, last *found) (*row[keptSignOn], error) {
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
	return errors.New("a sign-on changed each time it was looked at")
}

// active passes on a user who may sign in.
func active(p *row[Profile], err error) (*row[Profile], error) {
	if err == nil && p.value.Status != store.UserActive {
		return nil, ErrEnded
	}
	return p, err
}

// LivePortal is Live for the portal's cookie, by the store itself: its secret
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

// End ends a sign-on, once; ending an ended or unknown one changes nothing.
func (k *Keeper) End(ctx context.Context, id, reason string) error {
	err := k.store.EndSignOn(ctx, id, k.clock(), reason)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("ending a sign-on: %w", err)
	}
	return nil
}

// Flush writes down what was seen to be used. What can't be written stays to be
// written.
func (k *Keeper) Flush(ctx context.Context) {
	if err := k.flushDevices(ctx); err != nil {
		k.warn("writing down when devices were seen", zap.Error(err))
	}
	pending := k.activity.takePending(k.clock())
	if len(pending) == 0 {
		return
	}
	if err := k.store.TouchSignOns(ctx, pending); err != nil {
		k.activity.putBack(pending)
		k.warn("writing down when sign-ons were used", zap.Error(err), zap.Int("sign_ons", len(pending)))
	}
}

// Open has a connection interrupted from now on as soon as its sign-on or its
// device ends or its user isn't admitted any more, until it is closed. All must
// have been found to count, by a Lookup for the connection or LiveDevice, and
// the user to be admitted. ErrEnded or a DeviceRefusal says that this has
// changed already; with any error, there is nothing to close.
func (k *Keeper) Open(ctx context.Context, c *Connection, admits func(User) bool, interrupt Interrupter) error {
	c.admits, c.interrupt = admits, interrupt
	k.connections.attach(c)
	// Asked again now that a change would find the connection: one that came
	// before found nothing to end.
	err := k.recheck(ctx, c)
	if err != nil {
		k.connections.detach(c)
	}
	return err
}

// recheck asks whether what the lookup for a connection found has changed, and
// if so, whether it goes on all the same.
func (k *Keeper) recheck(ctx context.Context, c *Connection) error {
	if c.Device != nil {
		if err := k.recheckDevice(ctx, c.Device); err != nil {
			return err
		}
	}
	if c.signOn != nil && !k.signOns.counts(c.signOn) {
		if _, err := k.signOns.find(ctx, c.SignOn); err != nil {
			return err
		}
	}
	if k.profiles.counts(c.known()) {
		return nil
	}
	p, err := active(k.profiles.find(ctx, c.user()))
	if err != nil {
		return err
	}
	if !c.admits(p.value.User) {
		return ErrEnded
	}
	return nil
}

// Close ends watching over an open connection.
func (k *Keeper) Close(c *Connection) { k.connections.detach(c) }

// Watch ends the connections whose sign-on is over its absolute or idle limit,
// or whose device over its certificate's time or not vouched for any more, and
// those that went on for too long while this process is cut off. All others but
// passive ones count as activity.
func (k *Keeper) Watch() {
	now := k.clock()
	var idle []string
	vouched := make(map[string]func() error)
	k.connections.each(func(c *Connection) bool {
		if c.isOver(now) || k.stale(now, c.MaxStaleness) {
			return true
		}
		if c.Device != nil {
			k.deviceActivity.note(c.Device.ID, now)
			if c.Device.Vouched != nil {
				vouched[c.Device.certificate] = c.Device.Vouched
			}
		}
		if c.signOn == nil {
			return false
		}
		if !c.Passive {
			k.activity.note(c.SignOn, now)
		} else if seen, known := k.activity.last(c.SignOn); !known || now.Sub(seen) > c.signOn.value.idle {
			idle = append(idle, c.SignOn)
		}
		return false
	})
	for certificate, ask := range vouched {
		if ask() != nil {
			k.endDevice(certificate)
		}
	}
	if len(idle) > 0 && k.checkingIdle.CompareAndSwap(false, true) {
		go func() {
			defer k.checkingIdle.Store(false)
			k.checkIdle(idle)
		}()
	}
}

// checkIdle asks about sign-ons that have nothing but passive connections. One
// that has ended is told of by the feed.
func (k *Keeper) checkIdle(ids []string) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	for _, id := range ids {
		if err := k.askIdle(ctx, id); err != nil {
			k.connections.end(id)
		}
	}
}

// current reports whether changes are known as soon as they are to be.
func (k *Keeper) current() bool { return !k.stale(k.clock(), promptness) && !k.lost.Load() }

// stale reports whether the newest heartbeat is older than allowed.
func (k *Keeper) stale(now time.Time, allowed time.Duration) bool {
	return now.UnixNano()-k.heard.Load() > int64(allowed)
}

// Changed implements store.Follower: it drops what has changed, and ends the
// connections that may not go on.
func (k *Keeper) Changed(changes []store.Change) {
	for _, change := range changes {
		switch change.Kind {
		case store.SignOnEnded:
			k.signOns.drop(change.ID)
			k.connections.end(change.ID)
		case store.SignOnChanged:
			k.signOns.drop(change.ID)
		case store.UserChanged:
			k.profiles.drop(change.ID)
			go k.checkUser(change.ID)
		case store.DeviceChanged:
			k.devices.drop(change.ID)
			go k.checkDevice(change.ID)
		}
	}
}

// checkUser ends the connections of a user who isn't admitted any more.
func (k *Keeper) checkUser(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	p, err := active(k.profiles.find(ctx, id))
	k.connections.each(func(c *Connection) bool {
		if c.Device != nil && c.Device.User.ID == id && err != nil {
			return true
		}
		return c.user() == id && (err != nil || !c.admits(p.value.User))
	})
}

// Heartbeat implements store.Follower.
func (k *Keeper) Heartbeat(sent time.Time) {
	if k.lost.Swap(false) {
		// Nothing that was read before may be believed from now on.
		k.signOns.dropAll()
		k.profiles.dropAll()
		k.devices.dropAll()
		go k.checkAll()
	}
	k.heard.Store(sent.UnixNano())
}

// Lost implements store.Follower: what is in memory serves until it is too old,
// and is dropped with the next Heartbeat.
func (k *Keeper) Lost() { k.lost.Store(true) }

// checkAll asks about all that have a connection.
func (k *Keeper) checkAll() {
	var signOns []string
	users, devices := make(map[string]bool), make(map[string]bool)
	k.connections.each(func(c *Connection) bool {
		if c.signOn != nil {
			signOns = append(signOns, c.SignOn)
		}
		if c.Device != nil {
			devices[c.Device.certificate] = true
			users[c.Device.User.ID] = true
		}
		users[c.user()] = true
		return false
	})
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	for _, id := range signOns {
		if _, err := k.signOns.find(ctx, id); err != nil {
			k.connections.end(id)
		}
	}
	for certificate := range devices {
		k.checkDevice(certificate)
	}
	for id := range users {
		k.checkUser(id)
	}
}

var _ store.Follower = (*Keeper)(nil)
