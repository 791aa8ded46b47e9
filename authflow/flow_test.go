package authflow_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// TestF01AlikeInWork signs in as everybody whom a stranger could ask about:
// each guess has the same answer after the same hashing and the same writing.
func TestF01AlikeInWork(t *testing.T) {
	h := newHouse(t)
	h.person("known")
	disabled := h.person("disabled")
	h.add("invited", store.UserInvited)
	h.add("passwordless", store.UserActive)
	factorless := h.person("factorless")
	for _, kind := range []assurance.Factor{assurance.TOTP, assurance.BackupCode} {
		c := h.credential(factorless.id, kind)
		h.must(h.store.DeleteCredential(h.ctx, c.ID, c.Version))
	}
	suspended := h.person("suspended")
	password := h.credential(suspended.id, assurance.Password)
	password.State = store.CredentialSuspended
	h.must(h.store.UpdateCredential(h.ctx, password))
	user, err := h.store.UserByID(h.ctx, disabled.id)
	h.must(err)
	user.Status = store.UserDisabled
	h.must(h.store.UpdateUser(h.ctx, user))

	for _, c := range []struct{ who, name, password string }{
		{"unknown", "nobody", "guess"},
		{"unknown address", "nobody@example.net", "guess"},
		{"no possible name", "a b,c\x00", "guess"},
		{"no possible address", "@@", "guess"},
		{"known", "known", "guess"},
		{"known, a password that nobody can have", "known", string(make([]byte, 4000))},
		{"known by address", "known@example.com", "guess"},
		{"disabled", "disabled", "guess"},
		{"disabled, right password", "disabled", rightPassword},
		{"invited", "invited", "guess"},
		{"without a password", "passwordless", "guess"},
		{"password suspended, right password", "suspended", rightPassword},
		{"factorless", "factorless", "guess"},
	} {
		t.Run(c.who, func(t *testing.T) {
			h.must(h.store.DeleteAttempts(h.ctx, guess.ScopeUser, ""))
			h.must(h.store.DeleteAttempts(h.ctx, guess.ScopeName, ""))
			for i := range 7 {
				before, synced := h.hasher.Work(), h.store.commits.Load()
				_, err := h.signIn(c.name, c.password, from(fmt.Sprintf("192.0.2.%d", i)))
				after, commits := h.hasher.Work(), h.store.commits.Load()-synced
				hashes, cost := after.Hashes-before.Hashes, after.Kibibytes-before.Kibibytes
				if i < 5 {
					if !isRefused(err, factors.Wrong) || hashes != 1 || cost != 8 || commits != 2 {
						t.Fatalf("guess %d: %v after %d hashes of %d KiB and %d commits", i+1, err, hashes, cost, commits)
					}
					continue
				}
				if slowed := asSlowed(err); slowed == nil || slowed.RetryAfter != 30*time.Second || hashes != 0 || commits != 0 {
					t.Fatalf("guess %d: %v after %d hashes and %d commits", i+1, err, hashes, commits)
				}
			}
		})
	}
	t.Run("the right password of somebody without a second factor grants nothing", func(t *testing.T) {
		h.must(h.store.DeleteAttempts(h.ctx, guess.ScopeUser, ""))
		had := h.signOns(factorless.id)
		f := factorless.shown(from("192.0.2.1"))
		if step, err := h.Step(h.ctx, f, ""); err != nil || step.Kind != authflow.StepAccessCode {
			t.Errorf("the step is %+v, %v", step, err)
		}
		if _, err := h.Grant(h.ctx, f, "", person.Client{}); !errors.Is(err, authflow.ErrWrongStep) || h.signOns(factorless.id) != had {
			t.Errorf("granting: %v", err)
		}
	})
}

// TestF02GuessesAtOnce guesses many times at one moment: no more are looked at
// than one after the other.
func TestF02GuessesAtOnce(t *testing.T) {
	h := newHouse(t)
	h.person("ada")
	before := h.hasher.Work().Hashes
	var guesses sync.WaitGroup
	for i := range 200 {
		guesses.Go(func() {
			if _, err := h.signIn("ada", "guess", from(fmt.Sprintf("192.0.2.%d", i))); !isRefused(err, factors.Wrong) && asSlowed(err) == nil {
				t.Error(err)
			}
		})
	}
	guesses.Wait()
	if looked := h.hasher.Work().Hashes - before; looked != 5 {
		t.Errorf("%d of 200 guesses were looked at", looked)
	}
}

// TestF02NamesNobodyHas counts guesses at one made-up name together.
func TestF02NamesNobodyHas(t *testing.T) {
	h := newHouse(t)
	for _, spelling := range []string{"nemo", "NEMO", "Nemo", " nemo", "ｎｅｍｏ"} {
		if _, err := h.signIn(spelling, "guess", from("192.0.2.1")); !isRefused(err, factors.Wrong) {
			t.Fatalf("%q: %v", spelling, err)
		}
	}
	if _, err := h.signIn("nemo", "guess", from("192.0.2.1")); asSlowed(err) == nil {
		t.Errorf("the sixth guess: %v", err)
	}
}

// guessUntilLocked fails as often as is let, waiting as told, until unknown
// browsers are locked or paused, and returns how many attempts were looked at.
func (h *house) guessUntilLocked(attempt func() error) int {
	h.t.Helper()
	for looked := 0; ; {
		if looked > 200 {
			h.t.Fatal("200 guesses, and no end to them")
		}
		err := attempt()
		switch slowed := asSlowed(err); {
		case slowed == nil && isRefused(err, factors.Wrong):
			looked++
		case slowed == nil:
			h.t.Fatal(err)
		case slowed.Locked, slowed.Paused:
			return looked
		default:
			h.pass(slowed.RetryAfter)
		}
	}
}

func TestF03LockedAfterAHundred(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	address := 0
	elsewhere := func() person.Client {
		address++
		return from(fmt.Sprintf("2001:db8:0:%x::1", address))
	}
	known := person.Client{Address: "192.0.2.1", Browser: ada.browserToken}

	looked := h.guessUntilLocked(func() error {
		_, err := h.signIn("ada", "guess", elsewhere())
		return err
	})
	if looked != 100 {
		t.Errorf("%d guesses were looked at", looked)
	}
	alerts := h.events(audit.FactorAlert)
	if len(alerts) != 1 || alerts[0].UserID != ada.id || alerts[0].Fields["factor"] != "password" || alerts[0].Fields["failures"] != "100" {
		t.Errorf("alerts: %+v", alerts)
	}
	h.pass(23 * time.Hour)
	if _, err := h.signIn("ada", ada.password, elsewhere()); asSlowed(err) == nil {
		t.Errorf("the right password in an unknown browser: %v", err)
	}
	for what, token := range map[string]string{"made up": "AAAA", "of somebody else": h.person("eve").browserToken} {
		if _, err := h.signIn("ada", ada.password, person.Client{Browser: token}); asSlowed(err) == nil {
			t.Errorf("with a browser's token that is %s: %v", what, err)
		}
	}

	// The known browser goes on, and a whole sign-in there lifts the lock.
	f, err := h.signIn("ada", ada.password, known)
	h.must(err)
	h.must(ada.answer(f, ada.code(), known))
	if _, err := h.signIn("ada", ada.password, elsewhere()); asSlowed(err) == nil {
		t.Errorf("before the sign-in was granted: %v", err)
	}
	granted, err := h.Grant(h.ctx, h.load(f), "", known)
	h.must(err)
	if granted.Browser != ada.browserToken {
		t.Error("a known browser was given another token")
	}
	if _, err := h.signIn("ada", ada.password, elsewhere()); err != nil {
		t.Errorf("after a whole sign-in elsewhere: %v", err)
	}

	t.Run("a second factor, which a right password doesn't clear", func(t *testing.T) {
		looked := h.guessUntilLocked(func() error {
			c := elsewhere()
			return ada.answer(ada.shown(c), ada.wrongCode(), c)
		})
		if looked != 25 || len(h.events(audit.FactorsPaused)) != 1 {
			t.Errorf("%d guesses were looked at, %d alerts", looked, len(h.events(audit.FactorsPaused)))
		}
		c := elsewhere()
		f := ada.shown(c)
		if err := ada.answer(f, ada.code(), c); asSlowed(err) == nil {
			t.Errorf("the right code: %v", err)
		}
		h.must(h.Answer(h.ctx, h.load(f), authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": ada.codes[0]}}, c))
		_, err := h.Grant(h.ctx, h.load(f), "", c)
		h.must(err)
		h.pass(time.Minute)
		if err := ada.answer(ada.shown(elsewhere()), ada.code(), elsewhere()); asSlowed(err) == nil {
			t.Errorf("the right code after a whole sign-in: %v", err)
		}
		h.must(ada.answer(ada.shown(known), ada.code(), known))
	})
}

func TestFailuresPerAddress(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	const office = "2001:db8:7:7::1"
	for i := range 100 {
		if _, err := h.signIn(fmt.Sprintf("nobody%d", i), "guess", from(fmt.Sprintf("2001:db8:7:7::%x", i+2))); !isRefused(err, factors.Wrong) {
			t.Fatalf("guess %d: %v", i+1, err)
		}
	}
	h.pass(4 * time.Minute)
	for _, name := range []string{"ada", "fresh"} {
		before := h.hasher.Work().Hashes
		_, err := h.signIn(name, ada.password, from(office))
		if slowed := asSlowed(err); slowed == nil || slowed.RetryAfter != 6*time.Minute || slowed.Locked || h.hasher.Work().Hashes != before {
			t.Errorf("%s from the flooding network: %v", name, err)
		}
	}
	ada.shown(from("2001:db8:7:8::1"))
	ada.shown(person.Client{Address: office, Browser: ada.browserToken})
	// Attempts that were slowed don't lengthen the wait.
	h.pass(6 * time.Minute)
	ada.shown(from(office))
	// A new window begins with the first failure in it.
	if _, err := h.signIn("another", "guess", from(office)); !isRefused(err, factors.Wrong) {
		t.Errorf("in a new window: %v", err)
	}
	// X05: a clock that is set back locks nobody out for as long.
	for i := range 99 {
		_, err := h.signIn(fmt.Sprintf("again%d", i), "guess", from(office))
		if !isRefused(err, factors.Wrong) {
			t.Fatalf("guess %d: %v", i+1, err)
		}
	}
	h.pass(-24 * time.Hour)
	ada.shown(from(office))
}

// TestKnownBrowsersTakeTwoFactors has a flow that asks for the password alone:
// the browser stays unknown, else each would have a count of its own.
func TestKnownBrowsersTakeTwoFactors(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	single := assurance.Requirement{Level: assurance.Single}
	for i := range 6 {
		f, err := h.SignIn(h.ctx, authflow.Login{Name: "ada", Password: ada.password, Ask: single})
		h.must(err)
		granted, err := h.Grant(h.ctx, f, "", person.Client{})
		h.must(err)
		if granted.Browser != "" {
			t.Fatal("a password alone made a browser known")
		}
		step, err := h.BeginStepUp(h.ctx, authflow.Raise{SignOn: granted.SignOn, User: store.User{ID: ada.id, Name: "ada"}, Ask: assurance.Requirement{Level: assurance.Multi}})
		h.must(err)
		err = ada.answer(step, ada.wrongCode(), person.Client{Browser: granted.Browser})
		if i < 5 && !isRefused(err, factors.Wrong) || i == 5 && asSlowed(err) == nil {
			t.Errorf("guess %d: %v", i+1, err)
		}
	}
}

// TestBusyCostsNoAttempt has hashing that is too busy to look at anything.
func TestBusyCostsNoAttempt(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	h.hashBy(busy{h.hasher})
	for range 20 {
		_, err := h.SignIn(h.ctx, authflow.Login{Name: "ada", Password: "guess"})
		if !errors.Is(err, guess.ErrBusy) {
			t.Fatal(err)
		}
	}
	h.hashBy(h.hasher)
	gone, cancel := context.WithCancel(h.ctx)
	cancel()
	if _, err := h.SignIn(gone, authflow.Login{Name: "ada", Password: "guess"}); err == nil || isRefused(err, factors.Wrong) {
		t.Errorf("somebody who went away was answered %v", err)
	}
	ada.shown(person.Client{})
}

type busy struct{ hashing }

func (busy) Verify(context.Context, string, string) (bool, error) { return false, guess.ErrBusy }

// TestF06ReadAgainBeforeTheGrant changes something after all was shown.
func TestF06ReadAgainBeforeTheGrant(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(h *house, p *member)
		want   error
	}{
		{"nothing", func(*house, *member) {}, nil},
		{"the user is disabled", func(h *house, p *member) {
			user, err := h.store.UserByID(h.ctx, p.id)
			h.must(err)
			user.Status = store.UserDisabled
			h.must(h.store.UpdateUser(h.ctx, user))
		}, authflow.ErrFlowGone},
		{"the user is deleted", func(h *house, p *member) { h.must(h.store.DeleteUser(h.ctx, p.id)) }, authflow.ErrFlowGone},
		{"the groups change", func(h *house, p *member) {
			user, err := h.store.UserByID(h.ctx, p.id)
			h.must(err)
			user.Groups = []string{"others"}
			h.must(h.store.UpdateUser(h.ctx, user))
		}, nil},
		{"the password changes", func(h *house, p *member) {
			h.must(h.store.UpdateCredential(h.ctx, h.holding(h.credential(p.id, assurance.Password), "another")))
		}, authflow.ErrFlowGone},
		{"the password is suspended", func(h *house, p *member) {
			c := h.credential(p.id, assurance.Password)
			c.State = store.CredentialSuspended
			h.must(h.store.UpdateCredential(h.ctx, c))
		}, authflow.ErrFlowGone},
		{"the password is deleted", func(h *house, p *member) {
			c := h.credential(p.id, assurance.Password)
			h.must(h.store.DeleteCredential(h.ctx, c.ID, c.Version))
		}, authflow.ErrFlowGone},
		{"a factor is no longer configured", func(h *house, _ *member) { h.vault.Factors = h.vault.Factors[1:] }, authflow.ErrWrongStep},
		{"the flow is over its time", func(h *house, _ *member) { h.pass(authflow.FlowIdle) }, authflow.ErrFlowGone},
		{"what is under way is abandoned", func(h *house, p *member) { h.must(person.Abandon(h.ctx, h.store, p.id)) }, authflow.ErrFlowGone},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHouse(t)
			ada := h.person("ada")
			f, had := ada.complete(), h.signOns(ada.id)
			c.change(h, ada)
			_, err := h.Grant(h.ctx, f, "", person.Client{})
			if !errors.Is(err, c.want) {
				t.Errorf("granting: %v, want %v", err, c.want)
			}
			if c.want != nil && h.signOns(ada.id) > had {
				t.Error("a sign-on was made")
			}
		})
	}
}

func TestGrantedExactlyOnce(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	f, had := ada.complete(), h.signOns(ada.id)
	var granted atomic.Int64
	var askers sync.WaitGroup
	for range 100 {
		askers.Go(func() {
			_, err := h.Grant(h.ctx, f, "", person.Client{})
			if err == nil {
				granted.Add(1)
			} else if !errors.Is(err, authflow.ErrFlowGone) {
				t.Error(err)
			}
		})
	}
	askers.Wait()
	if granted.Load() != 1 || h.signOns(ada.id) != had+1 {
		t.Errorf("granted %d times, %d sign-ons", granted.Load(), h.signOns(ada.id)-had)
	}
}

// TestO01OneCodeOverManyFlows shows one code in a hundred flows at once.
func TestO01OneCodeOverManyFlows(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	var flows [100]authflow.Flow
	for i := range flows {
		flows[i] = ada.shown(person.Client{})
	}
	var passed atomic.Int64
	var answers sync.WaitGroup
	code := ada.code()
	for _, f := range flows {
		answers.Go(func() {
			if h.Answer(h.ctx, f, authflow.Response{Factor: assurance.TOTP, Answer: factors.Answer{"code": code}}, person.Client{}) == nil {
				passed.Add(1)
			}
		})
	}
	answers.Wait()
	if passed.Load() != 1 {
		t.Errorf("one code passed %d times", passed.Load())
	}
}

// TestX02SpentAndNotGranted fails between two writes: a code may be spent for
// nothing, but nothing is granted for a code that isn't spent.
func TestX02SpentAndNotGranted(t *testing.T) {
	errDisk := errors.New("the disk is full")
	failing := func(what string) func(string) error {
		return func(asked string) error {
			if asked == what {
				return errDisk
			}
			return nil
		}
	}
	t.Run("while granting", func(t *testing.T) {
		h := newHouse(t)
		ada := h.person("ada")
		code := ada.code()
		f, had := ada.complete(), h.signOns(ada.id)
		h.store.fail = failing("sign-on")
		if _, err := h.Grant(h.ctx, f, "", person.Client{}); !errors.Is(err, errDisk) {
			t.Fatalf("granting: %v", err)
		}
		h.store.fail = nil
		if h.signOns(ada.id) != had {
			t.Error("a sign-on was made")
		}
		if err := ada.answer(ada.shown(person.Client{}), code, person.Client{}); !isRefused(err, factors.Used) {
			t.Errorf("the code once more: %v", err)
		}
		// Who has shown all is not asked again once the store is well.
		if _, err := h.Grant(h.ctx, f, "", person.Client{}); err != nil {
			t.Errorf("granting again: %v", err)
		}
	})
	t.Run("while spending", func(t *testing.T) {
		h := newHouse(t)
		ada := h.person("ada")
		f, version := ada.shown(person.Client{}), h.credential(ada.id, assurance.TOTP).Version
		h.store.fail = failing("flow")
		if err := ada.answer(f, ada.code(), person.Client{}); !errors.Is(err, errDisk) {
			t.Fatalf("answering: %v", err)
		}
		h.store.fail = nil
		if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
			t.Errorf("granting: %v", err)
		}
		if h.credential(ada.id, assurance.TOTP).Version != version {
			t.Error("the code was spent without its proof")
		}
		h.must(ada.answer(f, ada.code(), person.Client{}))
	})
}

// TestO03SealedSecretsStayInTheirRow copies a sealed secret to another row.
func TestO03SealedSecretsStayInTheirRow(t *testing.T) {
	h := newHouse(t)
	ada, eve := h.person("ada"), h.person("eve")
	for _, kind := range []assurance.Factor{assurance.TOTP, assurance.Password} {
		victim := h.credential(ada.id, kind)
		victim.Secret = h.credential(eve.id, kind).Secret
		f := authflow.Flow{}
		if kind == assurance.TOTP {
			f = ada.shown(person.Client{})
		}
		h.must(h.store.UpdateCredential(h.ctx, victim))
		var err error
		if kind == assurance.TOTP {
			err = ada.answer(f, eve.code(), person.Client{})
		} else {
			_, err = h.signIn("ada", eve.password, person.Client{})
		}
		if err == nil || isRefused(err, factors.Wrong) {
			t.Errorf("%s of another row: %v", kind, err)
		}
	}
	t.Run("nor in another flow", func(t *testing.T) {
		// Two flows of one person: the key begun in the one isn't the other's.
		link, err := h.NewInvitation(h.ctx, h.add("bob", store.UserInvited))
		h.must(err)
		var flows [2]authflow.Flow
		for i := range flows {
			flows[i], err = h.OpenLink(h.ctx, link)
			h.must(err)
			h.must(h.ChooseAccount(h.ctx, flows[i], authflow.Choice{Password: rightPassword}))
			_, err = h.Enrolment(h.ctx, h.load(flows[i]), assurance.TOTP, person.Client{})
			h.must(err)
		}
		question := func(f authflow.Flow) store.Record {
			f = h.load(f)
			ref := ceremony.Ref(f.ID, ceremony.Enrolment, assurance.TOTP, f.Closed["enrolment/totp"])
			record, err := h.store.GetRecord(h.ctx, "question", ref, h.clock())
			h.must(err)
			return record
		}
		mixed := question(flows[0])
		mixed.Value = question(flows[1]).Value
		h.must(h.store.UpdateRecord(h.ctx, mixed, h.clock()))
		if _, err := h.Enrolment(h.ctx, h.load(flows[0]), assurance.TOTP, person.Client{}); err == nil {
			t.Error("a key begun in another flow is shown")
		}
	})
}

func TestLinksAndFlowsExpire(t *testing.T) {
	h := newHouse(t)
	setup, err := h.NewSetupLink(h.ctx)
	h.must(err)
	bob := h.add("bob", store.UserInvited)
	invitation, err := h.NewInvitation(h.ctx, bob)
	h.must(err)
	h.pass(authflow.LinkLifetime - time.Second)
	half, err := h.OpenLink(h.ctx, setup)
	h.must(err)
	_, err = h.OpenLink(h.ctx, invitation)
	h.must(err)
	h.pass(time.Second)
	for what, link := range map[string]string{"setup link": setup, "invitation": invitation} {
		if _, err := h.OpenLink(h.ctx, link); !errors.Is(err, authflow.ErrLinkGone) {
			t.Errorf("a %s after 72 hours: %v", what, err)
		}
	}
	// A link that was opened in time has to be used in time as well.
	h.must(h.ChooseAccount(h.ctx, half, authflow.Choice{Name: "ada", Password: rightPassword}))
	late := &member{h: h}
	if err := h.finishFirstFactor(half, late); !errors.Is(err, authflow.ErrLinkGone) {
		t.Errorf("setting up by a link that expired meanwhile: %v", err)
	}
	if n, err := h.store.CountUsers(h.ctx, store.UserActive); err != nil || n != 0 {
		t.Errorf("%d users, %v", n, err)
	}

	t.Run("a flow, idle and in all", func(t *testing.T) {
		h := newHouse(t)
		ada := h.person("ada")
		f := ada.shown(person.Client{})
		h.pass(authflow.FlowIdle - time.Second)
		h.load(f)
		h.pass(time.Second)
		if _, err := h.Load(h.ctx, f.ID); !errors.Is(err, authflow.ErrFlowGone) {
			t.Errorf("after 15 minutes: %v", err)
		}
		link, err := h.NewInvitation(h.ctx, h.add("eve", store.UserInvited))
		h.must(err)
		f, err = h.OpenLink(h.ctx, link)
		h.must(err)
		for range 4 {
			h.must(h.ChooseAccount(h.ctx, h.load(f), authflow.Choice{Password: rightPassword}))
			h.pass(14 * time.Minute)
		}
		h.must(h.ChooseAccount(h.ctx, h.load(f), authflow.Choice{Password: rightPassword}))
		h.pass(4 * time.Minute)
		if _, err := h.Load(h.ctx, f.ID); !errors.Is(err, authflow.ErrFlowGone) {
			t.Errorf("after an hour of activity: %v", err)
		}
	})
}

// finishFirstFactor confirms the authenticator of a set-up.
func (h *house) finishFirstFactor(f authflow.Flow, p *member) error {
	h.t.Helper()
	made, err := h.Enrolment(h.ctx, h.load(f), assurance.TOTP, person.Client{})
	h.must(err)
	p.secret = keyOn(made)
	return h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{Factor: assurance.TOTP, Answer: factors.Answer{"code": p.code()}}, person.Client{})
}

// TestTransactionsMayRunAgain has a store that runs each transaction several
// times, as the contract lets it: nothing of the runs in vain may stay.
func TestTransactionsMayRunAgain(t *testing.T) {
	h := newHouse(t)
	h.store.inVain = true
	link, err := h.NewSetupLink(h.ctx)
	h.must(err)
	f, err := h.OpenLink(h.ctx, link)
	h.must(err)
	ada := h.setUp(f, "ada")
	if n := h.signOns(ada.id); n != 1 {
		t.Fatalf("%d sign-ons of one set-up", n)
	}
	f = ada.shown(person.Client{})
	if err := ada.answer(f, ada.wrongCode(), person.Client{}); !isRefused(err, factors.Wrong) {
		t.Fatal(err)
	}
	counted, err := h.store.GetAttempts(h.ctx, guess.ScopeUser, ada.id+"/totp/unknown")
	if err != nil || counted.Failures != 1 {
		t.Errorf("one wrong code was counted as %+v, %v", counted, err)
	}
	h.must(ada.answer(f, ada.code(), person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	if n := len(h.events(audit.SignInSucceeded)); n != 2 {
		t.Errorf("%d events of two sign-ins", n)
	}

	h.pass(10 * time.Minute)
	ask := assurance.Requirement{Level: assurance.Multi, MaxAge: time.Minute}
	f, err = h.BeginStepUp(h.ctx, authflow.Raise{SignOn: granted.SignOn, User: store.User{ID: ada.id, Name: "ada"}, Ask: ask})
	h.must(err)
	h.must(ada.answer(f, ada.code(), person.Client{}))
	raised, err := h.Grant(h.ctx, h.load(f), granted.SignOn.ID, person.Client{})
	h.must(err)
	kept, err := h.store.SignOnByID(h.ctx, granted.SignOn.ID)
	h.must(err)
	if kept.PortalSession != hashOf(raised.PortalSecret) || raised.PortalSecret == granted.PortalSecret {
		t.Error("S01: the portal's session from before the step-up counts")
	}
	if raised.SignOn.ID != granted.SignOn.ID || h.signOns(ada.id) != 2 {
		t.Error("a step-up made another sign-on")
	}
}

// TestSetupLinksDontComeBack has more links made than are needed, and nobody
// active afterwards.
func TestSetupLinksDontComeBack(t *testing.T) {
	for name, setUp := range map[string]func(h *house, link string) *member{
		"by a link": func(h *house, link string) *member {
			f, err := h.OpenLink(h.ctx, link)
			h.must(err)
			return h.setUp(f, "root")
		},
		"by an invitation": func(h *house, _ string) *member { return h.person("root") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			older, err := h.NewSetupLink(h.ctx)
			h.must(err)
			link, err := h.NewSetupLink(h.ctx)
			h.must(err)
			user := setUp(h, link).user()
			user.Status = store.UserDisabled
			h.must(h.store.UpdateUser(h.ctx, user))
			for _, left := range []string{older, link} {
				if _, err := h.OpenLink(h.ctx, left); !errors.Is(err, authflow.ErrLinkGone) {
					t.Errorf("when the administrator is disabled: %v", err)
				}
			}
		})
	}
}

// TestFirstSetUpIsItsUsersOwn ends all that the first administrator has under
// way, the set-up itself among it.
func TestFirstSetUpIsItsUsersOwn(t *testing.T) {
	h := newHouse(t)
	link, err := h.NewSetupLink(h.ctx)
	h.must(err)
	f, err := h.OpenLink(h.ctx, link)
	h.must(err)
	h.must(h.ChooseAccount(h.ctx, f, authflow.Choice{Name: "root", Password: rightPassword}))
	made, err := h.Enrolment(h.ctx, h.load(f), assurance.TOTP, person.Client{})
	h.must(err)
	p := &member{h: h, name: "root", secret: keyOn(made)}
	h.must(h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{Factor: assurance.TOTP, Answer: factors.Answer{"code": p.code()}}, person.Client{}))
	h.must(person.AbandonFlows(h.ctx, h.store, h.load(f).UserID))
	if _, err := h.Load(h.ctx, f.ID); !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("%v", err)
	}
}

// hangsUp is a client that goes away while its password is looked at.
type hangsUp struct {
	hashing
	goes func()
}

func (p hangsUp) Verify(ctx context.Context, hash, password string) (bool, error) {
	defer p.goes()
	return p.hashing.Verify(ctx, hash, password)
}

// TestF02WhoHangsUpIsCounted holds that a guess leaves its traces, whether or not
// anybody waits for the answer.
func TestF02WhoHangsUpIsCounted(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	ctx, cancel := context.WithCancel(h.ctx)
	h.hashBy(hangsUp{h.passwords, cancel})
	_, err := h.SignIn(ctx, authflow.Login{Name: "ada", Password: "a guess", Client: from("192.0.2.7"), Ask: assurance.Requirement{Level: assurance.Multi}})
	if !isRefused(err, factors.Wrong) {
		t.Errorf("%v", err)
	}
	for scope, key := range map[string]string{guess.ScopeUser: ada.id + "/password/unknown", guess.ScopeAddress: "192.0.2.7"} {
		if counted, err := h.store.GetAttempts(h.ctx, scope, key); err != nil || counted.Failures != 1 {
			t.Errorf("%s has %d failures, %v", scope, counted.Failures, err)
		}
	}
	if n := len(h.events(audit.SignInFailed)); n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestBearerTokensAreKeptAsHashes looks for tokens where they must not be.
func TestBearerTokensAreKeptAsHashes(t *testing.T) {
	h := newHouse(t)
	link, err := h.NewSetupLink(h.ctx)
	h.must(err)
	if _, err := h.store.GetRecord(h.ctx, "link", link, h.clock()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a link by itself: %v", err)
	}
	if _, err := h.store.GetRecord(h.ctx, "link", hashOf(link), h.clock()); err != nil {
		t.Errorf("a link by its hash: %v", err)
	}
}
