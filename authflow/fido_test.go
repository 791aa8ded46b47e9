package authflow_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/fido"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

var keySite = virtualwebauthn.RelyingParty{ID: "login.example.com", Name: "Test", Origin: "https://login.example.com"}

// newHouseWithKeys is newHouse where security keys are configured, too.
func newHouseWithKeys(t *testing.T, lenient bool) *house {
	t.Helper()
	h := newHouse(t)
	keys, err := fido.New(fido.Config{RPID: keySite.ID, Origins: []string{keySite.Origin}, Brand: "Test", Lenient: lenient}, h.clock, rand.Reader)
	h.must(err)
	h.vault.Factors = factors.Set{h.vault.Factors[0], keys, h.vault.Factors[1]}
	return h
}

// securityKey is an authenticator by others.
type securityKey struct {
	device virtualwebauthn.Authenticator
	virtualwebauthn.Credential
}

// newSecurityKey makes one. The virtual authenticator drops leading zeros of
// coordinates, which no other does, so such keys are passed over.
func newSecurityKey() *securityKey {
	for {
		k := &securityKey{virtualwebauthn.NewAuthenticator(), virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)}
		if len(k.Key.AttestationData()) == 77 {
			return k
		}
	}
}

func options(ceremony authflow.Page) string { return ceremony.Content.(templates.FIDOCeremony).Options }

// created answers what a page of an enrolment asks.
func (k *securityKey) created(h *house, f authflow.Flow) authflow.EnrolmentAnswer {
	h.t.Helper()
	ceremony, err := h.Enrolment(h.ctx, h.load(f), assurance.FIDO, person.Client{})
	h.must(err)
	asked, err := virtualwebauthn.ParseAttestationOptions(options(ceremony))
	h.must(err)
	return authflow.EnrolmentAnswer{Factor: assurance.FIDO, Answer: factors.Answer{
		"credential": virtualwebauthn.CreateAttestationResponse(keySite, k.device, k.Credential, *asked),
	}}
}

// shown answers what a page of a challenge asks.
func (k *securityKey) shown(h *house, f authflow.Flow) authflow.Response {
	h.t.Helper()
	ceremony, err := h.Challenge(h.ctx, h.load(f), assurance.FIDO, person.Client{})
	h.must(err)
	asked, err := virtualwebauthn.ParseAssertionOptions(options(ceremony))
	h.must(err)
	return authflow.Response{Factor: assurance.FIDO, Answer: factors.Answer{
		"credential": virtualwebauthn.CreateAssertionResponse(keySite, k.device, k.Credential, *asked),
	}}
}

// enrolKey answers an enrolment as the flow is by then.
func (h *house) enrolKey(f authflow.Flow, given authflow.EnrolmentAnswer) error {
	h.t.Helper()
	return h.AnswerEnrolment(h.ctx, h.load(f), given, person.Client{})
}

// showKey answers a challenge as the flow is by then.
func (h *house) showKey(f authflow.Flow, given authflow.Response, c person.Client) error {
	h.t.Helper()
	return h.Answer(h.ctx, h.load(f), given, c)
}

// adding is a flow in which somebody adds a key.
func (p *member) adding() authflow.Flow {
	p.h.t.Helper()
	granted, err := p.h.Grant(p.h.ctx, p.complete(), "", person.Client{})
	p.h.must(err)
	f, err := p.h.BeginEnrolment(p.h.ctx, granted.SignOn, p.user(), authflow.Adding{Kind: assurance.FIDO, Return: "/account"}, person.Client{})
	p.h.must(err)
	return f
}

// TestKeysGiveTheHighestAssurance adds a key and signs in by it.
func TestKeysGiveTheHighestAssurance(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.person("ada")
	k := newSecurityKey()
	f := ada.adding()
	h.must(h.enrolKey(f, k.created(h, f)))
	h.pass(time.Hour)

	f = ada.shown(person.Client{})
	h.must(h.showKey(f, k.shown(h, f), person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	if level := assurance.Of(granted.SignOn.Proofs, h.vault.Factors.Weights()); level != assurance.PhishingResistant {
		t.Errorf("password and key are %s: %+v", level, granted.SignOn.Proofs)
	}
	check, err := h.FreshCheck(h.ctx, ada.id)
	h.must(err)
	if check.Ask.Level != assurance.PhishingResistant {
		t.Errorf("changes ask for %s", check.Ask.Level)
	}
}

// TestF05AKeyBelongsToOnePerson adds a key that is there already, of somebody
// else or one's own: each page's challenge is spent by it.
func TestF05AKeyBelongsToOnePerson(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada, eve := h.person("ada"), h.person("eve")
	k := newSecurityKey()
	f := ada.adding()
	h.must(h.enrolKey(f, k.created(h, f)))
	h.pass(time.Minute)

	f = eve.adding()
	answer := k.created(h, f)
	if err := h.enrolKey(f, answer); !isRefused(err, factors.Taken) {
		t.Errorf("the key of somebody else: %v", err)
	}
	if err := h.enrolKey(f, answer); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("the same answer again: %v", err)
	}
	if all, err := h.store.CredentialsOf(h.ctx, eve.id); err != nil || len(all) != 3 {
		t.Errorf("eve has %d credentials, %v", len(all), err)
	}
	// A lost one stays hers, too.
	lost := h.credential(ada.id, assurance.FIDO)
	lost.State = store.CredentialSuspended
	h.must(h.store.UpdateCredential(h.ctx, lost))
	if err := h.enrolKey(f, k.created(h, f)); !isRefused(err, factors.Taken) {
		t.Errorf("a lost key: %v", err)
	}
	// Once it is removed, it is nobody's.
	h.must(h.store.DeleteCredential(h.ctx, lost.ID, lost.Version+1))
	h.must(h.enrolKey(f, k.created(h, f)))
	f = ada.adding()
	if err := h.enrolKey(f, k.created(h, f)); !isRefused(err, factors.Taken) {
		t.Errorf("the key that is somebody else's now: %v", err)
	}
}

// TestK01AChallengeIsAnsweredOnce holds that a wrong answer spends it, and a
// right one, too.
func TestK01AChallengeIsAnsweredOnce(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.person("ada")
	k, other := newSecurityKey(), newSecurityKey()
	f := ada.adding()
	right := k.created(h, f)
	wrong := right
	wrong.Answer = factors.Answer{"credential": "{}"}
	if err := h.enrolKey(f, wrong); !isRefused(err, factors.Malformed) {
		t.Errorf("a damaged answer: %v", err)
	}
	if err := h.enrolKey(f, right); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("a spent challenge of an enrolment: %v", err)
	}
	first := k.created(h, f)
	k.created(h, f) // the page was loaded once more, and asks the same
	h.must(h.enrolKey(f, first))
	h.pass(time.Minute)

	f = ada.shown(person.Client{})
	shown, stranger := k.shown(h, f), other.shown(h, f)
	if err := h.showKey(f, stranger, person.Client{}); !isRefused(err, factors.Wrong) {
		t.Errorf("another key: %v", err)
	}
	if err := h.showKey(f, shown, person.Client{}); !isRefused(err, factors.Expired) {
		t.Errorf("a spent challenge: %v", err)
	}
	shown = k.shown(h, f)
	k.shown(h, f) // the page was loaded once more, and asks the same
	h.must(h.showKey(f, shown, person.Client{}))
	// In another flow it is nothing.
	f = ada.shown(person.Client{})
	_ = k.shown(h, f)
	if err := h.showKey(f, shown, person.Client{}); !isRefused(err, factors.Wrong) {
		t.Errorf("replayed in another flow: %v", err)
	}
}

// TestK03ACopiedKeyIsAnEvent shows a key whose counter rests.
func TestK03ACopiedKeyIsAnEvent(t *testing.T) {
	for _, lenient := range []bool{false, true} {
		h := newHouseWithKeys(t, lenient)
		ada := h.person("ada")
		k := newSecurityKey()
		k.Counter = 7
		f := ada.adding()
		h.must(h.enrolKey(f, k.created(h, f)))
		h.pass(time.Minute)
		f = ada.shown(person.Client{})
		err := h.showKey(f, k.shown(h, f), from("192.0.2.7"))
		outcome := "refused"
		if lenient {
			outcome = "accepted"
			h.must(err)
		} else if !isRefused(err, factors.Cloned) {
			t.Errorf("%v", err)
		}
		events := h.events(audit.CounterRegressed)
		if len(events) != 1 || events[0].Fields["outcome"] != outcome || events[0].Fields["address"] != "192.0.2.7" || events[0].UserID != ada.id {
			t.Errorf("lenient %t: the events are %+v", lenient, events)
		}
	}
}

// TestFirstAdministratorByAKey sets up with a key alone: it is bound to the id
// that the account then has.
func TestFirstAdministratorByAKey(t *testing.T) {
	h := newHouseWithKeys(t, false)
	link, err := h.NewSetupLink(h.ctx)
	h.must(err)
	f, err := h.OpenLink(h.ctx, link)
	h.must(err)
	h.must(h.ChooseAccount(h.ctx, f, authflow.Choice{Name: "root", Password: rightPassword}))
	k := newSecurityKey()
	ceremony, err := h.Enrolment(h.ctx, h.load(f), assurance.FIDO, person.Client{})
	h.must(err)
	asked, err := virtualwebauthn.ParseAttestationOptions(options(ceremony))
	h.must(err)
	h.must(h.enrolKey(f, k.created(h, f)))
	root, err := h.store.UserByName(h.ctx, "root")
	h.must(err)
	if root.ID != asked.UserID {
		t.Errorf("the key is for %q, and the user is %q", asked.UserID, root.ID)
	}
	proofs := h.load(f).Proofs
	if len(proofs) != 2 || !proofs[1].UserVerified || assurance.Of(proofs, h.vault.Factors.Weights()) != assurance.PhishingResistant {
		t.Errorf("the proofs are %+v", proofs)
	}
}

// TestAnnouncementNamesLostKeysToo tells the browser of what is lost until it is
// removed, since browsers may delete for good what they aren't told of.
func TestAnnouncementNamesLostKeysToo(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.person("ada")
	told := func() templates.FIDOSignals {
		t.Helper()
		announcement, err := h.Announcement(h.ctx, ada.user(), assurance.FIDO)
		h.must(err)
		return announcement.(templates.FIDOSignals)
	}
	user := base64.RawURLEncoding.EncodeToString([]byte(ada.id))
	none := `{"allAcceptedCredentialIds":[],"rpId":"login.example.com","userId":"` + user + `"}`
	if got := told(); got.Accepted != none || got.Details != `{"displayName":"ada","name":"ada","rpId":"login.example.com","userId":"`+user+`"}` {
		t.Errorf("without a key: %+v", got)
	}
	k := newSecurityKey()
	f := ada.adding()
	h.must(h.enrolKey(f, k.created(h, f)))
	h.pass(time.Hour)
	one := strings.Replace(none, "[]", `["`+base64.RawURLEncoding.EncodeToString(k.ID)+`"]`, 1)
	if got := told(); got.Accepted != one {
		t.Errorf("with a key: %+v, want %s", got, one)
	}
	f = ada.shown(person.Client{})
	h.must(h.Lose(h.ctx, f, []string{h.credential(ada.id, assurance.FIDO).ID}))
	h.must(ada.answer(f, ada.code(), person.Client{}))
	if lost := h.credential(ada.id, assurance.FIDO); lost.State != store.CredentialSuspended {
		t.Fatalf("the key is %s", lost.State)
	}
	if got := told(); got.Accepted != one {
		t.Errorf("with the key lost: %+v, want %s", got, one)
	}
	if announcement, err := h.Announcement(h.ctx, ada.user(), assurance.TOTP); announcement != nil || err != nil {
		t.Errorf("of authenticators: %v, %v", announcement, err)
	}
}

// hold has one of somebody's credentials count for less for a while.
func (h *house) hold(id string) {
	h.t.Helper()
	c, err := h.store.CredentialByID(h.ctx, id)
	h.must(err)
	c.ProbationUntil = h.clock().Add(time.Hour)
	h.must(h.store.UpdateCredential(h.ctx, c))
}

// stepUp is a flow that raises somebody's sign-on to the highest.
func (p *member) stepUp(s store.SignOn) authflow.Flow {
	p.h.t.Helper()
	f, err := p.h.BeginStepUp(p.h.ctx, authflow.Raise{
		SignOn: s, User: p.user(), Ask: assurance.Requirement{Level: assurance.PhishingResistant},
	})
	p.h.must(err)
	return f
}

// TestHeldKeysArentAskedFor raises a sign-on by one of two keys, of which the
// other stands in for a lost one and doesn't count for that yet.
func TestHeldKeysArentAskedFor(t *testing.T) {
	h := newHouseWithKeys(t, false)
	ada := h.holder("ada")
	first := h.credential(ada.id, assurance.FIDO).ID
	f := ada.shown(person.Client{})
	h.must(h.showKey(f, ada.phone.shown(h, f), person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	f, err = h.BeginEnrolment(h.ctx, granted.SignOn, ada.user(), authflow.Adding{Kind: assurance.FIDO}, person.Client{})
	h.must(err)
	second := newSecurityKey()
	answer := second.created(h, f)
	answer.Name = "Second"
	h.must(h.enrolKey(f, answer))
	h.pass(time.Minute)

	h.hold(first)
	s := ada.in()
	f = ada.stepUp(s)
	ceremony, err := h.Challenge(h.ctx, f, assurance.FIDO, person.Client{})
	h.must(err)
	asked, err := virtualwebauthn.ParseAssertionOptions(options(ceremony))
	h.must(err)
	if want := base64.RawURLEncoding.EncodeToString(second.ID); len(asked.AllowCredentials) != 1 || asked.AllowCredentials[0] != want {
		t.Errorf("asked for is %v, want %s", asked.AllowCredentials, want)
	}
	if err := h.showKey(f, ada.phone.shown(h, f), person.Client{}); !isRefused(err, factors.Wrong) {
		t.Errorf("the one that is held: %v", err)
	}
	h.must(h.showKey(f, second.shown(h, f), person.Client{}))
	_, err = h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)

	// Where nothing else is there, the person is told, and can still change
	// their account by what they have.
	h.hold(ada.named("Second").ID)
	if step := h.stepOf(ada.stepUp(ada.in())); step != authflow.StepNoFactor {
		t.Errorf("with nothing but held ones, the step is %s", step)
	}
	if check, err := h.FreshCheck(h.ctx, ada.id); err != nil || check.Ask.Level != assurance.Multi {
		t.Errorf("changes ask for %s, %v", check.Ask.Level, err)
	}
	f = ada.shown(person.Client{})
	h.must(h.showKey(f, ada.phone.shown(h, f), person.Client{}))
	h.pass(time.Hour)
	if step := h.stepOf(ada.stepUp(ada.in())); step != authflow.StepChallenge {
		t.Errorf("when the time is over, the step is %s", step)
	}
}

// TestKeyAloneRaisesADevice has somebody whom a certificate let in show a key,
// and the password where that verified nobody, or may not do alone.
func TestKeyAloneRaisesADevice(t *testing.T) {
	for name, c := range map[string]struct {
		passwordless, verifies bool
		steps                  []authflow.StepKind
	}{
		"the key alone":          {true, true, []authflow.StepKind{authflow.StepChallenge}},
		"it verifies nobody":     {true, false, []authflow.StepKind{authflow.StepChallenge, authflow.StepPassword}},
		"the password is wanted": {false, true, []authflow.StepKind{authflow.StepPassword, authflow.StepChallenge}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouseWithKeys(t, false)
			ada := h.holder("ada")
			h.Rules.Passwordless = c.passwordless
			ada.phone.device.Options.UserNotVerified = !c.verifies
			laptop := ada.device("laptop", 24*time.Hour)
			device, err := h.SignInDevice(h.ctx, authflow.DeviceLogin{ID: laptop.ID, Expires: laptop.Expires}, "", person.Client{})
			h.must(err)
			f := ada.stepUp(device.SignOn)
			for _, want := range c.steps {
				switch step := h.stepOf(h.load(f)); step {
				case want:
				default:
					t.Fatalf("the step is %s, want %s", step, want)
				}
				if want == authflow.StepPassword {
					h.must(h.AnswerPassword(h.ctx, h.load(f), ada.password, person.Client{}))
				} else {
					h.must(h.showKey(f, ada.phone.shown(h, f), person.Client{}))
				}
			}
			granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
			h.must(err)
			if level := assurance.Of(granted.SignOn.Proofs, h.vault.Factors.Weights()); level != assurance.PhishingResistant {
				t.Errorf("it is %s: %+v", level, granted.SignOn.Proofs)
			}
		})
	}
}
