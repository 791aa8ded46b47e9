package authflow_test

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	otp "github.com/pquerna/otp/totp"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authenticator"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/stream"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/test/phone"
	"github.com/portcullis-mfa/portcullis/token"
)

// newHouseWithPhones is a house whose people can pair phones, and the origin of the
// authenticator.
func newHouseWithPhones(t *testing.T) (*house, string) {
	h := newHouse(t)
	server := httptest.NewUnstartedServer(nil)
	origin := "http://" + server.Listener.Addr().String()
	codes, err := h.vault.Factors.Get(assurance.TOTP)
	h.must(err)
	phones, err := push.New(push.Config{Origin: origin, Digits: 6, Codes: codes.(push.Codes)}, h.clock, rand.Reader)
	h.must(err)
	h.vault.Factors = slices.Insert(slices.Clone(h.vault.Factors), 1, factors.Factor(phones))
	bell := new(ceremony.Bell)
	t.Cleanup(h.store.Follow(bell))
	server.Config.Handler = authenticator.NewAPI(authenticator.APISettings{
		Companions: h.Engine, Kind: assurance.Push, Phones: phones, Nonces: h.keys.Codec("nonce"), Bell: bell, Counters: h.store, Incarnation: func() string { return "one" }, Origin: origin,
		Clock: h.clock, Logger: zap.NewNop(), Address: func(*http.Request) string { return "198.51.100.7" },
		Ending: func() bool { return t.Context().Err() != nil }, Streams: &stream.Room{Each: 2, All: 100},
	})
	server.Start()
	t.Cleanup(server.Close)
	return h, origin
}

func (h *house) newPhone(origin string) *phone.Phone {
	h.t.Helper()
	p, err := phone.New(origin, http.DefaultClient)
	h.must(err)
	return p
}

// said is what the server said to a phone.
func (h *house) said(want int, a phone.Answer, err error) phone.Answer {
	h.t.Helper()
	h.must(err)
	if a.Status != want {
		h.t.Fatalf("the server answered %d %v, want %d", a.Status, a.Body, want)
	}
	return a
}

// pairing is the page on which a phone is paired.
func (p *member) pairing(f authflow.Flow) templates.PushEnrolment {
	p.h.t.Helper()
	page, err := p.h.Enrolment(p.h.ctx, p.h.load(f), assurance.Push, cafe)
	p.h.must(err)
	return page.Content.(templates.PushEnrolment)
}

func (p *member) answerPairing(f authflow.Flow, answer factors.Answer) error {
	return p.h.AnswerEnrolment(p.h.ctx, p.h.load(f), authflow.EnrolmentAnswer{Factor: assurance.Push, Answer: answer}, cafe)
}

// beginPairing begins to pair a phone.
func (p *member) beginPairing() authflow.Flow {
	p.h.t.Helper()
	f, err := p.h.BeginEnrolment(p.h.ctx, p.in(), p.user(), authflow.Adding{Kind: assurance.Push, Return: "/account"}, cafe)
	p.h.must(err)
	return f
}

// withPhone pairs a phone.
func (p *member) withPhone(origin string) *phone.Phone {
	t, h := p.h.t, p.h
	t.Helper()
	f, device := p.beginPairing(), h.newPhone(origin)
	_, token, _ := strings.Cut(p.pairing(f).Link, "#p=")
	if err := p.answerPairing(f, nil); !errors.Is(err, authflow.ErrUnanswered) {
		t.Fatalf("before the phone uses the code, the browser hears %v", err)
	}
	a, err := device.Pair(h.ctx, "token", token)
	h.said(http.StatusOK, a, err)
	if err := p.answerPairing(f, nil); !errors.Is(err, authflow.ErrPending) || errors.Is(err, authflow.ErrUnanswered) {
		t.Fatalf("once the phone has used the code, the browser hears %v", err)
	}
	if page := p.pairing(f); page.Stage != "claimed" || page.Phone != "Pixel" {
		t.Fatalf("the page shows %+v", page)
	}
	if err := p.answerPairing(f, factors.Answer{"digits": device.Digits()}); !errors.Is(err, authflow.ErrPending) {
		t.Fatalf("the phone's digits: %v", err)
	}
	a, err = device.Send(h.ctx, "paired", nil)
	secret := secretIn(h.said(http.StatusOK, a, err).Says("totp"))
	code, err := otp.GenerateCode(secret, h.clock())
	h.must(err)
	a, err = device.Send(h.ctx, "ready", phone.Claims{"code": code})
	h.said(http.StatusOK, a, err)
	a, err = device.Send(h.ctx, "list", phone.Claims{"subscription": ""})
	if h.said(http.StatusConflict, a, err).Says("state") != "settled" {
		t.Errorf("before the browser collects, the phone hears %v", a.Body)
	}
	h.must(p.answerPairing(f, nil))
	a, err = device.Send(h.ctx, "paired", nil)
	if h.said(http.StatusOK, a, err).Says("state") != "active" || a.Says("totp") != "" {
		t.Errorf("in the end the phone hears %v", a.Body)
	}
	h.pass(10 * time.Minute)
	return device
}

func secretIn(uri string) string {
	parsed, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return parsed.Query().Get("secret")
}

// asked is a sign-in whose page waits for a phone.
type asked struct {
	p      *member
	flow   authflow.Flow
	number string
}

// askPhone signs in up to the page that waits for a phone.
func (p *member) askPhone(c person.Client) asked {
	p.h.t.Helper()
	return asked{p, p.shown(c), ""}.again(c)
}

// again shows the page.
func (a asked) again(c person.Client) asked {
	h := a.p.h
	h.t.Helper()
	page, err := h.Challenge(h.ctx, h.load(a.flow), assurance.Push, c)
	h.must(err)
	a.number = page.Content.(templates.PushChallenge).Number
	return a
}

func (a asked) collect() error {
	return a.p.h.Answer(a.p.h.ctx, a.p.h.load(a.flow), authflow.Response{Factor: assurance.Push}, cafe)
}

func (a asked) grant() (store.SignOn, error) {
	granted, err := a.p.h.Grant(a.p.h.ctx, a.p.h.load(a.flow), "", cafe)
	return granted.SignOn, err
}

// only returns the one open request.
func (h *house) only(device *phone.Phone) phone.Request {
	h.t.Helper()
	requests, err := device.List(h.ctx)
	h.must(err)
	if len(requests) != 1 {
		h.t.Fatalf("the phone lists %d requests", len(requests))
	}
	return requests[0]
}

func TestApprovalOnAPhone(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	stream, err := device.Listen(h.ctx)
	h.must(err)
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	if !lines.Scan() || lines.Text() != "listening" {
		t.Fatalf("the stream begins with %q", lines.Text())
	}

	signIn := ada.askPhone(cafe)
	if !lines.Scan() || lines.Text() != "changed" {
		t.Errorf("the stream said %q", lines.Text())
	}
	if again := signIn.again(cafe); again.number != signIn.number || len(again.number) != 6 {
		t.Errorf("the number is %q, and after a reload %q", signIn.number, again.number)
	}
	if err := signIn.collect(); !errors.Is(err, authflow.ErrPending) {
		t.Errorf("collected before an answer: %v", err)
	}
	request := h.only(device)
	if strings.Contains(string(request.Display), signIn.number) {
		t.Error("what the phone displays contains the number")
	}
	a, err := device.Decide(h.ctx, request, "allow", signIn.number)
	if h.said(http.StatusOK, a, err).Says("state") != "allowed" {
		t.Errorf("the phone hears %v", a.Body)
	}
	a, err = device.Decide(h.ctx, request, "allow", signIn.number)
	if h.said(http.StatusConflict, a, err).Says("state") != "allowed" {
		t.Errorf("after a lost answer the phone hears %v", a.Body)
	}
	h.must(signIn.collect())
	signOn, err := signIn.grant()
	h.must(err)
	if !slices.ContainsFunc(signOn.Proofs, func(p assurance.Proof) bool { return p.Factor == assurance.Push }) {
		t.Errorf("the sign-on has %+v", signOn.Proofs)
	}
}

// W02: a browser can't have the phone say what it likes.
func TestPhonesNameKnownBrowsersAlone(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	for agent, want := range map[string]string{
		"Your help desk asks you to allow this/1.0 (iPhone)":                                                    "",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36": "Chrome",
	} {
		ada.askPhone(person.Client{Address: cafe.Address, UserAgent: agent})
		request := h.only(device)
		var display push.Display
		h.must(json.Unmarshal(request.Display, &display))
		if display.Browser != want || strings.Contains(string(request.Display), "desk") {
			t.Errorf("the phone displays %s", request.Display)
		}
		a, err := device.Decide(h.ctx, request, "deny", "")
		h.said(http.StatusOK, a, err)
	}
}

// U01: an approval counts once, for its request, and for nobody else's.
func TestApprovalsAreForOneRequest(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada, bob := h.person("ada"), h.person("bob")
	adas, bobs := ada.withPhone(origin), bob.withPhone(origin)
	signIn := ada.askPhone(cafe)
	request := h.only(adas)
	a, err := bobs.Decide(h.ctx, request, "allow", signIn.number)
	h.said(http.StatusGone, a, err) // bob's phone isn't one of ada's
	approval, err := adas.Message(h.ctx, "answer", request.Claims("allow", signIn.number))
	h.must(err)
	a, err = adas.Post(h.ctx, "answer", approval)
	h.said(http.StatusOK, a, err)
	h.must(signIn.collect())
	if err := signIn.collect(); !errors.Is(err, authflow.ErrWrongStep) && !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("collected twice: %v", err)
	}
	_, err = signIn.grant()
	h.must(err)
	second := ada.askPhone(cafe)
	a, err = adas.Post(h.ctx, "answer", approval)
	h.said(http.StatusConflict, a, err)
	if err := second.collect(); !errors.Is(err, authflow.ErrPending) {
		t.Errorf("a replayed approval let somebody in: %v", err)
	}
	other := h.only(adas)
	mixed := other.Claims("allow", second.number)
	mixed["shown"] = request.Claims("allow", "")["shown"]
	a, err = adas.Send(h.ctx, "answer", mixed)
	h.said(http.StatusBadRequest, a, err) // it displayed something else
}

// U02: what isn't the number is denied and counted.
func TestWrongNumbers(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	signIn := ada.askPhone(cafe)
	request := h.only(device)
	for name, claims := range map[string]phone.Claims{
		"none":        request.Claims("allow", ""),
		"with deny":   request.Claims("deny", signIn.number),
		"one claimed": {"request": request.ID, "shown": request.Claims("", "")["shown"], "decision": "allow", "matched": true},
		"as a number": {"request": request.ID, "shown": request.Claims("", "")["shown"], "decision": "allow", "number": 123456},
	} {
		a, err := device.Send(h.ctx, "answer", claims)
		if h.must(err); a.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %v", name, a.Status, a.Body)
		}
	}
	wrong := "1" + signIn.number[1:]
	if wrong == signIn.number {
		wrong = "2" + signIn.number[1:]
	}
	a, err := device.Decide(h.ctx, request, "allow", wrong)
	if h.said(http.StatusOK, a, err).Says("state") != "open" || a.Body["left"] != 1.0 {
		t.Errorf("after the first wrong number: %v", a.Body)
	}
	a, err = device.Decide(h.ctx, request, "allow", wrong)
	if h.said(http.StatusOK, a, err).Says("state") != "denied" {
		t.Errorf("after the second wrong number: %v", a.Body)
	}
	a, err = device.Decide(h.ctx, request, "allow", signIn.number)
	if h.said(http.StatusConflict, a, err).Says("state") != "denied" {
		t.Errorf("the right number, too late: %v", a.Body)
	}
	if err := signIn.collect(); !isRefused(err, factors.Denied) {
		t.Errorf("the browser hears %v", err)
	}
}

func TestReportEndsWhatCameOfARequest(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	signIn := ada.askPhone(cafe)
	request := h.only(device)
	a, err := device.Decide(h.ctx, request, "allow", signIn.number)
	h.said(http.StatusOK, a, err)
	h.must(signIn.collect())
	signOn, err := signIn.grant()
	h.must(err)
	h.pass(9 * time.Minute)
	a, err = device.Decide(h.ctx, request, "report", "")
	if h.said(http.StatusOK, a, err).Says("state") != "reported" {
		t.Errorf("the phone hears %v", a.Body)
	}
	ended, err := h.store.SignOnByID(h.ctx, signOn.ID)
	h.must(err)
	if ended.Ended.IsZero() {
		t.Error("the sign-on goes on")
	}
	if !ada.user().NewPassword {
		t.Error("no new password is asked for")
	}
	f := ada.shown(cafe)
	if step, err := h.Step(h.ctx, f, assurance.Push); err != nil || step.Factor == assurance.Push || slices.Contains(step.Others, assurance.Push) {
		t.Errorf("the phone is asked again: %+v, %v", step, err)
	}
	a, err = device.Decide(h.ctx, request, "report", "")
	h.said(http.StatusConflict, a, err)
}

// U02: whoever was let in by mistake doesn't stay by another sign-on, authenticator, app
// password or browser.
func TestReportEndsWhatSomebodyStayedBy(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	h.must(h.store.CreateAccessToken(h.ctx, store.AccessToken{ID: "old", UserID: ada.id, Name: "Mail", Selector: "old", Scope: []byte("{}"), Created: h.clock(), Expires: h.clock().Add(time.Hour)}))
	h.pass(time.Minute)
	signIn := ada.askPhone(cafe)
	request := h.only(device)
	a, err := device.Decide(h.ctx, request, "allow", signIn.number)
	h.said(http.StatusOK, a, err)
	h.must(signIn.collect())
	granted, err := h.Grant(h.ctx, h.load(signIn.flow), "", cafe)
	h.must(err)
	ada.addTOTP(granted.SignOn, "Thief's phone")
	h.must(h.store.CreateAccessToken(h.ctx, store.AccessToken{ID: "new", UserID: ada.id, Name: "Script", Selector: "new", Scope: []byte("{}"), Created: h.clock(), Expires: h.clock().Add(time.Hour)}))
	renewed, err := h.Remove(h.ctx, granted.SignOn, ada.user(), ada.named("Authenticator app").ID, cafe)
	h.must(err)
	a, err = device.Decide(h.ctx, request, "report", "")
	h.said(http.StatusOK, a, err)
	if h.lives(granted.SignOn) || h.lives(renewed.SignOn) {
		t.Error("a sign-on goes on")
	}
	if !ada.named("Thief's phone").Suspended {
		t.Error("the new authenticator counts")
	}
	for id, revoked := range map[string]bool{"old": false, "new": true} {
		if row, err := h.store.AccessTokenBySelector(h.ctx, id); err != nil || row.Revoked.IsZero() == revoked {
			t.Errorf("the %s app password was revoked at %v, %v", id, row.Revoked, err)
		}
	}
	if known, err := h.Engine.People.KnownBrowser(h.ctx, ada.id, person.Client{Browser: granted.Browser}); known != "" || err != nil {
		t.Errorf("the browser is known, %v", err)
	}
}

// U02: a request that a stolen session asked for ends that session once it is reported.
func TestReportEndsTheSessionThatAsked(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	stolen := ada.in()
	h.pass(10 * time.Minute)
	f, err := h.BeginFreshCheck(h.ctx, stolen, ada.user(), "/account", cafe)
	h.must(err)
	before := ada.device("laptop", 24*time.Hour)
	h.pass(time.Second)
	asked{ada, f, ""}.again(cafe)
	since := ada.device("machine", 24*time.Hour)
	a, err := device.Decide(h.ctx, h.only(device), "report", "")
	h.said(http.StatusOK, a, err)
	if h.lives(stolen) {
		t.Error("the session goes on")
	}
	if ada.isActive(since) || !ada.isActive(before) {
		t.Errorf("the device of since then is active: %v, the one before: %v", ada.isActive(since), ada.isActive(before))
	}
}

// U01: what is over can't be approved.
func TestApprovalsThatAreTooLate(t *testing.T) {
	for name, over := range map[string]func(h *house, ada *member, signIn asked, device *phone.Phone){
		"expired": func(h *house, _ *member, _ asked, _ *phone.Phone) { h.pass(push.Patience) },
		"another factor was used": func(h *house, ada *member, signIn asked, _ *phone.Phone) {
			h.must(h.Answer(h.ctx, h.load(signIn.flow), authflow.Response{Factor: assurance.TOTP, Answer: factors.Answer{"code": ada.code()}}, cafe))
		},
		"denied": func(h *house, _ *member, _ asked, device *phone.Phone) {
			a, err := device.Decide(h.ctx, h.only(device), "deny", "")
			h.said(http.StatusOK, a, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, origin := newHouseWithPhones(t)
			ada := h.person("ada")
			device := ada.withPhone(origin)
			signIn := ada.askPhone(cafe)
			request := h.only(device)
			over(h, ada, signIn, device)
			a, err := device.Decide(h.ctx, request, "allow", signIn.number)
			h.said(http.StatusConflict, a, err)
			if requests, err := device.List(h.ctx); err != nil || len(requests) > 0 {
				t.Errorf("the phone lists %v, %v", requests, err)
			}
		})
	}
}

func TestApprovalThatNobodyCollects(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	signIn := ada.askPhone(cafe)
	a, err := device.Decide(h.ctx, h.only(device), "allow", signIn.number)
	h.said(http.StatusOK, a, err)
	h.pass(time.Minute)
	if err := signIn.collect(); !isRefused(err, factors.Expired) {
		t.Errorf("collected after a minute: %v", err)
	}
}

// U04: whoever knows the password can't ask again and again, and doesn't keep the
// owner from being asked.
func TestPhonesAreLeftInPeace(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	for range 3 {
		if ada.askPhone(cafe).number == "" {
			t.Fatal("the phone isn't asked")
		}
		a, err := device.Decide(h.ctx, h.only(device), "deny", "")
		h.said(http.StatusOK, a, err)
	}
	if ada.askPhone(cafe).number != "" {
		t.Error("the phone is asked a fourth time")
	}
	if alerts := h.events(audit.RequestsRepeated); len(alerts) != 1 {
		t.Errorf("the operator is told %+v", alerts)
	}
	known := cafe
	known.Browser = ada.browserToken
	if ada.askPhone(known).number == "" {
		t.Error("the owner can't ask")
	}
	h.pass(15 * time.Minute)
	if ada.askPhone(cafe).number == "" {
		t.Error("the phone isn't asked after the rest")
	}
}

// A photographed code pairs nothing by itself.
func TestPairingNeedsThePhonesDigits(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	f := ada.beginPairing()
	_, token, _ := strings.Cut(ada.pairing(f).Link, "#p=")
	thief, owner := h.newPhone(origin), h.newPhone(origin)
	a, err := thief.Pair(h.ctx, "token", token)
	h.said(http.StatusOK, a, err)
	a, err = owner.Pair(h.ctx, "token", token)
	h.said(http.StatusConflict, a, err)
	if err := ada.answerPairing(f, nil); !errors.Is(err, authflow.ErrPending) {
		t.Fatal(err)
	}
	if page := ada.pairing(f); !page.Contested {
		t.Errorf("the page shows %+v", page)
	}
	for range 3 {
		if err := ada.answerPairing(f, factors.Answer{"digits": "000000"}); err == nil {
			t.Fatal("wrong digits were taken")
		}
	}
	a, err = thief.Send(h.ctx, "paired", nil)
	h.said(http.StatusGone, a, err)
}

// A typed code is looked up as such alone, since guesses at one are counted.
func TestTypedCodesOfPairingsAreNothingElse(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	code, ok := token.ReadCode(ada.pairing(ada.beginPairing()).Code, push.CodeLength)
	if !ok {
		t.Fatal("the page shows no code")
	}
	if _, err := h.Referred(h.ctx, assurance.Push, push.CodeHandle(code)); err != nil {
		t.Errorf("the typed code: %v", err)
	}
	for what, handle := range map[string]string{
		"itself": code, "a token": push.TokenHandle(code), "the key of a phone": push.PhoneHandle(code),
	} {
		if _, err := h.Referred(h.ctx, assurance.Push, handle); !errors.Is(err, ceremony.ErrNone) {
			t.Errorf("the code as %s: %v", what, err)
		}
	}
	device := h.newPhone(origin)
	a, err := device.Pair(h.ctx, "token", code)
	h.said(http.StatusNotFound, a, err)
	a, err = device.Pair(h.ctx, "code", code)
	h.said(http.StatusOK, a, err)
}

// A phone and its codes are lost together.
func TestPhoneAndItsCodesAreOne(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	ada := h.person("ada")
	device := ada.withPhone(origin)
	var phones []store.Credential
	all, err := h.store.CredentialsOf(h.ctx, ada.id)
	h.must(err)
	for _, c := range all {
		if c.Holder != "" {
			phones = append(phones, c)
		}
	}
	if len(phones) != 2 || phones[0].Kind == phones[1].Kind {
		t.Fatalf("the phone holds %+v", phones)
	}
	signOn, flow := ada.in(), ada.beginPairing()
	a, err := device.Send(h.ctx, "leave", nil)
	h.said(http.StatusOK, a, err)
	if h.lives(signOn) {
		t.Error("a sign-on goes on")
	}
	if _, err := h.Load(h.ctx, flow.ID); !errors.Is(err, authflow.ErrFlowGone) {
		t.Errorf("a flow goes on: %v", err)
	}
	for _, c := range phones {
		if now, err := h.store.CredentialByID(h.ctx, c.ID); err != nil || now.State != store.CredentialSuspended {
			t.Errorf("%s is %s, %v", now.Kind, now.State, err)
		}
	}
	a, err = device.Send(h.ctx, "list", phone.Claims{"subscription": ""})
	h.said(http.StatusGone, a, err)
}

func TestMessagesOfPhones(t *testing.T) {
	h, origin := newHouseWithPhones(t)
	device := h.person("ada").withPhone(origin)
	nonce, err := device.Post(h.ctx, "nonce", nil)
	h.must(err)
	fresh := func(more phone.Claims) phone.Claims {
		claims := phone.Claims{"aud": origin, "nonce": nonce.Says("nonce"), "subscription": ""}
		for name, value := range more {
			claims[name] = value
		}
		return claims
	}
	sign := func(kind string, claims phone.Claims) []byte {
		message, err := device.Sign(kind, claims)
		h.must(err)
		return message
	}
	right := sign("list", fresh(nil))
	forged := slices.Clone(right)
	if forged[len(forged)-5] = 'A'; right[len(right)-5] == 'A' {
		forged[len(forged)-5] = 'B'
	}
	for name, test := range map[string]struct {
		message []byte
		want    int
	}{
		"right":          {right, http.StatusOK},
		"again":          {right, http.StatusOK}, // single use comes of the states
		"other type":     {sign("leave", fresh(nil)), http.StatusBadRequest},
		"other audience": {sign("list", fresh(phone.Claims{"aud": "https://evil.example"})), http.StatusBadRequest},
		"no nonce":       {sign("list", fresh(phone.Claims{"nonce": ""})), http.StatusUnauthorized},
		"extra claim":    {sign("list", fresh(phone.Claims{"extra": 1})), http.StatusBadRequest},
		"forged":         {forged, http.StatusUnauthorized},
		"newline":        {append(slices.Clone(right), '\n'), http.StatusBadRequest},
		"too long":       {append(slices.Clone(right), make([]byte, 9000)...), http.StatusBadRequest},
	} {
		if a, err := device.Post(h.ctx, "list", test.message); err != nil || a.Status != test.want {
			t.Errorf("%s: %d %v, %v, want %d", name, a.Status, a.Body, err, test.want)
		}
	}
	h.pass(3 * time.Minute)
	a, err := device.Post(h.ctx, "list", right)
	h.said(http.StatusUnauthorized, a, err)
}
