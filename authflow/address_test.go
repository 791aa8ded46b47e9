package authflow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/undo"
)

// newHouseWithMail is a house whose people get codes by e-mail.
func newHouseWithMail(t *testing.T) (*house, *outbox) {
	h := newHouseWithResets(t)
	h.Engine.Rules.Hold = 24 * time.Hour
	h.guesses.Guessable = h.vault.Factors.Guessable()
	o := &outbox{h: h}
	h.Outbox = o
	return h, o
}

// mailedCode is the code in the newest mail.
func (o *outbox) mailedCode() string {
	o.h.t.Helper()
	message, open, err := o.h.Compose(o.h.ctx, assurance.Email, newestOf(o.refs()))
	o.h.must(err)
	if !open {
		o.h.t.Fatal("nothing is mailed")
	}
	return message.(factors.Letter).Content.(templates.CodeMail).Code
}

// takesAddress sets an address for codes, in place of any other, and returns its
// credential.
func (p *member) takesAddress(s store.SignOn, o *outbox, address string) store.Credential {
	p.h.t.Helper()
	f, err := p.h.BeginEnrolment(p.h.ctx, s, p.user(), authflow.Adding{Kind: assurance.Email, Return: "/account"}, person.Client{})
	p.h.must(err)
	_, err = p.h.Enrolment(p.h.ctx, f, assurance.Email, person.Client{})
	p.h.must(err)
	answer := func(given factors.Answer) error {
		return p.h.AnswerEnrolment(p.h.ctx, p.h.load(f), authflow.EnrolmentAnswer{Factor: assurance.Email, Answer: given}, person.Client{})
	}
	if err := answer(factors.Answer{"address": address}); !errors.Is(err, authflow.ErrPending) {
		p.h.t.Fatal(err)
	}
	p.h.must(answer(factors.Answer{"code": o.mailedCode()}))
	return p.address()
}

// address is the credential at which she gets codes.
func (p *member) address() (found store.Credential) {
	p.h.t.Helper()
	all, err := p.h.vault.ActiveOf(p.h.ctx, p.id)
	p.h.must(err)
	for _, c := range all {
		if c.Kind == assurance.Email {
			found = c
		}
	}
	return found
}

// undone follows a link of a notice.
func (p *member) undone(t undo.Target) {
	p.h.t.Helper()
	p.h.must(p.h.store.Atomically(p.h.ctx, func(tx store.Tx) error {
		return undo.Keep(p.h.ctx, tx, p.id, "link", t, p.h.clock())
	}))
	p.h.must(undo.New(undo.Settings{Store: p.h.store, People: p.h.people, Clock: p.h.clock}).Undo(p.h.ctx, "link", p.name, person.Client{}))
}

// M01: a replaced address can be brought back for a day, however often it is replaced.
func TestAReplacedAddressSurvivesADay(t *testing.T) {
	for what, c := range map[string]struct {
		after time.Duration
		want  bool
	}{"soon": {time.Hour, true}, "after a day": {24 * time.Hour, false}} {
		t.Run(what, func(t *testing.T) {
			h, o := newHouseWithMail(t)
			ada := h.person("ada")
			first := ada.takesAddress(ada.in(), o, "ada@example.com")
			h.pass(time.Hour)
			s := ada.in()
			second := ada.takesAddress(s, o, "thief@example.net")
			if until := h.clock().Add(24 * time.Hour); !second.ProbationUntil.Equal(until) {
				t.Errorf("the new address is on probation until %v, want %v", second.ProbationUntil, until)
			}
			third := ada.takesAddress(s, o, "thief@example.org")
			if held, err := h.Holdings(h.ctx, ada.id); err != nil || len(held) != 4 {
				t.Errorf("she sees %+v, %v", held, err)
			}
			h.pass(c.after)
			ada.undone(undo.Target{Credentials: []string{third.ID}, Restored: []string{first.ID}})
			if now := ada.address(); (now.ID == first.ID) != c.want || now.ID == second.ID || now.ID == third.ID {
				t.Errorf("she gets codes at %+v", now)
			}
			if got := len(h.events(audit.FactorRestored)); (got == 1) != c.want {
				t.Errorf("%d events of bringing it back", got)
			}
			h.pass(24 * time.Hour)
			ada.in()
			all, err := h.store.CredentialsOf(h.ctx, ada.id)
			h.must(err)
			for _, one := range all {
				if one.State == store.CredentialReplaced {
					t.Errorf("an address that was replaced is still kept: %+v", one)
				}
			}
		})
	}
}

// M01: the link that the former address got ends what replaced it, and what replaced that.
// What was on probation is so
// when it is brought back.
func TestM01AnAddressThatIsChangedTwice(t *testing.T) {
	h, o := newHouseWithMail(t)
	ada := h.person("ada")
	first := ada.takesAddress(ada.in(), o, "ada@example.com")
	h.pass(25 * time.Hour) // nothing is on probation
	s := ada.in()
	second := ada.takesAddress(s, o, "thief@example.net")
	third := ada.takesAddress(s, o, "thief@example.org")
	ada.undone(undo.Target{Credentials: []string{third.ID}, Restored: []string{second.ID}})
	if now := ada.address(); now.ID == second.ID && now.ProbationUntil.Before(second.ProbationUntil) {
		t.Errorf("an address on probation came back as %+v", now)
	}
	fourth := ada.takesAddress(s, o, "thief@example.com")
	ada.undone(undo.Target{Credentials: []string{second.ID}, Restored: []string{first.ID}})
	all, err := h.vault.ActiveOf(h.ctx, ada.id)
	h.must(err)
	for _, c := range all {
		if c.Kind == assurance.Email && c.ID != first.ID {
			t.Errorf("beside the first address, she gets codes at %+v, of which the last is %s", c, fourth.ID)
		}
	}
	if now := ada.address(); now.ID != first.ID {
		t.Errorf("she gets codes at %+v", now)
	}
}

// M01: the link of a notice ends what took the place of what it names, however late it is
// followed, and nothing of that can be brought back.
func TestM01AnAddressThatReplacesItsSuccessor(t *testing.T) {
	for what, wait := range map[string]time.Duration{"soon": time.Hour, "when the first is forgotten": 25 * time.Hour} {
		t.Run(what, func(t *testing.T) {
			h, o := newHouseWithMail(t)
			ada := h.person("ada")
			s := ada.in()
			first := ada.takesAddress(s, o, "thief@example.net")
			h.must(h.store.Atomically(h.ctx, func(tx store.Tx) error {
				return undo.Keep(h.ctx, tx, ada.id, "owner's", undo.Target{Credentials: []string{first.ID}, Kinds: []assurance.Factor{assurance.Email}}, h.clock())
			}))
			second := ada.takesAddress(s, o, "thief@example.org")
			h.pass(wait)
			links := undo.New(undo.Settings{Store: h.store, People: h.people, Clock: h.clock})
			h.must(links.Undo(h.ctx, "owner's", "ada", person.Client{}))
			if now := ada.address(); now.ID != "" {
				t.Errorf("she gets codes at %+v", now)
			}
			ada.undone(undo.Target{Credentials: []string{second.ID}, Restored: []string{first.ID}, Kinds: []assurance.Factor{assurance.Email}})
			if now := ada.address(); now.ID != "" {
				t.Errorf("the thief's own link brings %+v back", now)
			}
		})
	}
}

// TestLinksOfNoticesEndWhatIsFrozen has a link end a phone that was frozen meanwhile: it
// would be thawed as its owner signs in.
func TestLinksOfNoticesEndWhatIsFrozen(t *testing.T) {
	h, _ := newHouseWithMail(t)
	ada := h.person("ada")
	app := h.credential(ada.id, assurance.TOTP)
	app.State = store.CredentialFrozen
	h.must(h.store.UpdateCredential(h.ctx, app))
	ada.undone(undo.Target{Credentials: []string{app.ID}})
	if now := h.credential(ada.id, assurance.TOTP); now.State != store.CredentialSuspended {
		t.Errorf("it is %s", now.State)
	}
}

// M01: whoever has password and mailbox turns the app off by the link of a notice, and can
// still not change how she signs in.
func TestM01ALinkLowersNoRank(t *testing.T) {
	h, o := newHouseWithMail(t)
	ada := h.person("ada")
	ada.takesAddress(ada.in(), o, "ada@example.com")
	h.pass(25 * time.Hour) // nothing is on probation
	app := h.credential(ada.id, assurance.TOTP)
	ada.undone(undo.Target{Credentials: []string{app.ID}})
	thief := ada.byMail(o)
	if _, err := h.BeginEnrolment(h.ctx, thief, ada.user(), authflow.Adding{Kind: assurance.TOTP}, person.Client{}); !errors.Is(err, person.ErrStale) {
		t.Errorf("adding an app: %v", err)
	}
	if _, err := h.Remove(h.ctx, thief, ada.user(), app.ID, person.Client{}); !errors.Is(err, person.ErrStale) {
		t.Errorf("removing the app that was turned off: %v", err)
	}
	check, err := h.BeginFreshCheck(h.ctx, thief, ada.user(), "/account", person.Client{})
	h.must(err)
	if step, err := h.Step(h.ctx, check, assurance.Email); err != nil || step.Kind == authflow.StepChallenge && step.Factor == assurance.Email {
		t.Errorf("the check is %+v, %v", step, err)
	}
	h.pass(undo.Lifetime)
	if _, err := h.BeginEnrolment(h.ctx, ada.byMail(o), ada.user(), authflow.Adding{Kind: assurance.TOTP}, person.Client{}); err != nil {
		t.Errorf("adding an app three days later: %v", err)
	}
}

// byMail signs her in with a code by e-mail.
func (p *member) byMail(o *outbox) store.SignOn {
	p.h.t.Helper()
	f := p.shown(person.Client{})
	_, err := p.h.Challenge(p.h.ctx, f, assurance.Email, person.Client{})
	p.h.must(err)
	p.h.must(p.h.Answer(p.h.ctx, p.h.load(f), authflow.Response{Factor: assurance.Email, Answer: factors.Answer{"code": o.mailedCode()}}, person.Client{}))
	granted, err := p.h.Grant(p.h.ctx, p.h.load(f), "", person.Client{})
	p.h.must(err)
	return granted.SignOn
}
