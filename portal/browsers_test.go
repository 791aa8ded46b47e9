package portal_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// flows is a sign-in that asks for a code and then grants.
type flows struct {
	portal.Flows
	accounts   *accounts
	flow       authflow.Flow
	step       authflow.Step
	given      authflow.Response
	refusal    error
	remember   time.Duration
	newBrowser string
	offer      bool // a passkey, after the sign-in

	lost                    []string
	losable                 []credentials.Own // beside a phone and backup codes
	accessCode, newPassword string
	enrolled                authflow.EnrolmentAnswer

	noPasskeys bool
	empty      bool // nobody can sign in
	disabled   bool // some accounts are disabled
	login      authflow.Login
	passkey    authflow.Passkey
}

func (f *flows) SignIn(_ context.Context, in authflow.Login) (authflow.Flow, error) {
	f.flow = authflow.Flow{ID: "flow of " + in.Name, Kind: authflow.SignIn, UserID: "ada", Name: in.Name, Shared: in.Shared}
	return f.flow, f.refusal
}

func (f *flows) NeedsSetup(context.Context) (bool, error) { return f.empty, nil }

func (f *flows) AllDisabled(context.Context) (bool, error) { return f.disabled, nil }

func (f *flows) OffersPasskeys(string) bool { return !f.noPasskeys }

func (f *flows) BeginDiscovery(_ context.Context, browser string) (authflow.Discovery, error) {
	if f.noPasskeys {
		return authflow.Discovery{}, authflow.ErrNoPasskeys
	}
	return authflow.Discovery{Page: templates.FIDOCeremony{Options: "{}"}, State: "for " + browser}, nil
}

func (f *flows) SignInByPasskey(_ context.Context, in authflow.Login, given authflow.Passkey) (authflow.Flow, error) {
	if f.noPasskeys {
		return authflow.Flow{}, authflow.ErrNoPasskeys
	}
	f.login, f.passkey = in, given
	f.flow = authflow.Flow{ID: "flow of a passkey", Kind: authflow.SignIn, UserID: "ada", Name: "ada", Shared: in.Shared}
	return f.flow, f.refusal
}

func (f *flows) Load(_ context.Context, id string) (authflow.Flow, error) {
	if id != f.flow.ID {
		return authflow.Flow{}, authflow.ErrFlowGone
	}
	return f.flow, nil
}

func (f *flows) Step(context.Context, authflow.Flow, assurance.Factor) (authflow.Step, error) {
	return f.step, nil
}

func (f *flows) Challenge(context.Context, authflow.Flow, assurance.Factor, person.Client) (authflow.Page, error) {
	return authflow.Page{}, nil
}

func (f *flows) OpenLink(_ context.Context, token string) (authflow.Flow, error) {
	if token != "good" {
		return authflow.Flow{}, authflow.ErrLinkGone
	}
	f.flow = authflow.Flow{ID: "set-up", Kind: authflow.SetUp}
	return f.flow, nil
}

func (f *flows) Losable(context.Context, authflow.Flow) ([]credentials.Own, error) {
	return append([]credentials.Own{
		{ID: "c1", Kind: assurance.TOTP, Daily: true, Name: "Work phone", Created: noon},
		{ID: "b1", Kind: assurance.BackupCode, Name: "Backup codes", Created: noon},
	}, f.losable...), nil
}

func (f *flows) Lose(_ context.Context, _ authflow.Flow, ids []string) error {
	f.lost = ids
	return f.refusal
}

func (f *flows) AnswerAccessCode(_ context.Context, _ authflow.Flow, code string, _ person.Client) error {
	f.accessCode = code
	return f.refusal
}

func (f *flows) ChooseNewPassword(_ context.Context, _ authflow.Flow, password string, _ person.Client) error {
	f.newPassword = password
	return f.refusal
}

func (f *flows) Enrolment(_ context.Context, _ authflow.Flow, kind assurance.Factor, _ person.Client) (authflow.Page, error) {
	if kind == assurance.FIDO {
		return shownAs(templates.FIDOCeremony{Options: "{}"}), nil
	}
	return shownAs(templates.TOTPEnrolment{Key: "JBSW"}), nil
}

// shownAs is a question of which a factor shows that.
func shownAs(content any) authflow.Page { return authflow.Page{Page: factors.Page{Content: content}} }

func (f *flows) AnswerEnrolment(_ context.Context, _ authflow.Flow, given authflow.EnrolmentAnswer, _ person.Client) error {
	f.enrolled = given
	return f.refusal
}

func (f *flows) Extend(context.Context, authflow.Flow) (time.Duration, error) {
	return 14 * time.Minute, f.refusal
}

func (f *flows) Left(authflow.Flow) time.Duration { return 15 * time.Minute }

func (f *flows) RememberFor(authflow.Flow, assurance.Factor) time.Duration { return f.remember }

func (f *flows) Answer(_ context.Context, _ authflow.Flow, given authflow.Response, _ person.Client) error {
	f.given = given
	return f.refusal
}

func (f *flows) Grant(context.Context, authflow.Flow, string, person.Client) (authflow.Granted, error) {
	return authflow.Granted{
		Granted: person.Granted{
			SignOn:       store.SignOn{ID: "s1", UserID: "ada", Expires: noon.Add(12 * time.Hour), Shared: f.flow.Shared},
			PortalSecret: "secret",
		},
		Browser: f.newBrowser, OfferPasskey: f.offer,
	}, nil
}

func (f *flows) BeginFreshCheck(_ context.Context, _ store.SignOn, _ store.User, to string, _ person.Client) (authflow.Flow, error) {
	f.accounts.freshTo = to
	return authflow.Flow{ID: "check", Return: to}, nil
}

func (f *flows) BeginEnrolment(_ context.Context, _ store.SignOn, _ store.User, adding authflow.Adding, _ person.Client) (authflow.Flow, error) {
	f.accounts.addTo = adding.Request + adding.Return
	return authflow.Flow{ID: "add " + string(adding.Kind), Kind: authflow.Enrol, Enrol: adding.Kind, Request: adding.Request, Return: adding.Return}, f.accounts.refusal
}

func (f *flows) DeclinePasskey(context.Context, store.User) error { return f.accounts.note("decline") }

// signOns knows one sign-on, "s1".
type signOns struct {
	proofs []assurance.Proof
	err    error
	ended  []string
}

func (s *signOns) LivePortal(_ context.Context, p session.PortalSession) (session.SignOn, session.User, error) {
	if s.err != nil || p.SignOn != "s1" {
		return session.SignOn{}, session.User{}, errors.Join(session.ErrEnded, s.err)
	}
	return session.SignOn{ID: "s1", UserID: "ada", Proofs: s.proofs, Expires: noon.Add(12 * time.Hour)}, session.User{ID: "ada", Name: "ada"}, nil
}

func (s *signOns) End(_ context.Context, id, _ string) (session.User, error) {
	s.ended = append(s.ended, id)
	return session.User{ID: "ada", Name: "ada"}, nil
}

// plain is a codec that seals nothing.
type plain struct{}

func (plain) Encode(value []byte) (string, error) {
	return base64.RawURLEncoding.EncodeToString(value), nil
}
func (plain) Decode(value string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(value) }

type nowhere struct{}

func (nowhere) AppendEvent(context.Context, store.Event) error { return nil }

// hall is a portal with one browser before it.
type hall struct {
	*portal.Portal
	t        *testing.T
	flows    *flows
	accounts *accounts
	signOns  *signOns
	cookies  map[string]*http.Cookie
	audited  *observer.ObservedLogs
	platform string // what the browser says that it runs on; empty: nothing
}

// usualPages are parsed once for all tests.
var usualPages = sync.OnceValues(func() (*templates.Set, error) { return templates.New(templates.Options{}) })

func newHall(t *testing.T) *hall {
	t.Helper()
	pages, err := usualPages()
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return noon }
	core, audited := observer.New(zap.InfoLevel)
	h := &hall{t: t, audited: audited, flows: &flows{}, accounts: &accounts{}, cookies: make(map[string]*http.Cookie), signOns: &signOns{
		proofs: []assurance.Proof{{Factor: assurance.Password, At: noon}, {Factor: assurance.TOTP, At: noon, Remembered: true}},
	}}
	h.flows.accounts = h.accounts
	h.Portal = portal.New(portal.Settings{
		Flows: h.flows, Accounts: h.accounts, SignOns: h.signOns, PortalCookies: session.NewPortalCookies(plain{}), FlowCodec: plain{}, Pages: pages,
		Apps:         func(*http.Request, session.User) []templates.App { return nil },
		AppPasswords: func(session.User) []portal.PasswordApp { return nil },
		Factors:      allFactors, ShortestPassword: 8,
		Origin: &url.URL{Scheme: "https", Host: "login.example.com"}, Audit: audit.NewLog(zap.New(core), nowhere{}, clock),
		Logger: zap.NewNop(), Clock: clock, Random: strings.NewReader(strings.Repeat("x", 1000)),
		Address: func(*http.Request) string { return "192.0.2.1" },
	})
	return h
}

// send asks as the browser would, which keeps the cookies that it gets.
func (h *hall) send(method, target string, form url.Values) *http.Response {
	h.t.Helper()
	r := httptest.NewRequest(method, "https://login.example.com"+target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if h.platform != "" {
		r.Header.Set("Sec-CH-UA-Platform", h.platform)
	}
	for _, c := range h.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if h.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(h.cookies, c.Name)
		}
	}
	return w.Result()
}

func (h *hall) page(response *http.Response) string {
	h.t.Helper()
	var body strings.Builder
	if err := response.Write(&body); err != nil {
		h.t.Fatal(err)
	}
	return body.String()
}

// signIn shows a password.
func (h *hall) signIn(name string, fields ...string) *http.Response {
	form := url.Values{"name": {name}, "password": {"x"}}
	for _, field := range fields {
		form.Set(field, "yes")
	}
	return h.send(http.MethodPost, "/sign-in", form)
}

func (h *hall) lastsFor(cookie string) time.Duration {
	h.t.Helper()
	c := h.cookies["__Host-mfa-"+cookie]
	if c == nil {
		h.t.Fatalf("there is no cookie %s", cookie)
	}
	return time.Duration(c.MaxAge) * time.Second
}

func TestCookiesAtASharedComputerEndWithTheBrowser(t *testing.T) {
	for _, c := range []struct {
		what         string
		first        string
		fields       []string
		flow, portal time.Duration
	}{
		{"one's own", "", nil, time.Hour, 12 * time.Hour},
		{"shared", "", []string{"shared"}, 0, 0},
		{"shared in one tab, and another sign-in in another", "shared", nil, 0, 12 * time.Hour},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHall(t)
			h.flows.step = authflow.Step{Kind: authflow.StepGrant}
			if c.first != "" {
				h.signIn("eve", c.first)
			}
			h.signIn("ada", c.fields...)
			if got := h.lastsFor("flow"); got != c.flow {
				t.Errorf("the flow's cookie lasts %v, want %v", got, c.flow)
			}
			h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)
			if got := h.lastsFor("portal"); got != c.portal {
				t.Errorf("the portal's cookie lasts %v, want %v", got, c.portal)
			}
			if c.first != "" && h.lastsFor("flow") != 0 {
				t.Error("what is left of the flow's cookie doesn't end with the browser")
			}
			if h.cookies["__Host-mfa-browser"] != nil {
				t.Error("a browser's token came from nowhere")
			}
		})
	}
}

// TestASharedComputerIsHeardWhereSomebodyIsSignedIn has a browser that is signed in
// already sign in once more, and says that others use the computer.
func TestASharedComputerIsHeardWhereSomebodyIsSignedIn(t *testing.T) {
	for field, want := range map[string]int{"": http.StatusSeeOther, "shared": http.StatusOK} {
		h := atHome(t)
		h.flows.step = authflow.Step{Kind: authflow.StepChallenge, Factor: assurance.TOTP}
		h.signIn("ada", field)
		if r := h.send(http.MethodGet, "/flow?id=flow+of+ada", nil); r.StatusCode != want {
			t.Errorf("%q: %d to %q", field, r.StatusCode, r.Header.Get("Location"))
		}
		h.flows.step = authflow.Step{Kind: authflow.StepGrant}
		h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)
		if lasts := h.lastsFor("portal"); (lasts == 0) != (field == "shared") {
			t.Errorf("%q: the portal's cookie lasts %v", field, lasts)
		}
	}
}

func TestSharedStaysTicked(t *testing.T) {
	h := newHall(t)
	h.flows.refusal = &factors.Refused{Reason: factors.Wrong}
	if page := h.page(h.signIn("ada", "shared")); !strings.Contains(page, `aria-describedby="shared-hint" checked`) {
		t.Error("after a wrong password the box isn't ticked")
	}
}

func TestRememberIsOfferedAndPassedOn(t *testing.T) {
	h := newHall(t)
	h.flows.step = authflow.Step{Kind: authflow.StepChallenge, Factor: assurance.TOTP}
	h.signIn("ada")
	const ask = "Don&#39;t ask in this browser for 30 days"
	challenge := func() string { return h.page(h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)) }
	if page := challenge(); strings.Contains(page, `name="remember"`) {
		t.Error("it is offered where it isn't on")
	}
	h.flows.remember = 30 * 24 * time.Hour
	page := challenge()
	if !strings.Contains(page, `name="remember"`) || !strings.Contains(strings.ReplaceAll(page, "'", "&#39;"), ask) || strings.Contains(page, "checked") {
		t.Errorf("it isn't offered: %s", page)
	}
	answer := func(fields url.Values) *http.Response {
		form := url.Values{"flow": {"flow of ada"}, "factor": {"totp"}, "code": {"123456"}}
		for name := range fields {
			form[name] = fields[name]
		}
		return h.send(http.MethodPost, "/flow/challenge", form)
	}
	for value, want := range map[string]bool{"yes": true, "": false, "on": false} {
		answer(url.Values{"remember": {value}})
		if given := h.flows.given; given.Remember != want || given.Factor != assurance.TOTP || len(given.Answer) != 1 || given.Answer["code"] != "123456" {
			t.Errorf("remember=%s: %+v", value, given)
		}
	}
	h.flows.refusal = &factors.Refused{Reason: factors.Wrong}
	if page := h.page(answer(url.Values{"remember": {"yes"}})); !strings.Contains(page, "checked") {
		t.Error("after a wrong code the box isn't ticked")
	}
}

func TestForgetBrowser(t *testing.T) {
	const mine, hers = "b1", "b2"
	forget := func(h *hall, id string) *http.Response {
		return h.send(http.MethodPost, "/browsers/forget", url.Values{"id": {id}})
	}
	visit := func(t *testing.T) *hall {
		h := newHall(t)
		h.accounts.browsers = []store.Browser{
			{ID: mine, UserID: "ada", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", TokenHash: token.Hash("t1"), Remembered: noon},
			{ID: hers, UserID: "eve"},
		}
		h.flows.step, h.flows.newBrowser = authflow.Step{Kind: authflow.StepGrant}, "t1"
		h.signIn("ada")
		h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)
		return h
	}
	t.Run("one's own", func(t *testing.T) {
		h := visit(t)
		page := h.page(h.send(http.MethodGet, "/account/sign-ons", nil))
		if !strings.Contains(page, "<strong><bdi>Firefox on Linux</bdi></strong> · This browser") || !strings.Contains(page, `value="b1"`) {
			t.Errorf("it isn't listed: %s", page)
		}
		if r := forget(h, mine); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/account/sign-ons" || len(h.accounts.forgotten) != 1 {
			t.Errorf("forgetting: %d, %v", r.StatusCode, h.accounts.forgotten)
		}
	})
	t.Run("W03 somebody else's", func(t *testing.T) {
		h := visit(t)
		for _, id := range []string{hers, "made up", ""} {
			if r := forget(h, id); r.StatusCode != http.StatusNotFound {
				t.Errorf("%q: %d", id, r.StatusCode)
			}
		}
		if len(h.accounts.forgotten) > 0 {
			t.Errorf("forgotten: %v", h.accounts.forgotten)
		}
	})
	for _, c := range []struct {
		what   string
		change func(h *hall)
		to     string
	}{
		{"nobody is signed in", func(h *hall) { clear(h.cookies) }, "/sign-in?to=%2Faccount%2Fsign-ons"},
		{"S06 with a password alone", func(h *hall) { h.signOns.proofs = h.signOns.proofs[:1] }, "/flow?id=check"},
		{"the sign-on has ended", func(h *hall) { h.signOns.err = session.ErrEnded }, "/sign-in?to=%2Faccount%2Fsign-ons"},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := visit(t)
			c.change(h)
			if r := forget(h, mine); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != c.to || len(h.accounts.forgotten) > 0 {
				t.Errorf("%d to %q, forgotten %v", r.StatusCode, r.Header.Get("Location"), h.accounts.forgotten)
			}
		})
	}
	t.Run("W01 from another site, and by GET", func(t *testing.T) {
		h := visit(t)
		r := httptest.NewRequest(http.MethodPost, "https://login.example.com/browsers/forget", strings.NewReader("id=b1"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.AddCookie(h.cookies["__Host-mfa-portal"])
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := h.send(http.MethodGet, "/browsers/forget?id=b1", nil)
		if w.Code != http.StatusForbidden || got.StatusCode != http.StatusNotFound || len(h.accounts.forgotten) > 0 {
			t.Errorf("%d and %d, forgotten %v", w.Code, got.StatusCode, h.accounts.forgotten)
		}
	})
}

// TestSigningOutEndsWhatTheBrowserHad has a browser with a portal session that
// another has taken the place of: its sign-on ends all the same.
func TestSigningOutEndsWhatTheBrowserHad(t *testing.T) {
	h := atHome(t)
	h.signOns.err = session.ErrEnded
	r := h.send(http.MethodPost, "/sign-out", nil)
	if r.Header.Get("Location") != "/signed-out" || !slices.Equal(h.signOns.ended, []string{"s1"}) {
		t.Errorf("to %q, ended %q", r.Header.Get("Location"), h.signOns.ended)
	}
	expectEnded(t, h, session.EndedSignOut)
	h.send(http.MethodPost, "/sign-out", nil)
	if len(h.signOns.ended) != 1 {
		t.Errorf("without a cookie, ended %q", h.signOns.ended)
	}
}

// expectEnded fails the test unless one event says that ada's sign-on has ended,
// and why.
func expectEnded(t *testing.T, h *hall, reason string) {
	t.Helper()
	events := h.audited.FilterMessage(string(audit.SignOnEnded)).AllUntimed()
	if len(events) != 1 || events[0].ContextMap()["user"] != "ada" || events[0].ContextMap()["reason"] != reason {
		t.Errorf("recorded %+v", events)
	}
}

// TestW01FetchesBeginNothing has a page of another host of the site fetch what
// would begin a check.
func TestW01FetchesBeginNothing(t *testing.T) {
	for _, target := range []string{"/account/password", "/account", "/sign-in?to=/account"} {
		h := atHome(t)
		h.signOns.proofs = []assurance.Proof{{Factor: assurance.Password, At: noon.Add(-time.Hour)}}
		for mode, begins := range map[string]bool{"no-cors": false, "cors": false, "navigate": true, "": true} {
			r := httptest.NewRequest(http.MethodGet, "https://login.example.com"+target, nil)
			r.Header.Set("Sec-Fetch-Site", "same-site")
			r.Header.Set("Sec-Fetch-Mode", mode)
			for _, c := range h.cookies {
				r.AddCookie(c)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if (w.Code != http.StatusForbidden) != begins || !begins && w.Header()["Set-Cookie"] != nil {
				t.Errorf("%s by %q: %d, sets %q", target, mode, w.Code, w.Header()["Set-Cookie"])
			}
		}
	}
}

func TestSigningOutClearsThePortalsPages(t *testing.T) {
	h := newHall(t)
	if got := h.send(http.MethodPost, "/sign-out", nil).Header.Get("Clear-Site-Data"); got != `"cache"` {
		t.Errorf("Clear-Site-Data is %s", got)
	}
	if got := h.send(http.MethodGet, "/sign-out", nil).Header.Get("Clear-Site-Data"); got != "" {
		t.Errorf("before signing out it is %s", got)
	}
}

// trait is a factor of which only the traits are known.
type trait struct {
	factors.Factor
	kind   assurance.Factor
	traits factors.Traits
	most   int
}

func (f trait) Kind() assurance.Factor { return f.kind }
func (f trait) Traits() factors.Traits { return f.traits }
func (f trait) Most() int              { return f.most }

// allFactors are all second factors that there are.
var allFactors = factors.Set{
	trait{kind: assurance.TOTP, traits: factors.Traits{Weight: assurance.Second, Daily: true}, most: 5},
	trait{kind: assurance.FIDO, traits: factors.Traits{Weight: assurance.Unphishable, Daily: true}, most: 5},
	trait{kind: assurance.BackupCode, traits: factors.Traits{Weight: assurance.Second}, most: 1},
}
