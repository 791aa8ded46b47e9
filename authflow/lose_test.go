package authflow_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/test/pager"
)

const hold = 24 * time.Hour

// holding is a house in which replacements count for less at first.
func holding(t *testing.T) *house {
	h := newHouse(t)
	h.Rules.Hold = hold
	return h
}

// holdingWithKeys is holding where security keys are configured, too.
func holdingWithKeys(t *testing.T) *house {
	t.Helper()
	h := newHouseWithKeys(t, false)
	h.Rules.Hold = hold
	return h
}

// lost is a flow after the password, in which all authenticators are lost.
func (p *member) lost() authflow.Flow {
	p.h.t.Helper()
	f := p.shown(person.Client{})
	p.h.must(p.h.Lose(p.h.ctx, f, []string{p.named("Authenticator app").ID}))
	return p.h.load(f)
}

func (p *member) backup(f authflow.Flow, n int) error {
	return p.h.Answer(p.h.ctx, p.h.load(f), authflow.Response{
		Factor: assurance.BackupCode, Answer: factors.Answer{"code": p.codes[n]},
	}, person.Client{})
}

// replace enrols an authenticator in a flow, and returns the person with it.
func (p *member) replace(f authflow.Flow) *member {
	p.h.t.Helper()
	made, err := p.h.Enrolment(p.h.ctx, p.h.load(f), assurance.TOTP, person.Client{})
	p.h.must(err)
	with := *p
	with.secret = keyOn(made)
	p.h.must(p.h.AnswerEnrolment(p.h.ctx, p.h.load(f), authflow.EnrolmentAnswer{
		Factor: assurance.TOTP, Name: "New phone", Answer: factors.Answer{"code": with.code()},
	}, person.Client{}))
	return &with
}

func TestLostPhone(t *testing.T) {
	h := holding(t)
	ada := h.person("ada")
	elsewhere := ada.in()
	old := ada.named("Authenticator app").ID
	f := ada.lost()
	if !h.lives(elsewhere) || ada.named("Authenticator app").Suspended {
		t.Fatal("F07: saying so alone, after the password, changed something")
	}
	if err := ada.answer(f, ada.code(), person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("a code of what is lost: %v", err)
	}
	h.must(ada.backup(f, 0))
	if h.lives(elsewhere) || !ada.named("Authenticator app").Suspended {
		t.Error("the lost one isn't suspended at once, or sign-ons live on")
	}
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("F04: a sign-on before the replacement: %v", err)
	}
	renewed := ada.replace(f)
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	if assurance.Of(granted.SignOn.Proofs, h.vault.Factors.Weights()) != assurance.Multi {
		t.Errorf("proofs: %+v", granted.SignOn.Proofs)
	}
	if until := ada.named("New phone").ProbationUntil; !until.Equal(h.clock().Add(hold)) {
		t.Errorf("the replacement is held until %s", until)
	}
	h.pass(time.Minute)
	if err := ada.answer(ada.shown(person.Client{}), ada.code(), person.Client{}); !isRefused(err, factors.Wrong) {
		t.Errorf("a code of the lost phone: %v", err)
	}
	f = renewed.shown(person.Client{})
	h.must(renewed.answer(f, renewed.code(), person.Client{}))
	if proofs := h.load(f).Proofs; len(proofs) != 2 || !proofs[1].HeldToMulti {
		t.Errorf("proofs with the replacement, on the first day: %+v", proofs)
	}
	h.pass(hold)
	f = renewed.shown(person.Client{})
	h.must(renewed.answer(f, renewed.code(), person.Client{}))
	if proofs := h.load(f).Proofs; len(proofs) != 2 || proofs[1].HeldToMulti {
		t.Errorf("proofs with the replacement, later: %+v", proofs)
	}
	if events := h.events(audit.FactorLost); len(events) != 1 || events[0].Fields["factor"] != "totp" {
		t.Errorf("events: %+v", events)
	}
	again, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	h.pass(time.Minute)
	_, err = h.Remove(h.ctx, again.SignOn, ada.user(), old, person.Client{})
	h.must(err)
}

func TestBrokenOffReplacementIsAskedForAgain(t *testing.T) {
	h := holding(t)
	ada := h.person("ada")
	h.must(ada.backup(ada.lost(), 0))
	f := ada.shown(person.Client{})
	h.must(ada.backup(f, 1))
	if step := h.stepOf(h.load(f)); step != authflow.StepEnrol {
		t.Fatalf("the next sign-in, by a backup code, leads to %s", step)
	}
	ada.replace(f)
	_, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	if ada.named("New phone").ProbationUntil.IsZero() {
		t.Error("a replacement that was broken off before isn't held")
	}
}

func TestLostEverything(t *testing.T) {
	h := holding(t)
	ada := h.person("ada")
	elsewhere := ada.in()
	f := ada.shown(person.Client{})
	h.must(h.Lose(h.ctx, f, []string{ada.named("Authenticator app").ID, ada.named("Backup codes").ID}))
	f = h.load(f)
	if step := h.stepOf(f); step != authflow.StepAccessCode {
		t.Fatalf("with nothing left, the step is %s", step)
	}
	code, err := h.NewAccessCode(h.ctx, ada.user())
	h.must(err)
	for _, wrong := range []string{"", "0000-0000-0000-0000", code + "0", ada.codes[0]} {
		refused := new(factors.Refused)
		if err := h.AnswerAccessCode(h.ctx, f, wrong, person.Client{}); !errors.As(err, &refused) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if !h.lives(elsewhere) {
		t.Error("wrong codes ended a sign-on")
	}
	h.must(h.AnswerAccessCode(h.ctx, f, code, person.Client{}))
	if h.lives(elsewhere) {
		t.Error("sign-ons live on")
	}
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("the access code alone: %v", err)
	}
	renewed := ada.replace(f)
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("without new backup codes: %v", err)
	}
	_, err = h.Enrolment(h.ctx, h.load(f), assurance.BackupCode, person.Client{})
	h.must(err)
	h.must(h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{Factor: assurance.BackupCode, Answer: factors.Answer{"saved": "yes"}}, person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	if !h.lives(granted.SignOn) {
		t.Error("not in")
	}
	again := renewed.shown(person.Client{})
	if err := h.AnswerAccessCode(h.ctx, again, code, person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("the access code by somebody who has a second factor: %v", err)
	}
}

func TestAccessCodes(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.person("ada"), h.person("bob")
	nothingLeft := func() authflow.Flow {
		f := ada.shown(person.Client{})
		h.must(h.Lose(h.ctx, f, []string{ada.named("Authenticator app").ID, ada.named("Backup codes").ID}))
		return h.load(f)
	}
	fresh := func(p *member) string {
		code, err := h.NewAccessCode(h.ctx, p.user())
		h.must(err)
		return code
	}
	f := nothingLeft()
	for what, code := range map[string]string{
		"another user's":        fresh(bob),
		"one that was replaced": func() string { old := fresh(ada); fresh(ada); return old }(),
		"one over its time": func() string {
			old := fresh(ada)
			h.pass(authflow.AccessCodeLifetime)
			f = nothingLeft()
			return old
		}(),
	} {
		if err := h.AnswerAccessCode(h.ctx, f, code, person.Client{}); !isRefused(err, factors.Wrong) {
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Run("at once, one is taken", func(t *testing.T) {
		code := fresh(ada)
		var flows []authflow.Flow
		for range 4 { // fewer than would be slowed
			flows = append(flows, nothingLeft())
		}
		h.must(h.store.DeleteAttempts(h.ctx, guess.ScopeUser, ""))
		var mu sync.Mutex
		var all sync.WaitGroup
		taken := 0
		for _, f := range flows {
			all.Go(func() {
				if h.AnswerAccessCode(h.ctx, f, code, person.Client{}) == nil {
					mu.Lock()
					defer mu.Unlock()
					taken++
				}
			})
		}
		all.Wait()
		if taken != 1 {
			t.Errorf("taken %d times", taken)
		}
	})
	t.Run("for whoever can sign in alone", func(t *testing.T) {
		invited := h.add("eve", store.UserInvited)
		if _, err := h.NewAccessCode(h.ctx, invited); !errors.Is(err, authflow.ErrNotActive) {
			t.Errorf("for somebody invited: %v", err)
		}
	})
}

// TestF03WrongAccessCodesSlowNobodyDown holds that a flow takes twenty of them,
// and the right one counts however many came before.
func TestF03WrongAccessCodesSlowNobodyDown(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	lost := []string{ada.named("Authenticator app").ID, ada.named("Backup codes").ID}
	losing := func() authflow.Flow {
		f := ada.shown(person.Client{})
		h.must(h.Lose(h.ctx, f, lost))
		return f
	}
	code, err := h.NewAccessCode(h.ctx, ada.user())
	h.must(err)
	f := losing()
	for range 20 {
		h.expectRefused(h.AnswerAccessCode(h.ctx, h.load(f), "0000-0000-0000-0000", person.Client{}), factors.Wrong)
		h.expectRefused(h.AnswerAccessCode(h.ctx, h.load(f), "0000", person.Client{}), factors.Malformed)
	}
	if err := h.AnswerAccessCode(h.ctx, h.load(f), "0000-0000-0000-0000", person.Client{}); !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("one more: %v", err)
	}
	if n := len(h.events(audit.SignInFailed)); n != 5 {
		t.Errorf("%d events", n)
	}
	h.must(h.AnswerAccessCode(h.ctx, h.load(losing()), code, person.Client{}))
}

func (h *house) expectRefused(err error, reason factors.Reason) {
	h.t.Helper()
	if !isRefused(err, reason) {
		h.t.Errorf("%v, not refused as %s", err, reason)
	}
}

func TestLosingAsksForThePasswordInTheSameFlow(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	s := ada.in()
	f, err := h.BeginStepUp(h.ctx, authflow.Raise{
		SignOn: s, User: ada.user(), Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: time.Second}, Return: "/account",
	})
	h.must(err)
	h.must(h.Lose(h.ctx, f, []string{ada.named("Authenticator app").ID}))
	f = h.load(f)
	if step := h.stepOf(f); step != authflow.StepPassword || len(f.Proofs) > 0 {
		t.Fatalf("who holds a laptop that is signed in is asked for %s, and has shown %+v", step, f.Proofs)
	}
	if err := ada.backup(f, 0); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("a backup code before the password: %v", err)
	}
	h.must(h.AnswerPassword(h.ctx, f, ada.password, person.Client{}))
	h.must(ada.backup(h.load(f), 0))
	ada.replace(h.load(f))
	granted, err := h.Grant(h.ctx, h.load(f), s.ID, person.Client{})
	h.must(err)
	if granted.SignOn.ID == s.ID || h.lives(s) {
		t.Error("S01: the sign-on of before goes on")
	}
}

func TestWhatCanBeLost(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.person("ada"), h.person("bob")
	f := ada.shown(person.Client{})
	for what, ids := range map[string][]string{
		"another's":    {bob.named("Authenticator app").ID},
		"the password": {h.credential(ada.id, assurance.Password).ID},
		"nothing":      nil,
	} {
		if err := h.Lose(h.ctx, f, ids); err == nil {
			t.Errorf("W03: %s", what)
		}
	}
	h.must(ada.backup(ada.lost(), 0))
	if err := h.Lose(h.ctx, ada.shown(person.Client{}), []string{ada.named("Authenticator app").ID}); !errors.Is(err, credentials.ErrUnknown) {
		t.Errorf("what is suspended already: %v", err)
	}
}

func TestProofsOfALostCredentialDontLeadIn(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	thief := ada.complete() // on the way in with phone and password
	h.pass(time.Minute)
	h.must(ada.backup(ada.lost(), 0))
	if step := h.stepOf(thief); step != authflow.StepChallenge {
		t.Errorf("F06: with a phone that was reported lost, a sign-in goes on to %s", step)
	}
	if _, err := h.Grant(h.ctx, thief, "", person.Client{}); !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("F06: a sign-in finished with a phone that was reported lost: %v", err)
	}
}

// TestF06AReplacementEndsWithWhatAllowedIt has a thief, who knows the password
// and a backup code, report a phone lost and then wait, while its owner does
// what owners do who notice something.
func TestF06AReplacementEndsWithWhatAllowedIt(t *testing.T) {
	for what, does := range map[string]func(h *house, ada *member, s store.SignOn){
		"another password": func(h *house, ada *member, s store.SignOn) {
			h.must(second(h.ChangePassword(h.ctx, s, ada.user(), selfservice.PasswordChange{Current: ada.password, New: "window kettle 90"}, person.Client{})))
		},
		"the password taken away": func(h *house, ada *member, _ store.SignOn) {
			h.takePassword(ada)
		},
		"the backup codes removed": func(h *house, ada *member, s store.SignOn) {
			h.must(second(h.Remove(h.ctx, s, ada.user(), ada.named("Backup codes").ID, person.Client{})))
		},
		"new backup codes": func(h *house, ada *member, s store.SignOn) {
			f, err := h.BeginEnrolment(h.ctx, s, ada.user(), authflow.Adding{Kind: assurance.BackupCode, Return: "/account"}, person.Client{})
			h.must(err)
			_, err = h.Enrolment(h.ctx, f, assurance.BackupCode, person.Client{})
			h.must(err)
			h.must(h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{Factor: assurance.BackupCode, Answer: factors.Answer{"saved": "yes"}}, person.Client{}))
		},
		"something else reported lost": func(h *house, ada *member, _ store.SignOn) {
			f := ada.shown(person.Client{})
			h.must(h.Lose(h.ctx, f, []string{ada.named("Second").ID}))
			h.must(ada.backup(f, 1))
		},
		"the account disabled": func(h *house, ada *member, _ store.SignOn) {
			user := ada.user()
			user.Status = store.UserDisabled
			h.must(h.store.UpdateUser(h.ctx, user))
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t)
			ada := h.person("ada")
			tablet := ada.addTOTP(ada.in(), "Second")
			h.pass(time.Minute)
			thief := ada.lost()
			h.must(ada.backup(thief, 0))
			made, err := h.Enrolment(h.ctx, h.load(thief), assurance.TOTP, person.Client{})
			h.must(err)
			thief = h.load(thief)
			if thief.Replacing != assurance.TOTP {
				t.Fatalf("the thief replaces %q", thief.Replacing)
			}
			f := tablet.shown(person.Client{})
			h.must(tablet.answer(f, tablet.code(), person.Client{}))
			granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
			h.must(err)
			does(h, ada, granted.SignOn)
			before, err := h.store.CredentialsOf(h.ctx, ada.id)
			h.must(err)
			theirs := *ada
			theirs.secret = keyOn(made)
			err = h.AnswerEnrolment(h.ctx, thief, authflow.EnrolmentAnswer{Factor: assurance.TOTP, Answer: factors.Answer{"code": theirs.code()}}, person.Client{})
			if !errors.Is(err, authflow.ErrFlowGone) && !errors.Is(err, authflow.ErrWrongStep) {
				t.Errorf("the thief's enrolment: %v", err)
			}
			if after, err := h.store.CredentialsOf(h.ctx, ada.id); err != nil || len(after) != len(before) {
				t.Errorf("ada has %d credentials, and had %d; %v", len(after), len(before), err)
			}
		})
	}
}

// TestF06NothingIsSuspendedByAnOldPassword reports a phone lost, and shows what
// suspends it after the password has changed.
func TestF06NothingIsSuspendedByAnOldPassword(t *testing.T) {
	for what, answer := range map[string]func(h *house, ada *member, f authflow.Flow) error{
		"a backup code": func(h *house, ada *member, f authflow.Flow) error {
			return h.Answer(h.ctx, f, authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": ada.codes[0]}}, person.Client{})
		},
		"an administrator's code": func(h *house, ada *member, f authflow.Flow) error {
			code, err := h.NewAccessCode(h.ctx, ada.user())
			h.must(err)
			return h.AnswerAccessCode(h.ctx, f, code, person.Client{})
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t)
			ada := h.person("ada")
			thief := ada.lost()
			h.takePassword(ada)
			if err := answer(h, ada, thief); !errors.Is(err, authflow.ErrFlowGone) {
				t.Errorf("%v", err)
			}
			if ada.named("Authenticator app").Suspended {
				t.Error("it is suspended")
			}
		})
	}
}

func TestOneOfTwoAuthenticatorsIsLost(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	second := ada.addTOTP(ada.in(), "Second")
	f := ada.lost()
	if err := ada.answer(f, ada.code(), person.Client{}); !isRefused(err, factors.Wrong) {
		t.Errorf("a code of the one that is lost: %v", err)
	}
	h.must(second.answer(f, second.code(), person.Client{}))
	if !ada.named("Authenticator app").Suspended || ada.named("Second").Suspended {
		t.Error("not the lost one alone is suspended")
	}
}

// takePassword leaves somebody without a password, and what they have under way
// as it is.
func (h *house) takePassword(p *member) {
	h.t.Helper()
	row := h.credential(p.id, assurance.Password)
	h.must(h.store.DeleteCredential(h.ctx, row.ID, row.Version))
}

// TestLosingAfterAReplacementThatIsGone goes on in a flow whose replacement isn't
// allowed any more, as in any other.
func TestLosingAfterAReplacementThatIsGone(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	tablet := ada.addTOTP(ada.in(), "Second")
	f := ada.lost()
	h.must(ada.backup(f, 0))
	codes := h.credential(ada.id, assurance.BackupCode)
	h.must(h.store.DeleteCredential(h.ctx, codes.ID, codes.Version))
	if step := h.stepOf(h.load(f)); step != authflow.StepChallenge {
		t.Fatalf("the step is %s", step)
	}
	h.must(tablet.answer(f, tablet.code(), person.Client{}))
	if replacing := h.load(f).Replacing; replacing != "" {
		t.Errorf("another second factor brings back the replacement of %s", replacing)
	}

	f = tablet.shown(person.Client{})
	stale := h.load(f)
	stale.Replacing = assurance.TOTP
	h.must(h.Lose(h.ctx, stale, []string{ada.named("Second").ID}))
	if lost := h.load(f); lost.Replacing != "" || len(lost.Lost) != 1 {
		t.Errorf("%+v", lost)
	}
}

// TestCertificatesDontLiftTheHold has somebody enrol who shows a password and a
// backup code at a machine with a certificate.
func TestCertificatesDontLiftTheHold(t *testing.T) {
	h := holdingWithKeys(t)
	ada := h.person("ada")
	laptop := ada.device("laptop", 24*time.Hour)
	device, err := h.SignInDevice(h.ctx, authflow.DeviceLogin{ID: laptop.ID, Expires: laptop.Expires}, "", person.Client{})
	h.must(err)
	f, err := h.BeginFreshCheck(h.ctx, device.SignOn, ada.user(), "/account", person.Client{})
	h.must(err)
	h.must(h.AnswerPassword(h.ctx, f, ada.password, person.Client{}))
	h.must(ada.backup(f, 0))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	f, err = h.BeginEnrolment(h.ctx, granted.SignOn, ada.user(), authflow.Adding{Kind: assurance.FIDO}, person.Client{})
	h.must(err)
	h.must(h.enrolKey(f, newSecurityKey().created(h, f)))
	if until := h.credential(ada.id, assurance.FIDO).ProbationUntil; !until.Equal(h.clock().Add(hold)) {
		t.Errorf("the key is held until %s", until)
	}
}

// TestEverythingIsHeldAfterALoss has a thief who knows the password and can show
// something weak try for a key that counts at once, by way of a loss.
func TestEverythingIsHeldAfterALoss(t *testing.T) {
	adds := func(h *house, s store.SignOn, p *member) time.Time {
		f, err := h.BeginEnrolment(h.ctx, s, p.user(), authflow.Adding{Kind: assurance.FIDO}, person.Client{})
		h.must(err)
		before, err := h.store.CredentialsOf(h.ctx, p.id)
		h.must(err)
		h.must(h.enrolKey(f, newSecurityKey().created(h, f)))
		after, err := h.store.CredentialsOf(h.ctx, p.id)
		h.must(err)
		if len(after) != len(before)+1 {
			h.t.Fatalf("%d credentials, after %d", len(after), len(before))
		}
		for _, c := range after {
			if !slices.ContainsFunc(before, func(b store.Credential) bool { return b.ID == c.ID }) {
				return c.ProbationUntil
			}
		}
		return time.Time{}
	}
	t.Run("by what replaced it", func(t *testing.T) {
		h := holdingWithKeys(t)
		ada := h.person("ada")
		f := ada.lost()
		h.must(ada.backup(f, 0))
		h.pass(10 * time.Minute) // what is held is held for longer than the loss is known
		ada = ada.replace(f)
		h.pass(hold - 5*time.Minute)
		if until := adds(h, ada.in(), ada); until.IsZero() {
			t.Error("a key that is added by the replacement counts at once")
		}
	})
	t.Run("when the time is over", func(t *testing.T) {
		h := holdingWithKeys(t)
		ada := h.person("ada")
		f := ada.lost()
		h.must(ada.backup(f, 0))
		ada = ada.replace(f)
		h.pass(hold)
		if until := adds(h, ada.in(), ada); !until.IsZero() {
			t.Errorf("a key is held until %s", until)
		}
	})
	t.Run("while the owner's own is held", func(t *testing.T) {
		h := holdingWithKeys(t)
		ada := h.holder("ada")
		ada.losesKey()
		h.pass(20 * time.Hour)
		if until := adds(h, ada.in(), ada.member); until.IsZero() {
			t.Error("the owner's counts at once")
		}
		h.pass(5 * time.Hour) // nothing is known of the loss any more
		if until := adds(h, ada.in(), ada.member); until.IsZero() {
			t.Error("another counts at once")
		}
	})
	t.Run("by a backup code, after something better long ago", func(t *testing.T) {
		h := holdingWithKeys(t)
		ada := h.person("ada")
		s := ada.in()
		h.pass(30 * time.Minute)
		f, err := h.BeginFreshCheck(h.ctx, s, ada.user(), "/account", person.Client{})
		h.must(err)
		h.must(ada.backup(f, 0))
		granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
		h.must(err)
		if until := adds(h, granted.SignOn, ada); until.IsZero() {
			t.Error("a key that was added counts at once")
		}
	})
	t.Run("by what is left, where the loss is broken off", func(t *testing.T) {
		h := holdingWithKeys(t)
		ada := h.holder("ada")
		ada.losesKey()
		h.pass(time.Minute)
		if until := adds(h, ada.in(), ada.member); until.IsZero() {
			t.Error("a key in the place of the one that was reported lost counts at once")
		}
	})
	for what, weak := range map[string]bool{"by a message that vouches for little": true, "by a message that vouches for as much": false} {
		t.Run(what, func(t *testing.T) {
			h := holdingWithKeys(t)
			h.vault.Factors = slices.Insert(slices.Clone(h.vault.Factors), 0, factors.Factor(pager.Factor{Clock: h.clock, Weak: weak}))
			h.guesses.Guessable = h.vault.Factors.Guessable()
			o := &outbox{h: h}
			h.Outbox = o
			ada := h.person("ada")
			ada.withPager(o, "555-1")
			app := h.credential(ada.id, assurance.TOTP)
			h.must(h.store.DeleteCredential(h.ctx, app.ID, app.Version)) // or it would be asked for
			if until := adds(h, ada.byPager(o), ada); until.IsZero() == weak {
				t.Errorf("a key that is added is held until %s", until)
			}
		})
	}
}
