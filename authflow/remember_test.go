package authflow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

const month = 30 * 24 * time.Hour

var (
	multi  = assurance.Requirement{Level: assurance.Multi}
	single = assurance.Requirement{Level: assurance.Single}
)

// remembering is a house whose operator lets browsers be remembered.
func remembering(t *testing.T) *house {
	h := newHouse(t)
	h.Rules.Remember = month
	return h
}

// tick answers with a code and asks for the browser to be remembered.
func (p *member) tick(f authflow.Flow, c person.Client) error {
	return p.h.Answer(p.h.ctx, p.h.load(f), authflow.Response{
		Factor: assurance.TOTP, Answer: factors.Answer{"code": p.code()}, Remember: true,
	}, c)
}

// remembered is a browser that the person signs in with two factors in and has
// remembered.
func (p *member) remembered() person.Client {
	p.h.t.Helper()
	c := person.Client{Address: "192.0.2.1", UserAgent: "a browser of " + p.name, Browser: p.browserToken}
	f := p.shown(c)
	p.h.must(p.tick(f, c))
	granted, err := p.h.Grant(p.h.ctx, p.h.load(f), "", c)
	p.h.must(err)
	p.h.pass(time.Minute) // so that a new code is there
	c.Browser = granted.Browser
	return c
}

// stepOf is what a flow asks for.
func (h *house) stepOf(f authflow.Flow) authflow.StepKind {
	h.t.Helper()
	step, err := h.Step(h.ctx, f, "")
	h.must(err)
	return step.Kind
}

func TestRememberedBrowserPassesForMulti(t *testing.T) {
	h := remembering(t)
	ada := h.person("ada")
	until := h.clock().Add(month)
	c := ada.remembered()
	if c.Browser == "" || c.Browser == ada.browserToken {
		t.Fatalf("S01: the browser's token is worth more now, and is %q, was %q", c.Browser, ada.browserToken)
	}
	if events := h.events(audit.BrowserRemembered); len(events) != 1 || events[0].Fields["factor"] != "totp" || events[0].UserID != ada.id {
		t.Errorf("events: %+v", events)
	}
	for _, at := range []time.Time{h.clock(), until.Add(-time.Second)} {
		h.pass(at.Sub(h.clock()))
		granted, err := h.Grant(h.ctx, ada.shown(c), "", c)
		h.must(err)
		proofs := granted.SignOn.Proofs
		if len(proofs) != 2 || proofs[1] != (assurance.Proof{Factor: assurance.TOTP, At: h.clock(), Remembered: true}) {
			t.Errorf("the proofs are %+v", proofs)
		}
		if granted.Browser != c.Browser {
			t.Error("the browser was given another token")
		}
	}
	newest := h.events(audit.SignInSucceeded)[0].Fields
	if newest["browser"] != "remembered" || newest["factors"] != "password" {
		t.Errorf("the event says %v", newest)
	}
	b, err := h.store.BrowserByToken(h.ctx, ada.id, hashOf(c.Browser))
	h.must(err)
	if !b.Remembered.Equal(until) || b.UserAgent != c.UserAgent {
		t.Errorf("using it changed the browser: %+v, was remembered until %v", b, until)
	}
	h.pass(time.Second)
	if step := h.stepOf(ada.shown(c)); step != authflow.StepChallenge {
		t.Errorf("after its time the step is %s", step)
	}
}

// TestRememberedBrowsersAreHeldToTheirTerms has the right password shown where
// the browser may not stand in, or may not any more.
func TestRememberedBrowsersAreHeldToTheirTerms(t *testing.T) {
	entry := func(h *house, p *member, c person.Client) store.Browser {
		b, err := h.store.BrowserByToken(h.ctx, p.id, hashOf(c.Browser))
		h.must(err)
		return b
	}
	for _, test := range []struct {
		what   string
		change func(h *house, p *member, c person.Client)
		in     func(c person.Client, p, other *member) person.Client
		login  authflow.Login
		want   authflow.StepKind
	}{
		{what: "nothing", want: authflow.StepGrant},
		{what: "forgotten by its user", change: func(h *house, p *member, c person.Client) {
			h.must(h.Forget(h.ctx, store.User{ID: p.id, Name: p.name}, entry(h, p, c).ID, c))
		}},
		{what: "forgotten with all others", change: func(h *house, p *member, _ person.Client) {
			h.must(h.store.ForgetBrowsersOf(h.ctx, p.id))
		}},
		{what: "not known any more", change: func(h *house, p *member, _ person.Client) {
			h.must(h.store.DeleteBrowsersOf(h.ctx, p.id))
		}},
		{what: "over its time", change: func(h *house, p *member, c person.Client) {
			h.must(h.store.RememberBrowser(h.ctx, p.id, entry(h, p, c).ID, h.clock(), assurance.TOTP))
		}},
		{what: "remembered for a password", change: func(h *house, p *member, c person.Client) {
			h.must(h.store.RememberBrowser(h.ctx, p.id, entry(h, p, c).ID, h.clock().Add(month), assurance.Password))
		}},
		{what: "the factor is no longer configured", change: func(h *house, _ *member, _ person.Client) { h.vault.Factors = h.vault.Factors[1:] }},
		{what: "the factor is deleted", change: func(h *house, p *member, _ person.Client) {
			totp := h.credential(p.id, assurance.TOTP)
			h.must(h.store.DeleteCredential(h.ctx, totp.ID, totp.Version))
		}},
		{what: "the factor is suspended", change: func(h *house, p *member, _ person.Client) {
			totp := h.credential(p.id, assurance.TOTP)
			totp.State = store.CredentialSuspended
			h.must(h.store.UpdateCredential(h.ctx, totp))
		}},
		{what: "switched off", change: func(h *house, _ *member, _ person.Client) { h.Rules.Remember = 0 }},
		{what: "without its cookie", in: func(c person.Client, _, _ *member) person.Client { c.Browser = ""; return c }},
		{what: "with the token that it had before", in: func(c person.Client, p, _ *member) person.Client { c.Browser = p.browserToken; return c }},
		{what: "with the token of somebody else's", in: func(c person.Client, _, other *member) person.Client {
			c.Browser = other.browserToken
			return c
		}},
		{what: "called shared", login: authflow.Login{Shared: true}},
		{what: "asked for a fresh factor", login: authflow.Login{Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: month}}},
		{what: "asked for more", login: authflow.Login{Ask: assurance.Requirement{Level: assurance.PhishingResistant}}, want: authflow.StepGrant},
	} {
		if test.want == "" {
			test.want = authflow.StepChallenge
		}
		if test.login.Ask == (assurance.Requirement{}) {
			test.login.Ask = multi
		}
		t.Run(test.what, func(t *testing.T) {
			h := remembering(t)
			ada, eve := h.person("ada"), h.person("eve")
			eve.browserToken = eve.remembered().Browser
			c := ada.remembered()
			if test.in != nil {
				c = test.in(c, ada, eve)
			}
			test.login.Name, test.login.Password, test.login.Client = ada.name, ada.password, c
			f, err := h.SignIn(h.ctx, test.login)
			h.must(err)
			if test.change != nil {
				if step := h.stepOf(f); step != authflow.StepGrant {
					t.Fatalf("before that the step is %s", step)
				}
				test.change(h, ada, c)
			}
			if step := h.stepOf(f); step != test.want {
				t.Errorf("the step is %s, want %s", step, test.want)
			}
			had := h.signOns(ada.id)
			granted, err := h.Grant(h.ctx, h.load(f), "", c)
			if test.want == authflow.StepGrant {
				h.must(err)
				if level := assurance.Of(granted.SignOn.Proofs, h.vault.Factors.Weights()); level != assurance.Multi {
					t.Errorf("it counts for %s", level)
				}
			} else if !errors.Is(err, authflow.ErrWrongStep) || h.signOns(ada.id) != had {
				t.Errorf("granting: %v", err)
			}
		})
	}
}

// TestRememberingTakesASecondFactor tries to have a browser remembered without
// what it takes.
func TestRememberingTakesASecondFactor(t *testing.T) {
	signIn := func(login authflow.Login) func(h *house, p *member) authflow.Flow {
		return func(h *house, p *member) authflow.Flow {
			login.Name, login.Password = p.name, p.password
			f, err := h.SignIn(h.ctx, login)
			h.must(err)
			return f
		}
	}
	ticked := func(h *house, p *member, f authflow.Flow) { h.must(p.tick(f, person.Client{})) }
	for _, test := range []struct {
		what    string
		begin   func(h *house, p *member) authflow.Flow
		answer  func(h *house, p *member, f authflow.Flow)
		offered bool
		want    int
	}{
		{"with a code", signIn(authflow.Login{Ask: multi}), ticked, true, 1},
		{"with a password alone", signIn(authflow.Login{Ask: single}), func(*house, *member, authflow.Flow) {}, true, 0},
		{"with a password, and a code that isn't asked for", signIn(authflow.Login{Ask: single}), func(h *house, p *member, f authflow.Flow) {
			if err := p.tick(f, person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
				h.t.Error(err)
			}
		}, true, 0},
		{"with a wrong code only", signIn(authflow.Login{Ask: multi}), func(h *house, p *member, f authflow.Flow) {
			wrong := authflow.Response{Factor: assurance.TOTP, Answer: factors.Answer{"code": p.wrongCode()}, Remember: true}
			if err := h.Answer(h.ctx, f, wrong, person.Client{}); !isRefused(err, factors.Wrong) {
				h.t.Error(err)
			}
			h.must(p.answer(f, p.code(), person.Client{}))
		}, true, 0},
		{"with a backup code", signIn(authflow.Login{Ask: multi}), func(h *house, p *member, f authflow.Flow) {
			h.must(h.Answer(h.ctx, f, authflow.Response{
				Factor: assurance.BackupCode, Answer: factors.Answer{"code": p.codes[0]}, Remember: true,
			}, person.Client{}))
		}, true, 0},
		{"after a loss", func(h *house, p *member) authflow.Flow {
			p.addTOTP(p.in(), "Lost")
			f := signIn(authflow.Login{Ask: multi})(h, p)
			h.must(h.Lose(h.ctx, f, []string{p.named("Lost").ID}))
			return h.load(f)
		}, func(h *house, p *member, f authflow.Flow) {
			ticked(h, p, f)
			p.replace(f)
		}, false, 0},
		{"at a shared computer", signIn(authflow.Login{Ask: multi, Shared: true}), ticked, false, 0},
		{"where nobody was asked", func(h *house, p *member) authflow.Flow {
			h.Rules.Remember = 0
			return signIn(authflow.Login{Ask: multi})(h, p)
		}, ticked, false, 0},
		{"where it was switched off meanwhile", signIn(authflow.Login{Ask: multi}), func(h *house, p *member, f authflow.Flow) {
			ticked(h, p, f)
			h.Rules.Remember = 0
		}, true, 0},
		{"in a step-up", func(h *house, p *member) authflow.Flow {
			granted, err := h.Grant(h.ctx, signIn(authflow.Login{Ask: single})(h, p), "", person.Client{})
			h.must(err)
			f, err := h.BeginStepUp(h.ctx, authflow.Raise{SignOn: granted.SignOn, User: store.User{ID: p.id, Name: p.name}, Ask: multi})
			h.must(err)
			return f
		}, ticked, false, 0},
	} {
		t.Run(test.what, func(t *testing.T) {
			h := remembering(t)
			ada := h.person("ada")
			f := test.begin(h, ada)
			if h.RememberFor(f, assurance.BackupCode) > 0 {
				t.Error("offered for a backup code")
			}
			if offered := h.RememberFor(f, assurance.TOTP) > 0; offered != test.offered {
				t.Errorf("offered: %t", offered)
			}
			test.answer(h, ada, f)
			_, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
			h.must(err)
			h.Rules.Remember = month
			got, err := h.Remembered(h.ctx, ada.id)
			h.must(err)
			if len(got) != test.want || len(h.events(audit.BrowserRemembered)) != test.want {
				t.Errorf("remembered: %+v", got)
			}
		})
	}
}

// TestRememberedIsNotShown has the browser stand in, which earns nothing that
// showing the factor does.
func TestRememberedIsNotShown(t *testing.T) {
	t.Run("failures stay counted", func(t *testing.T) {
		h := remembering(t)
		ada := h.person("ada")
		c := ada.remembered()
		f := ada.shown(from("198.51.100.1"))
		for range 3 {
			if err := ada.answer(f, ada.wrongCode(), from("198.51.100.1")); !isRefused(err, factors.Wrong) {
				t.Fatal(err)
			}
		}
		_, err := h.Grant(h.ctx, ada.shown(c), "", c)
		h.must(err)
		counted, err := h.store.GetAttempts(h.ctx, guess.ScopeUser, ada.id+"/totp/unknown")
		if err != nil || counted.Failures != 3 {
			t.Errorf("failures: %+v, %v", counted, err)
		}
	})
	t.Run("nothing is enrolled", func(t *testing.T) {
		h := remembering(t)
		ada := h.person("ada")
		c := ada.remembered()
		codes := h.credential(ada.id, assurance.BackupCode)
		h.must(h.store.DeleteCredential(h.ctx, codes.ID, codes.Version))
		f := ada.shown(c)
		if _, err := h.Enrolment(h.ctx, f, assurance.BackupCode, person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
			t.Errorf("enrolling: %v", err)
		}
		_, err := h.Grant(h.ctx, f, "", c)
		h.must(err)
	})
	t.Run("no browser becomes known", func(t *testing.T) {
		h := remembering(t)
		ada := h.person("ada")
		c := ada.remembered()
		before, err := h.store.BrowsersOf(h.ctx, ada.id)
		h.must(err)
		lost := c
		lost.Browser = "" // between the password and the end
		granted, err := h.Grant(h.ctx, ada.shown(c), "", lost)
		h.must(err)
		f, err := h.BeginStepUp(h.ctx, authflow.Raise{SignOn: granted.SignOn, User: store.User{ID: ada.id, Name: "ada"}, Ask: single})
		h.must(err)
		raised, err := h.Grant(h.ctx, f, granted.SignOn.ID, lost)
		h.must(err)
		after, err := h.store.BrowsersOf(h.ctx, ada.id)
		h.must(err)
		if granted.Browser != "" || raised.Browser != "" || len(after) != len(before) {
			t.Errorf("%d browsers, were %d", len(after), len(before))
		}
	})
	t.Run("a factor that isn't configured leaves no proof behind", func(t *testing.T) {
		h := remembering(t)
		ada := h.person("ada")
		c := ada.remembered()
		h.vault.Factors = h.vault.Factors[1:]
		f, err := h.SignIn(h.ctx, authflow.Login{Name: "ada", Password: ada.password, Client: c, Ask: single})
		h.must(err)
		granted, err := h.Grant(h.ctx, f, "", c)
		h.must(err)
		if proofs := granted.SignOn.Proofs; len(proofs) != 1 || proofs[0].Factor != assurance.Password {
			t.Errorf("the proofs are %+v", proofs)
		}
	})
	t.Run("who shows another factor has shown it", func(t *testing.T) {
		h := remembering(t)
		ada := h.person("ada")
		c := ada.remembered()
		f, err := h.SignIn(h.ctx, authflow.Login{Name: "ada", Password: ada.password, Client: c, Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: month}})
		h.must(err)
		h.must(h.Answer(h.ctx, f, authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": ada.codes[0]}}, c))
		granted, err := h.Grant(h.ctx, h.load(f), "", c)
		h.must(err)
		if proofs := granted.SignOn.Proofs; len(proofs) != 2 || proofs[1].Factor != assurance.BackupCode {
			t.Errorf("the proofs are %+v", proofs)
		}
		if said := h.events(audit.SignInSucceeded)[0].Fields["browser"]; said != "known" {
			t.Errorf("the event says that the browser is %s", said)
		}
	})
	t.Run("a step-up asks for the factor, and the proof stays shown", func(t *testing.T) {
		h := remembering(t)
		ada := h.person("ada")
		c := ada.remembered()
		granted, err := h.Grant(h.ctx, ada.shown(c), "", c)
		h.must(err)
		fresh := assurance.Requirement{Level: assurance.Multi, MaxAge: time.Minute}
		user := store.User{ID: ada.id, Name: "ada"}
		begin := func() authflow.Flow {
			f, err := h.BeginStepUp(h.ctx, authflow.Raise{SignOn: granted.SignOn, User: user, Ask: fresh})
			h.must(err)
			if step := h.stepOf(f); step != authflow.StepChallenge {
				t.Errorf("the step is %s", step)
			}
			return f
		}
		// Two tabs at once: what the one shows isn't undone by the other.
		first, second := begin(), begin()
		h.must(h.Answer(h.ctx, second, authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": ada.codes[0]}}, c))
		h.must(ada.answer(first, ada.code(), c))
		for _, f := range []authflow.Flow{first, second} {
			raised, err := h.Grant(h.ctx, h.load(f), granted.SignOn.ID, c)
			h.must(err)
			if raised.SignOn.ID != granted.SignOn.ID {
				t.Error("a step-up made another sign-on")
			}
		}
		kept, err := h.store.SignOnByID(h.ctx, granted.SignOn.ID)
		h.must(err)
		if shown := assurance.Shown(kept.Proofs); len(shown) != 3 || len(kept.Proofs) != 3 {
			t.Errorf("the proofs are %+v", kept.Proofs)
		}
	})
}

func TestForget(t *testing.T) {
	h := remembering(t)
	ada, eve := h.person("ada"), h.person("eve")
	c := ada.remembered()
	eve.remembered()
	listed := func(p *member) []store.Browser {
		t.Helper()
		all, err := h.Remembered(h.ctx, p.id)
		h.must(err)
		return all
	}
	mine, hers := listed(ada), listed(eve)
	if len(mine) != 1 || len(hers) != 1 || mine[0].TokenHash != hashOf(c.Browser) {
		t.Fatalf("remembered: %+v and %+v", mine, hers)
	}
	user := store.User{ID: ada.id, Name: "ada"}
	for what, id := range map[string]string{"of somebody else": hers[0].ID, "made up": "x", "by its token": mine[0].TokenHash, "none": ""} {
		if err := h.Forget(h.ctx, user, id, c); !errors.Is(err, selfservice.ErrNoBrowser) {
			t.Errorf("W03: forgetting a browser %s: %v", what, err)
		}
	}
	if len(listed(ada)) != 1 || len(listed(eve)) != 1 {
		t.Error("W03: a browser was forgotten")
	}
	for range 2 { // a button pressed twice
		h.must(h.Forget(h.ctx, user, mine[0].ID, c))
	}
	if len(listed(ada)) != 0 || len(listed(eve)) != 1 {
		t.Error("the wrong browsers are remembered")
	}
	if events := h.events(audit.BrowserForgotten); len(events) != 1 || events[0].UserID != ada.id || events[0].Fields["factor"] != "totp" {
		t.Errorf("events: %+v", events)
	}
	ada.remembered()
	h.pass(month)
	if got := listed(ada); len(got) != 0 {
		t.Errorf("over its time: %+v", got)
	}
}

// TestRememberingAgain ticks in a browser that was remembered: the new entry
// comes in place of the old one.
func TestRememberingAgain(t *testing.T) {
	h := remembering(t)
	h.store.inVain = true
	ada := h.person("ada")
	ada.browserToken = ada.remembered().Browser
	fresh := authflow.Login{Name: "ada", Password: ada.password, Client: person.Client{Browser: ada.browserToken},
		Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: time.Minute}}
	f, err := h.SignIn(h.ctx, fresh)
	h.must(err)
	h.must(ada.tick(f, fresh.Client))
	granted, err := h.Grant(h.ctx, h.load(f), "", fresh.Client)
	h.must(err)
	got, err := h.Remembered(h.ctx, ada.id)
	h.must(err)
	if len(got) != 1 || got[0].TokenHash != hashOf(granted.Browser) || granted.Browser == ada.browserToken {
		t.Errorf("remembered: %+v", got)
	}
	if proofs := granted.SignOn.Proofs; len(assurance.Shown(proofs)) != len(proofs) {
		t.Errorf("the proofs are %+v", proofs)
	}
	if n := len(h.events(audit.BrowserRemembered)); n != 2 {
		t.Errorf("%d events of two times", n)
	}
}

func TestSharedComputer(t *testing.T) {
	for _, test := range []struct{ idle, want time.Duration }{
		{time.Hour, 10 * time.Minute},
		{5 * time.Minute, 5 * time.Minute},
	} {
		h := remembering(t)
		h.people.Idle = test.idle
		ada := h.person("ada")
		c := person.Client{Browser: ada.browserToken}
		before, err := h.store.BrowsersOf(h.ctx, ada.id)
		h.must(err)
		sign := func(c person.Client) authflow.Granted {
			t.Helper()
			f, err := h.SignIn(h.ctx, authflow.Login{Name: "ada", Password: ada.password, Client: c, Ask: multi, Shared: true})
			h.must(err)
			if h.RememberFor(f, assurance.TOTP) != 0 {
				t.Error("remembering is offered")
			}
			h.must(ada.answer(f, ada.code(), c))
			granted, err := h.Grant(h.ctx, h.load(f), "", c)
			h.must(err)
			h.pass(time.Minute)
			return granted
		}
		// In a browser that nobody knows, and in one that is known by chance.
		for _, c := range []person.Client{{}, c} {
			granted := sign(c)
			if s := granted.SignOn; !s.Shared || s.Idle != test.want || granted.Browser != "" ||
				session.WentIdle(s, h.clock()) || !session.WentIdle(s, s.LastSeen.Add(test.want+session.Granularity+time.Second)) {
				t.Errorf("granted %+v, want an idle limit of %v", granted, test.want)
			}
			f, err := h.BeginStepUp(h.ctx, authflow.Raise{SignOn: granted.SignOn, User: store.User{ID: ada.id, Name: "ada"}, Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: time.Second}})
			h.must(err)
			h.must(ada.answer(f, ada.code(), c))
			raised, err := h.Grant(h.ctx, h.load(f), granted.SignOn.ID, c)
			h.must(err)
			if !f.Shared || !raised.SignOn.Shared || raised.Browser != "" {
				t.Errorf("a step-up granted %+v", raised)
			}
			h.pass(time.Minute)
		}
		after, err := h.store.BrowsersOf(h.ctx, ada.id)
		h.must(err)
		if len(after) != 1 || after[0] != before[0] {
			t.Errorf("the browsers are %+v, were %+v", after, before)
		}
	}
}
