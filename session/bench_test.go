package session_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
)

// crowd is a keeper over a real store, and people who are signed in.
type crowd struct {
	*session.Keeper
	signOns  []string // ids
	sessions []*session.Session
}

// legible is a codec that hides nothing.
type legible struct{}

func (legible) Encode(value []byte) (string, error) { return string(value), nil }

func (legible) Decode(value string) ([]byte, error) { return []byte(value), nil }

// sessionsOf returns a session of each sign-on, as it is read from a cookie.
func sessionsOf(t testing.TB, signOns ...string) []*session.Session {
	t.Helper()
	const host = "app.example.com"
	cookies := session.NewCookies(legible{}, sameKeys, inLife("life"), time.Now)
	var sessions []*session.Session
	for _, id := range signOns {
		value, err := cookies.Mint(session.SignOn{ID: id, UserID: "alice", Expires: time.Now().Add(48 * time.Hour)}, host, multi)
		if err != nil {
			t.Fatal(err)
		}
		s, err := cookies.Read(value, host)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	return sessions
}

func newCrowd(t testing.TB, signOns int) crowd {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	c := crowd{Keeper: session.NewKeeper(db, time.Now, zap.NewNop().Warn)}
	stop := db.Follow(c)
	t.Cleanup(func() {
		stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now()
	err = db.Atomically(t.Context(), func(tx store.Tx) error {
		c.signOns = nil
		err := tx.CreateUser(t.Context(), store.User{
			ID: "alice", Name: "alice", Groups: []string{"engineers", "on-call"}, Status: store.UserActive, Created: now,
		})
		for i := 0; i < signOns && err == nil; i++ {
			id := fmt.Sprintf("%043d", i)
			c.signOns = append(c.signOns, id)
			err = tx.CreateSignOn(t.Context(), store.SignOn{
				ID: id, UserID: "alice", Started: now, LastSeen: now, Expires: now.Add(12 * time.Hour), Idle: time.Hour,
				Proofs: []assurance.Proof{{Factor: assurance.Password, At: now}, {Factor: assurance.TOTP, At: now}},
			})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.sessions = sessionsOf(t, c.signOns...)
	return c
}

func (c crowd) live(t testing.TB, ctx context.Context, i int) session.LiveSignOn {
	s, err := c.LiveSignOn(ctx, session.SignOnLookup{Session: c.sessions[i], MaxStaleness: time.Minute})
	if err != nil {
		t.Error(err)
	}
	return s
}

// forget drops a sign-on from memory, as the store does when it changes.
func (c crowd) forget(i int) {
	c.Changed([]store.Change{{Kind: store.SignOnChanged, ID: c.signOns[i]}})
}

// visit is what a request brings along for its sign-on.
type visit struct {
	session.Connection
	signOn session.LiveSignOn
}

// follow goes the way of a request that passes, until it has been answered.
func (c crowd) follow(t testing.TB, ctx context.Context, v *visit, i int) {
	v.signOn = c.live(t, ctx, i)
	v.Connection = session.Connection{Terms: session.Terms{Anchor: &v.signOn, Admits: everybody, MaxStaleness: time.Minute}}
	if err := c.Open(ctx, &v.Connection, nothing{}); err != nil {
		t.Error(err)
	}
	c.Close(&v.Connection)
}

func everybody(session.User) bool { return true }

// nothing is what there is to interrupt. Its rules never change.
type nothing struct{ session.Exchange }

func (nothing) Interrupt() {}

func (nothing) Outdated() bool { return false }

func TestHotPathAllocatesNothing(t *testing.T) {
	c := newCrowd(t, 1)
	v := new(visit)
	c.live(t, t.Context(), 0)
	for name, path := range map[string]func(){
		"a look-up": func() { c.live(t, t.Context(), 0) },
		"a request": func() { c.follow(t, t.Context(), v, 0) },
	} {
		if n := testing.AllocsPerRun(1_000, path); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// BenchmarkLive looks sign-ons up that are kept ready for use, on the shelf, or in
// the store alone.
func BenchmarkLive(b *testing.B) {
	const signOns = 10_000
	c := newCrowd(b, signOns)
	for i := range signOns {
		c.live(b, b.Context(), i)
	}
	b.Run("hot", func(b *testing.B) {
		inTurn(b, signOns, func(i int) { c.live(b, b.Context(), i) })
	})
	b.Run("shelf", func(b *testing.B) {
		inTurn(b, signOns, func(i int) {
			c.CrowdOut(c.signOns[i])
			c.live(b, b.Context(), i)
		})
	})
	b.Run("cold", func(b *testing.B) {
		inTurn(b, signOns, func(i int) {
			c.forget(i)
			c.live(b, b.Context(), i)
		})
	})
}

func BenchmarkConnection(b *testing.B) {
	const signOns = 10_000
	c := newCrowd(b, signOns)
	for i := range signOns {
		c.live(b, b.Context(), i)
	}
	inTurn(b, signOns, func(i int) {
		c.follow(b, b.Context(), new(visit), i)
	})
}

// inTurn measures an operation on one sign-on after the other, by several
// goroutines at once.
func inTurn(b *testing.B, signOns int, operation func(i int)) {
	b.ReportAllocs()
	b.ResetTimer()
	var turn atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			operation(int(turn.Add(1)) % signOns)
		}
	})
}
