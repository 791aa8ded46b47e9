package gate

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// begin has the gate send somebody to the portal, and returns the state cookie
// that it left and the address to which the portal leads back.
func (g *testGate) begin(t *testing.T) (state, callback string) {
	t.Helper()
	return g.beginAt(t, "/x?y")
}

// beginAt is begin for somebody who wants to go there.
func (g *testGate) beginAt(t *testing.T, target string) (state, callback string) {
	t.Helper()
	o := g.serve(navigate(target))
	o.expectStopped(t, http.StatusFound)
	at, err := url.Parse(o.Header().Get("Location"))
	if err != nil || at.Host != "login.example.com" || at.Path != "/sign-in" {
		t.Fatalf("leads to %s", at)
	}
	set := o.Result().Cookies()
	if len(set) != 1 {
		t.Fatalf("sets %v", set)
	}
	return set[0].Name + "=" + set[0].Value, "/.mfa/callback?" + url.Values{"ticket": {"t"}, "request": {at.Query().Get("request")}}.Encode()
}

// setCookies returns the cookies that an answer sets, by name; a cookie that
// it clears has no value.
func (o outcome) setCookies() map[string]string {
	set := make(map[string]string)
	for _, c := range o.Result().Cookies() {
		set[c.Name] = c.Value
	}
	return set
}

func TestCallback(t *testing.T) {
	g := newTestGate(t)
	state, callback := g.begin(t)
	o := g.serve(navigate(callback), state)
	if o.passed || o.Code != http.StatusSeeOther || o.Header().Get("Location") != testOrigin+"/x?y" {
		t.Fatalf("answered %d to %s", o.Code, o.Header().Get("Location"))
	}
	name, nonce, _ := strings.Cut(state, "=")
	if set := o.setCookies(); len(set) != 3 || set[LastCookie] == "" || set[SessionCookie] != "minted-for-new-at-app.example.com" || set[name] == nonce {
		t.Errorf("sets %v", set)
	}
	for _, c := range o.Result().Cookies() {
		if !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("sets %s", c)
		}
	}
	if o.Header().Get("Clear-Site-Data") != "" {
		t.Error("clears what the app left, although nobody was here before")
	}
	if !slices.Equal(g.redeemed, []string{"t"}) {
		t.Errorf("redeemed %q", g.redeemed)
	}
}

// TestSessionCookie ends with the sign-on, or at a computer that others use
// with the browser; inside the pages of other sites it counts only where that
// is wanted.
func TestSessionCookie(t *testing.T) {
	for _, test := range []struct {
		name     string
		shared   bool
		sameSite http.SameSite
		maxAge   int
		want     http.SameSite
	}{
		{"as usual", false, http.SameSiteLaxMode, 12 * 60 * 60, http.SameSiteLaxMode},
		{"a shared computer", true, http.SameSiteLaxMode, 0, http.SameSiteLaxMode},
		{"embedded", false, http.SameSiteNoneMode, 12 * 60 * 60, http.SameSiteNoneMode},
		{"nothing said", false, 0, 12 * 60 * 60, http.SameSiteLaxMode},
		{"stricter than people could use", false, http.SameSiteStrictMode, 12 * 60 * 60, http.SameSiteLaxMode},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t)
			g.SameSite = test.sameSite
			w := recorder()
			signOn := session.SignOn{ID: "new", UserID: "1", Expires: testNow.Add(12 * time.Hour), Shared: test.shared}
			g.beginSession(w, &request{Request: navigate("/"), host: "app.example.com", origin: testOrigin}, signOn,
				ticket.Request{Return: testOrigin + "/", NonceHash: "0123456789"})
			for _, c := range w.Result().Cookies() {
				want, maxAge := http.SameSiteLaxMode, int(settling/time.Second)
				switch c.Name {
				case SessionCookie:
					want, maxAge = test.want, test.maxAge
				case LastCookie:
					want, maxAge = test.want, 365*24*60*60
				}
				if c.SameSite != want || c.MaxAge != maxAge || !c.Secure || !c.HttpOnly {
					t.Errorf("sets %s", c)
				}
			}
			if len(w.Result().Cookies()) != 3 {
				t.Errorf("sets %v", w.Result().Cookies())
			}
		})
	}
}

// TestCallbackThatCannotFinish starts over once, and then says what is wrong.
func TestCallbackThatCannotFinish(t *testing.T) {
	for _, test := range []struct {
		name     string
		spoil    func(g *testGate, state string) (cookies []string)
		redeemed bool // the ticket was looked at
	}{
		{"no state cookie", func(*testGate, string) []string { return nil }, false},
		{"garbage for a state", func(_ *testGate, state string) []string { return []string{state[:strings.Index(state, "=")+1] + "x"} }, false},
		{"the state of another attempt", func(_ *testGate, state string) []string {
			other := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"n":"other","u":%q}`, testNow.Add(time.Minute).Format(time.RFC3339)))
			return []string{state[:strings.Index(state, "=")+1] + other}
		}, false},
		{"a state over its age", func(g *testGate, state string) []string {
			g.now = g.now.Add(ticket.RequestLifetime)
			return []string{state}
		}, false},
		{"a request over its age", func(g *testGate, state string) []string {
			g.stale = true
			return []string{state}
		}, false},
		{"a ticket that was used", func(g *testGate, state string) []string {
			g.redeem = func(string) error { return ticket.ErrSpent }
			return []string{state}
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t)
			state, callback := g.begin(t)
			cookies := test.spoil(g, state)
			o := g.serve(navigate(callback), cookies...)
			o.expectStopped(t, http.StatusFound)
			if o.setCookies()[SessionCookie] != "" || (len(g.redeemed) > 0) != test.redeemed {
				t.Errorf("sets %v after redeeming %q", o.setCookies(), g.redeemed)
			}
			again := g.asked[1]
			if again.Attempt != 1 || again.Return != g.asked[0].Return || again.Ask != g.asked[0].Ask || again.Origin != testOrigin {
				t.Errorf("asks again for %+v", again)
			}

			// The second time round there is an end, whatever the reason now.
			g.stale = false
			second := "/.mfa/callback?ticket=t&request=signed-2"
			o = g.serve(navigate(second))
			o.expectStopped(t, http.StatusForbidden)
			if !strings.Contains(o.Body.String(), "cookies") {
				t.Errorf("the page says %s", o.heading())
			}
			audited := g.audited.FilterMessage("ticket.refused").FilterField(zap.String("address", "192.0.2.1"))
			if audited.Len() != 2 {
				t.Errorf("audited %v", g.audited.All())
			}
		})
	}
	t.Run("somebody signed in goes on", func(t *testing.T) {
		g := newTestGate(t)
		_, callback := g.begin(t)
		o := g.serve(navigate(callback), cookieGood)
		if o.Code != http.StatusSeeOther || o.Header().Get("Location") != testOrigin+"/x?y" || g.audited.Len() > 0 {
			t.Errorf("answered %d to %s, audited %v", o.Code, o.Header().Get("Location"), g.audited.All())
		}
	})
	t.Run("somebody with too little starts over", func(t *testing.T) {
		g := newTestGate(t)
		g.sessions["weak"] = sessionOf("weak", time.Hour, assurance.Password)
		_, callback := g.begin(t)
		g.serve(navigate(callback), SessionCookie+"=weak").expectStopped(t, http.StatusFound)
	})
	t.Run("a session that was refused at once", func(t *testing.T) {
		g := newTestGate(t)
		g.sessions["new"] = sessionOf("new", time.Second)
		g.live = func(string) error { return session.ErrEnded }
		_, callback := g.begin(t)
		g.serve(navigate(callback), SessionCookie+"=new").expectStopped(t, http.StatusFound)
	})
}

// TestCallbackRefusals answers 400 to what this site's gate didn't ask for,
// and 503 where it can't be told.
func TestCallbackRefusals(t *testing.T) {
	for _, test := range []struct {
		name   string
		host   string
		query  string // empty: as the portal sent it
		spoil  func(*testGate)
		status int
	}{
		{"of another site", "other.example.com", "", func(*testGate) {}, http.StatusBadRequest},
		{"of a host that isn't ours", "evil.example", "", func(*testGate) {}, http.StatusBadRequest},
		{"no request", "", "ticket=t", func(*testGate) {}, http.StatusBadRequest},
		{"a request that nobody signed", "", "ticket=t&request=signed-7", func(*testGate) {}, http.StatusBadRequest},
		{"a malformed query", "", "ticket=%zz", func(*testGate) {}, http.StatusBadRequest},
		{"the store fails", "", "", func(g *testGate) { g.redeem = func(string) error { return errFault } }, http.StatusServiceUnavailable},
		{"no session can be made", "", "", func(g *testGate) { g.mintErr = errFault }, http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t)
			state, callback := g.begin(t)
			test.spoil(g)
			if test.query != "" {
				callback = "/.mfa/callback?" + test.query
			}
			r := navigate(callback)
			if test.host != "" {
				r.Host = test.host
			}
			o := g.serve(r, state)
			o.expectStopped(t, test.status)
			if o.setCookies()[SessionCookie] != "" {
				t.Errorf("sets %v", o.setCookies())
			}
			if test.status == http.StatusBadRequest && len(g.redeemed) > 0 {
				t.Errorf("redeemed %q", g.redeemed)
			}
		})
	}
	t.Run("the store fails while starting over", func(t *testing.T) {
		g := newTestGate(t)
		_, callback := g.begin(t)
		g.live = func(string) error { return errFault }
		g.serve(navigate(callback), cookieGood).expectStopped(t, http.StatusServiceUnavailable)
	})
}

// TestStateCookies keeps no more attempts than a browser needs: the oldest go,
// and what says nothing goes first.
func TestStateCookies(t *testing.T) {
	state := func(name string, left time.Duration) string {
		raw, err := json.Marshal(map[string]any{"n": "nonce", "u": testNow.Add(left)})
		if err != nil {
			t.Fatal(err)
		}
		return StateCookie + name + "=" + base64.RawURLEncoding.EncodeToString(raw)
	}
	var eight []string
	for i := range maxStates {
		eight = append(eight, state(fmt.Sprintf("old%d", i), time.Duration(i+1)*time.Minute))
	}
	for _, test := range []struct {
		name    string
		cookies []string
		cleared []string
	}{
		{"none", nil, nil},
		{"seven", eight[:7], nil},
		{"eight", eight, []string{"old0"}},
		{"eight in another order", []string{eight[3], eight[7], eight[0], eight[1], eight[6], eight[2], eight[5], eight[4]}, []string{"old0"}},
		{"ten", append(slices.Clone(eight), state("new1", 14*time.Minute), state("new2", 14*time.Minute)), []string{"old0", "old1", "old2"}},
		{"garbage", []string{StateCookie + "bad=x", state("fine", time.Minute)}, []string{"bad"}},
		{"over its age", []string{state("dead", -time.Second), state("due", 0)}, []string{"dead", "due"}},
		{"of one age", []string{state("b", time.Minute), state("a", time.Minute), eight[1], eight[2], eight[3], eight[4], eight[5], eight[6]}, []string{"a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newTestGate(t).serve(navigate("/x"), test.cookies...)
			o.expectStopped(t, http.StatusFound)
			var cleared []string
			kept := 0
			for _, c := range o.Result().Cookies() {
				if c.MaxAge < 0 {
					cleared = append(cleared, strings.TrimPrefix(c.Name, StateCookie))
				} else if kept++; c.MaxAge != int(ticket.RequestLifetime/time.Second) {
					t.Errorf("sets %s", c)
				}
			}
			slices.Sort(cleared)
			if !slices.Equal(cleared, test.cleared) || kept != 1 {
				t.Errorf("clears %q and sets %d", cleared, kept)
			}
		})
	}
	t.Run("a hundred", func(t *testing.T) {
		var hundred []string
		for i := range 150 {
			hundred = append(hundred, state(fmt.Sprintf("n%03d", i), time.Minute))
		}
		o := newTestGate(t).serve(navigate("/x"), hundred...)
		if set := len(o.Result().Cookies()); o.Code != http.StatusFound || set > maxStateValues+1 {
			t.Errorf("answered %d with %d cookies", o.Code, set)
		}
	})
}

// TestSignOut ends a sign-on by a post from our own page only (W01).
func TestSignOut(t *testing.T) {
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for _, test := range []struct {
		name   string
		method string
		header map[string]string
		spoil  func(*testGate)
		status int
		ended  bool
	}{
		{"our own form", http.MethodPost, map[string]string{"Sec-Fetch-Site": "same-origin"}, nil, http.StatusOK, true},
		{"our own form, an old browser", http.MethodPost, map[string]string{"Origin": testOrigin}, nil, http.StatusOK, true},
		{"a page that asks first", http.MethodGet, nil, nil, http.StatusOK, false},
		{"another site", http.MethodPost, map[string]string{"Sec-Fetch-Site": "cross-site"}, nil, http.StatusForbidden, false},
		{"a sibling", http.MethodPost, map[string]string{"Sec-Fetch-Site": "same-site"}, nil, http.StatusForbidden, false},
		{"another site, an old browser", http.MethodPost, map[string]string{"Origin": "https://evil.example"}, nil, http.StatusForbidden, false},
		{"no form", http.MethodPost, map[string]string{"Content-Type": "text/plain"}, nil, http.StatusForbidden, false},
		{"an origin that is hidden", http.MethodPost, map[string]string{"Origin": "null"}, nil, http.StatusForbidden, false},
		{"nobody", http.MethodPost, nil, func(g *testGate) { clear(g.sessions) }, http.StatusOK, false},
		{"the store fails", http.MethodPost, nil, func(g *testGate) { g.live = func(string) error { return errFault } }, http.StatusServiceUnavailable, false},
		{"ending fails", http.MethodPost, nil, func(g *testGate) { g.endErr = errFault }, http.StatusServiceUnavailable, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t)
			if test.spoil != nil {
				test.spoil(g)
			}
			r := navigate("/.mfa/sign-out")
			r.Method = test.method
			for _, header := range []map[string]string{form, test.header} {
				for name, value := range header {
					r.Header.Set(name, value)
				}
			}
			o := g.serve(r, cookieGood)
			o.expectStopped(t, test.status)
			if (len(g.ended) > 0) != test.ended {
				t.Errorf("ended %q", g.ended)
			}
			_, cleared := o.setCookies()[SessionCookie]
			if want := test.status == http.StatusOK && test.method == http.MethodPost; cleared != want {
				t.Errorf("the cookie is cleared: %t", cleared)
			}
			if got := o.Header().Get("Clear-Site-Data"); cleared && test.ended && got == "" || !cleared && got != "" {
				t.Errorf("Clear-Site-Data: %s", got)
			}
		})
	}
}

// TestStepUpWithinSettling redirects nobody whose session was minted a moment
// ago for the very rule that it doesn't meet, since that would go round and
// round; who clicks on into a stricter rule steps up.
func TestStepUpWithinSettling(t *testing.T) {
	for _, test := range []struct {
		name   string
		age    time.Duration
		maxAge time.Duration
		minted bool // for this rule
		status int
	}{
		{"fresh", time.Second, time.Minute, true, http.StatusOK},
		{"at the limit", time.Minute, time.Minute, true, http.StatusOK},
		{"too old", time.Minute + time.Second, time.Minute, true, http.StatusFound},
		{"too old already when it was minted", 5 * time.Second, time.Second, true, http.StatusForbidden},
		{"clicked on into a stricter rule", 5 * time.Second, time.Second, false, http.StatusFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			rule := restOf()
			rule.Require.MaxAge = test.maxAge
			g := newTestGate(t, rule)
			visiting := sessionOf("good", test.age)
			if test.minted {
				visiting.Asked = rule.Require
			}
			g.sessions["good"] = visiting
			o := g.serve(navigate("/x"), cookieGood)
			if test.status == http.StatusOK {
				o.expectPassed(t)
				return
			}
			o.expectStopped(t, test.status)
			if test.status == http.StatusFound && g.asked[0].Ask != rule.Require {
				t.Errorf("asks for %+v", g.asked[0].Ask)
			}
		})
	}
}

// TestCallbackKeepsTheLanguage that was chosen at the portal, and nothing else.
func TestCallbackKeepsTheLanguage(t *testing.T) {
	for said, want := range map[string]string{"de": "de", "en": "en", "xx": "", "de-AT": "", "": "", "{{.}}\r\n": "", strings.Repeat("de", 5000): ""} {
		g := newTestGate(t)
		state, callback := g.begin(t)
		o := g.serve(navigate(callback+"&"+url.Values{"language": {said}}.Encode()), state)
		if got := o.setCookies()[LanguageCookie]; o.Code != http.StatusSeeOther || got != want {
			t.Errorf("%.20q: %d, keeps %q", said, o.Code, got)
		}
	}
	g := newTestGate(t)
	_, callback := g.begin(t)
	if got := g.serve(navigate(callback + "&language=de")).setCookies()[LanguageCookie]; got != "" {
		t.Errorf("a link alone sets %q", got)
	}
}

// TestLongReturnAddress comes back to an address that was kept, also where the
// sign-in starts over.
func TestLongReturnAddress(t *testing.T) {
	long := testOrigin + "/x?" + strings.Repeat("a", ticket.MaxReturn)
	g := newTestGate(t)
	state, callback := g.beginAt(t, long)
	o := g.serve(navigate(callback), state)
	if o.Code != http.StatusSeeOther || o.Header().Get("Location") != long {
		t.Errorf("answered %d to %.80s", o.Code, o.Header().Get("Location"))
	}
	g.serve(navigate(callback)).expectStopped(t, http.StatusFound)
	if again := g.asked[1]; again.Attempt != 1 || g.kept[again.NonceHash] != long {
		t.Errorf("starts over with %.80v", again)
	}

	g.findErr = errors.New("down")
	o = g.serve(navigate(callback), state)
	o.expectStopped(t, http.StatusServiceUnavailable)
	if len(g.redeemed) != 1 {
		t.Errorf("redeemed %q", g.redeemed)
	}
}
