package authflow_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/otpmessage"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// wishes are the requests for new passwords that were stored.
type wishes struct{ asked []authflow.ResetRequest }

func (w *wishes) Queue(_ context.Context, _ store.Tx, r authflow.ResetRequest) error {
	w.asked = append(w.asked, r)
	return nil
}

func (w *wishes) Wake() {}

// newHouseWithResets is a house in which people reset their passwords, and some get codes
// by e-mail.
func newHouseWithResets(t *testing.T) *house {
	h := newHouse(t)
	h.Resets = new(wishes)
	h.vault.Factors = append(h.vault.Factors, otpmessage.NewEmail(h.clock, rand.Reader))
	return h
}

// mailed keeps a link for whomever a name means, and returns its token.
func (h *house) mailed(name string) (string, authflow.Resetting, error) {
	h.t.Helper()
	value, err := token.New(rand.Reader)
	h.must(err)
	found, err := h.KeepReset(h.ctx, authflow.ResetRequest{Name: name, Address: "192.0.2.9"}, value, h.clock().Add(authflow.ResetLifetime))
	return value, found, err
}

// resetting opens a new link of hers.
func (p *member) resetting() authflow.Flow {
	p.h.t.Helper()
	value, _, err := p.h.mailed(p.name)
	p.h.must(err)
	f, err := p.h.OpenReset(p.h.ctx, value, person.Client{})
	p.h.must(err)
	return f
}

// getsCodesByMail gives her an address for codes.
func (p *member) getsCodesByMail(address string) store.Credential {
	p.h.t.Helper()
	c, err := p.h.vault.New(p.id, assurance.Email, factors.Made{Secret: []byte(`{"address":"` + address + `"}`), Name: address})
	p.h.must(err)
	p.h.must(p.h.store.CreateCredential(p.h.ctx, c))
	return c
}

const otherPassword = "window kettle 90"

// M01, F07: a new password takes the link and a second factor, and ends all that there was.
func TestPasswordReset(t *testing.T) {
	h := newHouseWithResets(t)
	ada := h.person("ada")
	signOn := ada.in()
	ada.hasAppPassword("Script")
	f := ada.resetting()
	if err := h.ChooseNewPassword(h.ctx, f, otherPassword, person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Fatalf("F04 the password before a second factor: %v", err)
	}
	if err := ada.answer(f, ada.wrongCode(), person.Client{}); !isRefused(err, factors.Wrong) {
		t.Errorf("a wrong code: %v", err)
	}
	h.must(ada.answer(f, ada.code(), person.Client{}))
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Fatalf("F04 a sign-on before the new password: %v", err)
	}
	f = h.load(f)
	h.must(h.ChooseNewPassword(h.ctx, f, otherPassword, person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	if h.lives(signOn) || !h.lives(granted.SignOn) || !ada.isRevoked("Script") {
		t.Error("something that was there before works on")
	}
	if _, err := h.signIn("ada", ada.password, person.Client{}); !isRefused(err, factors.Wrong) {
		t.Errorf("the former password: %v", err)
	}
	ada.password = otherPassword
	h.pass(time.Minute)
	ada.in()
	for name, want := range map[audit.Name]int{audit.PasswordReset: 1, audit.ResetRequested: 1, audit.PasswordChanged: 0, audit.TokenRevoked: 1} {
		if got := len(h.events(name)); got != want {
			t.Errorf("%d events %s, want %d", got, name, want)
		}
	}
}

// M01: a link works once, for half an hour, until there is a newer one or the password
// changes otherwise.
func TestLinksOfResetsEnd(t *testing.T) {
	for what, end := range map[string]func(h *house, ada *member, link string){
		"used": func(h *house, ada *member, link string) {
			f, err := h.OpenReset(h.ctx, link, person.Client{})
			h.must(err)
			h.must(ada.answer(f, ada.code(), person.Client{}))
			h.must(h.ChooseNewPassword(h.ctx, h.load(f), otherPassword, person.Client{}))
		},
		"used for the same password": func(h *house, ada *member, link string) {
			f, err := h.OpenReset(h.ctx, link, person.Client{})
			h.must(err)
			h.must(ada.answer(f, ada.code(), person.Client{}))
			h.must(h.ChooseNewPassword(h.ctx, h.load(f), ada.password, person.Client{}))
		},
		"expired":  func(h *house, _ *member, _ string) { h.pass(authflow.ResetLifetime) },
		"replaced": func(_ *house, ada *member, _ string) { ada.resetting() },
		"the password was changed": func(h *house, ada *member, _ string) {
			h.must(h.ChooseNewPassword(h.ctx, ada.mustChoose(), otherPassword, person.Client{}))
		},
		"she was disabled":             func(h *house, _ *member, _ string) { h.must(h.desk().Disable(h.ctx, "ada")) },
		"her factors were reset":       func(h *house, _ *member, _ string) { _, err := h.desk().ResetFactors(h.ctx, "ada", false); h.must(err) },
		"it is somebody's made-up one": nil,
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouseWithResets(t)
			ada := h.person("ada")
			link, _, err := h.mailed("ada")
			h.must(err)
			early, err := h.OpenReset(h.ctx, link, person.Client{}) // as a scanner does
			h.must(err)
			if end == nil {
				link = "AAAA"
			} else {
				end(h, ada, link)
			}
			if _, err := h.OpenReset(h.ctx, link, person.Client{}); !errors.Is(err, authflow.ErrResetGone) {
				t.Errorf("opening it: %v", err)
			}
			if what == "expired" || end == nil {
				return // what began in time can be finished
			}
			h.pass(time.Minute)
			if f, err := h.Load(h.ctx, early.ID); err == nil {
				_ = ada.answer(f, ada.code(), person.Client{})
				f, _ = h.Load(h.ctx, early.ID)
				if err := h.ChooseNewPassword(h.ctx, f, "a thief's lantern 58", person.Client{}); err == nil {
					t.Error("a flow that began by it goes on")
				}
			}
		})
	}
}

// M01: the mailbox alone, in every way that a flow offers.
func TestM01ResetsByTheMailboxAlone(t *testing.T) {
	h := newHouseWithResets(t)
	ada := h.person("ada")
	ada.getsCodesByMail("ada@example.com")
	ada.remembered()
	f := ada.resetting()
	for _, prefer := range []assurance.Factor{"", assurance.Email, authflow.AccessCode, assurance.Certificate, assurance.Password} {
		step, err := h.Step(h.ctx, f, prefer)
		h.must(err)
		if step.Kind != authflow.StepChallenge || step.Factor == assurance.Email || len(step.Others) != 1 {
			t.Errorf("asked for %s, the step is %+v", prefer, step)
		}
	}
	if _, err := h.Challenge(h.ctx, f, assurance.Email, person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("a code by e-mail: %v", err)
	}
	if _, err := h.Losable(h.ctx, f); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("what can be lost: %v", err)
	}
	if err := h.Lose(h.ctx, f, []string{h.credential(ada.id, assurance.TOTP).ID}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("reporting a loss: %v", err)
	}
	code, err := h.NewAccessCode(h.ctx, ada.user())
	h.must(err)
	if err := h.AnswerAccessCode(h.ctx, f, code, person.Client{}); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("an access code: %v", err)
	}
	if h.RememberFor(f, assurance.TOTP) != 0 {
		t.Error("the browser can be remembered")
	}
	// Guesses are those of sign-ins, and count together with them.
	looked := h.guessUntilLocked(func() error { return ada.answer(ada.resetsAnew(f), ada.wrongCode(), from("192.0.2.7")) })
	if looked != 25 {
		t.Errorf("%d guesses were looked at", looked)
	}
}

// resetsAnew is a flow to guess in: a new one once the former is over.
func (p *member) resetsAnew(f authflow.Flow) authflow.Flow {
	if current, err := p.h.Load(p.h.ctx, f.ID); err == nil {
		return current
	}
	p.h.must(p.h.store.DeleteAttempts(p.h.ctx, "reset", ""))
	return p.resetting()
}

// TestWhoCanReset has nobody get a link who can't use one, and those who have only a
// mailbox be told so.
func TestWhoCanReset(t *testing.T) {
	h := newHouseWithResets(t)
	h.person("ada")
	bob := h.person("bob")
	for _, kind := range []assurance.Factor{assurance.TOTP, assurance.BackupCode} {
		c := h.credential(bob.id, kind)
		h.must(h.store.DeleteCredential(h.ctx, c.ID, c.Version))
	}
	bob.getsCodesByMail("bob@example.net")
	h.add("invited", store.UserInvited)
	h.add("passwordless", store.UserActive) // whom another source knows
	disabled := h.person("disabled").user()
	disabled.Status = store.UserDisabled
	h.must(h.store.UpdateUser(h.ctx, disabled))
	homeless := h.person("homeless")
	user := homeless.user()
	user.Email = ""
	h.must(h.store.UpdateUser(h.ctx, user))
	for _, name := range []string{"nobody", "nobody@example.com", "", "@", "a b,c\x00", "invited", "passwordless", "disabled", "homeless"} {
		if _, found, err := h.mailed(name); !errors.Is(err, authflow.ErrNoReset) {
			t.Errorf("%q: %+v, %v", name, found, err)
		}
	}
	for name, want := range map[string]authflow.Resetting{
		"ada": {Address: "ada@example.com", Possible: true}, "ADA@example.com": {Address: "ada@example.com", Possible: true},
		"bob": {Address: "bob@example.com"},
	} {
		link, found, err := h.mailed(name)
		if err != nil || found.Address != want.Address || found.Possible != want.Possible {
			t.Errorf("%q: %+v, %v", name, found, err)
		}
		if _, err := h.OpenReset(h.ctx, link, person.Client{}); want.Possible != (err == nil) {
			t.Errorf("%q: opening the link: %v", name, err)
		}
	}
	young := homeless.getsCodesByMail("homeless@example.net")
	if _, found, err := h.mailed("homeless"); err != nil || found.Address != "homeless@example.net" {
		t.Errorf("by the address for codes: %+v, %v", found, err)
	}
	young.Version, young.ProbationUntil = 1, h.clock().Add(time.Hour)
	h.must(h.store.UpdateCredential(h.ctx, young))
	if _, found, err := h.mailed("homeless"); !errors.Is(err, authflow.ErrNoReset) {
		t.Errorf("by an address on probation: %+v, %v", found, err)
	}
}

// TestF01ResetsAlikeInWork has every name cost the same, and be answered the same.
func TestF01ResetsAlikeInWork(t *testing.T) {
	h := newHouseWithResets(t)
	h.person("known")
	h.add("invited", store.UserInvited)
	for i, name := range []string{"known", "known@example.com", "nobody", "nobody@example.com", "invited", "@@", "a b,c\x00"} {
		before := h.store.commits.Load()
		err := h.RequestReset(h.ctx, name, from(fmt.Sprintf("192.0.%d.1", i)))
		if commits := h.store.commits.Load() - before; err != nil || commits != 1 {
			t.Errorf("%q: %v after %d commits", name, err, commits)
		}
	}
	invalid := new(person.Invalid)
	if err := h.RequestReset(h.ctx, " ", person.Client{}); !errors.As(err, &invalid) {
		t.Errorf("no name: %v", err)
	}
}

// M01: the limits on resets, exact to one.
func TestM01LimitsOnResets(t *testing.T) {
	h := newHouseWithResets(t)
	h.person("ada")
	for range 2 {
		for i := range 10 {
			h.must(h.RequestReset(h.ctx, fmt.Sprintf("nobody%d", i), from(fmt.Sprintf("192.0.2.%d", i))))
		}
		if err := h.RequestReset(h.ctx, "ada", from("192.0.2.77")); !isRefused(err, factors.TooOften) {
			t.Errorf("the eleventh of a network: %v", err)
		}
		h.pass(time.Hour)
	}
	for i := range 200 {
		h.must(h.RequestReset(h.ctx, "nobody", from(fmt.Sprintf("198.51.%d.1", i))))
	}
	if err := h.RequestReset(h.ctx, "ada", from("203.0.113.1")); !isRefused(err, factors.TooOften) {
		t.Errorf("the 201st of all: %v", err)
	}
}

// M01: the limits on resets of one user, exact to one. One network leaves room for others,
// and strangers use up nothing of the user's known browsers.
func TestM01LimitsOnResetsOfOneUser(t *testing.T) {
	h := newHouseWithResets(t)
	ada := h.person("ada")
	home := ada.remembered()
	granted := func(address, browser string) bool {
		link, err := token.New(rand.Reader)
		h.must(err)
		r := authflow.ResetRequest{Name: "ada", Address: address, Browser: browser}
		_, err = h.KeepReset(h.ctx, r, link, h.clock().Add(authflow.ResetLifetime))
		if err != nil && !errors.Is(err, authflow.ErrNoReset) {
			t.Fatal(err)
		}
		_, opened := h.OpenReset(h.ctx, link, person.Client{})
		if (err == nil) != (opened == nil) {
			t.Errorf("the link is kept: %v, and opened: %v", err, opened)
		}
		return err == nil
	}
	for range 2 { // days
		for i, want := range []bool{true, true, false} {
			if got := granted(fmt.Sprintf("192.0.2.%d", i), "a browser of somebody else's"); got != want {
				t.Errorf("request %d of one network: %v", i+1, got)
			}
		}
		for i, want := range []bool{true, false} {
			if got := granted(fmt.Sprintf("198.51.%d.1", i), ""); got != want {
				t.Errorf("request %d of strangers: %v", i+3, got)
			}
		}
		for i, want := range []bool{true, true, true, false} {
			if got := granted("192.0.2.1", token.Hash(home.Browser)); got != want {
				t.Errorf("request %d of her browser: %v", i+1, got)
			}
		}
		h.pass(24 * time.Hour)
	}
}

// TestAttemptsAtOneReset mails one link however often the mail is written, and none once
// it was used or replaced.
func TestAttemptsAtOneReset(t *testing.T) {
	h := newHouseWithResets(t)
	ada := h.person("ada")
	until := h.clock().Add(authflow.ResetLifetime)
	keep := func(value string) error {
		_, err := h.KeepReset(h.ctx, authflow.ResetRequest{Name: "ada"}, value, until)
		return err
	}
	for range 5 {
		h.must(keep("first"))
	}
	h.must(keep("second"))
	if err := keep("first"); !errors.Is(err, authflow.ErrNoReset) {
		t.Errorf("one that was replaced: %v", err)
	}
	f, err := h.OpenReset(h.ctx, "second", person.Client{})
	h.must(err)
	h.must(ada.answer(f, ada.code(), person.Client{}))
	h.must(h.ChooseNewPassword(h.ctx, h.load(f), otherPassword, person.Client{}))
	if err := keep("second"); !errors.Is(err, authflow.ErrNoReset) {
		t.Errorf("one that was used: %v", err)
	}
	if n := len(h.events(audit.ResetRequested)); n != 2 {
		t.Errorf("%d requests were noted", n)
	}
}
