package authflow_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/store"
)

// thief knows a person's password, and has no end of browsers and addresses.
type thief struct {
	*member
	address int
	looked  int // guesses at the authenticator's code that were checked
	waits   time.Duration
	paused  bool // when they last tried
}

// anywhere is a browser that nobody has seen before.
func (t *thief) anywhere() person.Client {
	t.address++
	return from(fmt.Sprintf("2001:db8:%x:%x::1", t.address>>16, t.address&0xffff))
}

// guess tries a code of the authenticator, in a sign-in begun anew.
func (t *thief) guess() {
	c := t.anywhere()
	err := t.answer(t.shown(c), t.wrongCode(), c)
	switch slowed := asSlowed(err); {
	case slowed != nil:
		t.waits, t.paused = slowed.RetryAfter, slowed.Paused
	case isRefused(err, factors.Wrong):
		t.looked++
		t.waits, t.paused = 0, false
	default:
		t.h.t.Fatalf("a guess: %v", err)
	}
}

// guessFor guesses as often as is let, for so long.
func (t *thief) guessFor(d time.Duration) {
	for end := t.h.clock().Add(d); ; t.h.pass(t.waits) {
		if t.guess(); t.h.clock().Add(t.waits).After(end) {
			t.h.pass(end.Sub(t.h.clock()))
			return
		}
	}
}

// pester answers by what isn't a guess: no question was asked, the answer is
// empty, isn't of the form, or nobody could guess it.
func (t *thief) pester(kind assurance.Factor, answer factors.Answer) {
	c := t.anywhere()
	err := t.h.Answer(t.h.ctx, t.shown(c), authflow.Response{Factor: kind, Answer: answer}, c)
	if answer == nil && errors.Is(err, authflow.ErrWrongStep) {
		return // there is nothing to collect
	}
	if refused := new(factors.Refused); !errors.As(err, &refused) {
		t.h.t.Fatalf("a %s answer %q: %v", kind, answer, err)
	}
}

// pestering are such answers.
var pestering = []authflow.Response{
	{Factor: assurance.FIDO},
	{Factor: assurance.FIDO, Answer: factors.Answer{}},
	{Factor: assurance.FIDO, Answer: factors.Answer{"credential": "{}"}},
	{Factor: assurance.TOTP},
	{Factor: assurance.TOTP, Answer: factors.Answer{}},
	{Factor: assurance.TOTP, Answer: factors.Answer{"code": ""}},
	{Factor: assurance.TOTP, Answer: factors.Answer{"code": "12345"}},
	{Factor: assurance.TOTP, Answer: factors.Answer{"code": "12345678"}},
	{Factor: assurance.TOTP, Answer: factors.Answer{"code": "+123456"}},
	{Factor: assurance.BackupCode},
	{Factor: assurance.BackupCode, Answer: factors.Answer{}},
	{Factor: assurance.BackupCode, Answer: factors.Answer{"code": "x"}},
	{Factor: assurance.BackupCode, Answer: factors.Answer{"code": "0000-0000-0000"}},
}

// TestF02GuessingIsBoundedAndF03NobodyIsLockedOut has a thief who knows the
// password do what they like, for half a year, in browsers that nobody has seen,
// while the owner signs in now and then. The guesses that are looked at stay few,
// whatever the owner does; a key and a backup code get the owner in anywhere, at
// any moment; their authenticator does wherever they signed in before, an hour
// after their own last mistake there, and anywhere else 30 days after the
// thief's last guess.
func TestF02GuessingIsBoundedAndF03NobodyIsLockedOut(t *testing.T) {
	h := newHouseWithKeys(t, false).runOnce()
	checkFew(t, 3, func(rt *rapid.T, round int) {
		ada := h.owner(fmt.Sprintf("ada%d", round))
		eve := &thief{member: ada.member}
		began := h.clock()
		rt.Repeat(map[string]func(*rapid.T){
			"guess": func(*rapid.T) { eve.guess() },
			"guess as often as is let": func(t *rapid.T) {
				eve.guessFor(rapid.SampledFrom([]time.Duration{time.Hour, 24 * time.Hour, 31 * 24 * time.Hour}).Draw(t, "for"))
			},
			"pester": func(t *rapid.T) {
				p := rapid.SampledFrom(pestering).Draw(t, "by")
				for range 8 {
					eve.pester(p.Factor, p.Answer)
				}
			},
			"time passes": func(t *rapid.T) {
				h.pass(rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 24 * time.Hour, 20 * 24 * time.Hour}).Draw(t, "for"))
			},
			"the owner, by a key": func(*rapid.T) { ada.byKey(eve.anywhere()) },
			"the owner, by a backup code": func(t *rapid.T) {
				if len(ada.codes) == 1 {
					t.Skip("one must be left")
				}
				ada.byBackupCode(eve.anywhere())
			},
			"the owner, in a known browser": func(*rapid.T) { ada.byCode(ada.known) },
		})
		// However often the owner mistypes where they signed in before, they wait an
		// hour at most.
		ada.mistype(101, ada.known)
		h.pass(time.Hour)
		ada.byCode(ada.known)
		ada.mistype(101, ada.known)
		// Then the thief goes on until there is nothing more to be had, so that no
		// round ends short of the bound.
		for day := 0; !eve.paused; day++ {
			if eve.guessFor(24 * time.Hour); day > 60 {
				rt.Fatal("the thief is let guess on")
			}
		}
		if most := most(h.clock().Sub(began)); eve.looked > most {
			rt.Fatalf("%d guesses in %s, want %d at most", eve.looked, h.clock().Sub(began), most)
		}
		ada.byKey(eve.anywhere())
		ada.byBackupCode(eve.anywhere())
		ada.byCode(ada.known)
		h.pass(30 * 24 * time.Hour)
		ada.byCode(eve.anywhere())
	})
}

// TestF03WhatIsNoGuessCostsNothing floods an account with it: nothing is counted,
// nothing is written down but a few wrong codes, and no page is slowed.
func TestF03WhatIsNoGuessCostsNothing(t *testing.T) {
	h := newHouseWithKeys(t, false).runOnce()
	ada := h.person("ada")
	key := newSecurityKey()
	adding := ada.adding()
	h.must(h.enrolKey(adding, key.created(h, adding)))
	h.pass(time.Minute)
	eve := &thief{member: ada}
	for _, p := range pestering {
		before := len(h.events(audit.SignInFailed))
		for range 120 {
			eve.pester(p.Factor, p.Answer)
		}
		most := 0
		if len(p.Answer["code"]) == 14 {
			most = 5 // wrong, and of the form
		}
		if n := len(h.events(audit.SignInFailed)) - before; n > most {
			t.Errorf("%d events of %+v", n, p)
		}
	}
	for i := range 5 {
		c := eve.anywhere()
		if err := ada.answer(ada.shown(c), ada.wrongCode(), c); !isRefused(err, factors.Wrong) {
			t.Errorf("guess %d: %v", i+1, err)
		}
	}
}

// TestF03EmptyFormsAreNoGuess sends the sign-in form without a name or a password,
// as the button alone does.
func TestF03EmptyFormsAreNoGuess(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	for range 150 {
		for _, name := range []string{"ada", "nobody", "ada@example.com"} {
			if _, err := h.SignIn(h.ctx, authflow.Login{Name: name, Client: from("192.0.2.9")}); !isRefused(err, factors.Malformed) {
				t.Fatalf("%s without a password: %v", name, err)
			}
		}
		for _, name := range []string{"", " \u00a0\u200b"} {
			_, err := h.SignIn(h.ctx, authflow.Login{Name: name, Password: ada.password, Client: from("192.0.2.9")})
			if invalid := new(person.Invalid); !errors.As(err, &invalid) || invalid.Fields["name"] == nil {
				t.Fatalf("without a name: %v", err)
			}
		}
	}
	if failed := h.events(audit.SignInFailed); len(failed) > 0 {
		t.Errorf("%d events", len(failed))
	}
	for _, name := range []string{"ada", "\u2066Ada\u2069\u00a0\r\n"} {
		_, err := h.SignIn(h.ctx, authflow.Login{Name: name, Password: ada.password, Client: from("192.0.2.9")})
		h.must(err)
	}
}

// TestF03AChangedPasswordForgetsFailures has the owner shut a thief out.
func TestF03AChangedPasswordForgetsFailures(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	h.guessUntilLocked(func() error { return ada.answer(ada.shown(from("192.0.2.9")), ada.wrongCode(), from("2001:db8::1")) })
	known := person.Client{Browser: ada.browserToken}
	f := ada.shown(known)
	h.must(ada.answer(f, ada.code(), known))
	granted, err := h.Grant(h.ctx, h.load(f), "", known)
	h.must(err)
	h.pass(time.Minute)
	changed := selfservice.PasswordChange{Current: ada.password, New: "window kettle 90"}
	_, err = h.ChangePassword(h.ctx, granted.SignOn, ada.user(), changed, known)
	h.must(err)
	ada.password = changed.New
	for i := range 5 {
		if err := ada.answer(ada.shown(from("192.0.2.9")), ada.wrongCode(), from("192.0.2.9")); !isRefused(err, factors.Wrong) {
			t.Errorf("failure %d: %v", i+1, err)
		}
	}
}

// TestLostRacesAreCheckedAgain has something else change the flow between the
// reading of it and a right answer: more time, another question, a second click.
func TestLostRacesAreCheckedAgain(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.person("ada")
	key := newSecurityKey()
	adding := ada.adding()
	h.must(h.enrolKey(adding, key.created(h, adding)))
	meanwhile := map[string]func(authflow.Flow){
		"more time": func(f authflow.Flow) {
			_, err := h.Extend(h.ctx, h.load(f))
			h.must(err)
		},
		"another question": func(f authflow.Flow) {
			_, err := h.Challenge(h.ctx, h.load(f), assurance.FIDO, person.Client{})
			h.must(err)
		},
	}
	answers := map[string]func(authflow.Flow) authflow.Response{
		"key": func(f authflow.Flow) authflow.Response { return key.shown(h, f) },
		"code": func(authflow.Flow) authflow.Response {
			return authflow.Response{Factor: assurance.TOTP, Answer: factors.Answer{"code": ada.code()}}
		},
	}
	for what, change := range meanwhile {
		for kind, answer := range answers {
			t.Run(kind+" and "+what, func(t *testing.T) {
				h.pass(time.Minute)
				failed := len(h.events(audit.SignInFailed))
				f := ada.shown(person.Client{})
				right := answer(f)
				read := h.load(f)
				change(f)
				h.must(h.Answer(h.ctx, read, right, person.Client{}))
				_, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
				h.must(err)
				if n := len(h.events(audit.SignInFailed)); n != failed {
					t.Errorf("%d more failures", n-failed)
				}
			})
		}
	}
	t.Run("password and more time", func(t *testing.T) {
		h.pass(time.Minute)
		f, err := h.BeginStepUp(h.ctx, authflow.Raise{SignOn: ada.in(), User: ada.user(), Ask: assurance.Requirement{Level: assurance.Single, MaxAge: time.Second}})
		h.must(err)
		read := h.load(f)
		meanwhile["more time"](f)
		h.must(h.AnswerPassword(h.ctx, read, ada.password, person.Client{}))
	})
	t.Run("enrolment and more time", func(t *testing.T) {
		h.pass(time.Hour)
		f := ada.addingBy(key)
		another := newSecurityKey()
		right := another.created(h, f)
		read := h.load(f)
		meanwhile["more time"](f)
		h.must(h.AnswerEnrolment(h.ctx, read, right, person.Client{}))
	})
	t.Run("loss and more time", func(t *testing.T) {
		h.pass(time.Minute)
		f := ada.shown(person.Client{})
		read := h.load(f)
		meanwhile["more time"](f)
		h.must(h.Lose(h.ctx, read, []string{h.credential(ada.id, assurance.TOTP).ID}))
		if lost := h.load(f).Lost; len(lost) != 1 {
			t.Errorf("lost are %v", lost)
		}
	})
	t.Run("account and more time", func(t *testing.T) {
		link, err := h.NewInvitation(h.ctx, h.add("bob", store.UserInvited))
		h.must(err)
		read, err := h.OpenLink(h.ctx, link)
		h.must(err)
		meanwhile["more time"](read)
		h.must(h.ChooseAccount(h.ctx, read, authflow.Choice{Password: rightPassword}))
		if step := h.stepOf(h.load(read)); step != authflow.StepEnrol {
			t.Errorf("then the flow is at %s", step)
		}
	})
	t.Run("new password and more time", func(t *testing.T) {
		h.pass(time.Minute)
		f := ada.mustChoose()
		read := h.load(f)
		meanwhile["more time"](f)
		h.must(h.ChooseNewPassword(h.ctx, read, "window kettle 90", person.Client{}))
		ada.password = "window kettle 90"
		if err := h.ChooseNewPassword(h.ctx, read, "window kettle 91", person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
			t.Errorf("a second one: %v", err)
		}
		_, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
		h.must(err)
	})
	t.Run("new password, and the account is barred", func(t *testing.T) {
		h.pass(time.Minute)
		f := ada.mustChoose()
		user := ada.user()
		user.Status = store.UserDisabled
		h.must(h.store.UpdateUser(h.ctx, user))
		if err := h.ChooseNewPassword(h.ctx, f, "window kettle 92", person.Client{}); !errors.Is(err, authflow.ErrFlowGone) {
			t.Errorf("%v", err)
		}
		user = ada.user()
		user.Status, user.NewPassword = store.UserActive, false
		h.must(h.store.UpdateUser(h.ctx, user))
	})
	t.Run("two clicks", func(t *testing.T) {
		h.pass(time.Minute)
		failed := len(h.events(audit.SignInFailed))
		f := ada.shown(person.Client{})
		shown := key.shown(h, f)
		f = h.load(f)
		errs := make([]error, 2)
		var both sync.WaitGroup
		for i := range errs {
			both.Go(func() { errs[i] = h.Answer(h.ctx, f, shown, person.Client{}) })
		}
		both.Wait()
		slices.SortFunc(errs, func(a, b error) int {
			if a == nil {
				return -1
			}
			return 1
		})
		if errs[0] != nil || !errors.Is(errs[1], authflow.ErrWrongStep) {
			t.Errorf("%v", errs)
		}
		if n := len(h.events(audit.SignInFailed)); n != failed {
			t.Errorf("%d more failures", n-failed)
		}
		if step := h.stepOf(h.load(f)); step != authflow.StepGrant {
			t.Errorf("then the flow is at %s", step)
		}
	})
}

// mustChoose is a flow in which all was shown, and another password is due.
func (p *member) mustChoose() authflow.Flow {
	p.h.t.Helper()
	user := p.user()
	user.NewPassword = true
	p.h.must(p.h.store.UpdateUser(p.h.ctx, user))
	f := p.complete()
	if step := p.h.stepOf(f); step != authflow.StepNewPassword {
		p.h.t.Fatalf("the flow is at %s", step)
	}
	return f
}
