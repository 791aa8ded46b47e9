package conformance

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var feedTests = []test{
	{"tells of a change before its operation returns", feedTells},
	{"tells of nothing else", feedTellsNothingElse},
	{"tells of a transaction when it is committed", feedTellsAfterCommit},
	{"tells nothing of what was rolled back", feedRolledBack},
	{"tells every follower until it stops", feedFollowers},
	{"a follower finds what it was told of", feedTellsOfTheCommitted},
	{"a slow follower holds nobody up", feedSlowFollower},
	{"none is missed among many", feedRace},
	{"has a heartbeat", feedHeartbeat},
}

// listener is a follower that notes what it is told.
type listener struct {
	onChange func([]store.Change) // may be nil

	mu         sync.Mutex
	told       map[store.Change]int
	heartbeats []time.Time
	lost       int
	renewed    []string
}

func (l *listener) Changed(changes []store.Change) {
	l.mu.Lock()
	if l.told == nil {
		l.told = make(map[store.Change]int)
	}
	for _, change := range changes {
		l.told[change]++
	}
	l.mu.Unlock()
	if l.onChange != nil {
		l.onChange(changes)
	}
}

func (l *listener) Heartbeat(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heartbeats = append(l.heartbeats, sent)
}

func (l *listener) Lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
}

func (l *listener) Renewed(incarnation string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = append(l.renewed, incarnation)
}

func (l *listener) renewals() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.renewed)
}

func (l *listener) hasLost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost > 0
}

func (l *listener) knows(change store.Change) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told[change] > 0
}

func (l *listener) beats() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.heartbeats)
}

// follow has a listener told from now on, to the end of the test.
func (f fixture) follow(t *testing.T) *listener {
	l := new(listener)
	t.Cleanup(f.Follow(l))
	return l
}

func wantTold(t *testing.T, l *listener, changes ...store.Change) {
	t.Helper()
	for _, change := range changes {
		if !l.knows(change) {
			t.Errorf("the follower was not told: %+v", change)
		}
	}
}

func wantUntold(t *testing.T, l *listener, ids ...string) {
	t.Helper()
	for _, id := range ids {
		for _, kind := range []store.ChangeKind{store.SignOnEnded, store.SignOnChanged, store.UserChanged, store.DeviceChanged, ""} {
			if change := (store.Change{Kind: kind, ID: id}); l.knows(change) {
				t.Errorf("the follower was told: %+v", change)
			}
		}
	}
}

// people adds users u1 and u2 with three sign-ons each, named as u1-s1.
func (f fixture) people(t *testing.T) {
	t.Helper()
	for _, user := range []string{"u1", "u2"} {
		f.addUser(t, user)
		for _, signOn := range []string{"-s1", "-s2", "-s3"} {
			f.addSignOn(t, user, user+signOn)
		}
	}
}

func ended(ids ...string) (changes []store.Change) {
	for _, id := range ids {
		changes = append(changes, store.Change{Kind: store.SignOnEnded, ID: id})
	}
	return changes
}

func feedTells(t *testing.T, f fixture) {
	f.people(t)
	userChanged := store.Change{Kind: store.UserChanged, ID: "u1"}
	device := []store.Change{{Kind: store.DeviceChanged, ID: certificateOf("d1")}}
	token := []store.Change{{Kind: store.AccessTokenChanged, ID: accessToken("a").Selector}}
	records := []store.Change{{Kind: store.RecordsChanged, ID: "u1"}}
	steps := []struct {
		name string
		do   func() error
		want []store.Change
	}{
		{"UpdateUser", func() error {
			return f.UpdateUser(f.ctx, store.User{ID: "u1", Name: "u1", Status: store.UserDisabled, Version: 1})
		}, []store.Change{userChanged}},
		{"UpdateSignOn", func() error {
			return f.UpdateSignOn(f.ctx, store.SignOn{ID: "u1-s1", Expires: noon, Version: 1})
		}, []store.Change{{Kind: store.SignOnChanged, ID: "u1-s1"}}},
		{"EndSignOn", func() error { return f.EndSignOn(f.ctx, "u1-s1", noon, "x") }, ended("u1-s1")},
		{"EndUnseenSignOn", func() error {
			return f.EndUnseenSignOn(f.ctx, "u1-s2", noon, noon, "x")
		}, ended("u1-s2")},
		{"EndSignOnsOf", func() error {
			_, err := f.EndSignOnsOf(f.ctx, "u2", noon, "x")
			return err
		}, ended("u2-s1", "u2-s2", "u2-s3")},
		{"CreateDevice", func() error {
			return f.CreateDevice(f.ctx, store.Device{ID: "d1", UserID: "u1", Certificate: certificateOf("d1")})
		}, device},
		{"UpdateDevice", func() error { return f.UpdateDevice(f.ctx, store.Device{ID: "d1", UserID: "u1", Version: 1}) }, device},
		{"RenewDevice", func() error {
			return f.RenewDevice(f.ctx, store.Device{ID: "d1", Certificate: certificateOf("new"), Version: 2})
		}, append(device, store.Change{Kind: store.DeviceChanged, ID: certificateOf("new")})},
		{"RevokeDevice", func() error { return f.RevokeDevice(f.ctx, "d1", noon, "x") }, device},
		{"CreateAccessToken", func() error { return f.CreateAccessToken(f.ctx, accessToken("a")) }, token},
		{"RevokeAccessToken", func() error { return f.RevokeAccessToken(f.ctx, "a", noon) }, token},
		{"PutRecord", func() error {
			return f.PutRecord(f.ctx, store.Record{Namespace: "n", Key: "k", Owner: "u1", Expires: noon.Add(time.Hour)})
		}, records},
		{"UpdateRecord", func() error {
			return f.UpdateRecord(f.ctx, store.Record{Namespace: "n", Key: "k", Owner: "u1", Expires: noon.Add(time.Hour), Version: 1}, noon)
		}, records},
		{"TakeRecord", func() error {
			_, err := f.TakeRecord(f.ctx, "n", "k", noon)
			return err
		}, records},
		{"DeleteRecordsOf", func() error {
			f.addRecord(t, "n", "k2", "u1")
			return f.DeleteRecordsOf(f.ctx, "n", "u1", "")
		}, records},
		{"DeleteUser", func() error { return f.DeleteUser(f.ctx, "u1") }, append(ended("u1-s3"), userChanged, device[0])},
	}
	for _, step := range steps {
		l := new(listener)
		stop := f.Follow(l)
		must(t, step.do())
		t.Run(step.name, func(t *testing.T) { wantTold(t, l, step.want...) })
		stop()
	}
}

func feedTellsNothingElse(t *testing.T, f fixture) {
	f.people(t)
	f.addCredential(t, "u1", "c1")
	must(t, f.EndSignOn(f.ctx, "u2-s3", noon, "x"))
	f.addDevice(t, "u1", "d1")
	f.addDevice(t, "u1", "revoked")
	must(t, f.RevokeDevice(f.ctx, "revoked", noon, "x"))
	l := f.follow(t)
	must(t, f.seeDevice("d1", noon.Add(time.Hour)))
	wantError(t, f.UpdateDevice(f.ctx, store.Device{ID: "d1", Version: 7}), store.ErrConflict)
	must(t, f.RevokeDevice(f.ctx, "revoked", noon, "again"))
	must(t, f.touch("u1-s1", noon.Add(time.Hour)))
	wantError(t, f.UpdateUser(f.ctx, store.User{ID: "u1", Version: 7}), store.ErrConflict)
	wantError(t, f.UpdateSignOn(f.ctx, store.SignOn{ID: "u1-s1", Version: 7}), store.ErrConflict)
	wantError(t, f.EndUnseenSignOn(f.ctx, "u1-s1", noon, noon, "x"), store.ErrConflict)
	must(t, f.CreateCredential(f.ctx, store.Credential{ID: "c2", UserID: "u1"}))
	must(t, f.DeleteCredential(f.ctx, "c1", 1))
	must(t, f.CreateBrowser(f.ctx, browser("b1", "u1", "h")))
	must(t, f.DeleteBrowsersOf(f.ctx, "u1"))
	f.addRecord(t, "n", "k", "u1")
	must(t, f.AppendEvent(f.ctx, store.Event{Name: "e", UserID: "u1"}))
	wantUntold(t, l, "u1", "u2", "u1-s1", "u1-s2", "u1-s3", "u2-s1", "u2-s2", "")
	wantUntold(t, l, certificateOf("d1"), certificateOf("revoked"))
}

func feedTellsAfterCommit(t *testing.T, f fixture) {
	f.people(t)
	l := f.follow(t)
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		if _, err := tx.EndSignOnsOf(f.ctx, "u1", noon, "x"); err != nil {
			return err
		}
		if err := tx.DeleteUser(f.ctx, "u2"); err != nil {
			return err
		}
		// What is not committed may still be undone.
		wantUntold(t, l, "u1-s1", "u1-s2", "u1-s3", "u2", "u2-s1", "u2-s2", "u2-s3")
		return nil
	}))
	wantTold(t, l, ended("u1-s1", "u1-s2", "u1-s3", "u2-s1", "u2-s2", "u2-s3")...)
	wantTold(t, l, store.Change{Kind: store.UserChanged, ID: "u2"})
}

func feedRolledBack(t *testing.T, f fixture) {
	f.people(t)
	l := f.follow(t)
	wantError(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		if err := tx.DeleteUser(f.ctx, "u1"); err != nil {
			return err
		}
		return errRefused
	}), errRefused)
	ended := func(tx store.Tx) {
		_, err := tx.EndSignOnsOf(f.ctx, "u1", noon, "x")
		must(t, err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = f.Atomically(f.ctx, func(tx store.Tx) error {
			ended(tx)
			panic("by the test")
		})
	}()
	f.cancelled(t, func(tx store.Tx) { ended(tx) })
	must(t, f.EndSignOn(f.ctx, "u2-s1", noon, "x"))
	wantUntold(t, l, "u1", "u1-s1", "u1-s2", "u1-s3")
	wantTold(t, l, store.Change{Kind: store.SignOnEnded, ID: "u2-s1"})
}

func feedFollowers(t *testing.T, f fixture) {
	f.people(t)
	var first, twice, second listener
	stops := []func(){f.Follow(&first), f.Follow(&twice), f.Follow(&twice), f.Follow(&second)}
	end := func(id string) store.Change {
		t.Helper()
		must(t, f.EndSignOn(f.ctx, id, noon, "x"))
		return ended(id)[0]
	}
	all := end("u1-s1")
	wantTold(t, &first, all)
	wantTold(t, &twice, all)
	wantTold(t, &second, all)
	stops[0]()
	stops[0]() // which ends nothing of the others'
	stops[1]()
	without := end("u1-s2")
	wantUntold(t, &first, without.ID)
	wantTold(t, &twice, without) // it follows once still
	wantTold(t, &second, without)
	stops[2]()
	stops[3]()
	none := end("u1-s3")
	wantUntold(t, &twice, none.ID)
	wantUntold(t, &second, none.ID)
}

// feedTellsOfTheCommitted reads on being told, by another goroutine as the
// contract asks: a cache that drops a row then must never read the old one.
func feedTellsOfTheCommitted(t *testing.T, f fixture) {
	f.people(t)
	l := &listener{onChange: func(changes []store.Change) {
		found := make(chan store.SignOn)
		go func() {
			s, err := f.SignOnByID(f.ctx, changes[0].ID)
			if err != nil {
				t.Error(err)
			}
			found <- s
		}()
		if s := <-found; s.Ended.IsZero() {
			t.Errorf("told of the end of %s, and found it not ended", s.ID)
		}
	}}
	defer f.Follow(l)()
	must(t, f.EndSignOn(f.ctx, "u1-s1", noon, "x"))
	must(t, f.EndUnseenSignOn(f.ctx, "u1-s2", noon, noon, "x"))
}

// feedSlowFollower keeps a follower busy until others have written, followed
// and stopped; then until it was stopped itself.
func feedSlowFollower(t *testing.T, f fixture) {
	f.people(t)
	busy, goOn := make(chan struct{}), make(chan struct{})
	var begun atomic.Bool
	slow := &listener{onChange: func([]store.Change) {
		if begun.CompareAndSwap(false, true) {
			close(busy)
			<-goOn
		}
	}}
	stop := f.Follow(slow)
	ending := make(chan error)
	go func() { ending <- f.EndSignOn(f.ctx, "u1-s1", noon, "x") }()
	<-busy

	must(t, f.touch("u1-s2", noon.Add(time.Hour)))
	other := new(listener)
	stopOther := f.Follow(other)
	must(t, f.EndSignOn(f.ctx, "u1-s3", noon, "x"))
	wantTold(t, other, ended("u1-s3")...)
	stopOther()
	stop()
	close(goOn)
	must(t, <-ending)
	wantTold(t, slow, ended("u1-s1", "u1-s3")...)

	stopping := &listener{}
	stopping.onChange = func([]store.Change) { stop() } // amid being told
	stop = f.Follow(stopping)
	must(t, f.EndSignOn(f.ctx, "u2-s1", noon, "x"))
	must(t, f.EndSignOn(f.ctx, "u2-s2", noon, "x"))
	wantUntold(t, stopping, "u2-s2")
}

// feedRace ends many at once while others come and go; each is told to who
// follows all along, by the time that its operation returns.
func feedRace(t *testing.T, f fixture) {
	const all = 60
	f.addUser(t, "u1")
	for i := range all {
		f.addSignOn(t, "u1", numbered("s", i))
	}
	l := f.follow(t)
	for _, err := range race(2*all, func(i int) error {
		if i%2 == 0 {
			f.Follow(new(listener))()
			return nil
		}
		id := numbered("s", i/2)
		err := f.EndSignOn(f.ctx, id, noon, "x")
		wantTold(t, l, ended(id)...)
		return err
	}) {
		must(t, err)
	}
}

// patience is how long a heartbeat may take before it counts as missing.
const patience = time.Minute

func feedHeartbeat(t *testing.T, f fixture) {
	beating := make(chan struct{}, 1)
	l := &heartbeats{beating: beating}
	defer f.Follow(l)()
	select {
	case <-beating:
	case <-time.After(patience):
		t.Fatal("no heartbeat came")
	}
	if !slices.IsSortedFunc(l.beats(), time.Time.Compare) {
		t.Errorf("heartbeats went back: %v", l.beats())
	}
}

// heartbeats is a listener that says when one came.
type heartbeats struct {
	listener
	beating chan struct{}
}

func (h *heartbeats) Heartbeat(sent time.Time) {
	h.listener.Heartbeat(sent)
	select {
	case h.beating <- struct{}{}:
	default:
	}
}
