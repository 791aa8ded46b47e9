package portal_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// wiki is a gate whose one request is "wiki".
type wiki struct{}

func (wiki) Read(value string) (ticket.Request, bool, error) {
	if value != "wiki" {
		return ticket.Request{}, false, ticket.ErrInvalid
	}
	return ticket.Request{
		Origin: "https://wiki.example.com", Return: "https://wiki.example.com/page", Ask: assurance.Requirement{Level: assurance.Multi},
	}, true, nil
}

func (wiki) Issue(context.Context, session.SignOn, ticket.Request) (string, error) {
	return "t1", nil
}

const (
	onTheWay = "/account/passkey-offer?request=wiki"
	atWiki   = "https://wiki.example.com/.mfa/callback?request=wiki&ticket=t1"
)

// offered is a browser in which Ada has just signed in by a code on the way to
// the wiki, and is offered a passkey.
func offered(t *testing.T) *hall {
	t.Helper()
	h := newHall(t)
	h.Requests, h.Tickets, h.Known = wiki{}, wiki{}, func(string) bool { return true }
	h.signOns.proofs = []assurance.Proof{{Factor: assurance.Password, At: noon}, {Factor: assurance.TOTP, At: noon}}
	h.accounts.held = []credentials.Own{{ID: "p1", Kind: assurance.Password}, {ID: "c1", Kind: assurance.TOTP, Daily: true}}
	h.accounts.enrollable = []assurance.Factor{assurance.TOTP, assurance.FIDO}
	h.flows.step, h.flows.offer = authflow.Step{Kind: authflow.StepGrant}, true
	h.signIn("ada")
	h.flows.flow.Request = "wiki"
	return h
}

func TestPasskeyIsOfferedOnTheWay(t *testing.T) {
	h := offered(t)
	if r := h.send(http.MethodGet, "/flow?id=flow+of+ada", nil); r.Header.Get("Location") != onTheWay {
		t.Fatalf("after the sign-in: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	r := h.send(http.MethodGet, onTheWay, nil)
	page := h.page(r)
	if !strings.Contains(page, "Sign in faster next time") || !strings.Contains(page, "wiki.example.com</bdi></strong>") {
		t.Errorf("the page is %s", page)
	}
	if policy := r.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' https://wiki.example.com") {
		t.Errorf("the form can't lead to the app: %q", policy)
	}
	r = h.send(http.MethodPost, "/account/passkey-offer", url.Values{"request": {"wiki"}, "answer": {"not_now"}})
	if r.Header.Get("Location") != atWiki || !slices.Equal(h.accounts.done, []string{"decline"}) {
		t.Errorf("after “not now”: %d to %q, done %v", r.StatusCode, r.Header.Get("Location"), h.accounts.done)
	}
	r = h.send(http.MethodPost, "/account/passkey-offer", url.Values{"to": {"/account/totp"}, "answer": {"not_now"}})
	if r.Header.Get("Location") != "/account/totp" {
		t.Errorf("on the way to the account: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	h.accounts.held = append(h.accounts.held, credentials.Own{ID: "k0", Kind: assurance.FIDO, Daily: true, Elsewhere: true})
	if r := h.send(http.MethodGet, onTheWay, nil); r.StatusCode != http.StatusOK {
		t.Errorf("with a key that works no more: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	h.accounts.held = append(h.accounts.held, credentials.Own{ID: "k1", Kind: assurance.FIDO, Daily: true})
	if r := h.send(http.MethodGet, onTheWay, nil); r.Header.Get("Location") != atWiki {
		t.Errorf("back with the back button: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
}

func TestOfferedPasskeyLeadsToTheApp(t *testing.T) {
	h := offered(t)
	h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)
	accept := url.Values{"request": {"wiki"}, "answer": {"set_up"}}
	r := h.send(http.MethodPost, "/account/passkey-offer", accept)
	if r.Header.Get("Location") != "/flow?id=add+fido" || h.accounts.addTo != "wiki" {
		t.Fatalf("%d to %q, on the way to %q", r.StatusCode, r.Header.Get("Location"), h.accounts.addTo)
	}
	h.flows.flow = authflow.Flow{ID: "add fido", Kind: authflow.Enrol, Request: "wiki", Offered: true}
	h.flows.step = authflow.Step{Kind: authflow.StepEnrol, Factor: assurance.TOTP} // what the fake has a page for
	if page := h.page(h.send(http.MethodGet, "/flow?id=add+fido", nil)); !strings.Contains(page, `href="`+onTheWay+`"`) {
		t.Error("the set-up doesn't lead back to the offer")
	}
	h.flows.step = authflow.Step{Kind: authflow.StepDone}
	if r := h.send(http.MethodGet, "/flow?id=add+fido", nil); r.Header.Get("Location") != atWiki {
		t.Errorf("after the set-up: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}

	// Who thought about it for long shows first that it's them.
	h.accounts.refusal = person.ErrStale
	if r := h.send(http.MethodPost, "/account/passkey-offer", accept); r.Header.Get("Location") != "/flow?id=check" || h.accounts.freshTo != onTheWay {
		t.Errorf("after long: %d to %q, and back to %q", r.StatusCode, r.Header.Get("Location"), h.accounts.freshTo)
	}
}

func TestOfferIsForWhoIsIn(t *testing.T) {
	h := offered(t)
	h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)
	for _, path := range []string{"/account/passkey-offer?request=damaged", "/account/passkey-offer?request=https://evil.example"} {
		if r := h.send(http.MethodGet, path, nil); r.StatusCode != http.StatusBadRequest {
			t.Errorf("R01: %s: %d to %q", path, r.StatusCode, r.Header.Get("Location"))
		}
	}
	r := h.send(http.MethodPost, "/account/passkey-offer", url.Values{"to": {"//evil.example"}, "answer": {"not_now"}})
	if r.Header.Get("Location") != "/" {
		t.Errorf("R01: it leads to %q", r.Header.Get("Location"))
	}
	h.accounts.done = nil
	h.signOns.proofs = h.signOns.proofs[:1]
	for what, answer := range map[string]url.Values{"set_up": {"answer": {"set_up"}}, "not_now": {"answer": {"not_now"}}} {
		if r := h.send(http.MethodPost, "/account/passkey-offer", answer); r.Header.Get("Location") != "/flow?id=check" || len(h.accounts.done) > 0 {
			t.Errorf("S06: %s after the password alone: %d to %q, done %v", what, r.StatusCode, r.Header.Get("Location"), h.accounts.done)
		}
	}
	clear(h.cookies)
	if r := h.send(http.MethodGet, onTheWay, nil); r.Header.Get("Location") != "/sign-in?to="+url.QueryEscape(onTheWay) {
		t.Errorf("for nobody: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
}

// TestBrowserSaysWhatItCan hands on what the browser says of itself, and keeps
// it from the factor.
func TestBrowserSaysWhatItCan(t *testing.T) {
	for said, want := range map[string]bool{"yes": true, "": false, "no": false} {
		h := newHall(t)
		h.signIn("ada")
		h.send(http.MethodPost, "/flow/challenge", url.Values{"flow": {"flow of ada"}, "factor": {"totp"}, "code": {"1"}, "passkeys": {said}})
		if given := h.flows.given; given.CanPasskey != want || len(given.Answer) != 1 {
			t.Errorf("%q: %+v", said, given)
		}
	}
}

// TestAddingOnTheWay leads somebody whom an app asks for a key to where one is
// added, and then to the app.
func TestAddingOnTheWay(t *testing.T) {
	const add = "/account/fido/add?request=wiki"
	h := offered(t)
	h.flows.offer = false
	h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)
	form := url.Values{"request": {"wiki"}}
	if r := h.send(http.MethodPost, "/account/fido/add", form); r.Header.Get("Location") != "/flow?id=add+fido" || h.accounts.addTo != "wiki" {
		t.Fatalf("%d to %q, on the way to %q", r.StatusCode, r.Header.Get("Location"), h.accounts.addTo)
	}
	if page := h.page(h.send(http.MethodGet, add, nil)); !strings.Contains(page, "wiki.example.com</bdi></strong>") || !strings.Contains(page, `name="request" value="wiki"`) {
		t.Errorf("the page is %s", page)
	}
	h.flows.flow = authflow.Flow{ID: "add fido", Kind: authflow.Enrol, Request: "wiki"}
	h.flows.step = authflow.Step{Kind: authflow.StepEnrol, Factor: assurance.FIDO}
	if page := h.page(h.send(http.MethodGet, "/flow?id=add+fido", nil)); !strings.Contains(page, `href="`+add+`"`) {
		t.Error("the set-up doesn't lead back")
	}
	h.flows.step = authflow.Step{Kind: authflow.StepDone}
	if r := h.send(http.MethodGet, "/flow?id=add+fido", nil); r.Header.Get("Location") != atWiki {
		t.Errorf("after the set-up: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}

	h.send(http.MethodPost, "/account/fido/add", form)
	h.accounts.refusal = person.ErrStale
	if r := h.send(http.MethodPost, "/account/fido/add", form); r.Header.Get("Location") != "/flow?id=check" || h.accounts.freshTo != add {
		t.Errorf("after long: %d to %q, and back to %q", r.StatusCode, r.Header.Get("Location"), h.accounts.freshTo)
	}
	for _, r := range []*http.Response{
		h.send(http.MethodGet, "/account/fido/add?request=forged", nil),
		h.send(http.MethodPost, "/account/fido/add", url.Values{"request": {"https://evil.example/"}}),
	} {
		if r.StatusCode != http.StatusBadRequest {
			t.Errorf("R01: %d to %q", r.StatusCode, r.Header.Get("Location"))
		}
	}
}

// TestKeysThatDontCountYet tells somebody from when theirs counts: the first of
// them, or the last where another is asked for.
func TestKeysThatDontCountYet(t *testing.T) {
	h := offered(t)
	h.flows.step = authflow.Step{Kind: authflow.StepNoFactor}
	h.flows.flow.Ask.Level = assurance.PhishingResistant
	needs := func() string { return h.page(h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)) }
	if page := needs(); !strings.Contains(page, `href="/account/fido/add?request=wiki"`) || !strings.Contains(page, "have one that works here.") {
		t.Errorf("the page is %s", page)
	}
	early, late := noon.Add(time.Hour), noon.Add(20*time.Hour)
	h.accounts.held = append(h.accounts.held,
		credentials.Own{ID: "k1", Kind: assurance.FIDO, Daily: true, ProbationUntil: late}, credentials.Own{ID: "k2", Kind: assurance.FIDO, Daily: true, ProbationUntil: early})
	if page := needs(); !strings.Contains(page, "counts here from "+early.Local().Format(time.DateTime)) {
		t.Errorf("with two that are held, the page is %s", page)
	}
	h.flows.step = authflow.Step{Kind: authflow.StepChallenge, Factor: assurance.FIDO, Resistant: true}
	if page := needs(); !strings.Contains(page, "counts here from "+late.Local().Format(time.DateTime)) {
		t.Errorf("where another key counts, the page is %s", page)
	}
}
