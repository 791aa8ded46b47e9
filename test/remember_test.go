package test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// rememberCaddyfile lets browsers be remembered. At fresh, a second factor has
// to be shown that isn't older than a few minutes.
const rememberCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		session {
			remember 30d
		}
		contact "the help desk"
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}

http://fresh.localhost:{{.Port "web"}} {
	mfa {
		max_age 10m
	}
	reverse_proxy {{.Vars.app}}
}
`

// remembered is a new browser in which somebody signs in with two factors, has
// it remembered, and signs out.
func remembered(t *testing.T, s *scene.Scene, p *scene.Person) *harness.Client {
	t.Helper()
	browser := s.Client()
	form := p.ShowPassword(browser, browser.Visit(s.At("app", "/"))).Form("one-time-code")
	hops := browser.Follow(browser.Submit(form, map[string]string{"one-time-code": p.Code(), "remember": "yes"}))
	landed(t, hops[len(hops)-1], s.At("app", "/"))
	s.Canary(browser.Cookie(s.At("login", "/"), browserCookie))
	signOutOf(s, browser)
	s.App.Reset()
	return browser
}

func signOutOf(s *scene.Scene, browser *harness.Client) {
	browser.Submit(browser.Visit(s.At("login", "/sign-out")).Form(), nil)
}

// asksForCode shows the right password and fails the test unless that leads to
// the second step, and the app sees nothing.
func asksForCode(t *testing.T, s *scene.Scene, p *scene.Person, browser *harness.Client) *harness.Page {
	t.Helper()
	s.App.Reset()
	page := p.ShowPassword(browser, browser.Visit(s.At("app", "/")))
	if !page.Form().Has("one-time-code") {
		t.Errorf("the password alone led to %d %s: %s", page.Status, page.URL, page.Text())
	}
	expectStranger(t, s, browser)
	return page
}

// expectStranger fails the test where a browser gets through to the app.
func expectStranger(t *testing.T, s *scene.Scene, browser *harness.Client) {
	t.Helper()
	browser.Visit(s.At("app", "/"))
	if page := browser.Get(s.At("login", "/")); page.Location() != s.At("login", "/sign-in") {
		t.Errorf("the portal answers %d: %s", page.Status, page.Text())
	}
	s.App.ExpectNone(t)
}

func TestRememberedBrowsers(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 4, Caddyfile: rememberCaddyfile})
	s.Administrator("root")

	t.Run("pass for multi, and for nothing fresh", func(t *testing.T) {
		ada := s.Invited("ada")
		browser := remembered(t, s, ada)
		landed(t, ada.ShowPassword(browser, browser.Visit(s.At("app", "/"))), s.At("app", "/"))
		s.App.ExpectOne(t)
		s.AwaitLog("a sign-in that says that the browser is remembered", func(entry harness.LogEntry) bool {
			return entry.Text("msg") == "sign_in.succeeded" && entry.Text("user") == "ada" &&
				entry.Text("browser") == "remembered" && entry.Text("factors") == "password"
		})

		s.App.Reset()
		page := browser.Visit(s.At("fresh", "/"))
		if form := page.Form("one-time-code"); form.Has("remember") {
			t.Error("a step-up offers to remember the browser")
		}
		s.App.ExpectNone(t)
		landed(t, ada.ShowCode(browser, page, ada.Code()), s.At("fresh", "/"))
		s.App.ExpectOne(t)
	})

	t.Run("can be forgotten by their button", func(t *testing.T) {
		bob := s.Invited("bob")
		browser := remembered(t, s, bob)
		landed(t, bob.ShowPassword(browser, browser.Visit(s.At("login", "/"))), s.At("login", "/"))
		listed := browser.Visit(s.At("login", signOns))
		if !strings.Contains(listed.Text(), "· This browser") {
			t.Errorf("the browser isn't listed: %s", listed.Text())
		}
		hops := browser.Follow(browser.Submit(formTo(t, listed, "/browsers/forget"), nil))
		if end := hops[len(hops)-1]; end.Status != http.StatusOK || strings.Contains(end.Text(), "Forget") {
			t.Errorf("after forgetting it: %d %s", end.Status, end.Text())
		}
		signOutOf(s, browser)
		asksForCode(t, s, bob, browser)
	})

	t.Run("are forgotten with all sessions", func(t *testing.T) {
		cyd := s.Invited("cyd")
		browser := remembered(t, s, cyd)
		expectDone(t, s, "mfa", "session", "end", "--user", "cyd")
		asksForCode(t, s, cyd, browser)
	})

	t.Run("S06 give nothing to who stole a password", func(t *testing.T) {
		dan, eve := s.Invited("dan"), s.Invited("eve")
		browser, hers := remembered(t, s, dan), remembered(t, s, eve)
		for what, token := range map[string]string{
			"none": "", "made up": "AAAA", "of somebody else's browser": hers.Cookie(s.At("login", "/"), browserCookie),
		} {
			thief := s.Client()
			if token != "" {
				thief.SetCookie(s.At("login", "/"), http.Cookie{Name: browserCookie, Value: token, Path: "/", Secure: true})
			}
			page := asksForCode(t, s, dan, thief)
			// Asking to be remembered without a code, and then trying again.
			thief.Follow(thief.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": "000000", "remember": "yes"}))
			flow := page.Form("one-time-code").Value("flow")
			thief.PostForm(s.At("login", "/flow/challenge"), url.Values{"flow": {flow}, "factor": {"password"}, "remember": {"yes"}, "password": {dan.Password}})
			if asksForCode(t, s, dan, thief); t.Failed() {
				t.Fatalf("with a token: %s", what)
			}
		}
		// The cookie without the password is worth nothing.
		expectStranger(t, s, browser)
		page := browser.Submit(browser.Visit(s.At("app", "/")).Form("current-password"), map[string]string{"username": "dan", "current-password": eve.Password})
		if page.Status != http.StatusUnprocessableEntity {
			t.Errorf("another password in the remembered browser: %d", page.Status)
		}
		expectStranger(t, s, browser)
	})

	t.Run("W03 belong to one person", func(t *testing.T) {
		fay, gus := s.Invited("fay"), s.Invited("gus")
		browser := remembered(t, s, fay)
		landed(t, fay.ShowPassword(browser, browser.Visit(s.At("login", "/"))), s.At("login", "/"))
		id := formTo(t, browser.Visit(s.At("login", signOns)), "/browsers/forget").Value("id")
		gus.Browser.Visit(s.At("login", "/"))
		if page := gus.Browser.PostForm(s.At("login", "/browsers/forget"), url.Values{"id": {id}}); page.Status != http.StatusNotFound {
			t.Errorf("somebody else's: %d", page.Status)
		}
		thief := s.Client()
		thief.Visit(s.At("login", "/"))
		if page := thief.PostForm(s.At("login", "/browsers/forget"), url.Values{"id": {id}}); page.Location() != s.At("login", "/sign-in?to=%2Faccount%2Fsign-ons") {
			t.Errorf("nobody: %d", page.Status)
		}
		signOutOf(s, browser)
		landed(t, fay.ShowPassword(browser, browser.Visit(s.At("app", "/"))), s.At("app", "/"))
	})

	t.Run("are left alone at a shared computer", func(t *testing.T) {
		hal := s.Invited("hal")
		browser := remembered(t, s, hal)
		token := browser.Cookie(s.At("login", "/"), browserCookie)
		sharedSignIn(t, s, hal, browser)
		if browser.Cookie(s.At("login", "/"), browserCookie) != token {
			t.Error("the browser's token isn't what it was")
		}
	})

	t.Run("aren't made at a shared computer", func(t *testing.T) {
		ida := s.Invited("ida")
		browser := s.Client()
		sharedSignIn(t, s, ida, browser)
		if browser.Cookie(s.At("login", "/"), browserCookie) != "" {
			t.Error("the browser is known from now on")
		}
		signedOut := browser.Submit(browser.Visit(s.At("app", "/.mfa/sign-out")).Form(), nil)
		if got := signedOut.Header.Get("Clear-Site-Data"); got != `"cache", "storage"` {
			t.Errorf("signing out at the app comes with Clear-Site-Data: %s", got)
		}
	})
}

// sharedSignIn signs in at what the person calls a shared computer, and holds
// every cookie on the way to ending with the browser, but for the digest by
// which the next person is known to be another.
func sharedSignIn(t *testing.T, s *scene.Scene, p *scene.Person, browser *harness.Client) {
	t.Helper()
	seen := make(map[string]bool)
	step := func(form harness.Form, values map[string]string) *harness.Page {
		hops := browser.Follow(browser.Submit(form, values))
		for _, hop := range hops {
			for _, cookie := range hop.Cookies() {
				state := strings.HasPrefix(cookie.Name, "__Host-mfa-state-")
				seen[cookie.Name] = true
				if cookie.Name == browserCookie || !state && cookie.Name != lastCookie && cookie.MaxAge >= 0 && (cookie.MaxAge > 0 || !cookie.Expires.IsZero()) {
					t.Errorf("%s sets %s for %d seconds", hop.URL, cookie.Name, cookie.MaxAge)
				}
			}
		}
		return hops[len(hops)-1]
	}
	page := step(browser.Visit(s.At("app", "/")).Form("current-password"), map[string]string{
		"username": p.Name, "current-password": p.Password, "shared": "yes",
	})
	form := page.Form("one-time-code")
	if form.Has("remember") {
		t.Error("the page offers to remember the browser")
	}
	landed(t, step(form, map[string]string{"one-time-code": p.Code()}), s.At("app", "/"))
	for _, name := range []string{flowCookie, portalCookie, sessionCookie} {
		if !seen[name] {
			t.Errorf("%s was never set", name)
		}
	}
}

// TestBrowserRemember goes by keyboard through what a person decides about the
// browser in front of them.
func TestBrowserRemember(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2, Caddyfile: rememberCaddyfile})
	s.App.Answer(harness.Answer{Header: map[string][]string{"Content-Type": {"text/html"}}, Body: `<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,"><main><h1>The app</h1></main></html>`})
	s.Administrator("root")
	ada := s.Invited("ada")
	b := visit(t, s.Server, harness.BrowserOptions{})
	typed := func(text string) { b.Press(text + harness.KeyTab) }

	b.Navigate(s.At("app", "/"))
	b.AwaitH1("Sign in")
	b.expectCursor("name")
	typed("ada")
	typed("wrong")
	b.Press(harness.KeyTab) // over the button that shows the password
	b.expectCursor("shared")
	b.Press(" ")
	b.Through(func() { b.Press(harness.KeyEnter) })
	b.expectFocus("password", "That name and password don't match.")
	b.eventually("the box to be ticked still", `String(document.getElementById("shared").checked)`, "true")
	b.inspect("70-sign-in-shared")
	typed(ada.Password)
	b.Press(harness.KeyTab + " ") // it's one's own, after all
	b.Through(func() { b.Press(harness.KeyEnter) })

	b.AwaitH1("Enter the code from your app")
	b.expectCursor("code")
	b.Press("000000" + harness.KeyTab)
	b.expectCursor("remember") // all six digits, and nothing was sent
	b.Press(" ")
	b.Through(func() { b.Press(harness.KeyEnter) })
	b.expectFocus("code", "That code didn't work.")
	b.eventually("the box to be ticked still", `String(document.getElementById("remember").checked)`, "true")
	b.inspect("71-code-remember")
	b.Press(ada.Code())
	b.Through(func() { b.Press(harness.KeyEnter) })
	b.expectAt(s.At("app", "/"))

	signOutBy := func() {
		b.Navigate(s.At("login", "/sign-out"))
		b.ClickThrough("Sign out")
		b.AwaitH1("You are signed out")
	}
	signOutBy()
	b.Navigate(s.At("app", "/"))
	b.showPassword(ada)
	b.expectAt(s.At("app", "/"))

	b.Navigate(s.At("login", signOns))
	b.AwaitText("Browsers that skip the second step")
	b.inspect("72-browsers")
	b.tabTo("Forget\nHeadless Chrome on Linux")
	b.Through(func() { b.Press(harness.KeyEnter) })
	b.AwaitText("Forgotten.")
	if text := b.Text(); strings.Contains(text, "Forget") {
		t.Errorf("after forgetting the page says %s", text)
	}
	signOutBy()
	b.Navigate(s.At("app", "/"))
	b.showPassword(ada)
	b.AwaitH1("Enter the code from your app")
}
