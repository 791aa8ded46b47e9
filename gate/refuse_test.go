package gate

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ticket"
)

func recorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

// What Chromium sends of each kind.
const (
	asNavigation = "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nAccept: text/html"
	asForm       = asNavigation + "\nSec-Fetch-Site: same-origin\nContent-Type: application/x-www-form-urlencoded"
	asFrame      = "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe\nAccept: text/html"
	asScript     = "Sec-Fetch-Mode: cors\nSec-Fetch-Dest: empty\nAccept: */*"
)

// demanding is a gate whose part /admin asks for more than the rest, visited
// by nobody or by somebody who meets the rest only.
func demanding(t *testing.T) *testGate {
	t.Helper()
	strict := restOf()
	strict.Match = func(r *http.Request) (bool, error) { return strings.HasPrefix(r.URL.Path, "/admin"), nil }
	strict.Require = assurance.Requirement{Level: assurance.PhishingResistant, MaxAge: 90 * time.Second}
	return newTestGate(t, strict, restOf())
}

// follow goes to a link of a page as a person does, from the page with the
// referrer, and returns what the portal is asked for.
func (g *testGate) follow(t *testing.T, link, referrer string, cookies ...string) ticket.Request {
	t.Helper()
	before := len(g.asked)
	r := withHeader(navigate(link), "", asNavigation+"\nSec-Fetch-Site: same-origin")
	if referrer != "" {
		r.Header.Set("Referer", referrer)
	}
	o := g.serve(r, cookies...)
	o.expectStopped(t, http.StatusFound)
	if len(g.asked) != before+1 {
		t.Fatalf("the portal was asked %d times", len(g.asked)-before)
	}
	return g.asked[before]
}

// linkOf returns the one link with that target on a page.
func (o outcome) linkOf(t *testing.T, target string) string {
	t.Helper()
	_, rest, _ := strings.Cut(o.Body.String(), `<a class="button primary" href="`)
	link, rest, _ := strings.Cut(rest, `"`)
	if !strings.HasPrefix(rest, ` target="`+target+`"`) {
		t.Fatalf("no link with target %s: %s", target, o.Body)
	}
	return strings.ReplaceAll(link, "&amp;", "&")
}

// TestDemands answers nobody, and somebody who has to show more, in the way
// that each kind of request needs, and never has the portal lead back to what
// was no page.
func TestDemands(t *testing.T) {
	strict := assurance.Requirement{Level: assurance.PhishingResistant, MaxAge: 90 * time.Second}
	for name, cookies := range map[string][]string{"nobody": nil, "step-up": {cookieGood}} {
		t.Run(name, func(t *testing.T) {
			t.Run("navigation", func(t *testing.T) {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					g := demanding(t)
					g.serve(withHeader(navigate("/admin/x?y"), method, asNavigation), cookies...).expectStopped(t, http.StatusFound)
					if ask := g.asked[0]; ask.Return != testOrigin+"/admin/x?y" || ask.Ask != strict {
						t.Errorf("%s asks for %+v", method, ask)
					}
				}
			})
			t.Run("form", func(t *testing.T) {
				g := demanding(t)
				o := g.serve(withHeader(navigate("/admin/save"), "POST", asForm), cookies...)
				expectDemand(t, g, o, "text/html; charset=utf-8")
				ask := g.follow(t, o.linkOf(t, "_blank"), testOrigin+"/admin/save", cookies...)
				if ask.Return != testOrigin+"/.mfa/signed-in" || ask.Ask != strict {
					t.Errorf("the link asks for %+v", ask)
				}
				if !strings.Contains(o.Body.String(), `rel="noopener"`) || o.Header().Get("X-Frame-Options") != "DENY" {
					t.Errorf("the page is not protected: %v %s", o.Header(), o.Body)
				}
			})
			t.Run("frame", func(t *testing.T) {
				for _, test := range []struct{ referrer, back string }{
					{testOrigin + "/dashboard?a=b", "/dashboard?a=b"},
					{"https://elsewhere.example/", "/admin/panel?z"},
					{testOrigin + ".evil.example/x", "/admin/panel?z"},
					{"", "/admin/panel?z"},
				} {
					g := demanding(t)
					r := withHeader(navigate("/admin/panel?z"), "", asFrame)
					r.Header.Set("Referer", test.referrer)
					o := g.serve(r, cookies...)
					expectDemand(t, g, o, "text/html; charset=utf-8")
					// The link's own request comes from the frame.
					ask := g.follow(t, o.linkOf(t, "_top"), testOrigin+"/admin/panel?z", cookies...)
					if ask.Return != testOrigin+test.back || ask.Ask != strict {
						t.Errorf("from %q: the link asks for %+v", test.referrer, ask)
					}
				}
			})
			t.Run("script", func(t *testing.T) {
				g := demanding(t)
				r := withHeader(navigate("/admin/api?secret=1"), "POST", asScript)
				r.Header.Set("Referer", testOrigin+"/worker.js")
				o := g.serve(r, cookies...)
				expectDemand(t, g, o, "application/problem+json")
				p := readProblem(t, o)
				if p.Required == nil || *p.Required != (requirement{Assurance: "phishing_resistant", MaxAge: 90}) {
					t.Errorf("it requires %+v", p.Required)
				}
				if strings.Contains(p.SignIn, "secret") || strings.Contains(p.SignIn, "api") || strings.Contains(p.SignIn, "worker") {
					t.Errorf("%s leads back to what was no page", p.SignIn)
				}
				wanted := typeSignIn
				if cookies != nil {
					wanted = typeStepUp
				}
				if p.Type != wanted || p.Status != http.StatusUnauthorized || p.Title == "" || p.Detail == "" {
					t.Errorf("it says %+v", p)
				}
				path, ours := strings.CutPrefix(p.SignIn, testOrigin)
				if !ours {
					t.Fatalf("it leads to %s", p.SignIn)
				}
				// The window goes there from the page where it is.
				if ask := g.follow(t, path, testOrigin+"/inbox?folder=2", cookies...); ask.Return != testOrigin+"/inbox?folder=2" || ask.Ask != strict {
					t.Errorf("from a page, it asks for %+v", ask)
				}
				if ask := g.follow(t, path, "", cookies...); ask.Return != testOrigin+"/" || ask.Ask != strict {
					t.Errorf("from nowhere, it asks for %+v", ask)
				}
			})
		})
	}
}

// expectDemand wants a 401 of that type for which a browser asks for no
// password, and that asked the portal for nothing yet.
func expectDemand(t *testing.T, g *testGate, o outcome, kind string) {
	t.Helper()
	o.expectStopped(t, http.StatusUnauthorized)
	if got := o.Header().Get("Content-Type"); got != kind {
		t.Errorf("it is %s, not %s", got, kind)
	}
	if o.Header().Get("WWW-Authenticate") != "" || o.Header()["Set-Cookie"] != nil || o.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("it has %v", o.Header())
	}
	if len(g.asked) > 0 {
		t.Errorf("it asked the portal for %+v", g.asked)
	}
}

func readProblem(t *testing.T, o outcome) (p problemDetails) {
	t.Helper()
	if err := json.Unmarshal(o.Body.Bytes(), &p); err != nil {
		t.Fatalf("reading %s: %v", o.Body, err)
	}
	return p
}

// TestFormsOfOtherSites are not offered to be sent again, be they of another host
// of the same site: that would make them our own page's.
func TestFormsOfOtherSites(t *testing.T) {
	for _, from := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"} {
		for _, where := range []string{asNavigation, asFrame} {
			header := where + "\nContent-Type: application/x-www-form-urlencoded\n" + from
			o := demanding(t).serve(withHeader(navigate("/admin/save"), "POST", header))
			o.expectStopped(t, http.StatusForbidden)
			if strings.Contains(o.Body.String(), "data-again") || o.Header().Get("X-Frame-Options") != "DENY" {
				t.Errorf("%s: %v %s", from, o.Header(), o.Body)
			}
		}
	}
}

// TestFraming lets frames show only what says nothing about anybody.
func TestFraming(t *testing.T) {
	for _, test := range []struct {
		name    string
		r       *http.Request
		cookies []string
		allowed bool
	}{
		{"a page", withHeader(navigate("/x"), "", asFrame), nil, true},
		{"a form at the top", withHeader(navigate("/x"), "POST", asForm), nil, false},
		{"a form in a frame", withHeader(navigate("/x"), "POST", asFrame+"\nSec-Fetch-Site: same-origin\nContent-Type: text/plain"), nil, true},
		{"signing out", withHeader(navigate("/.mfa/sign-out"), "", asFrame), []string{cookieGood}, false},
		{"signed out", withHeader(navigate("/.mfa/sign-out"), "", asFrame), nil, false},
		{"signed in", withHeader(navigate("/.mfa/signed-in"), "", asFrame), []string{cookieGood}, false},
		{"nothing there", withHeader(navigate("/.mfa/nothing"), "POST", asFrame), nil, false},
		{"a malformed address", withHeader(navigate("/.mfa/callback"), "", asFrame), nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newTestGate(t).serve(test.r, test.cookies...)
			policy := o.Header().Get("Content-Security-Policy")
			allowed := o.Header().Get("X-Frame-Options") == "" && strings.Contains(policy, "frame-ancestors *;")
			forbidden := o.Header().Get("X-Frame-Options") == "DENY" && strings.Contains(policy, "frame-ancestors 'none'")
			if allowed != test.allowed || forbidden == test.allowed {
				t.Errorf("%d with %v", o.Code, o.Header())
			}
			if !strings.Contains(policy, "default-src 'none'") || o.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("it isn't protected: %v", o.Header())
			}
		})
	}
}

// TestRefusedForm shows a person who may not send a form a page, whose link
// leads to no form.
func TestRefusedForm(t *testing.T) {
	rule := restOf()
	rule.Allows = nobody
	o := newTestGate(t, rule).serve(withHeader(navigate("/save"), "POST", asForm), cookieGood)
	o.expectStopped(t, http.StatusForbidden)
	if !strings.Contains(o.Body.String(), "/.mfa/switch?"+url.Values{"to": {"/"}}.Encode()+`"`) {
		t.Errorf("the page says %s", o.Body)
	}
}

// TestRefusedFrame shows a person in a frame that a part of the page isn't for
// them, with their name for no other site to see and nothing to click.
func TestRefusedFrame(t *testing.T) {
	rule := restOf()
	rule.Allows = nobody
	for name, r := range map[string]*http.Request{
		"a frame":           withHeader(navigate("/panel"), "", asFrame),
		"a form in a frame": withHeader(navigate("/panel"), "POST", asFrame+"\nSec-Fetch-Site: same-origin\nContent-Type: text/plain"),
	} {
		t.Run(name, func(t *testing.T) {
			o := newTestGate(t, rule).serve(r, cookieGood)
			o.expectStopped(t, http.StatusForbidden)
			page := o.Body.String()
			if o.Header().Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(page, "app.example.com/panel") {
				t.Errorf("it says %v %s", o.Header(), page)
			}
			if strings.Contains(page, "alice") || strings.Contains(page, `<a class="button`) || strings.Contains(page, "/.mfa/switch") {
				t.Errorf("it names the person, or there is something to click: %s", page)
			}
			if o.Header().Get("X-Frame-Options") != "" || !strings.Contains(o.Header().Get("Content-Security-Policy"), "frame-ancestors *;") {
				t.Errorf("no frame may show it: %v", o.Header())
			}
		})
	}
	o := newTestGate(t, rule).serve(withHeader(navigate("/panel"), "", asNavigation), cookieGood)
	if o.Header().Get("X-Frame-Options") != "DENY" || !strings.Contains(o.Body.String(), "alice") {
		t.Errorf("in the whole window: %v %s", o.Header(), o.Body)
	}
}

// TestMaxAge tells of no limit only where there is none.
func TestMaxAge(t *testing.T) {
	for age, want := range map[time.Duration]int64{0: 0, time.Millisecond: 1, time.Second: 1, 1500 * time.Millisecond: 2, time.Hour: 3600} {
		if got := maxAge(assurance.Requirement{MaxAge: age}); got != want {
			t.Errorf("%s is told as %d s", age, got)
		}
	}
}

// TestLanguages has pages speak the browser's language, and scripts get
// English, on which what reads it may depend.
func TestLanguages(t *testing.T) {
	problem := withHeader(navigate("/.mfa/nowhere"), "", asNavigation+"\nAccept-Language: de-AT,de;q=0.9,en;q=0.5")
	page := newTestGate(t).serve(problem, cookieGood).Body.String()
	if !strings.Contains(page, `<html lang="de">`) || !strings.Contains(page, "Hier ist nichts") {
		t.Errorf("the page says %s", page)
	}
	rule := restOf()
	rule.Allows = nobody
	refused := withHeader(navigate("/x"), "", asNavigation+"\nAccept-Language: de")
	page = newTestGate(t, rule).serve(refused, cookieGood).Body.String()
	if !strings.Contains(page, "<strong><bdi>app.example.com/x</bdi></strong> nicht öffnen") || strings.Contains(page, `action="/language"`) {
		t.Errorf("the page says %s", page)
	}
	chosen := withHeader(navigate("/x"), "", asNavigation+"\nAccept-Language: en")
	page = newTestGate(t, rule).serve(chosen, cookieGood, LanguageCookie+"=de").Body.String()
	if !strings.Contains(page, `<html lang="de">`) {
		t.Errorf("the page doesn't speak the chosen language: %s", page)
	}
	script := withHeader(navigate("/x"), "", asScript+"\nAccept-Language: de")
	if body := newTestGate(t).serve(script).Body.String(); !strings.Contains(body, `"title":"Sign in first"`) {
		t.Errorf("a script is told %s", body)
	}
}

// TestTryAgainStaysHere keeps the link to a second try on the site (R01): a
// browser takes a path with two slashes in front for another one.
func TestTryAgainStaysHere(t *testing.T) {
	for path, want := range map[string]string{
		"//evil.example/x?y": testOrigin + "//evil.example/x?y", "///evil.example": testOrigin + "///evil.example", "/x//y": "/x//y",
	} {
		g := newTestGate(t)
		r := navigate("/x")
		target, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		r.URL, r.RequestURI = &url.URL{Path: target.Path, RawQuery: target.RawQuery}, path
		o := outcome{ResponseRecorder: recorder()}
		g.stuck(o, &request{Request: r, origin: testOrigin, host: "app.example.com"})
		if link := `href="` + want + `"`; !strings.Contains(o.Body.String(), link) {
			t.Errorf("%s: the page has no %s: %s", path, link, o.Body)
		}
	}
}
