package authflow_test

import (
	"flag"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/store"
)

// checkFew is rapid.Check with fewer rounds, for those that take seconds each;
// -rapid.checks says how many otherwise.
func checkFew(t *testing.T, most int, check func(rt *rapid.T, round int)) {
	t.Helper()
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "rapid.checks" {
			most = math.MaxInt
		}
	})
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		if round++; round > most {
			return
		}
		defer func() {
			if rt.Failed() {
				most = math.MaxInt // it is tried again, to find a smaller one
			}
		}()
		check(rt, round)
	})
}

// most is how many guesses anybody may have within so long.
func most(d time.Duration) int { return 25 * (int(d/(30*24*time.Hour)) + 1) }

// owner is a person with every way in. What should get them in fails the test
// where it doesn't.
type owner struct {
	*member
	key   *securityKey
	known person.Client // in which they signed in before
}

// owner sets somebody up, with a key as well.
func (h *house) owner(name string) *owner {
	h.t.Helper()
	o := &owner{member: h.person(name), key: newSecurityKey()}
	o.known = person.Client{Browser: o.browserToken}
	adding := o.adding()
	h.must(h.enrolKey(adding, o.key.created(h, adding)))
	h.pass(time.Minute)
	return o
}

// finish ends a sign-in in which a right answer came to err.
func (o *owner) finish(what string, f authflow.Flow, err error, c person.Client) store.SignOn {
	o.h.t.Helper()
	if err != nil {
		o.h.t.Fatalf("the owner's right %s: %v", what, err)
	}
	granted, err := o.h.Grant(o.h.ctx, o.h.load(f), "", c)
	if err != nil {
		o.h.t.Fatalf("the owner, by a %s: %v", what, err)
	}
	return granted.SignOn
}

func (o *owner) byKey(c person.Client) store.SignOn {
	o.h.t.Helper()
	f := o.shown(c)
	return o.finish("key", f, o.h.showKey(f, o.key.shown(o.h, f), c), c)
}

func (o *owner) byBackupCode(c person.Client) store.SignOn {
	o.h.t.Helper()
	f := o.shown(c)
	given := authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": o.codes[0]}}
	o.codes = o.codes[1:]
	return o.finish("backup code", f, o.h.Answer(o.h.ctx, o.h.load(f), given, c), c)
}

func (o *owner) byCode(c person.Client) store.SignOn {
	o.h.t.Helper()
	o.h.pass(time.Minute) // so that a new code is there
	f := o.shown(c)
	return o.finish("code", f, o.answer(f, o.code(), c), c)
}

// mistype gives wrong codes, waiting as told.
func (o *owner) mistype(times int, c person.Client) {
	o.h.t.Helper()
	for range times {
		err := o.answer(o.shown(c), o.wrongCode(), c)
		if slowed := asSlowed(err); slowed != nil {
			o.h.pass(slowed.RetryAfter)
			err = o.answer(o.shown(c), o.wrongCode(), c)
		}
		if !isRefused(err, factors.Wrong) {
			o.h.t.Fatalf("a wrong code of the owner's: %v", err)
		}
	}
}

// changePassword chooses another one, in a sign-on with a fresh check.
func (o *owner) changePassword(s store.SignOn) {
	o.h.t.Helper()
	change := selfservice.PasswordChange{Current: o.password, New: "window kettle 90"}
	if o.password == change.New {
		change.New = rightPassword
	}
	_, err := o.h.ChangePassword(o.h.ctx, s, o.user(), change, o.known)
	o.h.must(err)
	o.password = change.New
}

// TestF02AYearOfGuessing has a thief guess as often as they may for a year, while
// the owner signs in every day, somehow. Whatever the owner does, there are 25
// guesses in 30 days. A new password, which the thief learns at once, gives them
// another 25.
func TestF02AYearOfGuessing(t *testing.T) {
	h := newHouseWithKeys(t, false).runOnce()
	checkFew(t, 1, func(rt *rapid.T, round int) {
		ada := h.owner(fmt.Sprintf("ada%d", round))
		eve := &thief{member: ada.member}
		began, passwords := h.clock(), 0
		days := map[string]func(){
			"nothing":    func() {},
			"by a key":   func() { ada.byKey(eve.anywhere()) },
			"at home":    func() { ada.byCode(ada.known) },
			"mistakenly": func() { ada.mistype(3, ada.known); h.pass(time.Hour); ada.byCode(ada.known) },
			"away": func() {
				if !eve.paused {
					h.pass(24 * time.Hour) // after the thief's last guess
					ada.byCode(eve.anywhere())
				}
			},
			"with a new password": func() {
				if passwords < 5 {
					ada.changePassword(ada.byKey(ada.known))
					passwords++
				}
			},
		}
		const year = 365 * 24 * time.Hour
		for h.clock().Sub(began) < year {
			days[rapid.SampledFrom([]string{
				"nothing", "by a key", "at home", "at home", "mistakenly", "away", "away", "with a new password",
			}).Draw(rt, "the owner signs in")]()
			eve.guessFor(24 * time.Hour)
			if most := most(h.clock().Sub(began)) + 25*passwords; eve.looked > most {
				rt.Fatalf("%d guesses in %s, want %d at most", eve.looked, h.clock().Sub(began), most)
			}
		}
		if least := 12 * 20; eve.looked < least {
			rt.Errorf("%d guesses: the thief didn't try", eve.looked)
		}
	})
}

// TestF02TheBudgetHoldsInParallel has two answers come at the same moment, when
// one guess is left. The second waits for the first, which may yet be right.
func TestF02TheBudgetHoldsInParallel(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	eve := &thief{member: ada}
	h.must(h.store.PutAttempts(h.ctx, store.Attempts{Scope: guess.ScopeBudget, Key: ada.id + "/", Failures: 24, First: h.clock(), Last: h.clock()}))
	attempt := func() guess.Attempt { return person.AttemptOf(ada.user(), assurance.TOTP, "", eve.anywhere()) }
	first := attempt()
	h.must(h.guesses.Reserve(h.ctx, first))
	if slowed := asSlowed(h.guesses.Reserve(h.ctx, attempt())); slowed == nil || slowed.Paused || slowed.RetryAfter > time.Minute {
		t.Errorf("beside the last one: %+v", slowed)
	}
	h.must(h.guesses.Refund(h.ctx, first, nil))
	h.must(h.guesses.Reserve(h.ctx, first))
	h.must(h.guesses.Failed(h.ctx, first, "wrong"))
	if slowed := asSlowed(h.guesses.Reserve(h.ctx, attempt())); slowed == nil || !slowed.Paused {
		t.Errorf("after the last one: %+v", slowed)
	}
}

// TestF03WaysInWhileCodesArePaused has a thief use up the guesses at somebody's
// authenticator, beside which they have nothing at hand.
func TestF03WaysInWhileCodesArePaused(t *testing.T) {
	for what, way := range map[string]func(h *house, ada *owner, elsewhere person.Client){
		"a known browser": func(_ *house, ada *owner, _ person.Client) { ada.byCode(ada.known) },
		"an access code": func(h *house, ada *owner, elsewhere person.Client) {
			code, err := h.NewAccessCode(h.ctx, ada.user())
			h.must(err)
			f := ada.shown(elsewhere)
			h.must(h.Lose(h.ctx, f, []string{h.credential(ada.id, assurance.TOTP).ID, h.credential(ada.id, assurance.BackupCode).ID}))
			h.must(h.AnswerAccessCode(h.ctx, h.load(f), code, elsewhere))
			made, err := h.Enrolment(h.ctx, h.load(f), assurance.TOTP, elsewhere)
			h.must(err)
			ada.secret = keyOn(made)
			h.must(h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{Factor: assurance.TOTP, Answer: factors.Answer{"code": ada.code()}}, elsewhere))
			_, err = h.Enrolment(h.ctx, h.load(f), assurance.BackupCode, elsewhere)
			h.must(err)
			err = h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{Factor: assurance.BackupCode, Answer: factors.Answer{"saved": "yes"}}, elsewhere)
			ada.finish("access code", f, err, elsewhere)
		},
		"a new password": func(_ *house, ada *owner, elsewhere person.Client) {
			ada.changePassword(ada.byCode(ada.known))
			ada.byCode(elsewhere)
		},
		"this wasn't me": func(h *house, ada *owner, elsewhere person.Client) {
			h.must(h.Disown(h.ctx, ada.byCode(ada.known), ada.user(), ada.known))
			h.pass(time.Minute)
			f := ada.shown(elsewhere)
			h.must(ada.answer(f, ada.code(), elsewhere))
			ada.password = "window kettle 90"
			ada.finish("new password", f, h.ChooseNewPassword(h.ctx, h.load(f), ada.password, elsewhere), elsewhere)
		},
		"an administrator": func(h *house, ada *owner, elsewhere person.Client) {
			h.must(h.store.Atomically(h.ctx, func(tx store.Tx) error { return guess.Forget(h.ctx, tx, ada.id) }))
			ada.byCode(elsewhere)
		},
		"the end of 30 days": func(h *house, ada *owner, elsewhere person.Client) {
			h.pass(30 * 24 * time.Hour)
			ada.byCode(elsewhere)
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t).runOnce()
			ada := &owner{member: h.person("ada")}
			ada.known = person.Client{Browser: ada.browserToken}
			eve := &thief{member: ada.member}
			eve.guessFor(24 * time.Hour)
			if eve.looked != 25 || !eve.paused {
				t.Fatalf("%d guesses, paused: %t", eve.looked, eve.paused)
			}
			h.pass(24 * time.Hour)
			c := eve.anywhere()
			if slowed := asSlowed(ada.answer(ada.shown(c), ada.code(), c)); slowed == nil || !slowed.Paused {
				t.Errorf("the right code elsewhere: %+v", slowed)
			}
			way(h, ada, c)
		})
	}
}

// TestF02APasswordAloneDisownsNothing has a thief who is let in by the password
// alone say "this wasn't me", so as to guess on.
func TestF02APasswordAloneDisownsNothing(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	eve := &thief{member: ada}
	eve.guessFor(24 * time.Hour)
	f, err := h.SignIn(h.ctx, authflow.Login{Name: ada.name, Password: ada.password, Ask: assurance.Requirement{Level: assurance.Single}})
	h.must(err)
	granted, err := h.Grant(h.ctx, f, "", person.Client{})
	h.must(err)
	h.must(h.Disown(h.ctx, granted.SignOn, ada.user(), person.Client{}))
	if eve.guess(); !eve.paused {
		t.Error("the thief guesses on")
	}
}

// TestPausesAreAnEvent holds what is written down, and that it is written once.
func TestPausesAreAnEvent(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	eve := &thief{member: ada}
	eve.guessFor(20 * 24 * time.Hour)
	events := h.events(audit.FactorsPaused)
	if len(events) != 1 || events[0].UserID != ada.id {
		t.Fatalf("the events are %+v", events)
	}
	for field, want := range map[string]string{"user": "ada", "factor": "totp", "failures": "25"} {
		if got := events[0].Fields[field]; got != want {
			t.Errorf("%s is %q", field, got)
		}
	}
	if eve.guessFor(31 * 24 * time.Hour); len(h.events(audit.FactorsPaused)) != 2 {
		t.Error("the second period is no event")
	}
}
