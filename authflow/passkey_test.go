package authflow_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/fido"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

// holder is somebody with a passkey on their phone.
type holder struct {
	*member
	phone *securityKey
}

// holder sets somebody up, and adds a passkey.
func (h *house) holder(name string) *holder {
	h.t.Helper()
	h.Rules.Passwordless = true
	p := &holder{h.person(name), newSecurityKey()}
	f := p.adding()
	h.must(h.enrolKey(f, p.phone.created(h, f)))
	p.phone.device.Options.UserHandle = []byte(p.id)
	h.pass(time.Hour)
	return p
}

// losesKey has the key reported lost, which a code of the authenticator confirms.
func (p *holder) losesKey() {
	p.h.t.Helper()
	f := p.shown(person.Client{})
	p.h.must(p.h.Lose(p.h.ctx, f, []string{p.h.credential(p.id, assurance.FIDO).ID}))
	p.h.must(p.answer(f, p.code(), person.Client{}))
}

// disable bars the person.
func (p *holder) disable() {
	p.h.t.Helper()
	user := p.user()
	user.Status = store.UserDisabled
	p.h.must(p.h.store.UpdateUser(p.h.ctx, user))
}

const thisBrowser = "a nonce in a cookie"

// discovery asks for a passkey.
func (h *house) discovery() authflow.Discovery {
	h.t.Helper()
	question, err := h.BeginDiscovery(h.ctx, thisBrowser)
	h.must(err)
	return question
}

// answers has the phone answer a question.
func (k *securityKey) answers(h *house, question authflow.Discovery) authflow.Passkey {
	h.t.Helper()
	asked, err := virtualwebauthn.ParseAssertionOptions(question.Page.(templates.FIDOCeremony).Options)
	h.must(err)
	return authflow.Passkey{State: question.State, Browser: thisBrowser, Answer: factors.Answer{
		"credential": virtualwebauthn.CreateAssertionResponse(keySite, k.device, k.Credential, *asked),
	}}
}

func (h *house) byPasskey(given authflow.Passkey, ask assurance.Level) (authflow.Flow, error) {
	return h.SignInByPasskey(h.ctx, authflow.Login{Ask: assurance.Requirement{Level: ask}}, given)
}

func (h *house) expectRefusal(what string, err error, reason factors.Reason) {
	h.t.Helper()
	refused := new(factors.Refused)
	if !errors.As(err, &refused) || refused.Reason != reason {
		h.t.Errorf("%s: %v, want a refusal as %s", what, err, reason)
	}
}

// TestPasskeysSignInAlone signs in without name and password, for the highest
// that a rule can ask.
func TestPasskeysSignInAlone(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	if !h.OffersPasskeys("") {
		t.Error("passkeys aren't offered")
	}
	f, err := h.byPasskey(ada.phone.answers(h, h.discovery()), assurance.PhishingResistant)
	h.must(err)
	if step, err := h.Step(h.ctx, h.load(f), ""); err != nil || step.Kind != authflow.StepGrant {
		t.Fatalf("%+v, %v", step, err)
	}
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	proofs := granted.SignOn.Proofs
	if granted.SignOn.UserID != ada.id || len(proofs) != 1 || !proofs[0].UserVerified || assurance.Of(proofs, h.vault.Factors.Weights()) != assurance.PhishingResistant {
		t.Errorf("%+v", granted.SignOn)
	}
	if granted.Browser == "" {
		t.Error("the browser isn't known from now on")
	}
	held, err := h.Holdings(h.ctx, ada.id)
	h.must(err)
	for _, one := range held {
		if one.Kind == assurance.FIDO && !one.LastUsed.Equal(h.clock()) {
			t.Errorf("it was last used at %s", one.LastUsed)
		}
	}
	if len(h.events(audit.SignInSucceeded)) == 0 {
		t.Error("there is no audit event")
	}
}

// TestK01QuestionsAreAnsweredOnce holds that a question to whoever is there is
// answered once, in time, in the browser that asked, and by an answer of its
// own kind; a wrong answer spends it too.
func TestK01QuestionsAreAnsweredOnce(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	question := h.discovery()
	_, err := h.byPasskey(ada.phone.answers(h, question), assurance.Multi)
	h.must(err)
	_, err = h.byPasskey(ada.phone.answers(h, question), assurance.Multi)
	h.expectRefusal("twice", err, factors.Used)
	h.pass(fido.Patience - time.Second)
	h.must(h.store.Sweep(h.ctx, h.clock(), store.SweepLimits{KeepAttempts: guess.Kept(), AttemptsBefore: h.clock(), SignOnsBefore: h.clock().AddDate(0, -1, 0)}))
	_, err = h.byPasskey(ada.phone.answers(h, question), assurance.Multi)
	h.expectRefusal("twice, at the last moment", err, factors.Used)

	question = h.discovery()
	forged := ada.phone.answers(h, h.discovery())
	forged.State = question.State
	_, err = h.byPasskey(forged, assurance.Multi)
	h.expectRefusal("another question's", err, factors.Wrong)
	_, err = h.byPasskey(ada.phone.answers(h, question), assurance.Multi)
	h.expectRefusal("after a wrong one", err, factors.Used)

	// What a stranger answers, whose passkey isn't enrolled, leaves nothing.
	question = h.discovery()
	stranger := newSecurityKey()
	stranger.device.Options.UserHandle = []byte("nobody's")
	for range 2 {
		_, err = h.byPasskey(stranger.answers(h, question), assurance.Multi)
		h.expectRefusal("a stranger's", err, factors.Unknown)
	}
	_, err = h.byPasskey(ada.phone.answers(h, question), assurance.Multi)
	h.must(err)

	late := ada.phone.answers(h, h.discovery())
	h.pass(fido.Patience)
	_, err = h.byPasskey(late, assurance.Multi)
	h.expectRefusal("too late", err, factors.Expired)

	for what, change := range map[string]func(*authflow.Passkey){
		"another browser's": func(p *authflow.Passkey) { p.Browser = "another" },
		"without a browser": func(p *authflow.Passkey) { p.Browser = "" },
		"without a state":   func(p *authflow.Passkey) { p.State = "" },
		"a state made up":   func(p *authflow.Passkey) { p.State = "AAAA" },
	} {
		given := ada.phone.answers(h, h.discovery())
		change(&given)
		_, err := h.byPasskey(given, assurance.Multi)
		h.expectRefusal(what, err, factors.Expired)
	}
}

// TestK01TheSameAnswerAgain posts the form of a passkey twice, whose device
// counts its signatures: the second leads to where the first did, and nothing is
// held against anybody.
func TestK01TheSameAnswerAgain(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	ada.phone.Counter = 7
	given := ada.phone.answers(h, h.discovery())
	first, err := h.byPasskey(given, assurance.Multi)
	h.must(err)
	second, err := h.byPasskey(given, assurance.Multi)
	h.must(err)
	if second.ID != first.ID {
		t.Error("it began another flow")
	}
	elsewhere := given
	elsewhere.Browser = "another"
	_, err = h.byPasskey(elsewhere, assurance.Multi)
	h.expectRefusal("from another browser", err, factors.Expired)
	_, err = h.Grant(h.ctx, h.load(second), "", person.Client{})
	h.must(err)
	if _, err = h.byPasskey(given, assurance.Multi); !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("once somebody is in: %v", err)
	}
	for _, name := range []audit.Name{audit.SignInFailed, audit.CounterRegressed} {
		if n := len(h.events(name)); n > 0 {
			t.Errorf("%d of %s", n, name)
		}
	}
}

// TestK01QuestionsAtOnce has one answer come a hundred times at once: they all
// lead to one flow.
func TestK01QuestionsAtOnce(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	ada.phone.Counter = 7
	given := ada.phone.answers(h, h.discovery())
	var all sync.WaitGroup
	in := make(chan authflow.Flow, 100)
	for i := range cap(in) {
		all.Go(func() {
			c := person.Client{Address: "192.0.2." + strconv.Itoa(i)}
			if f, err := h.SignInByPasskey(h.ctx, authflow.Login{Client: c, Ask: assurance.Requirement{Level: assurance.Multi}}, given); err == nil {
				in <- f
			}
		})
	}
	all.Wait()
	if len(in) != cap(in) {
		t.Errorf("%d of %d lead on", len(in), cap(in))
	}
	if n := len(h.events(audit.SignInFailed)) + len(h.events(audit.CounterRegressed)); n > 0 {
		t.Errorf("%d are held against somebody", n)
	}
	one := <-in
	for range len(in) {
		if another := <-in; another.ID != one.ID {
			t.Fatal("there are two flows")
		}
	}
}

// TestF05FlowsMixedUpWithQuestions answers a question to whoever is there with
// what belongs to a challenge, and the other way around.
func TestF05FlowsMixedUpWithQuestions(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	f := ada.shown(person.Client{})
	challenged := ada.phone.shown(h, f)
	_, err := h.byPasskey(authflow.Passkey{State: h.discovery().State, Browser: thisBrowser, Answer: challenged.Answer}, assurance.Multi)
	h.expectRefusal("the answer to a challenge", err, factors.Wrong)
	h.must(h.showKey(f, challenged, person.Client{}))

	f = ada.shown(person.Client{})
	ada.phone.shown(h, f)
	given := ada.phone.answers(h, h.discovery())
	err = h.showKey(f, authflow.Response{Factor: assurance.FIDO, Answer: given.Answer}, person.Client{})
	h.expectRefusal("the answer to a question", err, factors.Wrong)
}

// TestK02PasskeysMustVerify refuses a passkey that only says that somebody is
// there.
func TestK02PasskeysMustVerify(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	ada.phone.device.Options.UserNotVerified = true
	_, err := h.byPasskey(ada.phone.answers(h, h.discovery()), assurance.Multi)
	h.expectRefusal("without user verification", err, factors.Wrong)
}

// TestWhoeverMayNotSignIn holds that a passkey is no way around what bars its
// owner, and that only one which isn't enrolled is said to be unknown.
func TestWhoeverMayNotSignIn(t *testing.T) {
	for name, c := range map[string]struct {
		bar    func(h *house, p *holder)
		reason factors.Reason
	}{
		"disabled": {func(h *house, p *holder) { p.disable() }, factors.Wrong},
		"deleted":  {func(h *house, p *holder) { h.must(h.store.DeleteUser(h.ctx, p.id)) }, factors.Unknown},
		"removed": {func(h *house, p *holder) {
			c := h.credential(p.id, assurance.FIDO)
			h.must(h.store.DeleteCredential(h.ctx, c.ID, c.Version))
		}, factors.Unknown},
		"reported lost": {func(h *house, p *holder) {
			c := h.credential(p.id, assurance.FIDO)
			c.State = store.CredentialSuspended
			h.must(h.store.UpdateCredential(h.ctx, c))
		}, factors.Wrong},
		"K03 another's user handle": {func(h *house, p *holder) { p.phone.device.Options.UserHandle = []byte(h.person("bob").id) }, factors.Unknown},
		"W04 a handle of no text":   {func(h *house, p *holder) { p.phone.device.Options.UserHandle = []byte{0, 0xff, '\''} }, factors.Unknown},
		"no user handle":            {func(h *house, p *holder) { p.phone.device.Options.UserHandle = nil }, factors.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouseWithKeys(t, false)
			ada := h.holder("ada")
			c.bar(h, ada)
			_, err := h.byPasskey(ada.phone.answers(h, h.discovery()), assurance.Multi)
			h.expectRefusal(name, err, c.reason)
			if refused := new(factors.Refused); errors.As(err, &refused) && (refused.Credential != "") != (c.reason == factors.Unknown) {
				t.Errorf("the browser hears of %q", refused.Credential)
			}
		})
	}
}

// TestF06BarredAfterAPasskey disables somebody between their passkey and the
// grant.
func TestF06BarredAfterAPasskey(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	f, err := h.byPasskey(ada.phone.answers(h, h.discovery()), assurance.Multi)
	h.must(err)
	ada.disable()
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("%v", err)
	}
}

// TestF06PasswordWantedAfterAPasskey has the operator want the password all the
// same, between a passkey and the grant.
func TestF06PasswordWantedAfterAPasskey(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	f, err := h.byPasskey(ada.phone.answers(h, h.discovery()), assurance.Multi)
	h.must(err)
	h.Rules.Passwordless = false
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("%v", err)
	}
	if step := h.stepOf(h.load(f)); step != authflow.StepPassword {
		t.Errorf("the next step is %s", step)
	}
	h.must(h.AnswerPassword(h.ctx, h.load(f), ada.password, person.Client{}))
	_, err = h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
}

// TestPasskeysAndWhatIsDue asks whoever signed in by a passkey alone for what is
// due, as it asks everybody.
func TestPasskeysAndWhatIsDue(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	user := ada.user()
	user.NewPassword = true
	h.must(h.store.UpdateUser(h.ctx, user))
	f, err := h.byPasskey(ada.phone.answers(h, h.discovery()), assurance.Multi)
	h.must(err)
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); !errors.Is(err, authflow.ErrWrongStep) || h.stepOf(h.load(f)) != authflow.StepNewPassword {
		t.Errorf("%v, and the next step is %s", err, h.stepOf(h.load(f)))
	}
	h.must(h.ChooseNewPassword(h.ctx, h.load(f), "another password for the wiki", person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)

	// A password of the last minutes is asked for, as it never was shown.
	f, err = h.BeginStepUp(h.ctx, authflow.Raise{
		SignOn: granted.SignOn, User: ada.user(), Ask: assurance.Requirement{Level: assurance.Single, MaxAge: time.Minute},
	})
	h.must(err)
	if step := h.stepOf(f); step != authflow.StepPassword {
		t.Errorf("for a fresh password: the next step is %s", step)
	}
	h.pass(2 * time.Minute)
	for _, level := range []assurance.Level{assurance.Multi, assurance.PhishingResistant} {
		f, err = h.BeginStepUp(h.ctx, authflow.Raise{
			SignOn: granted.SignOn, User: ada.user(), Ask: assurance.Requirement{Level: level, MaxAge: time.Minute},
		})
		h.must(err)
		if step, err := h.Step(h.ctx, f, ""); err != nil || step.Kind != authflow.StepChallenge || step.Factor != assurance.FIDO {
			t.Errorf("for a fresh %s: %+v, %v", level, step, err)
		}
	}

	// A touch that says nothing of who it was isn't two factors.
	ada.phone.device.Options.UserNotVerified = true
	h.must(h.showKey(f, ada.phone.shown(h, f), person.Client{}))
	if step := h.stepOf(h.load(f)); step != authflow.StepPassword {
		t.Errorf("after a mere touch: the next step is %s", step)
	}
}

// TestHeldPasskeysNeedThePassword holds a passkey that stands in for something
// lost to being the second of two.
func TestHeldPasskeysNeedThePassword(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	c := h.credential(ada.id, assurance.FIDO)
	c.ProbationUntil = h.clock().Add(time.Hour)
	h.must(h.store.UpdateCredential(h.ctx, c))
	f, err := h.byPasskey(ada.phone.answers(h, h.discovery()), assurance.Multi)
	h.must(err)
	if step, err := h.Step(h.ctx, h.load(f), ""); err != nil || step.Kind != authflow.StepPassword {
		t.Fatalf("%+v, %v", step, err)
	}
	h.must(h.AnswerPassword(h.ctx, h.load(f), ada.password, person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	if level := assurance.Of(granted.SignOn.Proofs, h.vault.Factors.Weights()); level != assurance.Multi {
		t.Errorf("it is %s", level)
	}
}

// TestF03WrongPasskeysSlowNobodyDown has somebody send wrong signatures of a
// passkey: they leave few traces, and the right one counts at once.
func TestF03WrongPasskeysSlowNobodyDown(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	for range 200 {
		given := ada.phone.answers(h, h.discovery())
		given.State = h.discovery().State
		_, err := h.byPasskey(given, assurance.Multi)
		h.expectRefusal("a wrong one", err, factors.Wrong)
	}
	if n := len(h.events(audit.SignInFailed)); n != 5 {
		t.Errorf("%d events", n)
	}
	_, err := h.byPasskey(ada.phone.answers(h, h.discovery()), assurance.Multi)
	h.must(err)
	f := ada.shown(person.Client{})
	h.must(h.showKey(f, ada.phone.shown(h, f), person.Client{}))
}

// TestF03StrangersDontSlowPasskeys has somebody who knows a user's id, as apps
// do, show passkeys that nobody has.
func TestF03StrangersDontSlowPasskeys(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada, stranger := h.holder("ada"), newSecurityKey()
	stranger.device.Options.UserHandle = []byte(ada.id)
	for range 10 {
		_, err := h.byPasskey(stranger.answers(h, h.discovery()), assurance.Multi)
		h.expectRefusal("a passkey that nobody has", err, factors.Unknown)
	}
	_, err := h.byPasskey(ada.phone.answers(h, h.discovery()), assurance.Multi)
	h.must(err)
}

// TestL01StrangersMakeNoRows asks for passkeys without answering.
func TestL01StrangersMakeNoRows(t *testing.T) {
	h := newHouseWithKeys(t, false)
	h.Rules.Passwordless = true
	h.Engine.Store, h.people.Store, h.vault.Store = nil, nil, nil // whoever uses one panics
	for range 10 {
		h.discovery()
	}
}

// TestPasswordlessIsTheOperatorsChoice refuses passkeys where the password is
// wanted all the same, or keys are off.
func TestPasswordlessIsTheOperatorsChoice(t *testing.T) {
	h := newHouseWithKeys(t, false)
	given := h.holder("ada").phone.answers(h, h.discovery())
	for name, change := range map[string]func(){
		"passwordless off": func() { h.Rules.Passwordless = false },
		"fido off": func() {
			h.Rules.Passwordless, h.vault.Factors = true, factors.Set{h.vault.Factors[0], h.vault.Factors[2]}
		},
	} {
		change()
		if _, err := h.byPasskey(given, assurance.Multi); !errors.Is(err, authflow.ErrNoPasskeys) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := h.BeginDiscovery(h.ctx, thisBrowser); !errors.Is(err, authflow.ErrNoPasskeys) || h.OffersPasskeys("") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
