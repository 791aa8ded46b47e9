package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// slot is one place where a cookie of ours is looked at.
type slot struct {
	name   string // of the cookie there
	host   string
	target string
	// refused reports whether an answer lets nobody in.
	refused func(harness.Response) bool
}

// wire sends raw requests over connections that stay open where they can.
type wire struct {
	target     harness.Target
	connection *harness.HTTP1Conn
}

func (w *wire) send(raw []byte) harness.Response {
	for range 2 {
		if w.connection == nil {
			connection, err := w.target.HTTP1()
			if err != nil {
				return harness.Response{Err: err}
			}
			w.connection = connection
		}
		response := w.connection.Send(raw)
		if response.Err == nil && !malformed(response) {
			return response
		}
		// After a malformed request the server hangs up.
		w.close()
		if response.Status != 0 {
			return response
		}
	}
	return harness.Response{Err: fmt.Errorf("no answer on two connections")}
}

func (w *wire) close() {
	if w.connection != nil {
		w.connection.Close()
		w.connection = nil
	}
}

// ask shows a cookie, and whatever else stands in the header, to its slot.
func (w *wire) ask(s *scene.Scene, at slot, value string, header ...string) harness.Response {
	host := fmt.Sprintf("%s.localhost:%d", at.host, s.Port("web"))
	return w.send(harness.Request1("GET", at.target, host, "", append(header, "Cookie: "+at.name+"="+value)...))
}

// malformed is the server's no to a header that is none, or too long.
func malformed(r harness.Response) bool {
	return r.Status == http.StatusBadRequest || r.Status == http.StatusRequestHeaderFieldsTooLarge
}

// unauthorized is the gate's no to a script.
func unauthorized(r harness.Response) bool {
	return r.Status == http.StatusUnauthorized || malformed(r)
}

// sentToSignIn is the portal's no.
func sentToSignIn(r harness.Response) bool {
	return r.Status == http.StatusSeeOther && r.Header.Get("Location") == "/sign-in" || malformed(r)
}

// noFlow is the portal's no to somebody with no flow.
func noFlow(r harness.Response) bool {
	return r.Status == http.StatusGone || malformed(r)
}

// noSession is the callback's no: no session, and nothing on our side broke.
func noSession(r harness.Response) bool {
	for _, cookie := range r.Header.Values("Set-Cookie") {
		if strings.HasPrefix(cookie, sessionCookie+"=") {
			return false
		}
	}
	return r.Status != 0 && r.Status < 500
}

// cookieThief is a person's browser half-way everywhere: a session at the app
// and at admin, a portal session, a flow that waits for a code, and a callback
// that waits to be opened. slots and values go together.
func cookieThief(t *testing.T, s *scene.Scene, p *scene.Person) (slots []slot, values []string) {
	t.Helper()
	browser := p.Browser.Clone()
	landed(t, browser.Visit(s.At("app", "/")), s.At("app", "/"))
	landed(t, browser.Visit(s.At("admin", "/")), s.At("admin", "/"))
	half := s.Client()
	step := p.ShowPassword(half, half.Visit(s.At("login", "/sign-in")))
	waiting := p.Browser.Clone()
	callback, err := url.Parse(toCallback(t, s, waiting, s.At("app", "/waits")).Location())
	if err != nil {
		t.Fatal(err)
	}
	state := waiting.Cookies(s.At("app", "/"))[0]
	slots = []slot{
		{sessionCookie, "app", "/x", unauthorized},
		{sessionCookie, "admin", "/x", unauthorized},
		{portalCookie, "login", "/", sentToSignIn},
		{flowCookie, "login", step.URL.RequestURI(), noFlow},
		{state.Name, "app", callback.RequestURI(), noSession},
	}
	values = []string{
		browser.Cookie(s.At("app", "/"), sessionCookie), browser.Cookie(s.At("admin", "/"), sessionCookie),
		browser.Cookie(s.At("login", "/"), portalCookie), half.Cookie(s.At("login", "/"), flowCookie), state.Value,
	}
	s.Canary(values...)
	return slots, values
}

func TestSessions(t *testing.T) {
	t.Parallel()
	// Without access logs: there are thousands of requests.
	s := scene.Start(t, scene.Options{Settled: 3, Caddyfile: strings.ReplaceAll(waysCaddyfile, "\tlog\n", "")})
	ada := s.Administrator("ada")
	bob := s.Invited("bob", "admins")
	mallory := s.Invited("mallory", "admins")
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

	slots, values := cookieThief(t, s, ada)
	run("S02 every bit flipped and every length cut", func(t *testing.T) {
		var lines sync.WaitGroup
		for i, at := range slots {
			lines.Go(func() {
				connection := &wire{target: s.Raw("web")}
				defer connection.close()
				try := func(what, value string) {
					if response := connection.ask(s, at, value); !at.refused(response) {
						t.Errorf("%s at %s, %s: %d, to %q, %v", at.name, at.host, what, response.Status, response.Header.Get("Location"), response.Err)
					}
				}
				value := values[i]
				for length := range value {
					try(fmt.Sprintf("cut to %d", length), value[:length])
				}
				for bit := range len(value) * 8 {
					flipped := []byte(value)
					flipped[bit/8] ^= 1 << (bit % 8)
					if flipped[bit/8] == '\r' || flipped[bit/8] == '\n' {
						continue // another line of the header, not another value
					}
					try(fmt.Sprintf("bit %d flipped", bit), string(flipped))
				}
				for _, longer := range []string{value + "A", value + "=", value + "." + value, value + value, strings.ToUpper(value), strings.ToLower(value)} {
					try("altered", longer)
				}
			})
		}
		lines.Wait()
		quiet(t)
	})

	run("S02 swapped between names and hosts", func(t *testing.T) {
		connection := &wire{target: s.Raw("web")}
		defer connection.close()
		for i, at := range slots {
			for j, value := range values {
				if i == j {
					continue
				}
				if response := connection.ask(s, at, value); !at.refused(response) {
					t.Errorf("the value of %s (%s) as %s at %s: %d, %v", slots[j].name, slots[j].host, at.name, at.host, response.Status, response.Err)
				}
			}
		}
		quiet(t)
	})

	run("S03 overlong, many and doubled", func(t *testing.T) {
		connection := &wire{target: s.Raw("web")}
		defer connection.close()
		for i, at := range slots {
			for _, length := range []int{4097 - len(at.name) - 1, 5000, 20_000} {
				for _, long := range []string{strings.Repeat("A", length), values[i] + strings.Repeat("A", length), values[i][:9] + strings.Repeat("A", length)} {
					if response := connection.ask(s, at, long); !at.refused(response) {
						t.Errorf("%d bytes as %s: %d, %v", len(long), at.name, response.Status, response.Err)
					}
				}
			}
			hundred := strings.Repeat(values[i][:len(values[i])-2]+"; "+at.name+"=", 100) + "end"
			if response := connection.ask(s, at, hundred); !at.refused(response) {
				t.Errorf("100 cookies %s: %d, %v", at.name, response.Status, response.Err)
			}
			lines := make([]string, 100)
			for n := range lines {
				lines[n] = fmt.Sprintf("Cookie: %s=garbage%d", at.name, n)
			}
			if response := connection.ask(s, at, "garbage", lines...); !at.refused(response) {
				t.Errorf("100 lines with %s: %d, %v", at.name, response.Status, response.Err)
			}
			for name, around := range map[string]string{"in quotes": `"` + values[i] + `"`, "doubly named": at.name + "=" + values[i]} {
				if response := connection.ask(s, at, around); response.Status >= 500 || response.Status == 0 {
					t.Errorf("%s %s: %d, %v", at.name, name, response.Status, response.Err)
				}
			}
		}
		// Quotes are a way to write a cookie, so they may pass, with identity.
		for _, seen := range append(s.App.Requests(), s.Admin.Requests()...) {
			if seen.Header.Get("Remote-User") != "ada" {
				t.Errorf("the app saw %s as %q", seen.RequestURI, seen.Header.Get("Remote-User"))
			}
		}
	})

	run("S02 the cookies themselves still work", func(t *testing.T) {
		connection := &wire{target: s.Raw("web")}
		defer connection.close()
		for i, at := range slots {
			if response := connection.ask(s, at, values[i]); at.refused(response) || response.Status >= 400 {
				t.Errorf("%s at %s, untouched: %d, %v", at.name, at.host, response.Status, response.Err)
			}
		}
		if len(s.App.Requests()) != 1 || len(s.Admin.Requests()) != 1 {
			t.Errorf("the apps saw %d and %d requests", len(s.App.Requests()), len(s.Admin.Requests()))
		}
	})

	run("S03 a browser full of garbage signs in without a loop", func(t *testing.T) {
		browser := ada.Browser.Clone()
		plant := func(host, name string) {
			browser.SetCookie(s.At(host, "/"), http.Cookie{Name: name, Value: "garbage", Path: "/", Secure: true})
		}
		plant("app", sessionCookie)
		for i := range 99 {
			plant("app", fmt.Sprintf("%sgarbage%d", stateCookie, i))
		}
		hops := browser.Follow(browser.Get(s.At("app", "/full")))
		landed(t, hops[len(hops)-1], s.At("app", "/full"))
		if len(hops) > 4 {
			t.Errorf("it took %d hops", len(hops))
		}
		if left := countStates(browser, s.At("app", "/")); left > 1 { // one marks that the browser has landed, for a moment
			t.Errorf("%d state cookies that say nothing were left", left)
		}
		for _, name := range []string{portalCookie, flowCookie, browserCookie} {
			plant("login", name)
		}
		asksToSignIn(t, browser.Visit(s.At("login", "/")))
	})

	run("S01 what was planted is not what comes out", func(t *testing.T) {
		for _, step := range []string{"before the form", "before the password", "before the code"} {
			t.Run(step, func(t *testing.T) {
				attacker := s.Client()
				landed(t, signInByBackupCode(mallory, attacker, s.At("app", "/")), s.At("app", "/"))
				half := attacker.Clone()
				half.SetCookie(s.At("login", "/"), http.Cookie{Name: portalCookie, Path: "/", Secure: true, MaxAge: -1})
				flow := mallory.ShowPassword(half, half.Visit(s.At("login", "/sign-in?switch")))
				planted := map[string]string{
					sessionCookie: attacker.Cookie(s.At("app", "/"), sessionCookie),
					portalCookie:  attacker.Cookie(s.At("login", "/"), portalCookie),
					browserCookie: attacker.Cookie(s.At("login", "/"), browserCookie),
					flowCookie:    half.Cookie(s.At("login", "/"), flowCookie),
				}
				victim := s.Client()
				plant := func() {
					for name, value := range planted {
						host := "login"
						if name == sessionCookie {
							host = "app"
						}
						victim.SetCookie(s.At(host, "/"), http.Cookie{Name: name, Value: value, Path: "/", Secure: true})
					}
				}
				if step == "before the form" {
					plant()
				}
				page := victim.Visit(s.At("login", "/sign-in?switch"))
				if step == "before the password" {
					plant()
				}
				page = bob.ShowPassword(victim, page)
				if step == "before the code" {
					flowOfVictim := victim.Cookie(s.At("login", "/"), flowCookie)
					plant()
					// Without its own flow cookie the victim would only start again.
					victim.SetCookie(s.At("login", "/"), http.Cookie{Name: flowCookie, Value: flowOfVictim, Path: "/", Secure: true})
				}
				landed(t, showBackupCode(bob, victim, page), s.At("login", "/"))
				victim.SetCookie(s.At("app", "/"), http.Cookie{Name: sessionCookie, Path: "/", Secure: true, MaxAge: -1})
				s.App.Reset()
				landed(t, victim.Visit(s.At("app", "/mine")), s.At("app", "/mine"))
				if user := s.App.ExpectOne(t).Header.Get("Remote-User"); user != "bob" {
					t.Errorf("the victim is %q at the app", user)
				}
				for name, value := range planted {
					for _, host := range []string{"app", "login"} {
						if victim.Cookie(s.At(host, "/"), name) == value {
							t.Errorf("the planted %s stayed", name)
						}
					}
				}
				// The attacker's copies are no way to the victim, and the sign-on
				// that stood in the victim's browser has ended.
				s.App.Reset()
				asksNobody(t, attacker.Get(s.At("app", "/theirs")))
				quiet(t)
				if page := half.Visit(flow.URL.String()); strings.Contains(page.Text(), "bob") {
					t.Errorf("the attacker's flow became the victim's: %s", page.Text())
				}
			})
		}
	})

	run("S01 a rise of assurance makes a new portal session", func(t *testing.T) {
		browser := s.Client()
		landed(t, bob.ShowPassword(browser, browser.Visit(s.At("solo", "/"))), s.At("solo", "/"))
		before := browser.Cookie(s.At("login", "/"), portalCookie)
		old := browser.Clone()
		landed(t, showBackupCode(bob, browser, browser.Visit(s.At("admin", "/"))), s.At("admin", "/"))
		after := browser.Cookie(s.At("login", "/"), portalCookie)
		if before == "" || after == before {
			t.Fatalf("the portal's cookie went from %q to %q", before, after)
		}
		s.Canary(before, after)
		if page := old.Get(s.At("login", "/")); page.Location() != s.At("login", "/sign-in") {
			t.Errorf("the portal session from before the rise: %d, to %q", page.Status, page.Location())
		}
		asksToSignIn(t, old.Visit(s.At("app", "/")))
		landed(t, browser.Visit(s.At("app", "/")), s.At("app", "/"))
	})

	run("S06 somebody who showed the password alone", func(t *testing.T) {
		half := s.Client()
		step := bob.ShowPassword(half, half.Visit(s.At("app", "/")))
		nothing(t, s, half, step.URL.Query().Get("id"))
		quiet(t)

		single := s.Client()
		landed(t, bob.ShowPassword(single, single.Visit(s.At("solo", "/"))), s.At("solo", "/"))
		s.App.Reset()
		nothing(t, s, single, "")
		page := single.Get(s.At("solo", "/deep/x"))
		if page.Status == http.StatusOK {
			t.Errorf("a rule that asks for more let a password alone in: %d", page.Status)
		}
		for _, host := range []string{"app", "admin"} {
			single.SetCookie(s.At(host, "/"), http.Cookie{
				Name: sessionCookie, Value: single.Cookie(s.At("solo", "/"), sessionCookie), Path: "/", Secure: true,
			})
		}
		nothing(t, s, single, "")
		quiet(t)
	})

	run("S04 what ends is over at the next request", func(t *testing.T) { endings(t, s) })
}

// asksNobody fails the test unless a gate refused: as nobody, or as somebody
// whose new session it didn't take.
func asksNobody(t *testing.T, page *harness.Page) {
	t.Helper()
	if page.Status != http.StatusFound && page.Status != http.StatusForbidden || setsSession(page) != "" {
		t.Errorf("%d %s: %s", page.Status, page.URL, page.Text())
	}
}

// nothing tries all that somebody with a password alone could reach for.
func nothing(t *testing.T, s *scene.Scene, browser *harness.Client, flow string) {
	t.Helper()
	for _, host := range []string{"app", "admin"} {
		hops := browser.Follow(browser.Get(s.At(host, "/")))
		if end := hops[len(hops)-1]; end.URL.Host != hops[0].URL.Host && !end.Form().Has("current-password") && !end.Form().Has("one-time-code") {
			t.Errorf("%s led to %d %s: %s", host, end.Status, end.URL, end.Text())
		}
		page, err := browser.Send(harness.Request{URL: s.At(host, "/.mfa/whoami"), Mode: harness.Fetch, From: s.At(host, "/")})
		if err != nil || page.Status != http.StatusUnauthorized {
			t.Errorf("whoami at %s: %+v, %v", host, page, err)
		}
	}
	hops := browser.Follow(browser.Get(s.At("login", "/")))
	if end := hops[len(hops)-1]; strings.Contains(end.Text(), "Your apps") {
		t.Errorf("the landing page: %s", end.Text())
	}
	if flow == "" {
		if end := hops[len(hops)-1]; end.URL.Path == "/flow" {
			flow = end.URL.Query().Get("id")
		}
	}
	for _, path := range []string{
		"/account/factors", "/admin", "/users", "/flow/enrol", "/flow/account",
		"/flow/file?factor=backup_code&id=" + flow, "/flow/file?factor=totp&id=" + flow,
	} {
		page := browser.Get(s.At("login", path))
		if page.Status < 400 || page.Status >= 500 {
			t.Errorf("GET %s: %d %s", path, page.Status, page.Text())
		}
	}
	for path, form := range map[string]url.Values{
		"/flow/enrol":    {"factor": {"totp"}, "code": {"000000"}},
		"/flow/enrol ":   {"factor": {"backup_code"}, "saved": {"yes"}},
		"/flow/account":  {"name": {"evil"}, "password": {"another lantern orchard 99"}},
		"/flow/password": {"password": {scene.Password("bob")}},
	} {
		form.Set("flow", flow)
		page := browser.PostForm(s.At("login", strings.TrimSpace(path)), form)
		if page.Status < 400 || page.Status >= 500 || setsSession(page) != "" || len(scene.CodesOn(page)) > 0 || scene.SecretOn(page) != "" {
			t.Errorf("POST %s: %d %s", path, page.Status, page.Text())
		}
	}
}

// endings ends sign-ons in every way that there is.
func endings(t *testing.T, s *scene.Scene) {
	run := func(arguments ...string) harness.Output {
		t.Helper()
		output := s.CLI(append([]string{"mfa"}, arguments...)...)
		if output.Code != 0 {
			t.Fatalf("%v: %+v", arguments, output)
		}
		return output
	}
	ways := []struct {
		name string
		end  func(t *testing.T, name string, browser *harness.Client)
	}{
		{"signing out at the portal", func(_ *testing.T, _ string, browser *harness.Client) {
			browser.Submit(browser.Visit(s.At("login", "/sign-out")).Form(), nil)
		}},
		{"signing out at an app", func(_ *testing.T, _ string, browser *harness.Client) {
			browser.Submit(browser.Visit(s.At("admin", "/.mfa/sign-out")).Form(), nil)
		}},
		{"session end ID", func(t *testing.T, name string, _ *harness.Client) {
			var sessions []struct{ ID, User string }
			if err := json.Unmarshal([]byte(run("session", "list", "--user", name, "--json").Stdout), &sessions); err != nil || len(sessions) != 1 {
				t.Fatalf("the sessions of %s are %v, %v", name, sessions, err)
			}
			run("session", "end", sessions[0].ID)
		}},
		{"session end --user", func(_ *testing.T, name string, _ *harness.Client) { run("session", "end", "--user", name) }},
		{"user disable", func(_ *testing.T, name string, _ *harness.Client) { run("user", "disable", name) }},
	}
	for i, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			name := fmt.Sprintf("leaver%d", i)
			browser := s.Invited(name, "admins").Browser
			landed(t, browser.Visit(s.At("app", "/")), s.At("app", "/"))
			landed(t, browser.Visit(s.At("admin", "/")), s.At("admin", "/"))
			captured, another := browser.Clone(), s.Client()
			s.App.Reset()
			s.Admin.Reset()
			way.end(t, name, browser)
			for _, host := range []string{"app", "admin"} {
				asksNobody(t, captured.Get(s.At(host, "/")))
				page, err := captured.Send(harness.Request{URL: s.At(host, "/api"), Mode: harness.Fetch, From: s.At(host, "/")})
				if err != nil || page.Status != http.StatusUnauthorized && page.Status != http.StatusForbidden {
					t.Errorf("a script at %s: %+v, %v", host, page, err)
				}
				if page := captured.Get(s.At(host, "/.mfa/whoami")); page.Status != http.StatusUnauthorized {
					t.Errorf("whoami at %s: %d", host, page.Status)
				}
			}
			asksToSignIn(t, captured.Visit(s.At("login", "/")))
			s.App.ExpectNone(t)
			s.Admin.ExpectNone(t)
			if way.name != "user disable" {
				return
			}
			form := another.Visit(s.At("login", "/sign-in")).Form("current-password")
			page := another.Submit(form, map[string]string{"username": name, "current-password": scene.Password(name)})
			if page.Status != http.StatusUnprocessableEntity {
				t.Errorf("the disabled user signs in: %d %s", page.Status, page.Text())
			}
			run("user", "enable", name)
			asksNobody(t, captured.Get(s.At("app", "/")))
			s.App.ExpectNone(t)
		})
	}
}
