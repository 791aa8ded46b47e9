package gate

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
)

func nobody(session.User) bool { return false }

// placesToGo are what somebody may write into a link of ours, and where that
// leads (R01).
var placesToGo = []struct{ to, want string }{
	{"", "/"},
	{"/x?y=z", "/x?y=z"},
	{"/x?y=z#part", "/x?y=z"},
	{"/%78", "/%78"},
	{"//evil.example/x", "/evil.example/x"},
	{"///evil.example/x", "/evil.example/x"},
	{`/\evil.example`, "/%5Cevil.example"},
	{`\\evil.example`, "/"},
	{"/%2F/evil.example", "/%2F/evil.example"},
	{"https://evil.example/x", "/"},
	{"https:evil.example", "/"},
	{"https:/evil.example", "/"},
	{"https:///evil.example", "/"},
	{testOrigin + "/x", "/"},
	{testOrigin + ".evil.example/", "/"},
	{testOrigin + "@evil.example/", "/"},
	{"javascript:alert(1)", "/"},
	{"data:text/html,x", "/"},
	{"evil.example", "/"},
	{".evil.example", "/"},
	{"@evil.example", "/"},
	{":8443/x", "/"},
	{"/x\r\nSet-Cookie: a=b", "/"},
	{"/\tx", "/"},
	{"\t//evil.example", "/"},
	{"/x\x00", "/"},
	{"/" + strings.Repeat("a", 3<<10), "/" + strings.Repeat("a", 3<<10)},
	{"/@evil.example", "/@evil.example"},
	{"/gr\u00f6\u00dfe?\u00e4", "/gr%C3%B6%C3%9Fe?%C3%A4"},
	{"/.mfa/sign-out", "/"},
	{"/.mfa/switch?to=/x", "/"},
	{"//.mfa/switch", "/"},
	{"/%2Emfa/switch", "/"},
	{"/.mfa/callback?ticket=t", "/"},
	{"/.mfa/signed-in", "/.mfa/signed-in"},
}

// TestPlacesToGo leads nowhere but to this site, whatever a link says.
func TestPlacesToGo(t *testing.T) {
	for _, route := range []string{"switch", "sign-in"} {
		for _, test := range placesToGo {
			t.Run(route+" "+test.to[:min(len(test.to), 20)], func(t *testing.T) {
				g := newTestGate(t)
				o := g.serve(navigate("/.mfa/"+route+"?"+url.Values{"to": {test.to}}.Encode()), cookieGood)
				o.expectStopped(t, http.StatusFound)
				asked := g.asked[0]
				if asked.Switch != (route == "switch") || asked.Origin != testOrigin {
					t.Errorf("asks for %+v", asked)
				}
				if whole, _ := g.Returns.Find(t.Context(), asked); whole != testOrigin+test.want {
					t.Errorf("%.40q leads to %.80q", test.to, asked.Return)
				}
			})
		}
	}
}

// TestSignInFromAPage leads back to the page that the browser names, if it is
// of this site.
func TestSignInFromAPage(t *testing.T) {
	for _, test := range []struct{ referrer, want string }{
		{testOrigin + "/inbox?a=b", "/inbox?a=b"},
		{testOrigin + "/", "/"},
		{testOrigin, "/"},
		{"https://APP.example.com/inbox", "/"},
		{testOrigin + ".evil.example/inbox", "/"},
		{testOrigin + "@evil.example/inbox", "/"},
		{testOrigin + ":8443/inbox", "/"},
		{"http://app.example.com/inbox", "/"},
		{"https://b.example.com/inbox", "/"},
		{testOrigin + "//evil.example/x", "/evil.example/x"},
		{testOrigin + "/.mfa/whoami", "/"},
		{testOrigin + "/x\r\ny", "/"},
		{"", "/"},
	} {
		t.Run(test.referrer, func(t *testing.T) {
			g := newTestGate(t)
			if ask := g.follow(t, "/.mfa/sign-in", test.referrer); ask.Return != testOrigin+test.want {
				t.Errorf("leads to %q", ask.Return)
			}
			// What the link says goes first.
			if ask := g.follow(t, "/.mfa/sign-in?to=/x", test.referrer); ask.Return != testOrigin+"/x" {
				t.Errorf("leads to %q and not to what it says", ask.Return)
			}
		})
	}
}

// TestRequirementsInLinks asks for nothing that no rule asks.
func TestRequirementsInLinks(t *testing.T) {
	rule := func(level assurance.Level, age time.Duration) Rule {
		return Rule{Allows: nobody, Require: assurance.Requirement{Level: level, MaxAge: age},
			Match: func(*http.Request) (bool, error) { return false, nil }}
	}
	open := Rule{Open: true, Match: func(*http.Request) (bool, error) { return false, nil }}
	rules := []Rule{open, rule(assurance.Multi, 15*time.Minute), rule(assurance.PhishingResistant, 1500*time.Millisecond), rule(assurance.Single, 0), restOf()}
	for _, test := range []struct {
		query string
		want  assurance.Requirement
	}{
		{"assurance=multi&max_age=900", rules[1].Require},
		{"assurance=phishing_resistant&max_age=2", rules[2].Require},
		{"assurance=single", rules[3].Require},
		{"assurance=multi", rules[4].Require},
		{"", rules[4].Require},
		{"assurance=none", rules[4].Require},
		{"assurance=phishing_resistant", rules[4].Require},
		{"assurance=phishing_resistant&max_age=1", rules[4].Require},
		{"assurance=multi&max_age=-900", rules[4].Require},
		{"assurance=multi&max_age=900000000000000000000", rules[4].Require},
		{"assurance=device", rules[4].Require},
	} {
		t.Run(test.query, func(t *testing.T) {
			if ask := newTestGate(t, rules...).follow(t, "/.mfa/sign-in?"+test.query, ""); ask.Ask != test.want {
				t.Errorf("asks for %+v", ask.Ask)
			}
		})
	}
	for _, rule := range rules[1:] {
		link := signInPath(rule.Require, "")
		if ask := newTestGate(t, rules...).follow(t, link, ""); ask.Ask != rule.Require {
			t.Errorf("%s asks for %+v", link, ask.Ask)
		}
	}
}

// TestSignInIsNotFetched sends nothing but a window to the portal.
func TestSignInIsNotFetched(t *testing.T) {
	for _, header := range []string{asScript, asFrame, asNavigation + "\nSec-Purpose: prefetch", "Accept: */*"} {
		g := demanding(t)
		o := g.serve(withHeader(navigate("/.mfa/sign-in?to=/x"), "", header))
		expectDemand(t, g, o, o.Header().Get("Content-Type"))
	}
	g := newTestGate(t)
	g.serve(withHeader(navigate("/.mfa/sign-in"), "POST", asForm)).expectStopped(t, http.StatusNotFound)
}

// TestSignedIn says so only to somebody who is.
func TestSignedIn(t *testing.T) {
	g := newTestGate(t)
	o := g.serve(navigate("/.mfa/signed-in"), cookieGood)
	o.expectStopped(t, http.StatusOK)
	if !strings.Contains(o.Body.String(), "Close this tab") {
		t.Errorf("the page says %s", o.Body)
	}
	g.serve(navigate("/.mfa/signed-in")).expectStopped(t, http.StatusFound)
	if len(g.asked) != 1 || g.asked[0].Return != testOrigin+"/.mfa/signed-in" {
		t.Errorf("asks for %+v", g.asked)
	}
	g.live = func(string) error { return errFault }
	g.serve(navigate("/.mfa/signed-in"), cookieGood).expectStopped(t, http.StatusServiceUnavailable)
}

// land brings somebody back from the portal and returns the mark that is then
// in the place of the nonce.
func (g *testGate) land(t *testing.T) (mark string) {
	t.Helper()
	state, callback := g.begin(t)
	o := g.serve(navigate(callback), state)
	if o.Code != http.StatusSeeOther {
		t.Fatalf("answered %d", o.Code)
	}
	name, _, _ := strings.Cut(state, "=")
	for _, c := range o.Result().Cookies() {
		if c.Name == name && c.Value != "" && c.MaxAge == int(settling/time.Second) && c.Secure && c.HttpOnly {
			return name + "=" + c.Value
		}
	}
	t.Fatalf("no mark among %v", o.Result().Cookies())
	return ""
}

// TestSessionThatIsNotKept ends with a page after one round where a browser
// keeps all of our cookies but the session (R04).
func TestSessionThatIsNotKept(t *testing.T) {
	for _, test := range []struct {
		name    string
		target  string
		spoil   func(*testGate)
		cookies []string // beside the mark
		status  int
	}{
		{"dropped", "/x", nil, nil, http.StatusForbidden},
		{"dropped, and a sign-in is begun", "/.mfa/sign-in?to=/x", nil, nil, http.StatusForbidden},
		{"dropped, in a new tab", "/.mfa/signed-in", nil, nil, http.StatusForbidden},
		{"damaged", "/x", nil, []string{SessionCookie + "=damaged"}, http.StatusForbidden},
		{"over already by our clock", "/x", func(g *testGate) {
			old := g.sessions["good"]
			old.Expires = g.now.Add(-time.Hour)
			g.sessions["good"] = old
		}, []string{cookieGood}, http.StatusForbidden},
		{"kept", "/x", nil, []string{cookieGood}, http.StatusOK},
		{"kept, and signed out elsewhere", "/x", func(g *testGate) {
			g.live = func(string) error { return session.ErrSignedOut }
		}, []string{cookieGood}, http.StatusFound},
		{"kept, and the store fails", "/x", func(g *testGate) {
			g.live = func(string) error { return errFault }
		}, []string{cookieGood}, http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t)
			mark := g.land(t)
			if test.spoil != nil {
				test.spoil(g)
			}
			o := g.serve(navigate(test.target), append(test.cookies, mark)...)
			if test.status == http.StatusOK {
				o.expectPassed(t)
				if o.seen.Header.Get("Cookie") != "" {
					t.Errorf("the app sees %s", o.seen.Header.Get("Cookie"))
				}
				return
			}
			o.expectStopped(t, test.status)
			if test.status == http.StatusForbidden && !strings.Contains(o.Body.String(), "cookies") {
				t.Errorf("the page says %s", o.heading())
			}
		})
	}
	t.Run("a mark that nobody sealed", func(t *testing.T) {
		newTestGate(t).serve(navigate("/x"), StateCookie+"x=e").expectStopped(t, http.StatusFound)
	})
	t.Run("a mark is no nonce", func(t *testing.T) {
		g := newTestGate(t)
		mark := g.land(t)
		_, callback := g.begin(t)
		g.sessions = nil
		redeemed := len(g.redeemed)
		g.serve(navigate(callback), mark).expectStopped(t, http.StatusFound)
		if len(g.redeemed) != redeemed {
			t.Error("a ticket was redeemed for it")
		}
	})
	t.Run("a form and a script are asked as ever", func(t *testing.T) {
		g := newTestGate(t)
		mark := g.land(t)
		g.serve(withHeader(navigate("/x"), "POST", asForm), mark).expectStopped(t, http.StatusUnauthorized)
		g.serve(withHeader(navigate("/x"), "", asScript), mark).expectStopped(t, http.StatusUnauthorized)
	})
	t.Run("signing out takes the mark along", func(t *testing.T) {
		g := newTestGate(t)
		mark := g.land(t)
		r := withHeader(navigate("/.mfa/sign-out"), "POST", asForm)
		o := g.serve(r, cookieGood, mark)
		name, _, _ := strings.Cut(mark, "=")
		if value, set := o.setCookies()[name]; o.Code != http.StatusOK || !set || value != "" {
			t.Errorf("answered %d, sets %v", o.Code, o.setCookies())
		}
	})
	t.Run("a mark that can't be sealed", func(t *testing.T) {
		g := newTestGate(t)
		state, callback := g.begin(t)
		g.sealErr = errors.New("no key")
		o := g.serve(navigate(callback), state)
		o.expectStopped(t, http.StatusServiceUnavailable)
		if o.setCookies()[SessionCookie] != "" {
			t.Errorf("sets %v", o.setCookies())
		}
	})
}
