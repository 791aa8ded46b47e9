package session_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite/sqlitetest"
	"github.com/portcullis-mfa/portcullis/store/storetest"
	"github.com/portcullis-mfa/portcullis/token"
)

// morning is when the tests' sign-ons begin.
var morning = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// hands are a clock's, which tests set.
type hands struct {
	mu  sync.Mutex
	now time.Time
}

func (h *hands) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hands) set(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = now
}

// house is a real store and real keys, with a clock that stands still.
type house struct {
	*hands
	store store.Store
	keys  *keys.Set
}

func newHouse(t *testing.T) *house {
	t.Helper()
	db := sqlitetest.Open(t)
	h := &house{hands: &hands{now: morning}, store: storetest.Rerun(db)}
	h.keys = newKeys(t, filepath.Join(t.TempDir(), "keys.json"))
	must(t, db.CreateUser(t.Context(), store.User{ID: "alice", Name: "alice", Status: store.UserActive, Created: morning}))
	return h
}

func newKeys(t *testing.T, path string) *keys.Set {
	t.Helper()
	set, err := keys.Open(t.Context(), keys.FileStorage(path), rand.Reader, time.Now, true)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// signOn keeps a sign-on that begins in the morning, for 12 hours and 1 idle.
func (h *house) signOn(t *testing.T, id string) session.SignOn {
	t.Helper()
	s := session.SignOn{
		ID: id, UserID: "alice", Started: morning, Expires: morning.Add(12 * time.Hour), Idle: time.Hour, LastSeen: morning,
		Proofs: []assurance.Proof{
			{Factor: assurance.Password, At: morning}, {Factor: assurance.TOTP, At: morning},
		},
		PortalSession: token.Hash("secret"),
	}
	must(t, h.store.CreateSignOn(t.Context(), s))
	return s
}

func (h *house) row(t *testing.T, id string) session.SignOn {
	t.Helper()
	s, err := h.store.SignOnByID(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keeper returns one that asks s, a way to the house's store, and follows that.
func (h *house) keeper(t *testing.T, s session.Store) *session.Keeper {
	t.Helper()
	k := session.NewKeeper(s, h.Now, zap.NewNop().Warn)
	t.Cleanup(h.store.Follow(k))
	return k
}

func live(t *testing.T, k *session.Keeper, id string) error {
	t.Helper()
	_, err := k.LiveSignOn(t.Context(), session.SignOnLookup{SignOn: id, MaxStaleness: time.Minute})
	return err
}

func sameKeys() uint64 { return 1 }

func inLife(incarnation string) func() string { return func() string { return incarnation } }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestS05AbsoluteLimitUnderConstantActivity(t *testing.T) {
	h := newHouse(t)
	s := h.signOn(t, "s")
	keeper := h.keeper(t, h.store)
	cookies := session.NewCookies(h.keys.Codec("session"), sameKeys, inLife("incarnation"), h.Now)
	value, err := cookies.Mint(s, "app.example.com", multi)
	must(t, err)
	lives := func() error {
		_, cookieErr := cookies.Read(value, "app.example.com")
		keeperErr := live(t, keeper, "s")
		if (cookieErr == nil) != (keeperErr == nil) {
			t.Errorf("at %s the cookie says %v and the sign-on %v", h.Now(), cookieErr, keeperErr)
		}
		return keeperErr
	}
	for at := morning; at.Before(s.Expires); at = at.Add(10 * time.Minute) {
		h.set(at)
		if err := lives(); err != nil {
			t.Fatalf("at %s: %v", at, err)
		}
	}
	for _, moment := range []struct {
		at    time.Time
		lives bool
	}{
		{s.Expires.Add(-time.Second), true},
		{s.Expires, false},
		{s.Expires.Add(time.Second), false},
		{s.Expires.Add(24 * time.Hour), false},
	} {
		h.set(moment.at)
		if err := lives(); (err == nil) != moment.lives || err != nil && !errors.Is(err, session.ErrEnded) {
			t.Errorf("at %s: %v", moment.at, err)
		}
	}
	if got := h.row(t, "s").Expires; !got.Equal(s.Expires) {
		t.Errorf("the absolute limit moved to %s", got)
	}
}

// Activity is written down once a minute, so the limit may come up to a minute
// late, and never early.
func TestS05IdleLimitWithinAMinute(t *testing.T) {
	tests := []struct {
		name  string
		seen  []time.Duration // activity, after the morning
		at    time.Duration
		lives bool
	}{
		{"an hour after the beginning", nil, time.Hour, true},
		{"more than a minute over the limit", nil, time.Hour + time.Minute + time.Second, false},
		{"just within the limit of activity that was not written down", []time.Duration{59 * time.Second}, time.Hour + 59*time.Second, true},
		{"activity that was written down", []time.Duration{30 * time.Minute}, 90 * time.Minute, true},
		{"long after activity that was written down", []time.Duration{30 * time.Minute}, 91*time.Minute + time.Second, false},
		{"activity every fifty minutes", []time.Duration{50 * time.Minute, 100 * time.Minute, 150 * time.Minute}, 3 * time.Hour, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			h.signOn(t, "s")
			keeper := h.keeper(t, h.store)
			for _, seen := range test.seen {
				h.set(morning.Add(seen))
				if err := live(t, keeper, "s"); err != nil {
					t.Fatalf("after %s: %v", seen, err)
				}
			}
			h.set(morning.Add(test.at))
			err := live(t, keeper, "s")
			if (err == nil) != test.lives || err != nil && !errors.Is(err, session.ErrEnded) {
				t.Fatalf("got %v", err)
			}
			if row := h.row(t, "s"); row.Ended.IsZero() != test.lives || !test.lives && row.EndReason != session.EndedIdle {
				t.Errorf("ended %s, %q", row.Ended, row.EndReason)
			}
		})
	}
}

func TestS05IdleSignOnStaysEnded(t *testing.T) {
	h := newHouse(t)
	h.signOn(t, "s")
	keeper := h.keeper(t, h.store)
	h.set(morning.Add(2 * time.Hour))
	if err := live(t, keeper, "s"); !errors.Is(err, session.ErrEnded) {
		t.Fatalf("idle: %v", err)
	}
	must(t, h.store.TouchSignOns(t.Context(), []store.Activity{{SignOn: "s", Seen: h.Now()}}))
	for _, at := range []time.Duration{2 * time.Hour, time.Minute, 0} {
		h.set(morning.Add(at)) // the clock is set back, too
		if err := live(t, keeper, "s"); !errors.Is(err, session.ErrEnded) {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

func TestActivityIsWrittenInBatches(t *testing.T) {
	h := newHouse(t)
	h.signOn(t, "s")
	h.signOn(t, "other")
	h.signOn(t, "unused")
	counting := &touches{Store: h.store}
	keeper := h.keeper(t, counting)
	for second := range 601 {
		h.set(morning.Add(time.Duration(second) * time.Second))
		var requests sync.WaitGroup
		for _, id := range []string{"s", "s", "other"} {
			requests.Go(func() {
				if err := live(t, keeper, id); err != nil {
					t.Errorf("after %d s: %v", second, err)
				}
			})
		}
		requests.Wait()
		if second%60 == 0 {
			keeper.Flush(t.Context())
		}
	}
	keeper.Flush(t.Context())
	if counting.count != 10 {
		t.Errorf("ten minutes of work were written down in %d batches", counting.count)
	}
	for id, want := range map[string]time.Time{"s": h.Now(), "other": h.Now(), "unused": morning} {
		if seen := h.row(t, id).LastSeen; !seen.Equal(want) {
			t.Errorf("%s was last seen at %s", id, seen)
		}
	}
}

// touches counts how often activity is written, and lets that fail.
type touches struct {
	session.Store
	mu    sync.Mutex
	count int
	fail  error
}

func (s *touches) TouchSignOns(ctx context.Context, seen []store.Activity) error {
	s.mu.Lock()
	s.count++
	fail := s.fail
	s.mu.Unlock()
	if fail != nil {
		return fail
	}
	return s.Store.TouchSignOns(ctx, seen)
}

func TestActivityThatCouldNotBeWrittenIsTriedAgain(t *testing.T) {
	h := newHouse(t)
	h.signOn(t, "s")
	failing := &touches{Store: h.store, fail: errors.New("disk full")}
	keeper := h.keeper(t, failing)
	h.set(morning.Add(10 * time.Minute))
	must(t, live(t, keeper, "s"))
	seen := h.Now()
	keeper.Flush(t.Context())
	h.set(morning.Add(20 * time.Minute))
	keeper.Flush(t.Context())
	failing.fail = nil
	keeper.Flush(t.Context())
	if row := h.row(t, "s"); failing.count != 3 || !row.LastSeen.Equal(seen) {
		t.Errorf("written %d times, last seen at %s", failing.count, row.LastSeen)
	}
}

// What has long been written down is forgotten, and the session that comes back
// then counts as activity as before.
func TestActivityAfterAPause(t *testing.T) {
	h := newHouse(t)
	h.signOn(t, "s")
	keeper := h.keeper(t, h.store)
	l := session.SignOnLookup{Session: sessionsOf(t, "s")[0], MaxStaleness: time.Minute}
	for _, at := range []time.Duration{0, time.Minute, 10 * time.Minute, 50 * time.Minute, 100 * time.Minute, 155 * time.Minute} {
		h.set(morning.Add(at))
		if _, err := keeper.LiveSignOn(t.Context(), l); err != nil {
			t.Fatalf("after %s: %v", at, err)
		}
		seen := h.Now()
		for range 5 {
			keeper.Flush(t.Context())
			h.set(h.Now().Add(session.Granularity))
		}
		if row := h.row(t, "s"); !row.LastSeen.Equal(seen) {
			t.Errorf("after %s: last seen at %s", at, row.LastSeen)
		}
	}
}

// A batch that comes late revives nothing, and work at another node counts.
func TestS05IdleTimeOverSeveralNodes(t *testing.T) {
	h := newHouse(t)
	h.signOn(t, "s")
	h.signOn(t, "left")
	here, there := h.keeper(t, h.store), h.keeper(t, h.store)
	must(t, live(t, here, "s"))
	must(t, live(t, here, "left"))
	h.set(morning.Add(50 * time.Minute))
	must(t, live(t, there, "s"))
	there.Flush(t.Context())
	h.set(morning.Add(100 * time.Minute))
	if err := live(t, here, "s"); err != nil {
		t.Errorf("a node knows nothing of the work at another: %v", err)
	}
	if err := live(t, here, "left"); !errors.Is(err, session.ErrEnded) {
		t.Errorf("idle everywhere: %v", err)
	}
	if err := live(t, there, "left"); !errors.Is(err, session.ErrEnded) {
		t.Errorf("ended at another node: %v", err)
	}
	here.Flush(t.Context())
	if row := h.row(t, "left"); row.Ended.IsZero() {
		t.Error("a late batch revived it")
	}
}

// What doesn't count as activity keeps nothing alive, however often it comes.
func TestS05PassiveRequests(t *testing.T) {
	h := newHouse(t)
	h.signOn(t, "s")
	keeper := h.keeper(t, h.store)
	var err error
	for at := morning; at.Before(morning.Add(2 * time.Hour)); at = at.Add(10 * time.Second) {
		h.set(at)
		if at.Second() == 0 {
			keeper.Flush(t.Context())
		}
		if _, err = keeper.LiveSignOn(t.Context(), session.SignOnLookup{SignOn: "s", Passive: true}); err != nil {
			break
		}
	}
	if lasted := h.Now().Sub(morning); !errors.Is(err, session.ErrEnded) || lasted < time.Hour || lasted > time.Hour+2*session.Granularity {
		t.Errorf("ended after %s with %v", lasted, err)
	}
}

func TestWhoCounts(t *testing.T) {
	disabled := func(t *testing.T, h *house) {
		u, err := h.store.UserByID(t.Context(), "alice")
		must(t, err)
		u.Status = store.UserDisabled
		must(t, h.store.UpdateUser(t.Context(), u))
	}
	tests := []struct {
		name    string
		id      string
		prepare func(t *testing.T, h *house)
		want    error
	}{
		{"a live sign-on", "s", nil, nil},
		{"an unknown sign-on", "other", nil, session.ErrEnded},
		{"no sign-on", "", nil, session.ErrEnded},
		{"S04 an ended sign-on", "s", func(t *testing.T, h *house) {
			_, err := h.keeper(t, h.store).End(t.Context(), "s", session.EndedSignOut)
			must(t, err)
		}, session.ErrEnded},
		{"S04 a disabled user", "s", disabled, session.ErrEnded},
		{"S04 a user who is invited again", "s", func(t *testing.T, h *house) {
			u, err := h.store.UserByID(t.Context(), "alice")
			must(t, err)
			u.Status = store.UserInvited
			must(t, h.store.UpdateUser(t.Context(), u))
		}, session.ErrEnded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			h.signOn(t, "s")
			if test.prepare != nil {
				test.prepare(t, h)
			}
			keeper := h.keeper(t, h.store)
			for range 2 { // from the store, and from memory
				s, err := keeper.LiveSignOn(t.Context(), session.SignOnLookup{SignOn: test.id})
				if !errors.Is(err, test.want) {
					t.Fatalf("got %v", err)
				}
				if (err == nil) != (s.User != nil && s.User.ID == "alice") {
					t.Errorf("got %v with %v", s.User, err)
				}
			}
		})
	}
}

// A store that can't tell must not be read as a no, nor as a yes.
func TestOutageIsNoAnswer(t *testing.T) {
	h := newHouse(t)
	h.signOn(t, "s")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := h.keeper(t, h.store).LiveSignOn(ctx, session.SignOnLookup{SignOn: "s"})
	if err == nil || errors.Is(err, session.ErrEnded) || s.User != nil {
		t.Errorf("got %v, %v", s.User, err)
	}
}

// TestWhyASignOnHasEnded tells what somebody ended from what ended by itself, or
// never was.
func TestWhyASignOnHasEnded(t *testing.T) {
	for reason, want := range map[string]struct{ terminated, signedOut bool }{
		session.EndedSignOut:         {true, true},
		session.EndedByAdmin:         {true, false},
		session.EndedByOwner:         {true, false},
		session.EndedPasswordChanged: {true, false},
		session.EndedDisabled:        {true, false},
		session.EndedIdle:            {false, false},
		session.EndedExpired:         {false, false},
		"":                           {false, false},
	} {
		h := newHouse(t)
		if reason != "" {
			h.signOn(t, "s")
			must(t, h.store.EndSignOn(t.Context(), "s", morning, reason))
		}
		_, err := h.keeper(t, h.store).LiveSignOn(t.Context(), session.SignOnLookup{SignOn: "s"})
		terminated, signedOut := errors.Is(err, session.ErrTerminated), errors.Is(err, session.ErrSignedOut)
		if !errors.Is(err, session.ErrEnded) || terminated != want.terminated || signedOut != want.signedOut {
			t.Errorf("%q: %v, terminated %t, signed out %t", reason, err, terminated, signedOut)
		}
	}
}

func TestEndingAgainKeepsTheFirstReason(t *testing.T) {
	h := newHouse(t)
	h.signOn(t, "s")
	keeper := h.keeper(t, h.store)
	for _, end := range []struct{ id, reason, owner string }{
		{"s", session.EndedSignOut, "alice"}, {"s", session.EndedByAdmin, ""}, {"unknown", session.EndedByAdmin, ""},
	} {
		owner, err := keeper.End(t.Context(), end.id, end.reason)
		if err != nil || owner.ID != end.owner {
			t.Errorf("ending %s for %q: %q, %v", end.id, end.reason, owner.ID, err)
		}
		h.set(morning.Add(time.Hour))
	}
	if row := h.row(t, "s"); row.EndReason != session.EndedSignOut || !row.Ended.Equal(morning) {
		t.Errorf("ended %s for %q", row.Ended, row.EndReason)
	}
}

func TestS01OnlyTheNewestPortalSessionCounts(t *testing.T) {
	h := newHouse(t)
	h.signOn(t, "s")
	keeper := h.keeper(t, h.store)
	old := session.PortalSession{SignOn: "s", Secret: "secret"}
	if _, _, err := keeper.LivePortal(t.Context(), old); err != nil {
		t.Fatalf("the portal session that counts: %v", err)
	}
	row := h.row(t, "s")
	row.PortalSession = token.Hash("newer")
	must(t, h.store.UpdateSignOn(t.Context(), row))

	h.set(morning.Add(30 * time.Minute))
	for name, p := range map[string]session.PortalSession{
		"the one before a rise": old,
		"no secret":             {SignOn: "s"},
		"the hash itself":       {SignOn: "s", Secret: token.Hash("newer")},
		"another sign-on":       {SignOn: "other", Secret: "newer"},
	} {
		if s, u, err := keeper.LivePortal(t.Context(), p); !errors.Is(err, session.ErrEnded) || s.ID != "" || u.ID != "" {
			t.Errorf("%s: %q, %q, %v", name, s.ID, u.ID, err)
		}
	}
	if seen := h.row(t, "s").LastSeen; !seen.Equal(morning) {
		t.Error("a refused portal session counted as activity")
	}
	if _, _, err := keeper.LivePortal(t.Context(), session.PortalSession{SignOn: "s", Secret: "newer"}); err != nil {
		t.Errorf("the newest portal session: %v", err)
	}
}

// counted counts the reads of a store.
type counted struct {
	session.Store
	signOns, users int
}

func (s *counted) SignOnByID(ctx context.Context, id string) (store.SignOn, error) {
	s.signOns++
	return s.Store.SignOnByID(ctx, id)
}

func (s *counted) UserByID(ctx context.Context, id string) (store.User, error) {
	s.users++
	return s.Store.UserByID(ctx, id)
}

// A request to the portal reads each row once.
func TestPortalReadsOnce(t *testing.T) {
	h := newHouse(t)
	h.signOn(t, "s")
	reads := &counted{Store: h.store}
	if _, _, err := h.keeper(t, reads).LivePortal(t.Context(), session.PortalSession{SignOn: "s", Secret: "secret"}); err != nil {
		t.Fatal(err)
	}
	if reads.signOns != 1 || reads.users != 1 {
		t.Errorf("%d reads of the sign-on and %d of the user", reads.signOns, reads.users)
	}
}

// The idle limit holds at the portal too, from when this process or the store
// last saw the sign-on.
func TestS05IdleAtThePortal(t *testing.T) {
	for _, test := range []struct {
		name  string
		at    time.Duration // after it was last used, in an app
		lives bool
	}{
		{"used within the limit, which isn't written down", time.Hour + time.Minute, true},
		{"idle", time.Hour + time.Minute + time.Second, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			h.signOn(t, "s")
			keeper := h.keeper(t, h.store)
			h.set(morning.Add(50 * time.Minute))
			must(t, live(t, keeper, "s"))
			h.set(h.Now().Add(test.at))
			_, _, err := keeper.LivePortal(t.Context(), session.PortalSession{SignOn: "s", Secret: "secret"})
			if (err == nil) != test.lives || err != nil && !errors.Is(err, session.ErrEnded) {
				t.Fatalf("got %v", err)
			}
			if row := h.row(t, "s"); row.Ended.IsZero() != test.lives || !test.lives && row.EndReason != session.EndedIdle {
				t.Errorf("ended %s, %q", row.Ended, row.EndReason)
			}
		})
	}
}

func TestCookiesCountWhereTheyBelongOnly(t *testing.T) {
	h := newHouse(t)
	s := h.signOn(t, "s")
	cookies := session.NewCookies(h.keys.Codec("session"), sameKeys, inLife("first life"), h.Now)
	value, err := cookies.Mint(s, "app.example.com", multi)
	must(t, err)
	foreign := newKeys(t, filepath.Join(t.TempDir(), "keys.json"))
	portal, err := session.NewPortalCookies(h.keys.Codec("portal")).Mint(session.PortalSession{SignOn: "s", Secret: "secret"})
	must(t, err)
	tests := []struct {
		name    string
		cookies *session.Cookies
		value   string
		host    string
		valid   bool
	}{
		{"its own host", cookies, value, "app.example.com", true},
		{"again, from memory", cookies, value, "app.example.com", true},
		{"S02 another host", cookies, value, "wiki.example.com", false},
		{"S02 a host below", cookies, value, "x.app.example.com", false},
		{"S02 no host", cookies, value, "", false},
		{"S02 the portal's cookie", cookies, portal, "app.example.com", false},
		{"S07 another life of the store", session.NewCookies(h.keys.Codec("session"), sameKeys, inLife("second life"), h.Now), value, "app.example.com", false},
		{"S03 other keys", session.NewCookies(foreign.Codec("session"), sameKeys, inLife("first life"), h.Now), value, "app.example.com", false},
		{"S02 a codec of another name", session.NewCookies(h.keys.Codec("state"), sameKeys, inLife("first life"), h.Now), value, "app.example.com", false},
		{"S03 over its age under an accepted key", session.NewCookies(h.keys.Codec("session"), sameKeys, inLife("first life"), func() time.Time {
			return morning.Add(12 * time.Hour)
		}), value, "app.example.com", false},
		{"S03 over 4096 bytes", cookies, value + strings.Repeat("A", 4096), "app.example.com", false},
		{"nothing", cookies, "", "app.example.com", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.cookies.Read(test.value, test.host)
			if test.valid {
				if err != nil || got.SignOn != "s" || len(got.Proofs) != 2 || !got.Expires.Equal(s.Expires) || !got.Minted.Equal(morning) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if !errors.Is(err, session.ErrInvalid) || got != nil {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// What a cookie was found to say is remembered: its age is not.
func TestS05RememberedCookieGrowsOld(t *testing.T) {
	h := newHouse(t)
	s := h.signOn(t, "s")
	cookies := session.NewCookies(h.keys.Codec("session"), sameKeys, inLife("life"), h.Now)
	value, err := cookies.Mint(s, "app.example.com", multi)
	must(t, err)
	if _, err := cookies.Read(value, "app.example.com"); err != nil {
		t.Fatal(err)
	}
	h.set(s.Expires)
	if _, err := cookies.Read(value, "app.example.com"); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// rotatable is a codec whose keys are taken away.
type rotatable struct {
	session.Codec
	gone bool
}

func (c *rotatable) Decode(value string) ([]byte, error) {
	if c.gone {
		return nil, errors.New("its key is gone")
	}
	return c.Codec.Decode(value)
}

// What an older generation of keys opened is not remembered past it.
func TestX09RememberedCookieDiesWithItsKey(t *testing.T) {
	h := newHouse(t)
	codec, generation := &rotatable{Codec: h.keys.Codec("session")}, uint64(1)
	cookies := session.NewCookies(codec, func() uint64 { return generation }, inLife("life"), h.Now)
	value, err := cookies.Mint(h.signOn(t, "s"), "app.example.com", multi)
	must(t, err)
	for range 2 { // opened, and from memory
		if _, err := cookies.Read(value, "app.example.com"); err != nil {
			t.Fatal(err)
		}
	}
	codec.gone = true
	generation++
	if s, err := cookies.Read(value, "app.example.com"); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("it is read as %+v, %v", s, err)
	}
}

func TestCookiesSayNothingReadable(t *testing.T) {
	h := newHouse(t)
	value, err := session.NewCookies(h.keys.Codec("session"), sameKeys, inLife("life"), h.Now).Mint(h.signOn(t, "sign-on-id"), "app.example.com", multi)
	must(t, err)
	for _, secret := range []string{"sign-on-id", "app.example.com", "alice", "password"} {
		if strings.Contains(value, secret) {
			t.Errorf("the cookie shows %q", secret)
		}
	}
}

func TestS02AlteredPortalCookies(t *testing.T) {
	h := newHouse(t)
	codec := session.NewPortalCookies(h.keys.Codec("portal"))
	value, err := codec.Mint(session.PortalSession{SignOn: "s", Secret: "secret"})
	must(t, err)
	altered := []string{"", "x", value + "x", value + "=", " " + value}
	for length := range value {
		altered = append(altered, value[:length])
	}
	for bit := range len(value) * 8 {
		flipped := []byte(value)
		flipped[bit/8] ^= 1 << (bit % 8)
		altered = append(altered, string(flipped))
	}
	for _, other := range altered {
		if p, err := codec.Read(other); !errors.Is(err, session.ErrInvalid) || p != (session.PortalSession{}) {
			t.Fatalf("%q says %+v, %v", other, p, err)
		}
	}
	if p, err := codec.Read(value); err != nil || p.SignOn != "s" || p.Secret != "secret" {
		t.Errorf("untouched: %+v, %v", p, err)
	}
}

// multi is what most rules ask.
var multi = assurance.Requirement{Level: assurance.Multi}
