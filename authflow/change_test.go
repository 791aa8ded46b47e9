package authflow_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// in signs somebody in with two factors, in a browser of their own.
func (p *member) in() store.SignOn {
	p.h.t.Helper()
	granted, err := p.h.Grant(p.h.ctx, p.complete(), "", person.Client{})
	p.h.must(err)
	p.h.pass(time.Minute) // so that a new code is there
	return granted.SignOn
}

// user is the person as the store has them.
func (p *member) user() store.User {
	p.h.t.Helper()
	user, err := p.h.store.UserByID(p.h.ctx, p.id)
	p.h.must(err)
	return user
}

// lives reports whether a sign-on counts still.
func (h *house) lives(s store.SignOn) bool {
	_, _, err := session.Check(h.ctx, h.store, s.ID, h.clock())
	return err == nil
}

// addTOTP adds an authenticator and returns the person with it.
func (p *member) addTOTP(s store.SignOn, name string) *member {
	p.h.t.Helper()
	f, with := p.addingTOTP(s)
	p.h.must(with.confirmTOTP(f, name))
	if step, err := p.h.Step(p.h.ctx, p.h.load(f), ""); err != nil || step.Kind != authflow.StepDone {
		p.h.t.Errorf("the enrolment ended at %+v, %v", step, err)
	}
	p.h.pass(time.Minute)
	return with
}

// addingTOTP is a flow that adds an authenticator, and the person with it.
func (p *member) addingTOTP(s store.SignOn) (authflow.Flow, *member) {
	p.h.t.Helper()
	f, err := p.h.BeginEnrolment(p.h.ctx, s, p.user(), authflow.Adding{Kind: assurance.TOTP, Return: "/account"}, person.Client{})
	p.h.must(err)
	made, err := p.h.Enrolment(p.h.ctx, f, assurance.TOTP, person.Client{})
	p.h.must(err)
	with := *p
	with.secret = keyOn(made)
	return f, &with
}

// confirmTOTP shows what the authenticator shows that a flow adds.
func (p *member) confirmTOTP(f authflow.Flow, name string) error {
	p.h.t.Helper()
	return p.h.AnswerEnrolment(p.h.ctx, p.h.load(f), authflow.EnrolmentAnswer{
		Factor: assurance.TOTP, Name: name, Answer: factors.Answer{"code": p.code()},
	}, person.Client{})
}

// named returns a person's credential by its name.
func (p *member) named(name string) credentials.Own {
	p.h.t.Helper()
	held, err := p.h.Holdings(p.h.ctx, p.id)
	p.h.must(err)
	i := slices.IndexFunc(held, func(c credentials.Own) bool { return c.Name == name })
	if i < 0 {
		p.h.t.Fatalf("no credential %q in %+v", name, held)
	}
	return held[i]
}

func TestAddRenameAndRemoveAnAuthenticator(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	here, there := ada.in(), ada.in()
	second := ada.addTOTP(there, "  Work phone ")
	work := ada.named("Work phone")
	h.must(h.Rename(h.ctx, there, ada.user(), work.ID, "Desk phone", person.Client{}))
	if _, err := h.Remove(h.ctx, there, ada.user(), ada.named("Authenticator app").ID, person.Client{}); err != nil {
		t.Fatal(err)
	}
	if h.lives(here) || h.lives(there) {
		t.Error("sign-ons of before a factor was removed live on")
	}
	if err := ada.answer(ada.shown(person.Client{}), ada.code(), person.Client{}); !isRefused(err, factors.Wrong) {
		t.Errorf("a code of the removed authenticator: %v", err)
	}
	h.must(second.answer(second.shown(person.Client{}), second.code(), person.Client{}))
	for name, want := range map[audit.Name]int{audit.FactorEnrolled: 3, audit.FactorRenamed: 1, audit.FactorRemoved: 1, audit.SignOnEnded: 3} {
		if got := len(h.events(name)); got != want {
			t.Errorf("%d events %s, want %d", got, name, want)
		}
	}
}

func TestRemovalLeavesTheProofsThatHold(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	first := ada.in()
	second := ada.addTOTP(first, "Second")
	bySecond, err := h.Grant(h.ctx, second.complete(), "", person.Client{})
	h.must(err)
	granted, err := h.Remove(h.ctx, bySecond.SignOn, ada.user(), ada.named("Authenticator app").ID, person.Client{})
	h.must(err)
	if s := granted.SignOn; assurance.Of(s.Proofs, h.vault.Factors.Weights()) != assurance.Multi || !s.Expires.Equal(bySecond.SignOn.Expires) || s.ID == bySecond.SignOn.ID {
		t.Errorf("the browser that removed another authenticator goes on with %+v", s)
	}
	h.pass(time.Minute)
	third := second.addTOTP(granted.SignOn, "Third")
	h.pass(time.Minute)
	granted, err = h.Remove(h.ctx, granted.SignOn, ada.user(), ada.named("Second").ID, person.Client{})
	h.must(err)
	if s := granted.SignOn; assurance.Of(s.Proofs, h.vault.Factors.Weights()) != assurance.Single {
		t.Errorf("the browser that removed the authenticator it had shown goes on with %+v", s.Proofs)
	}
	h.must(third.answer(third.shown(person.Client{}), third.code(), person.Client{}))
}

func TestRemovingAllOfAKind(t *testing.T) {
	h := newHouseWithKeys(t, false)
	h.store.inVain = true
	ada, bob := h.person("ada"), h.person("bob")
	ada.addTOTP(ada.in(), "Tablet")
	h.pass(time.Minute)
	if _, err := h.RemoveAll(h.ctx, ada.in(), ada.user(), assurance.TOTP, person.Client{}); !errors.Is(err, selfservice.ErrLastWayIn) {
		t.Errorf("all authenticators, backup codes remaining: %v", err)
	}
	if ada.named("Tablet"); len(h.events(audit.FactorRemoved)) > 0 {
		t.Error("a refused removal is told of")
	}
	h.pass(time.Minute)
	k, f := newSecurityKey(), ada.adding()
	h.must(h.enrolKey(f, k.created(h, f)))
	h.pass(time.Hour)
	f = ada.shown(person.Client{})
	h.must(h.showKey(f, k.shown(h, f), person.Client{}))
	here, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	there := bob.in()
	h.pass(time.Second)

	for kind, what := range map[assurance.Factor]string{assurance.Password: "the password", "push": "what there is none of"} {
		if _, err := h.RemoveAll(h.ctx, here.SignOn, ada.user(), kind, person.Client{}); !errors.Is(err, credentials.ErrUnknown) {
			t.Errorf("all of %s: %v", what, err)
		}
	}
	granted, err := h.RemoveAll(h.ctx, here.SignOn, ada.user(), assurance.TOTP, person.Client{})
	h.must(err)
	if held, err := h.Holdings(h.ctx, ada.id); err != nil || len(held) != 3 || slices.ContainsFunc(held, func(c credentials.Own) bool { return c.Kind == assurance.TOTP }) {
		t.Errorf("what is left: %+v, %v", held, err)
	}
	if h.lives(here.SignOn) || !h.lives(granted.SignOn) || assurance.Of(granted.SignOn.Proofs, h.vault.Factors.Weights()) != assurance.PhishingResistant {
		t.Errorf("the browser that removed them goes on with %+v", granted.SignOn)
	}
	if !h.lives(there) {
		t.Error("somebody else's sign-on ended, too")
	}
	bob.named("Authenticator app")
	if events := h.events(audit.FactorRemoved); len(events) != 2 || events[0].UserID != ada.id {
		t.Errorf("the events are %+v", events)
	}
	if _, err := h.RemoveAll(h.ctx, granted.SignOn, ada.user(), assurance.FIDO, person.Client{}); !errors.Is(err, selfservice.ErrLastWayIn) {
		t.Errorf("all keys, backup codes remaining: %v", err)
	}
}

func TestLastWayInStays(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	s := ada.in()
	if _, err := h.Remove(h.ctx, s, ada.user(), ada.named("Authenticator app").ID, person.Client{}); !errors.Is(err, selfservice.ErrLastWayIn) {
		t.Errorf("the last authenticator, backup codes remaining: %v", err)
	}
	if !h.lives(s) {
		t.Error("a refused removal ended the sign-on")
	}
	if _, err := h.Remove(h.ctx, s, ada.user(), ada.named("Backup codes").ID, person.Client{}); err != nil {
		t.Errorf("backup codes, an authenticator remaining: %v", err)
	}
}

func TestChangesAskForAFreshCheck(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.person("ada"), h.person("bob")
	stale := ada.in()
	user, mine := ada.user(), ada.named("Authenticator app").ID
	passwordAlone, err := h.Grant(h.ctx, func() authflow.Flow {
		f, err := h.SignIn(h.ctx, authflow.Login{Name: "ada", Password: ada.password, Ask: single})
		h.must(err)
		return f
	}(), "", person.Client{})
	h.must(err)
	ended := ada.in()
	h.must(h.EndSignOn(h.ctx, user, audit.ShortID(ended.ID), person.Client{}))
	h.pass(person.FreshFor)
	fresh := bob.in()
	for what, c := range map[string]struct {
		signOn store.SignOn
		want   error
	}{
		"F07, S06: the password alone": {passwordAlone.SignOn, person.ErrStale},
		"a check of too long ago":      {stale, person.ErrStale},
		"a sign-on that has ended":     {ended, session.ErrEnded},
	} {
		t.Run(what, func(t *testing.T) {
			for name, err := range map[string]error{
				"rename":     h.Rename(h.ctx, c.signOn, user, mine, "Mine", person.Client{}),
				"remove":     second(h.Remove(h.ctx, c.signOn, user, mine, person.Client{})),
				"remove all": second(h.RemoveAll(h.ctx, c.signOn, user, assurance.TOTP, person.Client{})),
				"enrol":      second(h.BeginEnrolment(h.ctx, c.signOn, user, authflow.Adding{Kind: assurance.TOTP, Return: "/"}, person.Client{})),
				"password": second(h.ChangePassword(h.ctx, c.signOn, user, selfservice.PasswordChange{
					Current: ada.password, New: "window kettle 90",
				}, person.Client{})),
			} {
				if !errors.Is(err, c.want) {
					t.Errorf("%s: %v, want %v", name, err, c.want)
				}
			}
		})
	}
	t.Run("W03: another user's credential", func(t *testing.T) {
		for name, err := range map[string]error{
			"rename": h.Rename(h.ctx, fresh, bob.user(), mine, "Mine", person.Client{}),
			"remove": second(h.Remove(h.ctx, fresh, bob.user(), mine, person.Client{})),
			"the password as if it were a second factor": second(h.Remove(h.ctx, fresh, bob.user(), h.credential(bob.id, assurance.Password).ID, person.Client{})),
		} {
			if !errors.Is(err, credentials.ErrUnknown) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := h.EndSignOn(h.ctx, bob.user(), audit.ShortID(stale.ID), person.Client{}); !errors.Is(err, selfservice.ErrNoSignOn) {
			t.Errorf("ending another's sign-on: %v", err)
		}
	})
	f, err := h.BeginFreshCheck(h.ctx, stale, user, "/account/totp", person.Client{})
	h.must(err)
	h.must(ada.answer(f, ada.code(), person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), stale.ID, person.Client{})
	h.must(err)
	h.must(h.Rename(h.ctx, granted.SignOn, user, mine, "Mine", person.Client{}))
}

// second is the error of a call whose result doesn't matter.
func second[T any](_ T, err error) error { return err }

// TestLongEnrolmentAsksAgain leaves the page open on which an authenticator is
// added, where somebody else may find it.
func TestLongEnrolmentAsksAgain(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	s := ada.in()
	f, tablet := ada.addingTOTP(s)
	h.pass(authflow.FlowIdle - time.Second)
	_, err := h.Extend(h.ctx, h.load(f))
	h.must(err)
	h.pass(2 * time.Second)
	if err := tablet.confirmTOTP(f, "Tablet"); !errors.Is(err, person.ErrStale) {
		t.Fatalf("F07: after long: %v", err)
	}
	if _, err := h.Enrolment(h.ctx, h.load(f), assurance.TOTP, person.Client{}); !errors.Is(err, person.ErrStale) {
		t.Errorf("F07: the page, after long: %v", err)
	}
	check, err := h.BeginFreshCheck(h.ctx, s, ada.user(), "/flow?id="+f.ID, person.Client{})
	h.must(err)
	h.must(ada.answer(check, ada.code(), person.Client{}))
	_, err = h.Grant(h.ctx, h.load(check), "", person.Client{})
	h.must(err)
	if err := tablet.confirmTOTP(f, "Tablet"); err != nil {
		t.Errorf("after a fresh check: %v", err)
	}
}

// TestDisownedAccountOfADevice has a device go in that nobody revoked, after its
// owner found something that wasn't them: for more they sign in, and choose
// another password.
func TestDisownedAccountOfADevice(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	laptop := ada.device("laptop", 24*time.Hour)
	h.must(h.Disown(h.ctx, ada.in(), ada.user(), person.Client{}))
	h.pass(time.Minute)
	granted, err := h.SignInDevice(h.ctx, authflow.DeviceLogin{ID: laptop.ID, Expires: laptop.Expires}, "", person.Client{})
	h.must(err)
	f, err := h.BeginStepUp(h.ctx, authflow.Raise{
		SignOn: granted.SignOn, User: ada.user(), Ask: assurance.Requirement{Level: assurance.Multi, Certificate: assurance.CertificateAdded},
	})
	h.must(err)
	h.must(h.AnswerPassword(h.ctx, f, ada.password, person.Client{}))
	if _, err := h.Grant(h.ctx, h.load(f), granted.SignOn.ID, person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("by the certificate and the old password: %v", err)
	}
	h.must(ada.answer(f, ada.code(), person.Client{}))
	if step := h.stepOf(h.load(f)); step != authflow.StepNewPassword {
		t.Errorf("after both, the step is %s", step)
	}
}

// TestL03EnrolmentsEndWithAllSignOns has a thief's machine still to enrol, by what was
// confirmed for it, when the owner throws everybody out.
func TestL03EnrolmentsEndWithAllSignOns(t *testing.T) {
	for name, end := range map[string]func(*house, *member) error{
		"disowned": func(h *house, ada *member) error {
			return h.Disown(h.ctx, ada.in(), ada.user(), person.Client{})
		},
		"another password": func(h *house, ada *member) error {
			_, err := h.ChangePassword(h.ctx, ada.in(), ada.user(), selfservice.PasswordChange{Current: ada.password, New: "another lantern orchard 58"}, person.Client{})
			return err
		},
		"other sign-ons ended": func(h *house, ada *member) error {
			_, err := h.EndOthers(h.ctx, ada.in(), ada.user(), person.Client{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			ada, bob := h.person("ada"), h.person("bob")
			h.must(h.store.Atomically(h.ctx, func(tx store.Tx) error {
				for _, owner := range []string{ada.id, bob.id} {
					record := store.Record{Namespace: person.Enrolments, Key: "of " + owner, Owner: owner, Value: []byte("{}"), Expires: h.clock().Add(time.Hour)}
					if err := tx.PutRecord(h.ctx, record); err != nil {
						return err
					}
				}
				return nil
			}))
			h.must(end(h, ada))
			if _, err := h.store.GetRecord(h.ctx, person.Enrolments, "of "+ada.id, h.clock()); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a machine may still enrol: %v", err)
			}
			if _, err := h.store.GetRecord(h.ctx, person.Enrolments, "of "+bob.id, h.clock()); err != nil {
				t.Errorf("somebody else's machine: %v", err)
			}
		})
	}
}

// TestL03FlowsEndWithTheirSignOn ends a sign-on in every way while something is
// added or checked under it: the flow is gone, and so it is for whoever had read
// it just before.
func TestL03FlowsEndWithTheirSignOn(t *testing.T) {
	ends := map[string]func(*house, *member, store.SignOn){
		"by its owner": func(h *house, p *member, s store.SignOn) {
			h.must(h.EndSignOn(h.ctx, p.user(), audit.ShortID(s.ID), person.Client{}))
		},
		"signed out": func(h *house, _ *member, s store.SignOn) {
			h.must(h.store.EndSignOn(h.ctx, s.ID, h.clock(), session.EndedSignOut))
		},
		"idle, as at a shared computer": func(h *house, _ *member, s store.SignOn) {
			h.pass(authflow.SharedIdle + 2*session.Granularity)
		},
		"its user is gone": func(h *house, p *member, s store.SignOn) {
			h.must(h.store.DeleteUser(h.ctx, p.id))
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.people.Idle = authflow.SharedIdle
			ada := h.person("ada")
			s := ada.in()
			adding, tablet := ada.addingTOTP(s)
			adding = h.load(adding)
			check, err := h.BeginStepUp(h.ctx, authflow.Raise{SignOn: s, User: ada.user(), Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: time.Nanosecond}})
			h.must(err)
			end(h, ada, s)
			for _, f := range []authflow.Flow{adding, check} {
				if _, err := h.Load(h.ctx, f.ID); !errors.Is(err, authflow.ErrFlowGone) {
					t.Errorf("the %s flow: %v", f.Kind, err)
				}
			}
			if _, err := h.Enrolment(h.ctx, adding, assurance.TOTP, person.Client{}); !errors.Is(err, authflow.ErrFlowGone) {
				t.Errorf("the page of the enrolment: %v", err)
			}
			answer := authflow.EnrolmentAnswer{Factor: assurance.TOTP, Answer: factors.Answer{"code": tablet.code()}}
			if err := h.AnswerEnrolment(h.ctx, adding, answer, person.Client{}); !errors.Is(err, authflow.ErrFlowGone) {
				t.Errorf("F06: enrolling: %v", err)
			}
			if n := len(h.events(audit.FactorEnrolled)); n != 2 {
				t.Errorf("%d factors were enrolled, want the 2 of the set-up", n)
			}
		})
	}
}

func TestNoMoreOfAKindThanMayBe(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	s := ada.in()
	// Begun while there was room, answered when there is none.
	f, sixth := ada.addingTOTP(s)
	for _, name := range []string{"2", "3", "4", "5"} {
		h.pass(-time.Minute) // so that the check stays fresh
		ada.addTOTP(s, name)
	}
	if _, err := h.BeginEnrolment(h.ctx, s, ada.user(), authflow.Adding{Kind: assurance.TOTP, Return: "/account"}, person.Client{}); !errors.Is(err, credentials.ErrTooMany) {
		t.Errorf("a sixth: %v", err)
	}
	if err := sixth.confirmTOTP(f, ""); !errors.Is(err, credentials.ErrTooMany) {
		t.Errorf("a sixth that was begun before: %v", err)
	}
}

func TestNamesOfCredentials(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	s, id := ada.in(), ada.named("Authenticator app").ID
	for _, name := range []string{"", "   ", strings.Repeat("x", 65), "two\nlines", "\xff"} {
		err := h.Rename(h.ctx, s, ada.user(), id, name, person.Client{})
		if invalid := new(person.Invalid); !errors.As(err, &invalid) || invalid.Fields["name"] == nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	const markup = `<script>{{.}} {env.X} %s</script>`
	h.must(h.Rename(h.ctx, s, ada.user(), id, markup, person.Client{}))
	ada.named(markup)
}

func TestChangePassword(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	const fresh = "window kettle 90"
	here, there := ada.in(), ada.in()
	midway := ada.shown(person.Client{})
	try := func(current, next string) error {
		return second(h.ChangePassword(h.ctx, there, ada.user(), selfservice.PasswordChange{Current: current, New: next}, person.Client{}))
	}
	if err := try("not the password", fresh); !isRefused(err, factors.Wrong) {
		t.Errorf("a wrong present password: %v", err)
	}
	for what, next := range map[string]string{"too short": "abc", "the same": ada.password} {
		if invalid := new(person.Invalid); !errors.As(try(ada.password, next), &invalid) || invalid.Fields["password"] == nil {
			t.Errorf("a new password that is %s isn't refused", what)
		}
	}
	granted, err := h.ChangePassword(h.ctx, there, ada.user(), selfservice.PasswordChange{Current: ada.password, New: fresh}, person.Client{})
	h.must(err)
	if h.lives(here) || h.lives(there) || !h.lives(granted.SignOn) {
		t.Error("other sign-ons live on, or this browser's doesn't")
	}
	if assurance.Of(granted.SignOn.Proofs, h.vault.Factors.Weights()) != assurance.Multi {
		t.Errorf("this browser goes on with %+v", granted.SignOn.Proofs)
	}
	if _, err := h.Load(h.ctx, midway.ID); !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("F06: a sign-in that was begun with the old password: %v", err)
	}
	if _, err := h.signIn("ada", ada.password, person.Client{}); !isRefused(err, factors.Wrong) {
		t.Errorf("the old password: %v", err)
	}
	ada.password = fresh
	ada.shown(person.Client{})
}

func TestWrongPresentPasswordsCount(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	s := ada.in()
	for range 5 {
		err := second(h.ChangePassword(h.ctx, s, ada.user(), selfservice.PasswordChange{Current: "wrong", New: "window kettle 90"}, person.Client{}))
		if !isRefused(err, factors.Wrong) {
			t.Fatal(err)
		}
	}
	if _, err := h.signIn("ada", ada.password, person.Client{}); asSlowed(err) == nil {
		t.Errorf("F02: signing in after five wrong passwords elsewhere: %v", err)
	}
}

func TestThisWasntMe(t *testing.T) {
	h := remembering(t)
	ada := h.person("ada")
	c := ada.remembered()
	here, midway := ada.in(), ada.complete()
	h.pass(time.Minute)
	h.must(h.Disown(h.ctx, here, ada.user(), person.Client{}))
	if h.signOns(ada.id) != 0 {
		t.Error("a sign-on lives on")
	}
	if known, err := h.store.BrowsersOf(h.ctx, ada.id); err != nil || len(known) != 0 {
		t.Errorf("browsers are known still: %+v, %v", known, err)
	}
	if _, err := h.Load(h.ctx, midway.ID); !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("a sign-in under way: %v", err)
	}
	// The password is still the one that somebody else may know, so it leads
	// nowhere alone: not in the remembered browser, nor where it would suffice.
	f, err := h.SignIn(h.ctx, authflow.Login{Name: "ada", Password: ada.password, Client: c, Ask: single})
	h.must(err)
	if step := h.stepOf(f); step != authflow.StepChallenge {
		t.Fatalf("the password leads to %s", step)
	}
	if err := h.ChooseNewPassword(h.ctx, f, "window kettle 90", c); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("F04: a new password before the second factor: %v", err)
	}
	if _, err := h.Grant(h.ctx, f, "", c); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("F04: a sign-on before the second factor: %v", err)
	}
	h.must(ada.answer(f, ada.code(), c))
	if step := h.stepOf(h.load(f)); step != authflow.StepNewPassword {
		t.Fatalf("two factors lead to %s", step)
	}
	if _, err := h.Grant(h.ctx, h.load(f), "", c); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("F04: a sign-on before the new password: %v", err)
	}
	if err := h.ChooseNewPassword(h.ctx, f, ada.password, c); err == nil {
		t.Error("the old password again is taken for a new one")
	}
	h.must(h.ChooseNewPassword(h.ctx, h.load(f), "window kettle 90", c))
	granted, err := h.Grant(h.ctx, h.load(f), "", c)
	h.must(err)
	if !h.lives(granted.SignOn) || ada.user().NewPassword {
		t.Error("the new password doesn't lead in, or is asked for again")
	}
	if _, err := h.signIn("ada", ada.password, person.Client{}); !isRefused(err, factors.Wrong) {
		t.Errorf("the old password: %v", err)
	}
}

func TestRememberedBrowserDoesntSpareTheNewPassword(t *testing.T) {
	h := remembering(t)
	ada := h.person("ada")
	c := ada.remembered()
	user := ada.user()
	user.NewPassword = true
	h.must(h.store.UpdateUser(h.ctx, user))
	if step := h.stepOf(ada.shown(c)); step != authflow.StepChallenge {
		t.Errorf("the next step is %s", step)
	}
}

func TestEndOthers(t *testing.T) {
	h := remembering(t)
	ada, bob := h.person("ada"), h.person("bob")
	ada.remembered()
	here, there, bobs := ada.in(), ada.in(), bob.in()
	thief := ada.complete()
	ended, err := h.EndOthers(h.ctx, here, ada.user(), person.Client{})
	h.must(err)
	if ended != 3 || !h.lives(here) || h.lives(there) || !h.lives(bobs) {
		t.Errorf("%d ended; here %v, there %v, another's %v", ended, h.lives(here), h.lives(there), h.lives(bobs))
	}
	if _, err := h.Grant(h.ctx, thief, "", person.Client{}); !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("a sign-in that was under way: %v", err)
	}
	if browsers, err := h.Remembered(h.ctx, ada.id); err != nil || len(browsers) != 0 {
		t.Errorf("browsers that skip the second step: %+v, %v", browsers, err)
	}
}

func TestSignOnsAreListedWithTheirApps(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	first, newer := ada.in(), ada.in()
	log := h.Audit
	for _, opened := range []struct {
		signOn store.SignOn
		app    string
	}{{first, "https://wiki"}, {first, "https://git"}, {first, "https://wiki"}, {newer, "https://mail"}} {
		log.Record(h.ctx, audit.AppOpened, ada.id, audit.Fields{audit.App: opened.app, audit.SignOn: audit.ShortID(opened.signOn.ID)})
	}
	listed, err := h.SignOnsOf(h.ctx, ada.id)
	h.must(err)
	apps := make(map[string][]string)
	for _, s := range listed {
		apps[s.ID] = s.Apps
	}
	if !slices.Equal(apps[first.ID], []string{"https://git", "https://wiki"}) || !slices.Equal(apps[newer.ID], []string{"https://mail"}) || listed[0].ID != newer.ID {
		t.Errorf("listed: %+v", listed)
	}
}

func TestBackupCodesTellHowManyAreLeft(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	f := ada.shown(person.Client{})
	h.must(h.Answer(h.ctx, f, authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": ada.codes[0]}}, person.Client{}))
	codes := ada.named("Backup codes").Details.Stock
	if codes == nil || codes.Left != 9 || codes.Total != 10 || len(codes.Used) != 1 || !codes.Used[0].Equal(h.clock()) {
		t.Errorf("details: %+v", codes)
	}
}

func TestNewBackupCodesVoidTheOld(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	// The sign-on was reached by one of the codes that go.
	f := ada.shown(person.Client{})
	h.must(h.Answer(h.ctx, f, authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": ada.codes[0]}}, person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	enrolment, err := h.BeginEnrolment(h.ctx, granted.SignOn, ada.user(), authflow.Adding{Kind: assurance.BackupCode, Return: "/account"}, person.Client{})
	h.must(err)
	_, err = h.Enrolment(h.ctx, enrolment, assurance.BackupCode, person.Client{})
	h.must(err)
	h.must(h.AnswerEnrolment(h.ctx, h.load(enrolment), authflow.EnrolmentAnswer{Factor: assurance.BackupCode, Answer: factors.Answer{"saved": "yes"}}, person.Client{}))
	f = ada.shown(person.Client{})
	err = h.Answer(h.ctx, f, authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": ada.codes[1]}}, person.Client{})
	if !isRefused(err, factors.Wrong) {
		t.Errorf("B02: an old code: %v", err)
	}
	// A proof of the codes that are gone is asked for again, not in vain.
	f, err = h.BeginStepUp(h.ctx, authflow.Raise{SignOn: granted.SignOn, User: ada.user(), Ask: multi})
	h.must(err)
	if step := h.stepOf(f); step != authflow.StepChallenge {
		t.Errorf("the next step is %s", step)
	}
	h.must(ada.answer(f, ada.code(), person.Client{}))
	_, err = h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
}

func TestMoreTime(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	f := ada.shown(person.Client{})
	for range 5 {
		h.pass(10 * time.Minute)
		left, err := h.Extend(h.ctx, h.load(f))
		h.must(err)
		if want := min(authflow.FlowIdle, authflow.FlowLifetime-h.clock().Sub(f.Started)); left != want {
			t.Errorf("after %s: %s left, want %s", h.clock().Sub(f.Started), left, want)
		}
	}
	h.pass(10 * time.Minute)
	if _, err := h.Load(h.ctx, f.ID); !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("after an hour: %v", err)
	}
}

func TestTheFactorOfferedFirst(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	windows, android := person.Client{Platform: "windows"}, person.Client{Platform: "android"}
	first := func(c person.Client) assurance.Factor {
		t.Helper()
		step, err := h.Step(h.ctx, ada.shown(c), "")
		h.must(err)
		return step.Factor
	}
	h.must(h.Answer(h.ctx, ada.shown(windows), authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": ada.codes[0]}}, windows))
	if got := first(windows); got != assurance.TOTP {
		t.Errorf("after a backup code, %s is offered first", got)
	}
	h.Rules.Offered = func(kind assurance.Factor, platform string) bool {
		return kind != assurance.TOTP || platform != "android"
	}
	if got := first(android); got != assurance.BackupCode {
		t.Errorf("where authenticators aren't asked for, %s is offered first", got)
	}
	if err := ada.answer(ada.shown(android), ada.code(), android); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("where authenticators aren't asked for, a code: %v", err)
	}
}
