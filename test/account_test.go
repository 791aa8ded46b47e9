package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// accountCaddyfile lets browsers be remembered, doesn't ask for authenticators
// on Android, and has an app that is content with a password.
const accountCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		session {
			remember 30d
		}
		totp {
			not_on android
		}
		certificate {
			ca devices
		}
		contact "the help desk"
	}
	skip_install_trust
	pki {
		ca devices {
			intermediate_lifetime 365d
		}
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}

http://solo.localhost:{{.Port "web"}} {
	mfa {
		assurance single
	}
	reverse_proxy {{.Vars.admin}}
}
`

// The account pages, and what leads there.
const (
	authenticators = "/account/totp"
	backupCodes    = "/account/backup-codes"
	signOns        = "/account/sign-ons"
	ownDevices     = "/account/devices"
	activity       = "/account/activity"
)

// cutWithin is how long the end of a sign-on may take to arrive.
const cutWithin = 2 * time.Second

// formTo returns the form of a page that leads to a path, and of several the
// one that holds the value.
func formTo(t *testing.T, page *harness.Page, path string, holding ...string) harness.Form {
	t.Helper()
	for _, form := range page.Forms() {
		if form.Method == http.MethodPost && form.Action.Path == path && holds(form, holding) {
			return form
		}
	}
	t.Fatalf("%d %s has no form to %s with %q: %s", page.Status, page.URL, path, holding, page.Text())
	return harness.Form{}
}

func holds(form harness.Form, values []string) bool {
	return !slices.ContainsFunc(values, func(value string) bool {
		return !slices.ContainsFunc(form.Inputs, func(input harness.Input) bool { return input.Value == value })
	})
}

// submitted fills in a form, and returns where that led.
func submitted(browser *harness.Client, form harness.Form, values map[string]string) *harness.Page {
	hops := browser.Follow(browser.Submit(form, values))
	return hops[len(hops)-1]
}

// codeOf is the code that an authenticator with that key shows so many steps
// from now.
func codeOf(t *testing.T, key string, steps int) string {
	t.Helper()
	return harness.TOTP(t, key, time.Now().Add(time.Duration(steps)*period))
}

// says fails the test unless a page came with the status and the texts.
func says(t *testing.T, page *harness.Page, status int, texts ...string) {
	t.Helper()
	if page.Status != status {
		t.Errorf("%s answered %d, not %d: %s", page.URL, page.Status, status, page.Text())
	}
	for _, text := range texts {
		if !strings.Contains(page.Text(), text) {
			t.Errorf("%s doesn't say %q: %s", page.URL, text, page.Text())
		}
	}
}

// keepsQuiet fails the test where a page says one of the texts.
func keepsQuiet(t *testing.T, page *harness.Page, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(page.Text(), text) {
			t.Errorf("%s says %q: %s", page.URL, text, page.Text())
		}
	}
}

// signsIn signs somebody in at the app by their password and a backup code.
func signsIn(t *testing.T, s *scene.Scene, p *scene.Person, browser *harness.Client) {
	t.Helper()
	page := p.ShowPassword(browser, browser.Visit(s.At("app", "/")))
	page = browser.Visit(page.Link("Use a backup code"))
	landed(t, p.ShowCode(browser, page, p.SpendBackupCode()), s.At("app", "/"))
}

// secondRefused signs in as far as the password goes, and fails the test unless
// the code of that kind is refused after it.
func secondRefused(t *testing.T, s *scene.Scene, p *scene.Person, kind, code string) {
	t.Helper()
	thief := s.Client()
	flow := flowTo(t, p.ShowPassword(thief, thief.Visit(s.At("app", "/"))), "/flow/challenge")
	if page := send(t, thief, formPost(s, "/flow/challenge", answer(flow, kind, code), "")); page.Status != http.StatusUnprocessableEntity && page.Status != http.StatusConflict {
		t.Errorf("a code that should be refused: %d %s", page.Status, page.Text())
	}
	expectShut(t, s, thief)
}

// passwordRefused fails the test unless the sign-in form refuses a password.
func passwordRefused(t *testing.T, s *scene.Scene, name, password string) {
	t.Helper()
	if page := send(t, s.Client(), guess{name: name, password: password}.asRequest(s)); page.Status != http.StatusUnprocessableEntity {
		t.Errorf("a password of %s that should be refused: %d %s", name, page.Status, page.Text())
	}
}

// flowTo returns the id of the flow that a page's form to a path is about.
func flowTo(t *testing.T, page *harness.Page, path string) string {
	t.Helper()
	return formTo(t, page, path).Value("flow")
}

// expectCut fails the test unless open apps are shut to the browsers in time.
func expectCut(t *testing.T, s *scene.Scene, browsers ...*harness.Client) {
	t.Helper()
	script := harness.Request{URL: s.At("app", "/open"), Mode: harness.Fetch, From: s.At("app", "/")}
	for _, browser := range browsers {
		harness.Eventually(t, cutWithin, "an open app to be shut", func() bool {
			// A session that was made a moment ago is refused with 403.
			status := send(t, browser, script).Status
			return status == http.StatusUnauthorized || status == http.StatusForbidden
		})
		expectShut(t, s, browser)
		if page := browser.Get(s.At("login", "/account")); !leadsToSignIn(s, page) {
			t.Errorf("the account is at %d %s for a browser whose sign-on has ended", page.Status, page.Location())
		}
	}
}

// leadsToSignIn reports whether a page redirects to the portal's sign-in.
func leadsToSignIn(s *scene.Scene, page *harness.Page) bool {
	address, _, _ := strings.Cut(page.Location(), "?")
	return page.Status == http.StatusSeeOther && address == s.At("login", "/sign-in")
}

// expectAudited waits until the audit log holds so many lines of a name about
// somebody, with these further fields.
func expectAudited(t *testing.T, s *scene.Scene, times int, name, user string, fields map[string]string) {
	t.Helper()
	found := 0
	harness.Eventually(t, 15*time.Second, fmt.Sprintf("%d lines of %s about %s with %v in the audit log", times, name, user, fields), func() bool {
		found = 0
		for _, entry := range s.LogEntries() {
			if entry.Text("logger") != "mfa.audit" || entry.Text("msg") != name || entry.Text("user") != user {
				continue
			}
			if !slices.ContainsFunc(slices.Collect(maps.Keys(fields)), func(field string) bool { return entry.Text(field) != fields[field] }) {
				found++
			}
		}
		return found >= times
	})
	if found != times {
		t.Errorf("%d lines of %s about %s with %v in the audit log, not %d", found, name, user, fields, times)
	}
}

// idOf returns the id by which the page of a kind knows what bears the name.
func idOf(t *testing.T, page *harness.Page, name string) string {
	t.Helper()
	address, err := url.Parse(page.Link("Rename " + name))
	if err != nil {
		t.Fatal(err)
	}
	return address.Query().Get("id")
}

// addAuthenticator adds one under a name, and returns its key.
func addAuthenticator(t *testing.T, s *scene.Scene, browser *harness.Client, name string) string {
	t.Helper()
	page := submitted(browser, formTo(t, browser.Visit(s.At("login", authenticators)), authenticators+"/add"), nil)
	key := scene.SecretOn(page)
	s.Canary(key)
	page = submitted(browser, formTo(t, page, "/flow/enrol"), map[string]string{"name": name, "one-time-code": codeOf(t, key, 0)})
	landed(t, page, s.At("login", authenticators))
	says(t, page, http.StatusOK, "Added. You can use it from now on.", strings.Join(strings.Fields(name), " "))
	return key
}

func TestAccountAuthenticators(t *testing.T) {
	t.Parallel()
	const secret, hostile = "environment-secret-77d0e2", `<script>x()</script> {{.}} {env.CANARY} %s%n "'`
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: accountCaddyfile, Env: []string{"CANARY=" + secret}})
	s.Canary(secret)
	ada := s.Administrator("ada")
	browser := ada.Browser
	landed(t, browser.Visit(s.At("app", "/")), s.At("app", "/"))
	at := func(path string) *harness.Page {
		t.Helper()
		return browser.Visit(s.At("login", path))
	}

	t.Run("overview", func(t *testing.T) {
		page := at("/account")
		says(t, page, http.StatusOK, "You only have one way to sign in. Add a second, so that losing your phone doesn't lock you out.",
			"Authenticator apps 1 set up", "Backup codes 10 left", "Password Set", "Signed in as ada", "You set up your account")
		if next := browser.Visit(page.Link("Authenticator apps")); next.H1() != "Authenticator apps" {
			t.Errorf("the way leads to %s", next.URL)
		}
	})
	t.Run("the last way in", func(t *testing.T) {
		id := idOf(t, at(authenticators), "Authenticator app")
		page := at(authenticators + "/remove?id=" + id)
		says(t, page, http.StatusOK, "only way to sign in: without it")
		for _, form := range page.Forms() {
			if form.Action.Path == authenticators+"/remove" {
				t.Error("it has a button all the same")
			}
		}
		says(t, browser.PostForm(s.At("login", authenticators+"/remove"), url.Values{"id": {id}}), http.StatusConflict, "only way to sign in: without it")
		if got := idOf(t, at(authenticators), "Authenticator app"); got != id {
			t.Error("it isn't there any more")
		}
		expectIn(t, s, browser, "ada")
	})
	t.Run("O03 an unconfirmed one", func(t *testing.T) {
		page := submitted(browser, formTo(t, at(authenticators), authenticators+"/add"), nil)
		key, flow := scene.SecretOn(page), flowTo(t, page, "/flow/enrol")
		s.Canary(key)
		secondRefused(t, s, ada, "totp", codeOf(t, key, 0))
		const own = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
		for _, code := range []string{codeOf(t, own, 0), wrongCode, ""} {
			form := answer(flow, "totp", code)
			for _, field := range []string{"secret", "key", "state", "uri"} {
				form.Set(field, own)
			}
			refused := send(t, browser, formPost(s, "/flow/enrol", form, ""))
			if refused.Status != http.StatusUnprocessableEntity || scene.SecretOn(refused) != key {
				t.Errorf("a key of the client's own: %d %s", refused.Status, refused.Text())
			}
		}
		says(t, at("/account"), http.StatusOK, "Authenticator apps 1 set up")
		if page := send(t, s.Client(), formPost(s, "/flow/enrol", answer(flow, "totp", codeOf(t, key, 0)), "")); page.Status != http.StatusGone {
			t.Errorf("confirmed by another browser: %d %s", page.Status, page.Text())
		}
		says(t, at("/account"), http.StatusOK, "Authenticator apps 1 set up")
	})

	tablet := addAuthenticator(t, s, browser, hostile)
	t.Run("W02 a name with markup", func(t *testing.T) {
		id := idOf(t, at(authenticators), hostile)
		for _, path := range []string{
			authenticators, authenticators + "/rename?id=" + id, authenticators + "/remove?id=" + id,
			authenticators + "/remove?id=" + idOf(t, at(authenticators), "Authenticator app"),
		} {
			markup(t, at(path), hostile)
		}
		half := s.Client()
		markup(t, half.Visit(ada.ShowPassword(half, half.Visit(s.At("app", "/"))).Link("I can't use this")), hostile)
		if typed := formTo(t, at(authenticators+"/rename?id="+id), authenticators+"/rename").Value("name"); typed != hostile {
			t.Errorf("the form has the name %q", typed)
		}
		says(t, at("/account"), http.StatusOK, "all set: if you lose one way to sign in", "Authenticator apps 2 set up")
	})
	t.Run("names", func(t *testing.T) {
		id := idOf(t, at(authenticators), hostile)
		form := formTo(t, at(authenticators+"/rename?id="+id), authenticators+"/rename")
		for name, want := range map[string]string{
			"": "Give it a name", " ": "Give it a name", strings.Repeat("ü", 65): "at most 64 characters",
			"a\x00b": "", "a\xff": "", "a\u202eb": "", "a\nb": "", strings.Repeat("x", 60_000): "",
		} {
			page := submitted(browser, form, map[string]string{"name": name})
			says(t, page, http.StatusUnprocessableEntity, want)
			markup(t, page, hostile)
		}
		page := submitted(browser, form, map[string]string{"name": "  Tablet "})
		landed(t, page, s.At("login", authenticators))
		says(t, page, http.StatusOK, "The new name is saved.")
		keepsQuiet(t, at(authenticators), "The new name is saved.", hostile)
		if idOf(t, at(authenticators), "Tablet") != id {
			t.Error("the name is another's")
		}
		expectAudited(t, s, 1, "factor.renamed", "ada", map[string]string{"factor": "totp"})
	})
	t.Run("its codes count", func(t *testing.T) {
		other := s.Client()
		page := ada.ShowPassword(other, other.Visit(s.At("app", "/")))
		landed(t, ada.ShowCode(other, page, codeOf(t, tablet, 1)), s.At("app", "/"))
	})
	t.Run("removing one", func(t *testing.T) {
		other := s.Client()
		signsIn(t, s, ada, other)
		before := browser.Clone()
		had := sessionsOf(t, s, "ada")
		id := idOf(t, at(authenticators), "Tablet")
		page := at(authenticators + "/remove?id=" + id)
		says(t, page, http.StatusOK, "With your password, you can still sign in with: Authenticator app", "9 backup codes")
		page = submitted(browser, formTo(t, page, authenticators+"/remove"), nil)
		landed(t, page, s.At("login", authenticators))
		says(t, page, http.StatusOK, "Removed. You're signed out everywhere except here.")
		keepsQuiet(t, page, "Tablet")
		expectCut(t, s, other, before)
		s.App.Reset()
		harness.Eventually(t, 30*time.Second, "the open app to come back", func() bool {
			page := browser.Visit(s.At("app", "/again"))
			if strings.HasPrefix(page.URL.Host, "login.") {
				t.Fatalf("the open app leads to %s: %s", page.URL, page.Text())
			}
			return page.Status == http.StatusOK // a gate that has made a session just now holds on for 10 s
		})
		s.App.ExpectOne(t)
		if now := sessionsOf(t, s, "ada"); now != 1 {
			t.Errorf("%d sign-ons are left", now)
		}
		expectAudited(t, s, had, "sign_on.ended", "ada", map[string]string{"reason": "factor_removed"})
		expectAudited(t, s, 1, "factor.removed", "ada", map[string]string{"factor": "totp"})
		for step := range 2 {
			secondRefused(t, s, ada, "totp", codeOf(t, tablet, step))
		}
		says(t, send(t, browser, formPost(s, authenticators+"/remove", url.Values{"id": {id}}, "")), http.StatusNotFound)
	})
}

func TestAccountCodesAndPassword(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2, Caddyfile: accountCaddyfile})
	ada := s.Administrator("ada")
	browser := ada.Browser

	t.Run("B02 new backup codes", func(t *testing.T) {
		other := s.Client()
		signsIn(t, s, ada, other)
		page := browser.Visit(s.At("login", backupCodes))
		says(t, page, http.StatusOK, "9 of 10 codes are left.", "Used")
		page = submitted(browser, formTo(t, page, backupCodes+"/add"), nil)
		fresh := scene.CodesOn(page)
		if len(fresh) != 10 {
			t.Fatalf("%d new codes: %d %s", len(fresh), page.Status, page.Text())
		}
		s.Canary(fresh...)
		secondRefused(t, s, ada, "backup_code", fresh[0])
		signsIn(t, s, ada, s.Client()) // by an old one, since nobody saved the new
		page = submitted(browser, formTo(t, page, "/flow/enrol"), map[string]string{"saved": "yes"})
		landed(t, page, s.At("login", backupCodes))
		says(t, page, http.StatusOK, "Your new backup codes work now. The old ones no longer do.", "10 of 10 codes are left.")
		secondRefused(t, s, ada, "backup_code", ada.SpendBackupCode())
		ada.BackupCodes = fresh
		for range 7 {
			ada.SpendBackupCode()
		}
		signsIn(t, s, ada, s.Client())
		expectIn(t, s, other, "ada")
		expectAudited(t, s, 1, "factor.enrolled", "ada", map[string]string{"factor": "backup_code"})
	})
	t.Run("the password", func(t *testing.T) {
		const chosen = "marmalade trombone ada 83"
		s.Canary(chosen)
		other := s.Client()
		signsIn(t, s, ada, other)
		before := browser.Clone()
		form := formTo(t, browser.Visit(s.At("login", "/account/password")), "/account/password")
		for _, c := range []struct{ current, chosen, says string }{
			{"not the password", chosen, "That password doesn't match."},
			{"", chosen, "Enter your password."},
			{ada.Password, "short", "Use at least"},
			{ada.Password, "", "Enter a password"},
			{ada.Password, ada.Password, "your current password. Choose a different one."},
			{ada.Password, strings.Repeat("long ago ", 15), "too long"},
			{ada.Password, "bad \xff\x00 letters in it", ""},
		} {
			page := submitted(browser, form, map[string]string{"current-password": c.current, "new-password": c.chosen})
			says(t, page, http.StatusUnprocessableEntity, c.says)
			if c.chosen != "" && strings.Contains(page.Body, c.chosen) {
				t.Error("the page gives the password back")
			}
		}
		expectIn(t, s, other, "ada")
		page := submitted(browser, form, map[string]string{"current-password": ada.Password, "new-password": chosen})
		landed(t, page, s.At("login", "/account"))
		says(t, page, http.StatusOK, "Your password has been changed. You're signed out everywhere except here.")
		expectCut(t, s, other, before)
		expectIn(t, s, browser, "ada")
		passwordRefused(t, s, "ada", ada.Password)
		ada.Password = chosen
		signsIn(t, s, ada, s.Client())
		expectAudited(t, s, 1, "password.changed", "ada", nil)
	})
	t.Run("guessing the present password is slowed", func(t *testing.T) {
		bob := s.Invited("bob")
		form := formTo(t, bob.Browser.Visit(s.At("login", "/account/password")), "/account/password")
		guesses := map[string]string{"current-password": "not the password", "new-password": "marmalade trombone bob 83"}
		for range 5 {
			says(t, submitted(bob.Browser, form, guesses), http.StatusUnprocessableEntity)
		}
		if page := submitted(bob.Browser, form, guesses); page.Status != http.StatusTooManyRequests || page.Header.Get("Retry-After") == "" {
			t.Errorf("the sixth: %d %s", page.Status, page.Text())
		}
		expectIn(t, s, bob.Browser, "bob")
	})
}

func TestAccountSignOns(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2, Caddyfile: accountCaddyfile})
	ada := s.Administrator("ada")
	browser := ada.Browser
	landed(t, browser.Visit(s.At("app", "/")), s.At("app", "/"))

	t.Run("ended one by one and all", func(t *testing.T) {
		second, third := s.Client(), s.Client()
		signsIn(t, s, ada, second)
		ended := signOnOf(t, s, "ada")
		signsIn(t, s, ada, third)
		page := browser.Visit(s.At("login", signOns))
		says(t, page, http.StatusOK, "This browser", "Chrome on Linux", "127.0.0.1", "app.localhost:"+strconv.Itoa(s.Port("web")))
		page = submitted(browser, formTo(t, page, signOns+"/end", ended), nil)
		landed(t, page, s.At("login", signOns))
		says(t, page, http.StatusOK, "Signed out there.")
		expectCut(t, s, second)
		expectIn(t, s, third, "ada")
		page = submitted(browser, formTo(t, browser.Visit(s.At("login", signOns)), signOns+"/end-others"), nil)
		says(t, page, http.StatusOK, "You're signed out everywhere except here.")
		expectCut(t, s, third)
		expectIn(t, s, browser, "ada")
		for _, form := range page.Forms() {
			if strings.HasPrefix(form.Action.Path, signOns) {
				t.Errorf("nothing is left to end, and there is a form to %s", form.Action.Path)
			}
		}
		expectAudited(t, s, 2, "sign_on.ended", "ada", map[string]string{"reason": "ended_by_owner"})
	})
	t.Run("a browser that skips the second step", func(t *testing.T) {
		bob := s.Invited("bob")
		other := s.Client()
		form := bob.ShowPassword(other, other.Visit(s.At("app", "/"))).Form("one-time-code")
		landed(t, submitted(other, form, map[string]string{"one-time-code": bob.Code(), "remember": "yes"}), s.At("app", "/"))
		page := bob.Browser.Visit(s.At("login", signOns))
		says(t, page, http.StatusOK, "Browsers that skip the second step")
		page = submitted(bob.Browser, formTo(t, page, "/browsers/forget"), nil)
		landed(t, page, s.At("login", signOns))
		says(t, page, http.StatusOK, "Forgotten. That browser will ask for the second step again.")
		keepsQuiet(t, page, "Browsers that skip the second step")
		submitted(other, formTo(t, other.Visit(s.At("login", "/sign-out")), "/sign-out"), nil)
		if page := bob.ShowPassword(other, other.Visit(s.At("app", "/"))); !page.Form("one-time-code").Has("code") {
			t.Errorf("the password alone led to %d %s", page.Status, page.Text())
		}
	})
	t.Run("activity", func(t *testing.T) {
		const changes = 60
		id := idOf(t, browser.Visit(s.At("login", authenticators)), "Authenticator app")
		for i := range changes {
			browser.PostForm(s.At("login", authenticators+"/rename"), url.Values{"id": {id}, "name": {fmt.Sprint("Phone ", i)}})
		}
		expectAudited(t, s, changes, "factor.renamed", "ada", nil)
		page := browser.Visit(s.At("login", activity))
		keepsQuiet(t, page, "You set up your account")
		older := browser.Visit(page.Link("Older"))
		says(t, older, http.StatusOK, "You set up your account", "Signed in", "Opened app.localhost", "Signed out")
		const what = "Renamed: "
		if listed := strings.Count(page.Text(), what) + strings.Count(older.Text(), what); listed != changes {
			t.Errorf("%d of %d changes are listed", listed, changes)
		}
		landed(t, browser.Visit(older.Link("Newest")), s.At("login", activity))
		for _, before := range []string{"x", "-1", "1.5", "99999999999999999999", "1%00"} {
			if page := browser.Get(s.At("login", activity+"?before="+before)); page.Status != http.StatusNotFound {
				t.Errorf("before=%s: %d", before, page.Status)
			}
		}
	})
}

// TestAccountDisowned goes through "this wasn't me": a thief who has password
// and second factor is in the account, too.
func TestAccountDisowned(t *testing.T) {
	t.Parallel()
	const chosen = "marmalade trombone ada 83"
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: accountCaddyfile})
	ada := s.Administrator("ada")
	s.Canary(chosen)
	thief, half, remembering := s.Client(), s.Client(), s.Client()
	signsIn(t, s, ada, thief)
	form := ada.ShowPassword(remembering, remembering.Visit(s.At("app", "/"))).Form("one-time-code")
	landed(t, submitted(remembering, form, map[string]string{"one-time-code": ada.Code(), "remember": "yes"}), s.At("app", "/"))
	begun := flowTo(t, ada.ShowPassword(half, half.Visit(s.At("app", "/"))), "/flow/challenge")
	landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	code := decoded[handedOver](t, expectDone(t, s, "mfa", "access-code", "ada", "--json")).Code
	s.Canary(code)

	page := ada.Browser.Visit(s.At("login", activity))
	page = ada.Browser.Visit(page.Link("This wasn't me"))
	says(t, page, http.StatusOK, "This wasn't you?", "Every browser that skips the second step will ask for it again.")
	expectIn(t, s, thief, "ada")
	had := sessionsOf(t, s, "ada")
	page = submitted(ada.Browser, formTo(t, page, "/account/not-me"), nil)
	landed(t, page, s.At("login", "/sign-in"))
	expectCut(t, s, thief, remembering, ada.Browser)
	if now := sessionsOf(t, s, "ada"); now != 0 {
		t.Errorf("%d sign-ons are left", now)
	}
	expectAudited(t, s, had, "sign_on.ended", "ada", map[string]string{"reason": "activity_disowned"})
	expectAudited(t, s, 1, "activity.disowned", "ada", nil)

	t.Run("nothing under way goes on", func(t *testing.T) {
		page := send(t, half, formPost(s, "/flow/challenge", answer(begun, "backup_code", ada.SpendBackupCode()), ""))
		if page.Status != http.StatusGone {
			t.Errorf("a sign-in that had begun: %d %s", page.Status, page.Text())
		}
		expectShut(t, s, half)
	})
	t.Run("the password alone opens nothing", func(t *testing.T) {
		s.Admin.Reset()
		for _, browser := range []*harness.Client{s.Client(), remembering} {
			page := ada.ShowPassword(browser, browser.Visit(s.At("solo", "/")))
			if !page.Form("one-time-code").Has("code") {
				t.Errorf("it led to %d %s: %s", page.Status, page.URL, page.Text())
			}
			flow := flowTo(t, page, "/flow/challenge")
			for path, form := range map[string]url.Values{
				"/flow/new-password": {"flow": {flow}, "password": {"a thief's own password 12"}},
				"/flow/access-code":  {"flow": {flow}, "code": {code}},
			} {
				if page := send(t, browser, formPost(s, path, form, "")); page.Status != http.StatusConflict {
					t.Errorf("%s: %d %s", path, page.Status, page.Text())
				}
			}
		}
		s.Admin.ExpectNone(t)
		passwordRefused(t, s, "ada", "a thief's own password 12")
	})
	t.Run("the next sign-in", func(t *testing.T) {
		browser := s.Client()
		page := ada.ShowPassword(browser, browser.Visit(s.At("app", "/deep")))
		page = browser.Visit(page.Link("Use a backup code"))
		page = ada.ShowCode(browser, page, ada.SpendBackupCode())
		says(t, page, http.StatusOK, "Choose a new password")
		expectShut(t, s, browser)
		form := formTo(t, page, "/flow/new-password")
		for _, refused := range []string{ada.Password, "short", ""} {
			says(t, submitted(browser, form, map[string]string{"new-password": refused}), http.StatusUnprocessableEntity, "Choose a new password")
		}
		landed(t, submitted(browser, form, map[string]string{"new-password": chosen}), s.At("app", "/deep"))
		expectIn(t, s, browser, "ada")
		passwordRefused(t, s, "ada", ada.Password)
		ada.Password = chosen
		signsIn(t, s, ada, s.Client())
		expectAudited(t, s, 1, "password.changed", "ada", nil)
		says(t, browser.Visit(s.At("login", activity)), http.StatusOK, "You chose “This wasn't me”: everything was ended")
	})
}

var lastSeen = regexp.MustCompile(`last_seen:\S+`)

// held is all that the operator and the owner see of what somebody has, but for
// what looking changes.
func held(t *testing.T, s *scene.Scene, p *scene.Person) string {
	t.Helper()
	shown := decoded[map[string]any](t, expectDone(t, s, "mfa", "user", "show", p.Name, "--json"))
	delete(shown, "sessions")
	seen := []string{lastSeen.ReplaceAllString(fmt.Sprint(shown), "")}
	for _, path := range []string{authenticators, backupCodes, ownDevices} {
		page := p.Browser.Visit(s.At("login", path))
		if page.URL.Path != path {
			t.Fatalf("%s led its owner to %d %s", path, page.Status, page.URL)
		}
		seen = append(seen, page.Text())
	}
	return strings.Join(seen, "\n")
}

// pattern is one of the portal's routes, as net/http has them.
type pattern struct{ method, path string }

// with is the path for a kind of proof.
func (p pattern) with(kind string) string { return strings.ReplaceAll(p.path, "{kind}", kind) }

// matches reports whether the route answers a path.
func (p pattern) matches(path string) bool {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(p.path), `\{kind\}`, `[^/]+`) + "$").MatchString(path)
}

// portalRoutes reads the portal's routes from its source, so that a new one
// that no test knows is noticed.
func portalRoutes(t *testing.T) []pattern {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(moduleRoot(t), "portal", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	constants, written := map[string]ast.Expr{}, []ast.Expr{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.ValueSpec:
				for i := range min(len(node.Names), len(node.Values)) {
					constants[node.Names[i].Name] = node.Values[i]
				}
			case *ast.CallExpr:
				if called, ok := node.Fun.(*ast.SelectorExpr); ok && called.Sel.Name == "HandleFunc" {
					written = append(written, node.Args[0])
				}
			}
			return true
		})
	}
	var routes []pattern
	for _, expression := range written {
		if method, path, ok := strings.Cut(textOf(expression, constants), " "); ok {
			routes = append(routes, pattern{method, path})
		}
	}
	if len(routes) < 30 {
		t.Fatalf("only %d routes were found: %v", len(routes), routes)
	}
	return routes
}

// textOf is the value of a constant expression of strings.
func textOf(expression ast.Expr, constants map[string]ast.Expr) string {
	switch expression := expression.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(expression.Value)
		if err == nil {
			return text
		}
	case *ast.Ident:
		if constant, ok := constants[expression.Name]; ok {
			return textOf(constant, constants)
		}
	case *ast.BinaryExpr:
		return textOf(expression.X, constants) + textOf(expression.Y, constants)
	}
	return ""
}

// TestS06AndF07PasswordAlone has a thief who knows the password, and no more,
// try everything that changes an account.
func TestS06AndF07PasswordAlone(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2, Caddyfile: accountCaddyfile})
	s.Administrator("root")
	ada := s.Invited("ada")
	addAuthenticator(t, s, ada.Browser, "Tablet")
	other := s.Client()
	form := ada.ShowPassword(other, other.Visit(s.At("app", "/"))).Form("one-time-code")
	landed(t, submitted(other, form, map[string]string{"one-time-code": ada.Code(), "remember": "yes"}), s.At("app", "/"))
	credential := idOf(t, ada.Browser.Visit(s.At("login", authenticators)), "Tablet")
	remembered := formTo(t, ada.Browser.Visit(s.At("login", signOns)), "/browsers/forget").Value("id")
	signOn := signOnOf(t, s, "ada")
	before := held(t, s, ada)

	signedOn, atSecondStep := s.Client(), s.Client()
	landed(t, ada.ShowPassword(signedOn, signedOn.Visit(s.At("solo", "/"))), s.At("solo", "/"))
	flow := flowTo(t, ada.ShowPassword(atSecondStep, atSecondStep.Visit(s.At("app", "/"))), "/flow/challenge")
	says(t, signedOn.Visit(s.At("login", "/account")), http.StatusOK, "This part needs a fresh check that it's you.")
	nothingChanged := func(t *testing.T) {
		t.Helper()
		if after := held(t, s, ada); after != before {
			t.Errorf("changed:\n%s\nbefore:\n%s", after, before)
		}
		expectShut(t, s, signedOn)
		expectShut(t, s, atSecondStep)
	}

	values := url.Values{
		"id": {credential}, "name": {"Thief's"}, "current": {ada.Password}, "password": {"a thief's own password 12"},
		"saved": {"yes"}, "factor": {"totp"}, "code": {wrongCode}, "lose": {credential},
	}
	t.Run("the account's routes", func(t *testing.T) {
		for _, route := range portalRoutes(t) {
			if !strings.HasPrefix(route.path, "/account") && route.path != "/browsers/forget" {
				continue
			}
			for _, kind := range []string{"totp", "backup-codes", "backup_code", "password"} {
				for _, id := range []string{credential, signOn, remembered} {
					values.Set("id", id)
					for what, browser := range map[string]*harness.Client{"signed on by the password": signedOn, "at the second step": atSecondStep} {
						request := formPost(s, route.with(kind), values, "")
						if route.method == http.MethodGet {
							request = harness.Request{URL: s.At("login", route.with(kind)+"?id="+id)}
						}
						page := send(t, browser, request)
						asked := strings.HasPrefix(page.Location(), s.At("login", "/flow?id=")) || leadsToSignIn(s, page)
						if page.Status != http.StatusNotFound && !(page.Status == http.StatusSeeOther && asked) {
							t.Errorf("%s %s, %s: %d to %q: %s", route.method, route.with(kind), what, page.Status, page.Location(), page.Text())
						}
					}
				}
				if !strings.Contains(route.path, "{kind}") {
					break
				}
			}
		}
		nothingChanged(t)
	})
	// Each of the requests above may have begun a check; the newest eight are
	// this browser's, so the thief begins afresh.
	checking := flowTo(t, signedOn.Visit(s.At("login", "/account")), "/flow/challenge")
	t.Run("the later steps of flows", func(t *testing.T) {
		for _, c := range []struct {
			browser *harness.Client
			flow    string
		}{{signedOn, checking}, {atSecondStep, flow}} {
			values.Set("flow", c.flow)
			for _, path := range []string{"/flow/enrol", "/flow/new-password", "/flow/access-code", "/flow/account"} {
				for _, factor := range []string{"totp", "backup_code", "password", "access_code"} {
					values.Set("factor", factor)
					if page := send(t, c.browser, formPost(s, path, values, "")); page.Status != http.StatusConflict {
						t.Errorf("%s of %s: %d %s", path, factor, page.Status, page.Text())
					}
				}
			}
			for _, factor := range []string{"password", "access_code", "fido"} {
				values.Set("factor", factor)
				if page := send(t, c.browser, formPost(s, "/flow/challenge", values, "")); page.Status != http.StatusConflict {
					t.Errorf("a challenge of %s: %d %s", factor, page.Status, page.Text())
				}
				page := c.browser.Visit(s.At("login", "/flow?id="+c.flow+"&use="+factor))
				says(t, page, http.StatusOK, "Enter the code from your app")
			}
			if page := c.browser.Get(s.At("login", "/flow/file?factor=backup_code&id="+c.flow)); page.Status != http.StatusConflict {
				t.Errorf("the file: %d %s", page.Status, page.Body)
			}
		}
		nothingChanged(t)
	})
	t.Run("saying that all is lost", func(t *testing.T) {
		for _, c := range []struct {
			browser *harness.Client
			flow    string
			asks    string
		}{
			// What was shown at an app doesn't count for this: it may be old.
			{signedOn, checking, "Enter your password"},
			{atSecondStep, flow, "Enter the code from your administrator"},
		} {
			page := c.browser.Visit(s.At("login", "/flow/lost?id="+c.flow))
			says(t, page, http.StatusOK, "Tablet", "Backup codes")
			page = submitted(c.browser, formTo(t, page, "/flow/lost"), map[string]string{"lose": "on"})
			says(t, page, http.StatusOK, c.asks)
			for _, path := range []string{"/flow/enrol", "/flow/new-password", "/flow/challenge"} {
				if page := send(t, c.browser, formPost(s, path, answer(c.flow, "totp", wrongCode), "")); page.Status != http.StatusConflict {
					t.Errorf("%s: %d %s", path, page.Status, page.Text())
				}
			}
			says(t, c.browser.Visit(s.At("login", "/flow?id="+c.flow+"&use=totp")), http.StatusOK, c.asks)
		}
		page := submitted(signedOn, formTo(t, signedOn.Visit(s.At("login", "/flow?id="+checking)), "/flow/password"), map[string]string{"current-password": ada.Password})
		says(t, page, http.StatusOK, "Enter the code from your administrator")
		page = submitted(signedOn, formTo(t, page, "/flow/access-code"), map[string]string{"one-time-code": "0000 0000 0000 0000"})
		says(t, page, http.StatusUnprocessableEntity, "That code didn't work.")
		nothingChanged(t)
	})
	t.Run("the owner's own still work", func(t *testing.T) {
		passwordRefused(t, s, "ada", "a thief's own password 12")
		signsIn(t, s, ada, s.Client())
		expectIn(t, s, other, "ada")
		expectIn(t, s, ada.Browser, "ada")
		browser := s.Client()
		landed(t, ada.ShowCode(browser, ada.ShowPassword(browser, browser.Visit(s.At("app", "/"))), ada.Code()), s.At("app", "/"))
	})
	t.Run("a browser that skips the second step", func(t *testing.T) {
		before := held(t, s, ada)
		submitted(other, formTo(t, other.Visit(s.At("login", "/sign-out")), "/sign-out"), nil)
		landed(t, ada.ShowPassword(other, other.Visit(s.At("login", "/sign-in"))), s.At("login", "/"))
		values.Set("id", credential)
		for _, path := range []string{authenticators + "/add", authenticators + "/rename", authenticators + "/remove", backupCodes + "/add", "/account/password"} {
			page := send(t, other, formPost(s, path, values, ""))
			if !strings.HasPrefix(page.Location(), s.At("login", "/flow?id=")) {
				t.Errorf("%s: %d to %q: %s", path, page.Status, page.Location(), page.Text())
			}
			says(t, other.Visit(page.Location()), http.StatusOK, "This part needs a fresh check that it's you.")
		}
		if after := held(t, s, ada); after != before {
			t.Errorf("changed:\n%s\nbefore:\n%s", after, before)
		}
	})
}

// TestW03AccountIDsOfOthers names other people's things, and fields that no
// form has.
func TestW03AccountIDsOfOthers(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 3, Caddyfile: accountCaddyfile})
	s.Administrator("root")
	ada, gus := s.Invited("ada"), s.Invited("gus")
	addAuthenticator(t, s, ada.Browser, "Tablet")
	addAuthenticator(t, s, gus.Browser, "Spare")
	other := s.Client()
	form := ada.ShowPassword(other, other.Visit(s.At("app", "/"))).Form("one-time-code")
	landed(t, submitted(other, form, map[string]string{"one-time-code": ada.Code(), "remember": "yes"}), s.At("app", "/"))
	hers := idOf(t, ada.Browser.Visit(s.At("login", authenticators)), "Tablet")
	his := idOf(t, gus.Browser.Visit(s.At("login", authenticators)), "Spare")
	browser := formTo(t, ada.Browser.Visit(s.At("login", signOns)), "/browsers/forget").Value("id")
	signOn := signOnOf(t, s, "ada")
	half := s.Client()
	losing := ada.ShowPassword(half, half.Visit(s.At("app", "/")))
	losing = half.Visit(losing.Link("I can't use this"))
	var codes string
	for _, input := range formTo(t, losing, "/flow/lost").Inputs {
		if input.Name == "lose" && input.Value != hers {
			codes = input.Value // the last: the backup codes, enrolled after the phone
		}
	}
	adding := submitted(ada.Browser, formTo(t, ada.Browser.Visit(s.At("login", authenticators)), authenticators+"/add"), nil)
	enrolling := flowTo(t, adding, "/flow/enrol")
	before, hisBefore := held(t, s, ada), held(t, s, gus)

	for _, c := range []struct {
		what, path string
		form       url.Values
		browser    *harness.Client
		status     int
	}{
		{"rename another's", authenticators + "/rename", url.Values{"id": {hers}, "name": {"x"}}, gus.Browser, http.StatusNotFound},
		{"remove another's", authenticators + "/remove", url.Values{"id": {hers}}, gus.Browser, http.StatusNotFound},
		{"end another's sign-on", signOns + "/end", url.Values{"id": {signOn}}, gus.Browser, http.StatusNotFound},
		{"forget another's browser", "/browsers/forget", url.Values{"id": {browser}}, gus.Browser, http.StatusNotFound},
		{"with their name", authenticators + "/remove", url.Values{"id": {hers}, "user": {"ada"}, "user_id": {"ada"}, "name": {"ada"}}, gus.Browser, http.StatusNotFound},
		{"their flow", "/flow/enrol", answer(enrolling, "totp", codeOf(t, scene.SecretOn(adding), 0)), gus.Browser, http.StatusGone},
		{"their flow, lost", "/flow/lost", url.Values{"flow": {flowTo(t, losing, "/flow/lost")}, "lose": {hers}}, gus.Browser, http.StatusGone},
		{"more time for their flow", "/flow/more-time", url.Values{"flow": {enrolling}}, gus.Browser, http.StatusGone},
		{"lose another's", "/flow/lost", url.Values{"flow": {flowTo(t, losing, "/flow/lost")}, "lose": {his}}, half, http.StatusNotFound},
		{"lose one's own and another's", "/flow/lost", url.Values{"flow": {flowTo(t, losing, "/flow/lost")}, "lose": {hers, his}}, half, http.StatusNotFound},
		{"lose nothing", "/flow/lost", url.Values{"flow": {flowTo(t, losing, "/flow/lost")}}, half, http.StatusUnprocessableEntity},
		{"backup codes as an authenticator", authenticators + "/remove", url.Values{"id": {codes}}, ada.Browser, http.StatusNotFound},
		{"rename backup codes", authenticators + "/rename", url.Values{"id": {codes}, "name": {"x"}}, ada.Browser, http.StatusNotFound},
		{"remove backup codes", backupCodes + "/remove", url.Values{"id": {codes}}, ada.Browser, http.StatusNotFound},
		{"an authenticator as backup codes", backupCodes + "/remove", url.Values{"id": {hers}}, ada.Browser, http.StatusNotFound},
		{"a kind in the form", authenticators + "/remove", url.Values{"id": {codes}, "kind": {"backup_code"}, "factor": {"backup_code"}}, ada.Browser, http.StatusNotFound},
		{"an id in the query", authenticators + "/remove?id=" + hers, url.Values{"x": {"y"}}, ada.Browser, http.StatusNotFound},
		{"no id", authenticators + "/remove", url.Values{"x": {"y"}}, ada.Browser, http.StatusNotFound},
		{"the password as a second factor", "/account/password/add", url.Values{"x": {"y"}}, ada.Browser, http.StatusNotFound},
		{"remove the password", "/account/password/remove", url.Values{"id": {hers}}, ada.Browser, http.StatusNotFound},
		{"a factor that isn't there", "/account/push/add", url.Values{"x": {"y"}}, ada.Browser, http.StatusNotFound},
		{"a kind by its other name", "/account/backup_code/add", url.Values{"x": {"y"}}, ada.Browser, http.StatusNotFound},
		{"a kind of no name", "/account/%2e%2e/add", url.Values{"x": {"y"}}, ada.Browser, 0},
		{"enrol a password", "/flow/enrol", url.Values{"flow": {enrolling}, "factor": {"password"}, "password": {"a new long password 5"}, "code": {wrongCode}}, ada.Browser, http.StatusConflict},
		{"enrol backup codes instead", "/flow/enrol", url.Values{"flow": {enrolling}, "factor": {"backup_code"}, "saved": {"yes"}}, ada.Browser, http.StatusConflict},
		{"finish it by a challenge", "/flow/challenge", answer(enrolling, "backup_code", ada.BackupCodes[0]), ada.Browser, http.StatusConflict},
		{"a new password in it", "/flow/new-password", url.Values{"flow": {enrolling}, "password": {"a new long password 5"}}, ada.Browser, http.StatusConflict},
		{"an access code in it", "/flow/access-code", url.Values{"flow": {enrolling}, "code": {"0000 0000 0000 0000"}}, ada.Browser, http.StatusConflict},
		{"lose in it", "/flow/lost", url.Values{"flow": {enrolling}, "lose": {hers}}, ada.Browser, http.StatusConflict},
	} {
		t.Run(c.what, func(t *testing.T) {
			page := send(t, c.browser, formPost(s, c.path, c.form, ""))
			if c.status != 0 && page.Status != c.status || page.Status < 300 || page.Status >= 500 {
				t.Errorf("%d %s", page.Status, page.Text())
			}
		})
	}
	for _, path := range []string{"/rename?id=", "/remove?id="} {
		if page := gus.Browser.Get(s.At("login", authenticators+path+hers)); page.Status != http.StatusNotFound {
			t.Errorf("%s of another's: %d %s", path, page.Status, page.Text())
		}
	}
	if after := held(t, s, ada); after != before {
		t.Errorf("hers changed:\n%s\nbefore:\n%s", after, before)
	}
	if after := held(t, s, gus); after != hisBefore {
		t.Errorf("his changed:\n%s\nbefore:\n%s", after, hisBefore)
	}
	expectIn(t, s, other, "ada")

	t.Run("an id twice", func(t *testing.T) {
		for _, c := range []struct {
			ids    []string
			status int
		}{{[]string{hers, his}, http.StatusNotFound}, {[]string{his, hers}, http.StatusSeeOther}} {
			form := url.Values{"id": c.ids, "name": {"Both"}, "user": {"ada"}, "state": {"suspended"}}
			if page := send(t, gus.Browser, formPost(s, authenticators+"/rename", form, "")); page.Status != c.status {
				t.Errorf("%d %s", page.Status, page.Text())
			}
		}
		if after := held(t, s, ada); after != before {
			t.Errorf("hers changed: %s", after)
		}
		says(t, gus.Browser.Visit(s.At("login", authenticators)), http.StatusOK, "Both")
	})
	t.Run("what was begun goes on", func(t *testing.T) {
		page := submitted(ada.Browser, formTo(t, adding, "/flow/enrol"), map[string]string{
			"name": "Third", "one-time-code": codeOf(t, scene.SecretOn(adding), 0),
		})
		landed(t, page, s.At("login", authenticators))
		lost := url.Values{"flow": {flowTo(t, losing, "/flow/lost")}, "lose": {hers}}
		hops := half.Follow(send(t, half, formPost(s, "/flow/lost", lost, "")))
		page = hops[len(hops)-1]
		if !page.Form("one-time-code").Has("code") {
			t.Errorf("%d %s", page.Status, page.Text())
		}
	})
	t.Run("L03 adding ends with the sign-on", func(t *testing.T) {
		adding := submitted(gus.Browser, formTo(t, gus.Browser.Visit(s.At("login", authenticators)), authenticators+"/add"), nil)
		enrolling := answer(flowTo(t, adding, "/flow/enrol"), "totp", codeOf(t, scene.SecretOn(adding), 0))
		s.CLI("mfa", "session", "end", signOnOf(t, s, "gus"))
		for range 2 {
			if page := gus.Browser.Get(adding.URL.String()); page.Status != http.StatusGone {
				t.Errorf("the page anew: %d %s", page.Status, page.Text())
			}
		}
		if page := send(t, gus.Browser, formPost(s, "/flow/enrol", enrolling, "")); page.Status != http.StatusGone {
			t.Errorf("the answer: %d %s", page.Status, page.Text())
		}
		says(t, gus.Browser.Visit(s.At("login", authenticators)), http.StatusOK, "Sign in")
	})
}

// TestAccountThroughSignIn asks for a page of the account while signed out.
func TestAccountThroughSignIn(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: accountCaddyfile})
	ada := s.Administrator("ada")

	t.Run("leads there", func(t *testing.T) {
		browser := s.Client()
		page := browser.Visit(s.At("login", authenticators))
		page = browser.Submit(page.Form("current-password"), map[string]string{"username": "ada", "current-password": "not it"})
		says(t, page, http.StatusUnprocessableEntity)
		page = ada.ShowPassword(browser, page)
		page = browser.Visit(page.Link("Use a backup code"))
		landed(t, ada.ShowCode(browser, page, ada.SpendBackupCode()), s.At("login", authenticators))
	})
	t.Run("R01 and nowhere else", func(t *testing.T) {
		own := regexp.MustCompile(`^/account(/[a-z-]+)*(\?[a-z]+=\S*)?$`)
		for _, to := range []string{
			"//evil.example", `/\evil.example`, "https:evil.example", "https://evil.example/account", "https://login.localhost@evil.example/account",
			"javascript:alert(1)", "data:text/html,x", "/account\r\nSet-Cookie: x=y", "/account/../..//evil.example", "/account//evil.example", "/account/..%2f..%2f/evil.example",
			`/account\..\..\evil.example`, "/account/%2e%2e/invitation?token=x", "/account/.%2E/sign-out", "/account@evil.example", "/accounts", "/account.evil.example", "/sign-out", "/flow?id=x", "/setup?token=x", "/%61ccount",
			"\t/account", " /account", "/account#x", "evil", "", "/account?x=" + strings.Repeat("a", 4000),
		} {
			browser := s.Client()
			page := browser.Get(s.At("login", "/sign-in?to="+url.QueryEscape(to)))
			if page.Status >= 500 {
				t.Errorf("%q: %d %s", to, page.Status, page.Text())
			}
			for _, form := range page.Forms() {
				if kept := form.Value("to"); form.Action.Path == "/sign-in" && kept != "" && !own.MatchString(kept) {
					t.Errorf("%q is kept as %q", to, kept)
				}
			}
			// Somebody who is signed in already goes on at once.
			page = ada.Browser.Get(s.At("login", "/sign-in?to="+url.QueryEscape(to)))
			if back := page.Header.Get("Location"); back != "/" && !own.MatchString(back) {
				t.Errorf("%q leads %d to %q", to, page.Status, back)
			}
		}
		const foreign = "//evil.example/account"
		browser := s.Client()
		form := guess{name: "ada", password: ada.Password}.asRequest(s)
		form.Body += "&to=" + url.QueryEscape(foreign)
		page := send(t, browser, form)
		flow := queryOf(t, page, "id")
		page = send(t, browser, formPost(s, "/flow/challenge", answer(flow, "backup_code", ada.SpendBackupCode()), ""))
		if page = browser.Get(page.Location()); page.Location() != s.At("login", "/") {
			t.Errorf("it leads %d to %q", page.Status, page.Location())
		}
	})
}

// TestAccountPlatforms signs in on a phone that the authenticator isn't asked
// for on.
func TestAccountPlatforms(t *testing.T) {
	t.Parallel()
	const android = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: accountCaddyfile})
	ada := s.Administrator("ada")
	for _, c := range []struct {
		what   string
		header http.Header
		asks   string
	}{
		{"by the client hint", http.Header{"Sec-Ch-Ua-Platform": {`"Android"`}}, "Enter a backup code"},
		{"by its name", http.Header{"User-Agent": {android}}, "Enter a backup code"},
		{"a desktop view that says so", http.Header{"User-Agent": {android}, "Sec-Ch-Ua-Platform": {`"Linux"`}}, "Enter the code from your app"},
		{"a desktop", http.Header{}, "Enter the code from your app"},
		{"a hint that is none", http.Header{"Sec-Ch-Ua-Platform": {"\xff{{.}}"}}, "Enter the code from your app"},
	} {
		t.Run(c.what, func(t *testing.T) {
			browser := s.Client()
			request := guess{name: "ada", password: ada.Password}.asRequest(s)
			maps.Copy(request.Header, c.header)
			page := send(t, browser, request)
			hops := browser.Follow(page)
			page = hops[len(hops)-1]
			if page.H1() != c.asks {
				t.Errorf("asked: %d %s", page.Status, page.Text())
			}
			if strings.Contains(c.asks, "backup") {
				keepsQuiet(t, page, "Use the code from your authenticator app")
				landed(t, ada.ShowCode(browser, page, ada.SpendBackupCode()), s.At("login", "/"))
			}
		})
	}
}
