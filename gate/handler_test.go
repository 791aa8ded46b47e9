package gate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
)

var (
	testNow  = time.Date(2025, 6, 19, 11, 52, 45, 0, time.UTC)
	errFault = errors.New("the disk is on fire")
)

const testOrigin = "https://app.example.com"

// testGate is a gate whose neighbours are at the test's command. Its zero
// switches let everything succeed.
type testGate struct {
	*Gate
	now      time.Time
	sessions map[string]session.Session // by cookie value
	live     func(id string) error
	open     func(id string) error
	mintErr  error
	signErr  error
	sealErr  error
	redeem   func(value string) error
	endErr   error

	lookedUp, ended, redeemed []string
	opened                    int                 // connections
	watched                   *session.Connection // the one that was opened last
	exchange                  session.Exchange    // its own
	successor                 *Gate               // in force in its place; nil: it is itself
	asked                     []ticket.Request    // signed, in their order
	stale                     bool                // the requests that were signed are over their age
	kept                      map[string]string   // return URLs by their nonce's hash
	keepErr, findErr          error
	audited                   *observer.ObservedLogs
}

// testPages are parsed once for all tests, since nobody changes them.
var testPages = sync.OnceValues(func() (*templates.Set, error) { return templates.New(templates.Options{}) })

// newTestGate returns a gate with the rules, or with one that asks for two
// factors, and a session "good" of alice's.
func newTestGate(t *testing.T, rules ...Rule) *testGate {
	t.Helper()
	pages, err := testPages()
	if err != nil {
		t.Fatal(err)
	}
	headers, err := NewIdentityHeaders(HeaderNames{}, HeaderValues{})
	if err != nil {
		t.Fatal(err)
	}
	if rules == nil {
		rules = []Rule{restOf()}
	}
	core, audited := observer.New(zap.InfoLevel)
	g := &testGate{now: testNow, audited: audited, sessions: map[string]session.Session{"good": sessionOf("good", time.Hour)}}
	g.Gate = New(Settings{
		Rules: rules, Succession: fakeSuccession{g},
		Site: Site{Origin: func(name, _ string) (string, bool) {
			return "https://" + name, strings.HasSuffix(name, ".example.com")
		}},
		Credentials: Credentials{Sessions: fakeSessions{g}, SignOns: fakeSignOns{g}, Weights: weights},
		SignIn: SignIn{
			Portal: &url.URL{Scheme: "https", Host: "login.example.com"}, Requests: fakeRequests{g}, States: fakeCodec{g}, Tickets: fakeTickets{g},
			Returns: fakeReturns{g},
		},
		App:  App{Headers: headers},
		Look: Look{Pages: pages, Brand: "Example", Contact: "the help desk"},
		Surroundings: Surroundings{
			Audit:  audit.NewLog(zap.New(core), fakeSink{}, func() time.Time { return g.now }),
			Logger: zap.NewNop(), Clock: func() time.Time { return g.now }, Random: &counter{},
			Address: func(*http.Request) string { return "192.0.2.1" },
		},
	})
	return g
}

// restOf is the rule for what no other is about: two factors, by anybody.
func restOf() Rule {
	return Rule{Allows: func(session.User) bool { return true }, Require: assurance.Requirement{Level: assurance.Multi}}
}

// sessionOf is a session with two factors that was minted some time ago.
func sessionOf(signOn string, age time.Duration, factors ...assurance.Factor) session.Session {
	if factors == nil {
		factors = []assurance.Factor{assurance.Password, assurance.TOTP}
	}
	s := session.Session{SignOn: signOn, Host: "app.example.com", Minted: testNow.Add(-age), Expires: testNow.Add(time.Hour)}
	for _, factor := range factors {
		s.Proofs = append(s.Proofs, assurance.Proof{Factor: factor, At: testNow.Add(-age)})
	}
	return s
}

type fakeSessions struct{ *testGate }

func (f fakeSessions) Read(value, host string) (*session.Session, error) {
	s, known := f.Peek(value, host)
	if !known || !f.now.Before(s.Expires) {
		return nil, session.ErrInvalid
	}
	return s, nil
}

func (f fakeSessions) Peek(value, host string) (*session.Session, bool) {
	s, known := f.sessions[value]
	return &s, known && s.Host == host
}

func (f fakeSessions) Mint(signOn session.SignOn, host string, asked assurance.Requirement) (string, error) {
	return "minted-for-" + signOn.ID + "-at-" + host, f.mintErr
}

type fakeSuccession struct{ *testGate }

func (f fakeSuccession) Replaced() bool { return f.successor != nil }

func (f fakeSuccession) Successor(r *http.Request, _ string) (*Gate, *http.Request) {
	return f.successor, r
}

type fakeSignOns struct{ *testGate }

func (f fakeSignOns) LiveSignOn(_ context.Context, l session.SignOnLookup) (session.LiveSignOn, error) {
	f.lookedUp = append(f.lookedUp, l.Session.SignOn)
	if f.live != nil {
		if err := f.live(l.Session.SignOn); err != nil {
			return session.LiveSignOn{}, err
		}
	}
	return session.LiveSignOn{
		ID:   l.Session.SignOn,
		User: &session.Profile{User: session.User{ID: "1", Name: "alice", Groups: []string{"staff"}}, GroupList: "staff"},
	}, nil
}

func (f fakeSignOns) LiveAccessToken(context.Context, session.AccessTokenLookup) (session.LiveAccessToken, error) {
	return session.LiveAccessToken{}, session.ErrEnded
}

func (f fakeSignOns) Open(_ context.Context, c *session.Connection, exchange session.Exchange) error {
	if f.open != nil {
		if err := f.open(signOnOf(c)); err != nil {
			return err
		}
	}
	f.opened++
	f.watched, f.exchange = c, exchange
	return nil
}

// signOnOf is the id of the sign-on that a connection rests on; empty: none.
func signOnOf(c *session.Connection) string {
	if signOn, ok := c.Anchor.(*session.LiveSignOn); ok {
		return signOn.ID
	}
	return ""
}

// deviceOf is the device that a connection rests on; nil: none.
func deviceOf(terms session.Terms) *session.LiveDevice {
	for _, anchor := range []session.Anchor{terms.Anchor, terms.Beside} {
		if device, ok := anchor.(*session.LiveDevice); ok {
			return device
		}
	}
	return nil
}

func (f fakeSignOns) Close(*session.Connection) { f.opened-- }

func (f fakeSignOns) End(_ context.Context, id, _ string) (session.User, error) {
	f.ended = append(f.ended, id)
	return session.User{ID: "u1", Name: "alice"}, f.endErr
}

type fakeRequests struct{ *testGate }

func (f fakeRequests) Sign(r ticket.Request) (string, error) {
	f.asked = append(f.asked, r)
	return fmt.Sprintf("signed-%d", len(f.asked)), f.signErr
}

func (f fakeRequests) Read(value string) (ticket.Request, bool, error) {
	for i, r := range f.asked {
		if value == fmt.Sprintf("signed-%d", i+1) {
			return r, !f.stale, nil
		}
	}
	return ticket.Request{}, false, ticket.ErrInvalid
}

type fakeReturns struct{ *testGate }

func (f fakeReturns) Keep(_ context.Context, r ticket.Request, whole, _ string) error {
	if f.kept == nil {
		f.kept = make(map[string]string)
	}
	f.kept[r.NonceHash] = whole
	return f.keepErr
}

func (f fakeReturns) Find(_ context.Context, r ticket.Request) (string, error) {
	return cmp.Or(f.kept[r.NonceHash], r.Return), f.findErr
}

type fakeCodec struct{ *testGate }

func (f fakeCodec) Encode(value []byte) (string, error) {
	return base64.RawURLEncoding.EncodeToString(value), f.sealErr
}

func (f fakeCodec) Decode(value string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(value)
}

type fakeTickets struct{ *testGate }

func (f fakeTickets) Redeem(_ context.Context, value string, _ ticket.Request) (session.SignOn, session.User, error) {
	f.redeemed = append(f.redeemed, value)
	if f.redeem != nil {
		if err := f.redeem(value); err != nil {
			return session.SignOn{}, session.User{}, err
		}
	}
	return session.SignOn{ID: "new", Expires: testNow.Add(12 * time.Hour)}, session.User{ID: "1", Name: "alice"}, nil
}

type fakeSink struct{}

func (fakeSink) AppendEvent(context.Context, store.Event) error { return nil }

// counter is randomness that differs from one read to the next.
type counter struct{ n byte }

func (c *counter) Read(p []byte) (int, error) {
	c.n++
	for i := range p {
		p[i] = c.n
	}
	return len(p), nil
}

// outcome is what became of a request.
type outcome struct {
	*httptest.ResponseRecorder
	passed  bool
	visitor *Visitor
	seen    *http.Request // by the app
	err     error
}

// serve sends a request with cookies through the gate.
func (g *testGate) serve(r *http.Request, cookies ...string) outcome {
	if len(cookies) > 0 {
		r.Header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	o := outcome{ResponseRecorder: httptest.NewRecorder()}
	o.err = g.ServeHTTP(o, r, func(w http.ResponseWriter, r *http.Request, v *Visitor) error {
		o.passed, o.visitor, o.seen = true, v, r
		w.WriteHeader(http.StatusOK)
		return nil
	})
	return o
}

// TestConnectionsAreClosed has each request watched over for as long as it is
// under way, however it ends.
func TestConnectionsAreClosed(t *testing.T) {
	for name, end := range map[string]func(){"answered": func() {}, "a panic": func() { panic("on purpose") }} {
		t.Run(name, func(t *testing.T) {
			g := newTestGate(t)
			r := navigate("/x")
			r.Header.Set("Cookie", cookieGood)
			func() {
				defer func() { _ = recover() }()
				_ = g.ServeHTTP(recorder(), r, func(http.ResponseWriter, *http.Request, *Visitor) error {
					if g.opened != 1 {
						t.Errorf("%d connections are open", g.opened)
					}
					end()
					return nil
				})
			}()
			if g.opened != 0 {
				t.Errorf("%d connections are open afterwards", g.opened)
			}
		})
	}
}

// navigate makes a request of somebody who navigates.
func navigate(target string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "app.example.com"
	r.Header.Set("Accept", "text/html")
	return r
}

func (o outcome) expectStopped(t *testing.T, status int) {
	t.Helper()
	if o.passed || o.err != nil {
		t.Errorf("it passed: %t, %v", o.passed, o.err)
	}
	if o.Code != status {
		t.Errorf("answered %d, not %d: %s", o.Code, status, o.heading())
	}
	if status != http.StatusFound && o.Header().Get("Location") != "" {
		t.Errorf("%d leads to %s", o.Code, o.Header().Get("Location"))
	}
}

func (o outcome) expectPassed(t *testing.T) {
	t.Helper()
	if !o.passed || o.Code != http.StatusOK {
		t.Errorf("refused: %d %s", o.Code, o.heading())
	}
}

// heading is what a page says first, or the whole of another answer.
func (o outcome) heading() string {
	if _, rest, found := strings.Cut(o.Body.String(), "<h1>"); found {
		heading, _, _ := strings.Cut(rest, "</h1>")
		return heading
	}
	return o.Body.String()
}

// expectReference wants a page that the log can be asked about.
func (o outcome) expectReference(t *testing.T) {
	t.Helper()
	if o.Header().Get("Retry-After") == "" || !strings.Contains(o.Body.String(), "-") || strings.Contains(o.Body.String(), errFault.Error()) {
		t.Errorf("the page says %s with %v", o.heading(), o.Header())
	}
}

const cookieGood = SessionCookie + "=good"

// TestMatcherThatFails lets a rule's matcher panic or fail (P03), for the path
// as it is or for one of its readings only: nobody passes, and the next request
// is decided on as ever.
func TestMatcherThatFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		match  func(*http.Request) (bool, error)
		target string
		status int
	}{
		{"panics with a text", func(*http.Request) (bool, error) { panic("no") }, "/x", http.StatusServiceUnavailable},
		{"panics with an error", func(*http.Request) (bool, error) { panic(errFault) }, "/x", http.StatusServiceUnavailable},
		{"panics with nil", func(*http.Request) (bool, error) { panic(nil) }, "/x", http.StatusServiceUnavailable},
		{"panics to abort", func(*http.Request) (bool, error) { panic(http.ErrAbortHandler) }, "/x", http.StatusServiceUnavailable},
		{"reads past an end", func(r *http.Request) (bool, error) { return r.URL.Path[len(r.URL.Path):][0] == 'x', nil }, "/x", http.StatusServiceUnavailable},
		{"fails", func(*http.Request) (bool, error) { return false, errFault }, "/x", http.StatusServiceUnavailable},
		{"fails and matches", func(*http.Request) (bool, error) { return true, errFault }, "/x", http.StatusServiceUnavailable},
		{"panics on a reading", func(r *http.Request) (bool, error) {
			if r.URL.Path != "/a/b" || r.URL.RawPath != "" {
				return true, nil
			}
			panic("no")
		}, "/a%2Fb;x", http.StatusServiceUnavailable},
		{"fails on a reading", func(r *http.Request) (bool, error) {
			if r.URL.Path != "/a/b" || r.URL.RawPath != "" {
				return true, nil
			}
			return true, errFault
		}, "/a%2Fb;x", http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t, Rule{Match: test.match, Open: true}, restOf())
			for range 2 {
				o := g.serve(navigate(test.target), cookieGood)
				o.expectStopped(t, test.status)
				o.expectReference(t)
			}
			o := g.serve(navigate("/.mfa/whoami"), cookieGood)
			o.expectStopped(t, http.StatusOK)
		})
	}
	t.Run("no rule at all", func(t *testing.T) {
		never := Rule{Match: func(*http.Request) (bool, error) { return false, nil }, Open: true}
		newTestGate(t, never, never).serve(navigate("/x"), cookieGood).expectStopped(t, http.StatusServiceUnavailable)
	})
}

// TestAmbiguousReadings refuses what two rules would decide on (P02), and
// passes as it came what one decides on in every reading.
func TestAmbiguousReadings(t *testing.T) {
	below := func(prefix string) func(*http.Request) (bool, error) {
		return func(r *http.Request) (bool, error) { return strings.HasPrefix(r.URL.Path, prefix), nil }
	}
	for _, test := range []struct {
		target string
		status int
		seen   string
	}{
		{"/open/x", http.StatusOK, "/open/x"},
		{"/open/a%2fb", http.StatusOK, "/open/a%2Fb"},
		{"/open%2fx", http.StatusBadRequest, ""},
		{"//open/x", http.StatusBadRequest, ""},
		{"/open;a/x", http.StatusBadRequest, ""},
		{"/x%2fopen", http.StatusOK, "/x%2Fopen"},
		{"/x/%2e%2e/open", http.StatusBadRequest, ""},
	} {
		t.Run(test.target, func(t *testing.T) {
			g := newTestGate(t, Rule{Match: below("/open/"), Open: true}, restOf())
			r := navigate("/")
			r.URL, r.RequestURI = mustParse(t, test.target), test.target
			o := g.serve(r, cookieGood)
			if test.status != http.StatusOK {
				o.expectStopped(t, test.status)
				return
			}
			o.expectPassed(t)
			if seen := o.seen.URL.RequestURI(); seen != test.seen || o.seen.RequestURI != test.seen {
				t.Errorf("passed as %q and %q, not as %q", seen, o.seen.RequestURI, test.seen)
			}
		})
	}
}

func mustParse(t *testing.T, target string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestStoreThatFails never takes "could not tell" for "nobody", nor for
// somebody.
func TestStoreThatFails(t *testing.T) {
	fail := func(string) error { return errFault }
	open := Rule{Match: func(r *http.Request) (bool, error) { return r.URL.Path == "/open", nil }, Open: true}
	for _, target := range []string{"/x", "/.mfa/whoami", "/.mfa/sign-out"} {
		t.Run(target, func(t *testing.T) {
			g := newTestGate(t, open, restOf())
			g.live = fail
			o := g.serve(navigate(target), cookieGood)
			o.expectStopped(t, http.StatusServiceUnavailable)
			o.expectReference(t)
			script := navigate(target)
			script.Header.Set("Accept", "application/json")
			o = g.serve(script, cookieGood)
			o.expectStopped(t, http.StatusServiceUnavailable)
			if kind := o.Header().Get("Content-Type"); kind != "application/problem+json" {
				t.Errorf("a script gets %s", kind)
			}
		})
	}
	t.Run("an open path asks nobody", func(t *testing.T) {
		g := newTestGate(t, open, restOf())
		g.live = fail
		o := g.serve(navigate("/open"), cookieGood)
		o.expectPassed(t)
		if o.visitor != nil || len(g.lookedUp) > 0 {
			t.Errorf("it passed as %v after looking up %q", o.visitor, g.lookedUp)
		}
	})
	t.Run("one of several sessions", func(t *testing.T) {
		// The first can't be told, so the second isn't even asked.
		g := newTestGate(t)
		g.sessions["other"] = sessionOf("other", time.Hour)
		g.live = func(id string) error {
			if id == "good" {
				return errFault
			}
			return nil
		}
		g.serve(navigate("/x"), cookieGood, SessionCookie+"=other").expectStopped(t, http.StatusServiceUnavailable)
	})
	t.Run("garbage costs no look-up", func(t *testing.T) {
		g := newTestGate(t)
		g.live = fail
		g.serve(navigate("/x"), SessionCookie+"=garbage").expectStopped(t, http.StatusFound)
		if len(g.lookedUp) > 0 {
			t.Errorf("looked up %q", g.lookedUp)
		}
	})
}

// TestNeighboursThatFail can't send anybody on without randomness, signature,
// seal or page.
func TestNeighboursThatFail(t *testing.T) {
	for name, breakIt := range map[string]func(*testGate){
		"randomness": func(g *testGate) { g.Random = iotest.ErrReader(errFault) },
		"signature":  func(g *testGate) { g.signErr = errFault },
		"seal":       func(g *testGate) { g.sealErr = errFault },
	} {
		t.Run(name, func(t *testing.T) {
			g := newTestGate(t)
			breakIt(g)
			o := g.serve(navigate("/x"))
			o.expectStopped(t, http.StatusServiceUnavailable)
			o.expectReference(t)
			if set := o.Header()["Set-Cookie"]; set != nil {
				t.Errorf("it set %q", set)
			}
		})
	}
	t.Run("pages", func(t *testing.T) {
		g := newTestGate(t, Rule{Allows: func(session.User) bool { return false }})
		g.Pages = brokenPages{g.Pages}
		o := g.serve(navigate("/x"), cookieGood)
		o.expectStopped(t, http.StatusInternalServerError)
		if strings.Contains(o.Body.String(), errFault.Error()) {
			t.Errorf("the page says %s", o.Body)
		}
	})
	t.Run("the app", func(t *testing.T) {
		// Errors of what lies behind are the operator's to answer.
		g := newTestGate(t)
		r := navigate("/x")
		r.Header["Cookie"] = []string{cookieGood}
		err := g.ServeHTTP(httptest.NewRecorder(), r, func(http.ResponseWriter, *http.Request, *Visitor) error { return errFault })
		if !errors.Is(err, errFault) {
			t.Errorf("the app's error came out as %v", err)
		}
	})
}

type brokenPages struct{ Pages }

func (brokenPages) Render(io.Writer, string, any) error { return errFault }

// TestSessions decides on cookies by what became of their sign-ons.
func TestSessions(t *testing.T) {
	ended := func(ids ...string) func(string) error {
		return func(id string) error {
			for _, gone := range ids {
				if id == gone {
					return session.ErrEnded
				}
			}
			return nil
		}
	}
	for _, test := range []struct {
		name     string
		sessions map[string]session.Session
		live     func(string) error
		cookies  []string
		status   int
	}{
		{"none", nil, nil, nil, http.StatusFound},
		{"garbage", nil, nil, []string{SessionCookie + "=x"}, http.StatusFound},
		{"another host's", map[string]session.Session{"x": {SignOn: "good", Host: "other.example.com", Minted: testNow.Add(-time.Hour)}}, nil, []string{SessionCookie + "=x"}, http.StatusFound},
		{"ended", nil, ended("good"), []string{cookieGood}, http.StatusFound},
		{"garbage before a good one", nil, nil, []string{SessionCookie + "=x", cookieGood}, http.StatusOK},
		{"an ended one before a good one", map[string]session.Session{"old": sessionOf("old", time.Hour)}, ended("old"), []string{SessionCookie + "=old", cookieGood}, http.StatusOK},
		{"the fifth", nil, nil, []string{SessionCookie + "=1", SessionCookie + "=2", SessionCookie + "=3", SessionCookie + "=4", cookieGood}, http.StatusFound},
		{"under another name", nil, nil, []string{StateCookie + "x=good", "__Host-mfa-portal=good", "__host-mfa=good"}, http.StatusFound},

		{"ended, minted 9 s ago", map[string]session.Session{"new": sessionOf("new", 9*time.Second)}, ended("new"), []string{SessionCookie + "=new"}, http.StatusForbidden},
		{"ended, minted 10 s ago", map[string]session.Session{"new": sessionOf("new", 10*time.Second)}, ended("new"), []string{SessionCookie + "=new"}, http.StatusFound},
		{"signed out, minted 9 s ago", map[string]session.Session{"new": sessionOf("new", 9*time.Second)}, func(string) error { return session.ErrSignedOut }, []string{SessionCookie + "=new"}, http.StatusFound},
		{"ended by somebody, minted 9 s ago", map[string]session.Session{"new": sessionOf("new", 9*time.Second)}, func(string) error { return session.ErrTerminated }, []string{SessionCookie + "=new"}, http.StatusFound},
		{"ended, minted by a clock ahead of ours", map[string]session.Session{"new": sessionOf("new", -time.Minute)}, ended("new"), []string{SessionCookie + "=new"}, http.StatusForbidden},
		{"ended at once beside a good one", map[string]session.Session{"new": sessionOf("new", time.Second)}, ended("new"), []string{SessionCookie + "=new", cookieGood}, http.StatusOK},

		{"the password alone", map[string]session.Session{"weak": sessionOf("weak", time.Minute, assurance.Password)}, nil, []string{SessionCookie + "=weak"}, http.StatusFound},
		{"the second factor alone", map[string]session.Session{"weak": sessionOf("weak", time.Minute, assurance.TOTP)}, nil, []string{SessionCookie + "=weak"}, http.StatusFound},
		{"no proof at all", map[string]session.Session{"weak": {SignOn: "weak", Host: "app.example.com", Minted: testNow.Add(-time.Hour)}}, nil, []string{SessionCookie + "=weak"}, http.StatusFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t)
			for value, s := range test.sessions {
				g.sessions[value] = s
			}
			g.live = test.live
			o := g.serve(navigate("/x"), test.cookies...)
			if test.status == http.StatusOK {
				o.expectPassed(t)
				return
			}
			o.expectStopped(t, test.status)
			if test.status == http.StatusForbidden && o.Header()["Set-Cookie"] != nil {
				t.Errorf("the page sets %q", o.Header()["Set-Cookie"])
			}
		})
	}
}

// TestScriptsAreNotToldOfCookies holds that what isn't a person on the way to a
// page hears that nobody is signed in, however new the session is.
func TestScriptsAreNotToldOfCookies(t *testing.T) {
	for _, ended := range []error{session.ErrEnded, session.ErrTerminated, session.ErrSignedOut} {
		g := newTestGate(t)
		g.sessions["new"] = sessionOf("new", time.Second)
		g.live = func(string) error { return ended }
		r := navigate("/x")
		r.Header.Set("Sec-Fetch-Mode", "cors")
		r.Header.Set("Sec-Fetch-Dest", "empty")
		r.Header.Set("Accept", "application/json")
		o := g.serve(r, SessionCookie+"=new")
		o.expectStopped(t, http.StatusUnauthorized)
		if strings.Contains(o.Body.String(), "cookies") {
			t.Errorf("%v: %s", ended, o.Body)
		}
	}
}

// TestProofsOfFactorsSwitchedOff count for nothing.
func TestProofsOfFactorsSwitchedOff(t *testing.T) {
	g := newTestGate(t)
	g.serve(navigate("/x"), cookieGood).expectPassed(t)
	g.Weights = maps.Clone(weights)
	delete(g.Weights, assurance.TOTP)
	g.serve(navigate("/x"), cookieGood).expectStopped(t, http.StatusFound)
	if ask := g.asked[0].Ask; ask.Level != assurance.Multi {
		t.Errorf("the portal is asked for %s", ask.Level)
	}
}

// TestPassing tells the app, and whoever stands behind, who is there.
func TestPassing(t *testing.T) {
	g := newTestGate(t)
	r := navigate("/")
	r.Host = "APP.example.com."
	r.URL, r.RequestURI = mustParse(t, "/%78?y"), "/%78?y"
	r.Header.Set("Remote-Email", "mallory@example.com")
	o := g.serve(r, cookieGood, "theme=dark")
	o.expectPassed(t)
	if o.visitor == nil || o.visitor.User.Name != "alice" || o.visitor.Level() != assurance.Multi {
		t.Errorf("it passed as %+v", o.visitor)
	}
	for name, want := range map[string]string{"Remote-User": "alice", "Remote-Groups": "staff", "Remote-Email": "", "Cookie": "theme=dark"} {
		if got := strings.Join(o.seen.Header[name], "|"); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
}

// TestEarlyData refuses what a bystander could have the server do twice.
func TestEarlyData(t *testing.T) {
	for _, test := range []struct {
		method   string
		complete bool
		header   string
		status   int
	}{
		{http.MethodPost, true, "", http.StatusOK},
		{http.MethodPost, false, "", http.StatusTooEarly},
		{http.MethodPost, true, "1", http.StatusTooEarly},
		{http.MethodGet, false, "1", http.StatusOK},
		{http.MethodHead, false, "", http.StatusOK},
		{http.MethodDelete, false, "", http.StatusTooEarly},
	} {
		t.Run(fmt.Sprintf("%s %t %q", test.method, test.complete, test.header), func(t *testing.T) {
			r := navigate("https://app.example.com/x")
			r.Method, r.TLS = test.method, &tls.ConnectionState{HandshakeComplete: test.complete}
			if test.header != "" {
				r.Header.Set("Early-Data", test.header)
			}
			o := newTestGate(t).serve(r, cookieGood)
			if test.status == http.StatusOK {
				o.expectPassed(t)
			} else {
				o.expectStopped(t, test.status)
			}
		})
	}
}

// TestEarlyDataOfReads refuses what changes something by GET: the gate's own
// routes, and another method that an app would see.
func TestEarlyDataOfReads(t *testing.T) {
	for path, want := range map[string]int{
		"/.mfa/callback?ticket=x": http.StatusTooEarly, "/.mfa/sign-in": http.StatusTooEarly, "/.mfa/switch": http.StatusTooEarly,
		"/.mfa/sign-out": http.StatusTooEarly, "/%2Emfa/callback?ticket=x": http.StatusTooEarly,
		"/.mfa/whoami": http.StatusOK, "/x?_method=DELETE": http.StatusTooEarly,
	} {
		for _, values := range [][]string{nil, {"1"}, {"0", "1"}, {"yes"}} {
			r := navigate("https://app.example.com" + path)
			r.TLS = &tls.ConnectionState{HandshakeComplete: values != nil}
			if values != nil {
				r.Header["Early-Data"] = values
			}
			newTestGate(t).serve(r, cookieGood).expectStopped(t, want)
		}
	}
}

// TestReturnAddress sends people back to where they wanted to go. What doesn't
// fit into a request to the portal is kept meanwhile.
func TestReturnAddress(t *testing.T) {
	long := strings.Repeat("a", ticket.MaxReturn)
	for _, test := range []struct{ target, want, kept string }{
		{"/", "/", ""},
		{"/x?y=z&a=%2F", "/x?y=z&a=%2F", ""},
		{"/%78//y", "/x//y", ""},
		{"/a%2fb", "/a%2Fb", ""},
		{"/x?" + long, "/x", "/x?" + long},
		{"/x?\xff" + long, "/x", "/x?%FF" + long},
		{"/" + long, "/", "/" + long},
		{"/x?" + long[:ticket.MaxReturn-len(testOrigin+"/x?")], "/x?" + long[:ticket.MaxReturn-len(testOrigin+"/x?")], ""},
		{"//evil.example/x", "//evil.example/x", ""},
	} {
		t.Run(test.target[:min(len(test.target), 20)], func(t *testing.T) {
			g := newTestGate(t)
			r := navigate("/")
			r.URL, r.RequestURI = mustParse(t, test.target), test.target
			g.serve(r).expectStopped(t, http.StatusFound)
			if got := g.asked[0].Return; got != testOrigin+test.want {
				t.Errorf("leads back to %.80s", got)
			}
			if kept := g.kept[g.asked[0].NonceHash]; g.asked[0].Kept != (test.kept != "") || strings.TrimPrefix(kept, testOrigin) != test.kept {
				t.Errorf("keeps %.80s", kept)
			}
		})
	}
}

// TestReturnAddressThatIsNotKept tells people to open the address again, rather
// than to bring them somewhere else.
func TestReturnAddressThatIsNotKept(t *testing.T) {
	long := "/x?" + strings.Repeat("a", ticket.MaxReturn)
	for _, test := range []struct {
		name, target string
		keepErr      error
		status       int
	}{
		{"too many are kept", long, ticket.ErrTooManyReturns, http.StatusRequestURITooLong},
		{"too long", "/x?" + strings.Repeat("a", ticket.MaxKeptReturn), nil, http.StatusRequestURITooLong},
		{"too long to switch", "/.mfa/switch?to=/x%3F" + strings.Repeat("a", ticket.MaxKeptReturn), nil, http.StatusRequestURITooLong},
		{"the store is down", long, errors.New("down"), http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t)
			g.keepErr = test.keepErr
			r := navigate("/")
			r.URL, r.RequestURI = mustParse(t, test.target), test.target
			o := g.serve(r)
			o.expectStopped(t, test.status)
			if len(g.asked) > 0 {
				t.Errorf("the portal is asked for %.80v", g.asked)
			}
			if test.status == http.StatusRequestURITooLong && !strings.Contains(o.Body.String(), "/.mfa/sign-in?assurance=multi&amp;to=%2F") {
				t.Errorf("the page leads to no sign-in: %s", o.Body)
			}
		})
	}
}

// TestErrorPage answers in place of an operator's error route, to people and
// to programs.
func TestErrorPage(t *testing.T) {
	g := newTestGate(t)
	for accept, kind := range map[string]string{"text/html": "text/html; charset=utf-8", "*/*": "application/problem+json"} {
		w := httptest.NewRecorder()
		r := navigate("/x")
		r.Header.Set("Accept", accept)
		g.ErrorPage(w, r, http.StatusMisdirectedRequest)
		if w.Code != http.StatusMisdirectedRequest || w.Header().Get("Content-Type") != kind || !bytes.Contains(w.Body.Bytes(), []byte("Misdirected")) {
			t.Errorf("%s: %d %v %s", accept, w.Code, w.Header(), w.Body)
		}
	}
}

// weights are those of all factors that there are.
var weights = assurance.Weights{
	assurance.Password: assurance.First, assurance.Certificate: assurance.Machine, assurance.FIDO: assurance.Unphishable,
	assurance.TOTP: assurance.Second, assurance.Push: assurance.Second, assurance.BackupCode: assurance.Second,
	assurance.Email: assurance.Second, assurance.SMS: assurance.Second,
}
