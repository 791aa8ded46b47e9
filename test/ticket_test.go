package test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// waysCaddyfile is the usual scene with access logs, in which no ticket and no
// cookie may turn up, and with a host whose visitors show a password alone.
const waysCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		contact "the help desk"
	}
}

http://login.localhost:{{.Port "web"}} {
	log
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	log
	mfa
	reverse_proxy {{.Vars.app}}
}

http://admin.localhost:{{.Port "web"}} {
	log
	mfa {
		allow group admins
	}
	reverse_proxy {{.Vars.admin}}
}

http://solo.localhost:{{.Port "web"}} {
	log
	mfa {
		assurance single
		rule /deep/* {
			assurance multi
		}
	}
	reverse_proxy {{.Vars.app}}
}
`

// The names of the product's cookies, as design.md has them.
const (
	sessionCookie = "__Host-mfa"
	stateCookie   = "__Host-mfa-state-"
	lastCookie    = "__Host-mfa-last"
	portalCookie  = "__Host-mfa-portal"
	flowCookie    = "__Host-mfa-flow"
	browserCookie = "__Host-mfa-browser"
)

// showBackupCode goes from the page that asks for a code to a backup code, of
// which many can be shown in one minute, and returns where that led.
func showBackupCode(p *scene.Person, browser *harness.Client, page *harness.Page) *harness.Page {
	page = browser.Visit(page.Link("Use a backup code"))
	return p.ShowCode(browser, page, p.SpendBackupCode())
}

// signInByBackupCode is scene's SignIn with a backup code.
func signInByBackupCode(p *scene.Person, browser *harness.Client, address string) *harness.Page {
	return showBackupCode(p, browser, p.ShowPassword(browser, browser.Visit(address)))
}

// landed fails the test unless the page is the app's, at the address.
func landed(t *testing.T, page *harness.Page, address string) {
	t.Helper()
	if page.Status != http.StatusOK || page.URL.String() != address {
		t.Fatalf("ended at %d %s, not at %s: %s", page.Status, page.URL, address, page.Text())
	}
}

// asksToSignIn fails the test unless the page is the sign-in form.
func asksToSignIn(t *testing.T, page *harness.Page) {
	t.Helper()
	if page.Status != http.StatusOK || page.H1() != "Sign in" || page.URL.Host == "" || !strings.HasPrefix(page.URL.Host, "login.") {
		t.Fatalf("%d %s says %q, and doesn't ask to sign in", page.Status, page.URL, page.Text())
	}
}

// queryOf returns a parameter of the address to which a page redirects.
func queryOf(t *testing.T, page *harness.Page, name string) string {
	t.Helper()
	target, err := url.Parse(page.Location())
	if err != nil || !target.Query().Has(name) {
		t.Fatalf("%d %s redirects to %q, which has no %s", page.Status, page.URL, page.Location(), name)
	}
	return target.Query().Get(name)
}

// toCallback follows redirects until the next one leads to a callback, and
// returns the page that leads there. Its ticket is a secret of the test.
func toCallback(t *testing.T, s *scene.Scene, browser *harness.Client, address string) *harness.Page {
	t.Helper()
	page := browser.Get(address)
	for range 5 {
		if strings.Contains(page.Location(), "/.mfa/callback?") {
			s.Canary(queryOf(t, page, "ticket"))
			return page
		}
		if page.Location() == "" {
			break
		}
		page = browser.Get(page.Location())
	}
	t.Fatalf("%s didn't lead to a callback but to %d %s: %s", address, page.Status, page.URL, page.Text())
	return nil
}

// setsSession returns the session cookie that a page sets, or nothing.
func setsSession(page *harness.Page) string {
	for _, cookie := range page.Cookies() {
		if cookie.Name == sessionCookie && cookie.MaxAge >= 0 {
			return cookie.Value
		}
	}
	return ""
}

// visitBlocking opens an address as a browser that keeps no cookies of one
// host, and returns every page on the way.
func visitBlocking(t *testing.T, browser *harness.Client, address, host string) []*harness.Page {
	t.Helper()
	var hops []*harness.Page
	for range 20 {
		request := harness.Request{URL: address}
		if target, err := url.Parse(address); err == nil && target.Hostname() == host {
			request.Header = http.Header{"Cookie": {}}
		}
		page, err := browser.Send(request)
		if err != nil {
			t.Fatal(err)
		}
		hops = append(hops, page)
		if address = page.Location(); address == "" {
			return hops
		}
	}
	t.Fatalf("a loop: %d redirects, the last one to %s", len(hops), address)
	return nil
}

func countStates(browser *harness.Client, address string) int {
	count := 0
	for _, cookie := range browser.Cookies(address) {
		if strings.HasPrefix(cookie.Name, stateCookie) {
			count++
		}
	}
	return count
}

func TestTickets(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2, Caddyfile: waysCaddyfile})
	ada := s.Administrator("ada")
	bob := s.Invited("bob", "admins")
	// signedOn is ada's browser as after signing in at the portal: no app has
	// given it a session.
	signedOn := func() *harness.Client { return ada.Browser.Clone() }
	quiet := func(t *testing.T) {
		t.Helper()
		s.App.ExpectNone(t)
		s.Admin.ExpectNone(t)
	}
	run := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			s.App.Reset()
			s.Admin.Reset()
			test(t)
		})
	}

	run("R02 each tab lands at its own address", func(t *testing.T) {
		browser := s.Client()
		one, two, three := browser.Tab(), browser.Tab(), browser.Tab()
		formOne := one.Visit(s.At("app", "/one?x=1&y=%2F#here"))
		formTwo := two.Visit(s.At("app", "/two"))
		for _, path := range []string{"/poll", "/poll2"} {
			page, err := one.Send(harness.Request{URL: s.At("app", path), Mode: harness.Fetch, From: s.At("app", "/one")})
			if err != nil || page.Status != http.StatusUnauthorized || len(page.Cookies()) != 0 {
				t.Fatalf("a background request got %d with cookies %v, %v", page.Status, page.Cookies(), err)
			}
		}
		formThree := three.Visit(s.At("admin", "/three"))
		quiet(t)
		landed(t, showBackupCode(bob, two, bob.ShowPassword(two, formTwo)), s.At("app", "/two"))
		landed(t, bob.ShowPassword(one, formOne), s.At("app", "/one?x=1&y=%2F"))
		landed(t, bob.ShowPassword(three, formThree), s.At("admin", "/three"))
		landed(t, two.Visit(s.At("app", "/two/more")), s.At("app", "/two/more"))
		for _, seen := range append(s.App.Requests(), s.Admin.Requests()...) {
			if seen.Header.Get("Remote-User") != "bob" || strings.HasPrefix(seen.RequestURI, "/poll") {
				t.Errorf("the app saw %s as %q", seen.RequestURI, seen.Header.Get("Remote-User"))
			}
		}
	})

	run("R02 more tabs than a browser keeps attempts", func(t *testing.T) {
		browser := signedOn()
		var attempts []*harness.Page
		for i := range 12 {
			attempts = append(attempts, browser.Tab().Get(s.At("app", fmt.Sprintf("/tab/%d", i))))
			if states := countStates(browser, s.At("app", "/")); states > 8 || states < min(8, i+1) {
				t.Fatalf("after %d attempts there are %d state cookies", i+1, states)
			}
		}
		for i, attempt := range attempts {
			hops := browser.Follow(attempt)
			landed(t, hops[len(hops)-1], s.At("app", fmt.Sprintf("/tab/%d", i)))
		}
	})

	run("cookies on the way are as they must be", func(t *testing.T) {
		browser := s.Client()
		look := func(pages ...*harness.Page) *harness.Page {
			for _, page := range pages {
				for _, cookie := range page.Cookies() {
					if !cookie.Secure || !cookie.HttpOnly || cookie.Path != "/" || cookie.Domain != "" || cookie.SameSite != http.SameSiteLaxMode {
						t.Errorf("%s sets %s", page.URL, cookie)
					}
					for _, personal := range []string{"app.localhost", "password", "totp", "lantern"} {
						if strings.Contains(cookie.Value, personal) {
							t.Errorf("%s sets a cookie that tells of %s: %s", page.URL, personal, cookie)
						}
					}
					if cookie.MaxAge >= 0 {
						s.Canary(cookie.Value)
					}
				}
			}
			return pages[len(pages)-1]
		}
		page := look(browser.Follow(browser.Get(s.At("app", "/")))...)
		page = look(browser.Follow(browser.Submit(page.Form("current-password"), map[string]string{
			"username": bob.Name, "current-password": bob.Password,
		}))...)
		page = browser.Visit(page.Link("Use a backup code"))
		page = look(browser.Follow(browser.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": bob.SpendBackupCode()}))...)
		landed(t, page, s.At("app", "/"))
		for _, name := range []string{portalCookie, browserCookie} {
			if browser.Cookie(s.At("login", "/"), name) == "" {
				t.Errorf("the portal set no %s", name)
			}
		}
		if browser.Cookie(s.At("login", "/"), flowCookie) != "" {
			t.Error("the flow's cookie stayed after the flow")
		}
		if browser.Cookie(s.At("app", "/"), sessionCookie) == "" || countStates(browser, s.At("app", "/")) > 1 {
			t.Errorf("at the app there are %v", browser.Cookies(s.At("app", "/")))
		}
	})

	run("back button and bookmarks", func(t *testing.T) {
		browser := signedOn()
		toPortal := browser.Get(s.At("app", "/wanted"))
		callback := toCallback(t, s, browser, toPortal.Location()).Location()
		landed(t, browser.Visit(callback), s.At("app", "/wanted"))
		sessions := browser.Cookie(s.At("app", "/"), sessionCookie)

		landed(t, browser.Visit(callback), s.At("app", "/wanted"))
		if browser.Cookie(s.At("app", "/"), sessionCookie) != sessions {
			t.Error("going back to the callback made another session")
		}
		landed(t, browser.Visit(toPortal.Location()), s.At("app", "/wanted"))
		landed(t, browser.Visit(s.At("login", "/sign-in")), s.At("login", "/"))
		landed(t, browser.Visit(s.At("login", "/flow")), s.At("login", "/"))
		landed(t, browser.Visit(s.At("login", "/flow?id=gone")), s.At("login", "/"))
	})

	run("bookmarks of somebody who is not signed in", func(t *testing.T) {
		browser := s.Client()
		for _, path := range []string{"/flow", "/flow?id=gone", "/flow/file?id=gone&factor=backup_code"} {
			page := browser.Visit(s.At("login", path))
			if page.Status != http.StatusGone {
				t.Errorf("%s: %d %s", path, page.Status, page.Text())
			}
			asksToSignIn(t, browser.Visit(page.Link("Sign in")))
		}
		old := signedOn().Get(s.At("app", "/kept")).Location()
		asksToSignIn(t, browser.Visit(old))
		quiet(t)
		// The bookmark was made in another browser, so its state cookie isn't
		// here: one restart brings the person to where it led.
		landed(t, signInByBackupCode(ada, browser, old), s.At("app", "/kept"))
	})

	run("double click on each form", func(t *testing.T) {
		browser := s.Client()
		twice := func(form harness.Form, values map[string]string) *harness.Page {
			browser.Submit(form, values)
			hops := browser.Follow(browser.Submit(form, values))
			return hops[len(hops)-1]
		}
		link := s.Invitation("carol", "admins")
		page := browser.Visit(link)
		page = twice(page.Form("new-password"), map[string]string{"new-password": scene.Password("carol")})
		carol := harness.TOTP(t, scene.SecretOn(page), time.Now())
		page = twice(page.Form("one-time-code"), map[string]string{"one-time-code": carol})
		codes := scene.CodesOn(page)
		if len(codes) != 10 {
			t.Fatalf("after two clicks on the code: %d %s", page.Status, page.Text())
		}
		s.Canary(codes...)
		page = twice(page.Form("saved"), map[string]string{"saved": "yes"})
		landed(t, page, s.At("login", "/"))

		page = browser.Visit(s.At("login", "/sign-out"))
		if page = twice(page.Form(), nil); page.URL.Path != "/signed-out" {
			t.Fatalf("after two clicks on signing out: %d %s", page.Status, page.URL)
		}
		page = browser.Visit(s.At("app", "/twice"))
		page = twice(page.Form("current-password"), map[string]string{"username": "carol", "current-password": scene.Password("carol")})
		page = browser.Visit(page.Link("Use a backup code"))
		quiet(t)
		landed(t, twice(page.Form("one-time-code"), map[string]string{"one-time-code": codes[0]}), s.At("app", "/twice"))
		page = browser.Visit(s.At("app", "/.mfa/sign-out"))
		if page = twice(page.Form(), nil); page.Status != http.StatusOK || !strings.Contains(page.Text(), "signed out") {
			t.Fatalf("after two clicks on signing out at the app: %d %s", page.Status, page.Text())
		}
		s.App.Reset()
		asksToSignIn(t, browser.Visit(s.At("app", "/twice")))
		quiet(t)
	})

	run("both clicks at the same moment", func(t *testing.T) {
		browser := s.Client()
		page := bob.ShowPassword(browser, browser.Visit(s.At("app", "/both")))
		page = browser.Visit(page.Link("Use a backup code"))
		form := page.Form("one-time-code")
		body := url.Values{"flow": {form.Value("flow")}, "factor": {form.Value("factor")}, "code": {bob.SpendBackupCode()}}.Encode()
		answers := make([]*harness.Page, 2)
		var clicks sync.WaitGroup
		for i := range answers {
			clicks.Go(func() {
				answer, err := browser.Send(harness.Request{
					Method: http.MethodPost, URL: form.Action.String(), From: page.URL.String(), FromPolicy: "same-origin",
					Body: body, Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
				})
				if err != nil {
					t.Error(err)
				}
				answers[i] = answer
			})
		}
		clicks.Wait()
		for _, answer := range answers {
			if answer == nil || answer.Status >= 500 {
				t.Fatalf("a click got %+v", answer)
			}
		}
		browser.Follow(answers[0])
		browser.Follow(answers[1])
		landed(t, browser.Visit(s.At("app", "/both")), s.At("app", "/both"))
	})

	run("R04 cookies blocked everywhere", func(t *testing.T) {
		browser := s.Client()
		browser.BlockCookies(true)
		form := browser.Visit(s.At("app", "/"))
		asksToSignIn(t, form)
		page := bob.ShowPassword(browser, form)
		if page.Status != http.StatusGone || !strings.Contains(page.Text(), "cookies") {
			t.Errorf("without cookies the password led to %d %s", page.Status, page.Text())
		}
		quiet(t)
	})

	run("R04 cookies blocked at the app", func(t *testing.T) {
		hops := visitBlocking(t, signedOn(), s.At("app", "/blocked"), "app.localhost")
		callbacks := 0
		for _, hop := range hops {
			if hop.URL.Path == "/.mfa/callback" {
				callbacks++
			}
		}
		end := hops[len(hops)-1]
		if callbacks != 2 || end.Status != http.StatusForbidden || !strings.Contains(end.Text(), "cookies") {
			t.Errorf("after %d tries the end is %d %s: %s", callbacks, end.Status, end.URL, end.Text())
		}
		quiet(t)
	})

	run("replayed callbacks", func(t *testing.T) {
		browser := signedOn()
		callback := toCallback(t, s, browser, s.At("app", "/replayed")).Location()
		thief := browser.Clone() // holds the state cookie and, at the portal, nothing
		thief.SetCookie(s.At("login", "/"), http.Cookie{Name: portalCookie, Path: "/", Secure: true, MaxAge: -1})
		stranger := s.Client()

		for name, other := range map[string]*harness.Client{"a stranger": stranger, "a stranger, again": stranger} {
			page := other.Get(callback)
			if setsSession(page) != "" {
				t.Errorf("%s got a session", name)
			}
			hops := other.Follow(page)
			asksToSignIn(t, hops[len(hops)-1])
		}
		quiet(t)
		landed(t, browser.Visit(callback), s.At("app", "/replayed"))
		s.App.Reset()
		page := thief.Get(callback)
		if setsSession(page) != "" {
			t.Error("a used ticket made a session")
		}
		hops := thief.Follow(page)
		asksToSignIn(t, hops[len(hops)-1])
		quiet(t)
	})

	run("O01 one ticket 100 times at once", func(t *testing.T) {
		browser := signedOn()
		callback := toCallback(t, s, browser, s.At("app", "/raced")).Location()
		var mu sync.Mutex
		sessions := 0
		var crowd sync.WaitGroup
		for range 100 {
			one := browser.Clone()
			crowd.Go(func() {
				page, err := one.Send(harness.Request{URL: callback})
				if err != nil || page.Status >= 400 {
					t.Errorf("a callback got %+v, %v", page, err)
					return
				}
				if setsSession(page) != "" {
					mu.Lock()
					sessions++
					mu.Unlock()
				}
			})
		}
		crowd.Wait()
		if sessions != 1 {
			t.Errorf("one ticket made %d sessions", sessions)
		}
		quiet(t)
	})

	run("callback at another host", func(t *testing.T) {
		browser := signedOn()
		callback := toCallback(t, s, browser, s.At("app", "/own")).Location()
		browser.Get(s.At("admin", "/")) // there is a state cookie there, too
		elsewhere := strings.Replace(callback, "app.localhost", "admin.localhost", 1)
		page := browser.Get(elsewhere)
		if page.Status != http.StatusBadRequest || setsSession(page) != "" {
			t.Errorf("another host answered %d with %v", page.Status, page.Cookies())
		}
		for _, cookie := range browser.Cookies(s.At("app", "/")) {
			browser.SetCookie(s.At("admin", "/"), http.Cookie{Name: cookie.Name, Value: cookie.Value, Path: "/", Secure: true})
		}
		if page := browser.Get(elsewhere); page.Status != http.StatusBadRequest || setsSession(page) != "" {
			t.Errorf("with the state cookie moved there: %d with %v", page.Status, page.Cookies())
		}
		quiet(t)
		landed(t, browser.Visit(callback), s.At("app", "/own"))
	})

	run("ticket with another nonce", func(t *testing.T) {
		browser := signedOn()
		mine := toCallback(t, s, browser, s.At("app", "/first"))
		other := toCallback(t, s, browser, s.At("app", "/second"))
		crossed := s.At("app", "/.mfa/callback?") + url.Values{
			"ticket": {queryOf(t, mine, "ticket")}, "request": {queryOf(t, other, "request")},
		}.Encode()
		if page := browser.Get(crossed); setsSession(page) != "" {
			t.Errorf("a ticket of another attempt made a session: %d", page.Status)
		}
		quiet(t)
		if page := browser.Get(mine.Location()); setsSession(page) != "" {
			t.Errorf("the ticket was not spent by its misuse: %d", page.Status)
		}
		quiet(t)
	})

	run("ticket of an attacker in a victim's browser", func(t *testing.T) {
		attackers := toCallback(t, s, signedOn(), s.At("app", "/attack")).Location()
		victim := s.Client()
		victim.Get(s.At("app", "/")) // has an attempt of its own under way
		hops := victim.Follow(victim.Get(attackers))
		asksToSignIn(t, hops[len(hops)-1])
		if victim.Cookie(s.At("app", "/"), sessionCookie) != "" {
			t.Error("the victim was signed in as the attacker")
		}
		quiet(t)
	})

	run("S04 ticket after signing out", func(t *testing.T) {
		browser := s.Client()
		landed(t, signInByBackupCode(bob, browser, s.At("login", "/")), s.At("login", "/"))
		callback := toCallback(t, s, browser, s.At("app", "/late")).Location()
		page := browser.Visit(s.At("login", "/sign-out"))
		browser.Submit(page.Form(), nil)
		page = browser.Get(callback)
		if setsSession(page) != "" {
			t.Error("a ticket outlived its sign-on")
		}
		hops := browser.Follow(page)
		asksToSignIn(t, hops[len(hops)-1])
		quiet(t)
	})

	run("callbacks of no sense", func(t *testing.T) {
		browser := signedOn()
		good := toCallback(t, s, browser, s.At("app", "/sense"))
		request := queryOf(t, good, "request")
		tests := []struct {
			name, query string
			status      int
		}{
			{"nothing", "", 400},
			{"no request", "ticket=" + queryOf(t, good, "ticket"), 400},
			{"garbage for a request", "ticket=x&request=garbage", 400},
			{"bad escapes", "ticket=%zz&request=%zz", 400},
			{"a cookie for a request", "ticket=x&request=" + url.QueryEscape(browser.Cookie(s.At("login", "/"), portalCookie)), 400},
			{"a request cut short", "ticket=x&request=" + url.QueryEscape(request[:len(request)-4]), 400},
			{"16 KiB", "ticket=x&request=" + strings.Repeat("A", 16<<10), 400},
		}
		for _, test := range tests {
			if page := browser.Get(s.At("app", "/.mfa/callback?"+test.query)); page.Status != test.status || setsSession(page) != "" || page.Location() != "" {
				t.Errorf("%s: %d, to %q", test.name, page.Status, page.Location())
			}
		}
		for _, value := range []string{"", "x", "%00", "%ff", strings.Repeat("A", 43)} {
			page := browser.Clone().Get(s.At("app", "/.mfa/callback?ticket="+value+"&request="+url.QueryEscape(request)))
			if page.Status >= 400 || setsSession(page) != "" {
				t.Errorf("the ticket %q: %d", value, page.Status)
			}
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, "MFA"} {
			page, err := browser.Send(harness.Request{Method: method, URL: good.Location(), From: s.At("app", "/")})
			if err != nil || page.Status != http.StatusNotFound || setsSession(page) != "" {
				t.Errorf("%s: %+v, %v", method, page, err)
			}
		}
		quiet(t)
		landed(t, browser.Visit(good.Location()), s.At("app", "/sense"))
	})

	run("R04 session that is refused at once", func(t *testing.T) {
		browser := s.Client()
		landed(t, signInByBackupCode(bob, browser, s.At("app", "/")), s.At("app", "/"))
		s.App.Reset()
		thief := browser.Clone()
		page := browser.Visit(s.At("login", "/sign-out"))
		browser.Submit(page.Form(), nil)
		hops := thief.Follow(thief.Get(s.At("app", "/")))
		end := hops[len(hops)-1]
		if len(hops) > 2 || end.Status != http.StatusForbidden && end.H1() != "Sign in" {
			t.Errorf("%d hops, the end is %d %s", len(hops), end.Status, end.Text())
		}
		quiet(t)
	})

	run("R01 only the address that was asked for", func(t *testing.T) { returnURLs(t, s, ada) })
	run("R01 length of a return address", func(t *testing.T) { longReturnURLs(t, s, signedOn) })
}

// foreign are addresses that must lead nobody away: one of each kind first, for
// which somebody signs in, and their relatives.
var (
	foreign = []string{
		"//evil.example/", `/\evil.example/`, "https:evil.example", "https://evil.example/", "http://app.localhost@evil.example/",
		"/\t/evil.example/", "/\r\nLocation: https://evil.example/", "%2f%2fevil.example/", "http://app.localhost.evil.example/",
		"javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "@evil.example/",
	}
	foreignToo = []string{
		`\\evil.example/`, `\/evil.example/`, "///evil.example/", "////evil.example/", "https:/evil.example/", "http://evil.example/",
		"HTTPS://EVIL.example/", "http://evil.example#app.localhost/", "http://evil.example?app.localhost/", "http://evilapp.localhost/",
		`http://evil.example\@app.localhost/`, "\t//evil.example/", "/%0d%0aLocation:%20https://evil.example/", "/%2f/evil.example/",
		"/%5cevil.example/", "/%2fevil.example/..", "/..//evil.example/", "/.//evil.example/", "JaVaScRiPt://app.localhost/%0aalert(1)",
		"vbscript:x", "/;@evil.example/", "/@evil.example/", ".evil.example/", ":80@evil.example/", "/?to=//evil.example/", "//[::1]/",
		"//3232235521/",
	}
)

// returnURLs tries every place from which an address could be taken.
func returnURLs(t *testing.T, s *scene.Scene, p *scene.Person) {
	browser := p.Browser.Clone()
	own := func(page *harness.Page, host string) bool {
		return page.URL.Host == host+".localhost:"+fmt.Sprint(s.Port("web"))
	}
	stays := func(t *testing.T, what string, page *harness.Page) {
		t.Helper()
		for _, hop := range browser.Follow(page) { // which can't leave this machine
			if !own(hop, "login") && !own(hop, "app") {
				t.Errorf("%s leads to %s", what, hop.URL)
			}
		}
	}
	for i, address := range slices.Concat(foreign, foreignToo) {
		t.Run(strings.Map(printable, address), func(t *testing.T) {
			escaped := url.QueryEscape(address)
			// The portal takes addresses from nobody but a gate.
			page := browser.Get(s.At("login", "/sign-in?request="+escaped))
			if page.Status != http.StatusBadRequest || page.Location() != "" {
				t.Errorf("as a request: %d, to %q", page.Status, page.Location())
			}
			for _, name := range []string{"to", "return", "return_to", "redirect", "redirect_uri", "next", "url", "rd", "continue"} {
				page := browser.Get(s.At("login", "/sign-in?"+name+"="+escaped))
				if page.Location() != s.At("login", "/") {
					t.Errorf("as %s: %d, to %q", name, page.Status, page.Location())
				}
			}
			// The gate's own link for somebody else takes a path of its host.
			page = browser.Get(s.At("app", "/.mfa/switch?to="+escaped))
			if page.Status != http.StatusFound || !strings.HasPrefix(page.Location(), s.At("login", "/sign-in?request=")) {
				t.Fatalf("switching: %d, to %q", page.Status, page.Location())
			}
			if i < len(foreign) {
				form := browser.Visit(page.Location())
				stays(t, "switching", browser.Submit(form.Form("current-password"), map[string]string{
					"username": p.Name, "current-password": p.Password,
				}))
			}
			// What is in the path itself comes back within the host.
			response := s.Raw("web").Send(harness.Request1("GET", "/"+strings.TrimLeft(strings.Map(printable, address), "/"),
				"app.localhost:"+fmt.Sprint(s.Port("web")), "", "Accept: text/html", "Connection: close"))
			switch response.Status {
			case http.StatusBadRequest:
			case http.StatusFound:
				if !strings.HasPrefix(response.Header.Get("Location"), s.At("login", "/sign-in?request=")) {
					t.Errorf("in the path: to %q", response.Header.Get("Location"))
				}
				stays(t, "the path", browser.Get(response.Header.Get("Location")))
			default:
				t.Errorf("in the path: %d, %v", response.Status, response.Err)
			}
		})
	}
	for _, header := range []string{"Referer", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Host", "Forwarded"} {
		page, err := s.Client().Send(harness.Request{URL: s.At("app", "/"), Header: http.Header{header: {"https://evil.example/"}}})
		if err != nil || !strings.HasPrefix(page.Location(), s.At("login", "/sign-in?request=")) {
			t.Errorf("%s: to %q, %v", header, page.Location(), err)
		}
	}
}

// printable keeps a text fit for a request line.
func printable(r rune) rune {
	if r <= ' ' || r >= 0x7f {
		return '_'
	}
	return r
}

// longReturnURLs brings people back to addresses up to and over 2 KiB.
func longReturnURLs(t *testing.T, s *scene.Scene, signedOn func() *harness.Client) {
	origin := s.At("app", "")
	fill := func(prefix, with string) string {
		return prefix + strings.Repeat(with, (2048-len(origin)-len(prefix))/len(with))
	}
	tests := []struct{ name, path string }{
		{"2 KiB", fill("/a?q=", "x")},
		{"a byte more", fill("/a?q=", "x") + "x"},
		{"8 KiB of query", "/a?q=" + strings.Repeat("x", 8<<10)},
		{"a long path", "/" + strings.Repeat("y", 3000)},
		{"ampersands", fill("/a?", "&")},
		{"quotes", fill("/a?", `"`)},
		{"escapes", fill("/a?", "%26")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			landed(t, signedOn().Visit(origin+test.path), origin+test.path)
		})
	}
	for _, path := range []string{"/a?q=" + strings.Repeat("x", 64<<10), "/" + strings.Repeat("y", 64<<10)} {
		if page := signedOn().Get(origin + path); page.Status < 400 || page.Status >= 500 || page.Location() != "" {
			t.Errorf("64 KiB got %d", page.Status)
		}
	}
	t.Run("bytes that are no text", func(t *testing.T) {
		response := s.Raw("web").Send(harness.Request1("GET", "/a?"+strings.Repeat("\xff", 300)+"&b=é", "app.localhost:"+fmt.Sprint(s.Port("web")), "",
			"Accept: text/html", "Connection: close"))
		if response.Status != http.StatusFound {
			t.Fatalf("got %d, %v", response.Status, response.Err)
		}
		browser := signedOn()
		hops := browser.Follow(browser.Get(response.Header.Get("Location")))
		end := hops[len(hops)-1]
		if want := "/a?" + strings.Repeat("%FF", 300) + "&b=%C3%A9"; end.Status != http.StatusOK || end.URL.RequestURI() != want {
			t.Errorf("ended at %d %s", end.Status, end.URL)
		}
	})
}

// R03: what was signed for a host counts only while the configuration names it.
func TestR03OnlyHostsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	const sites = waysCaddyfile + `
http://*.wild.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.admin}}
}

http://:{{.Port "any"}} {
	mfa {
		hosts named.localhost
	}
	reverse_proxy {{.Vars.admin}}
}
`
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: sites})
	ada := s.Administrator("ada")

	t.Run("no request is signed for a host that is not named", func(t *testing.T) {
		web, any := fmt.Sprint(s.Port("web")), fmt.Sprint(s.Port("any"))
		tests := []struct {
			port, host string
			signed     bool
		}{
			{"any", "named.localhost:" + any, true},
			{"any", "evil.example", false},
			{"any", "evil.example:" + any, false},
			{"any", "named.localhost.evil.example", false},
			{"any", "named.localhost@evil.example", false},
			{"any", "named.localhost:" + any + "@evil.example", false},
			{"any", "named.localhost:1", false},
			{"any", "x.named.localhost:" + any, false},
			{"any", "127.0.0.1:" + any, false},
			{"any", "localhost:" + any, false},
			{"any", "login.localhost:" + any, false},
			{"web", "a.wild.localhost:" + web, true},
			{"web", "a.b.wild.localhost:" + web, false},
			{"web", "wild.localhost:" + web, false},
			{"web", ".wild.localhost:" + web, false},
			{"web", "evil.example", false},
			{"web", "a.wild.localhost.evil.example", false},
			{"web", "evil.example#.wild.localhost:" + web, false},
			{"web", "evil.example/.wild.localhost:" + web, false},
			{"web", `evil.example\.wild.localhost:` + web, false},
		}
		for _, test := range tests {
			response := s.Raw(test.port).Send(harness.Request1("GET", "/", test.host, "", "Accept: text/html", "Connection: close"))
			if signed := strings.Contains(response.Header.Get("Location"), "request="); signed != test.signed {
				t.Errorf("Host: %s: %d, to %q", test.host, response.Status, response.Header.Get("Location"))
			}
		}
		for _, header := range []string{"X-Forwarded-Host: evil.example", "Forwarded: host=evil.example", "X-Host: evil.example"} {
			response := s.Raw("web").Send(harness.Request1("GET", "/", "a.wild.localhost:"+web, "", "Accept: text/html", header, "Connection: close"))
			browser := ada.Browser.Clone()
			page := browser.Get(response.Header.Get("Location"))
			if !strings.HasPrefix(page.Location(), "http://a.wild.localhost:"+web+"/.mfa/callback?") {
				t.Errorf("%s: to %q", header, page.Location())
			}
		}
		s.App.ExpectNone(t)
		s.Admin.ExpectNone(t)
	})

	t.Run("a request for a host that a later configuration no longer names", func(t *testing.T) {
		browser := ada.Browser.Clone()
		signed := browser.Get(s.At("app", "/")).Location()
		callback := toCallback(t, s, browser, signed).Location()
		elsewhere := s.Client()
		step := ada.ShowPassword(elsewhere, elsewhere.Visit(signed)) // half-way to the app
		form := elsewhere.Visit(step.Link("Use a backup code")).Form("one-time-code")

		s.Reload(strings.Replace(sites, "http://app.localhost", "http://renamed.localhost", 1))
		if page := browser.Get(signed); page.Status != http.StatusBadRequest || page.Location() != "" {
			t.Errorf("somebody signed in: %d, to %q", page.Status, page.Location())
		}
		if page := s.Client().Get(signed); page.Status != http.StatusBadRequest {
			t.Errorf("somebody not signed in: %d", page.Status)
		}
		hops := elsewhere.Follow(elsewhere.Submit(form, map[string]string{"one-time-code": ada.SpendBackupCode()}))
		if end := hops[len(hops)-1]; end.Status != http.StatusBadRequest {
			t.Errorf("somebody half-way: %d %s", end.Status, end.URL)
		}
		moved := strings.Replace(callback, "app.localhost", "renamed.localhost", 1)
		if page := browser.Get(moved); page.Status != http.StatusBadRequest || setsSession(page) != "" {
			t.Errorf("a ticket of the former host: %d", page.Status)
		}
		s.App.ExpectNone(t)
		landed(t, browser.Visit(s.At("renamed", "/")), s.At("renamed", "/"))
	})
}
