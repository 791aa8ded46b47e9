package authflow_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/backupcode"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// TestL02TheAddressLimitHoldsInParallel guesses at many names from one address
// at once: no more are looked at than one after the other.
func TestL02TheAddressLimitHoldsInParallel(t *testing.T) {
	h := newHouse(t)
	before := h.hasher.Work().Hashes
	var guesses sync.WaitGroup
	for worker := range 12 {
		guesses.Go(func() {
			for i := range 15 {
				_, err := h.signIn(fmt.Sprintf("nobody%d-%d", worker, i), "guess", from("192.0.2.1"))
				if !isRefused(err, factors.Wrong) && asSlowed(err) == nil {
					t.Error(err)
				}
			}
		})
	}
	guesses.Wait()
	if looked := h.hasher.Work().Hashes - before; looked != 100 {
		t.Errorf("%d of 180 guesses were looked at", looked)
	}
}

// TestL02RightPasswordsAreNoFailuresOfTheirAddress signs an office in.
func TestL02RightPasswordsAreNoFailuresOfTheirAddress(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	for range 150 {
		ada.shown(from("192.0.2.1"))
	}
	for key, want := range map[string]int{"192.0.2.1": 0, "192.0.2.0/24": 0} {
		if counted, err := h.store.GetAttempts(h.ctx, guess.ScopeAddress, key); err != nil || counted.Failures != want {
			t.Errorf("%s has %d failures, %v", key, counted.Failures, err)
		}
	}
}

// TestL02NetworksHaveALimit guesses from ever other addresses of what one
// customer may hold.
func TestL02NetworksHaveALimit(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	h.must(h.store.PutAttempts(h.ctx, store.Attempts{Scope: guess.ScopeAddress, Key: "2001:db8:7::/48", Failures: 998, First: h.clock(), Last: h.clock()}))
	for i := range 4 {
		_, err := h.signIn(fmt.Sprintf("nobody%d", i), "guess", from(fmt.Sprintf("2001:db8:7:%x::1", i)))
		if looked := isRefused(err, factors.Wrong); looked != (i < 2) {
			t.Errorf("guess %d: %v", i+1, err)
		}
	}
	ada.shown(from("2001:db8:8::1"))
	ada.shown(person.Client{Address: "2001:db8:7:ffff::1", Browser: ada.browserToken})
	h.pass(10 * time.Minute)
	ada.shown(from("2001:db8:7:ffff::1"))
}

// full is a queue without places for strangers.
type full struct {
	hashing
	turns []identity.Turn
}

func (f *full) Enter(ctx context.Context, turn identity.Turn) (context.Context, func(), error) {
	f.turns = append(f.turns, turn)
	if !turn.Known {
		return nil, nil, &identity.BusyError{RetryAfter: 5 * time.Second}
	}
	return f.hashing.Enter(ctx, turn)
}

// TestL02BusyTriesCountForTheirAddress has an address come again and again
// while there is no place: that costs no write, is no guess at anybody's
// password, and has the address wait in the end.
func TestL02BusyTriesCountForTheirAddress(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	calm := h.passwords
	h.hashBy(&full{hashing: calm})
	before := h.store.commits.Load()
	for i := range 100 {
		if _, err := h.signIn("ada", ada.password, from("192.0.2.1")); !errors.Is(err, guess.ErrBusy) {
			t.Fatalf("try %d: %v", i+1, err)
		}
	}
	if n := h.store.commits.Load() - before; n != 0 {
		t.Errorf("%d commits", n)
	}
	h.hashBy(calm)
	if _, err := h.signIn("ada", ada.password, from("192.0.2.1")); asSlowed(err) == nil {
		t.Errorf("afterwards: %v", err)
	}
	ada.shown(from("192.0.2.2"))
	ada.shown(person.Client{Address: "192.0.2.1", Browser: ada.browserToken})
	h.pass(10 * time.Minute)
	ada.shown(from("192.0.2.1"))
}

// TestF03WhoseTurnItIs looks at whom the queue takes people for.
func TestF03WhoseTurnItIs(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	eve := h.person("eve")
	granted, err := h.Grant(h.ctx, func() authflow.Flow {
		f := ada.shown(person.Client{})
		h.must(ada.answer(f, ada.code(), person.Client{}))
		return h.load(f)
	}(), "", person.Client{})
	h.must(err)
	h.pass(time.Minute)
	turns := &full{hashing: h.passwords}
	h.hashBy(turns)
	h.must(h.store.PutAttempts(h.ctx, store.Attempts{Scope: guess.ScopeAddress, Key: "192.0.2.9", Failures: 3, First: h.clock(), Last: h.clock()}))
	h.must(h.store.PutAttempts(h.ctx, store.Attempts{Scope: guess.ScopeAddress, Key: "192.0.2.0/24", Failures: 17, First: h.clock(), Last: h.clock()}))
	stranger := identity.Turn{Sharer: "192.0.2.9", Network: "192.0.2.0/24", Failures: 3 + 17/8}
	first := h.clock()
	again := stranger
	again.Since = first
	for _, c := range []struct {
		what string
		try  func() error
		want identity.Turn
	}{
		{"a stranger", func() error { _, err := h.signIn("ada", "guess", from("192.0.2.9")); return err }, stranger},
		{"a stranger who was turned away", func() error {
			h.pass(time.Minute)
			_, err := h.signIn("nobody", "guess", from("192.0.2.9"))
			return err
		}, again},
		{"another's browser", func() error {
			_, err := h.signIn("ada", "guess", person.Client{Address: "192.0.2.9", Browser: eve.browserToken})
			return err
		}, again},
		{"a known browser", func() error {
			_, err := h.signIn("ada", "guess", person.Client{Address: "192.0.2.9", Browser: ada.browserToken})
			return err
		}, identity.Turn{Known: true, Sharer: ada.id}},
		{"somebody who is signed in", func() error {
			_, err := h.ChangePassword(h.ctx, granted.SignOn, ada.user(), selfservice.PasswordChange{Current: "guess", New: "marble lantern 4471 fjord"}, from("192.0.2.9"))
			return err
		}, identity.Turn{Known: true, Sharer: ada.id}},
	} {
		t.Run(c.what, func(t *testing.T) {
			turns.turns = nil
			err := c.try()
			if len(turns.turns) != 1 || turns.turns[0] != c.want {
				t.Errorf("turns %+v, want %+v (%v)", turns.turns, c.want, err)
			}
		})
	}
}

// shares notes who waits for hashes that have no place of their own.
type shares struct {
	*identity.Hasher
	turns []identity.Turn
}

func (s *shares) note(ctx context.Context) { s.turns = append(s.turns, identity.TurnOf(ctx)) }

func (s *shares) Hash(ctx context.Context, secret string) (string, error) {
	s.note(ctx)
	return s.Hasher.Hash(ctx, secret)
}

func (s *shares) Verify(ctx context.Context, phc, secret string) (bool, error) {
	s.note(ctx)
	return s.Hasher.Verify(ctx, phc, secret)
}

func (s *shares) Burn(ctx context.Context, secret string) error {
	s.note(ctx)
	return s.Hasher.Burn(ctx, secret)
}

// TestF03NobodyHashesInNobodysName has people hash who have shown something
// already, a link or a password. However many they begin, each has one claim to
// the queue, and a thief none that is the owner's.
func TestF03NobodyHashesInNobodysName(t *testing.T) {
	h := newHouse(t)
	noted := &shares{Hasher: h.hasher}
	h.hashBy(noted)
	codes, err := h.vault.Factors.Get(assurance.TOTP)
	h.must(err)
	h.vault.Factors = factors.Set{codes, backupcode.New("Test", noted, h.clock, rand.Reader)}
	expect := func(what string, want identity.Turn) {
		t.Helper()
		if want.Known = true; len(noted.turns) == 0 {
			t.Errorf("%s: nothing was hashed", what)
		}
		for _, turn := range noted.turns {
			if turn != want {
				t.Errorf("%s: %+v, want %+v", what, turn, want)
			}
		}
		noted.turns = nil
	}

	link, err := h.NewInvitation(h.ctx, h.add("ada", store.UserInvited))
	h.must(err)
	f, err := h.OpenLink(h.ctx, link)
	h.must(err)
	ada := h.setUp(f, "ada")
	expect("a set-up", identity.Turn{Sharer: token.Hash(link)})

	guess := func(c person.Client) {
		t.Helper()
		f := ada.shown(c)
		noted.turns = nil // of the password, which has a place
		wrong := authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": "0000-0000-0000"}}
		if err := h.Answer(h.ctx, f, wrong, c); !isRefused(err, factors.Wrong) {
			t.Fatalf("a wrong backup code: %v", err)
		}
	}
	guess(from("192.0.2.9"))
	expect("a backup code in an unknown browser", identity.Turn{Sharer: "192.0.2.9", Network: "192.0.2.0/24"})
	guess(person.Client{Address: "192.0.2.9", Browser: ada.browserToken})
	expect("a backup code in a known browser", identity.Turn{Sharer: ada.id})
}

// dies is a server that ends while it looks at a password.
type dies struct{ hashing }

func (dies) Verify(context.Context, string, string) (bool, error) { panic("killed") }

// TestX01AKillIsNoWrongGuess ends the server in the middle of hashing, again and
// again. While an attempt might still be looked at it counts, so that no more
// are at once than one after the other.
func TestX01AKillIsNoWrongGuess(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	alive := h.passwords
	killed := func() (slowed bool) {
		defer func() { _ = recover() }()
		h.hashBy(dies{alive})
		_, err := h.signIn("ada", ada.password, from("192.0.2.1"))
		return asSlowed(err) != nil
	}
	for range 20 {
		if killed() {
			t.Fatal("a kill was counted")
		}
		h.pass(time.Minute)
	}
	for i := range 7 {
		if slowed := killed(); slowed != (i >= 5) {
			t.Errorf("kill %d in the same moment: slowed: %t", i+1, slowed)
		}
	}
	h.hashBy(alive)
	h.pass(time.Minute)
	if counted, err := h.store.GetAttempts(h.ctx, guess.ScopeUser, ada.id+"/password/unknown"); err != nil || counted.Failures != 0 {
		t.Errorf("%d failures, %v", counted.Failures, err)
	}
	ada.shown(from("192.0.2.1"))
	h.must(h.store.DeleteAttempts(h.ctx, guess.ScopeAddress, ""))
	for i := range 6 {
		_, err := h.signIn("ada", "guess", from("192.0.2.1"))
		if looked := isRefused(err, factors.Wrong); looked != (i < 5) {
			t.Errorf("guess %d afterwards: %v", i+1, err)
		}
	}
	// Wrong answers leave no attempt under way.
	rest := assurance.Requirement{Level: assurance.Multi}
	h.pass(30 * time.Second)
	if _, err := h.SignIn(h.ctx, authflow.Login{Name: "ada", Password: ada.password, Client: from("192.0.2.1"), Ask: rest}); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}
