package authflow_test

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/test/phone"
)

// rounds is how often each race is run. It takes a dozen milliseconds.
var rounds = flag.Int("rounds", 50, "how often each race between phones is run")

// race asks a phone again and again, and has two things happen at once.
func race(t *testing.T, round func(h *house, signIn asked, request phone.Request, first, second *phone.Phone)) {
	t.Helper()
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	first, second := ada.withPhone(origin), ada.withPhone(origin)
	h.runOnce()
	for range *rounds {
		h.pass(20 * time.Minute)
		signIn := ada.askPhone(cafe)
		round(h, signIn, h.only(first), first, second)
		if t.Failed() {
			return
		}
	}
}

// together runs two functions at once.
func together(one, other func()) {
	var both sync.WaitGroup
	both.Go(one)
	both.Go(other)
	both.Wait()
}

// U03: of two phones at once, one decides, and one browser is let in, once.
func TestPhonesAtOnce(t *testing.T) {
	round := 0
	race(t, func(h *house, signIn asked, request phone.Request, first, second *phone.Phone) {
		round++
		decision, number := "deny", ""
		if round%2 == 0 {
			decision, number = "allow", signIn.number
		}
		var allow, other phone.Answer
		together(
			func() { allow, _ = first.Decide(h.ctx, request, "allow", signIn.number) },
			func() { other, _ = second.Decide(h.ctx, request, decision, number) },
		)
		if (allow.Status == http.StatusOK) == (other.Status == http.StatusOK) {
			t.Fatalf("both or none decided: %+v and %+v", allow, other)
		}
		isAllowed := allow.Status == http.StatusOK || decision == "allow"
		var collected [2]error
		together(func() { collected[0] = signIn.collect() }, func() { collected[1] = signIn.collect() })
		if isIn := collected[0] == nil || collected[1] == nil; isIn != isAllowed {
			t.Fatalf("allowed %t, and the browser hears %v", isAllowed, collected)
		}
		if !isAllowed {
			return
		}
		flow := h.load(signIn.flow)
		_, err := h.Grant(h.ctx, flow, "", cafe)
		h.must(err)
		if _, err := h.Grant(h.ctx, flow, "", cafe); !errors.Is(err, authflow.ErrFlowGone) {
			t.Errorf("a second sign-on came of it: %v", err)
		}
	})
}

// U01: another factor that is used cancels the request. Of that and an approval, one is
// first, and both let the browser in by one proof.
func TestCancelRacesApprove(t *testing.T) {
	race(t, func(h *house, signIn asked, request phone.Request, first, _ *phone.Phone) {
		var allow phone.Answer
		var used error
		code := signIn.p.code()
		together(
			func() { allow, _ = first.Decide(h.ctx, request, "allow", signIn.number) },
			func() {
				used = h.Answer(h.ctx, h.load(signIn.flow), authflow.Response{Factor: assurance.TOTP, Answer: factors.Answer{"code": code}}, cafe)
			},
		)
		h.must(used)
		if allow.Status != http.StatusOK && (allow.Status != http.StatusConflict || allow.Says("state") != "cancelled") {
			t.Fatalf("the phone hears %+v", allow)
		}
		if err := signIn.collect(); err == nil || isRefused(err, factors.Denied) {
			t.Errorf("the browser collects an approval after it was let in by a code: %v", err)
		}
		signOn, err := signIn.grant()
		h.must(err)
		for _, proof := range signOn.Proofs {
			if proof.Factor == assurance.Push {
				t.Errorf("the sign-on has %+v", signOn.Proofs)
			}
		}
	})
}

// U02: nobody gets in by guessing numbers, and each request takes two.
func TestNumbersAreGuessed(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	for guess := range 100 {
		h.pass(20 * time.Minute)
		signIn := ada.askPhone(cafe)
		request := h.only(device)
		for try, want := range []string{"open", "denied"} {
			number := fmt.Sprintf("%06d", 2*guess+try)
			if number == signIn.number {
				continue // one guess in half a million is right
			}
			a, err := device.Decide(h.ctx, request, "allow", number)
			if h.said(http.StatusOK, a, err).Says("state") != want {
				t.Fatalf("guess %d: %v", try+1, a.Body)
			}
		}
		a, err := device.Decide(h.ctx, request, "allow", signIn.number)
		h.said(http.StatusConflict, a, err)
		if err := signIn.collect(); !isRefused(err, factors.Denied) {
			t.Fatalf("the browser hears %v", err)
		}
	}
}

// U01: an approval that is sent again and again approves nothing but its own request.
func TestApprovalsAreReplayed(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	signIn := ada.askPhone(cafe)
	approval, err := device.Message(h.ctx, "answer", h.only(device).Claims("allow", signIn.number))
	h.must(err)
	a, err := device.Post(h.ctx, "answer", approval)
	h.said(http.StatusOK, a, err)
	h.must(signIn.collect())
	_, err = signIn.grant()
	h.must(err)
	next := ada.askPhone(cafe)
	for range *rounds {
		a, err := device.Post(h.ctx, "answer", approval)
		h.said(http.StatusConflict, a, err)
	}
	if err := next.collect(); !errors.Is(err, authflow.ErrPending) {
		t.Errorf("replayed approvals let somebody in: %v", err)
	}
}
