package session_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// line is the other end of a connection: it notes that it was cut.
type line struct {
	session.Connection
	once sync.Once
	cut  chan struct{}

	mu sync.Mutex
	// What the rules in force say of it.
	outdated bool
	decide   func(context.Context) (session.Terms, error)
}

func (l *line) Interrupt() { l.once.Do(func() { close(l.cut) }) }

func (l *line) Outdated() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outdated
}

func (l *line) Decide(ctx context.Context) (session.Terms, error) {
	l.mu.Lock()
	decide := l.decide
	l.mu.Unlock()
	return decide(ctx)
}

func (l *line) isCut() bool {
	select {
	case <-l.cut:
		return true
	default:
		return false
	}
}

// engineers is what the app of these tests asks for.
func engineers(u session.User) bool { return slices.Contains(u.Groups, "engineers") }

// connect opens a connection as the gate does.
func connect(t *testing.T, k *session.Keeper, signOn string, passive bool) *line {
	t.Helper()
	return connectWithin(t, k, signOn, passive, time.Minute)
}

// connectWithin is connect, for as long as it may go on in doubt.
func connectWithin(t *testing.T, k *session.Keeper, signOn string, passive bool, staleness time.Duration) *line {
	t.Helper()
	l := &line{cut: make(chan struct{})}
	l.Passive, l.MaxStaleness, l.Admits = passive, staleness, engineers
	l.Anchor = liveSignOn(t, k, session.SignOnLookup{SignOn: signOn, Passive: passive, MaxStaleness: staleness})
	must(t, k.Open(t.Context(), &l.Connection, l))
	t.Cleanup(func() { k.Close(&l.Connection) })
	return l
}

// liveSignOn looks up a sign-on that counts.
func liveSignOn(t *testing.T, k *session.Keeper, l session.SignOnLookup) *session.LiveSignOn {
	t.Helper()
	s, err := k.LiveSignOn(t.Context(), l)
	must(t, err)
	return &s
}

// change applies a change to alice.
func (h *house) change(t *testing.T, apply func(*store.User)) {
	t.Helper()
	u, err := h.store.UserByID(t.Context(), "alice")
	must(t, err)
	apply(&u)
	must(t, h.store.UpdateUser(t.Context(), u))
}

func (h *house) engineer(t *testing.T) {
	t.Helper()
	h.change(t, func(u *store.User) { u.Groups = []string{"engineers", "staff"} })
}

// eventually waits for what happens in the background.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-deadline.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-poll.C:
		}
	}
}

func TestS04ConnectionsEndWithTheirSignOn(t *testing.T) {
	tests := []struct {
		name  string
		apply func(t *testing.T, h *house)
		cut   bool
	}{
		{"signed out", func(t *testing.T, h *house) {
			must(t, h.store.EndSignOn(t.Context(), "s", h.Now(), session.EndedSignOut))
		}, true},
		{"all of the user's ended", func(t *testing.T, h *house) {
			_, err := h.store.EndSignOnsOf(t.Context(), "alice", h.Now(), session.EndedByAdmin)
			must(t, err)
		}, true},
		{"idle at another node", func(t *testing.T, h *house) {
			must(t, h.store.EndUnseenSignOn(t.Context(), "s", morning, h.Now(), session.EndedIdle))
		}, true},
		{"user deleted", func(t *testing.T, h *house) { must(t, h.store.DeleteUser(t.Context(), "alice")) }, true},
		{"user disabled", func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.Status = store.UserDisabled })
		}, true},
		{"group taken away", func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.Groups = []string{"staff"} })
		}, true},
		{"another group taken away", func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.Groups = []string{"engineers"} })
		}, false},
		{"renamed", func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.DisplayName = "Alice B." })
		}, false},
		{"another sign-on ended", func(t *testing.T, h *house) {
			must(t, h.store.EndSignOn(t.Context(), "other", h.Now(), session.EndedSignOut))
		}, false},
		{"a step-up", func(t *testing.T, h *house) { must(t, h.store.UpdateSignOn(t.Context(), h.row(t, "s"))) }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			h.engineer(t)
			h.signOn(t, "s")
			h.signOn(t, "other")
			k := h.keeper(t, h.store)
			lines := []*line{connect(t, k, "s", false), connect(t, k, "s", true), connect(t, k, "s", false)}
			gone := connect(t, k, "s", false)
			k.Close(&gone.Connection)
			test.apply(t, h)
			if test.cut {
				for _, l := range lines {
					eventually(t, "the end of a connection", l.isCut)
				}
			} else {
				// What comes after it in the feed and ends them all the same
				// shows that nothing was under way.
				for _, l := range lines {
					if l.isCut() {
						t.Error("a connection was ended")
					}
				}
			}
			if gone.isCut() {
				t.Error("a connection that is over was interrupted")
			}
		})
	}
}

// The end may come at any moment between the lookup and the opening.
func TestS04NoEndGoesUnnoticedWhileAConnectionOpens(t *testing.T) {
	tests := map[string]func(t *testing.T, h *house){
		"ended": func(t *testing.T, h *house) {
			must(t, h.store.EndSignOn(t.Context(), "s", h.Now(), session.EndedSignOut))
		},
		"disabled": func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.Status = store.UserDisabled })
		},
		"group taken away": func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.Groups = nil })
		},
	}
	for name, apply := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.engineer(t)
			h.signOn(t, "s")
			k := h.keeper(t, h.store)
			l := &line{cut: make(chan struct{})}
			l.MaxStaleness, l.Admits = time.Minute, engineers
			l.Anchor = liveSignOn(t, k, session.SignOnLookup{SignOn: "s", MaxStaleness: time.Minute})
			apply(t, h)
			if err := k.Open(t.Context(), &l.Connection, l); !errors.Is(err, session.ErrEnded) {
				t.Errorf("opened with %v", err)
			}
		})
	}
}

func TestS05ConnectionsEndAtTheLimits(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	h.signOn(t, "used")
	h.signOn(t, "left")
	k := h.keeper(t, h.store)
	// The clock here runs ahead of the looking into doubts.
	used, left := connect(t, k, "used", false), connectWithin(t, k, "left", true, 24*time.Hour)
	pace := time.Minute
	for at := morning; at.Before(morning.Add(12 * time.Hour)); at = at.Add(pace) {
		if at.Sub(morning) > 70*time.Minute {
			pace = 30 * time.Minute
		}
		h.set(at)
		k.Watch()
		k.Flush(t.Context())
		if used.isCut() {
			t.Fatalf("an open connection didn't count as activity: cut after %s", at.Sub(morning))
		}
		if lasted := at.Sub(morning); left.isCut() && lasted <= time.Hour {
			t.Fatalf("a passive connection was cut after %s", lasted)
		}
		if at.Sub(morning) == 63*time.Minute {
			eventually(t, "the idle limit of a passive connection", left.isCut)
		}
	}
	h.set(morning.Add(12 * time.Hour))
	k.Watch()
	if !used.isCut() {
		t.Error("a connection goes on over the absolute limit")
	}
}

func TestConnectionsOfACutOffNodeEnd(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	h.signOn(t, "s")
	k := session.NewKeeper(h.store, h.Now, zap.NewNop().Warn)
	k.Heartbeat(h.Now())
	l := connect(t, k, "s", false)
	k.Lost()
	h.set(morning.Add(time.Minute))
	if k.Watch(); l.isCut() {
		t.Error("cut within the time that the operator allows")
	}
	h.set(morning.Add(time.Minute + time.Second))
	if k.Watch(); !l.isCut() {
		t.Error("it goes on for longer than the operator allows")
	}
}

// What ended while nothing was heard is found when something is again.
func TestConnectionsAreCheckedAfterAGap(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	for _, id := range []string{"s", "ended"} {
		h.signOn(t, id)
	}
	k := session.NewKeeper(h.store, h.Now, zap.NewNop().Warn)
	k.Heartbeat(h.Now())
	kept, ended := connect(t, k, "s", false), connect(t, k, "ended", false)
	k.Lost()
	must(t, h.store.EndSignOn(t.Context(), "ended", h.Now(), session.EndedByAdmin))
	k.Heartbeat(h.Now())
	eventually(t, "the end of the connection", ended.isCut)
	h.change(t, func(u *store.User) { u.Groups = nil })
	if kept.isCut() {
		t.Error("one whose sign-on lives was cut")
	}
	k.Lost()
	k.Heartbeat(h.Now())
	eventually(t, "the end of the other", kept.isCut)
}

// TestS07RenewalEndsWhatIsLive has somebody else renew the store: nothing that this
// process knows of its former life counts any more.
func TestS07RenewalEndsWhatIsLive(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	k := h.keeper(t, h.store)
	signOn := h.signOn(t, "s")
	must(t, live(t, k, "s"))
	open := connect(t, k, "s", false)
	cookies := session.NewCookies(h.keys.Codec("session"), sameKeys, h.store.Incarnation, h.Now)
	former, err := cookies.Mint(signOn, "app.example.com", multi)
	must(t, err)
	must(t, h.store.Renew(t.Context(), h.store.Incarnation()))
	if err := live(t, k, "s"); !errors.Is(err, session.ErrEnded) {
		t.Errorf("a sign-on of the former life: %v", err)
	}
	eventually(t, "the connection's end", open.isCut)
	if _, err := cookies.Read(former, "app.example.com"); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("a cookie of the former life: %v", err)
	}
	signOn.ID = "new"
	must(t, h.store.CreateSignOn(t.Context(), signOn))
	must(t, live(t, k, "new"))
	value, err := cookies.Mint(signOn, "app.example.com", multi)
	must(t, err)
	if _, err := cookies.Read(value, "app.example.com"); err != nil {
		t.Errorf("a cookie of the present life: %v", err)
	}
}
