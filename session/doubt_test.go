package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// faultyStore is a store of which nothing can be read while it is out.
type faultyStore struct {
	store.Store
	out   atomic.Bool
	asked atomic.Int64
}

var errOut = errors.New("the store is out")

func (s *faultyStore) refuse() error {
	s.asked.Add(1)
	if s.out.Load() {
		return errOut
	}
	return nil
}

func (s *faultyStore) SignOnByID(ctx context.Context, id string) (session.SignOn, error) {
	if err := s.refuse(); err != nil {
		return session.SignOn{}, err
	}
	return s.Store.SignOnByID(ctx, id)
}

func (s *faultyStore) UserByID(ctx context.Context, id string) (session.User, error) {
	if err := s.refuse(); err != nil {
		return session.User{}, err
	}
	return s.Store.UserByID(ctx, id)
}

func (s *faultyStore) DeviceByCertificate(ctx context.Context, certificate string) (session.Device, error) {
	if err := s.refuse(); err != nil {
		return session.Device{}, err
	}
	return s.Store.DeviceByCertificate(ctx, certificate)
}

// What could not be told ends nothing: it is asked again, until it can be told.
func TestDoubtIsNoEnd(t *testing.T) {
	gap := func(*testing.T, *house) {}
	for _, test := range []struct {
		name string
		// happens is told of while the store is out, or lost.
		happens func(t *testing.T, h *house)
		lost    bool
		passive bool
		device  bool
		cut     bool
	}{
		{name: "another name", happens: func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.DisplayName = "Alice B." })
		}},
		{name: "disabled", cut: true, happens: func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.Status = store.UserDisabled })
		}},
		{name: "out of the group", cut: true, happens: func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.Groups = nil })
		}},
		{name: "a gap in the feed", lost: true, happens: gap},
		{name: "ended in a gap", lost: true, cut: true, happens: func(t *testing.T, h *house) {
			must(t, h.store.EndSignOn(t.Context(), "s", h.Now(), session.EndedByAdmin))
		}},
		{name: "a device that changed", device: true, happens: func(t *testing.T, h *house) {
			d, err := h.store.DeviceByID(t.Context(), "laptop")
			must(t, err)
			d.Name = "my laptop"
			must(t, h.store.UpdateDevice(t.Context(), d))
		}},
		{name: "a device that was revoked", device: true, cut: true, happens: func(t *testing.T, h *house) {
			must(t, h.store.RevokeDevice(t.Context(), "laptop", h.Now(), "lost"))
		}},
		{name: "idle, but used elsewhere", passive: true, happens: func(t *testing.T, h *house) {
			h.set(morning.Add(2 * time.Hour))
			must(t, h.store.TouchSignOns(t.Context(), []store.Activity{{SignOn: "s", Seen: h.Now()}}))
		}},
		{name: "idle", passive: true, cut: true, happens: func(_ *testing.T, h *house) { h.set(morning.Add(2 * time.Hour)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			h.engineer(t)
			h.signOn(t, "s")
			h.device(t, "laptop")
			faulty := &faultyStore{Store: h.store}
			k := session.NewKeeper(faulty, h.Now, zap.NewNop().Warn)
			k.Heartbeat(h.Now())
			t.Cleanup(h.store.Follow(deaf{k, test.lost}))
			var l *line
			if test.device {
				l = connectDevice(t, k, "laptop", "")
			} else {
				l = connect(t, k, "s", test.passive)
			}
			if test.lost {
				k.Lost()
			}
			faulty.out.Store(true)
			before := faulty.asked.Load()
			test.happens(t, h)
			k.Heartbeat(h.Now())
			eventually(t, "questions that stay open", func() bool {
				k.Watch()
				return faulty.asked.Load() >= before+3 || l.isCut()
			})
			if l.isCut() {
				t.Fatal("it was ended by what could not be told")
			}
			faulty.out.Store(false)
			eventually(t, "the answer", func() bool {
				k.Watch()
				return l.isCut() || k.Doubts() == 0
			})
			h.set(h.Now().Add(2 * time.Minute))
			k.Heartbeat(h.Now())
			k.Watch()
			if l.isCut() != test.cut {
				t.Errorf("ended: %t", l.isCut())
			}
		})
	}
}

// deaf passes changes on, unless they are to be lost.
type deaf struct {
	*session.Keeper
	lost bool
}

func (d deaf) Changed(changes []store.Change) {
	if !d.lost {
		d.Keeper.Changed(changes)
	}
}

func (deaf) Heartbeat(time.Time) {}

// A doubt isn't borne for longer than the operator allows.
func TestDoubtEndsAfterAWhile(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	h.signOn(t, "s")
	faulty := &faultyStore{Store: h.store}
	k := session.NewKeeper(faulty, h.Now, zap.NewNop().Warn)
	t.Cleanup(h.store.Follow(deaf{k, false}))
	k.Heartbeat(h.Now())
	l := connect(t, k, "s", false)
	faulty.out.Store(true)
	h.change(t, func(u *store.User) { u.DisplayName = "Alice B." })
	at := func(later time.Duration) {
		h.set(morning.Add(later))
		k.Heartbeat(h.Now())
		k.Watch()
	}
	if at(time.Minute); l.isCut() {
		t.Error("ended within the time that the operator allows")
	}
	if at(time.Minute + time.Second); !l.isCut() {
		t.Error("it goes on for longer than the operator allows")
	}
}

// Many connections are looked into at once after a gap, more than may be read at
// once.
func TestAGapEndsNoneOfMany(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	k := session.NewKeeper(h.store, h.Now, zap.NewNop().Warn)
	k.Heartbeat(h.Now())
	var lines []*line
	for i := range 300 {
		id := fmt.Sprint("s", i)
		h.signOn(t, id)
		lines = append(lines, connect(t, k, id, false))
	}
	must(t, h.store.EndSignOn(t.Context(), "s299", h.Now(), session.EndedByAdmin))
	k.Lost()
	k.Heartbeat(h.Now())
	eventually(t, "the answers", func() bool { return k.Doubts() == 0 })
	if !lines[299].isCut() {
		t.Error("the connection of the one that ended goes on")
	}
	for i, l := range lines[:299] {
		if l.isCut() {
			t.Fatalf("the connection of s%d was ended", i)
		}
	}
}

// rule has the rules that are in force say this of a line, whose anchor stays.
func (l *line) rule(terms session.Terms, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outdated = true
	if terms.Anchor == nil {
		terms.Anchor = l.Anchor
	}
	l.decide = func(context.Context) (session.Terms, error) { return terms, err }
}

// A change of the rules ends what they don't let in any more, and leaves the
// rest on the new terms.
func TestRulesThatChangeHoldForWhatIsOpen(t *testing.T) {
	staff := session.Terms{Admits: func(u session.User) bool { return slices.Contains(u.Groups, "staff") }, MaxStaleness: time.Minute}
	h := newHouse(t)
	h.engineer(t)
	h.signOn(t, "s")
	h.device(t, "laptop")
	k := h.keeper(t, h.store)
	barred, kept, unknown := connect(t, k, "s", false), connect(t, k, "s", false), connect(t, k, "s", false)
	untrusted := connectDevice(t, k, "laptop", "s")
	stolen := connect(t, k, "s", false)
	anybodys, closed := &line{cut: make(chan struct{})}, &line{cut: make(chan struct{})}
	for _, l := range []*line{anybodys, closed} {
		must(t, k.Open(t.Context(), &l.Connection, l))
		defer k.Close(&l.Connection)
	}
	barred.rule(session.Terms{}, session.ErrEnded)
	closed.rule(session.Terms{}, session.ErrEnded)
	untrusted.rule(session.Terms{}, session.DeviceUnknown)
	anybodys.rule(session.Terms{MaxStaleness: time.Minute}, nil)
	kept.rule(staff, nil)
	// Somebody else would pass, with the same request.
	stolen.rule(session.Terms{Anchor: untrusted.Beside, MaxStaleness: time.Minute}, nil)
	unknown.rule(session.Terms{}, errOut)
	k.RulesChanged()
	eventually(t, "the end of what is barred", func() bool {
		return barred.isCut() && closed.isCut() && untrusted.isCut() && stolen.isCut()
	})
	if kept.isCut() || unknown.isCut() || anybodys.isCut() {
		t.Fatal("ended what the rules let in, or could not tell about")
	}
	unknown.rule(session.Terms{}, session.ErrEnded)
	eventually(t, "the end of what can be told about", func() bool { k.Watch(); return unknown.isCut() })

	// What goes on does so by the new rules.
	h.change(t, func(u *store.User) { u.Groups = []string{"staff"} })
	late := connectBy(t, k, staff)
	h.change(t, func(u *store.User) { u.Groups = []string{"staff", "others"} })
	if kept.isCut() {
		t.Error("the rules that were replaced ended it")
	}
	h.change(t, func(u *store.User) { u.Groups = []string{"engineers"} })
	eventually(t, "the end by the new rules", func() bool { return kept.isCut() && late.isCut() })
}

// connectBy opens a connection of alice's on some terms.
func connectBy(t *testing.T, k *session.Keeper, terms session.Terms) *line {
	t.Helper()
	terms.Anchor = liveSignOn(t, k, session.SignOnLookup{SignOn: "s", MaxStaleness: time.Minute})
	l := &line{cut: make(chan struct{}), Connection: session.Connection{Terms: terms}}
	must(t, k.Open(t.Context(), &l.Connection, l))
	t.Cleanup(func() { k.Close(&l.Connection) })
	return l
}

// A request that the old rules let in when the new ones were in force already is
// decided on by the new ones.
func TestRulesThatChangeWhileAConnectionOpens(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	h.signOn(t, "s")
	k := h.keeper(t, h.store)
	for name, want := range map[string]error{"barred": session.ErrEnded, "unknown": errOut, "let in": nil} {
		l := &line{cut: make(chan struct{}), outdated: true}
		l.rule(session.Terms{MaxStaleness: time.Minute}, want)
		if err := k.Open(t.Context(), &l.Connection, l); !errors.Is(err, want) {
			t.Errorf("%s: opened with %v", name, err)
		}
		k.Close(&l.Connection)
	}
}

// A keeper whose store is given up leaves nothing open that nobody would end.
func TestAKeeperEndsAllWhenItStops(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	h.signOn(t, "s")
	k := h.keeper(t, h.store)
	l := connect(t, k, "s", false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k.Run(ctx)
	if !l.isCut() {
		t.Error("a connection goes on")
	}
	late := &line{cut: make(chan struct{})}
	if err := k.Open(t.Context(), &late.Connection, late); !errors.Is(err, session.ErrCutOff) {
		t.Errorf("opened with %v", err)
	}
}

// TestX05ClockSetBackWhileCutOff has the wall clock set back by an hour after the
// last heartbeat: what is in memory counts for no longer than it would have.
func TestX05ClockSetBackWhileCutOff(t *testing.T) {
	h := newHouse(t)
	heard := time.Now()
	now := heard
	k := session.NewKeeper(h.store, func() time.Time { return now }, zap.NewNop().Warn)
	k.Heartbeat(heard)
	s := h.signOn(t, "s")
	s.ID, s.Started, s.Expires, s.LastSeen = "now", heard, heard.Add(12*time.Hour), heard
	must(t, h.store.CreateSignOn(t.Context(), s))
	must(t, live(t, k, "now"))
	now = setBack(t, heard.Add(time.Minute-time.Second), time.Hour)
	must(t, live(t, k, "now"))
	now = setBack(t, heard.Add(time.Minute+time.Second), time.Hour)
	if err := live(t, k, "now"); !errors.Is(err, session.ErrCutOff) {
		t.Errorf("more than a minute after the last heartbeat: %v", err)
	}
}

// setBack returns a reading of the clocks after the wall clock alone was set back.
// Package time makes none by itself: its methods move both clocks, or drop the
// monotonic one.
func setBack(t *testing.T, at time.Time, by time.Duration) time.Time {
	t.Helper()
	const nanosecondBits = 30 // below the seconds of the wall clock
	back := at
	*(*uint64)(unsafe.Pointer(&back)) -= uint64(by/time.Second) << nanosecondBits
	if !back.Equal(at) || at.Round(0).Sub(back.Round(0)) != by {
		t.Fatalf("%s isn't %s before %s by the wall clock alone", back, by, at)
	}
	return back
}
