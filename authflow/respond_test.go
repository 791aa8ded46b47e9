package authflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
)

// typing is somebody who types codes into the one field, in a browser that isn't known.
type typing struct {
	*member
	o *outbox
	f authflow.Flow
}

// typing signs her in as far as the field, with an address for codes.
func (p *member) typing(o *outbox) *typing {
	p.h.t.Helper()
	if p.address().ID == "" {
		p.getsCodesByMail("ada@example.org")
	}
	return &typing{p, o, p.shown(cafe)}
}

// on has the page of a kind take a code.
func (p *typing) on(kind assurance.Factor, code string) error {
	p.h.t.Helper()
	return p.h.Answer(p.h.ctx, p.h.load(p.f), authflow.Response{Factor: kind, Answer: factors.Answer{"code": code}}, cafe)
}

// beside are the other kinds whose codes the page of a kind takes.
func (p *typing) beside(kind assurance.Factor) (kinds []assurance.Factor) {
	p.h.t.Helper()
	page, err := p.h.Challenge(p.h.ctx, p.h.load(p.f), kind, cafe)
	p.h.must(err)
	for _, one := range page.Beside {
		kinds = append(kinds, one.Kind)
	}
	return kinds
}

// wrongGuesses are those that are counted in unknown browsers: with the app, by e-mail, and
// against the budget of both.
func (p *typing) wrongGuesses() [3]int {
	p.h.t.Helper()
	count := func(scope, key string) int {
		a, err := p.h.store.GetAttempts(p.h.ctx, scope, key)
		p.h.must(err)
		return a.Failures
	}
	return [3]int{
		count(guess.ScopeUser, p.id+"/totp/unknown"), count(guess.ScopeUser, p.id+"/email/unknown"), count(guess.ScopeBudget, p.id+"/"),
	}
}

func (p *typing) expectGuesses(what string, want [3]int) {
	p.h.t.Helper()
	if got := p.wrongGuesses(); got != want {
		p.h.t.Errorf("after %s, %v wrong guesses are counted, want %v", what, got, want)
	}
	for _, kind := range []string{"totp", "email"} {
		underWay, err := p.h.store.GetAttempts(p.h.ctx, guess.ScopeUser, p.id+"/"+kind+"/unknown/under-way")
		p.h.must(err)
		if underWay.Failures != 0 {
			p.h.t.Errorf("after %s, %d guesses of kind %s are still being looked at", what, underWay.Failures, kind)
		}
	}
}

// expectShown wants a factor, and no other, to have been shown.
func (p *typing) expectShown(kind assurance.Factor, err error) {
	p.h.t.Helper()
	p.h.must(err)
	if proofs := p.h.load(p.f).Proofs; !slices.ContainsFunc(proofs, func(proof assurance.Proof) bool { return proof.Factor == kind }) || len(proofs) != 2 {
		p.h.t.Errorf("what was shown is %+v", proofs)
	}
}

// TestOneFieldTellsKindsByLength types the app's code where the mailed one is asked for,
// and the other way round.
func TestOneFieldTellsKindsByLength(t *testing.T) {
	h, o := newHouseWithMail(t)
	ada := h.person("ada").typing(o)
	if kinds := ada.beside(assurance.TOTP); kinds != nil {
		t.Errorf("before anything was mailed, the app's page also takes %v", kinds)
	}
	if err := ada.on(assurance.TOTP, "12345678"); !isRefused(err, factors.Malformed) {
		t.Errorf("a mailed code before one was mailed: %v", err)
	}
	if kinds := ada.beside(assurance.Email); !slices.Equal(kinds, []assurance.Factor{assurance.TOTP}) {
		t.Errorf("the page for mailed codes also takes %v", kinds)
	}
	if kinds := ada.beside(assurance.TOTP); !slices.Equal(kinds, []assurance.Factor{assurance.Email}) {
		t.Errorf("once a code was mailed, the app's page also takes %v", kinds)
	}
	ada.expectGuesses("nothing", [3]int{})
	err := ada.on(assurance.Email, ada.wrongCode())
	if refused := new(factors.Refused); !errors.As(err, &refused) || refused.Reason != factors.Wrong || refused.Factor != assurance.TOTP {
		t.Errorf("a wrong code of the app: %+v", err)
	}
	ada.expectGuesses("a wrong code of the app", [3]int{1, 0, 1})
	if err := ada.on(assurance.TOTP, wrongDigits(o.mailedCode())); !isRefused(err, factors.Wrong) {
		t.Errorf("a wrong mailed code: %v", err)
	}
	ada.expectGuesses("a wrong mailed code", [3]int{1, 1, 2})
	for _, code := range []string{"", "1234567", "123456789", "ABCD-EFGH-JKLM", ada.codes[0]} {
		if err := ada.on(assurance.Email, code); !isRefused(err, factors.Malformed) {
			t.Errorf("%q: %v", code, err)
		}
	}
	ada.expectShown(assurance.TOTP, ada.on(assurance.Email, ada.code()))
	other := ada.member.typing(o)
	other.beside(assurance.Email)
	other.expectShown(assurance.Email, other.on(assurance.TOTP, o.mailedCode()))
}

// TestCodesOfOneLengthAreGuessesAtBoth has the app show eight digits, as messages do.
func TestCodesOfOneLengthAreGuessesAtBoth(t *testing.T) {
	h, o := newHouseWithMail(t)
	member := h.person("ada")
	member.hasEightDigits()
	ada := member.typing(o)
	if err := ada.on(assurance.TOTP, "00000000"); !isRefused(err, factors.Wrong) {
		t.Fatal(err)
	}
	ada.expectGuesses("a guess before a code was mailed", [3]int{1, 0, 1})
	ada.beside(assurance.Email)
	for i, kind := range []assurance.Factor{assurance.Email, assurance.TOTP} {
		if err := ada.on(kind, wrongDigits(o.mailedCode())); !isRefused(err, factors.Wrong) {
			t.Fatal(err)
		}
		ada.expectGuesses("a guess on the page of "+string(kind), [3]int{2 + i, 1 + i, 3 + 2*i})
	}
	ada.expectShown(assurance.TOTP, ada.on(assurance.Email, ada.eightDigits()))
	ada.expectGuesses("a right code of the app", [3]int{0, 2, 5})
	other := member.typing(o)
	other.beside(assurance.Email)
	other.expectShown(assurance.Email, other.on(assurance.TOTP, o.mailedCode()))
	other.expectGuesses("a right mailed code", [3]int{0, 0, 5})
}

// F02: a thief hangs up once a code was found to be wrong as the app's, and before it is
// looked at as a mailed one. It was a guess at the app's all the same.
func TestHangingUpBetweenTwoKindsTakesNoGuessBack(t *testing.T) {
	h, o := newHouseWithMail(t)
	member := h.person("ada")
	member.hasEightDigits()
	ada := member.typing(o)
	ada.beside(assurance.Email)
	wrong := wrongDigits(o.mailedCode())
	ctx, hangUp := context.WithCancel(h.ctx)
	h.store.fail = func(what string) error {
		if what != "flow" {
			return nil
		}
		hangUp()
		return ctx.Err()
	}
	err := h.Answer(ctx, h.load(ada.f), authflow.Response{Factor: assurance.TOTP, Answer: factors.Answer{"code": wrong}}, cafe)
	h.store.fail = nil
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	ada.expectGuesses("hanging up", [3]int{1, 0, 1})
}

// TestASlowedKindLeavesTheOther has a thief use up what the app takes from unknown
// browsers: codes that are mailed work on, on their own page.
func TestASlowedKindLeavesTheOther(t *testing.T) {
	h, o := newHouseWithMail(t)
	member := h.person("ada")
	member.hasEightDigits()
	ada := member.typing(o)
	for range 5 {
		if err := ada.on(assurance.TOTP, "00000000"); !isRefused(err, factors.Wrong) {
			t.Fatal(err)
		}
	}
	ada.beside(assurance.Email)
	if err := ada.on(assurance.TOTP, o.mailedCode()); asSlowed(err) == nil {
		t.Errorf("on the page of the kind that is slowed: %v", err)
	}
	if err := ada.on(assurance.Email, ada.eightDigits()); !isRefused(err, factors.Wrong) {
		t.Errorf("a right code of the kind that is slowed: %v", err)
	}
	ada.expectShown(assurance.Email, ada.on(assurance.Email, o.mailedCode()))
}

// hasEightDigits has her app show codes of eight digits.
func (p *member) hasEightDigits() {
	p.h.t.Helper()
	active, err := p.h.vault.ActiveOf(p.h.ctx, p.id)
	p.h.must(err)
	opened, rows, err := p.h.vault.Open(active, assurance.TOTP)
	p.h.must(err)
	row := rows[opened[0].ID]
	kept := make(map[string]any)
	p.h.must(json.Unmarshal(opened[0].Secret, &kept))
	kept["digits"] = 8
	secret, err := json.Marshal(kept)
	p.h.must(err)
	p.h.must(p.h.vault.SetSecret(&row, secret))
	p.h.must(p.h.store.UpdateCredential(p.h.ctx, row))
}

// eightDigits is what her app shows then.
func (p *member) eightDigits() string {
	p.h.t.Helper()
	code, err := totp.GenerateCodeCustom(p.secret, p.h.clock(), totp.ValidateOpts{Period: 30, Digits: otp.DigitsEight})
	p.h.must(err)
	return code
}

// wrongDigits is a code that differs from another one.
func wrongDigits(code string) string {
	return string('0'+(code[0]-'0'+1)%10) + code[1:]
}

// O01, M01: a thousand browsers have one code, at once, and one of them gets in.
func TestOneMailedCodeAThousandTimes(t *testing.T) {
	h, o := newHouseWithMail(t)
	ada := h.person("ada").typing(o)
	ada.beside(assurance.Email)
	code := o.mailedCode()
	before := h.signOns(ada.id)
	h.runOnce()
	var all sync.WaitGroup
	var answered, granted atomic.Int32
	for range 1000 {
		all.Go(func() {
			f, err := h.Load(h.ctx, ada.f.ID)
			if err != nil {
				return
			}
			if h.Answer(h.ctx, f, authflow.Response{Factor: assurance.Email, Answer: factors.Answer{"code": code}}, cafe) == nil {
				answered.Add(1)
			}
			if f, err = h.Load(h.ctx, ada.f.ID); err != nil {
				return
			}
			if _, err := h.Grant(h.ctx, f, "", person.Client{}); err == nil {
				granted.Add(1)
			}
		})
	}
	all.Wait()
	if answered.Load() != 1 || granted.Load() != 1 || h.signOns(ada.id) != before+1 {
		t.Errorf("%d answers were right, %d flows were granted, and there are %d more sign-ons", answered.Load(), granted.Load(), h.signOns(ada.id)-before)
	}
	ada.expectGuesses("a race", [3]int{})
}
